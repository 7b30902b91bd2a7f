//! What the threads that run jobs are doing: computing, or asleep.
//!
//! A thread that waits for its turn on a busy machine computes as well, and a thread's processor time does not show that:
//! on a machine with other work to do it may get none for milliseconds. Its *state* shows it: the kernel says `R` of
//! whatever runs or could run. Reading it takes some 15 microseconds a thread, hence a sample of at most eight.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use slab::Slab;
use smallvec::SmallVec;

pub(super) use system::ThreadId;

/// How many threads are asked in one look.
const SAMPLE: usize = 8;

/// How many threads for each processor start without a look: one that computes, and one for when it sleeps.
const FREE_FOR_EACH: usize = 2;

/// How many threads a pool starts without a look.
pub(crate) fn free_threads() -> usize {
    processors() * FREE_FOR_EACH
}

/// How many threads of this process can run at a time. Asked once: it reads files of the system's.
fn processors() -> usize {
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    // ORDERING: Relaxed, the number publishes nothing; whoever misses it asks again.
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let count = thread::available_parallelism().map_or(1, usize::from);
            KNOWN.store(count, Ordering::Relaxed);
            count
        }
        count => count,
    }
}

/// Threads to ask.
pub(super) struct Sample {
    threads: SmallVec<[ThreadId; SAMPLE]>,
    /// Of how many they are a sample.
    of: usize,
}

/// Takes a sample of the threads that run jobs.
pub(super) fn sample(at_work: &Slab<ThreadId>) -> Sample {
    let of = at_work.len();
    let threads = at_work.iter().map(|(_, thread)| *thread);
    Sample { threads: threads.step_by((of / SAMPLE).max(1)).take(SAMPLE).collect(), of }
}

/// What a sample showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    processors: usize,
    of: usize,
    /// Those of which the system said something.
    answers: usize,
    runnable: usize,
}

impl Sample {
    /// Asks the system what the threads do.
    pub(super) fn ask(&self) -> Pressure {
        let mut pressure = Pressure { processors: processors(), of: self.of, answers: 0, runnable: 0 };
        for answer in self.threads.iter().filter_map(|thread| thread.is_runnable()) {
            pressure.answers += 1;
            pressure.runnable += usize::from(answer);
        }
        pressure
    }
}

impl Pressure {
    /// True if another thread would help, as far as one can tell: of those there are, most sleep, or too few compute to
    /// keep the processors busy. Where the system tells nothing, those sleep that have `begun` no job since the last look.
    pub(super) fn sleeps(&self, begun: u64) -> bool {
        if self.of == 0 {
            return true;
        }
        if self.answers == 0 {
            return begun == 0;
        }
        let runnable = self.runnable * self.of / self.answers;
        runnable < self.processors || 2 * self.runnable <= self.answers
    }

    /// How long no job may begin: `time` for each thread that a processor has to run.
    pub(super) fn stagnant(&self, time: Duration) -> Duration {
        if cfg!(runtime_loom) {
            return Duration::MAX;
        }
        let turns = (self.of / self.processors).max(1);
        time.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX))
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(runtime_loom)))]
mod system {
    use std::fs::File;
    use std::io::Read;

    use rustix::thread::{Pid, gettid};

    /// A thread, as the system calls it.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct ThreadId(Pid);

    impl ThreadId {
        /// The calling thread.
        pub(in super::super) fn current() -> Self {
            ThreadId(gettid())
        }

        /// True if the thread runs or waits for a processor; none if the system does not say.
        pub(in super::super) fn is_runnable(self) -> Option<bool> {
            let path = format!("/proc/self/task/{}/stat", self.0.as_raw_nonzero());
            let mut text = [0; 64];
            let len = File::open(path).ok()?.read(&mut text).ok()?;
            state(&text[..len]).map(|state| state == b'R')
        }
    }

    /// The state in a line like `1234 (name) S 1 ..`; a name may hold anything but is at most 15 bytes long.
    pub(super) fn state(line: &[u8]) -> Option<u8> {
        let end = line.iter().rposition(|byte| *byte == b')')?;
        line.get(end + 2).copied()
    }
}

#[cfg(any(not(any(target_os = "linux", target_os = "android")), runtime_loom))]
mod system {
    /// A thread of which the system tells nothing.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct ThreadId;

    impl ThreadId {
        pub(in super::super) fn current() -> Self {
            ThreadId
        }

        pub(in super::super) fn is_runnable(self) -> Option<bool> {
            None
        }
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn pressure(of: usize, answers: usize, runnable: usize) -> Pressure {
        Pressure { processors: 2, of, answers, runnable }
    }

    #[test]
    fn threads_sleep_unless_enough_of_them_compute() {
        assert!(pressure(0, 0, 0).sleeps(5), "nobody is there");
        assert!(!pressure(4, 4, 4).sleeps(5));
        assert!(!pressure(4, 4, 3).sleeps(5));
        assert!(pressure(4, 4, 2).sleeps(5), "half of them");
        assert!(pressure(4, 4, 1).sleeps(5), "a processor is free");
        assert!(!pressure(400, 8, 5).sleeps(5));
        assert!(pressure(400, 8, 4).sleeps(5));
    }

    #[test]
    fn where_the_system_tells_nothing_those_sleep_that_begin_nothing() {
        assert!(pressure(4, 0, 0).sleeps(0) && !pressure(4, 0, 0).sleeps(1));
    }

    #[test]
    fn a_sample_is_spread_over_all_threads() {
        let mut at_work = Slab::new();
        for _ in 0..100 {
            at_work.insert(ThreadId::current());
        }
        let sample = sample(&at_work);
        assert_eq!((sample.threads.len(), sample.of), (SAMPLE, 100));
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn the_state_stands_behind_a_name_of_any_kind() {
        assert_eq!(system::state(b"12 (a b) R 1 2"), Some(b'R'));
        assert_eq!(system::state(b"12 (a) S (x) D 1 2"), Some(b'D'));
        assert_eq!(system::state(b"12 (a"), None);
        assert_eq!(system::state(b"12 (a)"), None);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
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
        while waiting.is_runnable() == Some(true) {
            thread::yield_now();
        }
        assert_eq!(waiting.is_runnable(), Some(false));
        drop(end);
        thread.join().unwrap();
    }
}
