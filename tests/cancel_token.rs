//! A token asks everything below it to stop, at once, and leaves nothing behind.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use runtime::CancelToken;
use runtime::time::{now, sleep};
use runtime_tests::{
    CountingWaker, Counts, Gate, PATIENCE, on_each, poll_once, promptly, settle, single, within,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_clone_is_the_same_token_and_a_child_is_not() {
    let token = CancelToken::new();
    let (same, child) = (token.clone(), token.child());
    assert!(child.cancel());
    assert!(!token.is_cancelled() && !same.is_cancelled());
    assert!(same.cancel() && token.is_cancelled() && !token.cancel());
}

#[test]
fn cancelling_reaches_every_descendant_and_no_ancestor() {
    let root = CancelToken::new();
    let middle = root.child();
    let (leaf, other) = (middle.child(), root.child());
    middle.cancel();
    assert!(leaf.is_cancelled() && !root.is_cancelled() && !other.is_cancelled());
    root.cancel();
    assert!(other.is_cancelled());
}

#[test]
fn a_cancel_passes_through_tokens_that_were_dropped() {
    let root = CancelToken::new();
    let middle = root.child();
    let leaf = middle.child();
    drop(middle);
    root.cancel();
    assert!(leaf.is_cancelled());
}

#[test]
fn a_child_outlives_the_tokens_above_it() {
    let child = CancelToken::new().child();
    assert!(!child.is_cancelled());
    assert!(child.cancel());
}

#[test]
fn a_child_of_a_cancelled_token_is_cancelled_from_the_start() {
    let token = CancelToken::new();
    token.cancel();
    let child = token.child();
    assert!(child.is_cancelled());
    promptly(|| runtime::block_on(child.cancelled()));
}

#[test]
fn whoever_waits_anywhere_below_is_woken() {
    on_each(|rt| {
        let root = CancelToken::new();
        let waiters: Vec<_> = (0..20)
            .map(|n| {
                let token = (0..n).fold(root.clone(), |token, _| token.child());
                rt.spawn(token.cancelled_owned())
            })
            .collect();
        rt.block_on(settle());
        promptly(|| {
            root.cancel();
            for waiter in waiters {
                rt.block_on(waiter).unwrap();
            }
        });
    });
}

#[test]
fn whoever_is_woken_finds_every_descendant_cancelled() {
    struct Look(CancelToken, AtomicBool);
    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.is_cancelled(), Ordering::SeqCst);
        }
    }

    let root = CancelToken::new();
    let leaf = root.child().child();
    let look = Arc::new(Look(leaf, AtomicBool::new(false)));
    let waker = Waker::from(look.clone());
    let mut wait = pin!(root.cancelled());
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    root.cancel();
    assert!(look.1.load(Ordering::SeqCst));
}

#[test]
fn a_chain_of_a_hundred_thousand_is_cancelled_and_dropped_without_a_deep_stack() {
    let body = || {
        let root = CancelToken::new();
        let mut chain = vec![root.clone()];
        for _ in 0..100_000 {
            let next = chain.last().unwrap().child();
            chain.push(next);
        }
        let leaf = chain.pop().unwrap();
        drop(chain);
        root.cancel();
        assert!(leaf.is_cancelled());
        drop(leaf);

        let mut leaf = CancelToken::new();
        for _ in 0..100_000 {
            leaf = leaf.child();
        }
        drop(leaf);
    };
    // A frame for each link would need some megabytes.
    thread::Builder::new().stack_size(128 << 10).spawn(body).unwrap().join().unwrap();
}

#[test]
fn a_hundred_thousand_children_of_one_token_are_cancelled_at_once() {
    let root = CancelToken::new();
    let children: Vec<_> = (0..100_000).map(|_| root.child()).collect();
    root.cancel();
    assert!(children.iter().all(CancelToken::is_cancelled));
}

#[test]
fn an_abandoned_wait_is_not_woken_and_keeps_no_waker() {
    let token = CancelToken::new();
    let (count, waker) = CountingWaker::new();
    for _ in 0..2_000 {
        let mut wait = pin!(token.cancelled());
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1, "wakers were left behind");
    token.cancel();
    assert_eq!(count.wakes(), 0);
}

#[test]
fn an_abandoned_wait_that_owned_the_last_token_is_not_woken() {
    let (count, waker) = CountingWaker::new();
    let mut wait = Box::pin(CancelToken::new().cancelled_owned());
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((wait, waker));
    assert_eq!((count.wakes(), Arc::strong_count(&count)), (0, 1));
}

#[test]
fn a_waker_that_uses_the_token_or_panics_harms_nobody() {
    struct Hostile(CancelToken, mpsc::Sender<bool>);
    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            let child = self.0.child();
            self.0.cancel();
            self.1.send(child.is_cancelled()).unwrap();
            panic!("hostile");
        }
    }

    within(PATIENCE, || {
        let token = CancelToken::new();
        let child = token.child();
        let (count, polite) = CountingWaker::new();
        let (tell, told) = mpsc::channel();
        let hostile = Waker::from(Arc::new(Hostile(token.clone(), tell)));
        let (mut one, mut two) = (pin!(token.cancelled()), pin!(child.cancelled()));
        let mut three = pin!(token.cancelled());
        assert!(one.as_mut().poll(&mut Context::from_waker(&hostile)).is_pending());
        assert!(two.as_mut().poll(&mut Context::from_waker(&hostile)).is_pending());
        assert!(three.as_mut().poll(&mut Context::from_waker(&polite)).is_pending());
        assert!(token.cancel());
        assert_eq!(count.wakes(), 1);
        drop((hostile, one, two));
        assert_eq!(told.iter().collect::<Vec<_>>(), [true, true]);
    });
}

#[test]
fn children_made_and_dropped_while_others_cancel_are_all_cancelled() {
    within(PATIENCE, || {
        for _ in 0..300 {
            let root = CancelToken::new();
            let start = Arc::new(Barrier::new(3));
            let makers: Vec<_> = (0..2)
                .map(|_| {
                    let (root, start) = (root.clone(), start.clone());
                    thread::spawn(move || {
                        start.wait();
                        let kept: Vec<_> = (0..50).map(|_| root.child().child()).collect();
                        drop(root.child());
                        kept
                    })
                })
                .collect();
            start.wait();
            root.cancel();
            for maker in makers {
                assert!(maker.join().unwrap().iter().all(CancelToken::is_cancelled));
            }
        }
    });
}

#[test]
fn a_drop_guard_cancels_unless_it_is_disarmed() {
    let token = CancelToken::new();
    let kept = token.clone().drop_guard().disarm();
    assert!(!token.is_cancelled() && !kept.is_cancelled());
    let unwound = thread::spawn({
        let guard = token.clone().drop_guard();
        move || {
            let _guard = guard;
            panic!("on the way out");
        }
    });
    assert!(unwound.join().is_err() && token.is_cancelled());
}

#[runtime::test(start_paused = true)]
async fn a_deadline_cancels_at_its_time() {
    let begin = now();
    let token = CancelToken::with_deadline(begin + SECOND);
    assert!(!token.is_cancelled());
    token.cancelled().await;
    assert_eq!(now() - begin, SECOND);
    assert!(token.is_cancelled());
}

#[runtime::test(start_paused = true)]
async fn the_effective_deadline_is_the_earliest_on_the_way_up() {
    let begin = now();
    let root = CancelToken::with_timeout(5 * SECOND);
    let short = root.child_with_timeout(SECOND);
    let greedy = short.child_with_timeout(60 * SECOND);
    assert_eq!(greedy.deadline(), Some(begin + SECOND));
    assert_eq!(root.child().deadline(), Some(begin + 5 * SECOND));
    greedy.cancelled().await;
    assert_eq!(now() - begin, SECOND);
    assert!(short.is_cancelled() && !root.is_cancelled());
}

#[runtime::test(start_paused = true)]
async fn a_cancel_from_above_comes_before_a_deadline() {
    let begin = now();
    let root = CancelToken::new();
    let child = root.child_with_timeout(60 * SECOND);
    runtime::spawn(async move {
        sleep(SECOND).await;
        root.cancel();
    });
    child.cancelled().await;
    assert_eq!(now() - begin, SECOND);
}

#[test]
fn no_length_of_time_is_too_long() {
    assert_eq!(CancelToken::with_timeout(Duration::MAX).deadline(), None);
    let token = CancelToken::new().child_with_timeout(Duration::MAX);
    assert!(!token.is_cancelled());
}

#[runtime::test(start_paused = true)]
async fn run_until_cancelled_drops_the_future_at_the_cancel() {
    let (begin, counts) = (now(), Counts::new());
    let token = CancelToken::new();
    let canceller = token.clone();
    runtime::spawn(async move {
        sleep(SECOND).await;
        canceller.cancel();
    });
    assert_eq!(token.run_until_cancelled(counts.watch(pending::<()>())).await, None);
    assert_eq!((now() - begin, counts.drops()), (SECOND, 1));
}

#[runtime::test]
async fn a_future_that_was_given_up_is_dropped_though_what_waited_for_it_is_kept() {
    let (token, counts) = (CancelToken::new(), Counts::new());
    let mut begun = pin!(token.run_until_cancelled(counts.watch(pending::<()>())));
    assert!(poll_once(begun.as_mut()).await.is_pending());
    token.cancel();
    assert_eq!((begun.as_mut().await, counts.drops()), (None, 1));
    let mut unbegun = pin!(token.run_until_cancelled(counts.watch(pending::<()>())));
    assert_eq!((unbegun.as_mut().await, counts.drops()), (None, 2));
    assert_eq!((begun.await, unbegun.await), (None, None), "once more");
}

#[runtime::test(start_paused = true)]
async fn a_value_that_is_ready_at_the_cancel_is_kept() {
    let begin = now();
    let token = CancelToken::with_timeout(SECOND);
    let value = token.run_until_cancelled(async {
        sleep(SECOND).await;
        7
    });
    assert_eq!((value.await, now() - begin), (Some(7), SECOND));
}

#[test]
fn what_is_cancelled_from_the_start_is_never_polled() {
    let (token, counts) = (CancelToken::new(), Counts::new());
    token.cancel();
    let output = runtime::block_on(token.clone().run_until_cancelled_owned(counts.watch(async { 1 })));
    assert_eq!((output, counts.polls(), counts.drops()), (None, 0, 1));
}

#[test]
fn a_loop_whose_steps_are_always_ready_ends_with_the_token() {
    on_each(|rt| {
        let token = CancelToken::new();
        let steps = Arc::new(AtomicUsize::new(0));
        let (seen, counted) = (token.clone(), steps.clone());
        let task = rt.spawn(async move {
            while seen.run_until_cancelled(async { counted.fetch_add(1, Ordering::SeqCst) }).await.is_some() {
                runtime::task::coop::consume_budget().await;
            }
        });
        rt.block_on(async {
            while steps.load(Ordering::SeqCst) == 0 {
                runtime::task::yield_now().await;
            }
        });
        token.cancel();
        promptly(|| rt.block_on(task).unwrap());
    });
}

#[test]
fn a_future_that_uses_its_budget_up_does_not_hide_the_cancel() {
    on_each(|rt| {
        let token = CancelToken::new();
        let canceller = token.clone();
        let greedy = poll_fn(move |cx| {
            canceller.cancel();
            while let Poll::Ready(unit) = runtime::task::coop::poll_proceed(cx) {
                unit.made_progress();
            }
            Poll::<()>::Pending
        });
        let output = promptly(|| rt.block_on(rt.spawn(token.run_until_cancelled_owned(greedy))));
        assert_eq!(output.unwrap(), None);
    });
}

#[test]
fn a_plain_thread_and_another_executor_can_wait() {
    within(PATIENCE, || {
        let token = CancelToken::new();
        let waiter = thread::spawn({
            let token = token.clone();
            move || runtime::block_on(token.cancelled())
        });
        token.cancel();
        waiter.join().unwrap();
    });
}

/// Polled in one task that has spent its budget on the others before.
#[test]
fn values_that_are_there_are_not_lost_to_a_cancel_for_want_of_a_budget() {
    const MANY: usize = 200;
    single().block_on(async {
        let token = CancelToken::new();
        let gate = Gate::new();
        let mut runs: Vec<_> = (0..MANY)
            .map(|n| {
                let passing = gate.clone();
                let task = runtime::spawn(async move {
                    passing.pass().await;
                    n
                });
                Box::pin(token.clone().run_until_cancelled_owned(task))
            })
            .collect();
        for run in &mut runs {
            assert!(poll_once(run.as_mut()).await.is_pending());
        }
        gate.open();
        settle().await;
        token.cancel();
        let given = poll_fn(|cx| {
            let mut given = 0;
            for run in &mut runs {
                given += usize::from(matches!(run.as_mut().poll(cx), Poll::Ready(Some(Ok(_)))));
            }
            Poll::Ready(given)
        });
        assert_eq!(given.await, MANY);
    });
}

#[test]
fn a_loop_whose_steps_are_always_ready_gives_way_to_who_cancels_it() {
    within(PATIENCE, || {
        single().block_on(async {
            let token = CancelToken::new();
            let canceller = token.clone();
            drop(runtime::spawn(async move { canceller.cancel() }));
            while token.run_until_cancelled(runtime::task::coop::cooperative(async {})).await.is_some() {}
        });
    });
}
