//! Timer slack: how late the kernel may wake a thread in order to wake several at once.
//!
//! Linux gives every thread 50 microseconds of it, as much as the shortest sleeps are long. The runtime coalesces timers
//! itself, in proportion to their length, and asks for none on the threads that wait for them.

use std::num::NonZeroU64;

/// A thread that the kernel wakes without slack; dropping it gives the thread its old slack back.
#[derive(Debug)]
pub(crate) struct Precise {
    #[cfg(target_os = "linux")]
    before: Option<NonZeroU64>,
}

impl Precise {
    /// From here on the current thread is woken on time, where the system lets it choose.
    #[cfg(all(target_os = "linux", not(runtime_loom)))]
    pub(crate) fn set() -> Self {
        let before = rustix::thread::current_timer_slack().ok().and_then(NonZeroU64::new);
        // Refused, the thread only wakes later than it could.
        let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
        Precise { before }
    }

    #[cfg(all(target_os = "linux", runtime_loom))]
    pub(crate) fn set() -> Self {
        Precise { before: None }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn set() -> Self {
        Precise {}
    }
}

#[cfg(all(target_os = "linux", not(runtime_loom)))]
impl Drop for Precise {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = rustix::thread::set_current_timer_slack(Some(before));
        }
    }
}
