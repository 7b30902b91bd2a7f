//! What `#[runtime::test]` promises at run time. What both attributes accept and refuse is in `ui/`, and so is
//! what `#[runtime::main]` does, which needs a process of its own.

#![deny(warnings, clippy::pedantic)]

use std::num::ParseIntError;
use std::sync::{Arc, Barrier};
use std::thread;

use parking_lot::Mutex;
use runtime::Handle;

mod shadowed {
    //! Other things under the names that an expansion might use.

    #![allow(unused_imports, dead_code, reason = "they are here to be in the way")]

    use ::runtime::test;

    mod core {}
    mod std {}
    mod runtime {}
    struct Builder;

    #[test]
    async fn names_in_scope_do_not_matter() {
        assert!(::runtime::Handle::try_current().is_some());
    }
}

#[runtime::test]
async fn a_test_runs_in_the_context_of_a_runtime() {
    assert!(Handle::try_current().is_some());
}

#[runtime::test]
async fn a_test_may_spawn_and_await() {
    let task = runtime::spawn(async { 6 * 7 });
    assert_eq!(task.await.unwrap(), 42);
}

#[runtime::test]
async fn a_test_may_return_a_result() -> Result<(), ParseIntError> {
    assert_eq!("42".parse::<u8>()?, 42);
    Ok(())
}

#[runtime::test]
async fn a_test_may_hold_what_is_not_send() {
    let shared = std::rc::Rc::new(1);
    runtime::spawn(async {}).await.unwrap();
    assert_eq!(*shared, 1);
}

#[runtime::test]
#[should_panic(expected = "the reason")]
async fn a_panic_reaches_should_panic_with_its_message() {
    panic!("the reason");
}

#[should_panic(expected = "written above")]
#[runtime::test]
async fn attributes_may_stand_above() {
    panic!("written above");
}

#[runtime::test(name = "named")]
async fn the_name_reaches_the_runtime() {
    let name = format!("{:?}", Handle::current().runtime_name());
    assert!(name.contains("named"), "{name}");
}

#[runtime::test(flavor = "current_thread")]
async fn current_thread_runs_tasks_on_the_test_thread() {
    let task = runtime::spawn(async { thread::current().id() });
    assert_eq!(task.await.unwrap(), thread::current().id());
}

#[runtime::test(worker_threads = 2)]
async fn two_workers_run_two_blocking_tasks_at_once() {
    let both = Arc::new(Barrier::new(2));
    let there = Arc::clone(&both);
    let first = runtime::spawn(async move { both.wait().is_leader() });
    let second = runtime::spawn(async move { there.wait().is_leader() });
    assert_ne!(first.await.unwrap(), second.await.unwrap());
}

/// The runtimes that the tests below ran on.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn assert_unseen() {
    let this = format!("{:?}", Handle::current().id());
    let mut seen = SEEN.lock();
    assert!(!seen.contains(&this), "{this} served two tests");
    seen.push(this);
}

#[runtime::test]
async fn each_test_has_a_runtime_of_its_own() {
    assert_unseen();
}

#[runtime::test]
async fn so_has_this_one() {
    assert_unseen();
}

#[runtime::test(flavor = "current_thread")]
async fn and_this_one_on_its_own_thread() {
    assert_unseen();
}
