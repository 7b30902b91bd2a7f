//! What is passed on for workers that are stuck, and when a spare worker comes and goes.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use super::super::core::insist;
use super::super::{Processor, Shared};
use super::GRACE;
use super::sight::starves;
use crate::clocks::has_processor;
use crate::cpu::{self, Mover};

/// A poll that is younger than this may return by itself before a thread has started.
const SUMMON_AFTER: u32 = 2;

/// So many tasks are moved out of one queue in one look; what is left is moved in the next.
const MOVED: usize = 1024;

/// A spare worker stays at least as long as this after it was needed, so that it need not come again at once.
const STAYS: Duration = Duration::from_millis(20);

/// What one look has found, and what the monitor remembers of its spare workers.
#[derive(Default)]
pub(super) struct Rescue {
    /// Workers that are stuck.
    stuck: usize,
    /// Those of them whose thread has used next to no time: it waits for something, or for a processor.
    silent: Vec<usize>,
    /// Tasks were moved to the injector.
    moved: bool,
    /// Something waited for somebody who searches.
    waits: bool,
    /// Looks in a row in which all that were awake were stuck.
    all_stuck: u32,
    /// When every spare worker was last needed.
    needed: Option<Instant>,
    /// Made when it is first wanted; `None` in it where there is none.
    mover: OnceCell<Option<Mover>>,
    /// Which sleep of a leader was to end last, and to which processor it was fetched.
    fetched: Option<(u64, u32)>,
}

/// Two looks of a monitor that finds the worker stuck in both.
#[cfg(all(test, any(target_os = "linux", runtime_loom)))]
pub(in super::super) fn look_twice_at_stuck(shared: &'static Shared, worker: usize) {
    let mut rescue = Rescue::default();
    for _ in 0..2 {
        rescue.begin();
        rescue.stuck(worker, true);
        rescue.end(shared, 1, Instant::now());
    }
}

impl Rescue {
    pub(super) fn begin(&mut self) {
        (self.stuck, self.moved) = (0, false);
        self.silent.clear();
    }

    /// Counts a worker that is stuck.
    pub(super) fn stuck(&mut self, worker: usize, silent: bool) {
        self.stuck += 1;
        if silent {
            self.silent.push(worker);
        }
    }

    /// Moves the task in the worker's next slot where anybody may take it.
    pub(super) fn take_next(&mut self, shared: &'static Shared, processor: &Processor) {
        if let Some(runnable) = processor.next.take() {
            shared.injector.push(runnable);
            self.moved = true;
        }
    }

    /// Moves what is queued behind a poll that is stuck where everybody takes a share, also those who are not out of work:
    /// they would steal it only then.
    pub(super) fn take_queue(&mut self, shared: &'static Shared, processor: &Processor) {
        for _ in 0..MOVED {
            let Some(runnable) = insist(|| processor.stealer.steal()) else { return };
            shared.injector.push(runnable);
            self.moved = true;
        }
    }

    /// Takes the budget of a task while others wait for its worker.
    pub(super) fn curb(&self, shared: &Shared, processor: &Processor) {
        if !processor.stealer.is_empty() || !processor.next.is_empty() || !shared.injector.is_empty() {
            processor.runner.curb();
        }
    }

    /// After all workers were looked at: wakes who can help, calls a spare worker if nobody can, and dismisses one that is
    /// not needed any more.
    pub(super) fn end(&mut self, shared: &'static Shared, awake: usize, now: Instant) {
        if self.moved {
            // As every push that others must find.
            shared.idle.submitted();
            if shared.is_stopping() {
                // The workers fail what they find, and the last one to leave what is left; it may have left before the push.
                shared.sweep_if_idle();
            }
        }
        let waits = self.stuck > 0 && waits_for_a_search(shared);
        // A search that goes on is over by the next look.
        let waited = std::mem::replace(&mut self.waits, waits);
        let may_ask = shared.may_ask_for_threads(now);
        if (self.stuck > 0 || self.moved) && (may_ask || shared.idle.can_wake()) {
            if shared.has_work() && shared.idle.calls_for_wake() {
                shared.notify();
            }
            // The driver, if it has no leader.
            shared.attend();
            if waited && self.waits {
                shared.notify_beside();
            }
        }
        if self.stuck > 0 {
            self.fetch_leader(shared);
        }
        let all_stuck = self.stuck > 0 && self.stuck == awake && !shared.idle.anybody_sleeps();
        self.all_stuck = if all_stuck { self.all_stuck + 1 } else { 0 };
        if self.all_stuck >= SUMMON_AFTER && may_ask && self.may_summon(shared) && shared.summon() {
            self.all_stuck = 0;
        }
        self.dismiss(shared, now);
    }

    /// Has the driver's leader wake up here if it sleeps on after its time, while those that could do what it does are stuck.
    fn fetch_leader(&mut self, shared: &Shared) {
        let Some((late, here)) = shared.driver.late_leader(GRACE).zip(cpu::here()) else { return };
        // To move a thread that runs takes until its processor sees to it, and that one may be stopped.
        if late.whereabouts.number().is_some_and(has_processor) {
            return;
        }
        // What has not helped at once does not help when it is done again.
        let this = (late.deadline, here);
        if self.fetched == Some(this) {
            return;
        }
        if self.mover().is_some_and(|mover| late.whereabouts.fetch(mover, here)) {
            self.fetched = Some(this);
            late.parker.unpark();
        }
    }

    /// Goes from the processor on which the driver's leader sleeps while workers are stuck: if that does nothing for a while
    /// neither of the two wakes the other there.
    pub(super) fn keep_apart(&self, shared: &Shared) {
        let sleeps_on = if self.stuck > 0 { shared.driver.leader_sleeps_on() } else { None };
        let Some(cpu) = sleeps_on.filter(|cpu| cpu::here() == Some(*cpu)) else { return };
        if let Some(mover) = self.mover() {
            mover.leave(cpu);
        }
    }

    fn mover(&self) -> Option<&Mover> {
        self.mover.get_or_init(Mover::new).as_ref()
    }

    /// True if there is something to do for a spare worker, and room for one.
    ///
    /// One for each worker whose thread is blocked, because its processor is free; and as many as there are workers for
    /// those that compute, which share the processors with them.
    fn may_summon(&self, shared: &Shared) -> bool {
        let (spares, most) = (shared.spares.in_use(), shared.processors.len() - shared.workers);
        let is_wanted = spares < most && (shared.has_work() || shared.driver.has_business());
        let room = |blocked| spares < shared.workers + blocked;
        // To ask the system takes some microseconds for each.
        is_wanted && (room(0) || room(self.silent.len()) && room(self.blocked(shared)))
    }

    /// How many threads are blocked, and could not run if they had a processor.
    fn blocked(&self, shared: &Shared) -> usize {
        self.silent.iter().filter(|worker| !starves(&shared.processors[**worker])).count()
    }

    fn dismiss(&mut self, shared: &'static Shared, now: Instant) {
        let in_use = shared.spares.in_use();
        if in_use <= self.stuck || in_use == 0 {
            self.needed = Some(now);
        } else if self.needed.is_none_or(|needed| now - needed >= STAYS) {
            shared.dismiss();
        }
    }
}

/// Something is to be done, and nobody is called for it, because somebody searches: perhaps the one that is stuck, in a waker
/// that it has called for an event it found on the way to sleep.
fn waits_for_a_search(shared: &Shared) -> bool {
    let idle = &shared.idle;
    let is_wanted = shared.has_work() || shared.driver.has_business() && !shared.driver.is_led();
    is_wanted && idle.anybody_sleeps() && !idle.calls_for_wake()
}

#[cfg(all(test, target_os = "linux", not(runtime_loom)))]
mod tests {
    use std::panic::Location;
    use std::sync::{LazyLock, mpsc};
    use std::thread;

    use super::super::super::Flavor;
    use super::super::super::idle::Prefer;
    use super::super::super::refusal::testing::Refuses;
    use super::*;
    use crate::cell;
    use crate::parker::Parker;
    use crate::thread_id::ThreadId;
    use crate::whereabouts::Whereabouts;

    /// The thread sleeps on that worker's seat.
    fn sit_down(shared: &Shared, worker: usize, sleeper: &crate::loom::Arc<Parker>) {
        let seat = &shared.processors[worker].seat;
        drop(seat.notify());
        seat.put(seat.start(sleeper).unwrap().core);
        shared.park(worker, false);
        shared.idle.set_manned(worker, true);
    }

    /// Nobody sleeps, the first worker searches and is stuck, and a task waits. The other one `sits_down`.
    fn look_at_a_searcher(shared: &'static Shared, sits_down: impl FnOnce()) {
        while shared.idle.claim(Prefer::Vacant).is_some() {}
        assert!(shared.idle.search(0));
        sits_down();
        let (runnable, _task) = cell::new(async {}, shared, (), Location::caller());
        shared.injector.push(runnable);
        look_twice_at_stuck(shared, 0);
    }

    #[test]
    fn a_thread_is_started_for_a_task_if_the_worker_that_searches_is_stuck() {
        static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared::new(Flavor::MultiThread, 2, 0));
        let refuses = Refuses::host_of(&SHARED);
        look_at_a_searcher(&SHARED, || SHARED.park(1, false));
        assert_eq!(refuses.asked(), 1);
    }

    #[test]
    fn who_sleeps_is_woken_for_a_task_if_the_worker_that_searches_is_stuck() {
        static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared::new(Flavor::MultiThread, 2, 0));
        let sleeper = Parker::new();
        let (tell, told) = mpsc::channel();
        look_at_a_searcher(&SHARED, || sit_down(&SHARED, 1, &sleeper));
        let thread = thread::spawn(move || {
            sleeper.park();
            tell.send(()).unwrap();
        });
        told.recv_timeout(Duration::from_secs(60)).expect("it is woken");
        thread.join().unwrap();
    }

    #[test]
    fn a_leader_that_sleeps_on_after_its_deadline_is_woken_while_somebody_is_stuck() {
        if thread::available_parallelism().is_ok_and(|processors| processors.get() == 1) {
            return; // There is nowhere else to be.
        }
        static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared::new(Flavor::MultiThread, 2, 0));
        let (tell, told) = mpsc::channel();
        let sleeper = thread::spawn(move || {
            let (parker, whereabouts) = (Parker::new(), Whereabouts::new().unwrap());
            let lead = SHARED.driver.lead().unwrap();
            lead.pretend_to_sleep(&parker, Some(&whereabouts), 1);
            let asleep = whereabouts.fall_asleep();
            tell.send(whereabouts.number()).unwrap();
            parker.park();
            drop(asleep);
            tell.send(None).unwrap();
        });
        let thread = told.recv().unwrap().and_then(ThreadId::of).unwrap();
        while thread.is_runnable() == Some(true) {
            thread::yield_now();
        }
        let mut rescue = Rescue::default();
        rescue.stuck(0, false);
        // One that runs is left alone until the next look: it may have waited only for a page of memory.
        let begin = Instant::now();
        while told.try_recv().is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "it is not woken");
            rescue.end(&SHARED, 2, Instant::now());
            thread::yield_now();
        }
        sleeper.join().unwrap();
    }
}
