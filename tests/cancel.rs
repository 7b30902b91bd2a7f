//! A cancelled task is dropped where it stands, on a thread of the runtime, and its handle resolves afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;
use runtime::{AbortHandle, Task};
use runtime_tests::{Counts, Gate, PATIENCE, multi, on_each, promptly, settle, single, until, within};

/// A task that waits for ever, and what was counted of it.
fn idle(rt: &runtime::Runtime, counts: &Counts) -> Task<()> {
    let gate = Gate::new();
    let task = rt.spawn(counts.watch({
        let gate = gate.clone();
        async move { gate.pass().await }
    }));
    rt.block_on(async {
        while counts.polls() == 0 {
            runtime_tests::turn().await;
        }
    });
    task
}

#[test]
fn an_idle_task_is_dropped_without_another_poll() {
    on_each(|rt| {
        let counts = Counts::new();
        let task = idle(&rt, &counts);
        assert!(task.cancel());
        let error = promptly(|| rt.block_on(task)).unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!((counts.polls(), counts.drops()), (1, 1));
    });
}

#[test]
fn a_task_that_was_never_polled_is_dropped_without_a_poll() {
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        let task = rt.spawn(counts.watch(async {}));
        assert!(task.cancel());
        assert!(rt.block_on(task).unwrap_err().is_cancelled());
        assert_eq!((counts.polls(), counts.drops()), (0, 1));
    });
}

#[test]
fn a_task_that_was_woken_and_waits_in_a_queue_is_dropped_without_another_poll() {
    within(PATIENCE, || {
        let rt = single();
        let (counts, gate) = (Counts::new(), Gate::new());
        let passing = gate.clone();
        let task = rt.spawn(counts.watch(async move { passing.pass().await }));
        rt.block_on(async {
            settle().await;
            gate.open();
            assert!(task.cancel());
            assert!(task.await.unwrap_err().is_cancelled());
        });
        assert_eq!((counts.polls(), counts.drops()), (1, 1));
    });
}

#[test]
fn a_running_task_is_dropped_when_its_poll_returns_pending() {
    within(PATIENCE, || {
        let rt = multi(1);
        let counts = Counts::new();
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let task = rt.spawn(counts.watch(async move {
            entered.send(()).unwrap();
            may_go_on.lock().recv().unwrap();
            std::future::pending::<()>().await;
        }));
        begun.recv().unwrap();
        assert!(task.cancel());
        assert!(!task.is_finished());
        assert_eq!(counts.drops(), 0, "it is not dropped under its own poll");
        proceed.send(()).unwrap();
        assert!(promptly(|| task.wait()).unwrap_err().is_cancelled());
        assert_eq!((counts.polls(), counts.drops()), (1, 1));
    });
}

#[test]
fn a_running_task_that_returns_ready_keeps_its_value() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let task = rt.spawn(async move {
            entered.send(()).unwrap();
            may_go_on.lock().recv().unwrap();
            11
        });
        begun.recv().unwrap();
        assert!(task.cancel());
        proceed.send(()).unwrap();
        assert_eq!(task.wait().unwrap(), 11);
    });
}

#[test]
fn a_task_that_finished_keeps_its_value() {
    on_each(|rt| {
        let mut task = rt.spawn(async { 5 });
        rt.block_on(task.done());
        assert!(!task.cancel());
        assert_eq!(rt.block_on(task.cancel_and_wait()).unwrap(), 5);
    });
}

#[test]
fn cancelling_twice_changes_nothing() {
    on_each(|rt| {
        let counts = Counts::new();
        let task = idle(&rt, &counts);
        assert!(task.cancel());
        task.cancel();
        assert!(rt.block_on(task).unwrap_err().is_cancelled());
        assert_eq!(counts.drops(), 1);
    });
}

#[test]
fn a_task_that_yields_all_the_time_is_cancelled() {
    on_each(|rt| {
        let counts = Counts::new();
        let task = rt.spawn(counts.watch(async {
            loop {
                runtime::task::yield_now().await;
            }
        }));
        rt.block_on(async {
            while counts.polls() < 10 {
                runtime_tests::turn().await;
            }
            assert!(task.cancel_and_wait().await.unwrap_err().is_cancelled());
        });
        assert_eq!(counts.drops(), 1);
    });
}

#[test]
fn a_cancellation_cannot_be_swallowed() {
    on_each(|rt| {
        // A future that never gives up: it catches what it awaits and waits again.
        let counts = Counts::new();
        let task = rt.spawn(counts.watch(async {
            loop {
                let _ = runtime::spawn(std::future::pending::<()>()).abort_on_drop().await;
            }
        }));
        rt.block_on(async {
            settle().await;
            assert!(task.cancel_and_wait().await.unwrap_err().is_cancelled());
        });
        assert_eq!(counts.drops(), 1);
    });
}

/// Blocks in its destructor until it may go on, and says where it was dropped.
struct Slow {
    may_go_on: Mutex<mpsc::Receiver<()>>,
    dropping: mpsc::Sender<ThreadId>,
    gone: Arc<AtomicBool>,
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.dropping.send(thread::current().id()).unwrap();
        self.may_go_on.lock().recv().unwrap();
        self.gone.store(true, Ordering::SeqCst);
    }
}

#[test]
fn the_handle_resolves_only_after_the_destructors() {
    within(PATIENCE, || {
        let rt = multi(2);
        let (proceed, may_go_on) = mpsc::channel();
        let (dropping, dropped_by) = mpsc::channel();
        let gone = Arc::new(AtomicBool::new(false));
        let slow = Slow { may_go_on: Mutex::new(may_go_on), dropping, gone: gone.clone() };
        let gate = Gate::new();
        let waiting = gate.clone();
        let task = rt.spawn(async move {
            let _slow = slow;
            waiting.pass().await;
        });
        drop(gate.waker());
        task.cancel();
        let dropper = dropped_by.recv().unwrap();
        assert_ne!(dropper, thread::current().id(), "the canceller does not run destructors");
        assert!(!task.is_finished());
        let joiner = thread::spawn(move || (task.wait().is_err(), gone.load(Ordering::SeqCst)));
        proceed.send(()).unwrap();
        assert_eq!(joiner.join().unwrap(), (true, true));
    });
}

#[test]
fn a_value_is_not_there_before_the_destructors_of_the_future_ran() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (proceed, may_go_on) = mpsc::channel();
        let (dropping, dropped_by) = mpsc::channel();
        let slow = Slow { may_go_on: Mutex::new(may_go_on), dropping, gone: Arc::default() };
        let task = rt.spawn(async move {
            let _slow = slow;
        });
        dropped_by.recv().unwrap();
        assert!(!task.is_finished());
        proceed.send(()).unwrap();
        task.wait().unwrap();
    });
}

#[test]
fn a_task_may_cancel_itself() {
    on_each(|rt| {
        let own: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
        let (gate, counts) = (Gate::new(), Counts::new());
        let task = rt.spawn(counts.watch({
            let (own, gate) = (own.clone(), gate.clone());
            async move {
                gate.pass().await;
                assert!(own.lock().as_ref().unwrap().cancel());
                runtime::task::yield_now().await;
                unreachable!("it was cancelled");
            }
        }));
        *own.lock() = Some(task.abort_handle());
        gate.open();
        assert!(promptly(|| rt.block_on(task)).unwrap_err().is_cancelled());
        assert_eq!(counts.drops(), 1);
    });
}

#[test]
fn a_task_may_be_cancelled_in_its_own_destructor() {
    struct CancelOnDrop(Arc<Mutex<Option<AbortHandle>>>);
    impl Drop for CancelOnDrop {
        fn drop(&mut self) {
            let handle = self.0.lock().take().unwrap();
            handle.cancel();
            assert!(!handle.is_finished());
        }
    }
    on_each(|rt| {
        let own: Arc<Mutex<Option<AbortHandle>>> = Arc::default();
        let (gate, bomb) = (Gate::new(), CancelOnDrop(own.clone()));
        let task = rt.spawn({
            let gate = gate.clone();
            async move {
                let _bomb = bomb;
                gate.pass().await;
                6
            }
        });
        *own.lock() = Some(task.abort_handle());
        gate.open();
        assert_eq!(rt.block_on(task).unwrap(), 6);
    });
}

#[test]
fn an_abort_handle_works_after_the_handle_was_dropped() {
    on_each(|rt| {
        let counts = Counts::new();
        let task = idle(&rt, &counts);
        let (abort, id) = (task.abort_handle(), task.id());
        drop(task);
        assert_eq!(abort.id(), id);
        assert!(abort.clone().cancel());
        promptly(|| {
            rt.block_on(async {
                while !abort.is_finished() {
                    runtime_tests::turn().await;
                }
            });
        });
        assert_eq!((counts.polls(), counts.drops()), (1, 1));
        assert!(!abort.cancel());
    });
}

#[test]
fn an_abort_handle_works_after_the_runtime_is_gone() {
    on_each(|rt| {
        let counts = Counts::new();
        let task = idle(&rt, &counts);
        let abort = task.abort_handle();
        drop(rt);
        assert_eq!(counts.drops(), 1);
        assert!(!abort.cancel() && abort.is_finished());
        assert!(!task.cancel());
        assert!(task.wait().unwrap_err().is_shutdown());
    });
}

#[test]
fn abort_on_drop_cancels_on_drop() {
    on_each(|rt| {
        let counts = Counts::new();
        drop(idle(&rt, &counts).abort_on_drop());
        promptly(|| {
            rt.block_on(async {
                while counts.drops() == 0 {
                    runtime_tests::turn().await;
                }
            });
        });
        assert_eq!(counts.polls(), 1);
    });
}

#[test]
fn abort_on_drop_is_awaited_like_the_task() {
    on_each(|rt| {
        let task = rt.spawn(async { 1 }).abort_on_drop();
        assert_eq!(rt.block_on(task).unwrap(), 1);
    });
}

#[test]
fn a_detached_abort_on_drop_no_longer_cancels() {
    on_each(|rt| {
        let gate = Gate::new();
        let waiting = gate.clone();
        let guard = rt.spawn(async move { waiting.pass().await }).abort_on_drop();
        let task = guard.detach();
        gate.open();
        rt.block_on(task).unwrap();
    });
}

#[test]
fn cancel_and_wait_cancels_although_nobody_waits() {
    on_each(|rt| {
        let counts = Counts::new();
        let task = idle(&rt, &counts);
        drop(task.cancel_and_wait());
        rt.block_on(async {
            while counts.drops() == 0 {
                runtime_tests::turn().await;
            }
        });
    });
}

#[test]
fn dropping_cancel_and_wait_leaves_the_task_cancelled() {
    on_each(|rt| {
        let counts = Counts::new();
        let task = idle(&rt, &counts);
        rt.block_on(async {
            let mut waiting = Box::pin(task.cancel_and_wait());
            std::future::poll_fn(|cx| {
                let _ = waiting.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
            drop(waiting);
            while counts.drops() == 0 {
                runtime_tests::turn().await;
            }
        });
        assert_eq!(counts.polls(), 1);
    });
}

#[test]
fn a_cancel_races_with_the_end_and_one_of_them_wins() {
    within(PATIENCE, || {
        let rt = multi(2);
        for _ in 0..2_000 {
            let counts = Counts::new();
            let (gate, token) = (Gate::new(), counts.token());
            let waiting = gate.clone();
            let task = rt.spawn(async move {
                waiting.pass().await;
                token
            });
            let abort = task.abort_handle();
            let canceller = thread::spawn(move || abort.cancel());
            gate.open();
            let result = task.wait();
            let asked = canceller.join().unwrap();
            assert!(asked || result.is_ok(), "nobody asked it to stop");
            drop(result);
            until(|| counts.drops() == 1);
        }
    });
}

#[test]
fn what_the_canceller_wrote_is_visible_to_the_destructors() {
    within(PATIENCE, || {
        struct Read(Arc<AtomicBool>, Arc<AtomicBool>);
        impl Drop for Read {
            fn drop(&mut self) {
                self.1.store(self.0.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        let rt = multi(1);
        for _ in 0..500 {
            let (written, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let read = Read(written.clone(), seen.clone());
            let task = rt.spawn(async move {
                let _read = read;
                std::future::pending::<()>().await;
            });
            written.store(true, Ordering::Relaxed);
            task.cancel();
            assert!(task.wait().is_err());
            assert!(seen.load(Ordering::Relaxed));
        }
    });
}
