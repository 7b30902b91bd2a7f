//! The driver of the runtime that the thread stands in, or else of the default one.

use std::io;
use std::ptr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::{Handle, default};
use crate::driver::{Armed, Driver, Reactor, Reading};
use crate::scheduler::{self, Shared};

/// A reactor to register with.
pub(crate) struct Registrar {
    pub(crate) reactor: Arc<Reactor>,
    shared: &'static Shared,
    /// Keeps the scheduler with the runtime whose reactor this is. The runtime in which the thread stands is kept anyway.
    _default: Option<Handle>,
}

impl Registrar {
    /// Something was registered: somebody has to attend it.
    pub(crate) fn attend(&self) {
        self.shared.registered();
    }
}

/// The reactor of the runtime that the thread stands in, or of the default one.
///
/// # Errors
/// If the system refuses the reactor's descriptors, or the runtime is gone.
pub(crate) fn reactor() -> io::Result<Registrar> {
    let (shared, default) = match scheduler::entered() {
        Some(shared) => (shared, None),
        None => {
            let default = Handle::current();
            (default.shared(), Some(default))
        }
    };
    Ok(Registrar { reactor: shared.driver().reactor()?, shared, _default: default })
}

/// Arms a timer, seen from `now`, with the runtime that the thread stands in or, if there is none or it is gone, with
/// the default one; `None` if that is gone as well.
pub(crate) fn arm(now: u64, deadline: u64, waker: &Waker) -> Option<(&'static Driver, Armed)> {
    arm_here(now, deadline, waker).or_else(|| arm_elsewhere(deadline, waker))
}

/// The first half of [`arm`].
// Inlined as `Timers::arm` is.
#[inline(always)]
pub(crate) fn arm_here(now: u64, deadline: u64, waker: &Waker) -> Option<(&'static Driver, Armed)> {
    let shared = scheduler::entered()?;
    Some((shared.driver(), shared.arm(now, deadline, waker)?))
}

/// The second half of [`arm`].
#[cold]
pub(crate) fn arm_elsewhere(deadline: u64, waker: &Waker) -> Option<(&'static Driver, Armed)> {
    // The thread may still stand in a runtime that is gone. A task of that is going with it: no runtime is made for it.
    let default = match scheduler::entered().filter(|shared| shared.runs_here()) {
        Some(_) => default::existing()?,
        None => default::get(),
    };
    let shared = default.shared();
    let driver = shared.driver();
    // A set of timers goes by the clock of its own runtime, and the caller's time is another's: either may be a virtual one.
    Some((driver, shared.arm(driver.clock().now(), deadline, waker)?))
}

/// True if a timer of `driver` is where [`arm`] would put it now.
pub(crate) fn would_arm_with(driver: &'static Driver) -> bool {
    match scheduler::entered() {
        // One that is gone arms nothing, and its timers have gone off.
        Some(shared) if ptr::eq(shared.driver(), driver) => true,
        Some(shared) if shared.driver().timers().is_open() => false,
        _ => default::existing().is_some_and(|default| ptr::eq(default.shared().driver(), driver)),
    }
}

/// The time on the clock of the runtime that the thread stands in; elsewhere that of the system.
#[inline]
pub(crate) fn clock_now() -> u64 {
    read_clock().time()
}

/// As [`clock_now`], or a time before that is as good for a look whether `deadline` has come.
#[inline]
pub(crate) fn clock_now_or_before(deadline: u64) -> u64 {
    match scheduler::entered() {
        Some(shared) => shared.driver().clock().now_or_before(deadline),
        None => clock_now(),
    }
}

/// As [`clock_now`], for whoever may not need the time.
#[inline]
pub(crate) fn read_clock() -> Reading {
    match scheduler::entered() {
        Some(shared) => shared.driver().clock().read(),
        None => Reading::System(Instant::now()),
    }
}

/// The driver of the runtime that the thread stands in.
pub(crate) fn driver() -> Option<&'static Driver> {
    Some(scheduler::entered()?.driver())
}

/// Stops the clock of the runtime that the thread stands in; false if it stood still already.
pub(crate) fn pause_clock() -> bool {
    let Some(shared) = scheduler::entered() else { return false };
    // Who waits already is woken, to arm an exact timer, and has to be seen by whoever would move the clock on.
    shared.while_held(|| shared.driver().pause())
}

/// Moves the clock of the runtime that the thread stands in on, if it stands still, and wakes what is due then.
pub(crate) fn advance_clock(time: u64) -> bool {
    let Some(shared) = scheduler::entered() else { return false };
    let driver = shared.driver();
    // What was taken out of the timers and is not woken yet has to be seen by whoever would move the clock further.
    shared.while_held(|| {
        let moved = driver.clock().advance_by(time);
        if moved {
            driver.timers().fire_all(driver.clock().now());
        }
        moved
    })
}

/// The clock was stopped, set or started: whoever sleeps by it has to look again.
pub(crate) fn clock_changed(driver: &'static Driver) {
    driver.rouse();
}
