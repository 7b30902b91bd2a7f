//! The one word that readers look at: whether there is a result, of what kind, and whether a failure was read.

use std::fmt;

use super::state::State;
use crate::loom::atomic::{AtomicU8, Ordering};
use crate::loom::mutant;

const FINISHED: u8 = 1;
const FAILED: u8 = 1 << 1;
const CANCELLED: u8 = 1 << 2;
/// The failure was seen, or is not worth a report.
const READ: u8 = 1 << 3;

const DONE: u8 = FINISHED | FAILED | CANCELLED;

/// What settling makes of the word.
#[derive(Clone, Copy)]
pub(super) struct Outcome(u8);

impl Outcome {
    pub(super) const FINISHED: Outcome = Outcome(FINISHED);
    pub(super) const FAILED: Outcome = Outcome(FAILED);
    /// A failure that is not reported if nobody reads it.
    pub(super) const FAILED_QUIETLY: Outcome = Outcome(FAILED | READ);
    pub(super) const CANCELLED: Outcome = Outcome(CANCELLED);
}

/// The atomic word: 0 while pending, then exactly one of FINISHED, FAILED, CANCELLED, and READ sooner or later.
///
/// It is settled under the audience's lock and read without it.
pub(super) struct Word(AtomicU8);

/// The word at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot(u8);

impl Word {
    pub(super) fn pending() -> Self {
        Word(AtomicU8::new(0))
    }

    pub(super) fn done(outcome: Outcome) -> Self {
        Word(AtomicU8::new(outcome.0))
    }

    #[inline]
    pub(super) fn load(&self) -> Snapshot {
        // ORDERING: Acquire, pairs with `publish`: who sees the outcome sees the slot. READ is added by a
        // read-modify-write, which belongs to the release sequence of `publish`.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Makes the outcome visible. Called once, under the lock, on a pending word: nobody else writes to it then.
    pub(super) fn publish(&self, outcome: Outcome) {
        debug_assert!(!self.load().is_done(), "settled twice");
        // ORDERING: Release, pairs with `load`: whoever sees the outcome may read the slot without the lock.
        let order = if mutant!("promise_publish_relaxed") { Ordering::Relaxed } else { Ordering::Release };
        self.0.store(outcome.0, order);
    }

    /// The failure was looked at.
    pub(super) fn mark_read(&self) {
        // ORDERING: Relaxed, the last handle sees it through the count of handles.
        self.0.fetch_or(READ, Ordering::Relaxed);
    }
}

impl Snapshot {
    pub(super) fn is_done(self) -> bool {
        self.0 & DONE != 0
    }

    pub(super) fn is_read(self) -> bool {
        self.0 & READ != 0
    }

    pub(super) fn state(self) -> State {
        match self.0 & DONE {
            0 => State::Pending,
            FINISHED => State::Finished,
            FAILED => State::Failed,
            _ => State::Cancelled,
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("state", &self.state()).field("read", &self.is_read()).finish()
    }
}
