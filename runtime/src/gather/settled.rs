//! The results of all tasks, whatever they are.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::crew::Crew;
use super::kept::Kept;
use crate::cell::Task;
use crate::error::Error;

/// Waits for all tasks, and gives what each has come to, in the order of the arguments.
///
/// No failure touches the other tasks. The tasks belong to the call from the moment it is made; no tasks give an empty
/// list. asyncio writes `gather(.., return_exceptions=True)`.
///
/// - **Drop**, **cancel**: the tasks that run are cancelled, not waited for; results that are there are dropped.
/// - **Panic** of a task is its result. If the call is dropped before, it is reported as that of a detached task.
///
/// # Panics
/// If it is polled after it was ready.
///
/// ```
/// # runtime::block_on(async {
/// let tasks = ["7", "seven"].map(|text| runtime::spawn(async move { text.parse::<u8>().unwrap() }));
/// let results = runtime::gather_settled(tasks).await;
/// assert_eq!(*results[0].as_ref().unwrap(), 7);
/// assert!(results[1].as_ref().unwrap_err().is_panic());
/// # });
/// ```
pub fn gather_settled<T>(tasks: impl IntoIterator<Item = Task<T>>) -> GatherSettled<T> {
    let crew = Crew::of(tasks);
    GatherSettled { results: (0..crew.len()).map(|_| None).collect(), crew, done: false }
}

/// The future of [`gather_settled`].
#[must_use = "dropping it cancels the tasks"]
pub struct GatherSettled<T> {
    crew: Crew<T>,
    results: Vec<Option<Kept<T>>>,
    /// They were given.
    done: bool,
}

impl<T> Unpin for GatherSettled<T> {}

impl<T> Future for GatherSettled<T> {
    type Output = Vec<Result<T, Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<Result<T, Error>>> {
        assert!(!self.done, "gather_settled was polled after it was ready");
        while let Some((place, result)) = ready!(self.crew.poll_kept(cx)) {
            self.results[place] = Some(result);
        }
        self.done = true;
        let results = std::mem::take(&mut self.results);
        Poll::Ready(results.into_iter().map(|result| result.expect("each task has ended").give()).collect())
    }
}

impl<T> fmt::Debug for GatherSettled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherSettled").field("crew", &self.crew).finish_non_exhaustive()
    }
}
