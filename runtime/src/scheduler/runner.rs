//! Which thread runs a worker, as the monitor sees it: its number, and its budget.
#![cfg_attr(
    not(runtime_loom),
    expect(unsafe_code, reason = "a thread's budget is its own memory, and goes with it")
)]

use std::cell::{Cell, RefCell};

use crate::coop::Reins;
use crate::fork::Birth;
use crate::loom::atomic::{AtomicU32, Ordering};
use crate::loom::lock::Mutex;

/// The thread that ran a worker last.
#[derive(Debug, Default)]
pub(super) struct Runner {
    thread: AtomicU32,
    reins: Mutex<Option<(u32, Reins)>>,
}

impl Runner {
    /// This thread runs the worker from here on.
    #[cfg(not(runtime_loom))]
    #[inline]
    pub(super) fn set(&'static self) {
        // A thread that is ending already is not worth the watching.
        let _ = OWN.try_with(|own| {
            if self.thread.load(Ordering::Relaxed) != own.thread.get() {
                self.change(own);
            }
        });
    }

    #[cfg(not(runtime_loom))]
    #[cold]
    fn change(&'static self, own: &Own) {
        // SAFETY: `Own` takes them back when the thread ends, before its memory goes.
        let reins = unsafe { Reins::of_this_thread() };
        own.renew();
        {
            let mut runs = own.runs.borrow_mut();
            if !runs.iter().any(|runner| std::ptr::eq(*runner, self)) {
                runs.push(self);
            }
        }
        *self.reins.lock() = Some((own.thread.get(), reins));
        self.thread.store(own.thread.get(), Ordering::Relaxed);
    }

    /// The monitor of a model takes nobody's budget, and tells nobody's time.
    #[cfg(runtime_loom)]
    pub(super) fn set(&self) {}

    /// The system's number of the thread; zero if nobody has run the worker.
    pub(super) fn thread(&self) -> u32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Takes the budget of the task that the worker is polling.
    pub(super) fn curb(&self) {
        if let Some((_, reins)) = &*self.reins.lock() {
            reins.pull();
        }
    }

    /// The thread is about to end.
    fn forget(&self, thread: u32) {
        let mut reins = self.reins.lock();
        if reins.as_ref().is_some_and(|(owner, _)| *owner == thread) {
            *reins = None;
            self.thread.store(0, Ordering::Relaxed);
        }
    }
}

/// What a thread leaves with the workers that it runs, taken back when it ends.
struct Own {
    thread: Cell<u32>,
    runs: RefCell<Vec<&'static Runner>>,
    birth: Cell<Birth>,
}

#[cfg(not(runtime_loom))]
impl Own {
    fn new() -> Self {
        Own { thread: Cell::new(number()), runs: RefCell::default(), birth: Cell::new(Birth::now()) }
    }

    /// The thread that has forked goes on in the child, with another number; what it ran are the parent's workers.
    fn renew(&self) {
        if self.birth.get().is_lost() {
            self.birth.set(Birth::now());
            self.thread.set(number());
            self.runs.borrow_mut().clear();
        }
    }
}

#[cfg(not(runtime_loom))]
thread_local! {
    static OWN: Own = Own::new();
}

impl Drop for Own {
    fn drop(&mut self) {
        // A lock among the parent's may be held for ever.
        if !self.birth.get().is_lost() {
            self.runs.borrow().iter().for_each(|runner| runner.forget(self.thread.get()));
        }
    }
}

/// A number that no other thread has at the same time.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
fn number() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

#[cfg(all(not(target_os = "linux"), not(runtime_loom)))]
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
