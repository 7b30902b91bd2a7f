//! The threads that a runtime started: counted as long as they may be in code of the user's, and joined at its end.
//!
//! A shutdown waits for the count first, because that it can do with a limit, and then joins.
//!
//! # Threads that end before
//! The system keeps the stack of a thread that has ended until somebody joins it or lets go of it, and there may never be
//! another call that could. So a thread lets go of itself, with the destructor of a thread-local that is the first to be made
//! and so the last to go: whoever found the thread's handle before has joined the destructors of the user's as well. Once a
//! runtime ends its threads [stay](Threads::keep) for that.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Instant;

use crate::fork::Birth;
use crate::loom::lock::{Condvar, Mutex};

/// The threads that a runtime started and that have not ended.
#[derive(Debug, Default)]
pub(super) struct Threads {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Those that have not left whatever code of the user's they are in: a poll, a job, a hook, the handler of stalls.
    count: usize,
    handles: Vec<JoinHandle<()>>,
    /// Threads that let go of themselves before their handle was there.
    left: Vec<ThreadId>,
    /// Nobody lets go of itself any more.
    kept: bool,
}

thread_local! {
    static LEAVER: Cell<Option<Leaver>> = const { Cell::new(None) };
}

/// Lets go of its thread when it is dropped.
struct Leaver {
    threads: Arc<Threads>,
    birth: Birth,
    thread: ThreadId,
}

/// One thread, counted until this is dropped.
struct Counted(Arc<Threads>);

impl Threads {
    /// Starts a thread that runs `body`.
    pub(super) fn start(
        self: &Arc<Self>,
        builder: thread::Builder,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let counted = self.count();
        let threads = self.clone();
        let handle = builder.spawn(move || {
            LEAVER.set(Some(Leaver::here(threads)));
            let _counted = counted;
            body();
        })?;
        drop(self.add(handle));
        Ok(())
    }

    fn count(self: &Arc<Self>) -> Counted {
        self.state.lock().count += 1;
        Counted(self.clone())
    }

    /// Gives back the handle of a thread that has let go of itself.
    fn add(&self, handle: JoinHandle<()>) -> Option<JoinHandle<()>> {
        let id = handle.thread().id();
        let mut state = self.state.lock();
        if let Some(place) = state.left.iter().position(|left| *left == id) {
            state.left.swap_remove(place);
            return Some(handle);
        }
        state.handles.push(handle);
        None
    }

    /// The handle of a thread that is about to end and need not be joined.
    fn leave(&self, id: ThreadId) -> Option<JoinHandle<()>> {
        let mut state = self.state.lock();
        if state.kept {
            return None;
        }
        let place = state.handles.iter().position(|handle| handle.thread().id() == id);
        if place.is_none() {
            state.left.push(id);
        }
        place.map(|place| state.handles.swap_remove(place))
    }

    /// From here on threads are there to be joined.
    pub(super) fn keep(&self) {
        self.state.lock().kept = true;
    }

    /// Waits until every thread has ended but for so many as are `loose`, until `deadline` at most; the number of those that
    /// have not.
    pub(super) fn wait_until(&self, deadline: Option<Instant>, loose: impl Fn() -> usize) -> usize {
        self.changed.wait_while(self.state.lock(), deadline, |state| state.count > loose()).count
    }

    /// Their handles, to be joined.
    pub(super) fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.state.lock().handles)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.state.lock().count -= 1;
        self.0.changed.notify_all();
    }
}

impl Leaver {
    /// The calling thread's.
    fn here(threads: Arc<Threads>) -> Self {
        Leaver { threads, birth: Birth::now(), thread: thread::current().id() }
    }
}

impl Drop for Leaver {
    fn drop(&mut self) {
        // In a child that was forked off here the handle, and whoever may have locked it, are the parent's.
        if !self.birth.is_lost() {
            drop(self.threads.leave(self.thread));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that has ended.
    fn ended() -> JoinHandle<()> {
        let thread = thread::spawn(|| ());
        while !thread.is_finished() {
            thread::yield_now();
        }
        thread
    }

    fn ids(handles: &[JoinHandle<()>]) -> Vec<ThreadId> {
        handles.iter().map(|handle| handle.thread().id()).collect()
    }

    #[test]
    fn a_thread_that_leaves_before_its_handle_is_there_is_not_joined() {
        let (threads, thread) = (Threads::default(), ended());
        assert!(threads.leave(thread.thread().id()).is_none());
        threads.add(thread).expect("given back").join().unwrap();
        assert!(threads.take().is_empty());
    }

    #[test]
    fn a_thread_that_leaves_takes_its_own_handle() {
        let (threads, leaves, stays) = (Threads::default(), ended(), ended());
        let (leaving, staying) = (leaves.thread().id(), stays.thread().id());
        assert!(threads.add(leaves).is_none());
        assert!(threads.add(stays).is_none());
        threads.leave(leaving).expect("its own").join().unwrap();
        let left = threads.take();
        assert_eq!(ids(&left), [staying]);
        left.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_thread_that_is_kept_is_joined() {
        let (threads, thread) = (Threads::default(), ended());
        let id = thread.thread().id();
        assert!(threads.add(thread).is_none());
        threads.keep();
        assert!(threads.leave(id).is_none());
        let kept = threads.take();
        assert_eq!(ids(&kept), [id]);
        kept.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
