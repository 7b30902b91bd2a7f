#![expect(unsafe_code, reason = "a value that is written once and then read by any thread without a lock")]
//! The shared state of a promise and its futures: who may write the value, who may read it, who is told.

use std::fmt;
use std::panic::Location;
use std::sync::Arc as StdArc;

use super::audience::Audience;
use super::state::State;
use super::word::{Outcome, Word};
use crate::context::{self, Executor, Unobserved};
use crate::error::Error;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::lock::{Mutex, MutexGuard, assert_none_held};
use crate::loom::{Arc, UnsafeCell};

/// In `Cell::handles`: the promise lives.
const PROMISE: usize = 1;
/// In `Cell::handles`: one reader. It cannot overflow: each reader is also one count of the `Arc` or a callback in
/// memory, and `Arc` aborts at half of what fits here.
const READER: usize = 2;

/// One promise. See the module documentation of `promise` for the protocol.
pub(super) struct Cell<T> {
    word: Word,
    handles: AtomicUsize,
    slot: Slot<T>,
    pub(super) audience: Mutex<Audience<T>>,
    location: &'static Location<'static>,
    /// See [`Promise::inner`](super::Promise::inner).
    pub(super) is_inner: bool,
}

/// Why there is no value, and who is to hear of it if no reader does.
pub(super) struct Failure {
    error: Error,
    executor: Option<StdArc<dyn Executor>>,
    outcome: Outcome,
    /// The report, if it is not one of this promise.
    report: Option<Box<Unobserved>>,
}

impl Failure {
    /// A failure that was set by somebody on this thread. The end of a runtime is none that anybody need look at.
    pub(super) fn new(error: Error) -> Self {
        let outcome = if error.is_cancelled() {
            Outcome::CANCELLED
        } else if error.is_shutdown() {
            Outcome::FAILED_QUIETLY
        } else {
            Outcome::FAILED
        };
        Failure { error, executor: context::executor(), outcome, report: None }
    }

    /// The panic of a task, to be reported as that.
    pub(super) fn of_task(executor: Option<StdArc<dyn Executor>>, report: Unobserved) -> Self {
        let error = report.error().clone();
        Failure { error, executor, outcome: Outcome::FAILED, report: Some(Box::new(report)) }
    }

    pub(super) fn cancelled() -> Self {
        Failure { error: Error::cancelled(), executor: None, outcome: Outcome::CANCELLED, report: None }
    }

    /// The promise was dropped. Worth a report only if a panic is behind it, and somebody could have read of it.
    pub(super) fn broken(producer_panicked: bool, has_readers: bool) -> Self {
        let (executor, outcome) = match producer_panicked && has_readers {
            true => (context::executor(), Outcome::FAILED),
            false => (None, Outcome::FAILED_QUIETLY),
        };
        Failure { error: Error::broken_promise(producer_panicked), executor, outcome, report: None }
    }

    pub(super) fn into_error(self) -> Error {
        self.error
    }

    /// Reports it, of a task that nobody will ask.
    pub(super) fn report(self) {
        if let Some(report) = self.report {
            report_to(self.executor, *report);
        }
    }
}

fn report_to(executor: Option<StdArc<dyn Executor>>, report: Unobserved) {
    assert_none_held();
    context::report(executor, report);
}

/// The value, once it is there.
struct Slot<T>(UnsafeCell<Option<Result<T, Failure>>>);

// SAFETY: by P1 the slot is written by one thread before all reads, so sharing it hands out `&T` only (`T: Sync`);
// `T: Send` because the value may be set on one thread and dropped on another.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T> Slot<T> {
    /// # Safety
    /// The caller holds the cell's lock, and no outcome was published.
    unsafe fn set(&self, result: Result<T, Failure>) {
        self.0.with_mut(|slot| {
            // SAFETY: nobody else writes, for want of the lock, and nobody reads before an outcome is published.
            unsafe { *slot = Some(result) }
        });
    }

    /// # Safety
    /// The outcome was seen by an Acquire load of the word.
    unsafe fn get(&self) -> Option<Result<&T, &Failure>> {
        self.0
            .with(|slot| {
                // SAFETY: the write happened before the load that saw the outcome, and by P1 there is no other.
                unsafe { (*slot).as_ref() }
            })
            .map(Result::as_ref)
    }
}

/// The right to settle a cell: its lock, taken while it was pending.
#[must_use]
pub(super) struct Claim<'a, T> {
    cell: &'a Arc<Cell<T>>,
    audience: MutexGuard<'a, Audience<T>>,
}

impl<'a, T> Claim<'a, T> {
    /// The claim, or the state that won.
    pub(super) fn take(cell: &'a Arc<Cell<T>>) -> Result<Self, State> {
        cell.check_pending()?;
        let audience = cell.audience.lock();
        cell.check_pending()?;
        Ok(Claim { cell, audience })
    }

    /// Writes the value, makes it visible, and tells everybody.
    pub(super) fn settle(self, result: Result<T, Failure>) {
        let Claim { cell, audience } = self;
        let outcome = outcome_of(&result);
        // SAFETY: the claim proves that the lock is held and that nothing was published; that is done only below.
        unsafe { cell.slot.set(result) };
        cell.word.publish(outcome);
        Cell::tell_done(cell, audience);
    }
}

fn outcome_of<T>(result: &Result<T, Failure>) -> Outcome {
    result.as_ref().map_or_else(|failure| failure.outcome, |_| Outcome::FINISHED)
}

impl<T> Cell<T> {
    /// With a promise and one reader.
    pub(super) fn pending(location: &'static Location<'static>) -> Self {
        Cell::new(Word::pending(), PROMISE | READER, None, location)
    }

    /// Without a promise, with one reader.
    pub(super) fn done(result: Result<T, Failure>, location: &'static Location<'static>) -> Self {
        Cell::new(Word::done(outcome_of(&result)), READER, Some(result), location)
    }

    fn new(
        word: Word,
        handles: usize,
        result: Option<Result<T, Failure>>,
        location: &'static Location<'static>,
    ) -> Self {
        Cell {
            word,
            handles: AtomicUsize::new(handles),
            slot: Slot(UnsafeCell::new(result)),
            audience: Mutex::new(Audience::new()),
            location,
            is_inner: false,
        }
    }

    /// That the promise breaks is no failure of a producer.
    pub(super) fn inner(self) -> Self {
        Cell { is_inner: true, ..self }
    }

    pub(super) fn state(&self) -> State {
        self.word.load().state()
    }

    fn check_pending(&self) -> Result<(), State> {
        match self.state() {
            State::Pending => Ok(()),
            state => Err(state),
        }
    }

    /// The result, which does not count as read.
    fn peek(&self) -> Option<Result<&T, &Failure>> {
        if !self.word.load().is_done() {
            return None;
        }
        // SAFETY: `Word::load` is an Acquire load, and it saw the outcome.
        unsafe { self.slot.get() }
    }

    /// The result, which is read from here on.
    pub(super) fn result(&self) -> Option<Result<&T, &Error>> {
        Some(match self.peek()? {
            Ok(value) => Ok(value),
            Err(failure) => {
                if !self.word.load().is_read() {
                    self.word.mark_read();
                }
                Err(&failure.error)
            }
        })
    }

    pub(super) fn retain_reader(&self) {
        // ORDERING: Relaxed, as in `Arc`: whoever makes a reader has one or has the promise.
        self.handles.fetch_add(READER, Ordering::Relaxed);
    }

    pub(super) fn release_reader(&self) {
        // ORDERING: AcqRel, a chain over all releases: the last handle sees READ if any handle has set it.
        match self.handles.fetch_sub(READER, Ordering::AcqRel) {
            READER => self.last_words(),
            before if before == PROMISE | READER => self.tell_readers_gone(),
            _ => {}
        }
    }

    pub(super) fn release_promise(&self) {
        // ORDERING: AcqRel, as in `release_reader`.
        if self.handles.fetch_sub(PROMISE, Ordering::AcqRel) == PROMISE {
            self.last_words();
        }
    }

    pub(super) fn has_readers(&self) -> bool {
        // ORDERING: Relaxed, nothing is read on the strength of it; under the lock it is not older than the release
        // that `readers_gone` follows with the same lock.
        self.handles.load(Ordering::Relaxed) >= READER
    }

    /// The last handle goes: a failure that nobody read is reported.
    fn last_words(&self) {
        let snapshot = self.word.load();
        if snapshot.state() != State::Failed || snapshot.is_read() {
            return;
        }
        if let Some(Err(failure)) = self.peek() {
            let report = match &failure.report {
                Some(report) => report.as_ref().clone(),
                None => Unobserved::future(failure.error.clone(), self.location),
            };
            report_to(failure.executor.clone(), report);
        }
    }

    /// Reports to the runtime that this thread stands in.
    pub(super) fn report_here(&self, error: Error) {
        self.report(context::executor(), error);
    }

    /// May run in a destructor.
    pub(super) fn report(&self, executor: Option<StdArc<dyn Executor>>, error: Error) {
        report_to(executor, Unobserved::future(error, self.location));
    }

    /// Atomics only: it must not block, whoever holds the lock.
    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("state", &self.state())
            .field("made_at", &format_args!("{}", self.location))
            .finish_non_exhaustive()
    }
}
