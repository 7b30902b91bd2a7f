//! Every interleaving of the scheduler's protocols, up to loom's bound on preemptions.
//!
//! The models run the whole scheduler (idle word, seats, parkers, run loop, shutdown) on toy threads, except where
//! the stand-in for the deque would hide what a model is about: its lock orders more than a lock-free queue does.
//! A wake-up that is lost shows as a deadlock.
#![expect(unsafe_code, reason = "a scheduler lives for ever, but not longer than one execution of a model")]

mod driver;
mod monitor;

use std::any::Any;
use std::future::poll_fn;
use std::sync::Mutex as StdMutex;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::idle::Prefer;
use super::*;
use crate::cell::models::{Alone, Queue, Threads, block_on, join_all, start};
use crate::context::{Job, Role, Stall};
use crate::loom::atomic::AtomicBool;
use crate::loom::thread;
use crate::parker::Parker;

/// What the upper half does at a shutdown.
fn shut_down(shared: &'static Shared) {
    shared.stop();
    wait_for_the_end(shared);
}

fn wait_for_the_end(shared: &'static Shared) {
    assert_eq!(shared.wait_until_stopped(Duration::MAX), 0);
    join_all();
    shared.sweep_if_idle();
}

const MANY: usize = usize::MAX;

/// Runs `body` in every interleaving with an open scheduler that can start so many threads, and shuts it down in one.
fn model(workers: usize, threads: usize, body: impl Fn(&'static Shared) + Send + Sync + 'static) {
    model_of(Flavor::MultiThread, workers, 0, threads, body);
}

fn model_of(
    flavor: Flavor,
    workers: usize,
    spares: usize,
    threads: usize,
    body: impl Fn(&'static Shared) + Send + Sync + 'static,
) {
    ::loom::model(move || {
        let host = Threads::host(threads);
        let memory = Box::into_raw(Box::new(Shared::new(flavor, workers, spares)));
        // SAFETY: freed below, when the threads that know the scheduler have ended.
        let shared: &'static Shared = unsafe { &*memory };
        shared.open(Arc::downgrade(&host), MonitorOptions::default());
        body(shared);
        ::loom::stop_exploring();
        shut_down(shared);
        // SAFETY: made by `Box::into_raw` above; no thread, task or waker is left.
        drop(unsafe { Box::from_raw(memory) });
    });
}

fn spawn<T: Send + 'static>(
    shared: &'static Shared,
    future: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    shared.spawn(future, (), Location::caller())
}

/// Something that happens once, and somebody awaits.
#[derive(Clone)]
struct Event(loom::Arc<Mutex<(bool, Option<Waker>)>>);

impl Event {
    fn new() -> Self {
        Event(loom::Arc::new(Mutex::new((false, None))))
    }

    fn set(&self) {
        let waker = {
            let mut state = self.0.lock();
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    async fn wait(self) {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            state.1 = Some(cx.waker().clone());
            if state.0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The push of a lock-free queue, the submitter's half of the protocol; the other half is the worker's.
#[test]
fn the_idle_word_loses_no_submission() {
    ::loom::model(|| {
        let idle = loom::Arc::new(Idle::new(1, 0, false));
        let work = loom::Arc::new(AtomicBool::new(false));
        let parker = Parker::new();
        let submitter = {
            let (idle, work, parker) = (idle.clone(), work.clone(), parker.clone());
            thread::spawn(move || {
                // ORDERING: Relaxed, so that nothing but the fences can order it.
                work.store(true, Ordering::Relaxed);
                idle.submitted();
                if idle.calls_for_wake() && idle.notify().is_some() {
                    parker.unpark();
                }
            })
        };
        while !work.load(Ordering::Relaxed) {
            idle.park(0, false);
            if work.load(Ordering::Relaxed) && idle.leave(0) {
                break;
            }
            parker.park();
        }
        submitter.join().unwrap();
    });
}

/// A submitter that finds somebody searching relies on that search.
#[test]
fn a_search_that_ends_covers_what_was_submitted_meanwhile() {
    ::loom::model(|| {
        let idle = loom::Arc::new(Idle::new(2, 0, true));
        let work = loom::Arc::new(AtomicBool::new(false));
        assert_eq!(idle.notify(), Some(0));
        let submitter = {
            let (idle, work) = (idle.clone(), work.clone());
            thread::spawn(move || {
                work.store(true, Ordering::Relaxed);
                idle.submitted();
                idle.calls_for_wake() && idle.notify().is_some()
            })
        };
        let passes_on = idle.found(0) && work.load(Ordering::Relaxed) && idle.notify().is_some();
        let notifies = submitter.join().unwrap();
        assert!(passes_on || notifies);
    });
}

#[test]
fn the_next_slot_gives_each_task_once() {
    ::loom::model(|| {
        let slot = loom::Arc::new(NextSlot::new());
        let queue = Queue::new();
        let thief = {
            let slot = slot.clone();
            thread::spawn(move || slot.take().is_some_and(Runnable::run))
        };
        let mut runs = 0;
        let handles = [(); 2].map(|()| {
            let alone = Alone::new();
            alone.touch();
            // The thief has to see what the owner did.
            let (runnable, handle) = queue.task(async move { alone.touch() });
            runs += usize::from(slot.put(runnable).is_some_and(Runnable::run));
            handle
        });
        runs += usize::from(slot.take().is_some_and(Runnable::run));
        runs += usize::from(thief.join().unwrap());
        assert_eq!(runs, 2);
        handles.into_iter().for_each(|handle| block_on(handle).unwrap());
    });
}

#[test]
fn what_is_submitted_while_the_worker_falls_asleep_is_run() {
    model(1, MANY, |shared| {
        for n in 0..2 {
            assert_eq!(block_on(spawn(shared, async move { n })).unwrap(), n);
        }
    });
}

#[test]
fn two_submitters_are_both_served() {
    model(1, MANY, |shared| {
        let other = thread::spawn(move || assert_eq!(block_on(spawn(shared, async { 1 })).unwrap(), 1));
        assert_eq!(block_on(spawn(shared, async { 2 })).unwrap(), 2);
        other.join().unwrap();
    });
}

/// The first of two tasks blocks its worker until the second has run.
#[test]
fn the_last_searcher_passes_the_search_on() {
    model(2, MANY, |shared| {
        let parker = Parker::new();
        let first = {
            let parker = parker.clone();
            spawn(shared, async move { parker.park() })
        };
        let second = spawn(shared, async move { parker.unpark() });
        block_on(first).unwrap();
        block_on(second).unwrap();
    });
}

/// A task that waits for a thread outside, which has its waker.
fn waiting(shared: &'static Shared) -> (Task<()>, Waker) {
    let slot = Arc::new(StdMutex::new(None));
    let parker = Parker::new();
    let task = {
        let (slot, parker) = (slot.clone(), parker.clone());
        spawn(
            shared,
            poll_fn(move |cx| {
                let woken = slot.lock().unwrap().replace(cx.waker().clone()).is_some();
                parker.unpark();
                if woken { Poll::Ready(()) } else { Poll::Pending }
            }),
        )
    };
    parker.park();
    let waker = slot.lock().unwrap().clone().unwrap();
    (task, waker)
}

#[test]
fn a_wake_from_outside_reaches_a_worker_that_falls_asleep() {
    model(1, MANY, |shared| {
        let (task, waker) = waiting(shared);
        waker.wake();
        block_on(task).unwrap();
    });
}

#[test]
fn a_wake_that_meets_the_shutdown_leaves_no_task_behind() {
    model(1, MANY, |shared| {
        ::loom::stop_exploring();
        let (task, waker) = waiting(shared);
        ::loom::explore();
        let waker = thread::spawn(move || waker.wake());
        shut_down(shared);
        waker.join().unwrap();
        assert!(task.is_finished());
    });
}

#[test]
fn a_spawn_that_meets_the_shutdown_leaves_no_task_behind() {
    model(1, MANY, |shared| {
        let spawner = thread::spawn(move || spawn(shared, async {}));
        shut_down(shared);
        assert!(spawner.join().unwrap().is_finished());
    });
}

#[test]
fn who_waits_for_the_last_task_is_told_when_it_fails_for_want_of_a_thread() {
    model(1, 0, |shared| {
        let other = thread::spawn(move || spawn(shared, async {}));
        shared.wait_until_empty(Duration::MAX);
        other.join().unwrap();
    });
}

#[test]
fn tasks_fail_when_no_thread_starts() {
    model(1, 0, |shared| {
        let other = thread::spawn(move || spawn(shared, async {}));
        let task = spawn(shared, async {});
        let other = other.join().unwrap();
        assert!(task.is_finished() && other.is_finished());
    });
}

#[test]
fn a_guest_runs_the_worker_and_gives_it_back() {
    model(1, MANY, |shared| {
        let task = spawn(shared, async { 1 });
        assert_eq!(guest::block_on(shared, task).unwrap(), 1);
        assert_eq!(block_on(spawn(shared, async { 2 })).unwrap(), 2);
    });
}

#[test]
fn a_guest_and_a_submitter_meet_at_one_seat() {
    model(1, MANY, |shared| {
        let other = thread::spawn(move || assert_eq!(block_on(spawn(shared, async { 1 })).unwrap(), 1));
        assert_eq!(guest::block_on(shared, async { 2 }), 2);
        let task = spawn(shared, async { 3 });
        assert_eq!(guest::block_on(shared, task).unwrap(), 3);
        other.join().unwrap();
    });
}

/// The runtime stops: the worker's own thread has seen that a guest has its seat, and ends.
#[test]
fn a_worker_that_is_offered_to_a_thread_that_ends_is_put_back() {
    model(1, 0, |shared| {
        let (own, guest) = (Parker::new(), Parker::new());
        let seat = &shared.processors[0].seat;
        assert_eq!(shared.idle.claim(Prefer::Vacant), Some(0));
        seat.put(seat.occupy(&own).unwrap().core);
        let core = seat.borrow(&guest).unwrap().core;
        let ending = thread::spawn(move || shared.desert(&own));
        shared.idle.set_manned(0, seat.give_back(core));
        shared.park(0, false);
        shared.notify();
        ending.join().unwrap();
        assert!(shared.idle.calls_for_wake(), "it sleeps, and nobody searches");
    });
}

#[test]
fn two_guests_meet_at_one_seat() {
    model(1, MANY, |shared| {
        let other = thread::spawn(move || {
            let task = spawn(shared, async { 1 });
            assert_eq!(guest::block_on(shared, task).unwrap(), 1);
        });
        let task = spawn(shared, async { 2 });
        assert_eq!(guest::block_on(shared, task).unwrap(), 2);
        other.join().unwrap();
    });
}

#[test]
fn a_worker_that_blocks_in_place_is_run_by_another_thread() {
    model(1, MANY, |shared| {
        let parker = Parker::new();
        let first = {
            let parker = parker.clone();
            spawn(shared, async move { guest::block_in_place(|| parker.park()) })
        };
        let second = spawn(shared, async move { parker.unpark() });
        block_on(first).unwrap();
        block_on(second).unwrap();
    });
}

/// The upper half of a runtime that is about to go: whoever has it, as its threads do, keeps the scheduler from the next one.
struct Life {
    me: Weak<Life>,
    shared: &'static Shared,
    over: loom::Arc<Parker>,
    /// Monitors started. No model has the patience to run one.
    monitors: StdMutex<usize>,
}

impl Life {
    fn new(shared: &'static Shared) -> Arc<Life> {
        Arc::new_cyclic(|me| Life { me: me.clone(), shared, over: Parker::new(), monitors: StdMutex::new(0) })
    }

    /// Of the runtime that the scheduler serves; and what has a token when that is over.
    fn of(shared: &'static Shared) -> (Arc<dyn Host>, loom::Arc<Parker>) {
        let life = Life::new(shared);
        let over = life.over.clone();
        let life: Arc<dyn Host> = life;
        *shared.host.lock() = Some(Arc::downgrade(&life));
        (life, over)
    }
}

impl Host for Life {
    fn start_thread(&self, role: Role, body: Job) -> io::Result<()> {
        let alive = self.me.upgrade();
        let is_monitor = matches!(role, Role::Monitor);
        *self.monitors.lock().unwrap() += usize::from(is_monitor);
        start(move || {
            if !is_monitor {
                body();
            }
            drop(alive);
        });
        Ok(())
    }

    fn wake_later(&self, _: Duration, _: &Waker) {
        unreachable!("no thread is refused")
    }

    fn stalled(&self, _: Stall) {}

    fn is_blocking(&self) -> bool {
        false
    }

    fn executor(self: Arc<Self>) -> Arc<dyn Executor> {
        unreachable!("the model has no callbacks")
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.shared.reset();
        self.over.unpark();
    }
}

/// A thread that is about to do this; it runs already, so that loom switches to it.
fn begin(f: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let begun = Parker::new();
    let thread = {
        let begun = begun.clone();
        thread::spawn(move || {
            begun.unpark();
            f();
        })
    };
    begun.park();
    thread
}

/// A thread is between its decision to push and its push, while the scheduler goes to the next runtime.
///
/// How a wake-up meets the beginning of the end is for [`a_wake_that_meets_the_shutdown_leaves_no_task_behind`].
#[test]
fn a_wake_that_comes_a_runtime_too_late_harms_nobody() {
    model(1, MANY, |shared| {
        ::loom::stop_exploring();
        let (life, over) = Life::of(shared);
        let (task, waker) = waiting(shared);
        ::loom::explore();
        let waker = begin(move || waker.wake());
        ::loom::stop_exploring();
        shared.stop();
        ::loom::explore();
        wait_for_the_end(shared);
        drop(life);
        over.park();
        let host = Threads::host(MANY);
        shared.open(Arc::downgrade(&host), MonitorOptions::default());
        assert_eq!(block_on(spawn(shared, async { 1 })).unwrap(), 1);
        let _ = block_on(task);
        waker.join().unwrap();
        ::loom::stop_exploring();
        shut_down(shared);
        ::loom::explore();
    });
}

/// A thread is between its decision to start the monitor and the start, while the scheduler goes to the next runtime.
#[test]
fn a_thread_that_wants_the_monitor_of_the_last_runtime_starts_none_for_the_next() {
    const RESCUE: MonitorOptions = MonitorOptions { rescue: true, report_after: None };
    model(1, MANY, |shared| {
        ::loom::stop_exploring();
        let (life, over) = Life::of(shared);
        shared.monitor.open(RESCUE);
        ::loom::explore();
        let late = begin(move || shared.watch());
        shared.stop();
        wait_for_the_end(shared);
        drop(life);
        over.park();
        shared.monitor.see_the_last_life();
        let next = Life::new(shared);
        let host: Arc<dyn Host> = next.clone();
        shared.open(Arc::downgrade(&host), RESCUE);
        shared.watch();
        late.join().unwrap();
        assert_eq!(*next.monitors.lock().unwrap(), 1);
        ::loom::stop_exploring();
        shut_down(shared);
        ::loom::explore();
    });
}

/// Runs `body` with a host for a scheduler that has served a runtime, while a thread that woke something in that calls somebody.
fn between_two_runtimes(body: impl Fn(&'static Shared, Weak<dyn Host>) + Send + Sync + 'static) {
    model(1, MANY, move |shared| {
        ::loom::stop_exploring();
        shut_down(shared);
        shared.reset();
        let host = Threads::host(MANY);
        ::loom::explore();
        let late = thread::spawn(move || shared.notify());
        body(shared, Arc::downgrade(&host));
        late.join().unwrap();
        ::loom::stop_exploring();
        shut_down(shared);
        ::loom::explore();
    });
}

/// It finds no host to start a thread with, and the next runtime relies on its call.
#[test]
fn a_call_between_two_runtimes_is_one_for_the_next() {
    between_two_runtimes(|shared, host| {
        shared.open(host, MonitorOptions::default());
        assert_eq!(block_on(spawn(shared, async { 1 })).unwrap(), 1);
    });
}

/// A thread that it has started does not end what is just being opened.
#[test]
fn a_call_that_meets_the_opening_ends_nothing() {
    between_two_runtimes(|shared, host| shared.open(host, MonitorOptions::default()));
}

/// A root that is woken by the same thread that queues a task, and so may leave with a notification of its worker.
#[test]
fn the_worker_of_a_current_thread_is_notified_again_by_the_next_submitter() {
    model_of(Flavor::CurrentThread, 1, 0, 0, |shared| {
        let (event, last) = (Event::new(), Event::new());
        let next = Parker::new();
        let submitter = {
            let (event, last, next) = (event.clone(), last.clone(), next.clone());
            thread::spawn(move || {
                drop(spawn(shared, async {}));
                event.set();
                next.park();
                drop(spawn(shared, async move { last.set() }));
            })
        };
        guest::block_on(shared, event.wait());
        next.unpark();
        guest::block_on(shared, last.wait());
        submitter.join().unwrap();
    });
}

#[test]
fn two_guests_take_turns_on_a_current_thread() {
    model_of(Flavor::CurrentThread, 1, 0, 0, |shared| {
        let other = thread::spawn(move || {
            let task = spawn(shared, async { 1 });
            assert_eq!(guest::block_on(shared, task).unwrap(), 1);
        });
        let task = spawn(shared, async { 2 });
        assert_eq!(guest::block_on(shared, task).unwrap(), 2);
        other.join().unwrap();
    });
}
