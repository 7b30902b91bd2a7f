//! How many members of a group are not gone, and who waits for the last of them.
//!
//! Without a type parameter, so that a group can count the members of any group inside it.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use crate::cancel::CancelToken;
use crate::cell;
use crate::error::drop_quietly;
use crate::id::TaskId;
use crate::loom::lock::Mutex;

/// The count of one group.
pub(super) struct Census {
    /// Cancelled with the whole group; groups in the body hang theirs below it.
    pub(super) token: CancelToken,
    /// The same, or one below it that a success cancels as well: what the children see, and the groups in them.
    pub(super) members: CancelToken,
    count: Mutex<Count>,
}

struct Count {
    live: usize,
    /// Nobody may enter any more.
    closed: bool,
    /// The group has nothing to do but to wait for the last one.
    waiting: bool,
    owner: Option<Waker>,
    /// Who counts our members after our group was dropped.
    heir: Option<Arc<Census>>,
}

impl Census {
    pub(super) fn new(token: CancelToken, members: CancelToken) -> Arc<Self> {
        let count = Count { live: 0, closed: false, waiting: false, owner: None, heir: None };
        Arc::new(Census { token, members, count: Mutex::new(count) })
    }

    /// Counts one more; false if the group is over. One that was dropped is not while members are left, for whom the heir
    /// waits.
    pub(super) fn enter(&self) -> bool {
        let mut count = self.count.lock();
        if count.closed {
            let Some(heir) = count.heir.as_ref().filter(|_| count.live > 0) else { return false };
            // Under our lock, as in `abandon`; by those who are inside here the heir is kept open.
            heir.add(1);
        }
        count.live += 1;
        true
    }

    /// Counts one less, here and wherever the members were handed to.
    pub(super) fn leave(self: &Arc<Self>) {
        let mut next = Some(self.clone());
        while let Some(census) = next {
            let (owner, heir) = census.leave_here();
            wake(owner);
            next = heir;
        }
    }

    fn leave_here(&self) -> (Option<Waker>, Option<Arc<Census>>) {
        let mut count = self.count.lock();
        count.live -= 1;
        let last = count.live == 0 && count.waiting;
        (if last { count.owner.take() } else { None }, count.heir.clone())
    }

    /// Leaves the waker of the group's own future.
    pub(super) fn register(&self, waker: &Waker) {
        let known = |owner: &Waker| owner.will_wake(waker);
        if self.count.lock().owner.as_ref().is_some_and(known) {
            return;
        }
        let waker = waker.clone();
        let old = self.count.lock().owner.replace(waker);
        drop_quietly(old);
    }

    /// Wakes the group's own future: something has changed that it has to act on.
    pub(super) fn wake_owner(&self) {
        let owner = self.count.lock().owner.take();
        wake(owner);
    }

    /// Closes the group if nobody is left; otherwise the last one will wake it.
    pub(super) fn try_close(&self) -> bool {
        let (closed, owner) = {
            let mut count = self.count.lock();
            count.waiting = true;
            count.closed = count.live == 0;
            // Handles of the group may be kept for ever, and are not to keep the task that awaited it.
            (count.closed, if count.closed { count.owner.take() } else { None })
        };
        drop_quietly(owner);
        closed
    }

    /// The group was dropped: nobody may enter, and `heir` waits for those who are inside.
    pub(super) fn abandon(&self, heir: Option<Arc<Census>>) {
        let owner = {
            let mut count = self.count.lock();
            count.closed = true;
            if let Some(heir) = &heir {
                // Under our lock, so that nobody leaves before having been added; locks are taken from the inner group
                // to the outer one only. Whoever drops us is counted there, so the heir does not close meanwhile.
                heir.add(count.live);
            }
            count.heir = heir;
            count.owner.take()
        };
        drop_quietly(owner);
    }

    /// Counts members of a group inside.
    fn add(self: &Arc<Self>, n: usize) {
        let mut next = Some(self.clone());
        while let Some(census) = next {
            let mut count = census.count.lock();
            count.live += n;
            next = count.heir.clone();
        }
    }
}

/// Wakes the group. Its waker may be another executor's, and its panic is no business of whoever leaves.
fn wake(owner: Option<Waker>) {
    if let Some(Err(payload)) = owner.map(|owner| catch_unwind(AssertUnwindSafe(|| owner.wake()))) {
        drop_quietly(payload);
    }
}

/// What of a group the code belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Body,
    Child,
}

/// The group that the code runs in, in what of it, and in which task.
type Current = Option<(Option<TaskId>, Part, ManuallyDrop<Arc<Census>>)>;

thread_local! {
    /// Filled only while a `Restore` on the stack will take it out, and so without a destructor: the place is there also while
    /// other thread-locals are destroyed, which may run a group's tasks.
    static CURRENT: Cell<Current> = const { Cell::new(None) };
}

/// The group in whose body or child the caller runs, and the token that groups there hang theirs below.
pub(super) fn current() -> Option<(Arc<Census>, CancelToken)> {
    CURRENT.with(|current| {
        let inside = current.take();
        // Another task may be polled on top of the member's stack, by a nested `block_on`.
        let found = inside.as_ref().filter(|(task, ..)| *task == cell::current()).map(|(_, part, census)| {
            let token = match part {
                Part::Body => &census.token,
                Part::Child => &census.members,
            };
            (Arc::clone(census), token.clone())
        });
        current.set(inside);
        found
    })
}

/// Polls with `census` as the current group. It is lent, not cloned: a poll touches no shared count.
pub(super) fn within<R>(part: Part, census: &mut Option<Arc<Census>>, f: impl FnOnce() -> R) -> R {
    struct Restore<'a> {
        lender: &'a mut Option<Arc<Census>>,
        outer: Current,
    }
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            *self.lender =
                CURRENT.replace(self.outer.take()).map(|(.., census)| ManuallyDrop::into_inner(census));
        }
    }

    let inside = census.take().map(|census| (cell::current(), part, ManuallyDrop::new(census)));
    let _restore = Restore { lender: census, outer: CURRENT.replace(inside) };
    f()
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    fn census() -> Arc<Census> {
        Census::new(CancelToken::new(), CancelToken::new())
    }

    #[test]
    fn whom_a_dropped_group_refuses_is_waited_for_by_the_outer_one_while_members_are_left() {
        let (outer, inner) = (census(), census());
        // The member of the outer group that drops the inner one, and a member of that.
        assert!(outer.enter() && inner.enter());
        inner.abandon(Some(outer.clone()));
        assert!(inner.enter(), "the member spawns a sibling");
        inner.leave();
        outer.leave();
        assert!(!outer.try_close());
        inner.leave();
        assert!(outer.try_close());
        assert!(!inner.enter() && !outer.enter());
    }

    #[test]
    fn a_group_that_is_over_counts_nobody() {
        let census = census();
        assert!(census.try_close() && !census.enter());
    }
}
