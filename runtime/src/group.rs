//! Structured concurrency: tasks that cannot outlive the block that started them.
//!
//! [`task_group`] runs a body and whatever tasks it spawns into its [`TaskGroup`], and returns when the last of them is
//! gone. A failure ends the others (or does not: see [`Policy`]), every failure is kept, and nothing is left behind.
//!
//! # Shape
//! ```text
//!   task_group(..)  the group's own future: polls the body, keeps the grace, waits      run.rs
//!        │
//!   TaskGroup<E> ──── Arc ──▶ Shared<E>    phase, members, limit, failures              state.rs
//!        │                       └──────▶ Census    how many are not gone, who waits   census.rs
//!   Child<F> ──────── Arc ──────┘          a member's future around the user's         child.rs
//! ```
//! # Protocol
//! *Spawn*: enter the census, which refuses once the group has returned; then, under the state's lock, become a running
//! or a queued member, or neither if the group was cancelled. A member is an ordinary task around a `child::Child`.
//!
//! *Cancel*: under the lock the phase changes and the queued members are taken, with the running ones if there is no
//! grace; then, without it, those are woken and the token is cancelled: the group's, or after a first success one below it
//! that the children see and the body does not. A member that is woken and finds itself in no
//! list drops its future where it stands and ends with `None`.
//!
//! *Leave*: a callback of the task's end, which runs in place: the future is gone then, and so is an output that nobody
//! wants. It makes room for a queued member and leaves the census. The last to leave wakes the group.
//!
//! *Group dropped early*: all members are aborted. If the group was made inside a member or the body of another group,
//! that one's census takes them over and waits for them. So the outermost group that is still awaited never returns
//! before the last member at any depth is gone.
//!
//! # Invariants
//! - **G1** A member is counted from before its task exists until after that is finished.
//! - **G2** The census is closed once, when nobody is counted and the body is gone, and refuses from then on.
//! - **G3** A failure is recorded before its member leaves.
//!
//! # Rejected
//! - Cancelling members through their task handles: a member that the group stopped could not be told from one that its
//!   owner cancelled.
//! - Children that borrow: the group's future can be leaked, and they would go on with what they borrowed (RFC 3151
//!   thread; [`scope`](crate::scope()) blocks instead).
//! - An error of the parent task for a failing child, as in asyncio: counting cancellations up and down has been wrong
//!   four times (gh-95289, gh-95704, gh-116720, gh-155433). Here only the body is dropped.
//!
//! Sources: Trio's nurseries (Nathaniel J. Smith, "Notes on structured concurrency", 2018), asyncio's `TaskGroup`,
//! Kotlin's `supervisorScope`, the joiners of Java's JEP 525.

mod builder;
mod census;
mod child;
mod error;
mod handle;
mod run;
mod start;
mod state;

use std::panic::Location;

pub use builder::Builder;
pub use error::{Failure, GroupError, Policy};
pub use handle::TaskGroup;

/// Runs `f` and the tasks that it spawns into the group it is given, until all of them are gone.
///
/// The body, which is the future that `f` returns, is polled in place and may borrow; the children are tasks of their
/// own and may not. The first failure, of a child or of the body, cancels the rest; other policies, a limit and a grace
/// come with [`TaskGroup::builder`].
///
/// The result is
/// - `Ok(Some(value))`: the body gave a value and nothing failed;
/// - `Ok(None)`: the group was [cancelled](TaskGroup::cancel) before the body had a value, and nothing failed;
/// - `Err`: all failures, in the order in which they came. A value of the body is dropped then.
///
/// When it returns, every child's future was dropped, each [`Task`](crate::Task) of the group is finished, and no new
/// child can be spawned: [`TaskGroup::spawn`] gives a task that is cancelled.
///
/// - **Cancel** drops the body and the children where they stand, at once or after the [grace](Builder::grace). A body
///   that returns a value in the very poll in which it cancels keeps it. The task that awaits the group is not touched.
/// - **Drop** of this future cancels the group without a grace. It cannot wait for the children, which end soon on their
///   own; an outer group, if there is one, does. Panics that were recorded are reported as unobserved, errors are lost.
/// - **Panic** in the body, in a child or in one of their destructors is a [`Failure::Panic`].
///
/// ```
/// use runtime::task_group;
///
/// # runtime::block_on(async {
/// let sum = task_group(|group| async move {
///     let tasks: Vec<_> = (0..10).map(|n| group.spawn(async move { Ok(n * n) })).collect();
///     let mut sum = 0;
///     for task in tasks {
///         sum += task.await.unwrap().unwrap_or(0);
///     }
///     Ok::<u32, std::io::Error>(sum)
/// });
/// assert_eq!(sum.await.unwrap(), Some(285));
/// # });
/// ```
///
/// The body may be an `async` closure. A failure stops the siblings, and is in the report:
/// ```
/// use runtime::{Failure, task_group};
///
/// # runtime::block_on(async {
/// let group = task_group(async |group| {
///     group.spawn(std::future::pending::<Result<(), String>>());
///     group.spawn::<()>(async { Err("out of paper".to_owned()) });
///     std::future::pending::<Result<(), String>>().await
/// });
/// let error = group.await.unwrap_err();
/// assert!(matches!(&error.errors[..], [Failure::Error(e)] if e == "out of paper"));
/// # });
/// ```
#[track_caller]
pub fn task_group<E, R, F, Fut>(
    f: F,
) -> impl Future<Output = Result<Option<R>, GroupError<E>>> + use<E, R, F, Fut>
where
    E: Send + 'static,
    F: FnOnce(TaskGroup<E>) -> Fut,
    Fut: Future<Output = Result<R, E>>,
{
    run::run(Builder::new(), Location::caller(), f)
}
