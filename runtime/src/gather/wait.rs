//! Which of some tasks have ended, without taking anything from anybody.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::board::Board;
use crate::cell::Task;
use crate::coop;
use crate::time::timeout;

/// What [`wait()`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Until one task has ended.
    FirstCompleted,
    /// Until one task has failed, or all have ended. As in asyncio, a task that was cancelled has ended and not failed; a
    /// value of type `Result` is a value, whatever it says.
    FirstError,
    /// Until all tasks have ended.
    All,
}

/// Waits until some of the tasks have ended, for at most `limit`, and takes those out of the list.
///
/// Returns all that have ended by then, in the order of the list; the others stay in it, in their order. Awaiting one
/// that was returned gives its output at once. Nothing is ever cancelled or lost, and a limit that passes is no error: the
/// list that comes back just holds fewer tasks, or none. No tasks give an empty list at once, whatever is waited for.
///
/// The limit runs from the first poll; `Some(Duration::ZERO)` asks which have ended now. A task that has ended at the
/// deadline is returned. Each call looks at each task once, and once at each that ends: to handle many one by one,
/// [`as_completed`](super::as_completed) is the better tool.
///
/// - **Drop**, **cancel** of the call: the list is as it was, and the tasks run on.
/// - **Panic** of a task is in its output; with [`When::FirstError`] it ends the wait.
///
/// ```
/// use std::time::Duration;
/// use runtime::{When, wait};
///
/// # runtime::block_on(async {
/// let quick = runtime::spawn(async { 1 });
/// let slow = runtime::spawn(std::future::pending());
/// let mut tasks = vec![slow, quick];
///
/// for task in wait(&mut tasks, When::FirstCompleted, None).await {
///     assert_eq!(task.await.unwrap(), 1);
/// }
/// assert_eq!(tasks.len(), 1);
/// assert!(wait(&mut tasks, When::All, Some(Duration::from_millis(1))).await.is_empty());
/// # });
/// ```
pub async fn wait<T>(tasks: &mut Vec<Task<T>>, when: When, limit: Option<Duration>) -> Vec<Task<T>> {
    if !tasks.is_empty() {
        let mut watch = Watch::new(tasks, when);
        let enough = poll_fn(|cx| watch.poll_enough(cx));
        match limit {
            None => enough.await,
            // A limit that has passed is not an error here.
            Some(limit) => drop(timeout(limit, enough).await),
        }
    }
    // From here to the end nothing waits, so a list that is taken apart is never dropped.
    let (ended, rest) = std::mem::take(tasks).into_iter().partition(has_ended);
    *tasks = rest;
    ended
}

/// One that a parent process goes on with has ended here: awaiting it gives an error at once.
fn has_ended<T>(task: &Task<T>) -> bool {
    task.is_finished() || task.id().is_lost()
}

/// A look at borrowed tasks. When it goes nothing of it is left with them.
struct Watch<'a, T> {
    tasks: &'a mut [Task<T>],
    board: Arc<Board>,
    when: When,
    running: usize,
}

impl<'a, T> Watch<'a, T> {
    fn new(tasks: &'a mut [Task<T>], when: When) -> Self {
        let board = Board::new(tasks.len());
        // Made before the tasks get their bells: if one of these panics the others lose theirs.
        let watch = Watch { running: tasks.len(), tasks, board, when };
        for (number, task) in watch.tasks.iter_mut().enumerate() {
            watch.board.expect(number, task);
        }
        watch
    }

    /// Ready once enough tasks have ended.
    fn poll_enough(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.running > 0 {
            let unit = ready!(coop::poll_proceed(cx));
            let number = ready!(self.board.poll_next(cx.waker()));
            unit.made_progress();
            self.running -= 1;
            let enough = match self.when {
                When::FirstCompleted => true,
                When::FirstError => self.tasks[number].error().is_some_and(|error| !error.is_cancelled()),
                When::All => false,
            };
            if enough {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        self.board.leave();
        self.tasks.iter_mut().for_each(Task::stop_waiting);
    }
}
