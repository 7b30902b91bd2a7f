//! The scheduler and its driver: who attends timers and I/O.
//!
//! # Nobody sleeps past a timer or an event
//! *While the driver has business and nobody has the lead, some worker is awake.* A worker that goes to sleep takes the
//! lead if it is vacant, and else hastens whoever has it; whoever leaves its seat otherwise (blocking code, the end of a
//! `block_on`) looks once more and wakes somebody, or hastens the leader to the timers that it leaves behind; so does a
//! thread that is no worker and arms a timer or registers an object. Each of them looks after a fence that stands between
//! what it did and the look, as every sleeper's stands between its announcement and its look. A leader that lays the lead
//! down and sleeps on has a fence in between, for those who trusted in it.
//!
//! # Busy workers
//! A worker that does not run out of tasks looks at its own timers every 64 tasks and, if nobody has the lead, at the
//! whole driver when 100 microseconds have passed since the last look: that is after 64 tasks as well, and so up to 0.8
//! milliseconds later. A worker whose tasks take longer than 12.5 microseconds each looks at the clock after each.

use std::cell::Cell;
use std::ptr;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::Shared;
use super::context::{self, Context};
use super::virtual_clock::Held;
use crate::context::is_async;
use crate::cpu;
use crate::driver::{Armed, Batch, Driver, Lead, Precise};
use crate::loom::atomic::{Ordering, fence};
use crate::loom::{Arc, mutant};
use crate::whereabouts::Whereabouts;

/// An injected task waits for so many others at most, less one.
const HOUSEKEEPING: u32 = 8;

/// Reading the clock costs about as much as polling a small task; so many in a row make it free.
const CLOCK: u32 = 64;

/// How long the driver may wait for a busy worker: an epoll call costs less than a hundredth of it.
const ATTEND: Duration = Duration::from_micros(100);

/// When a thread that runs a worker last looked after what is not a task.
#[derive(Debug)]
pub(super) struct Housekeeping {
    /// Turns until the next look.
    left: Cell<u32>,
    /// Turns from the last look to the next.
    step: Cell<u32>,
    /// Turns since the clock was read.
    unread: Cell<u32>,
    /// The thread has just slept: how long its tasks are now is not known.
    rested: Cell<bool>,
    clock: Cell<Option<Instant>>,
    attended: Cell<Option<Instant>>,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Housekeeping {
            left: Cell::new(HOUSEKEEPING),
            step: Cell::new(HOUSEKEEPING),
            unread: Cell::new(0),
            rested: Cell::new(true),
            clock: Cell::default(),
            attended: Cell::default(),
        }
    }
}

impl Housekeeping {
    /// Counts a turn of the run loop; true if it is time to look after other things.
    #[inline]
    pub(super) fn turn(&self) -> bool {
        self.left.set(self.left.get() - 1);
        self.left.get() == 0
    }

    /// The thread has slept until now, and the driver was attended meanwhile.
    pub(super) fn rested(&self, now: Instant) {
        self.rested.set(true);
        self.unread.set(0);
        self.step.set(HOUSEKEEPING);
        self.left.set(HOUSEKEEPING);
        self.clock.set(Some(now));
        self.attended.set(Some(now));
    }

    /// Begins to count again; true if it is time to look at the driver.
    #[inline]
    fn next(&self) -> bool {
        let turns = self.unread.get() + self.step.get();
        self.unread.set(turns);
        let look = turns >= CLOCK || self.step.get() == 1 || self.rested.take();
        let attend = look && self.read_clock(turns);
        self.left.set(self.step.get());
        attend
    }

    /// The time, if this turn has read it.
    fn just_read(&self) -> Option<Instant> {
        self.clock.get().filter(|_| self.unread.get() == 0)
    }

    #[cold]
    fn read_clock(&self, turns: u32) -> bool {
        let now = Instant::now();
        let since = |before: Instant| now.duration_since(before);
        let before = self.clock.replace(Some(now));
        self.unread.set(0);
        let slow = before.is_some_and(|before| since(before) > ATTEND / HOUSEKEEPING * turns);
        self.step.set(if slow { 1 } else { HOUSEKEEPING });
        let attend = self.attended.get().is_none_or(|before| since(before) >= ATTEND);
        if attend {
            self.attended.set(Some(now));
        }
        attend
    }
}

/// How a worker without work rests.
#[derive(Debug)]
pub(super) enum Rest {
    /// For a moment.
    Nap(Duration),
    /// Until it is wanted; it takes the lead if that is vacant.
    Seated(usize),
    /// Until it is wanted, and somebody else has its seat: the lead is for those who have one.
    WithoutSeat,
}

/// What a leader brings home.
#[derive(Default)]
pub(super) struct Found {
    batch: Option<Batch>,
    /// Some timer may be due.
    timers: bool,
    /// Of a clock that stands still, until the events are dispatched: whoever leads next cannot see them.
    held: Option<Held<'static>>,
}

impl Found {
    pub(super) fn events(batch: Batch) -> Self {
        Found { batch: Some(batch), ..Found::default() }
    }

    /// To be called while nobody else can have the lead.
    fn hold(mut self, shared: &'static Shared) -> Self {
        if self.any() && shared.driver.clock().is_paused() {
            self.held = Some(Held::new(shared));
        }
        self
    }

    pub(super) fn any(&self) -> bool {
        self.timers || self.batch.as_ref().is_some_and(|batch| !batch.is_empty())
    }
}

impl Context {
    /// What a worker does every few tasks.
    pub(super) fn housekeep(&self) {
        let shared = self.shared;
        if !shared.injector.is_empty() {
            if let Some(core) = self.core.borrow_mut().as_mut() {
                core.take_share(shared);
            }
        }
        let attend = self.housekeeping.next();
        if let Some(now) = self.housekeeping.just_read() {
            self.relieve_monitor(now);
        }
        if attend && shared.driver.has_business() {
            self.attend_while_busy();
        }
    }

    /// Looks at the other workers, if it is time; this one is between two polls.
    pub(super) fn relieve_monitor(&self, now: Instant) {
        if let Some(worker) = self.worker() {
            self.shared.monitor.relieve(self.shared, worker, now, self.throttle.is_crowded());
        }
    }

    /// The worker that this thread runs.
    fn worker(&self) -> Option<usize> {
        self.core.borrow().as_ref().map(|core| core.index)
    }

    /// Fires the timers of this worker and, if nobody has the lead, looks at the whole driver.
    #[cold]
    fn attend_while_busy(&self) {
        let driver = &self.shared.driver;
        match driver.lead() {
            None => {
                if let Some(worker) = self.worker() {
                    self.in_batch(|| driver.timers().fire(self.shared.shard(worker), driver.clock().now()));
                }
            }
            Some(lead) => {
                let batch = lead.poll();
                drop(lead);
                self.dispatch(Found { timers: true, ..Found::events(batch) });
            }
        }
    }

    /// Wakes those whom the events and the timers concern.
    pub(super) fn dispatch(&self, found: Found) {
        self.in_batch(|| {
            if let Some(batch) = found.batch {
                batch.dispatch();
            }
            if found.timers {
                let driver = &self.shared.driver;
                // Perhaps without a seat, when all others sleep: those who are to be woken are in no timer any more.
                self.shared.while_held(|| driver.timers().fire_all(driver.clock().now()));
                self.shared.monitor.fired(self.shared);
            }
        });
    }

    /// Calls `f`, which wakes tasks, and calls nobody for those that queue here: the pick that follows sees whether somebody
    /// should come. Whoever is called for the second task of a batch finds that one alone, runs it beside this thread, or
    /// instead of it, and sleeps again before the rest is queued.
    fn in_batch<R>(&self, f: impl FnOnce() -> R) -> R {
        self.batches.set(true);
        // Does not unwind: a waker that panics is caught where it is called.
        let result = f();
        self.batches.set(false);
        if let Some(core) = self.core.borrow_mut().as_mut() {
            // The next slot first: what the pick sees is the deque.
            core.begin_in_slot();
            self.throttle.batch(core.len());
        }
        result
    }

    /// Sleeps, in the driver if it has business and this thread can have the lead. The worker's bit is set, and the fence
    /// after it stands before the look at the driver.
    pub(super) fn rest(&self, rest: &Rest) -> Found {
        let (shared, driver) = (self.shared, &self.shared.driver);
        match *rest {
            Rest::Nap(time) => self.parker.park_timeout(time),
            Rest::Seated(worker) if driver.has_business() => match driver.lead() {
                Some(lead) => {
                    shared.idle.set_leader(Some(worker));
                    let found = self.lead(&lead).hold(shared);
                    shared.idle.set_leader(None);
                    drop(lead);
                    if !mutant!("lead_laid_down_without_fence") {
                        // ORDERING: pairs with the fence in `attend`: whoever still saw a leader left its business
                        // before, and the look at the driver before the next sleep sees that.
                        fence(Ordering::SeqCst);
                    }
                    return found;
                }
                None => {
                    if !mutant!("follower_lets_the_leader_sleep") {
                        driver.hasten(driver.timers().next());
                    }
                    shared.look_at_clock();
                    self.parker.park();
                }
            },
            Rest::Seated(_) => self.parker.park(),
            Rest::WithoutSeat => {
                // This thread may have had the lead until now, and the one that has its seat may sleep already.
                shared.attend();
                self.parker.park();
            }
        }
        Found::default()
    }

    /// One wait as the leader.
    fn lead(&self, lead: &Lead<'_>) -> Found {
        let driver = &self.shared.driver;
        if driver.clock().is_paused() {
            let mut found = Found::default();
            let moved = self.shared.advance_if_idle(|| {
                found = Found::events(lead.poll());
                found.any()
            });
            if moved || found.any() {
                found.timers |= moved;
                return found;
            }
            self.dispatch(found);
        } else if self.guest && driver.timers().next() != u64::MAX {
            self.precise.get_or_init(Precise::set);
        }
        let batch = lead.sleep(&self.parker, self.seen_to());
        let timers = driver.timers().next();
        let timers = timers != u64::MAX && timers <= driver.clock().now();
        Found { timers, ..Found::events(batch) }
    }

    /// Where this thread is said to sleep, if it is the runtime's own, is to wake up in time, and somebody sees to that.
    fn seen_to(&self) -> Option<&Arc<Whereabouts>> {
        let shared = self.shared;
        let is_seen_to = !self.guest && shared.monitor.rescues();
        if !is_seen_to || shared.driver.timers().next() == u64::MAX {
            return None;
        }
        self.whereabouts.get_or_init(|| cpu::here().and_then(|_| Whereabouts::new())).as_ref()
    }
}

impl Shared {
    /// The set of timers for threads that run no worker.
    pub(super) fn outsiders(&self) -> usize {
        self.workers
    }

    /// A worker's set of timers. A spare one leaves its timers with those of the outsiders when it goes.
    fn shard(&self, worker: usize) -> usize {
        worker.min(self.outsiders())
    }

    /// The driver, for what looks at it from outside.
    pub(crate) fn driver(&'static self) -> &'static Driver {
        &self.driver
    }

    /// Arms a timer, seen from `now`; `None` if the runtime is gone.
    // Inlined as `Timers::arm` is.
    #[inline(always)]
    pub(crate) fn arm(&'static self, now: u64, deadline: u64, waker: &Waker) -> Option<Armed> {
        let worker = self.current_worker();
        let shard = worker.map_or(self.outsiders(), |worker| self.shard(worker));
        let armed = self.driver.timers().arm(shard, now, deadline, waker)?;
        if worker.is_none() && !self.attends_later() {
            self.attend();
        } else if self.driver.sleeps_beyond(armed.deadline) {
            // This thread will look as well, but its poll may be long.
            self.driver.hasten(armed.deadline);
        }
        Some(armed)
    }

    /// An object was registered: somebody has to attend it.
    pub(crate) fn registered(&'static self) {
        if !self.attends_later() {
            self.attend();
        }
    }

    /// This thread looks at the driver before it sleeps, or sees to it that somebody does.
    ///
    /// That is so while it polls a task. The future given to `block_on` is polled without a worker, but when it waits, its
    /// thread takes one, or attends before it sleeps without.
    fn attends_later(&self) -> bool {
        context::with(|context| {
            let Some(context) = context.filter(|context| ptr::eq(context.shared, self)) else { return false };
            let root = context.guest && is_async();
            root || context.core.try_borrow().is_ok_and(|core| core.is_some())
        })
    }

    /// Sees to it that somebody attends the driver, if it has business: its leader, if that sleeps past the next timer, or
    /// whoever sleeps, if it has none.
    pub(crate) fn attend(&'static self) {
        if !mutant!("attend_without_fence") {
            // ORDERING: between what the caller did and the looks that follow; pairs with the fence in `Idle::park`.
            fence(Ordering::SeqCst);
        }
        if !self.driver.has_business() {
            return;
        }
        if self.driver.is_led() {
            if !mutant!("attend_leaves_the_leader_asleep") {
                self.driver.hasten(self.driver.timers().next());
            }
        } else {
            self.call();
        }
    }

    /// True if this thread runs a worker of this scheduler: to poll one of its tasks or, where there is no other thread, the
    /// future of `block_on`.
    pub(crate) fn runs_here(&self) -> bool {
        self.current_worker().is_some()
    }

    /// The worker of this scheduler that this thread runs.
    #[inline]
    fn current_worker(&self) -> Option<usize> {
        context::with(|context| {
            let context = context.filter(|context| ptr::eq(context.shared, self))?;
            Some(context.core.try_borrow().ok()?.as_ref()?.index)
        })
    }
}
