//! A worker's core and the loop that runs it: pick, poll, search, sleep.
//!
//! # Where the next task comes from
//! 1. the next slot, three times in a row at most;
//! 2. the deque, oldest first; every eighth pick, this worker's share of the injector goes to its back before;
//! 3. this worker's share of the injector;
//! 4. half of some other worker's deque;
//! 5. some other worker's next slot, if that worker has been in one poll for a while.
//!
//! Yields and self-wakes go to the back of the deque.

use std::ptr;
use std::time::{Duration, Instant};

use super::context::{self, Context};
use super::idle::Prefer;
use super::seat::{Occupied, Resume, Taken};
use super::{Processor, Shared};
use crate::cell::{Binder, Runnable};
use crate::context::set_async;
use crate::coop::BudgetGuard;
use crate::error::Error;
use crate::loom::atomic::Ordering;
use crate::loom::deque::{self, Injector, Steal, Stealer, Worker};
use crate::loom::{Arc, mutant};
use crate::parker::Parker;
use crate::rng::Rng;

/// Two loads on lines that seldom change, every eighth pick: an injected task waits for seven others at most.
const INJECTOR_INTERVAL: u32 = 8;

/// A pair of tasks that wake each other would otherwise keep the rest of the queue waiting for ever (tokio issue 5686).
const NEXT_IN_A_ROW: u32 = 3;

/// As many as crossbeam moves from a deque in one go.
const BATCH: usize = 32;

/// At most so many injected tasks at a time: about two microseconds between two polls.
const SHARE: usize = 256;

/// Lost races in a row with other thieves before a victim is left alone.
const RETRIES: usize = 4;

/// A victim's next slot is left to it unless its current poll is at least this old. The models know no time.
const STUCK: Duration = if cfg!(runtime_loom) { Duration::ZERO } else { Duration::from_micros(50) };

/// A deque that never held this many has no buffers worth collecting.
const COLLECT_AFTER: u64 = 1024;

/// A worker that is busy with ever new tasks in its slot is not stuck: after so many looks the idle one sleeps.
const LOOKS: u32 = 3;

/// What a worker owns.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) index: usize,
    deque: Worker<Runnable>,
    pub(super) binder: Binder,
    rng: Rng,
    picks: u32,
    next_in_a_row: u32,
    /// Counted as searching in the idle word.
    searching: bool,
    /// What a victim with a full next slot was doing when this worker last looked.
    suspect: Option<Suspect>,
    /// How often in a row this worker has slept with an eye on a suspect.
    looks: u32,
    spin: Spin,
    /// How many tasks the worker had spawned when it last emptied the collector.
    collected_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    victim: usize,
    polls: u64,
    since: Instant,
}

/// Whether to wait a moment for work before sleeping: worth it if work used to come within that moment.
///
/// A mean over the last waits, weighted by 1/8 each. A wait longer than [`SPIN_MOST`] counts as twice that, so that one
/// long sleep does not end the spinning and a few in a row do.
#[derive(Debug, Default)]
struct Spin {
    mean_ns: u64,
}

/// Waking a sleeping thread on a virtual processor that has halted takes from 5 to 50 microseconds; spinning longer
/// than that cannot be better than sleeping.
const SPIN_MOST: Duration = if cfg!(runtime_loom) { Duration::ZERO } else { Duration::from_micros(50) };

impl Spin {
    fn limit(&self) -> Duration {
        let limit = Duration::from_nanos(2 * self.mean_ns);
        if limit <= 2 * SPIN_MOST { limit.min(SPIN_MOST) } else { Duration::ZERO }
    }

    fn waited(&mut self, time: Duration) {
        let ns = time.min(4 * SPIN_MOST).as_nanos() as u64;
        self.mean_ns = self.mean_ns - self.mean_ns / 8 + ns / 8;
    }
}

/// Why a run loop ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The runtime is stopping and there is nothing left to fail.
    Stopped,
    /// The core was left behind for blocking code, and no other was free.
    LostCore,
    /// The future of `block_on` was woken.
    Woken,
}

impl Core {
    pub(super) fn new(index: usize, binder: Binder) -> Self {
        let seed = (index as u32).wrapping_mul(0x9E37_79B9) ^ 0x5bd1_e995;
        Core {
            index,
            deque: Worker::new_fifo(),
            binder,
            rng: Rng::new(seed),
            picks: 0,
            next_in_a_row: 0,
            searching: false,
            suspect: None,
            looks: 0,
            spin: Spin::default(),
            collected_at: 0,
        }
    }

    pub(super) fn stealer(&self) -> Stealer<Runnable> {
        self.deque.stealer()
    }

    pub(super) fn set_searching(&mut self, searching: bool) {
        self.searching = searching;
    }

    /// Everything that is queued here, for the end.
    pub(super) fn drain(&mut self) -> Vec<Runnable> {
        std::iter::from_fn(|| self.deque.pop()).collect()
    }

    /// The next task of the worker's own.
    #[inline]
    fn pick(&mut self, shared: &'static Shared, own: &Processor) -> Option<Runnable> {
        self.picks = self.picks.wrapping_add(1);
        if self.picks % INJECTOR_INTERVAL == 0 && !shared.injector.is_empty() {
            self.take_share(shared);
        }
        if self.next_in_a_row < NEXT_IN_A_ROW {
            if let Some(runnable) = own.next.take() {
                self.next_in_a_row += 1;
                return Some(runnable);
            }
        }
        self.next_in_a_row = 0;
        self.deque.pop().or_else(|| own.next.take())
    }

    /// A task of somebody else's.
    #[cold]
    fn search(&mut self, shared: &'static Shared) -> Option<Runnable> {
        if !shared.injector.is_empty() {
            self.take_share(shared);
            if let Some(runnable) = self.deque.pop() {
                return Some(runnable);
            }
        }
        if shared.processors.len() == 1 {
            return None;
        }
        self.searching = self.searching || shared.idle.search(self.index);
        if !self.searching {
            return None;
        }
        self.steal(shared).or_else(|| self.steal_next(shared))
    }

    /// Moves this worker's share of the injected tasks behind its own, so that all run in about the order of arrival.
    #[cold]
    fn take_share(&mut self, shared: &'static Shared) {
        let mut left = (shared.injector.len() / shared.processors.len() + 1).min(SHARE);
        while left > 0 {
            let before = self.deque.len();
            if insist(|| shared.injector.steal_batch_with_limit(&self.deque, left)).is_none() {
                return;
            }
            left = left.saturating_sub(self.deque.len().saturating_sub(before).max(1));
        }
    }

    fn victims(&mut self, shared: &'static Shared) -> impl Iterator<Item = usize> + use<> {
        let (count, own) = (shared.processors.len(), self.index);
        let start = self.rng.below(count);
        (start..count).chain(0..start).filter(move |victim| *victim != own)
    }

    fn steal(&mut self, shared: &'static Shared) -> Option<Runnable> {
        self.victims(shared).find_map(|victim| {
            let victim = &shared.processors[victim];
            if victim.stealer.is_empty() {
                return None;
            }
            let stolen = insist(|| victim.stealer.steal_batch_with_limit_and_pop(&self.deque, BATCH))?;
            shared.processors[self.index].stats.stolen.add(1 + self.deque.len() as u64);
            Some(stolen)
        })
    }

    /// Takes the next slot of a worker that has been in the same poll since this worker looked before.
    fn steal_next(&mut self, shared: &'static Shared) -> Option<Runnable> {
        let victim = self.victims(shared).find(|victim| !shared.processors[*victim].next.is_empty());
        let Some(victim) = victim else {
            self.suspect = None;
            return None;
        };
        let polls = shared.processors[victim].stats.polls.get();
        match self.suspect {
            Some(old) if old.victim == victim && old.polls == polls => {
                if old.since.elapsed() < STUCK {
                    return None;
                }
                self.suspect = None;
                shared.processors[victim].next.take()
            }
            _ => {
                self.suspect = Some(Suspect { victim, polls, since: Instant::now() });
                None
            }
        }
    }

    /// Everything in the worker's hands goes where others can take it.
    pub(super) fn expose(&mut self, own: &Processor) {
        if let Some(runnable) = own.next.take() {
            self.deque.push(runnable);
        }
    }
}

/// One task of the injector.
pub(super) fn steal_one(injector: &Injector<Runnable>) -> Option<Runnable> {
    insist(|| injector.steal())
}

/// Tries again after a lost race, a few times.
fn insist<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    for _ in 0..RETRIES {
        match steal() {
            Steal::Success(stolen) => return Some(stolen),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
    None
}

/// A task that was woken runs next; what it displaces queues. True if the push calls for a wake-up.
#[inline]
pub(super) fn push_woken(shared: &'static Shared, core: &mut Core, runnable: Runnable) -> bool {
    match shared.processors[core.index].next.put(runnable) {
        None => false,
        Some(displaced) => {
            core.deque.push(displaced);
            shared.idle.calls_for_wake()
        }
    }
}

/// A fresh task runs next if nothing else does, or else queues. True if the push calls for a wake-up.
#[inline]
pub(super) fn push_spawned(shared: &'static Shared, core: &mut Core, runnable: Runnable) -> bool {
    let own = &shared.processors[core.index];
    own.stats.spawned.add(1);
    if own.next.is_empty() {
        own.next.put(runnable);
        return false;
    }
    core.deque.push(runnable);
    shared.idle.calls_for_wake()
}

/// A task that yielded runs after the others. This worker is about to pick, so nobody is woken for it.
#[inline]
pub(super) fn push_yielded(_: &'static Shared, core: &mut Core, runnable: Runnable) -> bool {
    core.deque.push(runnable);
    false
}

/// The body of a worker's own thread.
pub(super) fn main(shared: &'static Shared, worker: usize) {
    let context = Context::new(shared, false);
    if let Some(taken) = shared.processors[worker].seat.start(&context.parker) {
        let mut core = taken.core;
        core.searching = taken.searching;
        context.core.replace(Some(core));
        set_async(true);
        context::scope(&context, || while context.run(|| false) != Exit::Stopped && context.reoccupy() {});
        context.leave_seat();
        shared.offer_work();
        set_async(false);
    }
    for processor in &shared.processors {
        processor.seat.desert(&context.parker);
    }
    shared.runner_left();
}

impl Context {
    fn own(&self, core: &Core) -> &'static Processor {
        &self.shared.processors[core.index]
    }

    /// Runs the worker until the runtime stops, the core is lost, or `woken` says so.
    pub(super) fn run(&self, woken: impl Fn() -> bool) -> Exit {
        let budget = BudgetGuard::fresh();
        loop {
            let picked = {
                let mut core = self.core.borrow_mut();
                let Some(core) = core.as_mut() else { return Exit::LostCore };
                let own = self.own(core);
                let runnable = core.pick(self.shared, own).or_else(|| core.search(self.shared));
                runnable.map(|runnable| (runnable, own, self.picked(core)))
            };
            match picked {
                Some((runnable, own, wake)) => {
                    if wake {
                        self.shared.notify();
                    }
                    budget.refill();
                    self.execute(runnable, own);
                    // After a task and not before: a future that wakes itself all the time lets one run each time.
                    if woken() {
                        return Exit::Woken;
                    }
                }
                None if woken() => return Exit::Woken,
                None => {
                    let idle_since = Instant::now();
                    if !self.spin(idle_since, &woken) {
                        if let Some(exit) = self.sleep(&woken) {
                            return exit;
                        }
                    }
                    if let Some(core) = self.core.borrow_mut().as_mut() {
                        core.spin.waited(idle_since.elapsed());
                    }
                }
            }
        }
    }

    /// Ends a search that was successful, and looks whether somebody else could help; true if somebody should.
    #[inline]
    fn picked(&self, core: &mut Core) -> bool {
        if core.searching {
            core.searching = false;
            core.looks = 0;
            return self.shared.idle.found(core.index) && self.shared.has_work();
        }
        !core.deque.is_empty() && self.shared.idle.calls_for_wake()
    }

    /// Polls a task, or fails it if the runtime is stopping.
    #[inline]
    fn execute(&self, runnable: Runnable, own: &'static Processor) {
        own.stats.enter(runnable.id());
        let completed = if self.shared.is_stopping() {
            runnable.fail(Error::shutdown());
            true
        } else {
            runnable.run()
        };
        let still_own = self.core.borrow().as_ref().is_some_and(|core| ptr::eq(self.own(core), own));
        if still_own {
            own.stats.leave();
            own.stats.polls.add(1);
            own.stats.completed.add(u64::from(completed));
        } else {
            // The poll left the core behind, and with it the right to count there.
            self.shared.remote.completed.fetch_add(u64::from(completed), Ordering::Relaxed);
        }
    }

    /// Looks for work for a moment, if this worker is the one that searches; true if there is some.
    fn spin(&self, since: Instant, woken: &impl Fn() -> bool) -> bool {
        let limit = match self.core.borrow().as_ref() {
            Some(core) if core.searching => core.spin.limit(),
            _ => return false,
        };
        while since.elapsed() < limit {
            // Where threads outnumber processors, the one that is to bring the work may be waiting for this processor.
            std::thread::yield_now();
            // A stop is for `sleep` to see, which ends the loop; a search that spins would go round for ever.
            if self.shared.is_stopping() {
                return false;
            }
            if self.shared.has_work() || woken() {
                return true;
            }
        }
        false
    }

    /// Puts the core down and sleeps until there is work, or a reason to end the loop.
    #[cold]
    fn sleep(&self, woken: &impl Fn() -> bool) -> Option<Exit> {
        let shared = self.shared;
        let mut core = self.core.take().expect("the loop has just used the core");
        let (worker, searching) = (core.index, std::mem::take(&mut core.searching));
        let mut suspicious = core.suspect.is_some() && core.looks < LOOKS;
        core.looks += 1;
        let own = self.own(&core);
        own.stats.parks.add(1);
        if own.stats.spawned.get() - core.collected_at > COLLECT_AFTER {
            core.collected_at = own.stats.spawned.get();
            deque::collect();
        }
        own.seat.put(core);
        shared.idle.park(worker, searching);
        if shared.phase.load(Ordering::Relaxed) != super::OPEN {
            shared.idle_while_closing();
        }
        // The second look that the protocol asks of everybody who parks.
        let mut look_again = !mutant!("park_skips_second_look") && shared.has_work();
        loop {
            let stopping = shared.is_stopping();
            let wants = std::mem::take(&mut look_again) || stopping || woken();
            match own.seat.resume(&self.parker, wants, || shared.idle.leave(worker)) {
                Resume::Taken(taken) => return self.awake(taken, stopping),
                // A guest runs the worker, and ends with it what has to be ended.
                Resume::Displaced if stopping => return Some(Exit::Stopped),
                Resume::Displaced => suspicious = false,
                Resume::Asleep => {}
            }
            if suspicious && !stopping {
                // Somebody's next slot was full: look once more whether that somebody is stuck.
                self.parker.park_timeout(2 * STUCK);
                look_again = true;
            } else {
                self.parker.park();
                // Somebody may have failed to wake whom they wanted, and have woken everybody instead.
                look_again = shared.has_work();
            }
        }
    }

    /// Goes on with the core in hand.
    fn awake(&self, taken: Taken<Core>, stopping: bool) -> Option<Exit> {
        let mut core = taken.core;
        core.searching = taken.searching;
        let own = self.own(&core);
        let empty = core.deque.is_empty() && own.next.is_empty() && !self.shared.has_work();
        // A task whose first poll met the stop was bound after the walk: whoever polled it looks again before it leaves.
        let done = stopping && empty && !self.shared.cancel_waiting();
        self.core.replace(Some(core));
        done.then_some(Exit::Stopped)
    }

    /// Gives the worker up; whoever is notified next runs it. What it has queued is to be offered after that.
    pub(super) fn leave_seat(&self) {
        let Some(mut core) = self.core.take() else { return };
        let (shared, worker) = (self.shared, core.index);
        let own = self.own(&core);
        core.expose(own);
        own.stats.leave();
        let searching = std::mem::take(&mut core.searching);
        let manned = own.seat.give_back(core);
        shared.idle.set_manned(worker, manned);
        if shared.flavor == super::Flavor::CurrentThread {
            if searching && !mutant!("guest_keeps_the_search") {
                // Whoever takes the worker next looks at every queue first.
                let _ = shared.idle.found(worker);
            }
            shared.next_guest();
        } else {
            shared.idle.park(worker, searching);
        }
    }

    /// Takes a worker that nobody has after blocking code; false if there is none, and the thread has to go.
    pub(super) fn reoccupy(&self) -> bool {
        let shared = self.shared;
        let Some(worker) = shared.idle.claim(Prefer::Vacant) else { return false };
        match shared.processors[worker].seat.occupy(&self.parker) {
            Ok(taken) => {
                shared.idle.set_manned(worker, true);
                let mut core = taken.core;
                core.searching = taken.searching;
                self.core.replace(Some(core));
                true
            }
            Err(Occupied(sleeper)) => {
                sleeper.unpark();
                false
            }
        }
    }
}

impl Shared {
    /// True if this thread runs a worker of this scheduler, or waits in it, at any depth of the stack.
    pub(crate) fn is_here(&self) -> bool {
        context::find(self, |context| context.is_some())
    }

    /// Wakes somebody if there is work; called by whoever gives a worker up, while it still counts as a runner.
    ///
    /// At the shutdown as well: a destructor may wait for that of a task behind it in the queue, and this thread may have
    /// looked at the queues while the tasks were on their way from one to the other.
    pub(super) fn offer_work(&'static self) {
        if self.has_work() {
            self.notify();
        }
    }
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Core>();
    send::<Arc<Parker>>();
};
