//! The promise's semantics, on hand-made wakers and executors. Races proper are in `models.rs`.

mod callbacks;
mod reports;
mod waiting;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::context::{self, Ambient, Executor, Job, Unobserved};
use crate::error::ErrorKind;

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn pair() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs jobs when the test says so and keeps the reports.
#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    reports: Mutex<Vec<Unobserved>>,
    refuses: std::sync::atomic::AtomicBool,
}

impl Queue {
    fn run(&self) -> usize {
        let mut ran = 0;
        loop {
            let job = self.jobs.lock().pop_front();
            let Some(job) = job else { return ran };
            job();
            ran += 1;
        }
    }

    fn shut_down(&self) {
        self.refuses.store(true, Ordering::SeqCst);
        let jobs = std::mem::take(&mut *self.jobs.lock());
        drop(jobs);
    }

    fn reports(&self) -> Vec<String> {
        self.reports.lock().iter().map(|report| report.error().to_string()).collect()
    }
}

impl Executor for Queue {
    fn id(&self) -> u64 {
        1
    }

    fn execute(&self, job: Job) {
        match self.refuses.load(Ordering::SeqCst) {
            true => drop(job),
            false => self.jobs.lock().push_back(job),
        }
    }

    fn report(&self, unobserved: Unobserved) {
        self.reports.lock().push(unobserved);
    }
}

thread_local! {
    static QUEUE: RefCell<Option<Arc<Queue>>> = const { RefCell::new(None) };
}

/// This thread stands in the queue given to [`Inside::of`] while it lives.
struct Inside(Option<&'static dyn Ambient>);

struct Here;

impl Ambient for Here {
    fn executor(&self) -> Option<Arc<dyn Executor>> {
        QUEUE.with(|queue| queue.borrow().clone().map(|queue| queue as Arc<dyn Executor>))
    }
}

impl Inside {
    fn of(queue: &Arc<Queue>) -> Self {
        QUEUE.with(|current| *current.borrow_mut() = Some(queue.clone()));
        Inside(context::replace(Some(&Here)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        context::replace(self.0);
        QUEUE.with(|current| *current.borrow_mut() = None);
    }
}

fn poll<F: std::future::Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future.into_future());
    let thread = crate::parker::Parker::new();
    let waker = crate::parker::waker(&thread);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread.park();
    }
}

#[test]
fn the_first_to_set_wins_and_the_others_get_their_value_back() {
    let (promise, future) = Promise::new();
    assert_eq!(future.state(), State::Pending);
    assert!(future.result().is_none() && future.exception().is_none());
    promise.set_result(String::from("a")).unwrap();
    let lost = promise.set_result(String::from("b")).unwrap_err();
    assert_eq!((lost.state, lost.value.as_str()), (State::Finished, "b"));
    let lost = promise.set_exception("late").unwrap_err();
    assert_eq!((lost.state, lost.value.to_string().as_str()), (State::Finished, "late"));
    let lost = promise.set(Ok(String::from("c"))).unwrap_err();
    assert_eq!(lost.value.unwrap(), "c");
    assert!(!future.cancel());
    assert_eq!(future.result().unwrap().unwrap(), "a");
    assert!(promise.is_done() && !promise.is_cancelled() && promise.is_closed());
}

#[test]
fn a_race_of_three_has_one_winner_and_the_losers_know_it() {
    let drops = Arc::new(AtomicUsize::new(0));
    struct Value(Arc<AtomicUsize>);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    const ROUNDS: usize = 300;
    for _ in 0..ROUNDS {
        let (promise, future) = Promise::new();
        let barrier = Barrier::new(3);
        let value = Value(drops.clone());
        let (set, failed, cancelled) = thread::scope(|scope| {
            let set = scope.spawn(|| {
                barrier.wait();
                promise.set_result(value).map_err(|lost| lost.state)
            });
            let failed = scope.spawn(|| {
                barrier.wait();
                promise.set_exception("x").map_err(|lost| lost.state)
            });
            barrier.wait();
            let cancelled = future.cancel();
            assert!(future.done(), "whoever lost, it is done");
            (set.join().unwrap(), failed.join().unwrap(), cancelled)
        });
        let winners = usize::from(set.is_ok()) + usize::from(failed.is_ok()) + usize::from(cancelled);
        assert_eq!(winners, 1);
        for lost in [set, failed].into_iter().filter_map(Result::err) {
            assert_eq!(lost, future.state());
        }
        let _ = future.exception();
    }
    assert_eq!(drops.load(Ordering::SeqCst), ROUNDS);
}

#[test]
fn a_cancellation_that_is_passed_on_is_a_cancellation() {
    let (first, cancelled) = Promise::<u8>::new();
    cancelled.cancel();
    assert_eq!(first.set_result(1).unwrap_err().state, State::Cancelled);
    let (second, future) = Promise::<u8>::new();
    second.set(block_on(cancelled)).unwrap();
    assert!(future.cancelled() && second.is_cancelled());
    assert!(future.exception().unwrap().is_cancelled());
}

#[test]
fn an_exception_keeps_its_type_and_an_error_its_kind() {
    let parse_error = "x".parse::<u8>().unwrap_err();
    let future = Future::<u8>::failed(parse_error.clone());
    assert_eq!(future.exception().unwrap().downcast_ref(), Some(&parse_error));
    let again = Future::<u8>::failed(future.exception().unwrap().clone());
    assert_eq!(again.exception().unwrap().downcast_ref(), Some(&parse_error));
    assert_eq!(Future::<u8>::failed(Error::shutdown()).exception().unwrap().kind(), ErrorKind::Shutdown);
}

#[test]
fn a_dropped_promise_is_broken_and_says_if_its_producer_panicked() {
    let (promise, future) = Promise::<u8>::new();
    drop(promise);
    assert_eq!(future.state(), State::Failed);
    assert!(!future.exception().unwrap().to_string().contains("panicked"));
    let (promise, future) = Promise::<u8>::new();
    let _ = thread::spawn(move || {
        let _promise = promise;
        std::panic::resume_unwind(Box::new(()));
    })
    .join();
    assert!(future.wait().unwrap_err().is_broken_promise());
    assert!(future.exception().unwrap().to_string().contains("panicked"));
}

#[test]
fn set_with_captures_what_its_function_does() {
    let (promise, future) = Promise::new();
    promise.set_with(|| "7".parse::<u8>());
    assert_eq!(future.result().unwrap().unwrap(), &7);
    let (promise, future) = Promise::<u8>::new();
    promise.set_with(|| "x".parse());
    assert!(future.exception().unwrap().downcast_ref::<std::num::ParseIntError>().is_some());
    let (promise, future) = Promise::<u8>::new();
    promise.set_with(|| -> Result<u8, Error> { std::panic::resume_unwind(Box::new("oh")) });
    assert_eq!(future.exception().unwrap().to_string(), "task panicked: oh");
}

#[test]
fn the_value_is_dropped_once_with_the_last_handle() {
    let (weak, future) = {
        let value = Arc::new(());
        let weak = Arc::downgrade(&value);
        let (promise, future) = Promise::new();
        promise.set_result(value).unwrap();
        (weak, future)
    };
    let other = future.clone();
    drop(future);
    assert_eq!(weak.strong_count(), 1);
    drop(other);
    assert_eq!(weak.strong_count(), 0);
}

#[test]
fn a_clone_that_panics_leaves_the_future_readable() {
    struct Grudge;
    impl Clone for Grudge {
        fn clone(&self) -> Self {
            std::panic::resume_unwind(Box::new(()))
        }
    }
    let mut future = Future::ready(Grudge);
    let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut future, Waker::noop()).is_ready()));
    assert!(polled.is_err());
    assert!(future.result().unwrap().is_ok());
}

#[test]
fn debug_output_does_not_wait_for_the_lock() {
    let (promise, future) = Promise::<u8>::new();
    let guard = promise.cell.audience.lock();
    let text = format!("{promise:?} {future:?} {:?}", (&future).into_future());
    drop(guard);
    assert!(text.starts_with("Promise { state: Pending, made_at: "), "{text}");
}
