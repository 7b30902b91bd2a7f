//! The results of `map_concurrent` as they come.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll, ready};

use super::super::crew;
use super::super::kept::Kept;
use super::Calls;
use crate::error::Error;

/// Results as soon as they are there; from [`MapConcurrent::unordered`](super::MapConcurrent::unordered).
///
/// With the feature `stream` it is a `futures_core::Stream`.
///
/// - **Drop**: the tasks that run are cancelled, not waited for, and no more are started.
#[must_use = "dropping it cancels the calls"]
pub struct MapUnordered<I, F, Fut: Future> {
    calls: Calls<I, F, Fut::Output>,
    /// What was there before anybody asked for one result after the other.
    early: VecDeque<Kept<Fut::Output>>,
}

impl<I, F, Fut: Future> Unpin for MapUnordered<I, F, Fut> {}

impl<I, F, Fut> MapUnordered<I, F, Fut>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    pub(super) fn new(calls: Calls<I, F, Fut::Output>, results: Vec<Option<Kept<Fut::Output>>>) -> Self {
        MapUnordered { calls, early: results.into_iter().flatten().collect() }
    }

    /// The next result, or `None` once all were given.
    ///
    /// Cancel-safe: dropping the call loses nothing and leaves no waker behind, and what it has started runs on.
    pub async fn next(&mut self) -> Option<Result<Fut::Output, Error>> {
        crew::next(self, |this| &this.calls.crew, Self::poll_next).await
    }

    /// [`next`](Self::next) as a poll function.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Fut::Output, Error>>> {
        self.calls.fill(self.early.len());
        if let Some(early) = self.early.pop_front() {
            return Poll::Ready(Some(early.give()));
        }
        let next = ready!(self.calls.crew.poll_next(cx));
        Poll::Ready(next.map(|(_, result)| result))
    }
}

impl<I, F, Fut: Future> fmt::Debug for MapUnordered<I, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapUnordered").field(&self.calls).finish()
    }
}

#[cfg(feature = "stream")]
impl<I, F, Fut> futures_core::Stream for MapUnordered<I, F, Fut>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Item = Result<Fut::Output, Error>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        MapUnordered::poll_next(self.get_mut(), cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.calls.size_hint(self.early.len())
    }
}
