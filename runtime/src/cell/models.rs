//! Every interleaving of a task's races, up to loom's bound on preemptions; and the toys that other models share.
//!
//! A task that is freed twice or never shows in the count of its scheduler, a `loom::Arc`, and so does what its future
//! or its waker holds.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use super::owned::{Binder, Owned};
use super::*;
use crate::context::{Executor, Host, Job, Role};
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::lock::Mutex;
use crate::loom::{Arc, UnsafeCell, thread};
use crate::parker::{self, Parker};

/// Polls `future` to its end on this thread.
pub(crate) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let parker = Parker::new();
    let waker = parker::waker(&parker);
    loop {
        if let Poll::Ready(output) = poll(&mut future, &waker) {
            return output;
        }
        parker.park();
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut TaskContext::from_waker(waker))
}

/// A runtime's upper half: starts as many threads as it has left, and then refuses; or refuses one and starts more.
#[derive(Debug)]
pub(crate) struct Threads(StdMutex<(usize, usize)>);

std::thread_local! {
    /// The threads of the model that were started as a runtime starts them: those of a model are one to the system.
    static STARTED: RefCell<Vec<thread::JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
}

/// Starts a thread of the model, to be joined by [`join_all`].
pub(crate) fn start(body: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(body);
    STARTED.with_borrow_mut(|started| started.push(thread));
}

/// Joins the threads that were started.
pub(crate) fn join_all() {
    while let Some(thread) = STARTED.with_borrow_mut(Vec::pop) {
        thread.join().unwrap();
    }
}

impl Threads {
    pub(crate) fn host(count: usize) -> StdArc<dyn Host> {
        Threads::host_that_refuses_one(count, 0)
    }

    /// Starts `before` threads, refuses one, and starts `after` more.
    pub(crate) fn host_that_refuses_one(before: usize, after: usize) -> StdArc<dyn Host> {
        StdArc::new(Threads(StdMutex::new((before, after))))
    }
}

impl Host for Threads {
    fn start_thread(&self, _: Role, body: Job) -> io::Result<()> {
        let mut left = self.0.lock().unwrap();
        let (now, later) = &mut *left;
        let Some(rest) = now.checked_sub(1) else {
            *now = std::mem::take(later);
            return Err(io::ErrorKind::WouldBlock.into());
        };
        *now = rest;
        drop(left);
        start(body);
        Ok(())
    }

    /// At once if that brings a thread: there is no time. One that is refused for ever is not asked for again.
    fn wake_later(&self, _: Duration, waker: &Waker) {
        if self.0.lock().unwrap().0 > 0 {
            waker.wake_by_ref();
        }
    }

    fn stalled(&self, _: crate::context::Stall) {}

    fn is_blocking(&self) -> bool {
        false
    }

    fn executor(self: StdArc<Self>) -> StdArc<dyn Executor> {
        unreachable!("no model has callbacks")
    }

    fn as_any(self: StdArc<Self>) -> StdArc<dyn std::any::Any + Send + Sync> {
        self
    }
}

/// A scheduler that is one queue, emptied by the threads of the model.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runnables: Mutex<VecDeque<Runnable>>,
    runner: Arc<Parker>,
    /// None where tasks are not recorded.
    binder: Option<Mutex<Binder>>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Queue::with(None)
    }

    fn with(binder: Option<Mutex<Binder>>) -> Self {
        Queue(Arc::new(Inner { runnables: Mutex::default(), runner: Parker::new(), binder }))
    }

    fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (runnable, task) = self.task(future);
        self.schedule(runnable);
        task
    }

    pub(crate) fn task<F>(&self, future: F) -> (Runnable, Task<F::Output>)
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        new(future, self.clone(), (), Location::caller())
    }

    /// Runs what is queued; true if that completed a task.
    fn run_queued(&self) -> bool {
        loop {
            let runnable = self.0.runnables.lock().pop_front();
            match runnable.map(Runnable::run) {
                Some(false) => {}
                completed => return completed.is_some(),
            }
        }
    }

    /// Runs until a task is complete. A lost wake-up is a deadlock here.
    fn run(&self) {
        while !self.run_queued() {
            self.0.runner.park();
        }
    }
}

impl Schedule for Queue {
    fn schedule(&self, runnable: Runnable) {
        self.0.runnables.lock().push_back(runnable);
        self.0.runner.unpark();
    }

    fn yielded(&self, runnable: Runnable) {
        self.schedule(runnable);
    }

    fn bind(&self, runnable: &Runnable) -> Option<SlotRef> {
        Some(self.0.binder.as_ref()?.lock().bind(runnable))
    }

    fn unbind(&self, slot: SlotRef) {
        // As a thread without a binder does it.
        unbind(slot);
    }

    fn executor(&self) -> Option<StdArc<dyn Executor>> {
        None
    }
}

/// What a future shares with the model: loom sees two polls that overlap, and a future that is dropped twice or never.
#[derive(Debug)]
pub(crate) struct Alone(Arc<UnsafeCell<u32>>);

impl Alone {
    pub(crate) fn new() -> Self {
        Alone(Arc::new(UnsafeCell::new(0)))
    }

    pub(crate) fn touch(&self) {
        self.0.with_mut(|_| {});
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.touch();
    }
}

/// A task that has been polled once and is ready when all of `flags` are set, with its waker.
fn waiting(queue: &Queue, flags: Vec<Arc<AtomicBool>>) -> (Task<()>, Waker) {
    let slot = StdArc::new(StdMutex::new(None));
    let keep = slot.clone();
    let alone = Alone::new();
    let task = queue.spawn(poll_fn(move |cx| {
        alone.touch();
        slot.lock().unwrap().get_or_insert_with(|| cx.waker().clone());
        // ORDERING: Relaxed, so that nothing but the wake-up can order it.
        if flags.iter().all(|flag| flag.load(Ordering::Relaxed)) { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert!(!queue.run_queued());
    let waker = keep.lock().unwrap().take().unwrap();
    (task, waker)
}

fn flag() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

#[test]
fn what_was_written_before_a_wake_is_seen_by_a_poll() {
    ::loom::model(|| {
        let queue = Queue::new();
        let flags = [flag(), flag()];
        let (task, waker) = waiting(&queue, flags.to_vec());
        let wakers = [(flags[0].clone(), waker.clone(), true), (flags[1].clone(), waker, false)];
        let threads = wakers.map(|(flag, waker, by_ref)| {
            thread::spawn(move || {
                flag.store(true, Ordering::Relaxed);
                if by_ref { waker.wake_by_ref() } else { waker.wake() }
            })
        });
        queue.run();
        block_on(task).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn polls_on_two_threads_do_not_overlap() {
    ::loom::model(|| {
        let queue = Queue::new();
        let flag = flag();
        let (task, waker) = waiting(&queue, vec![flag.clone()]);
        let other = {
            let queue = queue.clone();
            thread::spawn(move || {
                waker.wake_by_ref();
                flag.store(true, Ordering::Relaxed);
                waker.wake();
                queue.run_queued();
                queue.0.runner.unpark();
            })
        };
        while !task.is_finished() {
            queue.0.runner.park();
            queue.run_queued();
        }
        other.join().unwrap();
        // A poll that overlapped another has panicked.
        block_on(task).unwrap();
    });
}

#[test]
fn a_cancel_races_with_a_wake_and_the_completion() {
    ::loom::model(|| {
        let queue = Queue::new();
        let flag = flag();
        let (task, waker) = waiting(&queue, vec![flag.clone()]);
        let other = thread::spawn(move || {
            flag.store(true, Ordering::Relaxed);
            waker.wake();
        });
        let runner = {
            let queue = queue.clone();
            thread::spawn(move || queue.run())
        };
        let asked = task.cancel();
        let output = block_on(task);
        assert!(output.as_ref().map_or_else(|error| asked && error.is_cancelled(), |()| true), "{output:?}");
        other.join().unwrap();
        runner.join().unwrap();
    });
}

#[test]
fn an_abort_handle_races_with_the_completion_and_the_handle() {
    ::loom::model(|| {
        let queue = Queue::new();
        let task = queue.spawn({
            let alone = Alone::new();
            async move { alone }
        });
        let abort = task.abort_handle();
        let aborter = thread::spawn(move || {
            let finished = !abort.cancel();
            assert!(!finished || abort.is_finished());
        });
        let dropper = thread::spawn(move || drop(task));
        queue.run();
        aborter.join().unwrap();
        dropper.join().unwrap();
    });
}

#[test]
fn a_handle_that_is_dropped_while_the_task_completes_leaves_nothing() {
    ::loom::model(|| {
        let queue = Queue::new();
        let task = queue.spawn({
            let alone = Alone::new();
            async move { alone }
        });
        let dropper = thread::spawn(move || drop(task));
        queue.run();
        dropper.join().unwrap();
    });
}

#[test]
fn a_handle_that_waited_is_dropped_while_the_task_completes() {
    ::loom::model(|| {
        let queue = Queue::new();
        let mut task = queue.spawn({
            let alone = Alone::new();
            async move { alone }
        });
        // The waker holds a counted parker.
        assert!(poll(&mut task, &parker::waker(&Parker::new())).is_pending());
        let dropper = thread::spawn(move || drop(task));
        queue.run();
        dropper.join().unwrap();
    });
}

#[test]
fn whoever_awaits_a_task_that_completes_gets_its_output() {
    ::loom::model(|| {
        let queue = Queue::new();
        let output = Alone::new();
        let task = queue.spawn(async move {
            output.touch();
            output
        });
        let waiter = thread::spawn(move || block_on(task).unwrap().touch());
        queue.run();
        waiter.join().unwrap();
    });
}

#[test]
fn a_handle_that_changes_its_waker_is_woken_by_the_last() {
    ::loom::model(|| {
        let queue = Queue::new();
        let mut task = queue.spawn(async { 7 });
        assert!(poll(&mut task, &parker::waker(&Parker::new())).is_pending());
        let waiter = thread::spawn(move || assert_eq!(block_on(task).unwrap(), 7));
        queue.run();
        waiter.join().unwrap();
    });
}

#[test]
fn a_waker_may_outlive_its_task() {
    ::loom::model(|| {
        let queue = Queue::new();
        let flag = flag();
        let (task, waker) = waiting(&queue, vec![flag.clone()]);
        drop(task);
        let late = {
            let waker = waker.clone();
            thread::spawn(move || waker.wake())
        };
        let later = {
            let waker = waker.clone();
            thread::spawn(move || drop(waker))
        };
        flag.store(true, Ordering::Relaxed);
        waker.wake();
        queue.run();
        late.join().unwrap();
        later.join().unwrap();
        // The wake that came after the completion queued nothing.
        assert!(!queue.run_queued());
    });
}

fn recorded() -> (Arc<Owned>, Queue) {
    let owned = Owned::new();
    let queue = Queue::with(Some(Mutex::new(Binder::new(owned.clone()))));
    (owned, queue)
}

#[test]
fn the_walk_at_the_shutdown_meets_a_task_that_completes() {
    ::loom::model(|| {
        let (owned, queue) = recorded();
        let flag = flag();
        let (task, waker) = waiting(&queue, vec![flag.clone()]);
        drop(task);
        let runner = {
            let queue = queue.clone();
            thread::spawn(move || {
                flag.store(true, Ordering::Relaxed);
                waker.wake();
                queue.run_queued();
            })
        };
        for runnable in owned.cancel_all() {
            runnable.run();
        }
        runner.join().unwrap();
        queue.run_queued();
        assert_eq!(owned.tasks(), 0);
    });
}

#[test]
fn the_walk_at_the_shutdown_meets_a_task_that_begins_to_wait() {
    ::loom::model(|| {
        let (owned, queue) = recorded();
        let task = queue.spawn(std::future::pending::<()>());
        let runner = {
            let queue = queue.clone();
            thread::spawn(move || queue.run_queued())
        };
        let stopped: usize = owned.cancel_all().into_iter().map(|runnable| usize::from(runnable.run())).sum();
        runner.join().unwrap();
        // Found by the walk, or by the next one.
        assert_eq!(owned.tasks(), usize::from(!task.is_finished()));
        assert!(stopped == 0 || task.is_finished());
        owned.cancel_all().into_iter().for_each(|runnable| assert!(runnable.run()));
        assert!(task.is_finished());
    });
}

#[test]
fn a_slot_that_is_given_back_has_one_taker() {
    ::loom::model(|| {
        let queue = Queue::new();
        let mut binder = Binder::new(Owned::new());
        let tasks: Vec<_> = (0..4).map(|_| queue.task(async {})).collect();
        let mut bind = |n: usize| binder.bind(&tasks[n].0);
        let [first, second] = [bind(0), bind(1)];
        let foreigners = [first, second].map(|slot| thread::spawn(move || unbind(slot)));
        let [third, fourth] = [bind(2), bind(3)];
        assert_ne!(third, fourth);
        foreigners.into_iter().for_each(|foreigner| foreigner.join().unwrap());
        binder.unbind(third);
        binder.unbind(fourth);
    });
}
