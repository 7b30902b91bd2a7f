//! A timer that one thread sleeps on and others set: Linux has them as descriptors.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

#[derive(Debug)]
pub(super) struct Timer(OwnedFd);

impl Timer {
    /// `None` if the system has no descriptor left, or no such timers, or does not let them be set.
    pub(super) fn new() -> Option<Self> {
        let timer = Timer(timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).ok()?);
        timer.stop().ok()?;
        Some(timer)
    }

    /// Sleeps until the timer goes off, also if it did before. May end without.
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut count = [0; size_of::<u64>()];
        match read(&self.0, &mut count) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets it go off after this time, whatever it was set to before.
    pub(super) fn set(&self, after: Duration) -> io::Result<()> {
        // No time at all would stop it.
        self.change(after.max(Duration::from_nanos(1)))
    }

    /// It does not go off. That it did is forgotten, unless a wait has seen it.
    pub(super) fn stop(&self) -> io::Result<()> {
        self.change(Duration::ZERO)
    }

    fn change(&self, after: Duration) -> io::Result<()> {
        let value = Timespec::try_from(after).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_timer_that_went_off_before_the_wait_ends_it() {
        let timer = Timer::new().unwrap();
        timer.set(Duration::ZERO).unwrap();
        timer.wait().unwrap();
    }

    #[test]
    fn it_goes_off_no_earlier_than_asked_for_last() {
        const LATER: Duration = Duration::from_millis(20);
        let timer = Timer::new().unwrap();
        let begin = Instant::now();
        timer.set(LATER / 4).unwrap();
        timer.stop().unwrap();
        timer.set(LATER).unwrap();
        timer.wait().unwrap();
        assert!(begin.elapsed() >= LATER);
    }
}
