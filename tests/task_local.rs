//! Task-local values: there in their scope and nowhere else, and handed on only by keys that say so.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use runtime::task::{LocalSet, spawn_local, yield_now};
use runtime::{Handle, Promise, task_local};
use runtime_tests::{Counts, PATIENCE, multi, on_each, single, until, within};

task_local! {
    static OWN: u32;
    static NAME: String;
    static CELL: Cell<u32>;
    inherit static SHARED: u32;
    inherit static OTHER: &'static str;
    inherit static KEPT: Arc<()>;
}

/// Named as a static in the macro might be.
const SLOT: usize = 3;

task_local! {
    static SIZED: [u8; SLOT];
}

#[test]
fn the_type_of_a_key_may_use_any_name() {
    assert_eq!(single().block_on(SIZED.scope([7; SLOT], async { SIZED.get() })), [7; 3]);
}

fn poll_now<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn own() -> Option<u32> {
    OWN.try_with(|value| *value).ok()
}

fn shared() -> Option<u32> {
    SHARED.try_with(|value| *value).ok()
}

// --- scopes ---

#[test]
fn a_value_is_there_on_whichever_worker_its_task_runs() {
    on_each(|rt| {
        let tasks: Vec<_> = (0..64)
            .map(|n| {
                rt.spawn(OWN.scope(n, async move {
                    for _ in 0..20 {
                        assert_eq!(OWN.get(), n);
                        yield_now().await;
                    }
                }))
            })
            .collect();
        tasks.into_iter().for_each(|task| rt.block_on(task).unwrap());
    });
}

#[test]
fn there_is_no_value_outside_of_a_scope() {
    assert_eq!(own(), None);
    assert_eq!(shared(), None);
    OWN.sync_scope(1, || ());
    SHARED.sync_scope(1, || ());
    assert_eq!(own(), None);
    assert_eq!(shared(), None);
}

#[test]
#[should_panic(expected = "outside of its scope")]
fn with_panics_outside_of_a_scope() {
    NAME.with(|_| ());
}

#[test]
fn inner_scopes_win_while_they_last() {
    on_each(|rt| {
        rt.block_on(OWN.scope(
            1,
            SHARED.scope(1, async {
                OWN.scope(
                    2,
                    SHARED.scope(2, async {
                        yield_now().await;
                        assert_eq!((own(), shared()), (Some(2), Some(2)));
                    }),
                )
                .await;
                assert_eq!((own(), shared()), (Some(1), Some(1)));
            }),
        ));
    });
}

#[test]
fn two_scopes_polled_in_turns_keep_their_own_values() {
    on_each(|rt| {
        rt.block_on(async {
            let mut one = pin!(OWN.scope(
                1,
                SHARED.scope(10, async {
                    yield_now().await;
                    (own(), shared())
                })
            ));
            let mut two = pin!(OWN.scope(
                2,
                SHARED.scope(20, async {
                    yield_now().await;
                    (own(), shared())
                })
            ));
            assert!(poll_now(one.as_mut()).is_pending());
            assert!(poll_now(two.as_mut()).is_pending());
            assert_eq!((own(), shared()), (None, None));
            assert_eq!(one.await, (Some(1), Some(10)));
            assert_eq!(two.await, (Some(2), Some(20)));
        });
    });
}

#[test]
fn a_panic_inside_takes_the_value_out_of_force() {
    let caught = std::panic::catch_unwind(|| {
        OWN.sync_scope(1, || SHARED.sync_scope(1, || std::panic::resume_unwind(Box::new("inside"))))
    });
    assert!(caught.is_err());
    assert_eq!((own(), shared()), (None, None));
}

#[test]
fn a_scope_may_stand_inside_with() {
    let seen = OWN.sync_scope(1, || {
        OWN.with(|outer| {
            let inner = OWN.sync_scope(2, || OWN.get());
            (*outer, inner, OWN.get())
        })
    });
    assert_eq!(seen, (1, 2, 1));
}

#[test]
fn a_task_that_is_polled_inside_with_may_have_scopes_of_the_same_key() {
    within(PATIENCE, || {
        let rt = single();
        let scoped = || rt.block_on(rt.spawn(OWN.scope(2, async { OWN.get() })));
        assert_eq!(OWN.sync_scope(1, || OWN.with(|_| scoped())).unwrap(), 2);
    });
}

#[test]
fn a_panic_inside_with_drops_a_scope_of_the_same_key_in_good_order() {
    let caught = std::panic::catch_unwind(|| {
        OWN.sync_scope(0, || {
            OWN.with(|_| {
                let _scope = OWN.scope(1, async {});
                std::panic::resume_unwind(Box::new("inside"))
            })
        })
    });
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
}

#[test]
fn take_value_gives_what_the_future_left() {
    single().block_on(async {
        let mut scope = pin!(CELL.scope(Cell::new(1), async {
            yield_now().await;
            CELL.with(|cell| cell.set(5));
        }));
        scope.as_mut().await;
        assert_eq!(scope.as_mut().take_value(), Some(Cell::new(5)));
        assert_eq!(scope.take_value(), None);
    });
}

/// Says on drop what values it sees.
struct SeesOnDrop(mpsc::Sender<(Option<u32>, Option<u32>)>);

impl Drop for SeesOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send((own(), shared()));
    }
}

#[test]
fn destructors_of_a_cancelled_future_see_the_values() {
    on_each(|rt| {
        let (sender, receiver) = mpsc::channel();
        let watch = SeesOnDrop(sender);
        let task = rt.spawn(OWN.scope(
            3,
            SHARED.scope(4, async move {
                let _watch = watch;
                pending::<()>().await;
            }),
        ));
        rt.block_on(async {
            yield_now().await;
            assert!(task.cancel_and_wait().await.unwrap_err().is_cancelled());
        });
        assert_eq!(receiver.recv(), Ok((Some(3), Some(4))));
    });
}

#[test]
fn destructors_of_a_cancelled_child_see_what_it_inherited() {
    on_each(|rt| {
        let (sender, receiver) = mpsc::channel();
        let watch = SeesOnDrop(sender);
        rt.block_on(SHARED.scope(4, async {
            let child = runtime::spawn(async move {
                let _watch = watch;
                pending::<()>().await;
            });
            assert!(child.cancel_and_wait().await.unwrap_err().is_cancelled());
        }));
        assert_eq!(receiver.recv(), Ok((None, Some(4))));
    });
}

// --- who else sees it ---

#[test]
fn a_spawned_task_inherits_only_what_the_key_hands_on() {
    on_each(|rt| {
        let seen = rt.block_on(OWN.scope(
            1,
            SHARED.scope(2, async {
                runtime::spawn(async {
                    yield_now().await;
                    (own(), shared())
                })
                .await
            }),
        ));
        assert_eq!(seen.unwrap(), (None, Some(2)));
    });
}

#[test]
fn grandchildren_inherit_too_and_each_key_has_one_value() {
    fn descend(depth: u32) -> Pin<Box<dyn Future<Output = (u32, &'static str)> + Send>> {
        Box::pin(async move {
            if depth == 100 {
                return (SHARED.get(), OTHER.get());
            }
            runtime::spawn(SHARED.scope(depth + 1, descend(depth + 1))).await.unwrap()
        })
    }
    on_each(|rt| {
        assert_eq!(rt.block_on(OTHER.scope("constant", descend(0))), (100, "constant"));
    });
}

#[test]
fn each_way_to_spawn_hands_values_on() {
    on_each(|rt| {
        let handle = rt.handle();
        rt.block_on(SHARED.scope(6, async move {
            assert_eq!(handle.spawn(async { shared() }).await.unwrap(), Some(6));
            assert_eq!(runtime::spawn_blocking(shared).await.unwrap(), Some(6));
            let named = runtime::task::Builder::new().name("named");
            assert_eq!(named.spawn(async { shared() }).await.unwrap(), Some(6));
            assert_eq!(named.spawn_blocking(shared).await.unwrap(), Some(6));

            let (promise, soon) = Promise::new();
            handle.call_soon(move || promise.set_result(shared()).unwrap());
            assert_eq!(soon.await.unwrap(), Some(6));
            let (promise, later) = Promise::new();
            handle.call_later(Duration::from_millis(1), move || promise.set_result(shared()).unwrap());
            assert_eq!(later.await.unwrap(), Some(6));
        }));
    });
}

#[test]
fn a_local_task_inherits_only_what_the_key_hands_on() {
    let rt = single();
    let set = LocalSet::new();
    let seen =
        rt.block_on(set.run_until(
            OWN.scope(1, SHARED.scope(2, async { spawn_local(async { (own(), shared()) }).await })),
        ));
    assert_eq!(seen.unwrap(), (None, Some(2)));
}

#[test]
fn a_callback_sees_the_values_of_where_it_was_added() {
    on_each(|rt| {
        let (sender, receiver) = mpsc::channel();
        let (promise, future) = Promise::new();
        rt.block_on(async {
            let of_task = sender.clone();
            let task = SHARED.sync_scope(1, || {
                let task = runtime::spawn(SHARED.scope(8, async {}));
                task.add_done_callback(move |_| of_task.send(("task", shared())).unwrap());
                task
            });
            task.await.unwrap();
            let of_future = sender.clone();
            SHARED.sync_scope(2, || {
                future.add_done_callback(move |_| of_future.send(("future", shared())).unwrap());
            });
            let of_nobody = sender.clone();
            future.add_done_callback(move |_| of_nobody.send(("nobody", shared())).unwrap());
            SHARED.scope(9, async move { promise.set_result(()).unwrap() }).await;
            future.await.unwrap();
        });
        drop(sender);
        let seen = rt.spawn_blocking(move || (0..3).map(|_| receiver.recv().unwrap()).collect());
        let mut seen: Vec<_> = rt.block_on(seen).unwrap();
        seen.sort_unstable();
        assert_eq!(seen, [("future", Some(2)), ("nobody", None), ("task", Some(1))]);
    });
}

#[test]
fn other_tasks_that_the_thread_polls_meanwhile_see_nothing() {
    within(PATIENCE, || {
        let rt = single();
        // Spawned outside; the thread polls it inside the scope.
        let other = rt.spawn(async { (own(), shared()) });
        let seen = OWN.sync_scope(1, || SHARED.sync_scope(2, || rt.block_on(other)));
        assert_eq!(seen.unwrap(), (None, None));

        let set = LocalSet::new();
        let other = set.spawn_local(async { (own(), shared()) });
        let seen = rt.block_on(set.run_until(OWN.scope(1, SHARED.scope(2, other))));
        assert_eq!(seen.unwrap(), (None, None));
    });
}

#[test]
fn the_root_of_a_nested_block_on_sees_the_values() {
    on_each(|rt| {
        let handle = rt.handle();
        let seen = rt.block_on(async move {
            let task = runtime::spawn(OWN.scope(
                1,
                SHARED.scope(2, async move {
                    handle.block_on(async {
                        yield_now().await;
                        (own(), shared())
                    })
                }),
            ));
            task.await.unwrap()
        });
        assert_eq!(seen, (Some(1), Some(2)));
    });
}

#[test]
fn a_value_lives_until_the_last_heir_is_gone() {
    within(PATIENCE, || {
        let rt = multi(1);
        let value = Arc::new(());
        let (promise, go) = Promise::<()>::new();
        let child = KEPT.sync_scope(value.clone(), || {
            rt.spawn(async move {
                go.await.unwrap();
                KEPT.with(|_| ());
            })
        });
        assert_eq!(Arc::strong_count(&value), 2);
        promise.set_result(()).unwrap();
        rt.block_on(child).unwrap();
        until(|| Arc::strong_count(&value) == 1);
    });
}

#[test]
fn a_scope_that_moves_between_surroundings_sees_each() {
    single().block_on(async {
        let mut moving = Box::pin(SHARED.scope(
            1,
            poll_fn(|_| {
                assert_eq!(shared(), Some(1));
                match OTHER.try_with(|other| *other) {
                    Ok("end") => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }),
        ));
        assert!(poll_now(moving.as_mut()).is_pending());
        assert!(OTHER.sync_scope("first", || poll_now(moving.as_mut())).is_pending());
        assert!(poll_now(moving.as_mut()).is_pending());
        assert!(OTHER.sync_scope("end", || poll_now(moving.as_mut())).is_ready());
    });
}

#[test]
fn a_task_that_inherits_is_dropped_once() {
    on_each(|rt| {
        let counts = Counts::new();
        let watched = counts.watch(async {});
        rt.block_on(SHARED.scope(1, async { runtime::spawn(watched).await.unwrap() }));
        assert_eq!((counts.drops(), counts.overlaps()), (1, 0));
    });
}

#[test]
fn spawning_from_inside_with_works() {
    on_each(|rt| {
        let handle: Handle = rt.handle();
        let task = SHARED
            .sync_scope(1, || SHARED.with(|_| SHARED.sync_scope(2, || handle.spawn(async { shared() }))));
        assert_eq!(rt.block_on(task).unwrap(), Some(2));
    });
}
