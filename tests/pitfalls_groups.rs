//! What goes wrong with groups elsewhere, by the numbers of the project's list of pitfalls. Each part says how long it
//! took by the virtual clock: a cancel that does not work passes every other check.

use std::time::Duration;

use parking_lot::Mutex;
use runtime::time::{now, sleep};
use runtime::{AbortHandle, Failure, GroupError, task_group};
use runtime_tests::Counts;

const TICK: Duration = Duration::from_millis(100);

type Outcome<R> = Result<Option<R>, GroupError<String>>;

async fn ten_seconds() -> Result<(), String> {
    sleep(Duration::from_secs(10)).await;
    Ok(())
}

/// asyncio's groups have had the parts below wrong one after the other: gh-95289, gh-95704, gh-116720, gh-128550.
#[runtime::test(start_paused = true)]
async fn p18_group_rules() {
    let begin = now();
    sibling_and_body_are_cancelled_and_all_errors_kept().await;
    a_panic_keeps_its_payload().await;
    values_are_returned().await;
    cancel_is_no_error().await;
    a_spawn_after_a_cancel_cannot_hang().await;
    a_child_that_fails_while_the_parent_is_being_cancelled().await;
    assert!(now() - begin < Duration::from_millis(1_500), "took {:?}", now() - begin);
}

async fn sibling_and_body_are_cancelled_and_all_errors_kept() {
    let (begin, counts) = (now(), Counts::new());
    let outcome: Outcome<()> = task_group(|group| {
        let counts = counts.clone();
        async move {
            drop(group.spawn(counts.watch(ten_seconds())));
            for n in 0..2 {
                group.spawn::<()>(async move {
                    sleep(TICK).await;
                    // Both fail in the same tick; neither waits again, so both are heard.
                    Err(format!("error {n}"))
                });
            }
            counts.watch(ten_seconds()).await
        }
    })
    .await;
    let errors = outcome.unwrap_err().errors;
    assert!(matches!(&errors[0], Failure::Error(error) if error.starts_with("error ")));
    assert_eq!((now() - begin, counts.drops()), (TICK, 2));
}

async fn a_panic_keeps_its_payload() {
    let begin = now();
    let outcome: Outcome<()> = task_group(|group| async move {
        group.spawn::<()>(async { std::panic::panic_any(17_u8) });
        ten_seconds().await
    })
    .await;
    let failure = outcome.unwrap_err().errors.remove(0);
    let Failure::Panic(error) = failure else { panic!("a panic is told apart from an error") };
    assert_eq!(*error.into_panic().unwrap().downcast::<u8>().unwrap(), 17);
    assert_eq!(now() - begin, Duration::ZERO);
}

async fn values_are_returned() {
    let begin = now();
    let outcome: Outcome<u32> = task_group(|group| async move {
        let one = group.spawn(async { Ok(1) });
        let two = group.spawn(async {
            sleep(TICK).await;
            Ok(2)
        });
        Ok(one.await.unwrap().unwrap() + two.await.unwrap().unwrap())
    })
    .await;
    assert_eq!((outcome.unwrap(), now() - begin), (Some(3), TICK));
}

async fn cancel_is_no_error() {
    let begin = now();
    let outcome: Outcome<()> = task_group(|group| async move {
        drop(group.spawn(ten_seconds()));
        sleep(TICK).await;
        group.cancel();
        group.cancel();
        ten_seconds().await
    })
    .await;
    assert_eq!((outcome.unwrap(), now() - begin), (None, TICK));
}

async fn a_spawn_after_a_cancel_cannot_hang() {
    let begin = now();
    let seen = Mutex::new(None);
    let outcome: Outcome<()> = task_group(|group| {
        let seen = &seen;
        async move {
            group.cancel();
            *seen.lock() = Some(group.spawn(ten_seconds()));
            Ok(())
        }
    })
    .await;
    assert!(outcome.is_ok());
    let task = seen.into_inner().unwrap();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(now() - begin, Duration::ZERO);
}

async fn a_child_that_fails_while_the_parent_is_being_cancelled() {
    let (begin, counts) = (now(), Counts::new());
    let watched = counts.clone();
    let parent = runtime::spawn(async move {
        let outcome: Outcome<()> = task_group(|group| async move {
            group.spawn::<()>(async {
                sleep(TICK).await;
                Err("at the same time".to_owned())
            });
            drop(group.spawn(watched.watch(ten_seconds())));
            ten_seconds().await
        })
        .await;
        drop(outcome);
        // Reached if the failure comes first; the cancel must not be swallowed by it.
        ten_seconds().await
    });
    sleep(TICK).await;
    assert!(parent.cancel_and_wait().await.unwrap_err().is_cancelled());
    while counts.drops() == 0 {
        runtime::task::yield_now().await;
    }
    assert_eq!(now() - begin, TICK);
}

/// An abort that is kept in the task's handle is gone with it, and the group can only wait.
#[runtime::test(start_paused = true)]
async fn p24_abort_after_the_handle_was_dropped() {
    let (begin, counts) = (now(), Counts::new());
    let kept: Mutex<Vec<AbortHandle>> = Mutex::new(Vec::new());
    let outcome: Outcome<()> = task_group(|group| {
        let (counts, kept) = (counts.clone(), &kept);
        async move {
            for _ in 0..3 {
                let task = group.spawn(counts.watch(ten_seconds()));
                kept.lock().push(task.abort_handle());
                drop(task);
            }
            sleep(TICK).await;
            assert!(kept.lock()[0].cancel());
            sleep(TICK).await;
            assert_eq!(counts.drops(), 1);
            Err("the rest is the group's".to_owned())
        }
    })
    .await;
    assert_eq!(outcome.unwrap_err().errors.len(), 1);
    assert!(kept.into_inner().iter().all(|handle| handle.is_finished() && !handle.cancel()));
    assert_eq!((now() - begin, counts.drops()), (2 * TICK, 3));
}
