//! Spawning runs the coroutine, from anywhere, whatever its shape.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll};
use std::thread;

use runtime::Runtime;
use runtime::task::yield_now;
use runtime_tests::{Counts, Gate, PATIENCE, child, is_child, multi, on_each, single, until, within};

#[test]
fn a_spawned_task_runs_without_being_awaited() {
    within(PATIENCE, || {
        let (sender, receiver) = mpsc::channel();
        let rt = multi(1);
        drop(rt.spawn(async move { sender.send(7).unwrap() }));
        assert_eq!(receiver.recv(), Ok(7));
    });
}

#[test]
fn spawn_never_polls_in_the_caller() {
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        rt.block_on(async {
            let task = runtime::spawn(counts.watch(async {}));
            assert_eq!(counts.polls(), 0);
            task.await.unwrap();
        });
        assert_eq!(counts.polls(), 1);
    });
}

#[test]
fn dropping_the_handle_detaches() {
    on_each(|rt| {
        let (gate, counts) = (Gate::new(), Counts::new());
        let passed = Arc::new(AtomicBool::new(false));
        drop(rt.spawn(counts.watch({
            let (gate, passed) = (gate.clone(), passed.clone());
            async move {
                gate.pass().await;
                passed.store(true, Ordering::SeqCst);
            }
        })));
        rt.block_on(async {
            until_yielding(|| counts.polls() == 1).await;
            gate.open();
            until_yielding(|| counts.drops() == 1).await;
        });
        assert!(passed.load(Ordering::SeqCst));
    });
}

async fn until_yielding(mut fact: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !fact() {
        assert!(begin.elapsed() < PATIENCE, "hangs");
        runtime_tests::turn().await;
    }
}

#[test]
fn every_task_spawned_from_four_threads_runs_once() {
    within(PATIENCE, || {
        const EACH: usize = 2_000;
        let rt = Arc::new(multi(2));
        let ran = Arc::new(AtomicUsize::new(0));
        let spawner = || {
            let (rt, ran) = (rt.clone(), ran.clone());
            thread::spawn(move || {
                let count = |n| {
                    let ran = ran.clone();
                    rt.spawn(async move { ran.fetch_add(n, Ordering::SeqCst) })
                };
                let tasks: Vec<_> = (0..EACH).map(|_| count(1)).collect();
                tasks.into_iter().for_each(|task| assert!(task.wait().is_ok()));
            })
        };
        let spawners = [spawner(), spawner(), spawner(), spawner()];
        spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
        assert_eq!(ran.load(Ordering::SeqCst), 4 * EACH);
    });
}

#[test]
fn every_task_spawned_by_tasks_runs_once() {
    on_each(|rt| {
        fn tree(depth: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
            Box::pin(async move {
                if depth == 0 {
                    return 1;
                }
                let (left, right) = (runtime::spawn(tree(depth - 1)), runtime::spawn(tree(depth - 1)));
                left.await.unwrap() + right.await.unwrap()
            })
        }
        assert_eq!(rt.block_on(tree(11)), 1 << 11);
    });
}

#[test]
fn tasks_spawned_from_blocking_threads_run() {
    within(PATIENCE, || {
        let rt = multi(2);
        let job = || runtime::spawn(async { 1 }).wait().unwrap();
        let jobs: Vec<_> = (0..50).map(|_| rt.spawn_blocking(job)).collect();
        assert_eq!(jobs.into_iter().map(|job| job.wait().unwrap()).sum::<i32>(), 50);
    });
}

#[test]
fn a_task_on_the_runtime_knows_its_id() {
    on_each(|rt| {
        let task = rt.spawn(async { runtime::task::current() });
        let id = task.id();
        assert_eq!(rt.block_on(task).unwrap(), Some(id));
        assert_eq!(runtime::task::current(), None);
    });
}

#[test]
fn ids_of_tasks_are_unique() {
    within(PATIENCE, || {
        let rt = multi(2);
        let spawn = || rt.spawn(async {}).id();
        let ids: HashSet<_> = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| [(); 500].map(|()| spawn())));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 2_000);
    });
}

#[test]
#[expect(clippy::async_yields_async, reason = "the handle itself is looked at")]
fn a_named_task_has_its_name() {
    on_each(|rt| {
        let task = rt.block_on(async { runtime::task::Builder::new().name("crawler").spawn(async {}) });
        assert_eq!(task.name(), Some("crawler"));
        assert_eq!(rt.spawn(async {}).name(), None);
    });
}

#[test]
fn what_came_before_spawn_is_visible_to_the_task() {
    within(PATIENCE, || {
        let rt = multi(2);
        for n in 0..1_000 {
            let data = Arc::new(AtomicUsize::new(0));
            data.store(n, Ordering::Relaxed);
            let seen = data.clone();
            let task = rt.spawn(async move {
                let seen_by_task = seen.load(Ordering::Relaxed);
                seen.store(n + 1, Ordering::Relaxed);
                seen_by_task
            });
            assert_eq!(task.wait().unwrap(), n);
            assert_eq!(data.load(Ordering::Relaxed), n + 1);
        }
    });
}

#[test]
fn two_workers_poll_two_tasks_at_the_same_time() {
    within(PATIENCE, || {
        let rt = multi(2);
        let both = Arc::new(Barrier::new(2));
        let meet = |both: Arc<Barrier>| rt.spawn(async move { both.wait().is_leader() });
        let tasks = [meet(both.clone()), meet(both)];
        let leaders = tasks.into_iter().filter_map(|task| task.wait().unwrap().then_some(())).count();
        assert_eq!(leaders, 1);
    });
}

// --- shapes of futures ---

#[test]
fn a_future_without_size_runs() {
    struct Nothing;
    impl Future for Nothing {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }
    on_each(|rt| {
        assert_eq!(size_of::<Nothing>(), 0);
        rt.block_on(rt.spawn(Nothing)).unwrap();
    });
}

/// A future that checks its own address at each poll.
#[repr(C)]
struct Aligned<A> {
    align: A,
    polls: u8,
}

impl<A: Unpin> Future for Aligned<A> {
    type Output = usize;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        self.polls += 1;
        if self.polls < 3 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready((&raw const self.align).addr())
    }
}

#[repr(align(64))]
struct Line;
#[repr(align(4096))]
struct Page;

#[test]
fn the_alignment_of_a_future_is_kept() {
    on_each(|rt| {
        let line = rt.spawn(Aligned { align: Line, polls: 0 });
        let page = rt.spawn(Aligned { align: Page, polls: 0 });
        assert_eq!(rt.block_on(line).unwrap() % 64, 0);
        assert_eq!(rt.block_on(page).unwrap() % 4096, 0);
    });
}

#[test]
fn the_alignment_of_an_output_is_kept() {
    on_each(|rt| {
        let task = rt.spawn(async { Box::new(Page) });
        assert_eq!((&raw const *rt.block_on(task).unwrap()).addr() % 4096, 0);
        let task = rt.spawn(async { Page });
        let page = rt.block_on(task).unwrap();
        assert_eq!((&raw const page).addr() % 4096, 0);
    });
}

/// A megabyte in a future, passed by pointer from the moment it is made.
struct Large(Pin<Box<dyn Future<Output = u8> + Send>>);

impl Future for Large {
    type Output = u8;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u8> {
        self.0.as_mut().poll(cx)
    }
}

#[test]
fn a_task_of_a_megabyte_is_polled_on_small_stacks() {
    // A stack that overflows takes its process with it.
    if !is_child() {
        let output = child("spawn::a_task_of_a_megabyte_is_polled_on_small_stacks", &[]);
        runtime_tests::assert_passed(&output);
        return;
    }
    within(PATIENCE, || {
        let rt =
            Runtime::builder().worker_threads(1).thread_stack_size(256 << 10).build().expect("a runtime");
        // The spawning thread has room for the copies that an unoptimized build makes; the workers have not, and
        // poll, move and drop the future where it lies.
        let spawner = thread::Builder::new().stack_size(32 << 20);
        let spawner = spawner.spawn(move || {
            let room = [1_u8; 1 << 20];
            let task = rt.spawn(async move {
                yield_now().await;
                room[room.len() - 1]
            });
            task.wait().unwrap()
        });
        assert_eq!(spawner.unwrap().join().unwrap(), 1);
    });
}

#[test]
fn a_boxed_future_of_eight_megabytes_runs_and_is_cancelled() {
    within(PATIENCE, || {
        let spawner = thread::Builder::new().stack_size(64 << 20);
        let spawner = spawner.spawn(|| {
            let large = |gate: Gate| {
                let room = [1_u8; 8 << 20];
                Large(Box::pin(async move {
                    gate.pass().await;
                    room[room.len() - 1]
                }))
            };
            let rt = Runtime::builder().worker_threads(1).thread_stack_size(256 << 10).build().unwrap();
            let (open, closed) = (Gate::new(), Gate::new());
            open.open();
            assert_eq!(rt.spawn(large(open)).wait().unwrap(), 1);
            let task = rt.spawn(large(closed.clone()));
            drop(closed.waker());
            task.cancel();
            assert!(task.wait().unwrap_err().is_cancelled());
        });
        spawner.unwrap().join().unwrap();
    });
}

#[test]
fn a_hundred_thousand_tasks_each_owning_the_next_ones_handle_are_dropped_without_deep_stacks() {
    on_each(|rt| {
        let counts = Counts::new();
        let mut next = None;
        for _ in 0..100_000 {
            let (token, owned) = (counts.token(), next.take());
            next = Some(rt.spawn(async move {
                let _both = (token, owned);
                std::future::pending::<()>().await;
            }));
        }
        drop(next);
        drop(rt);
        assert_eq!(counts.drops(), 100_000);
    });
}

#[test]
fn a_chain_of_a_hundred_thousand_tasks_that_cancel_each_other_ends() {
    on_each(|rt| {
        let counts = Counts::new();
        let mut next = None;
        for _ in 0..100_000 {
            let (token, owned) = (counts.token(), next.take());
            let task = rt.spawn(async move {
                let _both = (token, owned);
                std::future::pending::<()>().await;
            });
            next = Some(task.abort_on_drop());
        }
        drop(next);
        rt.block_on(until_yielding(|| counts.drops() == 100_000));
    });
}

#[test]
fn a_hundred_thousand_handles_dropped_at_once_leave_every_task_running() {
    within(PATIENCE, || {
        let rt = multi(2);
        let counts = Counts::new();
        let tasks: Vec<_> = (0..100_000)
            .map(|_| {
                let token = counts.token();
                rt.spawn(async move { drop(token) })
            })
            .collect();
        drop(tasks);
        until(|| counts.drops() == 100_000);
    });
}

/// Another task is in the middle of its poll on the same thread.
#[test]
fn a_destructor_knows_the_id_of_its_own_task() {
    struct Notes(mpsc::Sender<Option<runtime::task::TaskId>>);
    impl Drop for Notes {
        fn drop(&mut self) {
            let _ = self.0.send(runtime::task::current());
        }
    }

    within(PATIENCE, || {
        let rt = single();
        let (noted, notes) = mpsc::channel();
        let task = rt.spawn(async move {
            let last = Notes(noted);
            let other = runtime::spawn(async move {
                let _last = last;
                std::future::pending::<()>().await;
            });
            yield_now().await;
            let id = other.id();
            other.cancel();
            assert!(runtime::block_on(other).is_err());
            id
        });
        let id = rt.block_on(task).unwrap();
        assert_eq!(notes.recv().unwrap(), Some(id));
    });
}
