//! Awaiting, blocking, closing.

use super::*;
use crate::coop;

#[test]
fn a_future_is_awaited_by_value_by_reference_and_from_threads() {
    let (promise, future) = Promise::new();
    let ready = Barrier::new(9);
    thread::scope(|scope| {
        for n in 0..8 {
            let (future, ready) = (future.clone(), &ready);
            scope.spawn(move || {
                ready.wait();
                match n % 3 {
                    0 => assert_eq!(future.wait().unwrap(), "v"),
                    1 => assert_eq!(block_on(&future).unwrap(), "v"),
                    _ => assert_eq!(block_on(future).unwrap(), "v"),
                }
            });
        }
        ready.wait();
        promise.set_result(String::from("v")).unwrap();
    });
    assert_eq!(future.cell.waiters(Event::Done), 0);
}

#[test]
fn abandoned_waits_leave_no_waiter() {
    let (promise, future) = Promise::<u8>::new();
    let (count, waker) = Count::pair();
    for _ in 0..2_000 {
        let mut by_ref = (&future).into_future();
        let mut by_value = future.clone();
        let mut closed = Box::pin(promise.closed());
        assert!(poll(&mut by_ref, &waker).is_pending());
        assert!(poll(&mut by_value, &waker).is_pending());
        assert!(poll(&mut closed, &waker).is_pending());
        assert_eq!(future.cell.waiters(Event::Done), 2);
    }
    assert_eq!(future.cell.waiters(Event::Done), 0);
    assert_eq!(future.cell.waiters(Event::Closed), 0);
    assert_eq!(Arc::strong_count(&count), 2, "this test and its waker");
    promise.set_result(1).unwrap();
    assert_eq!(count.get(), 0);
}

#[test]
fn a_new_waker_replaces_the_old_one_and_the_same_one_is_kept() {
    let (promise, future) = Promise::<u8>::new();
    let ((old, old_waker), (new, new_waker)) = (Count::pair(), Count::pair());
    let mut wait = (&future).into_future();
    for _ in 0..10 {
        assert!(poll(&mut wait, &old_waker).is_pending());
    }
    assert_eq!(Arc::strong_count(&old), 3, "one clone is registered");
    assert!(poll(&mut wait, &new_waker).is_pending());
    assert_eq!(Arc::strong_count(&old), 2);
    promise.set_result(1).unwrap();
    assert_eq!((old.get(), new.get()), (0, 1));
    assert_eq!(Arc::strong_count(&new), 2);
    assert_eq!(poll(&mut wait, &new_waker).map(Result::unwrap), Poll::Ready(&1));
}

#[test]
fn a_clone_waits_by_itself() {
    let (promise, mut future) = Promise::<u8>::new();
    let (count, waker) = Count::pair();
    assert!(poll(&mut future, &waker).is_pending());
    drop(future.clone());
    assert_eq!(promise.cell.waiters(Event::Done), 1);
    let mut clone = future.clone();
    assert!(poll(&mut clone, &waker).is_pending());
    drop(future);
    assert_eq!(promise.cell.waiters(Event::Done), 1);
    promise.set_result(1).unwrap();
    assert_eq!(count.get(), 1);
    assert_eq!(poll(&mut clone, &waker).map(Result::unwrap), Poll::Ready(1));
    assert_eq!(poll(&mut clone, &waker).map(Result::unwrap), Poll::Ready(1), "again and again");
}

/// Writes its number when it is woken.
struct Numbered(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        if self.0 % 10 == 3 {
            std::panic::resume_unwind(Box::new("from wake"));
        }
        self.1.lock().push(self.0);
    }
}

#[test]
fn waiters_are_woken_in_order_and_a_panicking_waker_stops_nobody() {
    const WAITERS: usize = 100_000;
    let queue = Arc::new(Queue::default());
    let woken = Arc::new(Mutex::new(Vec::with_capacity(WAITERS)));
    let (promise, future) = Promise::<u8>::new();
    let mut waits: Vec<_> = (0..WAITERS)
        .map(|n| {
            let mut wait = (&future).into_future();
            assert!(poll(&mut wait, &Arc::new(Numbered(n, woken.clone())).into()).is_pending());
            wait
        })
        .collect();
    // Holes, the inline place included, change nothing about the order of the others.
    for n in (0..WAITERS).step_by(20).rev() {
        drop(waits.swap_remove(n));
    }
    let _inside = Inside::of(&queue);
    promise.set_result(1).unwrap();
    let expected: Vec<_> = (0..WAITERS).filter(|n| n % 20 != 0 && n % 10 != 3).collect();
    assert_eq!(*woken.lock(), expected);
    assert_eq!(queue.reports(), ["task panicked: from wake"], "the first panic, once");
}

/// Does all it can think of to the future it waits for, in every waker operation.
struct Meddler(Future<u8>);

impl Meddler {
    fn meddle(&self) {
        let mut clone = self.0.clone();
        let _ = poll(&mut clone, Waker::noop());
        let _ = (clone.state(), clone.result().is_some(), format!("{clone:?}"));
    }
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.meddle();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.meddle();
    }
}

#[test]
fn a_waker_may_use_the_future_in_its_wake_and_its_drop() {
    let (promise, future) = Promise::<u8>::new();
    let mut wait = (&future).into_future();
    for _ in 0..3 {
        // Each poll brings a new waker, and replacing drops the old one.
        assert!(poll(&mut wait, &Arc::new(Meddler(future.clone())).into()).is_pending());
    }
    assert_eq!(promise.cell.waiters(Event::Done), 1);
    promise.set_result(1).unwrap();
    assert_eq!(promise.cell.waiters(Event::Done), 0);
}

#[test]
fn the_producer_learns_when_the_last_reader_goes() {
    let (promise, future) = Promise::<u8>::new();
    let (count, waker) = Count::pair();
    let (mut first, mut second) = (Box::pin(promise.closed()), Box::pin(promise.closed()));
    assert!(poll(&mut first, &waker).is_pending() && poll(&mut second, &waker).is_pending());
    assert!(promise.poll_closed(&mut Context::from_waker(&waker)).is_pending());
    assert!(promise.poll_closed(&mut Context::from_waker(&waker)).is_pending());
    let other = future.clone();
    drop(future);
    assert_eq!(count.get(), 0);
    drop(other);
    assert_eq!(count.get(), 3);
    let reader = promise.future();
    assert!(!promise.is_closed(), "a new reader opens it again");
    assert!(poll(&mut first, &waker).is_pending());
    assert!(promise.poll_closed(&mut Context::from_waker(&waker)).is_pending());
    reader.cancel();
    assert_eq!(count.get(), 5);
    assert!(poll(&mut first, &waker).is_ready() && poll(&mut second, &waker).is_ready());
    assert!(promise.poll_closed(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn setting_a_value_without_readers_succeeds_and_a_later_reader_sees_it() {
    let (promise, future) = Promise::new();
    drop(future);
    promise.set_result(3).unwrap();
    assert_eq!(promise.future().wait().unwrap(), &3);
}

#[test]
fn a_timed_wait_ends_at_its_deadline_or_with_the_value() {
    let (promise, future) = Promise::new();
    assert!(future.wait_timeout(Duration::ZERO).is_none());
    assert!(future.wait_timeout(Duration::from_millis(2)).is_none());
    assert_eq!(future.cell.waiters(Event::Done), 0);
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(future.wait_timeout(Duration::MAX).unwrap().unwrap(), &5));
        promise.set_result(5).unwrap();
    });
    assert_eq!(future.wait_timeout(Duration::ZERO).unwrap().unwrap(), &5);
}

#[test]
fn a_blocking_wait_inside_a_task_panics_with_advice() {
    let future = Future::ready(1);
    let before = context::set_async(true);
    let text = Error::panicked(catch_unwind(|| future.wait().is_ok()).unwrap_err()).to_string();
    context::set_async(before);
    assert!(text.contains("await it"), "{text}");
}

#[test]
fn ready_polls_are_charged_to_the_budget_and_pending_ones_are_not() {
    let _budget = coop::BudgetGuard::fresh();
    let (count, waker) = Count::pair();
    let (promise, mut future) = Promise::<u8>::new();
    for _ in 0..1_000 {
        assert!(poll(&mut future, &waker).is_pending());
    }
    assert_eq!(count.get(), 0);
    promise.set_result(1).unwrap();
    let mut polls = 0;
    while poll(&mut future, &waker).is_ready() {
        polls += 1;
    }
    assert_eq!(polls, 128);
    assert!(poll(&mut (&future).into_future(), &waker).is_pending());
    assert!(promise.poll_closed(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(count.get(), 4, "each is polled again soon: itself, and three out of budget");
    assert_eq!(future.wait().unwrap(), &1, "a thread that blocks has no budget");
}
