//! Every interleaving of a task's races, up to loom's bound on preemptions.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use super::*;
use crate::parker::{self, Parker};

/// Polls `future` to its end on this thread.
pub(crate) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let parker = Parker::new();
    let waker = parker::waker(&parker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut TaskContext::from_waker(&waker)) {
            return output;
        }
        parker.park();
    }
}

/// A scheduler of tasks that never wait.
#[derive(Clone, Debug)]
pub(crate) struct Inert;

impl Schedule for Inert {
    fn schedule(&self, _: Runnable) {
        unreachable!("nobody wakes the task")
    }
    fn yielded(&self, _: Runnable) {
        unreachable!("the task does not yield")
    }
    fn bind(&self, _: &Runnable) -> Option<SlotRef> {
        None
    }
    fn unbind(&self, _: SlotRef) {}
    fn report(&self, _: Unobserved) {}
}
