//! The handle that the body, and whoever it gives clones to, spawns with.

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::Arc;

use super::builder::{Builder, check_limit};
use super::child::{Child, Divert};
use super::state::{Cause, Entry, Shared};
use crate::cancel::CancelToken;
use crate::cell::Task;
use crate::task::spawn_at;

/// The group that a [`task_group`](super::task_group) is running: spawns children into it, and cancels it.
///
/// Clones are the same group. They may be kept, and given to the children, which then can spawn siblings. Dropping one
/// does nothing.
pub struct TaskGroup<E> {
    pub(super) shared: Arc<Shared<E>>,
}

impl TaskGroup<()> {
    /// A group with options: [`policy`](Builder::policy), [`limit`](Builder::limit), [`grace`](Builder::grace),
    /// [`token`](Builder::token). The type of error is that of the body which [`run`](Builder::run) is given.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    pub(super) fn of(shared: Arc<Shared<E>>) -> Self {
        TaskGroup { shared }
    }

    /// Spawns a child: a task that the group waits for, and that it stops when it is cancelled.
    ///
    /// The task gives `Some` with the child's value; `None` if the child failed, which the group's result tells, or was
    /// stopped by the group. An `Err` is what it is for every task: the child was cancelled through this handle, which
    /// is no failure of the group, or its runtime was shut down. Dropping the handle changes nothing.
    ///
    /// If the group has a [limit](Self::with_limit) the child waits for room before its first poll.
    ///
    /// If the group was cancelled, or is over, the future is never polled, and the task is a cancelled one.
    ///
    /// ```
    /// runtime::block_on(runtime::task_group(|group| async move {
    ///     let task = group.spawn(async { Ok(6 * 7) });
    ///     assert_eq!(task.await.unwrap(), Some(42));
    ///     Ok::<_, std::io::Error>(())
    /// }))
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn spawn<T>(&self, future: impl Future<Output = Result<T, E>> + Send + 'static) -> Task<Option<T>>
    where
        T: Send + 'static,
    {
        self.spawn_diverted(future, None, Location::caller())
    }

    #[track_caller]
    pub(super) fn spawn_diverted<T, F>(
        &self,
        future: F,
        divert: Option<Divert<E>>,
        location: &'static Location<'static>,
    ) -> Task<Option<T>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
    {
        match self.shared.enter() {
            Entry::Member(key) => {
                let entered = Entered(&self.shared, Some(key));
                let task = spawn_at(Child::new(future, self.shared.clone(), key, divert), location);
                entered.leave_with(&task);
                task
            }
            Entry::Refused => {
                let entered = Entered(&self.shared, None);
                let task = refused(Child::new(future, self.shared.clone(), 0, divert), location);
                entered.leave_with(&task);
                task
            }
            Entry::Closed => refused(future, location),
        }
    }

    /// Cancels the group: the body and all children, those that come later included. Calling it again changes nothing.
    ///
    /// They are dropped where they stand, or after the [grace](Builder::grace), and the group returns: with `Ok(None)`
    /// if the body had no value and nothing failed.
    ///
    /// ```
    /// let cancelled = runtime::task_group(|group| async move {
    ///     group.spawn::<()>(std::future::pending());
    ///     group.cancel();
    ///     std::future::pending::<Result<(), std::io::Error>>().await
    /// });
    /// assert_eq!(runtime::block_on(cancelled).unwrap(), None);
    /// ```
    pub fn cancel(&self) {
        self.shared.cancel(Cause::Asked);
    }

    /// True once children cannot be spawned any more because the group was cancelled, by whomever.
    ///
    /// ```
    /// runtime::block_on(runtime::task_group(|group| async move {
    ///     assert!(!group.is_cancelled());
    ///     group.cancel();
    ///     assert!(group.is_cancelled());
    ///     Ok::<_, std::io::Error>(())
    /// }))
    /// .unwrap();
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled()
    }

    /// The token that is cancelled with the group, for children that clean up in the [grace](Builder::grace).
    ///
    /// Cancelling it cancels the group. The tokens of groups in its children are below it, and those of groups in its
    /// body are cancelled with it, unless it was by a [first success](super::Policy::FirstSuccess): the body goes on then.
    ///
    /// ```
    /// runtime::block_on(runtime::task_group(|group| async move {
    ///     let token = group.token();
    ///     group.cancel();
    ///     assert!(token.is_cancelled());
    ///     Ok::<_, std::io::Error>(())
    /// }))
    /// .unwrap();
    /// ```
    pub fn token(&self) -> CancelToken {
        self.shared.members_token().clone()
    }

    /// Lets at most `n` children of the group run at a time, and gives the group again.
    ///
    /// The others wait in the order of their spawns, each a task that is not polled, and start when there is room. A
    /// spawner that is to be held up as well awaits [`room`](Self::room). The limit may be changed at any time; children
    /// that run already go on. A child that waits for one that has not started, with no other room, waits for ever.
    ///
    /// ```
    /// runtime::block_on(runtime::task_group(|group| async move {
    ///     let group = group.with_limit(2);
    ///     for _ in 0..100 {
    ///         group.spawn(async { Ok(runtime::task::yield_now().await) });
    ///     }
    ///     Ok::<_, std::io::Error>(())
    /// }))
    /// .unwrap();
    /// ```
    ///
    /// # Panics
    /// If `n` is zero: nothing could ever start.
    #[track_caller]
    pub fn with_limit(&self, n: usize) -> TaskGroup<E> {
        check_limit(n);
        self.shared.set_limit(n);
        self.clone()
    }

    /// Waits until a child that is spawned next would start at once, or until the group is cancelled.
    ///
    /// This holds a spawner back that would otherwise queue more children than there is memory for. It keeps no place:
    /// of several spawners that go on, one gets the room and the others' children wait.
    ///
    /// # Cancellation
    /// Dropping it loses nothing and leaves nothing behind.
    ///
    /// ```
    /// runtime::block_on(runtime::task_group(|group| async move {
    ///     let group = group.with_limit(10);
    ///     for n in 0..100 {
    ///         group.room().await;
    ///         group.spawn(async move { Ok(n) });
    ///     }
    ///     Ok::<_, std::io::Error>(())
    /// }))
    /// .unwrap();
    /// ```
    pub async fn room(&self) {
        while let Some(room) = self.shared.room() {
            // Set, or dropped with the group.
            let _ = room.await;
        }
    }
}

/// A member that was counted and has no task yet: it leaves if there is no runtime to spawn it on.
struct Entered<'a, E>(&'a Arc<Shared<E>>, Option<u64>);

impl<E: Send + 'static> Entered<'_, E> {
    /// Sees to it that the member leaves the group once its task is finished, however that comes.
    fn leave_with<T>(self, task: &Task<T>) {
        let Entered(shared, key) = *ManuallyDrop::new(self);
        let (executor, shared) = (shared.clone(), shared.clone());
        task.add_done_callback_on(executor, Location::caller(), move |_| shared.leave(key));
    }
}

impl<E> Drop for Entered<'_, E> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// A task that is cancelled before its first poll.
#[track_caller]
fn refused<T, F>(future: F, location: &'static Location<'static>) -> Task<Option<T>>
where
    F: Send + 'static,
    T: Send + 'static,
{
    let never = async move {
        let _never_polled = future;
        std::future::pending().await
    };
    let task = spawn_at(never, location);
    task.cancel();
    task
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        TaskGroup { shared: self.shared.clone() }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("policy", &self.shared.policy)
            .field("is_cancelled", &self.shared.members_token().is_cancelled())
            .finish_non_exhaustive()
    }
}

#[expect(dead_code, reason = "compiling it is the check")]
const fn shared_everywhere<E: Send + 'static>() {
    const fn check<T: Send + Sync>() {}
    check::<TaskGroup<E>>();
}
