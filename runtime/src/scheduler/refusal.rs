//! A thread that the system refused: when to ask again.
//!
//! A refusal costs much, and calls for a worker may come by the thousand: for half of [`ASK_AGAIN`] after one, no call asks
//! if there are others to do the work, and a monitor to ask later.
//!
//! Tasks whose worker was refused its thread are left to those who run. But whoever counts as running may stand in blocking
//! code, and then nobody would ever ask again. So while there is something to do and nobody to do it, the monitor asks
//! every [`ASK_AGAIN`], and so does a thread that waits in a nested `block_on`, where there may be no monitor. Other blocking
//! code has nobody else.

use std::time::{Duration, Instant};

use super::Shared;
use crate::driver::{duration_to_ns, to_ns};
use crate::loom::atomic::{AtomicU64, Ordering};

/// From one question to the next: a refusal costs the system more than most polls.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The last refusal, if nothing was given since.
///
/// ORDERING: Relaxed throughout: whoever misses it looks again a little later, and nothing is published with it.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// When that was, zero if never.
    at: AtomicU64,
}

impl Refusal {
    pub(super) fn note(&self) {
        self.at.store(to_ns(Instant::now()).max(1), Ordering::Relaxed);
    }

    /// True for one of those who forget it.
    pub(super) fn forget(&self) -> bool {
        self.is_there() && self.at.swap(0, Ordering::Relaxed) != 0
    }

    #[inline]
    pub(super) fn is_there(&self) -> bool {
        self.at.load(Ordering::Relaxed) != 0
    }

    /// True if there is one, and it was so long ago at least.
    pub(super) fn is_old(&self, now: Instant, age: Duration) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != 0 && to_ns(now) >= at.saturating_add(duration_to_ns(age))
    }
}

impl Shared {
    /// Something is to be done, the system refused a thread for it, and it may be that nobody else comes.
    pub(super) fn is_short_of_threads(&self) -> bool {
        self.refusal.is_there() && (self.has_work() || self.driver.has_business() && !self.driver.is_led())
    }

    /// False for a while after a refusal: where others can do the work, the system is not asked more often than a hundred times
    /// a second.
    pub(super) fn may_ask_for_threads(&self, now: Instant) -> bool {
        !self.refusal.is_there() || self.refusal.is_old(now, ASK_AGAIN / 2)
    }

    /// A thread was refused, and it is too soon to ask again if others can do the work. Models know no time.
    pub(super) fn was_just_refused(&self) -> bool {
        !cfg!(runtime_loom) && self.refusal.is_there() && !self.may_ask_for_threads(Instant::now())
    }
}

#[cfg(all(test, not(runtime_loom)))]
pub(super) mod testing {
    use std::any::Any;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::Waker;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::context::{Executor, Host, Job, Role, Stall};
    use crate::loom::lock::Mutex;

    /// Gives no thread but that of the monitor.
    #[derive(Default)]
    pub(in super::super) struct Refuses {
        asked: AtomicU32,
        monitors: Mutex<Vec<JoinHandle<()>>>,
    }

    impl Refuses {
        /// The host of the runtime that `shared` serves, as long as this is kept.
        pub(in super::super) fn host_of(shared: &Shared) -> Arc<Self> {
            let refuses = Arc::new(Refuses::default());
            let host: Arc<dyn Host> = refuses.clone();
            *shared.host.lock() = Some(Arc::downgrade(&host));
            refuses
        }

        /// How often it was asked for a worker's thread.
        pub(in super::super) fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }

        /// Waits until the monitors that it gave a thread have ended.
        pub(in super::super) fn join(&self) {
            self.monitors.lock().drain(..).for_each(|monitor| monitor.join().unwrap());
        }
    }

    impl Host for Refuses {
        fn start_thread(&self, role: Role, _: Job) -> io::Result<()> {
            match role {
                Role::Monitor => {
                    self.monitors.lock().push(thread::spawn(|| ()));
                    Ok(())
                }
                _ => {
                    self.asked.fetch_add(1, Ordering::Relaxed);
                    Err(io::ErrorKind::WouldBlock.into())
                }
            }
        }

        fn wake_later(&self, _: Duration, _: &Waker) {}

        fn stalled(&self, _: Stall) {}

        fn is_blocking(&self) -> bool {
            false
        }

        fn executor(self: Arc<Self>) -> Arc<dyn Executor> {
            unreachable!("there are no callbacks")
        }

        fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
            self
        }
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use std::panic::Location;
    use std::sync::LazyLock;

    use super::super::monitor::Options;
    use super::super::{Flavor, OPEN};
    use super::testing::Refuses;
    use super::*;
    use crate::cell;

    /// How often the system is asked for threads while a thousand tasks are submitted, and how often it may be.
    fn asked(shared: &'static Shared, options: Options) -> (u32, u32) {
        let refuses = Refuses::host_of(shared);
        shared.monitor.open(options);
        shared.phase.store(OPEN, Ordering::Relaxed);
        let begin = Instant::now();
        // Who runs tasks is this thread, as far as anybody knows.
        shared.runner_came();
        for _ in 0..1000 {
            let (runnable, task) = cell::new(async {}, shared, (), Location::caller());
            shared.accept(runnable);
            drop(task);
        }
        refuses.join();
        let most = 1 + begin.elapsed().as_millis() / (ASK_AGAIN / 2).as_millis();
        (refuses.asked(), most as u32)
    }

    #[test]
    fn a_system_that_refuses_threads_is_asked_a_hundred_times_a_second_at_most() {
        static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared::new(Flavor::MultiThread, 2, 0));
        let (asked, most) = asked(&SHARED, Options { rescue: true, report_after: None });
        assert!((1..=most).contains(&asked), "{asked} of {most}");
    }

    #[test]
    fn a_system_that_refuses_threads_is_asked_each_time_where_no_monitor_asks_later() {
        static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared::new(Flavor::MultiThread, 2, 0));
        assert_eq!(asked(&SHARED, Options::default()).0, 1000);
    }
}
