//! Sleeping, timeouts, intervals, and a clock that tests can stop and move.
//!
//! - **Never early.** A timer ends at or after its deadline, which is kept to the nanosecond. On a runtime with time to
//!   spare it is late by at most a millisecond, and short waits by less: a deadline is rounded up by a microsecond or a
//!   64th of the wait, whichever is more, and by about half a millisecond at most, so that long timers that end at about
//!   the same time share one wake-up.
//! - **Any length.** Each [`Duration`] and each [`Instant`] is valid everywhere, [`Duration::MAX`] included, but for a period of
//!   zero in [`interval`], which panics; what is further away than about 574 years after the start of the process never ends.
//!   Correctness does not depend on how long the process has been up.
//! - **Anywhere.** As with [`spawn`](crate::spawn()), there is always a runtime: outside of any the default one keeps
//!   the time. A timer may be moved between tasks, runtimes and executors; it wakes whoever polled it last, by
//!   the clock of the runtime in which that was. If the runtime that keeps its time is shut down, it wakes who waits and goes on
//!   with the runtime of whoever polls it then.
//!
//! # The virtual clock
//! [`pause`] stops the clock of the runtime that the thread stands in;
//! [`Builder::start_paused`](crate::Builder::start_paused) and `#[runtime::test(start_paused = true)]` start with it
//! stopped. While it stands still, and whenever the runtime has nothing to do (no task that could run, no blocking job),
//! it jumps to the next deadline: a test that sleeps for a day takes no time. Input that has not arrived is nothing to do: a
//! [`timeout()`] around a read of a socket may elapse at once. [`advance`] moves the clock by hand. This works on every
//! runtime, whatever its number of workers. The clock is the runtime's own, and what [`now`] gives; the system's goes on.
//!
//! ```
//! use std::time::Duration;
//! use runtime::time;
//!
//! # runtime::block_on(async {
//! time::sleep(Duration::from_millis(2)).await;
//!
//! let slow = time::timeout(Duration::from_millis(2), std::future::pending::<()>());
//! assert!(slow.await.unwrap_err().is_timeout());
//!
//! let mut ticks = time::interval(Duration::from_millis(1));
//! for _ in 0..3 {
//!     ticks.tick().await;
//! }
//! # });
//! ```

mod call;
mod interval;
mod sleep;
mod timeout;

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::driver::{Driver, Reading, duration_to_ns, from_ns};
use crate::handle;

pub use call::TimerHandle;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Timeout, timeout, timeout_at};

/// The time, by the clock of the runtime that the thread stands in: the system's, unless that one was
/// [paused](pause).
///
/// ```
/// let before = runtime::time::now();
/// assert!(before <= runtime::time::now());
/// ```
pub fn now() -> Instant {
    match handle::read_clock() {
        Reading::System(instant) => instant,
        Reading::Virtual(time) => from_ns(time),
    }
}

/// Stops the clock of the runtime that the thread stands in.
///
/// From here on it moves when nothing else can be done, to the next deadline, or by [`advance`]. Meant for tests.
///
/// ```
/// use std::time::Duration;
///
/// let rt = runtime::Runtime::new();
/// rt.block_on(async {
///     runtime::time::pause();
///     let now = runtime::time::now();
///     runtime::time::advance(Duration::from_secs(60)).await;
///     assert_eq!(runtime::time::now() - now, Duration::from_secs(60));
/// });
/// ```
///
/// # Panics
/// If the thread stands in no runtime, or the clock was stopped before.
#[track_caller]
pub fn pause() {
    let driver = here("pause");
    assert!(
        handle::pause_clock(),
        "time::pause was called, and the clock of this runtime stands still already: call time::resume first"
    );
    handle::clock_changed(driver);
}

/// Lets a stopped clock go on from where it stands, at the pace of the system's.
///
/// # Panics
/// If the thread stands in no runtime, or the clock was not stopped.
#[track_caller]
pub fn resume() {
    let driver = here("resume");
    assert!(
        driver.clock().resume(),
        "time::resume was called, and the clock of this runtime is going: call time::pause first"
    );
    handle::clock_changed(driver);
}

/// Moves a stopped clock on, and lets the tasks run whose time has come.
///
/// The clock goes to the end at once and not from timer to timer: who wakes sees the time at the end. The tasks had a
/// few turns when it returns, if the workers had time for them. The clock has moved once the first poll returned;
/// dropping the future after that leaves nothing behind.
///
/// # Panics
/// When polled, if the thread stands in no runtime, or the clock is not stopped.
pub async fn advance(duration: Duration) {
    let driver = here("advance");
    assert!(
        handle::advance_clock(duration_to_ns(duration)),
        "time::advance was called, and the clock of this runtime is going: call time::pause first"
    );
    handle::clock_changed(driver);
    give_way(8).await;
}

/// The driver of the runtime that the thread stands in.
#[track_caller]
fn here(what: &str) -> &'static Driver {
    match handle::driver() {
        Some(driver) => driver,
        None => panic!(
            "time::{what} needs a runtime whose clock is meant, and this thread stands in none: call it inside a task \
             or a block_on, under Handle::enter, or build the runtime with start_paused(true)"
        ),
    }
}

/// Goes to the back of the queue a few times.
async fn give_way(mut times: u32) {
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
