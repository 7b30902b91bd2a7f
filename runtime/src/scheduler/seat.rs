//! A worker's seat: where its core lies while no thread runs it, and whom to wake when it should be run.
//!
//! A *core* is what a worker owns (deque, rng, counters). It is in exactly one place: in the hands of the thread that
//! runs the worker, or here. Threads come and go: the worker's own thread sleeps on its seat, a thread inside `block_on`
//! takes a sleeping worker's core and gives it back, a worker that enters blocking code leaves its core for another
//! thread.
//!
//! # Protocol
//! The core is put down *before* the worker's bit is set in the idle word, and is taken only by whoever cleared the bit,
//! so that each setting of the bit has one taker. Clearing the bit for somebody else is an *offer*: the seat keeps it
//! until the sleeper, awake, accepts it. A sleeper that is awake for another reason has to clear the bit itself; if the
//! bit is gone and there is no offer yet, one is on its way, and a wake-up with it.
//!
//! # Rejected
//! Taking a core whenever it is there and the bit is clear: between putting the core down and setting the bit that is
//! true as well, and a thread with a stale wake-up then ran a worker that was about to be announced as asleep.

use crate::loom::lock::Mutex;
use crate::loom::{Arc, mutant};
use crate::parker::Parker;

#[derive(Debug)]
pub(super) struct Seat<C> {
    inner: Mutex<Inner<C>>,
}

#[derive(Debug)]
struct Inner<C> {
    core: Option<Box<C>>,
    /// The thread that is to be woken for this worker.
    sleeper: Option<Arc<Parker>>,
    /// The worker's own thread, while a guest has its seat.
    displaced: Option<Arc<Parker>>,
    /// A guest has the seat: another guest must leave it alone.
    lent: bool,
    offer: Option<Offer>,
}

/// Somebody cleared the worker's bit for the sleeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// And counted it as searching.
    Search,
    Run,
}

/// How to get a notified worker running.
#[derive(Debug)]
#[must_use]
pub(super) enum Rouse {
    Unpark(Arc<Parker>),
    /// No thread sleeps here: start one.
    Start,
}

/// A core, and what comes with it.
#[derive(Debug)]
pub(super) struct Taken<C> {
    pub(super) core: Box<C>,
    /// The taker is counted as searching.
    pub(super) searching: bool,
}

/// What a sleeper that is awake finds.
#[derive(Debug)]
#[must_use]
pub(super) enum Resume<C> {
    Taken(Taken<C>),
    /// Nothing yet: sleep on.
    Asleep,
    /// A guest has the seat.
    Displaced,
}

/// The seat is somebody's who sleeps: the claim took them out of the idle word, so wake them.
#[derive(Debug)]
#[must_use]
pub(super) struct Occupied(pub(super) Arc<Parker>);

impl<C> Inner<C> {
    fn take(&mut self, searching: bool) -> Taken<C> {
        self.offer = None;
        Taken { core: self.core.take().expect("whoever cleared the bit finds the core"), searching }
    }

    /// Takes the core of a worker whose bit the caller cleared, unless the seat is `taken`.
    fn claim(&mut self, taken: bool) -> Result<Taken<C>, Occupied> {
        match &self.sleeper {
            Some(sleeper) if taken => {
                self.offer = Some(Offer::Run);
                Err(Occupied(sleeper.clone()))
            }
            _ => Ok(self.take(false)),
        }
    }
}

impl<C> Seat<C> {
    pub(super) fn new(core: C) -> Self {
        let core = Some(Box::new(core));
        Seat { inner: Mutex::new(Inner { core, sleeper: None, displaced: None, lent: false, offer: None }) }
    }

    /// Accepts the offer that the thread was started for; the caller sleeps here from now on.
    pub(super) fn start(&self, sleeper: &Arc<Parker>) -> Option<Taken<C>> {
        let mut inner = self.inner.lock();
        let offer = inner.offer?;
        inner.sleeper = Some(sleeper.clone());
        Some(inner.take(offer == Offer::Search))
    }

    /// Accepts an offer or, if the sleeper `wants` to be awake and can clear the bit with `leave`, just takes the core.
    pub(super) fn resume(
        &self,
        sleeper: &Arc<Parker>,
        wants: bool,
        leave: impl FnOnce() -> bool,
    ) -> Resume<C> {
        let mut inner = self.inner.lock();
        if !inner.sleeper.as_ref().is_some_and(|own| Arc::ptr_eq(own, sleeper)) {
            return Resume::Displaced;
        }
        match inner.offer {
            Some(offer) => Resume::Taken(inner.take(offer == Offer::Search)),
            None if wants && (leave() || mutant!("core_taken_without_the_bit")) => {
                Resume::Taken(inner.take(false))
            }
            None => Resume::Asleep,
        }
    }

    /// Takes the core of a worker that the caller claimed, as a guest, who will give it back; the worker's own thread
    /// sleeps on.
    pub(super) fn borrow(&self, guest: &Arc<Parker>) -> Result<Taken<C>, Occupied> {
        let mut inner = self.inner.lock();
        let lent = inner.lent;
        let taken = inner.claim(lent)?;
        inner.lent = true;
        inner.displaced = inner.sleeper.replace(guest.clone());
        Ok(taken)
    }

    /// Takes the core as a guest if it lies here, whoever claimed it: for a worker without a thread or a bit.
    pub(super) fn borrow_free(&self, guest: &Arc<Parker>) -> Option<Taken<C>> {
        let mut inner = self.inner.lock();
        if inner.lent {
            return None;
        }
        inner.core.as_ref()?;
        inner.lent = true;
        inner.sleeper = Some(guest.clone());
        let searching = inner.offer == Some(Offer::Search);
        Some(inner.take(searching))
    }

    /// True if [`borrow_free`](Self::borrow_free) would find the core.
    pub(super) fn is_free(&self) -> bool {
        let inner = self.inner.lock();
        inner.core.is_some() && !inner.lent
    }

    /// Takes the core of a worker that the caller claimed, to stay, if no thread belongs here.
    pub(super) fn occupy(&self, sleeper: &Arc<Parker>) -> Result<Taken<C>, Occupied> {
        let mut inner = self.inner.lock();
        let taken = inner.claim(true)?;
        inner.sleeper = Some(sleeper.clone());
        Ok(taken)
    }

    /// Puts the core down to sleep; the thread stays its sleeper. The bit is set after this.
    pub(super) fn put(&self, core: Box<C>) {
        let mut inner = self.inner.lock();
        debug_assert!(inner.core.is_none(), "a worker has one core");
        inner.core = Some(core);
    }

    /// Puts the core down and goes away; true if a thread of the worker's own sleeps here. The bit is set after this.
    pub(super) fn give_back(&self, core: Box<C>) -> bool {
        let mut inner = self.inner.lock();
        debug_assert!(inner.core.is_none(), "a worker has one core");
        inner.core = Some(core);
        inner.lent = false;
        inner.sleeper = inner.displaced.take();
        inner.sleeper.is_some()
    }

    /// The thread will not come back to sleep here. If the worker was offered to it meanwhile the bit is the caller's to set,
    /// and the answer says whether the worker was counted as searching.
    pub(super) fn desert(&self, thread: &Arc<Parker>) -> Option<bool> {
        let mut inner = self.inner.lock();
        let is_own = |place: &mut Arc<Parker>| Arc::ptr_eq(place, thread);
        let _ = inner.displaced.take_if(is_own);
        inner.sleeper.take_if(is_own)?;
        if mutant!("offer_is_deserted") {
            return None;
        }
        inner.offer.take().map(|offer| offer == Offer::Search)
    }

    /// Offers the worker, whose bit the caller cleared and which it counted as searching, to its sleeper.
    pub(super) fn notify(&self) -> Rouse {
        self.offer(Offer::Search)
    }

    /// Offers the worker, whose bit the caller cleared or which has none, to its sleeper.
    pub(super) fn summon(&self) -> Rouse {
        self.offer(Offer::Run)
    }

    fn offer(&self, offer: Offer) -> Rouse {
        let mut inner = self.inner.lock();
        debug_assert!(inner.core.is_some() && inner.offer.is_none(), "a bit has one taker");
        inner.offer = Some(offer);
        inner.sleeper.clone().map_or(Rouse::Start, Rouse::Unpark)
    }

    /// Takes an offer back that could not be delivered.
    pub(super) fn retract(&self) {
        self.inner.lock().offer = None;
    }

    /// Everybody who sleeps here, to be woken for the shutdown.
    pub(super) fn sleepers(&self) -> Vec<Arc<Parker>> {
        let inner = self.inner.lock();
        inner.sleeper.iter().chain(&inner.displaced).cloned().collect()
    }

    /// Looks at a core that nobody runs.
    pub(super) fn with_core<R>(&self, f: impl FnOnce(&mut C) -> R) -> Option<R> {
        self.inner.lock().core.as_deref_mut().map(f)
    }

    /// Forgets the threads of a runtime that is gone.
    pub(super) fn reset(&self) {
        let mut inner = self.inner.lock();
        debug_assert!(inner.core.is_some(), "a runtime that is gone has put its cores down");
        inner.sleeper = None;
        inner.displaced = None;
        inner.lent = false;
    }
}
