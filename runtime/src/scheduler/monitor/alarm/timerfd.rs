//! A timer that one thread sleeps on and others set: Linux has them as descriptors.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::loom::lock::Mutex;

#[derive(Debug)]
pub(super) struct Timer(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    fd: Arc<OwnedFd>,
    /// When the thread went to sleep last.
    rested: Instant,
}

impl Timer {
    pub(super) fn new() -> Self {
        Timer(Mutex::new(None))
    }

    /// Stays closed if the system has no descriptor left, or no such timers.
    pub(super) fn open(&self) {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).ok();
        *self.0.lock() = fd.map(|fd| Open { fd: Arc::new(fd), rested: Instant::now() });
    }

    pub(super) fn close(&self) {
        let open = self.0.lock().take();
        drop(open);
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Sleeps until the timer goes off, also if it did before; false if it is closed.
    pub(super) fn wait(&self) -> bool {
        let fd = {
            let mut timer = self.0.lock();
            let Some(open) = timer.as_mut() else { return false };
            open.rested = Instant::now();
            open.fd.clone()
        };
        let mut count = [0; size_of::<u64>()];
        match read(&*fd, &mut count) {
            Ok(_) | Err(Errno::INTR) => {}
            // Nobody is to come back here at once, for ever.
            Err(_) => self.close(),
        }
        true
    }

    /// Lets it go off `after` this time, but no earlier than `apart` from when the thread went to sleep; false if it cannot.
    pub(super) fn set(&self, after: Duration, apart: Duration) -> bool {
        let timer = self.0.lock();
        let Some(open) = timer.as_ref() else { return false };
        let after = after.max(apart.saturating_sub(open.rested.elapsed()));
        let mut value = Timespec::try_from(after).expect("some milliseconds are not too long");
        // No time at all would stop it.
        value.tv_nsec = value.tv_nsec.max(1);
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&*open.fd, TimerfdTimerFlags::empty(), &once).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_went_off_before_the_wait_ends_it() {
        let timer = Timer::new();
        timer.open();
        assert!(timer.set(Duration::ZERO, Duration::ZERO));
        assert!(timer.wait());
    }

    #[test]
    fn it_goes_off_no_earlier_than_asked_for_and_not_too_soon_after_the_last_wait() {
        const APART: Duration = Duration::from_millis(20);
        let timer = Timer::new();
        timer.open();
        timer.set(Duration::ZERO, Duration::ZERO);
        let begin = Instant::now();
        timer.wait();
        assert!(timer.set(APART / 4, APART));
        timer.wait();
        assert!(begin.elapsed() >= APART);
    }

    #[test]
    fn a_closed_timer_neither_goes_off_nor_holds_anybody_up() {
        let timer = Timer::new();
        assert!(!timer.set(Duration::ZERO, Duration::ZERO) && !timer.wait());
        timer.open();
        assert!(timer.is_open());
        timer.close();
        assert!(!timer.set(Duration::ZERO, Duration::ZERO) && !timer.wait());
    }
}
