//! `gather!`: a few futures of different types, each as a task.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::kept::Kept;
use crate::cell::AbortOnDrop;
use crate::error::Error;

/// Runs each future as a task, at the same time, and gives a tuple of their values, or a failure.
///
/// Gives a future, whose output is `Result<(A, B, ..), Error>`; the tasks start at once, whether it is awaited or not.
/// A task fails if it panics, its runtime is shut down, or no thread can be had for it. At the first failure the others
/// are cancelled, and the result is there once they have ended and their destructors ran. A future whose output is a
/// `Result` has not failed by giving `Err`: that is a value in the tuple. Therefore pass coroutines and not a
/// [`Task`](crate::Task), which is a future of a `Result` as well. Of several tasks that have failed since the last look
/// it is the failure of the first argument that is given. Up to 12 futures, which have to be `Send` and `'static`. For
/// any number of tasks see [`gather_all`](crate::gather_all()); to wait in one task, with futures that borrow,
/// [`join!`](crate::join).
///
/// - **Drop**, **cancel**: the tasks that run are cancelled, not waited for; values that are there are dropped. So are
///   those that run when a later argument panics or leaves the function (`?`).
/// - **Panic** of a future is its task's failure. One that comes after the first failure is reported as that of a
///   detached task, as is one that was not given when the call is dropped.
///
/// # Panics
/// If it is polled after it was ready. At once, if the default runtime is needed and cannot be built.
///
/// ```
/// # runtime::block_on(async {
/// let (number, text) = runtime::gather!(async { 42 }, async { "forty-two" }).await.unwrap();
/// assert_eq!((number, text), (42, "forty-two"));
/// # });
/// ```
#[macro_export]
macro_rules! gather {
    ($($future:expr),* $(,)?) => {
        $crate::__private::gather_tuple(($($crate::spawn($future).abort_on_drop(),)*))
    };
}

/// What [`gather!`](crate::gather) expands to.
pub fn gather_tuple<T: Tasks>(tasks: T) -> Gather<T> {
    Gather { members: tasks.into_members(), failed: false }
}

/// A tuple of tasks, which are cancelled if a later argument of the macro panics or leaves the function.
#[diagnostic::on_unimplemented(
    message = "gather! takes at most 12 futures",
    note = "gather_all takes any number of tasks of one type; gather! can be nested"
)]
pub trait Tasks {
    /// The tasks and their values.
    type Members: Members;

    /// Owns the tasks.
    fn into_members(self) -> Self::Members;
}

/// A tuple of tasks, and of the values that they have given.
pub trait Members {
    /// The tuple of values.
    type Values;

    /// Ready once all have ended, or with a failure as soon as there is one.
    fn poll_values(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>>;

    /// Asks all to stop.
    fn cancel(&self);

    /// Ready once all have ended, without looking at what they gave.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The values, once all are there.
    fn take(&mut self) -> Self::Values;

    /// The failure, if there was one.
    fn failure(&mut self) -> Option<Error>;
}

/// A task, then what it came to.
pub struct Member<T> {
    task: Option<AbortOnDrop<T>>,
    kept: Option<Kept<T>>,
}

impl<T> Member<T> {
    fn new(task: AbortOnDrop<T>) -> Self {
        Member { task: Some(task), kept: None }
    }

    fn poll_value(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if let Some(task) = &mut self.task {
            ready!(task.task().poll_done(cx));
            self.kept = self.task.take().map(Kept::of);
        }
        let is_value = self.kept.as_ref().is_some_and(Kept::is_value);
        Poll::Ready(if is_value { Ok(()) } else { Err(Failed) })
    }

    fn cancel(&self) {
        if let Some(task) = &self.task {
            task.cancel();
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(task) = &mut self.task {
            ready!(task.task().poll_done(cx));
            self.task = None;
        }
        Poll::Ready(())
    }

    fn take(&mut self) -> T {
        let value = self.kept.take().and_then(|kept| kept.give().ok());
        value.expect("each task has given a value")
    }

    /// The failure, if it was this one's.
    fn failure(&mut self) -> Option<Error> {
        self.kept.take_if(|kept| !kept.is_value())?.give().err()
    }
}

/// One of the members has failed, and keeps it.
pub struct Failed;

/// The future of [`gather!`](crate::gather).
#[must_use = "dropping it cancels the tasks"]
pub struct Gather<T: Tasks> {
    members: T::Members,
    failed: bool,
}

impl<T: Tasks> Unpin for Gather<T> {}

impl<T: Tasks> Future for Gather<T> {
    type Output = Result<<T::Members as Members>::Values, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.failed {
            match ready!(self.members.poll_values(cx)) {
                Ok(()) => return Poll::Ready(Ok(self.members.take())),
                Err(Failed) => {
                    self.members.cancel();
                    self.failed = true;
                }
            }
        }
        ready!(self.members.poll_gone(cx));
        let failure = self.members.failure().expect("a failure came before");
        Poll::Ready(Err(failure))
    }
}

impl<T: Tasks> Drop for Gather<T> {
    fn drop(&mut self) {
        // All are asked before the first handle goes, so that they stop side by side.
        self.members.cancel();
    }
}

impl<T: Tasks> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("failed", &self.failed).finish_non_exhaustive()
    }
}

macro_rules! tuples {
    ($($T:ident)*) => {
        impl<$($T),*> Tasks for ($(AbortOnDrop<$T>,)*) {
            type Members = ($(Member<$T>,)*);

            #[expect(non_snake_case, reason = "one name for a type and its task")]
            fn into_members(self) -> Self::Members {
                let ($($T,)*) = self;
                ($(Member::new($T),)*)
            }
        }

        #[expect(non_snake_case, reason = "one name for a type and its task")]
        impl<$($T),*> Members for ($(Member<$T>,)*) {
            type Values = ($($T,)*);

            fn poll_values(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
                let ($($T,)*) = self;
                let mut waiting = false;
                $(
                    match $T.poll_value(cx) {
                        Poll::Pending => waiting = true,
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(Failed)) => return Poll::Ready(Err(Failed)),
                    }
                )*
                if waiting { Poll::Pending } else { Poll::Ready(Ok(())) }
            }

            fn cancel(&self) {
                let ($($T,)*) = self;
                $($T.cancel();)*
            }

            fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
                let ($($T,)*) = self;
                let mut waiting = false;
                $(waiting |= $T.poll_gone(cx).is_pending();)*
                if waiting { Poll::Pending } else { Poll::Ready(()) }
            }

            fn take(&mut self) -> Self::Values {
                let ($($T,)*) = self;
                ($($T.take(),)*)
            }

            fn failure(&mut self) -> Option<Error> {
                let ($($T,)*) = self;
                None$(.or_else(|| $T.failure()))*
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);

impl Tasks for () {
    type Members = ();

    fn into_members(self) {}
}

impl Members for () {
    type Values = ();

    fn poll_values(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn cancel(&self) {}

    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn take(&mut self) {}

    fn failure(&mut self) -> Option<Error> {
        None
    }
}
