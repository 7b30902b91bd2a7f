//! What the threads that run jobs are doing: computing, or asleep.
//!
//! Asking for the state of a thread takes some 15 microseconds, hence a sample of at most eight.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use slab::Slab;
use smallvec::SmallVec;

use super::thread::Bench;
use crate::loom;

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
    benches: SmallVec<[loom::Arc<Bench>; SAMPLE]>,
    /// Of how many they are a sample.
    of: usize,
}

/// Takes a sample of the threads that run jobs.
pub(super) fn sample(at_work: &Slab<loom::Arc<Bench>>) -> Sample {
    let of = at_work.len();
    let sampled = at_work.iter().step_by((of / SAMPLE).max(1)).take(SAMPLE);
    Sample { benches: sampled.map(|(_, bench)| bench.clone()).collect(), of }
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
        for answer in self.benches.iter().filter_map(|bench| bench.is_computing()) {
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

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    #[cfg(target_os = "linux")]
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
            at_work.insert(Bench::new());
        }
        let sample = sample(&at_work);
        assert_eq!((sample.benches.len(), sample.of), (SAMPLE, 100));
    }

    /// The fewest threads that one of many looks finds computing, of one that waits for a lock which this one has. At a
    /// single look it may wait only for a page of memory, and run again.
    #[cfg(target_os = "linux")]
    fn fewest_runnable(in_job: bool) -> usize {
        let (tell, told) = mpsc::channel();
        let lock = parking_lot::Mutex::new(());
        thread::scope(|scope| {
            let guard = lock.lock();
            let waiter = scope.spawn(|| {
                let bench = Bench::new();
                tell.send(bench.clone()).unwrap();
                let wait = || drop(lock.lock());
                if in_job { bench.work(wait) } else { wait() }
            });
            let bench = told.recv().unwrap();
            let sample = Sample { benches: [bench.clone()].into_iter().collect(), of: 1 };
            let look = |_| {
                while !bench.is_asleep(in_job) {
                    thread::yield_now();
                }
                sample.ask().runnable
            };
            let fewest = (0..100).map(look).min().unwrap();
            drop(guard);
            // The race detector does not see that a scope waits for its threads.
            waiter.join().unwrap();
            fewest
        })
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_waits_in_its_job_sleeps_and_one_that_waits_for_the_next_does_not() {
        assert_eq!(fewest_runnable(true), 0);
        assert_eq!(fewest_runnable(false), 1);
    }
}
