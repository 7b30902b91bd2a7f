//! Notices that this process was forked off: its runtimes have lost all their threads, and whatever those had locked.
//!
//! # How
//! A handler that the C library calls in the child, on the one thread that it has, counts the *generation* up. Whatever
//! belongs to a process (schedulers, pools, reactors, sets of timers) keeps the generation that it was made in, and is
//! *lost* if that is not the current one: then nothing of it is touched, neither its locks, which may be held for ever,
//! nor its descriptors, which are the parent's as well. Comparing two numbers is all that it costs, and no system call.
//!
//! What is process-wide is made anew by the handler, through [`watch`].
//!
//! A child that is made behind the C library's back (`vfork`, a bare `clone`) is not noticed; it may only execute another
//! program, as ever.
#![expect(unsafe_code, reason = "registers a handler with the C library, and writes past std's lock")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What is said of a runtime in a process that was forked off.
pub(crate) const LOST: &str =
    "the runtime was lost in a fork: it lives on in the parent process, and this one has to make its own";

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// This process has forked, or was forked off.
static FORKED: AtomicBool = AtomicBool::new(false);

/// What else is to be done in a child, in a place for each [`Who`].
static IN_CHILD: [OnceLock<fn()>; 2] = [const { OnceLock::new() }; 2];
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// Who has something to do in a child.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Runtimes,
    StandardInput,
}

/// Something of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth(u32);

impl Birth {
    /// Of the process that calls this, whose children are noticed from now on.
    pub(crate) fn now() -> Self {
        notice();
        Birth(GENERATION.load(Ordering::Relaxed))
    }

    /// True in a process that was forked off since.
    ///
    /// ORDERING: Relaxed, the number changes only while the process has one thread.
    #[inline]
    pub(crate) fn is_lost(self) -> bool {
        self.0 != GENERATION.load(Ordering::Relaxed)
    }
}

/// Calls `in_child` in every process that is forked off from now on, on its only thread. The first call of each counts.
pub(crate) fn watch(who: Who, in_child: fn()) {
    let place = &IN_CHILD[who as usize];
    if place.get().is_none() && place.set(in_child).is_ok() {
        notice();
    }
}

/// Another process may have descriptors of what this one has opened.
///
/// ORDERING: Relaxed. Who closes a descriptor while another thread forks may not know yet: then it stays watched until the
/// child closes it too.
pub(crate) fn has_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

fn notice() {
    // Those who come at the same time register twice, which does no harm: one who did not wait for the other could fork
    // before it has.
    // ORDERING: Acquire, pairs with the Release below: who forks after this has the handlers.
    if !REGISTERED.load(Ordering::Acquire) {
        register();
        REGISTERED.store(true, Ordering::Release);
    }
}

fn register() {
    extern "C" fn prepare() {
        FORKED.store(true, Ordering::Relaxed);
    }
    extern "C" fn child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        IN_CHILD.iter().filter_map(OnceLock::get).for_each(|in_child| in_child());
    }
    // SAFETY: the handlers are functions of this library, which is never unloaded while they are registered.
    // For want of memory they are not registered, and children are not noticed.
    let _ = unsafe { libc::pthread_atfork(Some(prepare), None, Some(child)) };
}

/// The child of a `culprit` that forked came back from it, and would go on with what its parent goes on with. There is nobody
/// who could be told by an error.
#[cold]
pub(crate) fn end_child(culprit: &str) -> ! {
    let message = format!(
        "runtime: a forked process returned into {LOST}; a {culprit} that forks has to end the child itself\n"
    );
    // Not std's, whose lock another thread of the parent may have held at the fork.
    // SAFETY: the pointer and the length are those of the message.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
    std::process::abort();
}
