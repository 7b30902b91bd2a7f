//! Groups with options.

use std::panic::Location;
use std::time::Duration;

use super::error::{GroupError, Policy};
use super::handle::TaskGroup;
use super::run;
use crate::cancel::CancelToken;

/// The options of a group; made by [`TaskGroup::builder`].
///
/// ```
/// use std::time::Duration;
/// use runtime::TaskGroup;
/// use runtime::group::Policy;
///
/// # runtime::block_on(async {
/// let group = TaskGroup::builder().policy(Policy::Supervise).limit(2).grace(Duration::from_secs(1));
/// let result = group.run(|group| async move {
///     for n in 0..5 {
///         group.spawn(async move { if n == 3 { Err(n) } else { Ok(()) } });
///     }
///     Ok(())
/// });
/// assert_eq!(result.await.unwrap_err().errors.len(), 1);
/// # });
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it runs"]
pub struct Builder {
    pub(super) policy: Policy,
    pub(super) limit: usize,
    pub(super) grace: Duration,
    pub(super) token: Option<CancelToken>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder { policy: Policy::FailFast, limit: usize::MAX, grace: Duration::ZERO, token: None }
    }

    /// What a child's failure means; [`Policy::FailFast`] unless set.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How many children may run at a time; any number unless set. See [`TaskGroup::with_limit`].
    ///
    /// # Panics
    /// If it is zero: nothing could ever start.
    #[track_caller]
    pub fn limit(mut self, n: usize) -> Self {
        check_limit(n);
        self.limit = n;
        self
    }

    /// How long the body and the children may go on once the group is cancelled; no time unless set.
    ///
    /// They learn of the cancel from the group's [token](TaskGroup::token), may clean up with more awaits, and are
    /// dropped where they stand when the time is over. Those that wait for room are dropped at once. Children cannot be
    /// spawned any more. If the group's own future is dropped there is no grace.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::TaskGroup;
    ///
    /// # runtime::block_on(async {
    /// let result = TaskGroup::builder().grace(Duration::from_secs(5)).run(|group| async move {
    ///     let token = group.token();
    ///     let child = group.spawn(async move {
    ///         token.cancelled().await;
    ///         runtime::task::yield_now().await; // says goodbye
    ///         Ok::<_, std::io::Error>("closed in good order")
    ///     });
    ///     group.cancel();
    ///     Ok(child.await.unwrap())
    /// });
    /// assert_eq!(result.await.unwrap(), Some(Some("closed in good order")));
    /// # });
    /// ```
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Cancels the group with this token, deadline included.
    ///
    /// The group's own token becomes a child of it. Otherwise it is a child of the token of the group in whose body or
    /// child this one runs, if there is one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::{CancelToken, TaskGroup};
    ///
    /// # runtime::block_on(async {
    /// let token = CancelToken::with_timeout(Duration::from_millis(1));
    /// let result = TaskGroup::builder()
    ///     .token(&token)
    ///     .run(|_group| std::future::pending::<Result<(), std::io::Error>>());
    /// assert_eq!(result.await.unwrap(), None);
    /// # });
    /// ```
    pub fn token(mut self, token: &CancelToken) -> Self {
        self.token = Some(token.clone());
        self
    }

    /// Runs a group with these options; see [`task_group`](super::task_group).
    #[track_caller]
    pub fn run<E, R, F, Fut>(
        self,
        f: F,
    ) -> impl Future<Output = Result<Option<R>, GroupError<E>>> + use<E, R, F, Fut>
    where
        E: Send + 'static,
        F: FnOnce(TaskGroup<E>) -> Fut,
        Fut: Future<Output = Result<R, E>>,
    {
        run::run(self, Location::caller(), f)
    }
}

#[track_caller]
pub(super) fn check_limit(n: usize) {
    assert!(n > 0, "a task group needs a limit of at least 1: with 0 no child could ever start");
}
