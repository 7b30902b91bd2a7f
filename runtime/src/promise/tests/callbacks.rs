//! Callbacks: order, isolation, executors that die.

use super::*;

type Log = Arc<Mutex<Vec<usize>>>;

fn push(log: &Log, n: usize) -> impl FnOnce(&Future<u8>) + Send + 'static {
    let log = log.clone();
    move |_| log.lock().push(n)
}

#[test]
fn callbacks_run_in_order_never_inside_set_and_a_panic_stops_nobody() {
    let (queue, log) = (Arc::new(Queue::default()), Log::default());
    let (promise, future) = Promise::new();
    for n in 0..50 {
        future.add_done_callback_on(queue.clone(), push(&log, n));
        if n == 20 {
            future.add_done_callback_on(queue.clone(), |_| std::panic::resume_unwind(Box::new("cb")));
        }
    }
    promise.set_result(1).unwrap();
    future.add_done_callback_on(queue.clone(), push(&log, 50));
    assert!(log.lock().is_empty());
    queue.run();
    future.add_done_callback_on(queue.clone(), push(&log, 51));
    assert_eq!(log.lock().len(), 51, "not inside add_done_callback either");
    queue.run();
    assert_eq!(*log.lock(), (0..52).collect::<Vec<_>>());
    assert_eq!(queue.reports(), ["task panicked: cb"]);
}

#[test]
fn a_callback_sees_the_result() {
    let queue = Arc::new(Queue::default());
    let seen = Arc::new(Mutex::new(None));
    let (promise, future) = Promise::new();
    let out = seen.clone();
    future.add_done_callback_on(queue.clone(), move |f| *out.lock() = Some(*f.result().unwrap().unwrap()));
    drop(future);
    assert!(!promise.is_closed(), "a callback is a reader");
    promise.set_result(4).unwrap();
    queue.run();
    assert_eq!(*seen.lock(), Some(4));
}

#[test]
fn a_callback_is_removed_once_until_its_turn_and_by_its_own_future() {
    let (queue, log) = (Arc::new(Queue::default()), Log::default());
    let (promise, future) = Promise::new();
    let (_other_promise, other) = Promise::new();
    let ids: Vec<_> = (0..4).map(|n| future.add_done_callback_on(queue.clone(), push(&log, n))).collect();
    let foreign = other.add_done_callback_on(queue.clone(), push(&log, 9));
    assert!(!future.remove_done_callback(foreign));
    assert!(future.remove_done_callback(ids[1]) && !future.remove_done_callback(ids[1]));
    promise.set_result(1).unwrap();
    assert!(future.remove_done_callback(ids[2]));
    queue.run();
    assert!(!future.remove_done_callback(ids[0]));
    assert_eq!(*log.lock(), [0, 3]);
    assert!(other.remove_done_callback(foreign));
}

#[test]
fn a_removed_callback_is_no_reader_any_more() {
    let queue = Arc::new(Queue::default());
    let (promise, future) = Promise::<u8>::new();
    let id = future.add_done_callback_on(queue, |_| {});
    future.remove_done_callback(id);
    drop(future);
    assert!(promise.is_closed());
}

#[test]
fn two_executors_take_turns_and_the_order_holds() {
    let (left, right, log) = (Arc::new(Queue::default()), Arc::new(Queue::default()), Log::default());
    let (promise, future) = Promise::new();
    for n in 0..10 {
        let queue = if n % 4 < 2 { &left } else { &right };
        future.add_done_callback_on(queue.clone(), push(&log, n));
    }
    promise.set_result(1).unwrap();
    assert_eq!(right.run(), 0, "the first two are not its own");
    while left.run() + right.run() > 0 {}
    assert_eq!(*log.lock(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_drain_gives_way_after_a_batch() {
    let (queue, log) = (Arc::new(Queue::default()), Log::default());
    let future = Future::ready(1);
    for n in 0..300 {
        future.add_done_callback_on(queue.clone(), push(&log, n));
    }
    assert_eq!(queue.run(), 3);
    assert_eq!(*log.lock(), (0..300).collect::<Vec<_>>());
}

#[test]
fn a_callback_may_add_callbacks_set_promises_and_drop_the_last_handle() {
    let (queue, log) = (Arc::new(Queue::default()), Log::default());
    let (promise, future) = Promise::new();
    let (next, next_future) = Promise::new();
    next_future.add_done_callback_on(queue.clone(), push(&log, 2));
    let (inner_queue, inner_log) = (queue.clone(), log.clone());
    future.clone().add_done_callback_on(queue.clone(), move |f| {
        inner_log.lock().push(1);
        f.add_done_callback_on(inner_queue, push(&inner_log, 3));
        next.set_result(7).unwrap();
        drop(future);
    });
    promise.set_result(1).unwrap();
    drop(promise);
    queue.run();
    assert_eq!(*log.lock(), [1, 3, 2]);
}

/// `length` futures; the callback of each sets the next. Returns the first promise and the last future.
fn chain(queue: &Arc<Queue>, length: usize) -> (Promise<u8>, Future<u8>) {
    let (first, mut future) = Promise::new();
    for _ in 0..length {
        let (promise, next) = Promise::new();
        future.add_done_callback_on(queue.clone(), move |f| promise.set_result(*f.wait().unwrap()).unwrap());
        future = next;
    }
    (first, future)
}

#[test]
fn a_long_chain_does_not_grow_the_stack() {
    let queue = Arc::new(Queue::default());
    let (first, last) = chain(&queue, 100_000);
    first.set_result(8).unwrap();
    assert_eq!(queue.run(), 100_000);
    assert_eq!(last.wait().unwrap(), &8);
}

#[test]
fn a_long_chain_on_a_dead_executor_breaks_without_growing_the_stack() {
    let queue = Arc::new(Queue::default());
    let (first, last) = chain(&queue, 100_000);
    queue.shut_down();
    first.set_result(8).unwrap();
    assert!(last.wait().unwrap_err().is_broken_promise());
}

#[test]
fn a_dead_executor_takes_only_its_own_callbacks_with_it() {
    let (dead, alive, log) = (Arc::new(Queue::default()), Arc::new(Queue::default()), Log::default());
    let (promise, future) = Promise::new();
    let token = Arc::new(());
    for n in 0..10 {
        let token = token.clone();
        let queue = if n % 3 == 0 { &dead } else { &alive };
        let push = push(&log, n);
        future.add_done_callback_on(queue.clone(), move |f| {
            push(f);
            drop(token);
        });
    }
    promise.set_result(1).unwrap();
    dead.shut_down(); // with the job in its queue
    alive.run();
    assert_eq!(*log.lock(), [1, 2, 4, 5, 7, 8]);
    future.add_done_callback_on(dead.clone(), push(&log, 11)); // refused on the spot
    future.add_done_callback_on(alive.clone(), push(&log, 12));
    alive.run();
    assert_eq!(log.lock().last(), Some(&12));
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn callbacks_registered_while_it_is_set_run_once_each_and_one_at_a_time() {
    for _ in 0..200 {
        let (queue, log) = (Arc::new(Queue::default()), Log::default());
        let (promise, future) = Promise::new();
        let barrier = Barrier::new(3);
        thread::scope(|scope| {
            let threads = [0, 10].map(|start| {
                let (future, barrier, queue, log) = (&future, &barrier, &queue, &log);
                scope.spawn(move || {
                    barrier.wait();
                    for n in start..start + 10 {
                        future.add_done_callback_on(queue.clone(), push(log, n));
                    }
                })
            });
            barrier.wait();
            promise.set_result(1).unwrap();
            queue.run();
            for thread in threads {
                thread.join().unwrap();
            }
        });
        queue.run();
        let log = log.lock();
        for start in [0, 10] {
            let of_one_thread: Vec<_> =
                log.iter().copied().filter(|n| (start..start + 10).contains(n)).collect();
            assert_eq!(of_one_thread, (start..start + 10).collect::<Vec<_>>());
        }
    }
}

#[test]
fn callbacks_can_be_removed_while_those_of_a_dead_executor_are_dropped() {
    let (dead, alive) = (Arc::new(Queue::default()), Arc::new(Queue::default()));
    let future = Future::ready(1);
    for _ in 0..20_000 {
        future.add_done_callback_on(dead.clone(), |_| {});
    }
    let ids: Vec<_> = (0..20_000).map(|_| future.add_done_callback_on(alive.clone(), |_| {})).collect();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let end = scope.spawn(|| {
            barrier.wait();
            dead.shut_down();
        });
        barrier.wait();
        for id in ids {
            assert!(future.remove_done_callback(id));
        }
        end.join().unwrap();
    });
    // What was handed to it holds the future, which holds it.
    alive.run();
}
