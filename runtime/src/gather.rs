//! Many calls at once, within a limit.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use crate::cell::AbortOnDrop;
use crate::error::Error;
use crate::loom::lock::Mutex;
use crate::task::spawn;

/// Calls `f` for each item, with at most `n` of the futures alive at a time, each in a task of its own.
///
/// The results come in the order of the items; one that fails does not touch the others. Dropping the call cancels the
/// tasks that run and starts no more. Items are taken from the iterator, and `f` is called, only when there is room.
///
/// ```
/// let squares = runtime::block_on(runtime::map_concurrent(0..100, 10, |n| async move { n * n }));
/// let sum: i32 = squares.into_iter().map(|square| square.unwrap()).sum();
/// assert_eq!(sum, 328350);
/// ```
///
/// # Panics
/// If `n` is zero: nothing could ever start.
#[track_caller]
pub fn map_concurrent<I, F, Fut>(
    items: I,
    n: usize,
    mut f: F,
) -> impl Future<Output = Vec<Result<Fut::Output, Error>>> + use<I, F, Fut>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    assert!(n > 0, "map_concurrent needs a limit of at least 1: with 0 nothing could ever start");
    let mut items = items.into_iter();
    async move {
        let room = Arc::new(Room { live: AtomicUsize::new(0), waiting: Mutex::new(None) });
        let mut tasks: Vec<AbortOnDrop<Fut::Output>> = Vec::with_capacity(items.size_hint().0.min(1 << 16));
        let mut items = poll_all(&room, n, &mut tasks, move || Some(f(items.next()?)));
        poll_fn(|cx| items(cx.waker())).await;
        drop(items);
        let mut results = Vec::with_capacity(tasks.len());
        for task in tasks {
            results.push(task.await);
        }
        results
    }
}

/// How many tasks are alive, and who wants to know when one is not any more.
struct Room {
    live: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

/// One task's place; dropped with the task's future, however that ends.
struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        // ORDERING: Release before the look at the waker, under its lock; pairs with the Acquire load in `poll_all`,
        // which comes after the waker was left.
        self.0.live.fetch_sub(1, Ordering::AcqRel);
        let waker = self.0.waiting.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A poll function that starts tasks while there is room, and is ready once all were started and have ended.
fn poll_all<'a, Fut>(
    room: &'a Arc<Room>,
    n: usize,
    tasks: &'a mut Vec<AbortOnDrop<Fut::Output>>,
    mut next: impl FnMut() -> Option<Fut> + 'a,
) -> impl FnMut(&Waker) -> Poll<()> + 'a
where
    Fut: Future + Send + 'static,
    Fut::Output: Send + 'static,
{
    let mut more = true;
    move |waker| {
        // The waker is left first: a task that ends while we look wakes us again.
        let new = waker.clone();
        let old = room.waiting.lock().replace(new);
        drop(old);
        while more && room.live.load(Ordering::Acquire) < n {
            match next() {
                None => more = false,
                Some(future) => {
                    room.live.fetch_add(1, Ordering::Relaxed);
                    let place = Place(room.clone());
                    let task = spawn(async move {
                        let _place = place;
                        future.await
                    });
                    tasks.push(task.abort_on_drop());
                }
            }
        }
        if !more && room.live.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}
