//! The `Waker` of a task: a counted pointer to its header, one table of functions for all tasks.
#![expect(unsafe_code, reason = "a RawWaker is a raw pointer and four unsafe functions")]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::current;
use super::raw::Header;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The waker for one poll. It borrows the poller's reference: dropping it would give away what it does not have.
#[inline]
pub(super) fn borrowed(header: NonNull<Header>) -> ManuallyDrop<Waker> {
    // SAFETY: the functions of the table uphold the contract of RawWaker for a header that is alive, and the caller's
    // runtime reference keeps it alive for the poll that this waker is for.
    ManuallyDrop::new(unsafe { Waker::new(header.as_ptr().cast_const().cast(), &VTABLE) })
}

/// # Safety
/// `data` is the data of a live waker of ours.
#[inline]
unsafe fn header(data: *const ()) -> NonNull<Header> {
    // SAFETY: `borrowed` and `clone` put a non-null header pointer there.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the contract of RawWaker: `data` belongs to a live waker.
    let header = unsafe { header(data) };
    // SAFETY: that waker's reference keeps the header alive.
    unsafe { header.as_ref() }.retain();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the contract of RawWaker: `data` belongs to a live waker, which is consumed here.
    let header = unsafe { header(data) };
    if current::wake(header.as_ptr()) {
        // SAFETY: the consumed waker's reference is released here and nowhere else.
        unsafe { Header::release(header) };
    } else {
        // SAFETY: as above; the transition gives the reference away.
        unsafe { Header::wake_by_value(header) };
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the contract of RawWaker: `data` belongs to a live waker.
    let header = unsafe { header(data) };
    if !current::wake(header.as_ptr()) {
        // SAFETY: the waker's reference keeps the header alive during the call.
        unsafe { Header::wake_by_ref(header) };
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the contract of RawWaker: `data` belongs to a live waker, which is consumed here.
    let header = unsafe { header(data) };
    // SAFETY: the consumed waker's reference is released here and nowhere else.
    unsafe { Header::release(header) };
}
