//! Every interleaving of the promise's races, up to loom's bound on preemptions.

use std::cell::RefCell;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize as StdAtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use loom::thread;

use super::*;
use crate::context::{self, Ambient, Executor, Job, Unobserved};
use crate::parker::{self, Parker};

fn block_on<F: std::future::Future + Unpin>(mut future: F) -> F::Output {
    let parker = Parker::new();
    let waker = parker::waker(&parker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        parker.park();
    }
}

fn poll<F: std::future::Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn set_and_cancel_have_one_winner() {
    loom::model(|| {
        let (promise, future) = Promise::new();
        let setter = thread::spawn(move || promise.set_result(1).map_err(|lost| (lost.state, lost.value)));
        let cancelled = future.cancel();
        assert!(future.done());
        match setter.join().unwrap() {
            Ok(()) => assert!(!cancelled && future.state() == State::Finished),
            Err(lost) => assert!(cancelled && lost == (State::Cancelled, 1)),
        }
    });
}

#[test]
fn drop_and_cancel_have_one_winner() {
    loom::model(|| {
        let (promise, future) = Promise::<u8>::new();
        let producer = thread::spawn(move || drop(promise));
        let cancelled = future.cancel();
        assert_eq!(future.exception().unwrap().is_cancelled(), cancelled);
        producer.join().unwrap();
        assert_eq!(future.exception().unwrap().is_broken_promise(), !cancelled);
    });
}

#[test]
fn two_setters_and_a_cancel_have_one_winner() {
    loom::model(|| {
        let (promise, future) = Promise::new();
        let promise = StdArc::new(promise);
        let setters = [1, 2].map(|n| {
            let promise = promise.clone();
            thread::spawn(move || promise.set_result(n).map_err(|lost| lost.state))
        });
        let cancelled = future.cancel();
        let state = future.state();
        let set = setters.map(|setter| setter.join().unwrap());
        let winners = set.iter().filter(|set| set.is_ok()).count() + usize::from(cancelled);
        assert_eq!(winners, 1);
        assert!(set.into_iter().filter_map(Result::err).all(|lost| lost == state));
    });
}

#[test]
fn what_was_set_is_seen() {
    loom::model(|| {
        let (promise, future) = Promise::new();
        let other = future.clone();
        let setter = thread::spawn(move || promise.set_result(Box::new(7)).unwrap());
        let reader = thread::spawn(move || {
            if let Some(result) = other.result() {
                assert_eq!(**result.unwrap(), 7);
            }
        });
        assert_eq!(**block_on((&future).into_future()).unwrap(), 7);
        setter.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn two_waiters_are_woken() {
    loom::model(|| {
        let (promise, future) = Promise::new();
        let waiters = [(); 2].map(|()| {
            let future = future.clone();
            thread::spawn(move || assert_eq!(block_on(future).unwrap(), 7))
        });
        promise.set_result(7).unwrap();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_waiter_of_a_dropped_promise_is_woken() {
    loom::model(|| {
        let (promise, future) = Promise::<u8>::new();
        let producer = thread::spawn(move || drop(promise));
        assert!(block_on(future).unwrap_err().is_broken_promise());
        producer.join().unwrap();
    });
}

#[test]
fn a_waiter_that_changes_its_waker_is_woken_by_the_last() {
    loom::model(|| {
        let (promise, mut future) = Promise::new();
        let setter = thread::spawn(move || promise.set_result(7).unwrap());
        let _ = poll(&mut future, Waker::noop());
        assert_eq!(block_on(future).unwrap(), 7);
        setter.join().unwrap();
    });
}

#[test]
fn a_wait_may_be_dropped_while_it_is_set() {
    loom::model(|| {
        let (promise, mut future) = Promise::new();
        let cell = future.cell.clone();
        let setter = thread::spawn(move || promise.set_result(Box::new(7)).is_ok());
        let parker = Parker::new();
        let _ = poll(&mut future, &parker::waker(&parker));
        drop(future);
        assert!(setter.join().unwrap());
        assert_eq!(cell.waiters(Event::Done), 0);
    });
}

#[test]
fn the_producer_learns_that_its_readers_are_gone() {
    loom::model(|| {
        let (promise, future) = Promise::<u8>::new();
        let other = future.clone();
        let reader = thread::spawn(move || drop(future));
        let another = thread::spawn(move || drop(other));
        block_on(std::future::poll_fn(|cx| promise.poll_closed(cx)));
        assert!(promise.is_closed());
        reader.join().unwrap();
        another.join().unwrap();
    });
}

#[test]
fn the_producer_learns_that_it_is_cancelled() {
    loom::model(|| {
        let (promise, future) = Promise::<u8>::new();
        let reader = thread::spawn(move || assert!(future.cancel()));
        block_on(Closed { cell: &promise.cell, key: None });
        assert!(promise.is_closed());
        reader.join().unwrap();
    });
}

/// loom cannot see into it, and need not: it holds nothing across a step of the model.
#[derive(Default)]
struct Queue {
    jobs: std::sync::Mutex<Vec<Job>>,
    reports: StdAtomicUsize,
}

impl Queue {
    fn run(&self) {
        loop {
            let job = self.jobs.lock().unwrap().pop();
            let Some(job) = job else { return };
            job();
        }
    }
}

impl Executor for Queue {
    fn id(&self) -> u64 {
        1
    }

    fn execute(&self, job: Job) {
        self.jobs.lock().unwrap().push(job);
    }

    fn report(&self, _: Unobserved) {
        self.reports.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_callback_that_races_with_the_setter_runs_once() {
    loom::model(|| {
        let queue = StdArc::new(Queue::default());
        let runs = StdArc::new(StdAtomicUsize::new(0));
        let (promise, future) = Promise::new();
        let setter = {
            let queue = queue.clone();
            thread::spawn(move || {
                promise.set_result(7).unwrap();
                queue.run();
            })
        };
        for _ in 0..2 {
            let runs = runs.clone();
            future.add_done_callback_on(queue.clone(), move |f| {
                runs.fetch_add(*f.result().unwrap().unwrap(), Ordering::Relaxed);
            });
        }
        queue.run();
        setter.join().unwrap();
        queue.run();
        assert_eq!(runs.load(Ordering::Relaxed), 14);
    });
}

std::thread_local! {
    /// All threads of a model share one real thread, and so its context.
    static QUEUE: RefCell<Option<StdArc<Queue>>> = const { RefCell::new(None) };
}

struct Here;

impl Ambient for Here {
    fn executor(&self) -> Option<StdArc<dyn Executor>> {
        QUEUE.with(|queue| queue.borrow().clone().map(|queue| queue as StdArc<dyn Executor>))
    }
}

/// The last of three handles reports, unless one of the readers looked.
fn unread(reads: bool, expected: usize) {
    loom::model(move || {
        let queue = StdArc::new(Queue::default());
        let (promise, future) = Promise::<u8>::new();
        let other = future.clone();
        QUEUE.with(|current| *current.borrow_mut() = Some(queue.clone()));
        let before = context::replace(Some(&Here));
        let setter = thread::spawn(move || promise.set_exception("x").unwrap());
        let reader = thread::spawn(move || {
            if reads {
                let _ = block_on(other);
            }
        });
        drop(future);
        setter.join().unwrap();
        reader.join().unwrap();
        context::replace(before);
        assert_eq!(queue.reports.load(Ordering::Relaxed), expected);
    });
}

#[test]
fn an_unread_failure_is_reported_once() {
    unread(false, 1);
}

#[test]
fn a_failure_that_one_reader_saw_is_not_reported() {
    unread(true, 0);
}
