//! What the outside sees of a promise's state, and what the loser of the race to set it gets.

use std::error::Error as StdError;
use std::fmt;

/// Where a [`Future`](super::Future) stands. It leaves `Pending` once and never changes again.
///
/// ```
/// use runtime::{Promise, State};
///
/// let (promise, future) = Promise::<u8>::new();
/// assert_eq!(future.state(), State::Pending);
/// drop(promise);
/// assert_eq!(future.state(), State::Failed); // a broken promise is a failure
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nobody has set it.
    Pending,
    /// It has a value.
    Finished,
    /// It has an exception, a caught panic, or its promise was broken.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Pending => "pending",
            State::Finished => "finished",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        })
    }
}

/// The future was done already: here is the value that came too late, and the state that won.
///
/// ```
/// use runtime::{Promise, State};
///
/// let (promise, _future) = Promise::new();
/// promise.set_result(1).unwrap();
/// let lost = promise.set_result(2).unwrap_err();
/// assert_eq!(lost.state, State::Finished);
/// assert_eq!(lost.value, 2);
/// assert_eq!(lost.to_string(), "the future is already finished");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InvalidState<V> {
    /// The state that the future is in.
    pub state: State,
    /// What was to be set.
    pub value: V,
}

impl<V> InvalidState<V> {
    pub(super) fn map<W>(self, f: impl FnOnce(V) -> W) -> InvalidState<W> {
        InvalidState { state: self.state, value: f(self.value) }
    }
}

/// Without the value, so that `unwrap` works for every type.
impl<V> fmt::Debug for InvalidState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidState").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<V> fmt::Display for InvalidState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the future is already {}", self.state)
    }
}

impl<V> StdError for InvalidState<V> {}
