//! A limit to the time that a future may take.

use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::sleep::{Sleep, sleep, sleep_until};
use crate::coop::{self, BudgetGuard};
use crate::error::Error;

/// Gives the future's output, or an error ([`is_timeout`](Error::is_timeout)) if it is not ready in time.
///
/// The time runs from this call on. The future is polled first: a value that is there at the deadline is given, with a
/// zero timeout too. After the error the future has not been dropped yet; that comes with the `Timeout`. Dropping the
/// `Timeout` drops both, so it is as cancel-safe as the future is.
///
/// A future that is always ready to go on and uses up its task's budget does not keep the timeout from being seen; one
/// that never returns from its poll does.
///
/// ```
/// use std::time::Duration;
/// use runtime::time::timeout;
///
/// runtime::block_on(async {
///     assert_eq!(timeout(Duration::from_secs(5), async { 7 }).await.unwrap(), 7);
///     let error = timeout(Duration::from_millis(1), std::future::pending::<()>()).await.unwrap_err();
///     assert!(error.is_timeout());
/// });
/// ```
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep(duration) }
}

/// As [`timeout`], until an instant.
///
/// ```
/// use runtime::time::{now, timeout_at};
///
/// runtime::block_on(async {
///     assert!(timeout_at(now(), std::future::pending::<()>()).await.is_err());
/// });
/// ```
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep_until(deadline) }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future inside.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future inside.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The future inside, without its limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Error>> {
        let mut this = self.project();
        let had_budget = coop::has_budget_remaining();
        if let Poll::Ready(output) = this.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if !had_budget || coop::has_budget_remaining() {
            return Pin::new(this.sleep).poll(cx).map(|()| Err(Error::timed_out()));
        }
        // The future used the budget up, perhaps each time: the limit is for such as it, too.
        ready!(this.sleep.poll_elapsed(cx.waker()));
        // One that is ready, and pending only for want of a budget, would lose its value.
        let _budget = BudgetGuard::fresh();
        Poll::Ready(match this.future.poll(cx) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => Err(Error::timed_out()),
        })
    }
}
