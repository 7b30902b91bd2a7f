//! Tasks that are owned together: the first to end comes out first, and what is left is cancelled on drop.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use slab::Slab;

use super::board::Board;
use super::kept::Kept;
use crate::cell::{AbortOnDrop, Task};
use crate::coop::{self, BudgetGuard};
use crate::error::Error;

/// A set of tasks that ends with its owner.
pub(super) struct Crew<T> {
    members: Slab<Member<T>>,
    board: Arc<Board>,
}

/// A task, and the place of its output among the others.
struct Member<T> {
    place: usize,
    task: AbortOnDrop<T>,
}

impl<T> Crew<T> {
    /// Nobody yet, with room for `expected` tasks.
    pub(super) fn new(expected: usize) -> Self {
        Crew { members: Slab::with_capacity(expected), board: Board::new(expected) }
    }

    /// All of these, in the places in which they come.
    pub(super) fn of(tasks: impl IntoIterator<Item = Task<T>>) -> Self {
        // Collected first: an iterator that panics in the middle leaves its tasks to what `Task` does on drop.
        let tasks: Vec<_> = tasks.into_iter().map(Task::abort_on_drop).collect();
        let mut crew = Crew::new(tasks.len());
        for (place, task) in tasks.into_iter().enumerate() {
            crew.push(place, task);
        }
        crew
    }

    /// One more.
    pub(super) fn push(&mut self, place: usize, task: AbortOnDrop<T>) {
        let number = self.members.insert(Member { place, task });
        self.board.expect(number, self.members[number].task.task());
    }

    /// How many have not come out.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Asks all to stop.
    pub(super) fn cancel(&self) {
        for (_, member) in &self.members {
            member.task.cancel();
        }
    }

    /// The next task that has ended, with its place; `None` once all came out.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, AbortOnDrop<T>)>> {
        if self.members.is_empty() {
            return Poll::Ready(None);
        }
        let unit = ready!(coop::poll_proceed(cx));
        let number = ready!(self.board.poll_next(cx.waker()));
        unit.made_progress();
        let Member { place, task } = self.members.remove(number);
        debug_assert!(task.is_finished() || task.id().is_lost(), "a bell is rung when its task is complete");
        Poll::Ready(Some((place, task)))
    }

    /// The next output, with its place; `None` once all came out.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Result<T, Error>)>> {
        let ended = ready!(self.poll_ended(cx));
        Poll::Ready(ended.map(|(place, task)| (place, output(task))))
    }

    /// The same, for somebody who is going to give it away later.
    pub(super) fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Kept<T>)>> {
        let ended = ready!(self.poll_ended(cx));
        Poll::Ready(ended.map(|(place, task)| (place, Kept::of(task))))
    }

    /// Ready once all have ended, without looking at what they gave: a panic among it is reported as one that nobody saw.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(ended) = ready!(self.poll_ended(cx)) {
            drop(ended);
        }
        Poll::Ready(())
    }
}

/// One result of whoever owns a crew.
pub(super) struct Next<'a, S, T, R> {
    owner: &'a mut S,
    crew: fn(&S) -> &Crew<T>,
    poll: fn(&mut S, &mut Context<'_>) -> Poll<R>,
    waits: bool,
}

/// What `poll` gives, which waits for tasks of `crew`. Dropping it leaves no waker behind.
pub(super) fn next<'a, S, T, R>(
    owner: &'a mut S,
    crew: fn(&S) -> &Crew<T>,
    poll: fn(&mut S, &mut Context<'_>) -> Poll<R>,
) -> Next<'a, S, T, R> {
    Next { owner, crew, poll, waits: false }
}

impl<S, T, R> Future for Next<'_, S, T, R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let polled = (self.poll)(self.owner, cx);
        self.waits = polled.is_pending();
        polled
    }
}

impl<S, T, R> Drop for Next<'_, S, T, R> {
    fn drop(&mut self) {
        if self.waits {
            (self.crew)(self.owner).board.leave();
        }
    }
}

/// The output of a task that has ended.
pub(super) fn output<T>(mut task: AbortOnDrop<T>) -> Result<T, Error> {
    // The task was charged for when it was found to have ended.
    let _free = BudgetGuard::unconstrained();
    match Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the task has ended"),
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        // All are asked before the first handle goes, so that they stop side by side.
        self.cancel();
        self.board.leave();
    }
}

impl<T> fmt::Debug for Crew<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("len", &self.len()).finish_non_exhaustive()
    }
}
