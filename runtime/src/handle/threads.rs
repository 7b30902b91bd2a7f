//! The threads that a runtime started: counted until they have left all code of the user's, and joined at its end.
//!
//! A shutdown waits for the count first, because that it can do with a limit, and then joins those that have ended.
//!
//! # The end of a thread
//! The system keeps the stack of a thread that has ended until somebody joins it or lets go of it, and there may never be
//! another call that could. So a thread whose time is up lets go of itself. It does that, and leaves the count, in the
//! destructor of a thread-local that is made before any of the user's: where the system destroys the last one first, as
//! Linux does, theirs have run by then. From the beginning of a shutdown on threads are there to be joined instead.

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
    phase: Phase,
    /// Those that may be in code of the user's: a poll, a job, a hook, the handler of stalls, a destructor; and those who
    /// start them.
    count: usize,
    handles: Vec<JoinHandle<()>>,
    /// Threads that have ended, of which the handle is to be joined or has not been added yet.
    ended: Vec<ThreadId>,
}

/// What becomes of a thread that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// It lets go of itself.
    #[default]
    Open,
    /// It is joined.
    Closing,
    /// Nobody joins it any more, and nobody keeps its handle.
    Over,
}

thread_local! {
    static SELF: Cell<Option<Presence>> = const { Cell::new(None) };
}

/// Counts as a thread until it is dropped, and is the end of the one in whose [`SELF`] it lies.
struct Presence {
    threads: Arc<Threads>,
    birth: Birth,
    thread: Option<ThreadId>,
}

impl Threads {
    /// Starts a thread that runs `body`.
    pub(super) fn start(
        self: &Arc<Self>,
        builder: thread::Builder,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        // Whoever waits for the count finds the handle.
        let _starts = Presence::new(self);
        let presence = Presence::new(self);
        let handle = builder.spawn(move || {
            presence.settle();
            body();
        })?;
        drop(self.add(handle));
        Ok(())
    }

    /// Gives the handle back if nobody is to join it.
    fn add(&self, handle: JoinHandle<()>) -> Option<JoinHandle<()>> {
        let id = handle.thread().id();
        let mut state = self.state.lock();
        match state.phase {
            Phase::Open => match state.ended.iter().position(|ended| *ended == id) {
                Some(place) => {
                    state.ended.swap_remove(place);
                    return Some(handle);
                }
                None => state.handles.push(handle),
            },
            Phase::Closing => state.handles.push(handle),
            Phase::Over => return Some(handle),
        }
        None
    }

    /// One thread less; if it has ended, its handle, unless that is to be joined.
    fn leave(&self, ended: Option<ThreadId>) -> Option<JoinHandle<()>> {
        let mut state = self.state.lock();
        state.count -= 1;
        match (ended, state.phase) {
            (None, _) | (_, Phase::Over) => return None,
            (Some(id), Phase::Open) => {
                if let Some(place) = state.handles.iter().position(|handle| handle.thread().id() == id) {
                    return Some(state.handles.swap_remove(place));
                }
                state.ended.push(id);
            }
            (Some(id), Phase::Closing) => state.ended.push(id),
        }
        None
    }

    /// From here on threads are there to be joined.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
    }

    /// Waits until every thread has ended but for so many as are `loose`, until `deadline` at most; the number of those that
    /// have not.
    pub(super) fn wait_until(&self, deadline: Option<Instant>, loose: impl Fn() -> usize) -> usize {
        self.changed.wait_while(self.state.lock(), deadline, |state| state.count > loose()).count
    }

    /// The threads that have ended, to be joined. All others are let go.
    pub(super) fn take(&self) -> Vec<JoinHandle<()>> {
        let (ended, others): (Vec<_>, Vec<_>) = {
            let mut state = self.state.lock();
            state.phase = Phase::Over;
            let ids = std::mem::take(&mut state.ended);
            let handles = std::mem::take(&mut state.handles).into_iter();
            handles.partition(|handle| ids.contains(&handle.thread().id()))
        };
        drop(others);
        ended
    }
}

impl Presence {
    fn new(threads: &Arc<Threads>) -> Self {
        threads.state.lock().count += 1;
        Presence { threads: threads.clone(), birth: Birth::now(), thread: None }
    }

    /// Is from here on that of the calling thread.
    fn settle(mut self) {
        self.thread = Some(thread::current().id());
        SELF.set(Some(self));
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // In a child that was forked off here the handle, and whoever may have locked it, are the parent's.
        if self.birth.is_lost() {
            return;
        }
        let own = self.threads.leave(self.thread);
        self.threads.changed.notify_all();
        drop(own);
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

    /// As many threads as `handles`, none of which has ended yet as far as is known, and their ids.
    fn started(handles: Vec<JoinHandle<()>>) -> (Threads, Vec<ThreadId>) {
        let threads = Threads::default();
        threads.state.lock().count = handles.len();
        let ids = ids(&handles);
        for handle in handles {
            assert!(threads.add(handle).is_none());
        }
        (threads, ids)
    }

    fn ids(handles: &[JoinHandle<()>]) -> Vec<ThreadId> {
        handles.iter().map(|handle| handle.thread().id()).collect()
    }

    fn join(handles: Vec<JoinHandle<()>>) {
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    }

    #[test]
    fn a_thread_that_ends_before_its_handle_is_there_is_not_joined() {
        let (threads, thread) = (Threads::default(), ended());
        threads.state.lock().count = 1;
        assert!(threads.leave(Some(thread.thread().id())).is_none());
        join(vec![threads.add(thread).expect("given back")]);
        assert!(threads.take().is_empty());
    }

    #[test]
    fn a_thread_that_ends_takes_its_own_handle() {
        let (threads, started_ids) = started(vec![ended(), ended()]);
        join(vec![threads.leave(Some(started_ids[0])).expect("its own")]);
        threads.close();
        assert!(threads.leave(Some(started_ids[1])).is_none());
        let left = threads.take();
        assert_eq!(ids(&left), started_ids[1..]);
        join(left);
    }

    #[test]
    fn of_those_who_are_there_at_the_end_whoever_has_ended_is_joined() {
        let (threads, started_ids) = started(vec![ended(), thread::spawn(|| ())]);
        threads.close();
        assert!(threads.leave(Some(started_ids[0])).is_none());
        assert_eq!(threads.wait_until(Some(Instant::now()), || 0), 1);
        let left = threads.take();
        assert_eq!(ids(&left), started_ids[..1]);
        join(left);
    }

    #[test]
    fn what_comes_after_the_end_is_kept_by_nobody() {
        let (threads, _) = started(Vec::new());
        threads.close();
        assert!(threads.take().is_empty());
        threads.state.lock().count = 1;
        let late = ended();
        assert!(threads.leave(Some(late.thread().id())).is_none());
        join(vec![threads.add(late).expect("given back")]);
        assert!(threads.state.lock().ended.is_empty());
    }

    #[test]
    fn a_thread_that_the_system_refuses_is_not_counted() {
        let threads = Arc::<Threads>::default();
        drop(Presence::new(&threads));
        assert_eq!(threads.state.lock().count, 0);
        assert!(threads.state.lock().ended.is_empty());
    }
}
