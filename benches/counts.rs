//! Performs an operation of the runtime N times, so that its instructions can be counted.
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='counts::measured*' target/release/counts spawn 1000
//! ```
//!
//! Instructions per operation = (count of 2N operations - count of N) / N: whatever happens once cancels
//! out. The runtime is single-threaded, because only then is the count the same every time.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::{env, future};

use runtime::Runtime;

const USAGE: &str = "\
usage: counts OPERATION N
  spawn   spawn an empty task and await it
  yield   yield once, in the only task
  wake    a task stores its waker, wakes its partner and waits; one of the two does so per operation
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some((operation, times)) = parse(&args) else {
        eprint!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let runtime = Runtime::builder().current_thread().build().expect("the runtime starts");
    match operation {
        "spawn" => measured_spawn(&runtime, times),
        "yield" => measured_yield(&runtime, times),
        "wake" => measured_wake(&runtime, times),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn parse(args: &[String]) -> Option<(&str, u32)> {
    match args {
        [operation, times] => Some((operation, times.parse().ok()?)),
        _ => None,
    }
}

// Never inlined, so that callgrind can begin and end at them.

#[inline(never)]
fn measured_spawn(runtime: &Runtime, times: u32) {
    in_a_task(runtime, async move {
        for _ in 0..times {
            runtime::spawn(async {}).await.expect("an empty task succeeds");
        }
    });
}

#[inline(never)]
fn measured_yield(runtime: &Runtime, times: u32) {
    in_a_task(runtime, async move {
        for _ in 0..times {
            runtime::task::yield_now().await;
        }
    });
}

#[inline(never)]
fn measured_wake(runtime: &Runtime, times: u32) {
    in_a_task(runtime, async move {
        let baton = Arc::new(Baton::default());
        let partner = runtime::spawn(take_turns(baton.clone(), 1, times));
        take_turns(baton, 0, times).await;
        partner.await.expect("the partner succeeds");
    });
}

/// Not in the root future, whose wakes and yields may take another path than a task's.
fn in_a_task(runtime: &Runtime, operations: impl Future<Output = ()> + Send + 'static) {
    runtime.block_on(async { runtime::spawn(operations).await }).expect("the operations succeed");
}

/// Counts the turns of two tasks. Turn t belongs to task t % 2, which ends it by waking the other.
#[derive(Default)]
struct Baton(Mutex<Turns>);

#[derive(Default)]
struct Turns {
    taken: u32,
    wakers: [Option<Waker>; 2],
}

/// Takes every turn of task `me` below `times`: woken, it goes on, wakes the other and waits again.
async fn take_turns(baton: Arc<Baton>, me: usize, times: u32) {
    future::poll_fn(|cx| {
        let mut turns = baton.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = turns.taken % 2 == me as u32;
        if mine && turns.taken < times {
            turns.taken += 1;
        }
        let finished = turns.taken >= times;
        turns.wakers[me] = (!finished).then(|| cx.waker().clone());
        let other = if mine || finished { turns.wakers[1 - me].take() } else { None };
        // A waker may run anything, so none runs under a lock.
        drop(turns);
        if let Some(waker) = other {
            waker.wake();
        }
        if finished { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
