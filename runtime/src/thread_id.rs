//! Threads as the system calls them, and whether they compute.
//!
//! A thread that waits for its turn on a busy machine computes as well, and a thread's processor time does not show that:
//! on a machine with other work to do it may get none for milliseconds. Its *state* shows it: the kernel says `R` of
//! whatever runs or could run.

#[cfg(all(any(target_os = "linux", target_os = "android"), not(runtime_loom)))]
pub(crate) use linux::ThreadId;
#[cfg(any(not(any(target_os = "linux", target_os = "android")), runtime_loom))]
pub(crate) use unknown::ThreadId;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(runtime_loom)))]
mod linux {
    use std::fs::File;
    use std::io::Read;

    use rustix::thread::{Pid, gettid};

    /// A thread, as the system calls it.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct ThreadId(Pid);

    impl ThreadId {
        /// The calling thread.
        pub(crate) fn current() -> Self {
            ThreadId(gettid())
        }

        /// The thread with that number.
        pub(crate) fn of(number: u32) -> Option<Self> {
            Some(ThreadId(Pid::from_raw(i32::try_from(number).ok()?)?))
        }

        /// True if the thread runs or waits for a processor; none if the system does not say.
        pub(crate) fn is_runnable(self) -> Option<bool> {
            Some(self.state()? == b'R')
        }

        /// True if the thread waits for something, and not for a page of its memory or of a file; none if the system does
        /// not say.
        pub(crate) fn is_asleep(self) -> Option<bool> {
            Some(self.state()? == b'S')
        }

        fn state(self) -> Option<u8> {
            let path = format!("/proc/self/task/{}/stat", self.0.as_raw_nonzero());
            let mut text = [0; 64];
            let len = File::open(path).ok()?.read(&mut text).ok()?;
            state(&text[..len])
        }

        /// True if `fact` holds once while the thread waits. At a single look it may wait only for a page of memory, and run
        /// again.
        #[cfg(test)]
        pub(crate) fn once_asleep(self, mut fact: impl FnMut() -> bool) -> bool {
            (0..1000).any(|_| {
                while self.is_runnable() != Some(false) {
                    std::thread::yield_now();
                }
                fact()
            })
        }
    }

    /// The state in a line like `1234 (name) S 1 ..`; a name may hold anything but is at most 15 bytes long.
    pub(super) fn state(line: &[u8]) -> Option<u8> {
        let end = line.iter().rposition(|byte| *byte == b')')?;
        line.get(end + 2).copied()
    }
}

#[cfg(any(not(any(target_os = "linux", target_os = "android")), runtime_loom))]
mod unknown {
    /// A thread of which the system tells nothing.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct ThreadId;

    impl ThreadId {
        pub(crate) fn current() -> Self {
            ThreadId
        }

        pub(crate) fn of(_: u32) -> Option<Self> {
            None
        }

        pub(crate) fn is_runnable(self) -> Option<bool> {
            None
        }

        pub(crate) fn is_asleep(self) -> Option<bool> {
            None
        }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android"), not(runtime_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::ThreadId;
    use super::linux::state;

    #[test]
    fn the_state_stands_behind_a_name_of_any_kind() {
        assert_eq!(state(b"12 (a b) R 1 2"), Some(b'R'));
        assert_eq!(state(b"12 (a) S (x) D 1 2"), Some(b'D'));
        assert_eq!(state(b"12 (a"), None);
        assert_eq!(state(b"12 (a)"), None);
    }

    #[test]
    fn a_thread_that_runs_is_runnable_and_one_that_waits_is_not() {
        assert_eq!(ThreadId::current().is_runnable(), Some(true));
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tell.send(ThreadId::current()).unwrap();
            let _ = ended.recv();
        });
        let waiting = told.recv().unwrap();
        let waits = || waiting.is_runnable() == Some(false) && waiting.is_asleep() == Some(true);
        assert!(waiting.once_asleep(waits));
        drop(end);
        thread.join().unwrap();
    }
}
