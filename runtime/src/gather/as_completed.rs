//! Results as they come.

use std::fmt;
use std::task::{Context, Poll, ready};

use super::crew::{self, Crew};
use crate::cell::Task;
use crate::error::Error;

/// The results of tasks in the order in which they end, each as soon as it is there.
///
/// The tasks belong to the call from the moment it is made, and run on whether anybody asks for the next result or not.
/// A result costs the same whatever the number of the other tasks. [`push`](AsCompleted::push) adds more of them.
///
/// - **Drop**: the tasks whose results were not taken are cancelled, not waited for.
/// - **Panic**, **cancel** of a task is its result; the others go on.
///
/// ```
/// # runtime::block_on(async {
/// let mut squares = runtime::as_completed((0..5).map(|n| runtime::spawn(async move { n * n })));
/// let mut sum = 0;
/// while let Some(square) = squares.next().await {
///     sum += square.unwrap();
/// }
/// assert_eq!(sum, 30);
/// # });
/// ```
pub fn as_completed<T>(tasks: impl IntoIterator<Item = Task<T>>) -> AsCompleted<T> {
    AsCompleted { crew: Crew::of(tasks) }
}

/// What [`as_completed`] gives: results with [`next`](Self::next), or as a `futures_core::Stream` with the feature
/// `stream`.
///
/// More tasks can be added while results are taken; [`new`](Self::new) begins with none. tokio calls that a `JoinSet`.
///
/// - **Drop**: the tasks whose results were not taken are cancelled, not waited for.
///
/// ```
/// # runtime::block_on(async {
/// let mut downloads = runtime::AsCompleted::new();
/// downloads.push(runtime::spawn(async { 3 }));
/// let mut done = Vec::new();
/// while let Some(page) = downloads.next().await {
///     let page = page.unwrap();
///     done.push(page);
///     if page > 0 {
///         downloads.push(runtime::spawn(async move { page - 1 })); // it links to another one
///     }
/// }
/// assert_eq!(done, [3, 2, 1, 0]);
/// # });
/// ```
#[must_use = "dropping it cancels the tasks"]
pub struct AsCompleted<T> {
    crew: Crew<T>,
}

impl<T> Unpin for AsCompleted<T> {}

impl<T> AsCompleted<T> {
    /// No tasks yet; [`push`](Self::push) adds one.
    pub fn new() -> Self {
        AsCompleted { crew: Crew::new(0) }
    }

    /// Adds a task, which belongs to this from here on. One that has ended already is the next after those that ended
    /// before it was added.
    ///
    /// It wakes whoever waits by [`poll_next`](Self::poll_next) if the task has ended.
    ///
    /// ```
    /// # runtime::block_on(async {
    /// let mut results = runtime::AsCompleted::new();
    /// assert!(results.next().await.is_none());
    /// results.push(runtime::spawn(async { 7 }));
    /// assert_eq!(results.next().await.unwrap().unwrap(), 7);
    /// # });
    /// ```
    pub fn push(&mut self, task: Task<T>) {
        // Results come without their places.
        self.crew.push(0, task.abort_on_drop());
    }

    /// The next result, or `None` if all were given; after another [`push`](Self::push) there are more.
    ///
    /// Cancel-safe: dropping the call loses nothing, and leaves no waker behind.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        crew::next(self, |this| &this.crew, Self::poll_next).await
    }

    /// [`next`](Self::next) as a poll function.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        let next = ready!(self.crew.poll_next(cx));
        Poll::Ready(next.map(|(_, result)| result))
    }

    /// How many results are still to come.
    pub fn len(&self) -> usize {
        self.crew.len()
    }

    /// True if no more results come, unless a task is added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for AsCompleted<T> {
    fn default() -> Self {
        AsCompleted::new()
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("len", &self.len()).finish()
    }
}

#[cfg(feature = "stream")]
impl<T> futures_core::Stream for AsCompleted<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        AsCompleted::poll_next(self.get_mut(), cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}
