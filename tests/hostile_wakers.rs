//! Whatever a waker does in its operations, everybody who waits is woken, and nobody else comes to harm.
//!
//! Each test goes through everything that one can wait for (`primitives`) and everything that a waker can do (`DEEDS`).

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use runtime::io::AsyncFd;
use runtime::{Handle, Promise, Runtime};
use runtime_tests::{
    CountingWaker, Deed, Hostile, Op, PATIENCE, Primitive, Scene, multi, primitives, promptly, until, within,
};

const DEEDS: [(Op, Deed); 11] = [
    (Op::Wake, Deed::DropClones),
    (Op::Drop, Deed::DropClones),
    (Op::Wake, Deed::Meddle),
    (Op::Clone, Deed::Meddle),
    (Op::Drop, Deed::Meddle),
    (Op::Wake, Deed::Panic),
    (Op::Clone, Deed::Panic),
    (Op::Drop, Deed::Panic),
    (Op::Wake, Deed::Block),
    (Op::Clone, Deed::Block),
    (Op::Drop, Deed::Block),
];

/// A runtime, a thing to wait for, and a hostile waker. The last line printed says which one failed.
fn on_all(test: fn(Runtime, Primitive, Scene, (Arc<Hostile>, Waker))) {
    for primitive in primitives() {
        for (op, deed) in DEEDS {
            println!("{} and a waker with {deed:?} in {op:?}", primitive.name);
            within(PATIENCE, move || {
                let rt = Runtime::builder().worker_threads(2).on_unobserved(|_| {}).build().unwrap();
                let handle = rt.handle();
                let _entered = handle.enter();
                let mut scene = primitive.scene(&rt);
                let hostile = match deed {
                    // It keeps nothing alive.
                    Deed::Panic => panicking(op),
                    Deed::DropClones => {
                        Hostile::new(op, deed, Arc::new(|| {}), std::mem::take(&mut scene.clones))
                    }
                    Deed::Meddle | Deed::Block => Hostile::new(op, deed, scene.meddle.clone(), Vec::new()),
                };
                scene.clones.clear();
                test(rt, primitive, scene, hostile);
            });
        }
    }
}

/// Ends the waits, on a thread of its own that stands in the runtime.
#[track_caller]
fn end(scene: &mut Scene) {
    let (finish, handle) = (scene.take_finish(), Handle::current());
    let ended = thread::spawn(move || {
        let _entered = handle.enter();
        finish();
    });
    assert!(ended.join().is_ok(), "the panic of a waker came out of what woke it");
}

#[test]
fn everybody_is_woken_and_who_ends_the_wait_is_not_harmed() {
    on_all(|_rt, primitive, mut scene, (hostile, waker)| {
        let mut bad = scene.begin();
        // Its own panic is its own; only a clone has to be made for it while it is polled.
        let waits = bad.try_poll(&waker).is_ok_and(|ready| !ready);
        let friend = CountingWaker::new();
        let good = primitive.shared.then(|| {
            let mut good = scene.begin();
            good.poll_counted(&friend);
            good
        });
        end(&mut scene);
        if let Some(mut good) = good {
            good.drive(&friend);
        }
        if waits {
            until(|| hostile.wakes() > 0);
            hostile.disarm();
            bad.drive(&friend);
        }
        hostile.disarm();
    });
}

#[test]
fn who_replaces_a_waker_is_not_harmed_by_it() {
    on_all(|_rt, _, mut scene, (hostile, waker)| {
        let mut wait = scene.begin();
        if wait.try_poll(&waker).is_err() {
            wait = scene.begin();
        }
        let friend = CountingWaker::new();
        wait.poll_counted(&friend);
        end(&mut scene);
        wait.drive(&friend);
        hostile.disarm();
    });
}

#[test]
fn a_wait_that_is_abandoned_harms_nobody() {
    on_all(|_rt, _, mut scene, (hostile, waker)| {
        let mut bad = scene.begin();
        let _ = bad.try_poll(&waker);
        drop(bad);
        let friend = CountingWaker::new();
        let mut good = scene.begin();
        good.poll_counted(&friend);
        end(&mut scene);
        good.drive(&friend);
        hostile.disarm();
    });
}

#[test]
fn a_thing_that_goes_away_under_its_waiters_harms_nobody() {
    on_all(|rt, _, mut scene, (hostile, waker)| {
        let mut bad = scene.begin();
        let _ = bad.try_poll(&waker);
        drop(scene);
        drop(bad);
        rt.spawn(async {}).wait().expect("the runtime goes on");
        hostile.disarm();
    });
}

#[test]
fn a_runtime_that_ends_under_its_waiters_harms_nobody() {
    on_all(|rt, primitive, mut scene, (hostile, waker)| {
        let mut bad = scene.begin();
        let _ = bad.try_poll(&waker);
        if primitive.blocks {
            end(&mut scene);
        }
        promptly(|| drop(rt));
        drop(bad);
        drop(scene);
        hostile.disarm();
    });
}

fn panicking(op: Op) -> (Arc<Hostile>, Waker) {
    Hostile::new(op, Deed::Panic, Arc::new(|| {}), Vec::new())
}

#[test]
fn an_object_is_dropped_under_two_wakers_that_both_panic_in_their_destructors() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 4096]).is_ok() {}
        let fd = AsyncFd::new(ours).unwrap();
        let ((first, reader), (second, writer)) = (panicking(Op::Drop), panicking(Op::Drop));
        assert!(fd.poll_read_ready(&mut Context::from_waker(&reader)).is_pending());
        assert!(fd.poll_write_ready(&mut Context::from_waker(&writer)).is_pending());
        // Two panics of destructors at a time would end the process.
        drop(fd);
        [first, second].iter().for_each(|hostile| hostile.disarm());
        drop((reader, writer));
        rt.spawn(async {}).wait().unwrap();
    });
}

#[test]
fn a_sleep_that_is_put_forward_wakes_a_waker_that_panics() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let (hostile, waker) = panicking(Op::Wake);
        let mut sleep = std::pin::pin!(runtime::time::sleep(std::time::Duration::from_secs(3600)));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleep.as_mut().reset(runtime::time::now());
        assert_eq!(hostile.wakes(), 1);
        rt.block_on(sleep);
    });
}

#[test]
fn one_of_a_thousand_waiters_blocks_and_the_others_use_the_future_meanwhile() {
    within(PATIENCE, || {
        let rt = multi(2);
        let _entered = rt.enter();
        let (promise, future) = Promise::new();
        let kept = future.clone();
        let meddle = Arc::new(move || {
            let (clone, mut late) = (kept.clone(), kept.clone());
            assert!(clone.done());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(std::pin::Pin::new(&mut late).poll(&mut cx).is_ready());
            clone.add_done_callback(|_| {});
        });
        let (hostile, blocks) = Hostile::new(Op::Wake, Deed::Block, meddle, Vec::new());
        let (count, counts) = CountingWaker::new();
        let mut waits: Vec<_> = (0..1000).map(|_| future.clone()).collect();
        for (n, wait) in waits.iter_mut().enumerate() {
            let waker = if n == 500 { &blocks } else { &counts };
            assert!(std::pin::Pin::new(wait).poll(&mut Context::from_waker(waker)).is_pending());
        }
        promise.set_result(()).unwrap();
        assert_eq!((count.wakes(), hostile.wakes(), hostile.deeds()), (999, 1, 1));
    });
}
