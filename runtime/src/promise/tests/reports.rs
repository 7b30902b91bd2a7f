//! "Exception was never retrieved".

use super::*;

/// The reports that `f` causes on a runtime.
fn reports(f: impl FnOnce(&Arc<Queue>)) -> Vec<String> {
    let queue = Arc::new(Queue::default());
    let inside = Inside::of(&queue);
    f(&queue);
    drop(inside);
    queue.reports()
}

#[test]
fn a_failure_that_nobody_read_is_reported_once_with_its_place() {
    let queue = Arc::new(Queue::default());
    let (promise, future) = Promise::<u8>::new();
    let line = line!() - 1;
    {
        let _inside = Inside::of(&queue);
        promise.set_exception("lost").unwrap();
    }
    drop(future.clone());
    drop(promise);
    assert!(queue.reports.lock().is_empty(), "a handle is left");
    drop(future);
    let reports = queue.reports.lock();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].location().line(), line);
    assert!(reports[0].to_string().contains("was never retrieved: lost"), "{}", reports[0]);
}

#[test]
fn the_promise_may_be_the_last_handle() {
    let lost = reports(|_| {
        let (promise, future) = Promise::<u8>::new();
        drop(future);
        promise.set_exception("lost").unwrap();
    });
    assert_eq!(lost, ["lost"]);
}

#[test]
fn reading_silences() {
    let read: [fn(Future<u8>); 5] = [
        |f| _ = f.result(),
        |f| _ = f.exception(),
        |f| _ = f.wait().is_err(),
        |f| _ = block_on(&f).is_err(),
        |f| _ = block_on(f).is_err(),
    ];
    for read in read {
        assert!(reports(|_| read(Future::failed("seen"))).is_empty());
    }
}

#[test]
fn looking_at_the_state_and_cancelling_do_not_silence() {
    let lost = reports(|_| {
        let future = Future::<u8>::failed("lost");
        assert!(future.done() && !future.cancelled() && !future.cancel());
        let _ = format!("{future:?}");
    });
    assert_eq!(lost, ["lost"]);
}

#[test]
fn a_callback_that_reads_silences_and_one_that_does_not_does_not() {
    let silent = reports(|queue| {
        let future = Future::<u8>::failed("seen");
        future.add_done_callback_on(queue.clone(), |f| _ = f.exception());
        drop(future);
        assert!(queue.reports.lock().is_empty(), "the callback has not run");
        queue.run();
    });
    assert!(silent.is_empty());
    let lost = reports(|queue| {
        let future = Future::<u8>::failed("lost");
        future.add_done_callback_on(queue.clone(), |_| {});
        drop(future);
        queue.run();
    });
    assert_eq!(lost, ["lost"]);
}

#[test]
fn cancelled_and_plainly_broken_promises_are_not_reported() {
    let silent = reports(|_| {
        let (promise, future) = Promise::<u8>::new();
        future.cancel();
        drop((promise, future));
        drop(Promise::<u8>::new());
    });
    assert!(silent.is_empty());
}

#[test]
fn panics_are_reported() {
    let lost = reports(|_| {
        let (promise, _future) = Promise::<u8>::new();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _promise = promise;
            std::panic::resume_unwind(Box::new(()));
        }));
        let (promise, _future) = Promise::<u8>::new();
        promise.set_with(|| -> Result<u8, Error> { std::panic::resume_unwind(Box::new("one")) });
        let (promise, future) = Promise::<u8>::new();
        future.cancel();
        promise.set_with(|| -> Result<u8, Error> { std::panic::resume_unwind(Box::new("two")) });
    });
    let broken = "the promise was dropped before it was set: its producer panicked";
    assert_eq!(lost, ["task panicked: two", "task panicked: one", broken]);
}

#[test]
fn a_handler_that_panics_harms_nobody() {
    struct Bad;
    impl Executor for Bad {
        fn id(&self) -> u64 {
            1
        }

        fn execute(&self, job: Job) {
            job();
        }
        fn report(&self, _: Unobserved) {
            std::panic::resume_unwind(Box::new("handler"));
        }
    }
    impl Ambient for Bad {
        fn executor(&self) -> Option<Arc<dyn Executor>> {
            Some(Arc::new(Bad))
        }
    }
    let before = context::replace(Some(&Bad));
    drop(Future::<u8>::failed("lost"));
    let done = Future::ready(1);
    done.add_done_callback_on(Arc::new(Bad), |_| std::panic::resume_unwind(Box::new("callback")));
    context::replace(before);
}
