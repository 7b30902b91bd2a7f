//! Spare workers: run by threads of their own while all others are stuck in a poll, and dismissed afterwards.
//!
//! A spare worker is a worker like the others (deque, seat, bit in the idle word) but for three things: only the monitor
//! starts it, only its own thread runs it, and its timers lie with those of the outsiders, because it may go before they
//! are due.
//!
//! # Protocol
//! *Summon* (the monitor): 1. take the post; 2. widen the reach, so that everybody looks into its queue; 3. offer the seat;
//! 4. start a thread. *Dismiss* (the monitor): 1. set the flag; 2. if the worker sleeps, clear its bit, offer the seat, wake
//! it. It looks at the flag every few tasks and before it sleeps, and one that was on its way to sleep is met by the
//! monitor's next look. *Leave* (its thread): 1. put the core down; what is queued goes to the injector; 2. vacate the post;
//! 3. `fence(SeqCst)`, as every submitter; 4. wake somebody for what is queued.

use crossbeam_utils::CachePadded;

use super::seat::Rouse;
use super::virtual_clock::Held;
use super::{Flavor, Processor, Shared, worker};
use crate::context::Role;
use crate::loom::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Spare workers of a runtime: so many tasks may block their threads at a time beside those of the workers.
const SPARES: usize = 16;

/// How many spare workers a scheduler has.
pub(super) fn most(flavor: Flavor) -> usize {
    match flavor {
        Flavor::MultiThread => SPARES,
        // There is no other thread to run one.
        Flavor::CurrentThread => 0,
    }
}

/// Which spare workers there are.
#[derive(Debug)]
pub(super) struct Spares {
    /// So many processors have ever been run: who looks for work looks at those.
    reach: CachePadded<AtomicUsize>,
    in_use: AtomicUsize,
}

/// One spare worker, as the monitor sees it.
#[derive(Debug, Default)]
pub(super) struct Post {
    taken: AtomicBool,
    dismissed: AtomicBool,
}

impl Post {
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::Relaxed)
    }
}

impl Spares {
    pub(super) fn new(workers: usize) -> Self {
        Spares { reach: CachePadded::new(AtomicUsize::new(workers)), in_use: AtomicUsize::new(0) }
    }

    /// How many spare workers have a thread.
    pub(super) fn in_use(&self) -> usize {
        // ORDERING: Acquire, for the virtual clock: a spare worker counts before it runs anything.
        self.in_use.load(Ordering::Acquire)
    }
}

impl Shared {
    /// The processors that may have work: the workers, and the spare ones that were ever needed.
    #[inline]
    pub(super) fn reach(&self) -> &[CachePadded<Processor>] {
        &self.processors[..self.spares.reach.load(Ordering::Relaxed)]
    }

    pub(super) fn is_spare(&self, worker: usize) -> bool {
        worker >= self.workers
    }

    /// Starts a spare worker; false if there is none left, or the system refuses the thread.
    pub(super) fn summon(&'static self) -> bool {
        let vacant = |worker: &usize| !self.processors[*worker].post.is_taken();
        let Some(worker) = (self.workers..self.processors.len()).find(vacant) else { return false };
        let Some(host) = self.host() else { return false };
        let Processor { post, seat, .. } = &*self.processors[worker];
        post.dismissed.store(false, Ordering::Relaxed);
        post.taken.store(true, Ordering::Relaxed);
        self.spares.reach.fetch_max(worker + 1, Ordering::Relaxed);
        self.spares.in_use.fetch_add(1, Ordering::AcqRel);
        self.idle.set_manned(worker, true);
        self.runner_came();
        let Rouse::Start = seat.summon() else { unreachable!("nobody sleeps at a vacant post") };
        match host.start_thread(Role::Worker, Box::new(move || worker::main(self, worker))) {
            Ok(()) => {
                self.refusal.forget();
                true
            }
            Err(_) => {
                self.refusal.note();
                seat.retract();
                self.vacate(worker);
                self.runner_left();
                false
            }
        }
    }

    /// Asks a spare worker to go: one that sleeps, or else the one that came last, which may be stuck.
    pub(super) fn dismiss(&'static self) {
        let stays = |worker: &usize| {
            let post = &self.processors[*worker].post;
            post.is_taken() && !post.is_dismissed()
        };
        let mut spares = (self.workers..self.processors.len()).rev().filter(stays);
        let Some(last) = spares.next() else { return };
        let worker =
            [last].into_iter().chain(spares).find(|worker| self.idle.is_parked(*worker)).unwrap_or(last);
        let Processor { post, seat, .. } = &*self.processors[worker];
        post.dismissed.store(true, Ordering::Relaxed);
        if self.idle.leave(worker) {
            if let Rouse::Unpark(sleeper) = seat.summon() {
                sleeper.unpark();
            }
        }
    }

    /// The thread of a spare worker has put its core down for good. It has to offer what is queued there.
    pub(super) fn spare_left(&self, worker: usize, searching: bool) {
        if searching {
            // Whoever finds work next looks whether there is more.
            let _ = self.idle.found(worker);
        }
        self.vacate(worker);
        // Its pushes needed no fence as long as it ran them itself.
        self.idle.submitted();
    }

    fn vacate(&self, worker: usize) {
        // It was awake and does not park: whoever looks twice whether nobody was has to see that.
        drop(Held::new(self));
        self.idle.set_manned(worker, false);
        self.processors[worker].post.taken.store(false, Ordering::Relaxed);
        self.spares.in_use.fetch_sub(1, Ordering::AcqRel);
    }

    /// Back to how it was made, for the next runtime.
    pub(super) fn forget_spares(&self) {
        debug_assert_eq!(self.spares.in_use(), 0, "the threads of a runtime that is gone have left");
        self.spares.reach.store(self.workers, Ordering::Relaxed);
    }
}
