//! Many calls at once, within a limit: all results, or a stream of them.

mod ordered;
mod unordered;

use std::fmt;
use std::iter::Fuse;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::crew::Crew;
use super::kept::Kept;
use crate::error::Error;
use crate::task::spawn_at;

pub use ordered::MapOrdered;
pub use unordered::MapUnordered;

/// Calls `f` for each item, with at most `n` of the futures alive at a time, each in a task of its own.
///
/// Awaiting it gives all results in the order of the items; one that fails does not touch the others. Items are taken
/// from the iterator, and `f` is called, when it is polled and there is room. The next task starts only after the one
/// whose place it takes has ended, destructors included.
///
/// With [`ordered`](MapConcurrent::ordered) and [`unordered`](MapConcurrent::unordered) the results come one by one
/// instead, and nothing is started for a consumer that does not ask.
///
/// - **Drop**, **cancel**: the tasks that run are cancelled, not waited for, and no more are started. Results that were
///   not given are dropped, and a panic among them is reported.
/// - **Panic** of a future is its result. One of `f` or of the iterator goes to the caller, and the tasks are cancelled
///   when the call is dropped.
///
/// ```
/// let squares = runtime::block_on(runtime::map_concurrent(0..100, 10, |n| async move { n * n }));
/// let sum: i32 = squares.into_iter().map(|square| square.unwrap()).sum();
/// assert_eq!(sum, 328350);
/// ```
///
/// # Panics
/// If `n` is zero: nothing could ever start. If it is polled after it was ready.
#[track_caller]
pub fn map_concurrent<I, F, Fut>(items: I, n: usize, f: F) -> MapConcurrent<I::IntoIter, F, Fut>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    assert!(n > 0, "map_concurrent needs a limit of at least 1: with 0 nothing could ever start");
    let calls = Calls::new(items.into_iter(), n, f, Location::caller());
    MapConcurrent { calls, results: Vec::new(), done: false }
}

/// The future of [`map_concurrent`], and the beginning of its two streams.
#[must_use = "futures do nothing unless awaited"]
pub struct MapConcurrent<I, F, Fut: Future> {
    calls: Calls<I, F, Fut::Output>,
    results: Vec<Option<Kept<Fut::Output>>>,
    /// They were given.
    done: bool,
}

impl<I, F, Fut> MapConcurrent<I, F, Fut>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    /// The results one by one, in the order of the items.
    ///
    /// Results that wait for an earlier one, or for the consumer, count against the limit. If this was polled before, what has
    /// ended since is among them.
    ///
    /// ```
    /// # runtime::block_on(async {
    /// let mut squares = runtime::map_concurrent(0..5, 2, |n| async move { n * n }).ordered();
    /// for n in 0..5 {
    ///     assert_eq!(squares.next().await.unwrap().unwrap(), n * n);
    /// }
    /// assert!(squares.next().await.is_none());
    /// # });
    /// ```
    pub fn ordered(self) -> MapOrdered<I, F, Fut> {
        MapOrdered::new(self.calls, self.results)
    }

    /// The results one by one, each as soon as it is there.
    ///
    /// Results that wait for the consumer count against the limit. If this was polled before, what has ended since comes first.
    ///
    /// ```
    /// # runtime::block_on(async {
    /// let mut squares = runtime::map_concurrent(0..5, 2, |n| async move { n * n }).unordered();
    /// let mut sum = 0;
    /// while let Some(square) = squares.next().await {
    ///     sum += square.unwrap();
    /// }
    /// assert_eq!(sum, 30);
    /// # });
    /// ```
    pub fn unordered(self) -> MapUnordered<I, F, Fut> {
        MapUnordered::new(self.calls, self.results)
    }
}

impl<I, F, Fut: Future> Unpin for MapConcurrent<I, F, Fut> {}

impl<I, F, Fut> Future for MapConcurrent<I, F, Fut>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    type Output = Vec<Result<Fut::Output, Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(!this.done, "map_concurrent was polled after it was ready");
        loop {
            this.calls.fill(0);
            let next = ready!(this.calls.crew.poll_kept(cx));
            this.results.resize_with(this.calls.started, || None);
            match next {
                Some((place, result)) => this.results[place] = Some(result),
                None => break,
            }
        }
        this.done = true;
        let results = std::mem::take(&mut this.results);
        Poll::Ready(results.into_iter().map(|result| result.expect("each call has ended").give()).collect())
    }
}

impl<I, F, Fut: Future> fmt::Debug for MapConcurrent<I, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapConcurrent").field(&self.calls).finish()
    }
}

/// What is still to be called, and what runs.
struct Calls<I, F, T> {
    items: Fuse<I>,
    f: F,
    limit: usize,
    crew: Crew<T>,
    /// Calls made so far, which is the place of the next one.
    started: usize,
    location: &'static Location<'static>,
}

impl<I: Iterator, F, T: Send + 'static> Calls<I, F, T> {
    fn new(items: I, limit: usize, f: F, location: &'static Location<'static>) -> Self {
        Calls { items: items.fuse(), f, limit, crew: Crew::new(0), started: 0, location }
    }

    /// Starts calls while there is room; `kept` results take up room as well.
    fn fill<Fut>(&mut self, kept: usize)
    where
        F: FnMut(I::Item) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
    {
        while self.crew.len() + kept < self.limit {
            let Some(item) = self.items.next() else { return };
            let task = spawn_at((self.f)(item), self.location);
            self.crew.push(self.started, task.abort_on_drop());
            self.started += 1;
        }
    }

    /// How many results are still to come, `kept` included.
    #[cfg(feature = "stream")]
    fn size_hint(&self, kept: usize) -> (usize, Option<usize>) {
        let started = self.crew.len() + kept;
        let (low, high) = self.items.size_hint();
        (low.saturating_add(started), high.and_then(|high| high.checked_add(started)))
    }
}

impl<I, F, T> fmt::Debug for Calls<I, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("limit", &self.limit)
            .field("started", &self.started)
            .field("running", &self.crew.len())
            .finish_non_exhaustive()
    }
}
