//! A worker's seat: where its core lies while no thread runs it, and whom to wake when it should be run.
//!
//! A *core* is what a worker owns (deque, rng, counters). It is in exactly one place: in the hands of the thread that
//! runs the worker, or here. Threads come and go: the worker's own thread sleeps on its seat, a thread inside `block_on`
//! takes a sleeping worker's core and gives it back, a worker that enters blocking code leaves its core for another
//! thread. The idle word says who *may* take a core; the seat's lock says who *did*.

use crate::loom::Arc;
use crate::loom::lock::Mutex;
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
    /// The taker is counted as searching.
    notified: bool,
}

/// How to get a notified worker running.
#[derive(Debug)]
#[must_use]
pub(super) enum Rouse {
    Unpark(Arc<Parker>),
    /// No thread sleeps here: start one.
    Start,
    /// Somebody runs the worker already: the caller is the searcher that it counted.
    Gone,
}

/// A core, and what comes with it.
#[derive(Debug)]
pub(super) struct Taken<C> {
    pub(super) core: Box<C>,
    /// The taker is counted as searching.
    pub(super) searching: bool,
}

/// Why a guest or a returning thread could not have a worker that it claimed.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is somebody's who sleeps: wake them, for the claim took them out of the idle word.
    Occupied(Arc<Parker>),
    /// Somebody runs it already.
    Gone,
}

impl<C> Seat<C> {
    pub(super) fn new(core: C) -> Self {
        let core = Some(Box::new(core));
        Seat { inner: Mutex::new(Inner { core, sleeper: None, displaced: None, lent: false, notified: false }) }
    }

    /// Takes the core if it is there; the caller sleeps here from now on when it has nothing to do.
    pub(super) fn take(&self, sleeper: &Arc<Parker>) -> Option<Taken<C>> {
        let mut inner = self.inner.lock();
        let core = inner.core.take()?;
        inner.sleeper = Some(sleeper.clone());
        Some(Taken { core, searching: std::mem::take(&mut inner.notified) })
    }

    /// Takes the core for a guest, who will give it back; the worker's own thread sleeps on.
    pub(super) fn borrow(&self, guest: &Arc<Parker>) -> Result<Taken<C>, Refused> {
        let mut inner = self.inner.lock();
        if let (true, Some(sleeper)) = (inner.lent, &inner.sleeper) {
            return Err(Refused::Occupied(sleeper.clone()));
        }
        let core = inner.core.take().ok_or(Refused::Gone)?;
        inner.lent = true;
        inner.displaced = inner.sleeper.replace(guest.clone());
        Ok(Taken { core, searching: std::mem::take(&mut inner.notified) })
    }

    /// Takes the core for a thread that has lost its own worker, if no thread belongs here.
    pub(super) fn occupy(&self, sleeper: &Arc<Parker>) -> Result<Taken<C>, Refused> {
        let mut inner = self.inner.lock();
        if let Some(sleeper) = &inner.sleeper {
            return Err(Refused::Occupied(sleeper.clone()));
        }
        let core = inner.core.take().ok_or(Refused::Gone)?;
        inner.sleeper = Some(sleeper.clone());
        Ok(Taken { core, searching: std::mem::take(&mut inner.notified) })
    }

    /// Puts the core down to sleep; the thread stays its sleeper.
    pub(super) fn put(&self, core: Box<C>) {
        let mut inner = self.inner.lock();
        debug_assert!(inner.core.is_none(), "a worker has one core");
        inner.core = Some(core);
    }

    /// Puts the core down and goes away; true if a thread of the worker's own sleeps here.
    pub(super) fn give_back(&self, core: Box<C>) -> bool {
        let mut inner = self.inner.lock();
        debug_assert!(inner.core.is_none(), "a worker has one core");
        inner.core = Some(core);
        inner.lent = false;
        inner.sleeper = inner.displaced.take();
        inner.sleeper.is_some()
    }

    /// The thread will not come back to sleep here.
    pub(super) fn desert(&self, thread: &Arc<Parker>) {
        let mut inner = self.inner.lock();
        let Inner { sleeper, displaced, .. } = &mut *inner;
        for place in [sleeper, displaced] {
            if place.as_ref().is_some_and(|own| Arc::ptr_eq(own, thread)) {
                *place = None;
            }
        }
    }

    /// Says that the worker was taken out of the idle word as a searcher.
    pub(super) fn notify(&self) -> Rouse {
        let mut inner = self.inner.lock();
        if inner.core.is_none() {
            return Rouse::Gone;
        }
        inner.notified = true;
        inner.sleeper.clone().map_or(Rouse::Start, Rouse::Unpark)
    }

    /// Takes a notification back that could not be delivered; false if somebody took it meanwhile.
    pub(super) fn retract(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.core.is_some() && std::mem::take(&mut inner.notified)
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
        inner.notified = false;
    }
}
