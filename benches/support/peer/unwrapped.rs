//! A join handle that awaits to the output itself.

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Unwraps what `H` awaits to. No larger than `H`, so that kept handles weigh what the peer's own do.
pub struct Unwrapped<H>(pub(super) H);

impl<H, T, E> Future for Unwrapped<H>
where
    H: Future<Output = Result<T, E>> + Unpin,
    E: Debug,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|joined| joined.expect("a task of a benchmark failed"))
    }
}
