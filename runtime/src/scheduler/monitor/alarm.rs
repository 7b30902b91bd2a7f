//! What the monitor sleeps in while all workers are at rest, and how it is woken a little later.
//!
//! A worker that is taken up after a rest may be stuck soon, but most are at rest again before that. To wake the monitor at
//! once costs two context switches, and its look finds nothing yet. So whoever takes a worker up sets a timer of the system
//! for when a look may tell something. Nobody stops it: it goes off once if the work has ended by then. A server that
//! works in short bursts pays a context switch for each burst, and one in a millisecond at most.

#[cfg(any(not(target_os = "linux"), runtime_portable, runtime_loom))]
mod none;
#[cfg(all(target_os = "linux", not(runtime_portable), not(runtime_loom)))]
mod timerfd;

use std::time::Duration;

use super::LOOK;
use crate::loom::Arc;
use crate::parker::Parker;

#[cfg(any(not(target_os = "linux"), runtime_portable, runtime_loom))]
use none::Timer;
#[cfg(all(target_os = "linux", not(runtime_portable), not(runtime_loom)))]
use timerfd::Timer;

/// From a worker's rest to the first look at what it polls then.
const FIRST_LOOK: Duration = Duration::from_micros(500);

/// Where the monitor's thread sleeps. Without a timer it is woken at once.
#[derive(Debug)]
pub(super) struct Alarm {
    parker: Arc<Parker>,
    timer: Timer,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Alarm { parker: Parker::new(), timer: Timer::new() }
    }

    /// The monitor's thread is about to be there.
    pub(super) fn open(&self) {
        self.timer.open();
    }

    /// It goes, or does not come.
    pub(super) fn close(&self) {
        self.timer.close();
    }

    /// True if whoever [rings](Self::ring_soon) need not wake a thread for it.
    pub(super) fn has_timer(&self) -> bool {
        self.timer.is_open()
    }

    /// Sleeps until somebody rings. May end without.
    pub(super) fn wait(&self) {
        if !self.timer.wait() {
            self.parker.park();
        }
    }

    /// Sleeps until somebody [rings](Self::ring), or for so long.
    pub(super) fn wait_for(&self, time: Duration) {
        self.parker.park_timeout(time);
    }

    /// Wakes the monitor from its [`wait`](Self::wait) when a look may tell something.
    pub(super) fn ring_soon(&self) {
        if !self.timer.set(FIRST_LOOK, LOOK) {
            self.parker.unpark();
        }
    }

    /// Wakes the monitor now.
    pub(super) fn ring(&self) {
        self.timer.set(Duration::ZERO, Duration::ZERO);
        self.parker.unpark();
    }
}
