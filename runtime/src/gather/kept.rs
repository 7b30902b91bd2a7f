//! What a task came to, from its end until somebody is given it.

use super::crew::output;
use crate::cell::AbortOnDrop;
use crate::error::Error;

/// A panic stays with its task, which reports it if nobody is ever given it.
pub(super) enum Kept<T> {
    Output(Result<T, Error>),
    Panic(AbortOnDrop<T>),
}

impl<T> Kept<T> {
    /// That of a task that has ended.
    pub(super) fn of(mut task: AbortOnDrop<T>) -> Self {
        if task.task().error().is_some_and(|error| error.is_panic()) {
            return Kept::Panic(task);
        }
        Kept::Output(output(task))
    }

    pub(super) fn is_value(&self) -> bool {
        matches!(self, Kept::Output(Ok(_)))
    }

    /// Gives it to somebody who looks at it.
    pub(super) fn give(self) -> Result<T, Error> {
        match self {
            Kept::Output(output) => output,
            Kept::Panic(task) => output(task),
        }
    }
}
