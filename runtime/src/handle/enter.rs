//! Standing in a runtime: the guards of one thread, which may go in any order.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::thread::AccessError;

use super::Handle;
use crate::context::{self, Ambient};
use crate::scheduler::{self, Shared};

thread_local! {
    /// The guards that are alive, by number, and where the thread stood before each. That is not always what the one before
    /// says: a thread that waits in `block_on` stands in the runtime whose tasks it runs.
    static GUARDS: RefCell<Vec<(u64, Option<&'static Shared>)>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// While it lives, its thread stands in the runtime; made by [`Handle::enter`].
///
/// Guards may be dropped in any order, and after the runtime was shut down.
#[must_use = "the thread stands in the runtime only while the guard lives"]
pub struct EnterGuard<'a> {
    handle: Handle,
    number: u64,
    /// Bound to its thread, and to the handle or runtime that it was made from.
    origin: PhantomData<(&'a Handle, *const ())>,
}

impl Handle {
    /// Makes this thread stand in the runtime until the guard is dropped.
    ///
    /// ```
    /// let rt = runtime::Runtime::new();
    /// let handle = rt.handle();
    /// let _entered = handle.enter();
    /// let task = runtime::spawn(async { runtime::Handle::current().id() });
    /// assert_eq!(task.wait().unwrap(), handle.id());
    /// ```
    ///
    /// # Panics
    /// In a process that was forked off while the runtime was there.
    #[track_caller]
    pub fn enter(&self) -> EnterGuard<'_> {
        let number = NEXT.with(|next| next.replace(next.get() + 1));
        let shared = self.shared();
        shared.assert_not_lost();
        // A thread that is going away has no list of guards any more: then only the flags below are set.
        let _ = GUARDS.try_with(|guards| guards.borrow_mut().push((number, scheduler::entered())));
        set(Some(shared));
        EnterGuard { handle: self.clone(), number, origin: PhantomData }
    }
}

impl Drop for EnterGuard<'_> {
    fn drop(&mut self) {
        if let Some(before) = leave(self.number).unwrap_or(Some(None)) {
            set(before);
        }
    }
}

/// Takes a guard out. Gives where the thread stands from now on, if it was the last one; the next one goes back there
/// otherwise. `Err` on a thread that is going away.
fn leave(number: u64) -> Result<Option<Option<&'static Shared>>, AccessError> {
    GUARDS.try_with(|guards| {
        let mut guards = guards.borrow_mut();
        let index = guards.iter().position(|(other, _)| *other == number)?;
        let (_, before) = guards.remove(index);
        match guards.get_mut(index) {
            None => Some(before),
            Some((_, next)) => {
                *next = before;
                None
            }
        }
    })
}

fn set(shared: Option<&'static Shared>) {
    // In a child the thread may still have guards of the parent's runtimes.
    let shared = shared.filter(|shared| !shared.is_lost());
    scheduler::set_entered(shared);
    context::replace(shared.map(|shared| shared as &dyn Ambient));
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").field("handle", &self.handle).finish_non_exhaustive()
    }
}
