//! Linux: `polling` owns the epoll instance; registration and the wait are done on its descriptor.
//!
//! # Why not polling's own calls
//! Its wait costs five system calls (it arms a timer and an event descriptor each time), and it cannot register for
//! RDHUP, without which an edge-triggered reader must read until would-block: data and end of stream that arrive in one
//! segment are one event, and a short read that counts as "no more" would lose the end.
//!
//! # The bell
//! An event descriptor, edge-triggered, is written to and never read: each write is one event.
//!
//! # Time
//! `epoll_pwait2` (Linux 5.11) takes nanoseconds. Where it is missing, or a sandbox refuses it, the wait falls back to
//! milliseconds for good, rounded up so that no timer is early.
#![expect(unsafe_code, reason = "epoll_pwait2 has no safe form that falls back where it is missing")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::Event;
use crate::driver::readiness::{ERROR, PRIORITY, READ_CLOSED, READABLE, URGENT, WRITABLE, WRITE_CLOSED};

/// As many events as one wait takes: a batch is dispatched before anything else happens.
const BATCH: usize = 256;

/// The token of the bell; no index of a slab gets so high.
const BELL: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Poller {
    poller: polling::Poller,
    bell: OwnedFd,
    /// `epoll_pwait2` was refused once.
    coarse: AtomicBool,
}

/// Room for one batch.
pub(crate) struct Events(Vec<libc::epoll_event>);

impl Events {
    pub(crate) fn new() -> Self {
        Events(Vec::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> {
        self.0.iter().map(|event| Event { token: event.u64, ready: ready(event.events) })
    }
}

fn ready(flags: u32) -> u8 {
    let has = |flag: i32| flags & flag as u32 != 0;
    let mut ready = 0;
    if has(libc::EPOLLIN) {
        ready |= READABLE;
    }
    if has(libc::EPOLLOUT) {
        ready |= WRITABLE;
    }
    if has(libc::EPOLLPRI) {
        ready |= PRIORITY | URGENT | READABLE;
    }
    if has(libc::EPOLLRDHUP) {
        ready |= READ_CLOSED | READABLE;
    }
    if has(libc::EPOLLHUP) {
        ready |= READ_CLOSED | WRITE_CLOSED | READABLE | WRITABLE;
    }
    if has(libc::EPOLLERR) {
        // Whoever tries next is told what the error is.
        ready |= ERROR | READABLE | WRITABLE;
    }
    ready
}

impl Poller {
    /// A short count is the end of what there is: the end of stream comes as an event of its own.
    pub(crate) const SHORT_MEANS_EMPTY: bool = true;
    /// Closing the only descriptor of an object is enough; see [`Poller::delete`].
    pub(crate) const CLOSE_DELETES: bool = true;

    pub(crate) fn new() -> io::Result<Self> {
        let poller = polling::Poller::new()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poller, &bell, epoll::EventData::new_u64(BELL), flags)?;
        Ok(Poller { poller, bell, coarse: AtomicBool::new(false) })
    }

    /// Reports every change of the object's readiness from now on, and what it is now.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::PRI
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        Ok(epoll::add(&self.poller, fd, epoll::EventData::new_u64(token), flags)?)
    }

    /// Nothing to do: an edge-triggered registration stays armed.
    pub(crate) fn rearm(&self, _fd: RawFd, _token: u64, _wanted: u8) -> io::Result<()> {
        Ok(())
    }

    /// Needed only while another descriptor of the same object stays open.
    pub(crate) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poller.delete(fd)
    }

    /// Waits for events, the bell or the end of `timeout`; a signal ends the wait as well. Replaces what `events` held.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.0.clear();
        events.0.reserve(BATCH);
        let count = match self.wait_raw(events.0.as_mut_ptr(), timeout) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel has written so many events, at most BATCH, for which there is room.
        unsafe { events.0.set_len(count) };
        events.0.retain(|event| event.u64 != BELL);
        Ok(())
    }

    /// ORDERING: Relaxed, the flag publishes nothing; a thread that misses it finds out for itself.
    fn wait_raw(&self, room: *mut libc::epoll_event, timeout: Option<Duration>) -> io::Result<usize> {
        if !self.coarse.load(Ordering::Relaxed) {
            match self.wait_fine(room, timeout) {
                // Whatever it says: a sandbox may refuse a call with any error.
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
        let count = self.wait_coarse(room, timeout)?;
        self.coarse.store(true, Ordering::Relaxed);
        Ok(count)
    }

    fn wait_fine(&self, room: *mut libc::epoll_event, timeout: Option<Duration>) -> io::Result<usize> {
        /// The kernel's `__kernel_timespec`, which has 64 bits everywhere; the C library's has not.
        #[repr(C)]
        struct Timespec {
            tv_sec: i64,
            tv_nsec: i64,
        }
        let limit = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        let fd = self.poller.as_raw_fd();
        let mask = ptr::null::<libc::sigset_t>();
        // SAFETY: `room` has room for BATCH events, `limit` is null or a timespec that outlives the call.
        let count =
            unsafe { libc::syscall(libc::SYS_epoll_pwait2, fd, room, BATCH as i32, limit, mask, 0usize) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn wait_coarse(&self, room: *mut libc::epoll_event, timeout: Option<Duration>) -> io::Result<usize> {
        let limit = timeout.map_or(-1, |timeout| {
            let ms = timeout.as_nanos().div_ceil(1_000_000);
            i32::try_from(ms).unwrap_or(i32::MAX)
        });
        // SAFETY: `room` has room for BATCH events.
        let count = unsafe { libc::epoll_wait(self.poller.as_raw_fd(), room, BATCH as i32, limit) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Ends the current wait or, if there is none, the next one.
    pub(crate) fn ring(&self) {
        // The counter cannot overflow in the life of a machine, and nothing else can go wrong with it.
        let _ = rustix::io::write(self.bell.as_fd(), &1u64.to_ne_bytes());
    }

    /// From now on as if the kernel knew no `epoll_pwait2`.
    #[cfg(test)]
    pub(crate) fn make_coarse(&self) {
        self.coarse.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wait_is_not_early_in_either_form() {
        for coarse in [false, true] {
            let poller = Poller::new().unwrap();
            if coarse {
                poller.make_coarse();
            }
            let (begin, timeout) = (Instant::now(), Duration::from_micros(1_300));
            poller.wait(&mut Events::new(), Some(timeout)).unwrap();
            assert!(begin.elapsed() >= timeout, "coarse: {coarse}");
        }
    }

    #[test]
    fn each_ring_ends_one_wait() {
        let poller = Poller::new().unwrap();
        for _ in 0..3 {
            poller.ring();
            // Would hang if the bell were lost.
            poller.wait(&mut Events::new(), None).unwrap();
        }
    }
}
