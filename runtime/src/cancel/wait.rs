//! The futures that end with a token.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::tree::Node;
use crate::coop::{self, BudgetGuard};
use crate::promise;
use crate::time::{Sleep, now, sleep_until};

/// What a wait for a node consists of. Both parts leave nothing behind when they are dropped.
struct Wait {
    event: promise::Future<()>,
    /// The timer of this wait, if the node has a deadline.
    deadline: Option<Sleep>,
}

impl Wait {
    fn new(node: &Node) -> Self {
        Wait { event: node.event(), deadline: node.deadline().map(sleep_until) }
    }

    fn poll(&mut self, node: &Node, cx: &mut Context<'_>) -> Poll<()> {
        // The flag comes before the event: whoever was woken elsewhere finds all descendants cancelled.
        if node.is_cancelled() {
            let unit = ready!(coop::poll_proceed(cx));
            unit.made_progress();
            return Poll::Ready(());
        }
        if Pin::new(&mut self.event).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut self.deadline {
            Some(deadline) => Pin::new(deadline).poll(cx),
            None => Poll::Pending,
        }
    }
}

/// A wait that can be asked without a waker; what [`RunUntilCancelled`] needs of either form.
pub trait CancelWait: Future<Output = ()> + Unpin + sealed::Sealed {
    #[doc(hidden)]
    fn is_over(&self) -> bool;
}

mod sealed {
    pub trait Sealed {}
}

fn is_over(node: &Node) -> bool {
    node.is_cancelled() || node.deadline().is_some_and(|deadline| now() >= deadline)
}

/// The future of [`CancelToken::cancelled`](super::CancelToken::cancelled).
#[must_use = "futures do nothing unless awaited"]
pub struct Cancelled<'a> {
    node: &'a Node,
    wait: Wait,
}

impl<'a> Cancelled<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Cancelled { node, wait: Wait::new(node) }
    }
}

impl Future for Cancelled<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.wait.poll(this.node, cx)
    }
}

impl sealed::Sealed for Cancelled<'_> {}
impl CancelWait for Cancelled<'_> {
    fn is_over(&self) -> bool {
        is_over(self.node)
    }
}

/// The future of [`CancelToken::cancelled_owned`](super::CancelToken::cancelled_owned). It keeps the token alive.
#[must_use = "futures do nothing unless awaited"]
pub struct CancelledOwned {
    /// Before the node, whose end would wake it.
    wait: Wait,
    node: Arc<Node>,
}

impl CancelledOwned {
    pub(super) fn new(node: Arc<Node>) -> Self {
        CancelledOwned { wait: Wait::new(&node), node }
    }
}

impl Future for CancelledOwned {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.wait.poll(&this.node, cx)
    }
}

impl sealed::Sealed for CancelledOwned {}
impl CancelWait for CancelledOwned {
    fn is_over(&self) -> bool {
        is_over(&self.node)
    }
}

pin_project! {
    /// The future of [`CancelToken::run_until_cancelled`](super::CancelToken::run_until_cancelled) and of its owned
    /// form.
    #[must_use = "futures do nothing unless awaited"]
    pub struct RunUntilCancelled<F, W> {
        // `None` once it was given up.
        #[pin]
        future: Option<F>,
        wait: W,
        begun: bool,
    }
}

impl<F, W> RunUntilCancelled<F, W> {
    pub(super) fn new(future: F, wait: W) -> Self {
        RunUntilCancelled { future: Some(future), wait, begun: false }
    }
}

impl<F: Future, W: CancelWait> Future for RunUntilCancelled<F, W> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        let output = match this.future.as_mut().as_pin_mut() {
            Some(future) => ready!(poll_until_over(future, this.wait, this.begun, cx)),
            None => None,
        };
        if output.is_none() {
            this.future.set(None);
        }
        Poll::Ready(output)
    }
}

/// The future's output, or `None` once the wait is over.
fn poll_until_over<F: Future>(
    mut future: Pin<&mut F>,
    wait: &mut impl CancelWait,
    begun: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    if !std::mem::replace(begun, true) && wait.is_over() {
        return Poll::Ready(None);
    }
    if let Poll::Ready(output) = future.as_mut().poll(cx) {
        return Poll::Ready(Some(output));
    }
    // Looked at without the budget, which the future may use up each time.
    if wait.is_over() {
        // A future that is ready, and pending only for want of a budget, would lose its value to the cancel.
        let more = BudgetGuard::one_more();
        let output = more.map(|_unit| future.poll(cx));
        return Poll::Ready(match output {
            Some(Poll::Ready(output)) => Some(output),
            _ => None,
        });
    }
    Pin::new(wait).poll(cx).map(|()| None)
}

impl fmt::Debug for Cancelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").field("is_cancelled", &self.node.is_cancelled()).finish_non_exhaustive()
    }
}

impl fmt::Debug for CancelledOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelledOwned")
            .field("is_cancelled", &self.node.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl<F, W: fmt::Debug> fmt::Debug for RunUntilCancelled<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunUntilCancelled").field("until", &self.wait).finish_non_exhaustive()
    }
}
