//! Awaiting a task gives its output: once, from anywhere, after everything the task did.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::Task;
use runtime_tests::{
    CountingWaker, Counts, Gate, PATIENCE, multi, on_each, promptly, settle, single, until, within,
};

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_task_awaited_before_it_ends_gives_its_value() {
    on_each(|rt| {
        let gate = Gate::new();
        let task = rt.spawn({
            let gate = gate.clone();
            async move {
                gate.pass().await;
                3
            }
        });
        let value = rt.block_on(async {
            let opener = runtime::spawn(async move {
                settle().await;
                gate.open();
            });
            let value = task.await;
            opener.await.unwrap();
            value
        });
        assert_eq!(value.unwrap(), 3);
    });
}

#[test]
fn a_task_awaited_after_it_ended_gives_its_value() {
    on_each(|rt| {
        let mut task = rt.spawn(async { String::from("kept") });
        rt.block_on(task.done());
        assert!(task.is_finished());
        assert_eq!(rt.block_on(task).unwrap(), "kept");
    });
}

#[test]
fn a_task_is_awaited_on_another_runtime() {
    on_each(|rt| {
        let other = multi(1);
        let task = other.spawn(async { 8 });
        assert_eq!(rt.block_on(task).unwrap(), 8);
    });
}

#[test]
fn a_task_is_awaited_by_a_foreign_executor() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (gate, passing) = (Gate::new(), Gate::new());
        let _ = &passing;
        let waiting = gate.clone();
        let mut task = rt.spawn(async move {
            waiting.pass().await;
            9
        });
        let (count, waker) = CountingWaker::new();
        drop(gate.waker());
        assert!(poll(&mut task, &waker).is_pending());
        gate.open();
        until(|| count.wakes() == 1);
        let Poll::Ready(output) = poll(&mut task, &waker) else { panic!("woken without a value") };
        assert_eq!(output.unwrap(), 9);
    });
}

#[test]
fn only_the_waker_of_the_last_poll_is_woken() {
    within(PATIENCE, || {
        let rt = multi(1);
        let gate = Gate::new();
        let waiting = gate.clone();
        let mut task = rt.spawn(async move { waiting.pass().await });
        drop(gate.waker());
        let ((first, old), (second, new)) = (CountingWaker::new(), CountingWaker::new());
        assert!(poll(&mut task, &old).is_pending());
        assert!(poll(&mut task, &new).is_pending());
        drop(old);
        assert_eq!(Arc::strong_count(&first), 1, "the old waker is not kept");
        gate.open();
        until(|| second.wakes() == 1);
        assert_eq!(first.wakes(), 0);
    });
}

#[test]
fn a_handle_that_was_polled_and_dropped_keeps_no_waker() {
    within(PATIENCE, || {
        let rt = multi(1);
        let gate = Gate::new();
        let waiting = gate.clone();
        let mut task = rt.spawn(async move { waiting.pass().await });
        let (count, waker) = CountingWaker::new();
        drop(gate.waker());
        assert!(poll(&mut task, &waker).is_pending());
        drop(task);
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
        gate.open();
    });
}

#[test]
fn an_output_that_is_awaited_is_dropped_once_by_the_awaiter() {
    on_each(|rt| {
        let counts = Counts::new();
        let token = counts.token();
        let output = rt.block_on(rt.spawn(async move { token })).unwrap();
        assert_eq!(counts.drops(), 0);
        drop(output);
        assert_eq!(counts.drops(), 1);
    });
}

#[test]
fn an_output_that_nobody_awaits_is_dropped_once() {
    on_each(|rt| {
        let counts = Counts::new();
        let token = counts.token();
        let mut task = rt.spawn(async move { token });
        rt.block_on(task.done());
        assert_eq!(counts.drops(), 0);
        drop(task);
        assert_eq!(counts.drops(), 1);
        drop(rt);
        assert_eq!(counts.drops(), 1);
    });
}

#[test]
fn the_output_of_a_detached_task_is_dropped_once() {
    on_each(|rt| {
        let counts = Counts::new();
        let (token, gate) = (counts.token(), Gate::new());
        gate.open();
        drop(rt.spawn(async move {
            gate.pass().await;
            token
        }));
        rt.block_on(async {
            settle().await;
            while counts.drops() == 0 {
                runtime_tests::turn().await;
            }
        });
        drop(rt);
        assert_eq!(counts.drops(), 1);
    });
}

#[test]
fn the_future_is_gone_before_the_output_is_there() {
    on_each(|rt| {
        let counts = Counts::new();
        for n in 1..=200 {
            let task = rt.spawn(counts.watch(async {}));
            rt.block_on(task).unwrap();
            assert_eq!(counts.drops(), n);
        }
    });
}

#[test]
fn done_waits_without_taking_the_value() {
    on_each(|rt| {
        let mut task = rt.spawn(async { 4 });
        rt.block_on(async {
            task.done().await;
            task.done().await;
        });
        assert_eq!(rt.block_on(task).unwrap(), 4);
    });
}

#[test]
fn a_foreign_thread_waits_for_a_task() {
    within(PATIENCE, || {
        let rt = multi(1);
        let gate = Gate::new();
        let waiting = gate.clone();
        let task = rt.spawn(async move {
            waiting.pass().await;
            2
        });
        let waiter = thread::spawn(move || task.wait());
        drop(gate.waker());
        gate.open();
        assert_eq!(waiter.join().unwrap().unwrap(), 2);
    });
}

#[test]
fn a_timed_wait_ends_at_its_limit_and_can_be_repeated() {
    within(PATIENCE, || {
        let rt = multi(1);
        let gate = Gate::new();
        let waiting = gate.clone();
        let mut task = rt.spawn(async move { waiting.pass().await });
        promptly(|| assert!(task.wait_timeout(Duration::from_millis(1)).is_none()));
        gate.open();
        assert!(task.wait_timeout(Duration::MAX).unwrap().is_ok());
    });
}

#[test]
fn a_blocking_wait_inside_a_task_panics_with_advice() {
    on_each(|rt| {
        let outer = rt.spawn(async { runtime::spawn(async {}).wait() });
        let text = rt.block_on(outer).unwrap_err().to_string();
        assert!(text.contains("await the task") && text.contains("spawn_blocking"), "{text}");
    });
}

#[test]
fn a_blocking_wait_inside_block_on_panics_with_advice() {
    on_each(|rt| {
        let task = rt.spawn(async {});
        let waiting = AssertUnwindSafe(|| rt.block_on(async move { task.wait() }));
        let payload = catch_unwind(waiting).unwrap_err();
        assert!(payload.downcast_ref::<String>().unwrap().contains("await the task"));
    });
}

#[test]
fn many_blocking_waits_in_one_poll_of_a_task_end() {
    within(PATIENCE, || {
        let rt = multi(2);
        let task = rt.spawn(async {
            runtime::task::block_in_place(|| {
                (0..500).map(|n| runtime::spawn(async move { n }).wait().unwrap()).sum::<i32>()
            })
        });
        assert_eq!(task.wait().unwrap(), (0..500).sum());
    });
}

#[test]
fn a_task_polled_after_its_output_was_taken_panics_with_its_id() {
    on_each(|rt| {
        let mut task = rt.spawn(async {});
        rt.block_on(async { (&mut task).await }).unwrap();
        let id = task.id();
        let again = catch_unwind(AssertUnwindSafe(|| rt.block_on(async { (&mut task).await })));
        let payload = again.unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.contains(&format!("task {id} was polled after")), "{text}");
    });
}

#[test]
fn two_tasks_that_await_each_other_end_with_the_runtime() {
    on_each(|rt| {
        let counts = Counts::new();
        let slots: [Arc<Mutex<Option<Task<()>>>>; 2] = Default::default();
        let gate = [Gate::new(), Gate::new()];
        let waiter = |mine: usize, other: usize| {
            let (slot, gate) = (slots[other].clone(), gate[mine].clone());
            rt.spawn(counts.watch(async move {
                gate.pass().await;
                let task = slot.lock().take().unwrap();
                let _ = task.await;
            }))
        };
        let (left, right) = (waiter(0, 1), waiter(1, 0));
        *slots[0].lock() = Some(left);
        *slots[1].lock() = Some(right);
        gate.iter().for_each(Gate::open);
        rt.block_on(settle());
        promptly(|| drop(rt));
        assert_eq!(counts.drops(), 2);
    });
}

#[test]
fn a_forgotten_handle_only_leaks() {
    on_each(|rt| {
        let counts = Counts::new();
        std::mem::forget(rt.spawn(counts.watch(async {})));
        rt.block_on(async {
            while counts.drops() == 0 {
                runtime_tests::turn().await;
            }
        });
        promptly(|| drop(rt));
    });
}

#[test]
#[expect(clippy::async_yields_async, reason = "handles of handles are what is tested")]
fn a_value_is_awaited_through_a_stack_of_handles() {
    within(PATIENCE, || {
        let rt = single();
        let outer = rt.spawn(async { runtime::spawn(async { runtime::spawn(async { 1 }) }) });
        let value = rt.block_on(async { outer.await.unwrap().await.unwrap().await });
        assert_eq!(value.unwrap(), 1);
    });
}
