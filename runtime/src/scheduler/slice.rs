//! Threads that others wait for: the system lets them run soon after they are woken.
//!
//! The monitor and the spare workers are there because all other threads compute, and where those are as many as there are
//! processors, a thread that is woken waits for the end of somebody's slice, some milliseconds. Linux prefers a waking
//! thread that has asked for shorter slices; it gets no more time than before, only sooner and in smaller pieces.
//!
//! Source: the EEVDF scheduler, which since Linux 6.12 takes the runtime that an ordinary thread asks for as its slice
//! (sched(7), sched_setattr(2)). Older kernels ignore it.
#![cfg_attr(
    all(target_os = "linux", not(runtime_loom)),
    expect(unsafe_code, reason = "the attributes of a thread for the system's scheduler have no safe form")
)]

/// Asks for short slices for this thread. Refused, it runs later than it could.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
pub(super) fn shorten() {
    if let Some(attributes) = linux::get().and_then(linux::Attributes::shortened) {
        linux::set(&attributes);
    }
}

#[cfg(not(all(target_os = "linux", not(runtime_loom))))]
pub(super) fn shorten() {}

#[cfg(all(target_os = "linux", not(runtime_loom)))]
mod linux {
    /// In nanoseconds; a tenth of a millisecond is the least that Linux takes.
    const SHORT: u64 = 200_000;

    /// `SCHED_OTHER`: a thread that is neither for real time nor for the background.
    const ORDINARY: u32 = 0;

    /// Threads that this one starts, with code of the user's, are like all others.
    const RESET_ON_FORK: u64 = 1;

    /// The first version of Linux's `sched_attr`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[repr(C)]
    pub(super) struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        pub(super) nice: i32,
        priority: u32,
        pub(super) runtime: u64,
        deadline: u64,
        period: u64,
    }

    const SIZE: u32 = size_of::<Attributes>() as u32;

    impl Attributes {
        /// Not for threads to which somebody gave an order of their own: its threads would lose a negative nice value.
        pub(super) fn shortened(self) -> Option<Self> {
            let flags = self.flags | RESET_ON_FORK;
            (self.policy == ORDINARY && self.nice >= 0).then_some(Attributes {
                flags,
                runtime: SHORT,
                ..self
            })
        }
    }

    /// Of this thread.
    pub(super) fn get() -> Option<Attributes> {
        let mut attributes = Attributes::default();
        // SAFETY: the kernel writes at most the size that it is told.
        let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
        (result == 0).then_some(attributes)
    }

    pub(super) fn set(attributes: &Attributes) -> bool {
        // SAFETY: the kernel reads as much as the struct says it has, which is what `get` was told.
        let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) };
        result == 0
    }
}

#[cfg(all(test, target_os = "linux", not(runtime_loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_with_short_slices_is_as_nice_as_before_and_starts_ordinary_threads() {
        thread::spawn(|| {
            let before = linux::get().unwrap();
            let shortened = before.shortened().unwrap();
            assert!(linux::set(&shortened));
            assert_eq!(linux::get().unwrap().nice, before.nice);
            let child = thread::spawn(|| linux::get().unwrap()).join().unwrap();
            assert_eq!((child.nice, child.runtime), (before.nice, before.runtime));
        })
        .join()
        .unwrap();
    }
}
