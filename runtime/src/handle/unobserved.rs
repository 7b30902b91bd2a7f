//! What becomes of a runtime in which something failed that nobody can see any more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Inner;
use crate::context::{Unobserved, print_line};
use crate::error::drop_quietly;

/// What a runtime does about a failure that nobody can see any more, once it was reported; given to
/// [`Builder::unobserved`](crate::Builder::unobserved).
///
/// Such a failure is the panic of a task whose handle was dropped, or an exception of a [`Future`](crate::Future) that
/// nobody ever read. It is reported first, whatever the policy is: to
/// [`Builder::on_unobserved`](crate::Builder::on_unobserved), or else as a line on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnobservedPolicy {
    /// Nothing more.
    #[default]
    Report,
    /// Shuts the runtime down without waiting for anything.
    ///
    /// Every handle resolves with [`is_shutdown`](crate::Error::is_shutdown), now and for what is spawned later, and
    /// [`Runtime::run_forever`](crate::Runtime::run_forever) ends. A future that is inside
    /// [`block_on`](crate::Runtime::block_on) is no task: it is polled on, and sees what it waits for fail.
    Shutdown,
    /// Aborts the process.
    Abort,
}

/// What a runtime remembers of its policy.
#[derive(Debug, Default)]
pub(super) struct Acted(AtomicBool);

impl Inner {
    /// Reports a failure, and acts on it.
    pub(super) fn take_unobserved(&self, unobserved: Unobserved) {
        let policy = self.config.unobserved;
        let tell = || match &self.config.on_unobserved {
            Some(handler) => handler(unobserved),
            None => print_line(&unobserved),
        };
        if policy == UnobservedPolicy::Report {
            return tell();
        }
        // A handler that panics does not change what comes next.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(tell)) {
            drop_quietly(payload);
        }
        match policy {
            UnobservedPolicy::Report => {}
            UnobservedPolicy::Shutdown => self.shut_down_once(),
            UnobservedPolicy::Abort => process::abort(),
        }
    }

    /// The shutdown drops tasks, and their destructors may fail in turn.
    fn shut_down_once(&self) {
        // ORDERING: Relaxed, the flag publishes nothing.
        if self.acted.0.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(handle) = self.handle() {
            handle.shut_down(Duration::ZERO, Duration::ZERO);
            handle.stop_all();
        }
    }
}
