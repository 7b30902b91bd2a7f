//! A group's children end with it: whatever fails, is cancelled, or is dropped.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use runtime::group::Policy;
use runtime::time::{now, sleep, timeout};
use runtime::{CancelToken, Failure, GroupError, Promise, Task, TaskGroup, task_group};
use runtime_tests::{
    CountingWaker, Counts, PATIENCE, multi, on_each, poll_once, promptly, reports, settle, single, within,
};

const SECOND: Duration = Duration::from_secs(1);

type Outcome<R> = Result<Option<R>, GroupError<&'static str>>;

/// The errors and the messages of the panics, in order.
fn texts<R>(outcome: Outcome<R>) -> Vec<String> {
    outcome.err().expect("failures").errors.iter().map(ToString::to_string).collect()
}

/// Sleeps for ever, by the virtual clock: what waits for its end takes an hour and fails its test.
async fn hour() -> Result<(), &'static str> {
    sleep(3_600 * SECOND).await;
    Ok(())
}

/// Its destructor panics.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        panic!("grudge");
    }
}

// --- the ordinary case ---

#[test]
fn the_value_of_the_body_is_given_when_all_children_are_gone() {
    on_each(|rt| {
        let counts = Counts::new();
        let outcome: Outcome<u32> = rt.block_on(task_group(|group| {
            let counts = counts.clone();
            async move {
                for _ in 0..100 {
                    let yields = counts.watch(async {
                        runtime::task::yield_now().await;
                        Ok(())
                    });
                    drop(group.spawn(yields));
                }
                Ok(7)
            }
        }));
        assert_eq!((outcome.unwrap(), counts.drops()), (Some(7), 100));
    });
}

#[test]
fn a_child_s_value_comes_through_its_task() {
    on_each(|rt| {
        let outcome: Outcome<Vec<u32>> = rt.block_on(task_group(|group| async move {
            let tasks: Vec<_> = (0..10).map(|n| group.spawn(async move { Ok(n * n) })).collect();
            let mut values = Vec::new();
            for task in tasks {
                values.extend(task.await.unwrap());
            }
            Ok(values)
        }));
        assert_eq!(outcome.unwrap().unwrap(), (0..10).map(|n| n * n).collect::<Vec<_>>());
    });
}

#[test]
fn the_body_may_borrow_and_children_may_spawn_siblings() {
    on_each(|rt| {
        let names = vec![String::from("one"), String::from("two")];
        let deep = Arc::new(AtomicUsize::new(0));
        let outcome: Outcome<usize> = rt.block_on(task_group(|group| {
            let (names, deep) = (&names, deep.clone());
            async move {
                let inner = group.clone();
                group.spawn(async move {
                    inner.spawn(async move {
                        runtime::task::yield_now().await;
                        deep.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                    Ok(())
                });
                Ok(names.len())
            }
        }));
        assert_eq!((outcome.unwrap(), deep.load(Ordering::SeqCst)), (Some(2), 1));
    });
}

#[test]
fn an_async_closure_is_a_body() {
    on_each(|rt| {
        let name = String::from("seven");
        let outcome: Outcome<usize> = rt.block_on(task_group(async |group| {
            let child = group.spawn(async { Ok(2) });
            Ok(name.len() + child.await.unwrap().unwrap())
        }));
        assert_eq!(outcome.unwrap(), Some(7));
    });
}

#[test]
fn every_task_is_finished_and_every_unwanted_output_dropped_when_the_group_returns() {
    on_each(|rt| {
        for _ in 0..200 {
            let counts = Counts::new();
            let kept: Mutex<Vec<Task<Option<()>>>> = Mutex::new(Vec::new());
            let outcome: Outcome<()> = rt.block_on(task_group(|group| {
                let (counts, kept) = (&counts, &kept);
                async move {
                    let token = counts.token();
                    drop(group.spawn(async move { Ok(token) }));
                    kept.lock().push(group.spawn(async { Ok(()) }));
                    Ok(())
                }
            }));
            assert!(outcome.is_ok());
            assert!(kept.into_inner().iter().all(Task::is_finished));
            assert_eq!(counts.drops(), 1);
        }
    });
}

// --- failures ---

#[runtime::test(start_paused = true)]
async fn a_failing_child_cancels_its_siblings_and_the_body_and_not_its_parent() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = task_group(|group| {
        let counts = counts.clone();
        async move {
            group.spawn(counts.watch(hour()));
            group.spawn::<()>(async {
                sleep(SECOND).await;
                Err("torn")
            });
            counts.watch(hour()).await
        }
    })
    .await;
    assert_eq!(texts(outcome), ["torn"]);
    assert_eq!((now() - begin, counts.drops()), (SECOND, 2));
    // The parent is not cancelled: it goes on to wait.
    sleep(SECOND).await;
}

#[runtime::test(start_paused = true)]
async fn a_failing_body_cancels_the_children_under_every_policy() {
    for policy in [Policy::FailFast, Policy::Supervise, Policy::FirstSuccess] {
        let begin = now();
        let outcome: Outcome<()> = TaskGroup::builder()
            .policy(policy)
            .run(|group| async move {
                group.spawn(hour());
                sleep(SECOND).await;
                Err("torn")
            })
            .await;
        assert_eq!((texts(outcome), now() - begin), (vec!["torn".to_owned()], SECOND));
    }
}

#[runtime::test(start_paused = true)]
async fn panics_of_child_body_and_destructor_are_failures() {
    let begin = now();
    let child: Outcome<()> = task_group(|group| async move {
        group.spawn::<()>(async { panic!("child {}", 1) });
        hour().await
    })
    .await;
    assert_eq!(texts(child), ["task panicked: child 1"]);
    let body: Outcome<()> = task_group(|group| async move {
        group.spawn(hour());
        panic!("body")
    })
    .await;
    assert_eq!(texts(body), ["task panicked: body"]);
    let made: Outcome<()> = task_group(|_| -> std::future::Ready<Result<(), _>> { panic!("maker") }).await;
    assert_eq!(texts(made), ["task panicked: maker"]);
    let destructor: Outcome<()> = task_group(|group| async move {
        group.spawn(async {
            let _grudge = Grudge;
            hour().await
        });
        sleep(SECOND).await;
        Err("torn")
    })
    .await;
    assert_eq!(texts(destructor), ["torn", "task panicked: grudge"]);
    assert_eq!(now() - begin, SECOND);
}

#[runtime::test(start_paused = true)]
async fn a_value_whose_destructor_panics_does_not_take_the_report_along() {
    let outcome: Outcome<Grudge> = task_group(|group| async move {
        group.spawn::<()>(async {
            sleep(SECOND).await;
            Err("torn")
        });
        Ok(Grudge)
    })
    .await;
    assert_eq!(texts(outcome), ["torn", "task panicked: grudge"]);
}

#[runtime::test(start_paused = true)]
async fn all_failures_are_kept_in_the_order_in_which_they_came() {
    let begin = now();
    let outcome: Outcome<()> = TaskGroup::builder()
        .policy(Policy::Supervise)
        .run(|group| async move {
            for (n, error) in [(3, "third"), (1, "first"), (2, "second")] {
                group.spawn::<()>(async move {
                    sleep(n * SECOND).await;
                    Err(error)
                });
            }
            group.spawn(async {
                sleep(4 * SECOND).await;
                Ok(())
            });
            Ok(())
        })
        .await;
    assert_eq!(texts(outcome), ["first", "second", "third"]);
    assert_eq!(now() - begin, 4 * SECOND);
}

#[test]
fn the_text_of_a_group_error_lists_all_failures() {
    let error = GroupError { errors: vec![Failure::Error("one")] };
    assert_eq!(error.to_string(), "a failure in a task group: one");
    let boxed: Box<dyn std::error::Error> =
        Box::new(GroupError { errors: vec![Failure::Error("one"), Failure::Error("two")] });
    assert_eq!(boxed.to_string(), "2 failures in a task group: one; two");
}

#[runtime::test(start_paused = true)]
async fn a_task_is_none_if_its_child_failed_or_was_stopped_by_the_group() {
    let begin = now();
    let kept = Mutex::new(Vec::new());
    let outcome: Outcome<()> = task_group(|group| {
        let kept = &kept;
        async move {
            kept.lock().push(group.spawn(hour()));
            kept.lock().push(group.spawn::<()>(async {
                sleep(SECOND).await;
                Err("torn")
            }));
            Ok(())
        }
    })
    .await;
    assert_eq!(texts(outcome), ["torn"]);
    for task in kept.into_inner() {
        assert_eq!(task.await.unwrap(), None);
    }
    assert_eq!(now() - begin, SECOND);
}

#[runtime::test(start_paused = true)]
async fn a_child_that_is_cancelled_through_its_task_is_no_failure() {
    let begin = now();
    let outcome: Outcome<bool> = task_group(|group| async move {
        let task = group.spawn(hour());
        sleep(SECOND).await;
        Ok(task.cancel_and_wait().await.unwrap_err().is_cancelled())
    })
    .await;
    assert_eq!((outcome.unwrap(), now() - begin), (Some(true), SECOND));
}

// --- cancel ---

#[runtime::test(start_paused = true)]
async fn cancel_ends_the_group_without_an_error_and_without_a_value() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = task_group(|group| {
        let counts = counts.clone();
        async move {
            group.spawn(counts.watch(hour()));
            let canceller = group.clone();
            group.spawn(async move {
                sleep(SECOND).await;
                canceller.cancel();
                Ok(())
            });
            counts.watch(hour()).await
        }
    })
    .await;
    assert_eq!(outcome.unwrap(), None);
    assert_eq!((now() - begin, counts.drops()), (SECOND, 2));
}

#[runtime::test(start_paused = true)]
async fn a_body_that_has_its_value_keeps_it_through_a_cancel() {
    let begin = now();
    let outcome: Outcome<u8> = task_group(|group| async move {
        group.spawn(hour());
        group.cancel();
        Ok(7)
    })
    .await;
    assert_eq!((outcome.unwrap(), now() - begin), (Some(7), Duration::ZERO));
}

#[runtime::test(start_paused = true)]
async fn spawning_into_a_cancelled_or_finished_group_gives_a_cancelled_task() {
    let counts = Counts::new();
    let (mut outside, mut refused) = (None, None);
    let outcome: Outcome<()> = task_group(|group| {
        outside = Some(group.clone());
        let (counts, refused) = (&counts, &mut refused);
        async move {
            group.cancel();
            *refused = Some(group.spawn(counts.watch(hour())));
            drop(group.spawn(counts.watch(hour())));
            pending().await
        }
    })
    .await;
    assert_eq!(outcome.unwrap(), None);
    assert!(refused.unwrap().await.unwrap_err().is_cancelled());
    assert_eq!((counts.polls(), counts.drops()), (0, 2), "the group waits for what it refused");
    let late = outside.unwrap().spawn(counts.watch(hour()));
    assert!(late.await.unwrap_err().is_cancelled());
    assert_eq!((counts.polls(), counts.drops()), (0, 3));
}

#[runtime::test(start_paused = true)]
async fn a_token_of_the_user_s_cancels_the_group_at_its_deadline() {
    let begin = now();
    let token = CancelToken::with_timeout(SECOND);
    let outcome: Outcome<()> = TaskGroup::builder()
        .token(&token)
        .run(|group| async move {
            group.spawn(hour());
            hour().await
        })
        .await;
    assert_eq!((outcome.unwrap(), now() - begin), (None, SECOND));
}

#[runtime::test(start_paused = true)]
async fn cancelling_the_token_of_the_group_cancels_the_group() {
    let begin = now();
    let outcome: Outcome<()> = task_group(|group| async move {
        group.token().cancel();
        assert!(group.is_cancelled());
        assert!(group.spawn(hour()).await.unwrap_err().is_cancelled());
        hour().await
    })
    .await;
    assert_eq!((outcome.unwrap(), now() - begin), (None, Duration::ZERO));
}

// --- grace ---

#[runtime::test(start_paused = true)]
async fn children_may_clean_up_until_the_grace_is_over() {
    let begin = now();
    let cleaned = Arc::new(AtomicUsize::new(0));
    let outcome: Outcome<()> = TaskGroup::builder()
        .grace(10 * SECOND)
        .run(|group| {
            let cleaned = cleaned.clone();
            async move {
                for n in 1..=3 {
                    let (token, cleaned) = (group.token(), cleaned.clone());
                    group.spawn(async move {
                        token.cancelled().await;
                        sleep(n * SECOND).await;
                        cleaned.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                }
                sleep(SECOND).await;
                group.cancel();
                Ok(())
            }
        })
        .await;
    assert!(outcome.is_ok());
    assert_eq!((now() - begin, cleaned.load(Ordering::SeqCst)), (4 * SECOND, 3));
}

#[runtime::test(start_paused = true)]
async fn who_does_not_listen_is_dropped_at_the_end_of_the_grace() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = TaskGroup::builder()
        .grace(10 * SECOND)
        .run(|group| {
            let counts = counts.clone();
            async move {
                group.spawn(counts.watch(hour()));
                group.cancel();
                counts.watch(hour()).await
            }
        })
        .await;
    assert_eq!(outcome.unwrap(), None);
    assert_eq!((now() - begin, counts.drops()), (10 * SECOND, 2));
}

#[runtime::test(start_paused = true)]
async fn a_failure_in_the_grace_is_kept() {
    let outcome: Outcome<()> = TaskGroup::builder()
        .grace(10 * SECOND)
        .run(|group| async move {
            let token = group.token();
            group.spawn::<()>(async move {
                token.cancelled().await;
                Err("second")
            });
            Err("first")
        })
        .await;
    assert_eq!(texts(outcome), ["first", "second"]);
}

/// Takes whatever there is of the budget, in every poll.
async fn greedy() {
    loop {
        runtime::task::coop::consume_budget().await;
    }
}

#[test]
fn a_body_that_uses_the_budget_up_does_not_hide_the_end_of_the_grace() {
    on_each(|rt| {
        let group = TaskGroup::builder().grace(Duration::from_millis(10)).run(|group| async move {
            group.cancel();
            greedy().await;
            Ok(())
        });
        let outcome: Outcome<()> = promptly(|| rt.block_on(rt.spawn(group)).unwrap());
        assert_eq!(outcome.unwrap(), None);
    });
}

#[test]
fn a_neighbour_that_uses_the_budget_up_does_not_hide_a_cancel_from_the_group() {
    on_each(|rt| {
        let token = CancelToken::new();
        let mut group = Box::pin(TaskGroup::builder().token(&token).run(|_| hour()));
        token.cancel();
        let mut neighbour = Box::pin(greedy());
        let both = std::future::poll_fn(move |cx| {
            assert!(neighbour.as_mut().poll(cx).is_pending());
            group.as_mut().poll(cx)
        });
        let outcome: Outcome<()> = promptly(|| rt.block_on(rt.spawn(both)).unwrap());
        assert_eq!(outcome.unwrap(), None);
    });
}

// --- the group's own future is dropped ---

#[runtime::test(start_paused = true)]
async fn dropping_the_group_aborts_its_children() {
    let (begin, counts) = (now(), Counts::new());
    let group = task_group(|group| {
        let counts = counts.clone();
        async move {
            for _ in 0..5 {
                drop(group.spawn(counts.watch(hour())));
            }
            hour().await
        }
    });
    assert!(timeout(SECOND, group).await.unwrap_err().is_timeout());
    while counts.drops() < 5 {
        runtime::task::yield_now().await;
    }
    assert_eq!(now() - begin, SECOND);
}

#[test]
fn a_panic_that_a_dropped_group_had_recorded_is_reported() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = runtime::Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        rt.block_on(async {
            let (tell, told) = std::sync::mpsc::channel();
            let group = TaskGroup::builder().policy(Policy::Supervise).run(|group| async move {
                tell.send(group.spawn::<()>(async { panic!("unseen") }).abort_handle()).unwrap();
                pending::<Result<(), &str>>().await
            });
            let mut group = Box::pin(group);
            assert!(poll_once(group.as_mut()).await.is_pending());
            let child = told.recv().unwrap();
            while !child.is_finished() {
                runtime::task::yield_now().await;
            }
            // By a thread that stands nowhere, or in another runtime.
            std::thread::spawn(move || drop(group)).join().unwrap();
        });
        let report = received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(report.error().to_string(), "task panicked: unseen");
    });
}

#[test]
fn a_panic_of_a_cancelled_child_s_destructor_is_the_group_s_and_is_not_reported_as_well() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = runtime::Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let outcome: Outcome<()> = rt.block_on(task_group(|group| async move {
            let child = group.spawn::<()>(async {
                let _grudge = Grudge;
                pending().await
            });
            settle().await;
            child.cancel();
            drop(child);
            pending().await
        }));
        assert_eq!(texts(outcome), ["task panicked: grudge"]);
        drop(rt);
        assert!(received.try_recv().is_err(), "the group tells of it");
    });
}

#[test]
fn a_panic_of_a_refused_child_s_destructor_is_the_group_s_and_is_not_reported_as_well() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = runtime::Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let outcome: Outcome<()> =
            rt.block_on(TaskGroup::builder().grace(3_600 * SECOND).run(|group| async move {
                group.cancel();
                let grudge = Grudge;
                drop(group.spawn::<()>(async move {
                    let _grudge = grudge;
                    Ok(())
                }));
                Ok(())
            }));
        assert_eq!(texts(outcome), ["task panicked: grudge"]);
        drop(rt);
        assert!(received.try_recv().is_err(), "the group tells of it");
    });
}

// --- nested groups ---

#[runtime::test(start_paused = true)]
async fn cancelling_the_outer_group_ends_the_inner_ones_before_it_returns() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = task_group(|outer| {
        let counts = counts.clone();
        async move {
            let deep = counts.clone();
            outer.spawn(async move {
                let inner: Outcome<()> = task_group(|inner| async move {
                    let deeper = deep.clone();
                    inner.spawn(async move {
                        let innermost: Outcome<()> = task_group(|group| async move {
                            drop(group.spawn(deeper.watch(hour())));
                            deeper.watch(hour()).await
                        })
                        .await;
                        innermost.map(|_| ()).map_err(|_| "innermost")
                    });
                    deep.watch(hour()).await
                })
                .await;
                inner.map(|_| ()).map_err(|_| "inner")
            });
            sleep(SECOND).await;
            outer.cancel();
            hour().await
        }
    })
    .await;
    assert_eq!(outcome.unwrap(), None);
    assert_eq!((now() - begin, counts.drops()), (SECOND, 3));
}

#[runtime::test(start_paused = true)]
async fn an_inner_group_sees_the_cancel_of_the_outer_one_in_the_grace() {
    let (begin, cleaned) = (now(), Arc::new(AtomicUsize::new(0)));
    let outcome: Outcome<()> = TaskGroup::builder()
        .grace(10 * SECOND)
        .run(|outer| {
            let cleaned = cleaned.clone();
            async move {
                outer.spawn(async move {
                    let inner = TaskGroup::builder().grace(5 * SECOND).run(|inner| async move {
                        let token = inner.token();
                        inner.spawn(async move {
                            token.cancelled().await;
                            sleep(2 * SECOND).await;
                            cleaned.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        });
                        Ok::<_, &str>(())
                    });
                    inner.await.map(|_| ()).map_err(|_| "inner")
                });
                sleep(SECOND).await;
                outer.cancel();
                Ok(())
            }
        })
        .await;
    assert!(outcome.is_ok());
    assert_eq!((now() - begin, cleaned.load(Ordering::SeqCst)), (3 * SECOND, 1));
}

#[test]
fn a_group_waits_for_the_children_of_a_group_in_its_body_that_was_dropped() {
    on_each(|rt| {
        for _ in 0..50 {
            let counts = Counts::new();
            let outcome: Outcome<()> = rt.block_on(task_group(|_| {
                let counts = counts.clone();
                async move {
                    let mut inner = Box::pin(task_group(|inner| async move {
                        for _ in 0..4 {
                            drop(inner.spawn(counts.watch(pending::<Result<(), &str>>())));
                        }
                        pending::<Result<(), &str>>().await
                    }));
                    std::future::poll_fn(|cx| {
                        assert!(inner.as_mut().poll(cx).is_pending());
                        std::task::Poll::Ready(())
                    })
                    .await;
                    Ok(())
                }
            }));
            assert!(outcome.is_ok());
            assert_eq!(counts.drops(), 4);
        }
    });
}

// --- policies ---

#[runtime::test(start_paused = true)]
async fn a_supervised_failure_touches_nobody_else() {
    let begin = now();
    let finished = Arc::new(AtomicUsize::new(0));
    let outcome: Outcome<()> = TaskGroup::builder()
        .policy(Policy::Supervise)
        .run(|group| {
            let finished = finished.clone();
            async move {
                group.spawn::<()>(async { Err("torn") });
                group.spawn::<()>(async { panic!("broken") });
                let counter = finished.clone();
                group.spawn(async move {
                    sleep(SECOND).await;
                    counter.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                });
                sleep(2 * SECOND).await;
                finished.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .await;
    let mut texts = texts(outcome);
    texts.sort();
    assert_eq!(texts, ["task panicked: broken", "torn"]);
    assert_eq!((now() - begin, finished.load(Ordering::SeqCst)), (2 * SECOND, 2));
}

#[runtime::test(start_paused = true)]
async fn the_first_success_ends_the_other_children_and_not_the_body() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<&str> = TaskGroup::builder()
        .policy(Policy::FirstSuccess)
        .run(|group| {
            let counts = counts.clone();
            async move {
                group.spawn::<()>(async { Err("ignored") });
                group.spawn(counts.watch(hour()));
                let winner = group.spawn(async {
                    sleep(SECOND).await;
                    Ok("fast")
                });
                let value = winner.await.unwrap().unwrap();
                assert!(group.is_cancelled());
                sleep(SECOND).await;
                Ok(value)
            }
        })
        .await;
    assert_eq!(outcome.unwrap(), Some("fast"));
    assert_eq!((now() - begin, counts.drops()), (2 * SECOND, 1));
}

#[runtime::test(start_paused = true)]
async fn a_body_that_goes_on_after_the_first_success_ends_at_the_deadline_of_the_token() {
    let begin = now();
    let outcome: Outcome<()> = TaskGroup::builder()
        .policy(Policy::FirstSuccess)
        .token(&CancelToken::with_timeout(2 * SECOND))
        .run(|group| async move {
            group.spawn(async {
                sleep(SECOND).await;
                Ok(())
            });
            hour().await
        })
        .await;
    assert_eq!((outcome.unwrap(), now() - begin), (None, 2 * SECOND));
}

#[runtime::test(start_paused = true)]
async fn groups_in_a_body_that_goes_on_after_the_first_success_are_not_cancelled() {
    let outcome: Outcome<u8> = TaskGroup::builder()
        .policy(Policy::FirstSuccess)
        .run(|group| async move {
            group.spawn(async { Ok(()) }).await.unwrap();
            let inner: Outcome<u8> = task_group(|_| async { Ok(7) }).await;
            Ok(inner.unwrap().expect("the inner group was not cancelled"))
        })
        .await;
    assert_eq!(outcome.unwrap(), Some(7));
}

#[runtime::test(start_paused = true)]
async fn groups_in_children_see_the_first_success() {
    let (begin, cleaned) = (now(), Arc::new(AtomicUsize::new(0)));
    let outcome: Outcome<()> = TaskGroup::builder()
        .policy(Policy::FirstSuccess)
        .grace(10 * SECOND)
        .run(|group| {
            let cleaned = cleaned.clone();
            async move {
                group.spawn(async move {
                    let inner: Outcome<()> = task_group(|_| hour()).await;
                    assert_eq!(inner.unwrap(), None);
                    cleaned.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                });
                group.spawn(async {
                    sleep(SECOND).await;
                    Ok(())
                });
                Ok(())
            }
        })
        .await;
    assert!(outcome.is_ok());
    assert_eq!((now() - begin, cleaned.load(Ordering::SeqCst)), (SECOND, 1));
}

#[runtime::test(start_paused = true)]
async fn without_any_success_all_failures_are_reported() {
    let outcome: Outcome<()> = TaskGroup::builder()
        .policy(Policy::FirstSuccess)
        .run(|group| async move {
            for (n, error) in [(1, "one"), (2, "two")] {
                group.spawn::<()>(async move {
                    sleep(n * SECOND).await;
                    Err(error)
                });
            }
            Ok(())
        })
        .await;
    assert_eq!(texts(outcome), ["one", "two"]);
}

// --- limits ---

#[test]
fn never_more_children_run_than_the_limit_allows_and_that_many_do() {
    on_each(|rt| {
        let (live, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let outcome: Outcome<()> = rt.block_on(TaskGroup::builder().limit(10).run(|group| {
            let (live, most) = (live.clone(), most.clone());
            async move {
                for _ in 0..1_000 {
                    let (live, most) = (live.clone(), most.clone());
                    group.spawn(async move {
                        most.fetch_max(live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        for _ in 0..10 {
                            runtime::task::yield_now().await;
                        }
                        live.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    });
                }
                Ok(())
            }
        }));
        assert!(outcome.is_ok());
        assert_eq!(most.load(Ordering::SeqCst), 10);
    });
}

#[runtime::test(start_paused = true)]
async fn queued_children_start_in_order_when_there_is_room() {
    let begin = now();
    let order = Arc::new(Mutex::new(Vec::new()));
    let outcome: Outcome<()> = task_group(|group| {
        let order = order.clone();
        async move {
            let group = group.with_limit(2);
            for n in 0..6 {
                let order = order.clone();
                group.spawn(async move {
                    order.lock().push((n / 2, (now() - begin).as_secs()));
                    sleep(SECOND).await;
                    Ok(())
                });
            }
            Ok(())
        }
    })
    .await;
    assert!(outcome.is_ok());
    assert_eq!(now() - begin, 3 * SECOND);
    assert_eq!(*order.lock(), [(0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (2, 2)]);
}

#[runtime::test(start_paused = true)]
async fn a_queued_child_that_is_cancelled_is_never_polled_and_holds_nobody_up() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = TaskGroup::builder()
        .limit(1)
        .run(|group| {
            let counts = counts.clone();
            async move {
                group.spawn(async {
                    sleep(SECOND).await;
                    Ok(())
                });
                let queued = group.spawn(counts.watch(hour()));
                let last = group.spawn(async { Ok(()) });
                assert!(queued.cancel_and_wait().await.unwrap_err().is_cancelled());
                assert_eq!(now(), begin);
                last.await.unwrap().unwrap();
                Ok(())
            }
        })
        .await;
    assert!(outcome.is_ok());
    assert_eq!((now() - begin, counts.polls(), counts.drops()), (SECOND, 0, 1));
}

#[runtime::test(start_paused = true)]
async fn a_cancel_drops_queued_children_at_once_whatever_the_grace() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = TaskGroup::builder()
        .limit(1)
        .grace(10 * SECOND)
        .run(|group| {
            let counts = counts.clone();
            async move {
                let token = group.token();
                group.spawn(async move {
                    token.cancelled().await;
                    Ok(())
                });
                for _ in 0..10 {
                    drop(group.spawn(counts.watch(hour())));
                }
                sleep(SECOND).await;
                group.cancel();
                Ok(())
            }
        })
        .await;
    assert!(outcome.is_ok());
    assert_eq!((now() - begin, counts.polls(), counts.drops()), (SECOND, 0, 10));
}

#[runtime::test(start_paused = true)]
async fn a_spawner_that_waits_for_room_queues_nobody() {
    let (begin, spawned) = (now(), Arc::new(AtomicUsize::new(0)));
    let outcome: Outcome<()> = TaskGroup::builder()
        .limit(3)
        .run(|group| {
            let spawned = spawned.clone();
            async move {
                for n in 0..9 {
                    group.room().await;
                    assert_eq!((now() - begin).as_secs(), n / 3, "held back until there is room");
                    spawned.fetch_add(1, Ordering::SeqCst);
                    group.spawn(async {
                        sleep(SECOND).await;
                        Ok(())
                    });
                }
                Ok(())
            }
        })
        .await;
    assert!(outcome.is_ok());
    assert_eq!((now() - begin, spawned.load(Ordering::SeqCst)), (3 * SECOND, 9));
}

#[runtime::test(start_paused = true)]
async fn a_higher_limit_lets_queued_children_start() {
    let begin = now();
    let outcome: Outcome<()> = TaskGroup::builder()
        .limit(1)
        .run(|group| async move {
            for _ in 0..4 {
                group.spawn(async {
                    sleep(SECOND).await;
                    Ok(())
                });
            }
            drop(group.with_limit(4));
            Ok(())
        })
        .await;
    assert!(outcome.is_ok());
    assert_eq!(now() - begin, SECOND);
}

#[test]
#[should_panic(expected = "at least 1")]
fn a_limit_of_zero_panics_with_a_message() {
    drop(TaskGroup::builder().limit(0));
}

// --- start ---

#[runtime::test(start_paused = true)]
async fn start_gives_what_the_child_reports_and_the_child_goes_on() {
    let begin = now();
    let outcome: Outcome<u16> = task_group(|group| async move {
        let port = group.start(|ready| async move {
            sleep(SECOND).await;
            ready.set_result(8080).unwrap();
            sleep(SECOND).await;
            Ok(())
        });
        let port = port.await?.unwrap();
        assert_eq!(now() - begin, SECOND);
        Ok(port)
    })
    .await;
    assert_eq!((outcome.unwrap(), now() - begin), (Some(8080), 2 * SECOND));
}

#[runtime::test(start_paused = true)]
async fn a_failure_before_readiness_is_the_caller_s_and_one_after_it_the_group_s() {
    let outcome: Outcome<()> = task_group(|group| async move {
        let early = group.start::<(), _>(|_ready| async { Err("early") }).await;
        assert_eq!(early, Err("early"));
        assert!(!group.is_cancelled());
        let late = group.start(|ready| async move {
            ready.set_result(()).unwrap();
            sleep(SECOND).await;
            Err("late")
        });
        assert_eq!(late.await, Ok(Some(())));
        hour().await
    })
    .await;
    assert_eq!(texts(outcome), ["late"]);
}

#[runtime::test(start_paused = true)]
async fn a_panic_before_readiness_goes_on_in_the_caller() {
    let outcome: Outcome<()> = task_group(|group| async move {
        let _ = group.start::<(), _>(|_ready| async { panic!("unready") }).await;
        Ok(())
    })
    .await;
    assert_eq!(texts(outcome), ["task panicked: unready"]);
}

/// Its fields are dropped after its last poll.
struct EndsWithAGrudge {
    _ready: runtime::Promise<()>,
    _grudge: Grudge,
}

impl Future for EndsWithAGrudge {
    type Output = Result<(), &'static str>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

#[runtime::test(start_paused = true)]
async fn a_panic_of_a_destructor_before_readiness_goes_on_in_the_caller() {
    let went_on = Arc::new(AtomicBool::new(false));
    let goes_on = went_on.clone();
    let body = |group: TaskGroup<&'static str>| async move {
        let start = group.start::<(), _>(|ready| EndsWithAGrudge { _ready: ready, _grudge: Grudge });
        let _ = start.await;
        goes_on.store(true, Ordering::Relaxed);
        Ok(())
    };
    let outcome: Outcome<()> = TaskGroup::builder().policy(Policy::Supervise).run(body).await;
    assert_eq!(texts(outcome), ["task panicked: grudge"]);
    assert!(!went_on.load(Ordering::Relaxed));
}

#[test]
fn a_child_that_was_started_was_spawned_where_start_was_called() {
    within(PATIENCE, || {
        let (told, tells) = std::sync::mpsc::channel();
        let tells = Mutex::new(tells);
        let rt = runtime::Runtime::builder()
            .worker_threads(1)
            .stall_threshold(Some(Duration::from_millis(1)))
            .on_stall(move |stall| told.send(stall.location).unwrap())
            .build()
            .unwrap();
        let outcome: Outcome<()> = rt.block_on(task_group(|group| async move {
            let line = line!() + 1;
            let start = group.start(move |ready| async move {
                ready.set_result(()).unwrap();
                while tells.lock().recv().unwrap().line() != line {}
                Ok(())
            });
            assert_eq!(start.await, Ok(Some(())));
            Ok(())
        }));
        assert!(outcome.is_ok());
    });
}

#[runtime::test(start_paused = true)]
async fn a_child_that_ends_without_being_ready_is_a_mistake_that_is_named() {
    let outcome: Outcome<()> = task_group(|group| async move {
        let _ = group
            .start::<(), _>(|ready| async move {
                drop(ready);
                Ok(())
            })
            .await;
        Ok(())
    })
    .await;
    assert!(texts(outcome)[0].contains("without reporting that it is ready"));
}

#[runtime::test(start_paused = true)]
async fn giving_up_a_start_cancels_the_child() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = task_group(|group| {
        let counts = counts.clone();
        async move {
            let start = group.start::<(), _>(|ready| {
                counts.watch(async move {
                    let _ready = ready;
                    hour().await
                })
            });
            assert!(timeout(SECOND, start).await.is_err());
            Ok(())
        }
    })
    .await;
    assert!(outcome.is_ok());
    assert_eq!((now() - begin, counts.drops()), (SECOND, 1));
}

#[test]
fn a_panic_of_who_makes_the_child_is_the_body_s_alone() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = runtime::Runtime::builder().current_thread().on_unobserved(handler).build().unwrap();
        let outcome: Outcome<()> = rt.block_on(task_group(|group| async move {
            let _ = group.start::<(), _>(|_ready| -> std::future::Ready<_> { panic!("unmade") }).await;
            Ok(())
        }));
        assert_eq!(texts(outcome), ["task panicked: unmade"]);
        drop(rt);
        assert_eq!(received.iter().count(), 0);
    });
}

#[test]
fn a_panic_before_readiness_is_reported_if_the_caller_has_gone() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = runtime::Runtime::builder().current_thread().on_unobserved(handler).build().unwrap();
        let outcome: Outcome<()> = rt.block_on(task_group(|group| async move {
            let mut start = Box::pin(group.start::<(), _>(|ready| async move {
                let _ready = ready;
                panic!("unready")
            }));
            assert!(poll_once(start.as_mut()).await.is_pending());
            settle().await;
            drop(start);
            Ok(())
        }));
        assert!(outcome.is_ok());
        drop(rt);
        let texts: Vec<_> = received.iter().map(|report| report.error().to_string()).collect();
        assert_eq!(texts, ["task panicked: unready"]);
    });
}

#[runtime::test(start_paused = true)]
async fn a_start_from_outside_ends_with_the_group() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let group = runtime::spawn(task_group(move |group| async move {
        sender.send(group).unwrap();
        hour().await
    }));
    let handle = loop {
        match receiver.try_recv() {
            Ok(handle) => break handle,
            Err(_) => runtime::task::yield_now().await,
        }
    };
    let other = handle.clone();
    runtime::spawn(async move {
        sleep(SECOND).await;
        other.cancel();
    });
    let begin = now();
    let never = |ready: runtime::Promise<u8>| async move {
        let _ready = ready;
        hour().await
    };
    assert_eq!(handle.start(never).await, Ok(None));
    assert_eq!(now() - begin, SECOND);
    assert_eq!(group.await.unwrap().unwrap(), None);
    assert_eq!(handle.start(never).await, Ok(None));
}

#[runtime::test(start_paused = true)]
async fn a_child_that_obeys_a_cancel_before_it_is_ready_makes_no_mistake() {
    let outcome: Outcome<()> = TaskGroup::builder()
        .grace(SECOND)
        .run(|group| async move {
            let (token, other) = (group.token(), group.clone());
            group.spawn(async move {
                sleep(SECOND).await;
                other.cancel();
                Ok(())
            });
            let obeys = |ready: runtime::Promise<u8>| async move {
                let _ready = ready;
                token.cancelled().await;
                Ok(())
            };
            assert_eq!(group.start(obeys).await, Ok(None));
            Ok(())
        })
        .await;
    assert_eq!(outcome.unwrap(), Some(()));
}

#[runtime::test(flavor = "current_thread", start_paused = true)]
async fn a_failure_before_somebody_else_says_that_the_child_is_ready_is_the_group_s() {
    let outcome: Outcome<()> = task_group(|group| async move {
        let place = Arc::new(Mutex::new(None));
        let theirs = place.clone();
        let mut start = Box::pin(group.start(move |ready: runtime::Promise<u8>| async move {
            *theirs.lock() = Some(ready);
            Err("unready")
        }));
        assert!(poll_once(start.as_mut()).await.is_pending());
        settle().await;
        let ready = place.lock().take().expect("the child has run");
        ready.set_result(1).unwrap();
        assert_eq!(start.await, Ok(Some(1)));
        hour().await
    })
    .await;
    assert_eq!(texts(outcome), ["unready"]);
}

// --- runtimes ---

#[test]
fn a_shutdown_of_the_runtime_empties_the_group() {
    within(PATIENCE, || {
        let (rt, other) = (multi(1), single());
        let counts = Counts::new();
        let handle = rt.handle();
        let watched = counts.clone();
        let outcome: Outcome<()> = promptly(|| {
            other.block_on(task_group(move |group| async move {
                {
                    let _entered = handle.enter();
                    for _ in 0..3 {
                        drop(group.spawn(watched.watch(pending::<Result<(), &str>>())));
                    }
                }
                drop(rt);
                Ok(())
            }))
        });
        assert!(outcome.is_ok());
        assert_eq!(counts.drops(), 3);
    });
}

// --- hostile wakers ---

#[test]
fn a_waker_that_re_enters_drops_or_panics_holds_nobody_up() {
    use std::pin::Pin;
    use std::task::{Context, Wake, Waker};

    type Slot = Mutex<Option<Pin<Box<dyn Future<Output = Outcome<()>> + Send>>>>;

    /// Polls the group again inside the wake, and panics.
    struct Hostile(Slot, AtomicUsize);
    impl Wake for Hostile {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            poll(&self);
            panic!("hostile");
        }
    }

    fn poll(hostile: &Arc<Hostile>) {
        // Not while it is being polled further down this stack or on another thread.
        let Some(mut group) = hostile.0.try_lock().and_then(|mut slot| slot.take()) else { return };
        let waker = Waker::from(hostile.clone());
        let polled = group.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            *hostile.0.lock() = Some(group);
        }
    }

    within(PATIENCE, || {
        let rt = multi(1);
        let counts = Counts::new();
        let (handle, watched) = (rt.handle(), counts.clone());
        let group = task_group(move |group| async move {
            let _entered = handle.enter();
            let waits = group.clone();
            drop(group.spawn(watched.watch(pending::<Result<(), &str>>())));
            drop(group.spawn(async move {
                runtime::task::yield_now().await;
                waits.cancel();
                Ok(())
            }));
            Ok(())
        });
        let hostile = Arc::new(Hostile(Mutex::new(Some(Box::pin(group))), AtomicUsize::new(0)));
        poll(&hostile);
        runtime_tests::until(|| counts.drops() == 1 && hostile.1.load(Ordering::SeqCst) > 0);
    });
}

#[test]
fn a_handle_that_is_kept_does_not_keep_the_waker_of_who_awaited_the_group() {
    use std::task::Context;

    let mut kept = None;
    let mut group = Box::pin(task_group(|group| {
        kept = Some(group);
        async { Ok::<(), &str>(()) }
    }));
    let (count, waker) = CountingWaker::new();
    assert!(group.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    drop((group, waker));
    assert!(kept.is_some());
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_group_is_cancelled_for_whoever_has_cancelled_it_also_inside_another_cancel() {
    use std::sync::OnceLock;
    use std::task::{Context, Wake, Waker};

    /// Waits for room, and so is woken in the middle of the cancel.
    #[derive(Default)]
    struct Second {
        group: OnceLock<TaskGroup<&'static str>>,
        saw: OnceLock<bool>,
    }
    impl Wake for Second {
        fn wake(self: Arc<Self>) {
            let group = self.group.get().unwrap();
            group.cancel();
            self.saw.set(group.is_cancelled()).unwrap();
        }
    }

    on_each(|rt| {
        let outcome: Outcome<()> = rt.block_on(TaskGroup::builder().limit(1).run(|group| async move {
            drop(group.spawn(pending::<Result<(), &str>>()));
            let second = Arc::new(Second::default());
            second.group.set(group.clone()).unwrap();
            let waker = Waker::from(second.clone());
            let mut room = Box::pin(group.room());
            assert!(room.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            group.cancel();
            assert_eq!(second.saw.get(), Some(&true));
            Ok(())
        }));
        assert!(outcome.is_ok());
    });
}

/// Owns its promise when it panics: no unwinding drops that, but the end of the future.
struct Producer(#[expect(dead_code, reason = "it is dropped")] Promise<u8>);

impl std::future::Future for Producer {
    type Output = Result<(), &'static str>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        panic!("the producer")
    }
}

#[test]
fn a_broken_promise_says_that_the_child_or_the_body_that_owned_it_panicked() {
    on_each(|rt| {
        let (child_s, of_child) = Promise::new();
        let (body_s, of_body) = Promise::new();
        let outcome: Outcome<()> = rt.block_on(task_group(async |group| {
            group.spawn(Producer(child_s));
            Ok(())
        }));
        assert_eq!(texts(outcome), ["task panicked: the producer"]);
        let outcome: Outcome<()> = rt.block_on(task_group(|_| Producer(body_s)));
        assert_eq!(texts(outcome), ["task panicked: the producer"]);
        for future in [of_child, of_body] {
            let error = future.exception().unwrap();
            assert!(error.to_string().contains("its producer panicked"), "{error}");
        }
    });
}
