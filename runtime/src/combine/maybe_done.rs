//! A future, and then its output in the same place.

use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::turn::poll_in_turn;

pin_project! {
    /// A future, its output once it is ready, and then nothing. The future is dropped as soon as it is ready.
    #[project = Stage]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the macro takes no documentation of a variant's fields")]
    pub enum MaybeDone<F: Future> {
        /// Not ready yet.
        Waiting { #[pin] future: F },
        /// Ready; `None` once the output was taken.
        Done { output: Option<F::Output> },
    }
}

impl<F: Future> MaybeDone<F> {
    /// Not polled yet.
    pub fn new(future: impl IntoFuture<IntoFuture = F>) -> Self {
        MaybeDone::Waiting { future: future.into_future() }
    }

    /// Polls the future unless it has been ready before.
    pub fn poll_done(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::Waiting { future } = self.as_mut().project() {
            let output = ready!(poll_in_turn(future, cx));
            self.set(MaybeDone::Done { output: Some(output) });
        }
        Poll::Ready(())
    }

    /// The output, which is there and was not taken before.
    pub fn take(self: Pin<&mut Self>) -> F::Output {
        match self.project() {
            Stage::Done { output } => output.take().expect("each output is taken once"),
            Stage::Waiting { .. } => unreachable!("only outputs that are there are taken"),
        }
    }
}

impl<T, E, F: Future<Output = Result<T, E>>> MaybeDone<F> {
    /// As [`poll_done`](Self::poll_done); an error is taken out at once.
    pub fn poll_ok(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        ready!(self.as_mut().poll_done(cx));
        let Stage::Done { output } = self.project() else { unreachable!("it has just been ready") };
        Poll::Ready(match output.take() {
            Some(Err(error)) => Err(error),
            value => {
                *output = value;
                Ok(())
            }
        })
    }

    /// The value, after [`poll_ok`](Self::poll_ok) found it.
    pub fn take_ok(self: Pin<&mut Self>) -> T {
        match self.take() {
            Ok(value) => value,
            Err(_) => unreachable!("an error ends the macro when it is found"),
        }
    }
}
