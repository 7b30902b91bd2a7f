//! The results of `map_concurrent` in the order of the items.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll, ready};

use super::super::crew;
use super::super::kept::Kept;
use super::Calls;
use crate::error::Error;

/// Results in the order of the items; from [`MapConcurrent::ordered`](super::MapConcurrent::ordered).
///
/// With the feature `stream` it is a `futures_core::Stream`.
///
/// - **Drop**: the tasks that run are cancelled, not waited for, and no more are started.
#[must_use = "dropping it cancels the calls"]
pub struct MapOrdered<I, F, Fut: Future> {
    calls: Calls<I, F, Fut::Output>,
    /// The results from `given` on: `None` for those that are not there.
    window: VecDeque<Option<Kept<Fut::Output>>>,
    /// How many of the window are there.
    kept: usize,
    given: usize,
}

impl<I, F, Fut: Future> Unpin for MapOrdered<I, F, Fut> {}

impl<I, F, Fut> MapOrdered<I, F, Fut>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    /// `results` are there already, by the places of their calls.
    pub(super) fn new(calls: Calls<I, F, Fut::Output>, results: Vec<Option<Kept<Fut::Output>>>) -> Self {
        let kept = results.iter().flatten().count();
        MapOrdered { calls, window: results.into(), kept, given: 0 }
    }

    /// The next result, or `None` once all were given.
    ///
    /// Cancel-safe: dropping the call loses nothing and leaves no waker behind, and what it has started runs on.
    pub async fn next(&mut self) -> Option<Result<Fut::Output, Error>> {
        crew::next(self, |this| &this.calls.crew, Self::poll_next).await
    }

    /// [`next`](Self::next) as a poll function.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Fut::Output, Error>>> {
        loop {
            self.calls.fill(self.kept);
            self.window.resize_with(self.calls.started - self.given, || None);
            if let Some(Some(_)) = self.window.front() {
                self.kept -= 1;
                self.given += 1;
                return Poll::Ready(self.window.pop_front().flatten().map(Kept::give));
            }
            match ready!(self.calls.crew.poll_kept(cx)) {
                None => return Poll::Ready(None),
                Some((place, result)) => {
                    self.window[place - self.given] = Some(result);
                    self.kept += 1;
                }
            }
        }
    }
}

impl<I, F, Fut: Future> fmt::Debug for MapOrdered<I, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapOrdered").field(&self.calls).finish()
    }
}

#[cfg(feature = "stream")]
impl<I, F, Fut> futures_core::Stream for MapOrdered<I, F, Fut>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Item = Result<Fut::Output, Error>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        MapOrdered::poll_next(self.get_mut(), cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.calls.size_hint(self.kept)
    }
}
