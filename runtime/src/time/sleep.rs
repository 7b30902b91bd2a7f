//! A future that is ready at a time.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use crate::coop;
use crate::driver::{Armed, Driver, Reading, duration_to_ns, from_ns, to_ns, wake};
use crate::handle;

/// Waits for a length of time, from this call on.
///
/// A zero length is ready at the first poll; [`Duration::MAX`] never is. Cancel-safe: dropping it is all there is to
/// it. See the [module](super) for how exact it is.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let begin = Instant::now();
/// runtime::block_on(runtime::time::sleep(Duration::from_millis(5)));
/// assert!(begin.elapsed() >= Duration::from_millis(5));
/// ```
// Inlined, as the drop is: the limit of an operation that is ready at once is made and dropped in registers.
#[inline]
pub fn sleep(duration: Duration) -> Sleep {
    let length = duration_to_ns(duration);
    match handle::read_clock() {
        Reading::System(from) => Sleep { deadline: length, state: State::New(from) },
        Reading::Virtual(from) => Sleep::until(from.saturating_add(length)),
    }
}

/// Waits until an instant, by the clock of [`now`](super::now).
///
/// One that is past is ready at the first poll.
///
/// ```
/// use runtime::time::{now, sleep_until};
///
/// runtime::block_on(async {
///     let deadline = now() + std::time::Duration::from_millis(2);
///     sleep_until(deadline).await;
///     assert!(now() >= deadline);
/// });
/// ```
#[inline]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::until(to_ns(deadline))
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It occupies no memory but its own until it is first polled, and wakes whoever polled it last. Polled again after it
/// was ready, it is ready again. It is [`Unpin`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    /// While it is new, the length; [`time`](Self::time) knows.
    deadline: u64,
    state: State,
}

enum State {
    /// It counts from here, and nobody has asked yet until when.
    New(Instant),
    /// Nobody waits, as far as any runtime knows.
    Idle,
    /// A runtime will wake who waits; not after the deadline and the slack, but before that if it was put off.
    Armed(&'static Driver, Armed),
    /// The deadline was seen to have passed.
    Done,
}

const _: () = assert!(size_of::<Sleep>() <= 48);

impl Sleep {
    #[inline]
    pub(super) fn until(deadline: u64) -> Self {
        Sleep { deadline, state: State::Idle }
    }

    /// The deadline, in nanoseconds on the clock.
    pub(super) fn time(&self) -> u64 {
        match self.state {
            State::New(from) => to_ns(from).saturating_add(self.deadline),
            _ => self.deadline,
        }
    }

    /// When it is ready. What is too far away for the system's clock shows as about a hundred years from now.
    pub fn deadline(&self) -> Instant {
        from_ns(self.time())
    }

    /// True if the deadline has passed, whether anybody has polled it or not.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Done) || handle::clock_now() >= self.time()
    }

    /// Gives it another deadline; before or after it was ready, earlier or later.
    ///
    /// A task that waits for it need not poll it again for that: it is woken at the new deadline, or before. To set a later
    /// deadline, or the same one again, costs next to nothing and wakes nobody; it is rounded up as the one was that the task
    /// began to wait for.
    ///
    /// ```
    /// use std::{pin::Pin, time::Duration};
    /// use runtime::time::{now, sleep};
    ///
    /// runtime::block_on(async {
    ///     let mut idle = sleep(Duration::from_millis(1));
    ///     let deadline = now() + Duration::from_millis(3);
    ///     Pin::new(&mut idle).reset(deadline);
    ///     idle.await;
    ///     assert!(now() >= deadline);
    /// });
    /// ```
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.get_mut().set(to_ns(deadline));
    }

    pub(super) fn set(&mut self, deadline: u64) {
        let is_later = deadline >= self.deadline;
        self.deadline = deadline;
        match self.state {
            State::Idle => {}
            State::New(_) | State::Done => self.state = State::Idle,
            // The timer goes off before that, or not after it by more than the slack of the deadline it had. In the former
            // case the task looks at the deadline and waits on.
            State::Armed(_, armed) if is_later || armed.deadline <= deadline => {}
            State::Armed(driver, armed) => {
                self.state = State::Idle;
                // The task polls, and arms it where it stands: on its own runtime, which may not be this thread's.
                if let Some(waker) = driver.timers().take(armed) {
                    wake(waker);
                }
            }
        }
    }

    /// The poll, without a budget.
    pub(super) fn poll_elapsed(&mut self, waker: &Waker) -> Poll<()> {
        match self.state {
            State::New(_) => {
                self.deadline = self.time();
                self.state = State::Idle;
            }
            State::Idle => {}
            State::Done => return Poll::Ready(()),
            State::Armed(driver, armed) if driver.timers().is_fired(&armed) => {
                self.state = State::Idle;
                if armed.deadline >= self.deadline {
                    self.state = State::Done;
                    return Poll::Ready(());
                }
            }
            State::Armed(..) => {}
        }
        let now = handle::clock_now_or_before(self.deadline);
        if now >= self.deadline {
            self.disarm();
            self.state = State::Done;
            return Poll::Ready(());
        }
        self.wait(now, waker);
        Poll::Pending
    }

    /// Sees to it that `waker` is woken.
    fn wait(&mut self, now: u64, waker: &Waker) {
        if let State::Armed(driver, armed) = self.state {
            // It may have come from another runtime, whose timers nobody need look at any more.
            if !handle::would_arm_with(driver) {
                driver.timers().disarm(armed);
            } else if driver.timers().update(&armed, waker) {
                return;
            }
        }
        if let Some((driver, armed)) = handle::arm_here(now, self.deadline, waker) {
            self.state = State::Armed(driver, armed);
            return;
        }
        self.state = match handle::arm_elsewhere(self.deadline, waker) {
            Some((driver, armed)) => State::Armed(driver, armed),
            None => {
                // The runtime is being shut down, and so is what waits here; nobody else would wake it.
                waker.wake_by_ref();
                State::Idle
            }
        };
    }

    #[inline]
    fn disarm(&mut self) {
        if let State::Armed(driver, armed) = self.state {
            self.state = State::Idle;
            driver.timers().disarm(armed);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let unit = ready!(coop::poll_proceed(cx));
        ready!(self.poll_elapsed(cx.waker()));
        unit.made_progress();
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}
