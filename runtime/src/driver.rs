//! What a parked worker waits in: timers, the reactor, and the rule who attends them.
//!
//! # Leader and followers
//! One sleeping thread has the *lead*: it sleeps in the reactor, or in its own bed while nothing is registered, until an
//! event, the next deadline, or a wake-up. The others sleep in their beds. The lead is a flag that is won by a
//! compare-and-swap; who wakes up lays it down before it runs anything. While it is vacant, busy workers poll between
//! tasks, and the next worker that goes to sleep takes it.
//!
//! # The published deadline
//! The leader says until when it sleeps. Whoever leaves an earlier timer behind (a worker that goes to sleep, a thread
//! that is no worker) rouses it.
//!
//! *Leader*: 1. store the deadline; 2. `fence(SeqCst)`; 3. look at the shards' next deadlines once more; 4. sleep.
//! *Other*: 1. the timer is in its shard, and the shard's next deadline stored; 2. `fence(SeqCst)`; 3. load the leader's
//! deadline; 4. rouse it if that is later. The fences order (1, 3) against (1, 3): either the leader sees the timer or the
//! other sees the deadline.
//!
//! # What it does not know
//! Tasks, queues, workers: the driver speaks only [`Waker`](std::task::Waker).

mod clock;
mod poller;
mod reactor;
pub(crate) mod readiness;
mod slack;
mod source;
mod timers;
mod wheel;

#[cfg(all(test, runtime_loom))]
pub(crate) mod models;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use crate::error::{Error, drop_quietly};
use crate::fork::Birth;
use crate::loom;
use crate::loom::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::loom::lock::{Mutex, assert_none_held};
use crate::loom::mutant;
use crate::parker::{Bed, Parker};
use crate::whereabouts::Whereabouts;

pub(crate) use clock::{Clock, Reading, duration_to_ns, from_ns, to_ns};
pub(crate) use reactor::{Reactor, Registration};
pub(crate) use slack::Precise;
pub(crate) use source::{Key, Seen};
pub(crate) use timers::{Armed, Timers};

use poller::Events;

/// One runtime's timers and registered objects.
pub(crate) struct Driver {
    clock: Clock,
    timers: Timers,
    io: Mutex<Io>,
    /// Something is or was registered: whoever waits, waits in the reactor.
    has_io: AtomicBool,
    lead: CachePadded<LeadWord>,
    leader: Mutex<Option<Leader>>,
    /// Of which process it is.
    birth: Birth,
}

#[derive(Debug, Default)]
struct Io {
    reactor: Option<Arc<Reactor>>,
    open: bool,
}

#[derive(Debug)]
struct LeadWord {
    taken: AtomicBool,
    /// Until when the leader sleeps, in nanoseconds of the clock.
    deadline: AtomicU64,
}

/// Who sleeps as the leader.
struct Leader {
    parker: loom::Arc<Parker>,
    whereabouts: Option<loom::Arc<Whereabouts>>,
}

/// A leader that sleeps after it was to wake up, or is about to get up.
pub(crate) struct Late {
    pub(crate) parker: loom::Arc<Parker>,
    pub(crate) whereabouts: loom::Arc<Whereabouts>,
    /// When that was.
    pub(crate) deadline: u64,
}

/// The leader, if there is one, does not sleep.
const AWAKE: u64 = 0;

/// How long a leader sleeps between two looks whether a virtual clock may go on.
const PAUSED_LOOK: Duration = Duration::from_millis(1);

impl Driver {
    /// A driver with so many sets of timers.
    pub(crate) fn new(shards: usize) -> Self {
        Driver {
            clock: Clock::new(),
            timers: Timers::new(shards),
            io: Mutex::default(),
            has_io: AtomicBool::new(false),
            lead: CachePadded::new(LeadWord {
                taken: AtomicBool::new(false),
                deadline: AtomicU64::new(AWAKE),
            }),
            leader: Mutex::new(None),
            birth: Birth::now(),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Stops the clock; false if it stood still already. Timers are exact from here on, so that tests are.
    pub(crate) fn pause(&self) -> bool {
        let paused = self.clock.pause();
        self.timers.set_exact();
        paused
    }

    /// Serves a new runtime.
    pub(crate) fn open(&self) {
        self.clock.reset();
        self.timers.open();
        self.io.lock().open = true;
    }

    /// The runtime is gone: everybody who waits is woken, and told so if they come back.
    pub(crate) fn close(&self) {
        let reactor = {
            let mut io = self.io.lock();
            io.open = false;
            self.has_io.store(false, Ordering::Relaxed);
            io.reactor.take()
        };
        if let Some(reactor) = reactor {
            reactor.close();
        }
        self.timers.close();
        // Whoever still waits does so by the system's clock, with another runtime.
        self.clock.reset();
    }

    /// The reactor, which is made when it is first needed.
    ///
    /// # Errors
    /// If the system refuses the descriptors, or the runtime is gone.
    pub(crate) fn reactor(&self) -> io::Result<Arc<Reactor>> {
        if self.birth.is_lost() {
            return Err(Error::lost().into());
        }
        if let Some(reactor) = self.made_reactor()? {
            return Ok(reactor);
        }
        // Not under the lock: a build of `polling` that traces calls the user's code there.
        let new = match Reactor::new() {
            Ok(new) => new,
            // Another thread may have had the last descriptors for the same.
            Err(error) => return self.made_reactor()?.ok_or(error),
        };
        let mut io = self.io.lock();
        if !io.open {
            return Err(Error::shutdown().into());
        }
        if let Some(reactor) = &io.reactor {
            let reactor = reactor.clone();
            // Another thread was quicker. The one too many goes after the lock.
            drop(io);
            return Ok(reactor);
        }
        let reactor = io.reactor.insert(new).clone();
        // Under the lock, so that who finds the reactor finds this too, and a `close` comes before or after both.
        self.has_io.store(true, Ordering::Relaxed);
        drop(io);
        // ORDERING: pairs with the fence in `Lead::publish`: a leader that still sleeps in its own bed is roused, or sees
        // that there is a reactor to sleep in.
        fence(Ordering::SeqCst);
        if !mutant!("reactor_made_quietly") {
            self.rouse();
        }
        Ok(reactor)
    }

    fn made_reactor(&self) -> io::Result<Option<Arc<Reactor>>> {
        let io = self.io.lock();
        if io.open { Ok(io.reactor.clone()) } else { Err(Error::shutdown().into()) }
    }

    /// True once something was registered.
    #[inline]
    pub(crate) fn has_io(&self) -> bool {
        self.has_io.load(Ordering::Relaxed)
    }

    /// How many objects are registered.
    pub(crate) fn registered(&self) -> usize {
        if self.birth.is_lost() {
            return 0;
        }
        let reactor = self.io.lock().reactor.clone();
        reactor.map_or(0, |reactor| reactor.registered())
    }

    /// True if there is something to wait for.
    pub(crate) fn has_business(&self) -> bool {
        self.has_io() || self.timers.next() != u64::MAX
    }

    /// True while some thread has the lead.
    pub(crate) fn is_led(&self) -> bool {
        self.lead.taken.load(Ordering::Relaxed)
    }

    /// Takes the lead if nobody has it.
    pub(crate) fn lead(&self) -> Option<Lead<'_>> {
        if self.is_led() {
            return None;
        }
        // ORDERING: Acquire, pairs with the release in `Lead::drop`.
        let won = self.lead.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        if won.is_ok() {
            return Some(Lead(self));
        }
        // A value made here and thrown away, as `then_some` would, lays down the lead that somebody else has won.
        if mutant!("loser_lays_the_lead_down") {
            drop(Lead(self));
        }
        None
    }

    /// True if a leader sleeps beyond `deadline`, as far as this thread knows.
    #[inline]
    pub(crate) fn sleeps_beyond(&self, deadline: u64) -> bool {
        deadline < self.lead.deadline.load(Ordering::Relaxed)
    }

    /// Wakes the leader, if it sleeps beyond `deadline`. The timer's deadline is published before this.
    pub(crate) fn hasten(&self, deadline: u64) {
        if !mutant!("hasten_without_fence") {
            // ORDERING: pairs with the fence in `Lead::sleep`, see the module's head.
            fence(Ordering::SeqCst);
        }
        if self.sleeps_beyond(deadline) {
            self.rouse();
        }
    }

    /// Wakes the leader, if there is one.
    pub(crate) fn rouse(&self) {
        let parker = self.leader.lock().as_ref().map(|leader| leader.parker.clone());
        if let Some(parker) = parker {
            parker.unpark();
        }
    }

    /// The processor on which the leader sleeps, if it has said so.
    pub(crate) fn leader_sleeps_on(&self) -> Option<u32> {
        self.leader.lock().as_ref()?.whereabouts.as_ref()?.sleeps_on()
    }

    /// The leader, if it has said where it sleeps and sleeps on so long after the time at which it was to wake up.
    pub(crate) fn late_leader(&self, by: Duration) -> Option<Late> {
        let leader = self.leader.lock();
        let Leader { parker, whereabouts } = leader.as_ref()?;
        let whereabouts = whereabouts.clone()?;
        // ORDERING: Relaxed. Of this leader or AWAKE, never of one before it, which the lock orders.
        let deadline = self.lead.deadline.load(Ordering::Relaxed);
        let late = deadline.saturating_add(duration_to_ns(by));
        let sleeps_on = deadline != AWAKE && !self.clock.is_paused() && self.clock.now() > late;
        sleeps_on.then(|| Late { parker: parker.clone(), whereabouts, deadline })
    }

    fn current_reactor(&self) -> Option<Arc<Reactor>> {
        if self.has_io() { self.io.lock().reactor.clone() } else { None }
    }
}

/// The right, and the duty, to attend the driver; laid down on drop.
pub(crate) struct Lead<'a>(&'a Driver);

/// What a wait found: events that are not dispatched yet.
#[must_use = "events that are not dispatched are lost"]
pub(crate) struct Batch(Option<(Arc<Reactor>, Events)>);

impl Lead<'_> {
    /// Sleeps until an event, the next deadline, or a token for `parker`. A thread that says where it sleeps may be brought
    /// elsewhere if it does not wake up in time.
    pub(crate) fn sleep(
        &self,
        parker: &loom::Arc<Parker>,
        whereabouts: Option<&loom::Arc<Whereabouts>>,
    ) -> Batch {
        let driver = self.0;
        *driver.leader.lock() = Some(Leader { parker: parker.clone(), whereabouts: whereabouts.cloned() });
        let deadline = self.publish();
        let reactor = driver.current_reactor();
        let timeout = self.timeout(deadline);
        let mut batch = Batch(None);
        let asleep = whereabouts.map(|whereabouts| whereabouts.fall_asleep());
        if timeout != Some(Duration::ZERO) || reactor.is_some() {
            match reactor {
                Some(reactor) => {
                    let bed: Arc<dyn Bed> = reactor.clone();
                    parker.park_in(&bed, || batch = Batch::of(reactor, timeout));
                }
                None => match timeout {
                    Some(timeout) => parker.park_timeout(timeout),
                    None => parker.park(),
                },
            }
        }
        drop(asleep);
        driver.lead.deadline.store(AWAKE, Ordering::Relaxed);
        batch
    }

    /// Says until when this thread is going to sleep.
    fn publish(&self) -> u64 {
        let driver = self.0;
        let mut deadline = driver.timers.next();
        loop {
            driver.lead.deadline.store(deadline, Ordering::Relaxed);
            // ORDERING: pairs with the fences in `hasten` and `reactor`, see the module's head.
            fence(Ordering::SeqCst);
            let next = driver.timers.next();
            if next >= deadline || mutant!("leader_without_second_look") {
                return deadline;
            }
            deadline = next;
        }
    }

    fn timeout(&self, deadline: u64) -> Option<Duration> {
        if deadline == u64::MAX {
            return None;
        }
        if self.0.clock.is_paused() {
            return Some(PAUSED_LOOK);
        }
        Some(Duration::from_nanos(deadline.saturating_sub(self.0.clock.now())))
    }

    /// Looks for events without waiting.
    pub(crate) fn poll(&self) -> Batch {
        match self.0.current_reactor() {
            Some(reactor) => Batch::of(reactor, Some(Duration::ZERO)),
            None => Batch(None),
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        *self.0.leader.lock() = None;
        // ORDERING: Release, pairs with the exchange in `lead`.
        self.0.lead.taken.store(false, Ordering::Release);
    }
}

impl Batch {
    fn of(reactor: Arc<Reactor>, timeout: Option<Duration>) -> Self {
        let events = reactor.wait(timeout);
        Batch(Some((reactor, events)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|(_, events)| events.is_empty())
    }

    /// Wakes those whom the events concern.
    pub(crate) fn dispatch(self) {
        if let Some((reactor, events)) = self.0 {
            reactor.dispatch(events);
        }
    }
}

/// Wakers that were taken out under a lock, to be woken outside of it. A usual number of them allocates nothing.
type Woken = SmallVec<[Waker; 64]>;

/// Wakes outside of all locks. A waker that panics has had its message printed; the others are needed all the same.
pub(crate) fn wake(waker: Waker) {
    assert_none_held();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        drop_quietly(payload);
    }
}

#[cfg(all(test, not(runtime_loom)))]
impl Lead<'_> {
    /// Looks as if a thread slept here, and was to wake up at this time of the clock.
    pub(crate) fn pretend_to_sleep(
        &self,
        parker: &loom::Arc<Parker>,
        whereabouts: Option<&loom::Arc<Whereabouts>>,
        deadline: u64,
    ) {
        *self.0.leader.lock() = Some(Leader { parker: parker.clone(), whereabouts: whereabouts.cloned() });
        self.0.lead.deadline.store(deadline, Ordering::Relaxed);
    }
}

#[cfg(all(test, target_os = "linux", not(runtime_loom)))]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(1);

    /// Whether a leader is late that was to wake up at this time.
    fn is_late(driver: &Driver, whereabouts: Option<&loom::Arc<Whereabouts>>, deadline: u64) -> bool {
        let lead = driver.lead().unwrap();
        lead.pretend_to_sleep(&Parker::new(), whereabouts, deadline);
        driver.late_leader(LATE).is_some_and(|late| late.deadline == deadline)
    }

    fn ago(driver: &Driver, time: Duration) -> u64 {
        driver.clock().now() - duration_to_ns(time)
    }

    #[test]
    fn a_leader_is_late_that_sleeps_long_after_its_deadline() {
        let (driver, place) = (Driver::new(1), Whereabouts::new());
        assert!(is_late(&driver, place.as_ref(), ago(&driver, 2 * LATE)));
        assert!(!is_late(&driver, place.as_ref(), ago(&driver, Duration::ZERO)));
    }

    #[test]
    fn a_leader_without_a_deadline_and_one_that_is_awake_are_not_late() {
        let (driver, place) = (Driver::new(1), Whereabouts::new());
        assert!(!is_late(&driver, place.as_ref(), u64::MAX));
        assert!(!is_late(&driver, place.as_ref(), AWAKE));
    }

    #[test]
    fn a_leader_that_has_not_said_where_it_sleeps_is_left_alone() {
        let driver = Driver::new(1);
        assert!(!is_late(&driver, None, ago(&driver, 2 * LATE)));
    }

    #[test]
    fn nobody_is_late_by_a_clock_that_stands_still() {
        let (driver, place) = (Driver::new(1), Whereabouts::new());
        driver.pause();
        assert!(!is_late(&driver, place.as_ref(), ago(&driver, 2 * LATE)));
    }

    #[test]
    fn who_lays_the_lead_down_is_not_there_any_more() {
        let (driver, place) = (Driver::new(1), Whereabouts::new().unwrap());
        let asleep = place.fall_asleep();
        let lead = driver.lead().unwrap();
        lead.pretend_to_sleep(&Parker::new(), Some(&place), AWAKE);
        assert!(driver.leader_sleeps_on().is_some());
        drop(lead);
        assert_eq!(driver.leader_sleeps_on(), None);
        drop(asleep);
    }
}
