//! The handles: [`CancelToken`], and the guard that cancels one.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tree::Node;
use super::wait::{Cancelled, CancelledOwned, RunUntilCancelled};
use crate::time::now;

/// A request to stop that any number of tasks and threads can see and wait for.
///
/// A clone is the same token. A [`child`](Self::child) is cancelled with its parent and does not touch it when it is
/// cancelled itself. A deadline holds for the token and everything below it, so the effective one is the earliest on the
/// way up to the root, as in Trio. The tree may be of any depth and breadth.
///
/// - **Cancel** is sticky and reaches all descendants before anybody is woken.
/// - **Drop** of a token does not cancel; see [`drop_guard`](Self::drop_guard). A token whose handles are gone leaves
///   nothing in its parent. Tokens below it go on to be cancelled from above.
/// - **Panic**: a waker that panics does not reach whoever cancels, nor keeps others from being woken.
///
/// Works on any thread and under any executor. A deadline is compared with the clock of the runtime that the thread
/// stands in, as all of [`time`](crate::time).
///
/// ```
/// use runtime::CancelToken;
///
/// runtime::block_on(async {
///     let server = CancelToken::new();
///     let connection = server.child();
///     let task = runtime::spawn(async move {
///         connection.cancelled().await;
///         "said goodbye"
///     });
///     server.cancel();
///     assert_eq!(task.await.unwrap(), "said goodbye");
/// });
/// ```
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<Node>,
}

impl CancelToken {
    /// A token without a parent and without a deadline.
    ///
    /// ```
    /// assert!(!runtime::CancelToken::new().is_cancelled());
    /// ```
    pub fn new() -> Self {
        CancelToken { node: Node::root(None) }
    }

    /// A token without a parent that is cancelled at `deadline`.
    ///
    /// ```
    /// use runtime::{CancelToken, time::now};
    /// assert!(CancelToken::with_deadline(now()).is_cancelled());
    /// ```
    pub fn with_deadline(deadline: Instant) -> Self {
        CancelToken { node: Node::root(Some(deadline)) }
    }

    /// A token without a parent that is cancelled after a length of time, counted from this call on.
    ///
    /// Any length is valid; one that the clock cannot reach is no deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::CancelToken;
    ///
    /// let token = CancelToken::with_timeout(Duration::from_millis(1));
    /// runtime::block_on(token.cancelled());
    /// assert!(CancelToken::with_timeout(Duration::MAX).deadline().is_none());
    /// ```
    pub fn with_timeout(timeout: Duration) -> Self {
        CancelToken { node: Node::root(now().checked_add(timeout)) }
    }

    /// A token that is cancelled with this one, and can be cancelled alone.
    ///
    /// ```
    /// let parent = runtime::CancelToken::new();
    /// let (one, other) = (parent.child(), parent.child());
    /// one.cancel();
    /// assert!(one.is_cancelled() && !other.is_cancelled());
    /// parent.cancel();
    /// assert!(other.is_cancelled() && parent.child().is_cancelled());
    /// ```
    #[must_use = "a token that nobody keeps is of no use"]
    pub fn child(&self) -> Self {
        CancelToken { node: self.node.child(None) }
    }

    /// As [`child`](Self::child), cancelled at `deadline` at the latest.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{CancelToken, time::now};
    ///
    /// let soon = now() + Duration::from_secs(1);
    /// let parent = CancelToken::with_deadline(soon);
    /// // A child cannot have more time than its parent.
    /// assert_eq!(parent.child_with_deadline(soon + Duration::from_secs(1)).deadline(), Some(soon));
    /// ```
    #[must_use = "a token that nobody keeps is of no use"]
    pub fn child_with_deadline(&self, deadline: Instant) -> Self {
        CancelToken { node: self.node.child(Some(deadline)) }
    }

    /// As [`child`](Self::child), cancelled after a length of time at the latest, counted from this call on.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let parent = runtime::CancelToken::new();
    /// let request = parent.child_with_timeout(Duration::from_millis(1));
    /// runtime::block_on(request.cancelled());
    /// assert!(!parent.is_cancelled());
    /// ```
    #[must_use = "a token that nobody keeps is of no use"]
    pub fn child_with_timeout(&self, timeout: Duration) -> Self {
        CancelToken { node: self.node.child(now().checked_add(timeout)) }
    }

    /// Cancels this token and all below it; false if it had been cancelled before.
    ///
    /// When the call that was first returns, all descendants are cancelled and whoever waited has been woken. That its
    /// deadline has passed is no call: the first one after that gives true.
    ///
    /// ```
    /// let token = runtime::CancelToken::new();
    /// assert!(token.cancel());
    /// assert!(!token.clone().cancel());
    /// ```
    pub fn cancel(&self) -> bool {
        self.node.cancel()
    }

    /// True once it, or one above it, was cancelled, or the deadline has passed. It stays so.
    ///
    /// ```
    /// let token = runtime::CancelToken::new();
    /// let child = token.child();
    /// token.cancel();
    /// assert!(child.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled() || self.deadline().is_some_and(|deadline| now() >= deadline)
    }

    /// The effective deadline: the earliest of this token and all above it. What a call to somewhere else may be told.
    ///
    /// ```
    /// assert_eq!(runtime::CancelToken::new().deadline(), None);
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// Waits until the token [is cancelled](Self::is_cancelled). Any number of tasks may wait.
    ///
    /// # Cancellation
    /// Dropping it loses nothing and leaves nothing behind.
    ///
    /// ```
    /// let token = runtime::CancelToken::new();
    /// let other = token.clone();
    /// std::thread::spawn(move || other.cancel());
    /// runtime::block_on(token.cancelled());
    /// ```
    pub fn cancelled(&self) -> Cancelled<'_> {
        Cancelled::new(&self.node)
    }

    /// As [`cancelled`](Self::cancelled), for futures that must not borrow.
    ///
    /// ```
    /// let token = runtime::CancelToken::new();
    /// let stopped = runtime::spawn(token.clone().cancelled_owned());
    /// token.cancel();
    /// runtime::block_on(stopped).unwrap();
    /// ```
    pub fn cancelled_owned(self) -> CancelledOwned {
        CancelledOwned::new(self.node)
    }

    /// Gives the future's output, or `None` if the token is cancelled first; the future is dropped then.
    ///
    /// A token that is cancelled at the first poll gives `None`, and the future is never polled. After that the future
    /// is polled first: a value that is there is never lost to a cancel that came at the same time.
    ///
    /// A future that uses up its task's budget does not keep the cancel from being seen. A panic of the future goes to
    /// the caller. Dropping this drops the future, so it is as cancel-safe as that is.
    ///
    /// ```
    /// let token = runtime::CancelToken::new();
    /// runtime::block_on(async {
    ///     assert_eq!(token.run_until_cancelled(async { 7 }).await, Some(7));
    ///     token.cancel();
    ///     assert_eq!(token.run_until_cancelled(async { 7 }).await, None);
    /// });
    /// ```
    pub fn run_until_cancelled<F: IntoFuture>(
        &self,
        future: F,
    ) -> RunUntilCancelled<F::IntoFuture, Cancelled<'_>> {
        RunUntilCancelled::new(future.into_future(), self.cancelled())
    }

    /// As [`run_until_cancelled`](Self::run_until_cancelled), for futures that must not borrow the token.
    ///
    /// ```
    /// let token = runtime::CancelToken::new();
    /// let work = token.clone().run_until_cancelled_owned(std::future::pending::<()>());
    /// let task = runtime::spawn(work);
    /// token.cancel();
    /// assert_eq!(runtime::block_on(task).unwrap(), None);
    /// ```
    pub fn run_until_cancelled_owned<F: IntoFuture>(
        self,
        future: F,
    ) -> RunUntilCancelled<F::IntoFuture, CancelledOwned> {
        RunUntilCancelled::new(future.into_future(), self.cancelled_owned())
    }

    /// A guard that cancels the token when it is dropped: at the end of a scope, however that ends.
    ///
    /// ```
    /// let token = runtime::CancelToken::new();
    /// drop(token.clone().drop_guard());
    /// assert!(token.is_cancelled());
    /// ```
    pub fn drop_guard(self) -> CancelOnDrop {
        CancelOnDrop(Some(self))
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        CancelToken::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("is_cancelled", &self.node.is_cancelled())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// Cancels a token when it is dropped; made by [`CancelToken::drop_guard`].
#[derive(Debug)]
#[must_use = "dropping it cancels the token"]
pub struct CancelOnDrop(Option<CancelToken>);

impl CancelOnDrop {
    /// The token again, which is not cancelled by this.
    ///
    /// ```
    /// let token = runtime::CancelToken::new().drop_guard().disarm();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn disarm(mut self) -> CancelToken {
        self.0.take().expect("a guard has its token until it is dropped")
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(token) = &self.0 {
            token.cancel();
        }
    }
}

const _: () = {
    const fn shared_everywhere<T: Clone + Send + Sync + Unpin>() {}
    shared_everywhere::<CancelToken>();
    assert!(size_of::<CancelToken>() == size_of::<usize>());
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_hundred_thousand_short_children_leave_nothing_in_their_parent() {
        let parent = CancelToken::new();
        for _ in 0..100_000 {
            drop(parent.child());
        }
        assert_eq!(parent.node.children(), 0);
        assert_eq!((Arc::strong_count(&parent.node), Arc::weak_count(&parent.node)), (1, 0));
    }

    #[test]
    fn a_node_in_the_middle_stays_while_somebody_is_below_it_and_goes_with_it() {
        let root = CancelToken::new();
        let leaf = root.child().child();
        assert_eq!(root.node.children(), 1);
        drop(leaf);
        assert_eq!(root.node.children(), 0);
    }

    #[test]
    fn two_thousand_abandoned_waits_leave_no_reader() {
        let token = CancelToken::new();
        for _ in 0..2_000 {
            let mut wait = pin!(token.cancelled());
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let wait = token.clone().cancelled_owned();
        drop(wait);
        assert_eq!(Arc::strong_count(&token.node), 1);
    }
}
