//! `runtime::sync`: tokio's channels and locks on our tasks, the `Condvar` that is ours, and how loops give way.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::sync::{
    Barrier, Condvar, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, mpmc, mpsc, oneshot, watch,
};
use runtime::task::coop::cooperative;
use runtime::time::timeout;
use runtime_tests::{PATIENCE, multi, on_each, poll_once, promptly, single, within};

// --- what is tokio's ---

#[test]
fn channels_carry_values_between_tasks() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, mut receiver) = mpsc::channel(2);
            let producer = runtime::spawn(async move {
                for n in 0..1_000 {
                    sender.send(n).await.unwrap();
                }
            });
            for n in 0..1_000 {
                assert_eq!(receiver.recv().await, Some(n));
            }
            assert_eq!(receiver.recv().await, None);
            producer.await.unwrap();

            let (sender, receiver) = oneshot::channel();
            runtime::spawn(async move { sender.send(1).unwrap() });
            assert_eq!(receiver.await, Ok(1));

            let (sender, mut receiver) = watch::channel(0);
            runtime::spawn(async move { sender.send(1).unwrap() });
            receiver.changed().await.unwrap();
            assert_eq!(*receiver.borrow(), 1);

            let (sender, mut one) = broadcast::channel(4);
            let mut two = sender.subscribe();
            runtime::spawn(async move { sender.send(7).unwrap() });
            assert_eq!((one.recv().await, two.recv().await), (Ok(7), Ok(7)));

            let (sender, receiver) = mpmc::unbounded();
            let other = receiver.clone();
            runtime::spawn(async move { other.recv().await.unwrap() });
            sender.send(1).await.unwrap();
            sender.send(2).await.unwrap();
            assert!(receiver.recv().await.is_ok());
        });
    });
}

#[test]
fn locks_and_meeting_places_work_between_tasks() {
    on_each(|rt| {
        rt.block_on(async {
            let shared = Arc::new((Mutex::new(0), RwLock::new(0), Semaphore::new(1), Barrier::new(4)));
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let shared = shared.clone();
                    runtime::spawn(async move {
                        let (mutex, rwlock, semaphore, barrier) = &*shared;
                        let leads = barrier.wait().await.is_leader();
                        for _ in 0..100 {
                            let mut guard = mutex.lock().await;
                            let value = *guard;
                            runtime::task::yield_now().await;
                            *guard = value + 1;
                            *rwlock.write().await += 1;
                            let _permit = semaphore.acquire().await.unwrap();
                        }
                        leads
                    })
                })
                .collect();
            let mut leaders = 0;
            for task in tasks {
                leaders += u32::from(task.await.unwrap());
            }
            let (mutex, rwlock, ..) = &*shared;
            assert_eq!((*mutex.lock().await, *rwlock.read().await, leaders), (400, 400, 1));
        });
    });
}

#[test]
fn a_once_cell_is_made_by_one() {
    on_each(|rt| {
        let cell = Arc::new(OnceCell::new());
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let cell = cell.clone();
                rt.spawn(async move { *cell.get_or_init(|| async move { n }).await })
            })
            .collect();
        let seen: Vec<_> = tasks.into_iter().map(|task| rt.block_on(task).unwrap()).collect();
        assert!(seen.iter().all(|n| n == &seen[0]), "{seen:?}");
    });
}

#[test]
fn the_types_are_the_ones_that_libraries_take() {
    fn library(sender: tokio::sync::mpsc::Sender<u8>, notify: &tokio::sync::Notify) {
        sender.try_send(1).unwrap();
        notify.notify_one();
    }
    single().block_on(async {
        let (sender, mut receiver) = mpsc::channel(1);
        let notify = Notify::new();
        library(sender, &notify);
        notify.notified().await;
        assert_eq!(receiver.recv().await, Some(1));
    });
}

// --- giving way ---

#[test]
fn a_cooperative_receiver_of_a_full_channel_lets_others_run() {
    within(PATIENCE, || {
        let rt = single();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        (0..10_000).for_each(|n| sender.send(n).unwrap());
        let ran = Arc::new(AtomicBool::new(false));
        let other = ran.clone();
        rt.block_on(async {
            let receiving = runtime::spawn(async move {
                let mut taken = 0;
                while !ran.load(Ordering::SeqCst) {
                    cooperative(receiver.recv()).await.unwrap();
                    taken += 1;
                }
                taken
            });
            runtime::spawn(async move { other.store(true, Ordering::SeqCst) });
            let taken = receiving.await.unwrap();
            // And the one that was under way when the budget was used up.
            assert!(taken <= 128 + 1, "{taken} items without giving way");
        });
    });
}

#[test]
fn a_cooperative_wait_that_is_dropped_loses_nothing() {
    single().block_on(async {
        let (sender, mut receiver) = mpsc::channel(1);
        {
            let mut receiving = pin!(cooperative(receiver.recv()));
            assert!(poll_once(receiving.as_mut()).await.is_pending());
            sender.try_send(5).unwrap();
        }
        assert_eq!(cooperative(receiver.recv()).await, Some(5));
    });
}

// --- Condvar ---

/// A waiter that has unlocked the mutex and is in the line.
async fn waiting<'a>(mutex: &'a Mutex<u32>, changed: &'a Condvar) -> Pin<Box<impl Future<Output = ()> + 'a>> {
    let mut waiting = Box::pin(async { drop(changed.wait(mutex.lock().await).await) });
    assert!(poll_once(waiting.as_mut()).await.is_pending());
    waiting
}

#[test]
fn wait_while_sees_each_change() {
    on_each(|rt| {
        rt.block_on(async {
            let shared = Arc::new((Mutex::new(0), Condvar::new()));
            let consumer = runtime::spawn({
                let shared = shared.clone();
                async move {
                    let (value, changed) = &*shared;
                    *changed.wait_while(value.lock().await, |value| *value < 50).await
                }
            });
            for _ in 0..50 {
                let (value, changed) = &*shared;
                *value.lock().await += 1;
                changed.notify_all();
                runtime::task::yield_now().await;
            }
            assert_eq!(consumer.await.unwrap(), 50);
        });
    });
}

#[test]
fn a_waiter_leaves_the_mutex_free_and_comes_back_with_it() {
    single().block_on(async {
        let (mutex, changed) = (Mutex::new(0), Condvar::new());
        let mut wait = Box::pin(async { changed.wait(mutex.lock().await).await });
        assert!(poll_once(wait.as_mut()).await.is_pending());
        {
            let _guard = mutex.try_lock().expect("the waiter has unlocked it");
            changed.notify_one();
            assert!(poll_once(wait.as_mut()).await.is_pending(), "without the lock");
        }
        let guard = wait.await;
        assert!(mutex.try_lock().is_err());
        drop(guard);
    });
}

#[test]
fn notify_one_wakes_the_first_and_notify_all_the_rest() {
    single().block_on(async {
        let (mutex, changed) = (Mutex::new(0), Condvar::new());
        let mut waiters = Vec::new();
        for _ in 0..4 {
            waiters.push(waiting(&mutex, &changed).await);
        }
        changed.notify_one();
        assert!(poll_once(waiters[1].as_mut()).await.is_pending());
        assert!(poll_once(waiters[0].as_mut()).await.is_ready());
        changed.notify_all();
        for waiter in &mut waiters[1..] {
            assert!(poll_once(waiter.as_mut()).await.is_ready());
        }
    });
}

#[test]
fn a_waiter_that_is_dropped_after_its_notification_passes_it_on() {
    single().block_on(async {
        let (mutex, changed) = (Mutex::new(0), Condvar::new());
        let (first, mut second) = (waiting(&mutex, &changed).await, waiting(&mutex, &changed).await);
        changed.notify_one();
        drop(first);
        assert!(poll_once(second.as_mut()).await.is_ready());
    });
}

#[test]
fn a_waiter_that_is_dropped_while_it_locks_again_passes_its_notification_on() {
    single().block_on(async {
        let (mutex, changed) = (Mutex::new(0), Condvar::new());
        let (mut first, mut second) = (waiting(&mutex, &changed).await, waiting(&mutex, &changed).await);
        let guard = mutex.lock().await;
        changed.notify_one();
        assert!(poll_once(first.as_mut()).await.is_pending(), "somebody has the lock");
        drop(first);
        drop(guard);
        assert!(poll_once(second.as_mut()).await.is_ready());
    });
}

#[test]
fn a_wait_with_a_timeout_ends_with_it() {
    within(PATIENCE, || {
        let rt = runtime::Runtime::builder().start_paused(true).current_thread().build().unwrap();
        promptly(|| {
            rt.block_on(async {
                let (mutex, changed) = (Mutex::new(0), Condvar::new());
                let begin = runtime::time::now();
                let wait = changed.wait_while(mutex.lock().await, |_| true);
                assert!(timeout(Duration::from_secs(3), wait).await.is_err());
                assert_eq!(runtime::time::now() - begin, Duration::from_secs(3));
                assert!(mutex.try_lock().is_ok());
            });
        });
    });
}

#[test]
fn many_producers_and_consumers_lose_no_notification() {
    within(PATIENCE, || {
        let rt = multi(2);
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let consumers: Vec<_> = (0..4)
            .map(|_| {
                let shared = shared.clone();
                rt.spawn(async move {
                    let (items, filled) = &*shared;
                    for _ in 0..500 {
                        let empty = |items: &mut Vec<u32>| items.is_empty();
                        filled.wait_while(items.lock().await, empty).await.pop().unwrap();
                    }
                })
            })
            .collect();
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let shared = shared.clone();
                rt.spawn(async move {
                    for n in 0..500 {
                        shared.0.lock().await.push(n);
                        shared.1.notify_one();
                    }
                })
            })
            .collect();
        producers.into_iter().chain(consumers).for_each(|task| rt.block_on(task).unwrap());
        assert!(rt.block_on(shared.0.lock()).is_empty());
    });
}
