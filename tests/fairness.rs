//! Every runnable task has its turn within a number of polls that can be stated.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;

use runtime::Runtime;
use runtime::task::{coop, yield_now};
use runtime_tests::{Counts, Gate, PATIENCE, settle, single, within};

/// Workers without a monitor: if the system does not run a worker's thread for a while, it looks stuck, and its tasks are
/// moved to others. Turns are counted here as one worker gives them.
fn unwatched(workers: usize) -> Runtime {
    Runtime::builder().worker_threads(workers).monitor(false).build().unwrap()
}

/// Two tasks that wake each other for ever; polls of either are counted.
fn ping_pong(rt: &Runtime, polls: &Counts) {
    let (left, right) = (Ball::default(), Ball::default());
    drop(rt.spawn(polls.watch(play(left.clone(), right.clone()))));
    drop(rt.spawn(polls.watch(play(right, left.clone()))));
    left.serve();
}

/// A gate that closes behind whoever passes.
#[derive(Clone, Default)]
struct Ball(Arc<(AtomicBool, parking_lot::Mutex<Option<std::task::Waker>>)>);

impl Ball {
    fn serve(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        let waker = self.0.1.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn catch(&self) {
        std::future::poll_fn(|cx| {
            *self.0.1.lock() = Some(cx.waker().clone());
            if self.0.0.swap(false, Ordering::SeqCst) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

async fn play(mine: Ball, other: Ball) {
    loop {
        mine.catch().await;
        other.serve();
    }
}

/// At most so many polls of others between two polls of a task that is always runnable: one round of the queue, the
/// next slot's three in a row, and what the injector adds.
const BOUND: usize = 32;

#[test]
fn a_victim_beside_a_ping_pong_pair_is_polled_within_a_bound() {
    within(PATIENCE, || {
        for rt in [single(), unwatched(1)] {
            let hog = Counts::new();
            ping_pong(&rt, &hog);
            let watched = hog.clone();
            let victim = rt.spawn(async move {
                let mut worst = 0;
                for _ in 0..1_000 {
                    let before = watched.polls();
                    yield_now().await;
                    worst = worst.max(watched.polls() - before);
                }
                worst
            });
            let worst = rt.block_on(victim).unwrap();
            assert!(worst <= BOUND, "{worst} polls of the pair between two of the victim");
        }
    });
}

#[test]
fn a_task_injected_under_full_local_load_is_polled_within_a_bound() {
    /// Tasks that are always runnable.
    const LOAD: usize = 10;
    /// A worker looks at the injector at every eighth pick: `HOUSEKEEPING` of the scheduler.
    const PICKS: usize = 8;
    within(PATIENCE, || {
        let rt = unwatched(1);
        let load = Counts::new();
        let (hold, meeting) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
        for _ in 0..LOAD {
            let (hold, meeting) = (hold.clone(), meeting.clone());
            drop(rt.spawn(load.watch(async move {
                loop {
                    if hold.swap(false, Ordering::SeqCst) {
                        // It begins to stand still, and goes on.
                        meeting.wait();
                        meeting.wait();
                    }
                    yield_now().await;
                }
            })));
        }
        // Each round stops the worker somewhere else between two looks.
        for _ in 0..50 {
            let (woken, woken_at) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
            let (waiting, before, watched) = (woken.clone(), woken_at.clone(), load.clone());
            // The task itself says how many polls went by since it was woken from this thread.
            let task = rt.spawn(async move {
                waiting.pass().await;
                watched.polls() - before.load(Ordering::SeqCst)
            });
            drop(woken.waker());
            hold.store(true, Ordering::SeqCst);
            meeting.wait();
            // The only worker is in the poll of another task: nothing is polled between the count and the wake.
            woken_at.store(load.polls(), Ordering::SeqCst);
            woken.open();
            meeting.wait();
            let between = task.wait().unwrap();
            // Fewer than eight until the look, which puts the task behind the others; then each of those once.
            assert!(between < PICKS + LOAD, "{between}");
        }
    });
}

#[test]
fn a_task_woken_from_outside_waits_for_a_bounded_number_of_polls() {
    within(PATIENCE, || {
        // One thread: what is injected and what is polled are in a known order.
        let rt = single();
        let load = Counts::new();
        for _ in 0..4 {
            drop(rt.spawn(load.watch(async {
                loop {
                    yield_now().await;
                }
            })));
        }
        let (gate, watched) = (Gate::new(), load.clone());
        let passing = gate.clone();
        let waiting = rt.spawn(async move {
            passing.pass().await;
            watched.polls()
        });
        let before = rt.block_on(async {
            runtime::spawn(async move {
                settle().await;
                // Inside a poll of the worker: nothing runs between the count and the wake by the other thread.
                let before = load.polls();
                thread::spawn(move || gate.open()).join().unwrap();
                before
            })
            .await
            .unwrap()
        });
        let after = rt.block_on(waiting).unwrap();
        assert!(after - before <= BOUND, "{} polls", after - before);
    });
}

#[test]
fn tasks_that_yield_have_turns_in_equal_numbers() {
    within(PATIENCE, || {
        for rt in [single(), unwatched(1)] {
            let counts: Vec<_> = (0..8).map(|_| Counts::new()).collect();
            let watched = counts.clone();
            // One poll spawns them all, and there is one worker: they start together.
            rt.block_on(rt.spawn(async move {
                for counts in &watched {
                    drop(runtime::spawn(counts.watch(async {
                        loop {
                            yield_now().await;
                        }
                    })));
                }
                for _ in 0..500 {
                    yield_now().await;
                }
                // Counted in a poll, while nobody else is polled.
                let polls: Vec<_> = watched.iter().map(Counts::polls).collect();
                let (least, most) = (polls.iter().min().unwrap(), polls.iter().max().unwrap());
                assert!(most - least <= BOUND, "{polls:?}");
            }))
            .unwrap();
        }
    });
}

#[test]
fn a_task_that_spawns_without_end_does_not_keep_the_others_from_running() {
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        let watched = counts.clone();
        drop(rt.spawn(async move {
            loop {
                drop(runtime::spawn(watched.watch(async {})));
                yield_now().await;
            }
        }));
        let victim = rt.spawn(async {
            for _ in 0..100 {
                yield_now().await;
            }
        });
        rt.block_on(victim).unwrap();
        assert!(counts.polls() <= 100 * BOUND);
    });
}

#[test]
fn a_task_that_never_waits_gives_way_when_its_budget_is_used_up() {
    within(PATIENCE, || {
        let rt = single();
        let polls = Counts::new();
        let hog = rt.spawn(polls.watch(async {
            loop {
                runtime::task::coop::consume_budget().await;
            }
        }));
        rt.block_on(rt.spawn(async { yield_now().await })).unwrap();
        assert!(polls.polls() > 0);
        hog.cancel();
    });
}

#[test]
fn the_root_of_block_on_has_its_turn_under_full_load() {
    within(PATIENCE, || {
        for rt in [single(), unwatched(1), unwatched(2)] {
            let load = Counts::new();
            for _ in 0..8 {
                drop(rt.spawn(load.watch(async {
                    loop {
                        yield_now().await;
                    }
                })));
            }
            rt.block_on(async {
                for _ in 0..200 {
                    yield_now().await;
                }
            });
        }
    });
}

#[test]
fn a_unit_that_outlives_its_poll_brings_no_budget_where_there_is_none() {
    within(PATIENCE, || {
        let unit = runtime::block_on(std::future::poll_fn(coop::poll_proceed));
        drop(unit);
        for _ in 0..1_000 {
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(unit) = coop::poll_proceed(&mut cx) else { panic!("stopped for want of budget") };
            unit.made_progress();
        }
    });
}
