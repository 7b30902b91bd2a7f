//! Which thread runs a worker, as the monitor sees it: its number, and its budget.
#![cfg_attr(
    not(runtime_loom),
    expect(unsafe_code, reason = "a thread's budget is its own memory, and goes with it")
)]

use std::cell::RefCell;

use crate::coop::Reins;
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
            if self.thread.load(Ordering::Relaxed) != own.thread {
                self.change(own);
            }
        });
    }

    #[cfg(not(runtime_loom))]
    #[cold]
    fn change(&'static self, own: &Own) {
        // SAFETY: `Own` takes them back when the thread ends, before its memory goes.
        let reins = unsafe { Reins::of_this_thread() };
        {
            let mut runs = own.runs.borrow_mut();
            if !runs.iter().any(|runner| std::ptr::eq(*runner, self)) {
                runs.push(self);
            }
        }
        *self.reins.lock() = Some((own.thread, reins));
        self.thread.store(own.thread, Ordering::Relaxed);
    }

    /// The models have no monitor.
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
    thread: u32,
    runs: RefCell<Vec<&'static Runner>>,
}

#[cfg(not(runtime_loom))]
thread_local! {
    static OWN: Own = Own { thread: number(), runs: RefCell::default() };
}

impl Drop for Own {
    fn drop(&mut self) {
        self.runs.borrow().iter().for_each(|runner| runner.forget(self.thread));
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
