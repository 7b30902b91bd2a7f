//! Children that report when they are ready, as Trio's `nursery.start`.

use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::child::Divert;
use super::error::Failure;
use super::handle::TaskGroup;
use super::state::{End, Shared};
use crate::loom::lock::Mutex;
use crate::promise::{Promise, State};

/// How far a child is that has not been ready yet, for its caller.
struct Early<E> {
    stage: Mutex<Stage<E>>,
    shared: Arc<Shared<E>>,
}

enum Stage<E> {
    Waiting,
    /// The child has ended, which is the caller's, or nobody's if that has gone meanwhile.
    Ended(End<E>),
    /// The caller knows that the child is ready: the rest is the group's.
    Ready,
}

impl<E> Early<E> {
    /// A child has ended; gives back what the group is to hear of it.
    fn end(&self, end: End<E>, is_ready: impl FnOnce() -> bool) -> End<E> {
        let mut stage = self.stage.lock();
        if matches!(*stage, Stage::Ready) || is_ready() {
            return end;
        }
        *stage = Stage::Ended(end);
        End::Neutral
    }

    /// The caller has the value. The promise may have been given to somebody who set it after the child had ended.
    fn ready(&self) {
        let before = std::mem::replace(&mut *self.stage.lock(), Stage::Ready);
        if let Stage::Ended(end) = before {
            self.shared.end(end);
        }
    }

    /// How the child has ended, for the caller.
    fn take(&self) -> Option<End<E>> {
        match std::mem::replace(&mut *self.stage.lock(), Stage::Waiting) {
            Stage::Ended(end) => Some(end),
            Stage::Waiting | Stage::Ready => None,
        }
    }
}

impl<E> Drop for Early<E> {
    fn drop(&mut self) {
        if let Some(End::Failed(failure)) = self.take() {
            self.shared.report(failure);
        }
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Spawns a child and waits until it has reported that it is ready, through the promise it is given.
    ///
    /// Gives the value that it set: an address that is bound, a connection that stands. Up to then the child's troubles
    /// are the caller's and not the group's: an error is returned here, and a panic goes on here. From then on it is a child
    /// like any other.
    ///
    /// `None` if the group was cancelled, or the child's runtime shut down, before the child was ready. A child that waits for
    /// [room](Self::with_limit) is waited for.
    ///
    /// # Cancellation
    /// Dropping this future cancels the child, also one that has just become ready, whose value is lost. If the child has
    /// failed before it was ready, an error is lost, and a panic is reported as unobserved.
    ///
    /// # Panics
    /// With the child's panic, and if the child ended in good order without having set the promise to a value.
    ///
    /// ```
    /// use runtime::net::TcpListener;
    ///
    /// let served = runtime::task_group(|group| async move {
    ///     let address = group.start(|ready| async move {
    ///         let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///         let _ = ready.set_result(listener.local_addr()?);
    ///         listener.accept().await?;
    ///         Ok(())
    ///     });
    ///     let Some(address) = address.await? else { return Ok(()) };
    ///     runtime::net::TcpStream::connect(address).await?;
    ///     Ok::<_, std::io::Error>(())
    /// });
    /// assert!(runtime::block_on(served).is_ok());
    /// ```
    #[track_caller]
    pub fn start<T, Fut>(
        &self,
        f: impl FnOnce(Promise<T>) -> Fut,
    ) -> impl Future<Output = Result<Option<T>, E>>
    where
        T: Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.start_at(f, Location::caller())
    }

    async fn start_at<T, Fut>(
        &self,
        f: impl FnOnce(Promise<T>) -> Fut,
        location: &'static Location<'static>,
    ) -> Result<Option<T>, E>
    where
        T: Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        // If the child panics, or `f` does, that is the failure, and not that the promise was dropped.
        let (promise, mut ready) = Promise::inner();
        let early = Arc::new(Early { stage: Mutex::new(Stage::Waiting), shared: self.shared.clone() });
        let divert: Divert<E> = {
            let (ready, early) = (ready.clone(), early.clone());
            Box::new(move |end| early.end(end, || ready.state() == State::Finished))
        };
        let mut child = self.spawn_diverted(f(promise), Some(divert), location).abort_on_drop();
        let value = poll_fn(|cx| {
            if let Poll::Ready(Ok(value)) = Pin::new(&mut ready).poll(cx) {
                return Poll::Ready(Some(value));
            }
            // A promise that was given up cannot come to anything: the child's end tells why.
            Pin::new(&mut child).poll(cx).map(|_| ready.result().and_then(|ready| ready.ok().cloned()))
        })
        .await;
        if let Some(value) = value {
            drop(child.detach());
            early.ready();
            return Ok(Some(value));
        }
        match early.take() {
            Some(End::Failed(Failure::Error(error))) => Err(error),
            Some(End::Failed(Failure::Panic(panic))) => panic.resume_unwind(),
            // It has heard of the cancel before it was ready.
            Some(End::Success) if self.shared.is_cancelled() => Ok(None),
            Some(End::Success) => {
                panic!("a child given to TaskGroup::start ended without reporting that it is ready")
            }
            Some(End::Neutral) | None => Ok(None),
        }
    }
}
