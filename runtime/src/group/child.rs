//! A member's future: the user's, until that is ready or the group says stop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::census::{self, Census, Part};
use super::error::Failure;
use super::state::{End, Shared, Turn};
use crate::context::dropping;
use crate::error::Error;

/// Says who hears of a member's end: what it returns goes to the group.
pub(super) type Divert<E> = Box<dyn FnOnce(End<E>) -> End<E> + Send>;

pin_project! {
    /// Ready with `None` if the group has heard of a failure, or has stopped it.
    pub(super) struct Child<F, E> {
        #[pin]
        future: Option<F>,
        shared: Arc<Shared<E>>,
        // Lent to the thread during a poll.
        census: Option<Arc<Census>>,
        key: u64,
        checked_in: bool,
        divert: Option<Divert<E>>,
    }

    impl<F, E> PinnedDrop for Child<F, E> {
        /// Dropped before its end: cancelled through its own handle, refused, or failed by a shutdown.
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Err(panic) = discard(this.future) {
                let end = End::Failed(Failure::Panic(panic));
                this.shared.end(match this.divert.take() {
                    Some(divert) => divert(end),
                    None => end,
                });
            }
        }
    }
}

impl<F, E> Child<F, E> {
    pub(super) fn new(future: F, shared: Arc<Shared<E>>, key: u64, divert: Option<Divert<E>>) -> Self {
        let census = Some(shared.census.clone());
        Child { future: Some(future), shared, census, key, checked_in: false, divert }
    }
}

impl<F, T, E> Future for Child<F, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut this = self.project();
        let turn = if !*this.checked_in {
            this.shared.check_in(*this.key, cx.waker())
        } else if this.shared.is_aborting() {
            Turn::Stop
        } else {
            Turn::Go
        };
        match turn {
            Turn::Go => *this.checked_in = true,
            Turn::Wait => return Poll::Pending,
            Turn::Stop => {
                if let Err(panic) = discard(this.future) {
                    this.shared.record(Failure::Panic(panic));
                }
                return Poll::Ready(None);
            }
        }
        let polled = poll_caught(this.future.as_mut(), Part::Child, this.census, cx);
        let Poll::Ready(output) = polled else { return Poll::Pending };
        // The destructors run before anybody hears of the end.
        let panicked = matches!(output, Err(Failure::Panic(_)));
        let dropped = dropping(panicked, || discard(this.future));
        let (end, value, second) = match (output, dropped) {
            (Ok(value), Ok(())) => (End::Success, Some(value), None),
            (Ok(value), Err(panic)) => {
                let _ = catch(|| drop(value));
                (End::Failed(Failure::Panic(panic)), None, None)
            }
            (Err(failure), dropped) => (End::Failed(failure), None, dropped.err()),
        };
        let divert = this.divert.take().unwrap_or_else(|| Box::new(|end| end));
        this.shared.end(divert(end));
        if let Some(panic) = second {
            this.shared.end(End::Failed(Failure::Panic(panic)));
        }
        Poll::Ready(value)
    }
}

/// Polls a member's or the body's future, as inside the group; a panic is a failure.
pub(super) fn poll_caught<F, T, E>(
    future: Pin<&mut Option<F>>,
    part: Part,
    census: &mut Option<Arc<Census>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, Failure<E>>>
where
    F: Future<Output = Result<T, E>>,
{
    let future = future.as_pin_mut().expect("a member is not polled after its end");
    match catch(|| census::within(part, census, || future.poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(output.map_err(Failure::Error)),
        Err(panic) => Poll::Ready(Err(Failure::Panic(panic))),
    }
}

/// Drops a future in its place; the error is the panic of its destructor.
pub(super) fn discard<F>(mut future: Pin<&mut Option<F>>) -> Result<(), Error> {
    catch(|| future.set(None))
}

pub(super) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Error::panicked)
}
