//! The pitfalls of cancelling, timing out and gathering that other runtimes have, each as a test. All that cancels
//! asserts how long it took, on a clock that moves only when nothing else can be done.

use std::future::pending;
use std::time::Duration;

use runtime::time::{now, sleep, timeout};
use runtime::{Runtime, Task, When, gather, gather_all, map_concurrent, spawn, wait, wait_for};
use runtime_tests::{Counts, PATIENCE, Token, on_each_paused, settle, within};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Waits as long as `limit` on the system's clock in its destructor, and then counts.
struct Slow(Option<Token>);

impl Drop for Slow {
    fn drop(&mut self) {
        std::thread::sleep(20 * MS);
        drop(self.0.take());
    }
}

/// A future that never ends and has a slow destructor, which `counts` counts when it is over.
async fn stuck(counts: Counts) {
    let _slow = Slow(Some(counts.token()));
    pending().await
}

#[test]
fn p13_cancel_keeps_a_value_that_finished_first() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let mut task = spawn(async { 5 });
            task.done().await;
            assert!(!task.cancel());
            assert_eq!(task.cancel_and_wait().await.unwrap(), 5);
        });
    });
}

#[test]
fn p13_a_cancelled_result_appears_only_after_a_slow_destructor_ran() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (counts, begin) = (Counts::new(), now());
            let task = spawn(stuck(counts.clone()));
            settle().await;
            assert!(task.cancel_and_wait().await.unwrap_err().is_cancelled());
            assert_eq!((counts.drops(), now() - begin), (1, Duration::ZERO));
        });
    });
}

#[test]
fn p14_a_ready_value_beats_the_timeout() {
    on_each_paused(|rt| {
        rt.block_on(async {
            assert_eq!(timeout(Duration::ZERO, async { 7 }).await.unwrap(), 7);
            let begin = now();
            timeout(SECOND, sleep(SECOND)).await.unwrap();
            assert_eq!(now() - begin, SECOND);
        });
    });
}

#[test]
fn p14_a_cancel_from_outside_is_never_swallowed_by_a_timeout() {
    on_each_paused(|rt| {
        rt.block_on(async {
            for offset in 0..200_u32 {
                let begin = now();
                let task = spawn(async {
                    // A timeout that took the cancel for its own would let the task go on.
                    let _ = timeout(100 * MS, pending::<()>()).await;
                    pending::<()>().await
                });
                sleep(offset * MS).await;
                assert!(task.cancel());
                assert!(task.await.unwrap_err().is_cancelled());
                assert_eq!(now() - begin, offset * MS);
            }
        });
    });
}

#[test]
fn p14_a_cancel_from_outside_is_never_swallowed_by_wait_for() {
    on_each_paused(|rt| {
        rt.block_on(async {
            for offset in 0..200_u32 {
                let (begin, counts) = (now(), Counts::new());
                let inner = counts.watch(pending::<()>());
                let task = spawn(async move {
                    let _ = wait_for(100 * MS, spawn(inner)).await;
                    pending::<()>().await
                });
                sleep(offset * MS).await;
                assert!(task.cancel());
                assert!(task.await.unwrap_err().is_cancelled());
                while counts.drops() == 0 {
                    runtime::task::yield_now().await;
                }
                assert_eq!(now() - begin, offset * MS);
            }
        });
    });
}

#[test]
fn p15_wait_for_cancels_at_the_deadline_and_waits_for_the_destructors() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (counts, begin) = (Counts::new(), now());
            let error = wait_for(SECOND, spawn(stuck(counts.clone()))).await.unwrap_err();
            assert!(error.is_timeout());
            assert_eq!((counts.drops(), now() - begin), (1, SECOND));
        });
    });
}

#[test]
fn p15_wait_for_gives_a_value_that_is_there_at_the_deadline() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let mut task = spawn(async { 7 });
            task.done().await;
            assert_eq!(wait_for(Duration::ZERO, task).await.unwrap(), 7);
            let begin = now();
            let task = spawn(async { sleep(SECOND - MS).await });
            wait_for(SECOND, task).await.unwrap();
            assert_eq!(now() - begin, SECOND - MS);
        });
    });
}

#[test]
fn p15_wait_for_tells_its_own_cancel_from_somebody_elses() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = now();
            let task = spawn(pending::<()>());
            let handle = task.abort_handle();
            let waiting = spawn(wait_for(Duration::MAX, task));
            settle().await;
            handle.cancel();
            assert!(waiting.await.unwrap().unwrap_err().is_cancelled());
            let failing = spawn(async { panic!("boom") });
            assert!(wait_for(SECOND, failing).await.unwrap_err().is_panic());
            assert_eq!(now(), begin);
        });
    });
}

/// A task that is in the middle of a poll when the deadline passes keeps what that poll returns.
#[test]
fn p15_a_value_that_comes_after_the_deadline_is_kept() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).build().expect("a runtime");
        let (asked, is_asked) = std::sync::mpsc::channel();
        let (started, has_started) = std::sync::mpsc::channel();
        let task = rt.spawn(async move {
            started.send(()).unwrap();
            is_asked.recv().unwrap();
            9
        });
        has_started.recv().unwrap();
        let mut waiting = Box::pin(wait_for(Duration::ZERO, task));
        // This poll asks the task to stop, and the task is in the middle of its own.
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        asked.send(()).unwrap();
        assert_eq!(rt.block_on(waiting).unwrap(), 9);
    });
}

#[test]
fn p16_when_gather_fails_no_sibling_is_alive() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (counts, begin) = (Counts::new(), now());
            let mut tasks: Vec<Task<()>> = (0..4).map(|_| spawn(stuck(counts.clone()))).collect();
            tasks.push(spawn(async {
                sleep(SECOND).await;
                panic!("boom")
            }));
            assert!(gather_all(tasks).await.unwrap_err().is_panic());
            assert_eq!((counts.drops(), now() - begin), (4, SECOND));

            let (counts, begin) = (Counts::new(), now());
            let fails = async {
                sleep(SECOND).await;
                panic!("boom")
            };
            let gathered = gather!(stuck(counts.clone()), fails, stuck(counts.clone())).await;
            assert!(gathered.map(|((), (), ())| ()).unwrap_err().is_panic());
            assert_eq!((counts.drops(), now() - begin), (2, SECOND));
        });
    });
}

fn sleepers(lengths: &[u32]) -> Vec<Task<u32>> {
    let sleeper = |length: u32| async move {
        sleep(length * SECOND).await;
        length
    };
    lengths.iter().map(|length| spawn(sleeper(*length))).collect()
}

async fn outputs(tasks: Vec<Task<u32>>) -> Vec<u32> {
    gather_all(tasks).await.unwrap()
}

#[test]
fn p17_wait_modes_lose_nothing() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (mut tasks, begin) = (sleepers(&[3, 1, 2, 5]), now());
            let ended = wait(&mut tasks, When::FirstCompleted, None).await;
            assert_eq!((outputs(ended).await, now() - begin), (vec![1], SECOND));

            assert!(wait(&mut tasks, When::All, Some(SECOND / 2)).await.is_empty());
            assert_eq!((tasks.len(), now() - begin), (3, SECOND + SECOND / 2));

            let ended = wait(&mut tasks, When::All, Some(2 * SECOND)).await;
            assert_eq!((outputs(ended).await, tasks.len()), (vec![3, 2], 1));

            // A wait that is given up in the middle.
            let given_up = timeout(SECOND, wait(&mut tasks, When::All, None)).await;
            assert!(given_up.is_err() && tasks.len() == 1);

            let ended = wait(&mut tasks, When::FirstError, None).await;
            assert_eq!((outputs(ended).await, now() - begin), (vec![5], 5 * SECOND));
        });
    });
}

#[test]
fn p17_first_error_returns_at_the_failure_and_keeps_the_rest() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (mut tasks, begin) = (sleepers(&[1, 3]), now());
            tasks.push(spawn(async {
                sleep(2 * SECOND).await;
                panic!("boom")
            }));
            let ended = wait(&mut tasks, When::FirstError, None).await;
            assert_eq!((ended.len(), tasks.len(), now() - begin), (2, 1, 2 * SECOND));
            assert_eq!(outputs(tasks).await, [3]);
        });
    });
}

#[test]
fn s01_coroutine_task_future_waiting_and_gathering() {
    async fn foo(n: u32) -> String {
        sleep(n * MS).await;
        format!("foo {n}")
    }
    on_each_paused(|rt| {
        rt.block_on(async {
            let coroutine = foo(0);
            let task = spawn(foo(1));
            let (promise, future) = runtime::Promise::<String>::new();
            promise.set_result("HELLO".into()).unwrap();
            assert_eq!(coroutine.await, "foo 0");
            assert_eq!(task.await.unwrap(), "foo 1");
            assert_eq!(future.await.unwrap(), "HELLO");

            let mut tasks: Vec<_> = (0..5).map(|n| spawn(foo(n))).collect();
            assert_eq!(wait(&mut tasks, When::All, None).await.len(), 5);
            let texts = gather_all((0..5).map(|n| spawn(foo(n)))).await.unwrap();
            assert_eq!(texts[4], "foo 4");
            assert_eq!(gather!(foo(7), async { 1_u8 }).await.unwrap(), ("foo 7".to_owned(), 1));
        });
    });
}

#[test]
fn s04_a_thousand_calls_take_as_long_as_their_limit_says() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = now();
            let results = map_concurrent(0..1_000, 50, |n| async move {
                sleep(SECOND).await;
                n
            });
            assert_eq!(results.await.len(), 1_000);
            assert_eq!(now() - begin, 20 * SECOND);
        });
    });
}
