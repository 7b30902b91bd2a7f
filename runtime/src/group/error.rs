//! What went wrong in a group, and what the group makes of it.

use std::fmt;

use crate::error::Error;

/// What a failure of a child means for the group. A failure of the body cancels the group under each of them.
///
/// ```
/// assert_eq!(runtime::group::Policy::default(), runtime::group::Policy::FailFast);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The first failure cancels the group.
    #[default]
    FailFast,
    /// A child's failure touches nobody else. The group fails in the end, with all failures.
    Supervise,
    /// The first child that succeeds cancels the other children; the body goes on, to collect the value. Failures cancel
    /// nobody. If a child has succeeded the group succeeds, its failures are dropped, and panics among them are reported
    /// as unobserved.
    FirstSuccess,
}

/// One failure in a group.
#[derive(Clone, Debug)]
pub enum Failure<E> {
    /// A child or the body returned an error.
    Error(E),
    /// A child, the body, or one of their destructors panicked; [`Error::into_panic`] gives the payload.
    Panic(Error),
}

impl<E> Failure<E> {
    /// True for a panic.
    ///
    /// ```
    /// assert!(!runtime::Failure::Error("late").is_panic());
    /// ```
    pub fn is_panic(&self) -> bool {
        matches!(self, Failure::Panic(_))
    }

    /// The error that was returned, if it was no panic.
    ///
    /// ```
    /// assert_eq!(runtime::Failure::Error("late").error(), Some(&"late"));
    /// ```
    pub fn error(&self) -> Option<&E> {
        match self {
            Failure::Error(error) => Some(error),
            Failure::Panic(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => error.fmt(f),
            Failure::Panic(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Failure<E> {}

/// All failures of a group; there is at least one. Its text lists them.
///
/// ```
/// use runtime::{Failure, GroupError};
///
/// let error = GroupError { errors: vec![Failure::Error("no ink"), Failure::Error("no paper")] };
/// assert_eq!(error.to_string(), "2 failures in a task group: no ink; no paper");
/// ```
#[derive(Clone, Debug)]
pub struct GroupError<E> {
    /// In the order in which they came.
    pub errors: Vec<Failure<E>>,
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.errors[..] {
            [only] => write!(f, "a failure in a task group: {only}"),
            all => {
                write!(f, "{} failures in a task group", all.len())?;
                for (index, failure) in all.iter().enumerate() {
                    write!(f, "{} {failure}", if index == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
        }
    }
}

/// Also for errors that are only text: what failed is in the text, not in the source.
impl<E: fmt::Debug + fmt::Display> std::error::Error for GroupError<E> {}
