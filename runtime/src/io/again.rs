//! The wait between two tries of an operation of which no event says when it would succeed.

use std::task::Waker;
use std::time::Duration;

use crate::driver::{Armed, Driver, duration_to_ns};
use crate::handle;

/// At most one timer, which is taken back at the next try and at the end.
pub(crate) struct Again {
    pause: Duration,
    armed: Option<(&'static Driver, Armed)>,
}

impl Again {
    pub(crate) const fn after(pause: Duration) -> Self {
        Again { pause, armed: None }
    }

    pub(super) fn wake_later(&mut self, waker: &Waker) {
        let now = handle::clock_now();
        self.armed = handle::arm(now, now.saturating_add(duration_to_ns(self.pause)), waker);
        if self.armed.is_none() {
            waker.wake_by_ref();
        }
    }

    /// True if it wakes somebody later.
    pub(crate) fn is_set(&self) -> bool {
        self.armed.is_some()
    }

    pub(super) fn forget(&mut self) {
        if let Some((driver, armed)) = self.armed.take() {
            driver.timers().disarm(armed);
        }
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.forget();
    }
}
