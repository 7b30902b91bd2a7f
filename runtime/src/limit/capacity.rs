//! Tokens: so many may be out at a time, and who comes first is served first.
//!
//! # Protocol
//! One lock guards the count and the line. Whoever gives a token back, or raises the total, hands it to the head of the
//! line *before* the lock is released: the head is taken off the line and the token counts as used. A waiter learns that it was
//! served by no longer finding itself in the line. So nobody can slip in between the wake-up and the waiter's poll, and a
//! waiter that is dropped knows whether it has a token to pass on.
//!
//! # Invariants
//! - **L1** While somebody waits, `used >= total`, except inside [`Inner::serve`], which locks once for each few waiters;
//!   whoever looks meanwhile sees the line and goes to its end.
//! - **L2** Nothing foreign runs under the lock: wakers are cloned before and woken or dropped after it (I1).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use smallvec::SmallVec;

use crate::context::{self, Unobserved};
use crate::coop;
use crate::error::{Error, drop_quietly};
use crate::loom::lock::{Mutex, assert_none_held};

/// Waiters that are served under one hold of the lock; their wakers lie on the stack meanwhile.
const BATCH: usize = 16;

/// A number of tokens, which can change; each piece of work that holds a [`Permit`] has one.
///
/// First come, first served: a token that is given back goes to the one who waits longest at once, and nobody who comes
/// later can take it. Clones share the tokens.
///
/// ```
/// use runtime::CapacityLimiter;
///
/// let database = CapacityLimiter::new(10);
/// runtime::block_on(async {
///     let calls: Vec<_> = (0..1_000)
///         .map(|n| {
///             let database = database.clone();
///             runtime::spawn(async move {
///                 let _permit = database.acquire().await;
///                 n // never more than ten at a time are here
///             })
///         })
///         .collect();
///     for call in calls {
///         call.await.unwrap();
///     }
/// });
/// assert_eq!(database.stats().used, 0);
/// ```
///
/// Source: Trio's `CapacityLimiter`; the token that belongs to the woken waiter at once is anyio's lesson of issue 1170.
#[derive(Clone)]
pub struct CapacityLimiter {
    inner: Arc<Inner>,
}

/// What a [`CapacityLimiter`] has to give and who waits for it, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapacityStats {
    /// Tokens that are out. More than `total` for a while, after that was lowered.
    pub used: usize,
    /// Tokens there are.
    pub total: usize,
    /// How many wait for one.
    pub waiting: usize,
}

struct Inner {
    state: Mutex<State>,
    /// Where the limiter was made, for reports.
    location: &'static Location<'static>,
}

struct State {
    used: usize,
    total: usize,
    /// Who waits, by the order of arrival.
    line: BTreeMap<u64, Waker>,
    next: u64,
}

impl CapacityLimiter {
    /// A limiter with `n` tokens.
    ///
    /// # Panics
    /// If `n` is zero: nothing could ever start. [`set_total`](Self::set_total) may stop everything for a while.
    #[must_use]
    #[track_caller]
    pub fn new(n: usize) -> Self {
        assert!(n > 0, "CapacityLimiter::new needs at least 1 token: with 0 nothing could ever start");
        let state = State { used: 0, total: n, line: BTreeMap::new(), next: 0 };
        CapacityLimiter { inner: Arc::new(Inner { state: Mutex::new(state), location: Location::caller() }) }
    }

    /// Waits for a token. It is given back when the [`Permit`] is dropped.
    ///
    /// The place in the line is taken by the first poll. The future and the permit borrow nothing: both can move into a
    /// task. It takes a unit of the cooperative budget.
    ///
    /// # Cancellation
    /// Dropping the future gives up the place in the line. A token that it was given already goes to the next one.
    ///
    /// # Panics
    /// The future, if it is polled after it has given its permit.
    ///
    /// ```
    /// let limiter = runtime::CapacityLimiter::new(1);
    /// runtime::block_on(async {
    ///     let permit = limiter.acquire().await;
    ///     let task = runtime::spawn(async move {
    ///         let _mine = permit; // given back at the end of the task
    ///     });
    ///     let _next = limiter.acquire().await;
    ///     task.await.unwrap();
    /// });
    /// ```
    pub fn acquire(&self) -> Acquire {
        Acquire { inner: self.inner.clone(), place: Place::Nowhere }
    }

    /// Takes a token if one is free and nobody waits.
    ///
    /// ```
    /// let limiter = runtime::CapacityLimiter::new(1);
    /// let permit = limiter.try_acquire();
    /// assert!(permit.is_some());
    /// assert!(limiter.try_acquire().is_none());
    /// ```
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        let taken = self.inner.state.lock().take();
        taken.then(|| Permit { inner: self.inner.clone() })
    }

    /// Changes how many tokens there are.
    ///
    /// More: as many waiters as now fit are woken, in their order. Fewer: permits that are out stay valid, and what is
    /// given back is not handed out again until fewer than `total` are out. Zero is allowed, and stops everything new
    /// until the total is raised again.
    ///
    /// ```
    /// let limiter = runtime::CapacityLimiter::new(1);
    /// let first = limiter.try_acquire().unwrap();
    /// limiter.set_total(2);
    /// let second = limiter.try_acquire().unwrap();
    ///
    /// limiter.set_total(1);
    /// drop(first);
    /// assert!(limiter.try_acquire().is_none());
    /// drop(second);
    /// assert!(limiter.try_acquire().is_some());
    /// ```
    pub fn set_total(&self, total: usize) {
        self.inner.state.lock().total = total;
        self.inner.serve();
    }

    /// How many tokens there are, are out, and are waited for.
    #[must_use]
    pub fn stats(&self) -> CapacityStats {
        let state = self.inner.state.lock();
        CapacityStats { used: state.used, total: state.total, waiting: state.line.len() }
    }
}

impl State {
    /// Takes a token for somebody who does not wait; false if there is none, or if others wait (L1).
    fn take(&mut self) -> bool {
        let free = self.line.is_empty() && self.used < self.total;
        self.used += usize::from(free);
        free
    }

    /// Hands a free token to the head of the line.
    fn serve_one(&mut self) -> Option<Waker> {
        if self.used >= self.total {
            return None;
        }
        let (_, waker) = self.line.pop_first()?;
        self.used += 1;
        Some(waker)
    }
}

impl Inner {
    /// Hands out what is free to those who wait.
    fn serve(&self) {
        loop {
            let served: SmallVec<[Waker; BATCH]> = {
                let mut state = self.state.lock();
                std::iter::from_fn(|| state.serve_one()).take(BATCH).collect()
            };
            let more = served.len() == BATCH;
            served.into_iter().for_each(|waker| self.wake(waker));
            if !more {
                return;
            }
        }
    }

    fn give_back(&self) {
        let served = {
            let mut state = self.state.lock();
            state.used -= 1;
            state.serve_one()
        };
        if let Some(waker) = served {
            self.wake(waker);
        }
    }

    /// Wakes somebody who was served. A waker of another executor may panic: that is no fault of who gives a token back,
    /// perhaps in a destructor, and must not keep others from being woken.
    fn wake(&self, waker: Waker) {
        assert_none_held();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            self.report(payload);
        }
    }

    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        let unobserved = Unobserved::future(Error::panicked(payload), self.location);
        context::report(context::executor(), unobserved);
    }
}

impl fmt::Debug for CapacityLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CapacityStats { used, total, waiting } = self.stats();
        f.debug_struct("CapacityLimiter")
            .field("used", &used)
            .field("total", &total)
            .field("waiting", &waiting)
            .finish()
    }
}

/// A token, given back when this is dropped; from [`CapacityLimiter::acquire`].
#[must_use = "dropping it at once gives the token back"]
pub struct Permit {
    inner: Arc<Inner>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inner.give_back();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// The future of [`CapacityLimiter::acquire`].
#[must_use = "futures do nothing unless awaited"]
pub struct Acquire {
    inner: Arc<Inner>,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Nowhere,
    /// The number in the line; out of the line it means a token.
    InLine(u64),
    Gone,
}

impl Acquire {
    /// Looks for a token and otherwise leaves the waker; true with a token.
    fn look(&mut self, waker: &Waker) -> bool {
        if matches!(self.place, Place::Nowhere) && self.inner.state.lock().take() {
            return true;
        }
        // The clone may run foreign code, and so may the drop of the one it replaces.
        let waker = waker.clone();
        let mut state = self.inner.state.lock();
        let (served, unused) = match self.place {
            Place::InLine(place) => match state.line.get_mut(&place) {
                Some(known) => (false, std::mem::replace(known, waker)),
                None => (true, waker),
            },
            Place::Nowhere if state.take() => (true, waker),
            Place::Nowhere => {
                let place = state.next;
                state.next += 1;
                state.line.insert(place, waker);
                self.place = Place::InLine(place);
                return false;
            }
            Place::Gone => unreachable!("looked for before the lock was taken"),
        };
        drop(state);
        // It may be another awaiter's: a panic of its destructor is not ours, and would take the token along.
        drop_quietly(unused);
        served
    }
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let gone = matches!(self.place, Place::Gone);
        assert!(!gone, "CapacityLimiter::acquire was polled after it had given its permit");
        let unit = ready!(coop::poll_proceed(cx));
        if !self.look(cx.waker()) {
            return Poll::Pending;
        }
        unit.made_progress();
        self.place = Place::Gone;
        Poll::Ready(Permit { inner: self.inner.clone() })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Place::InLine(place) = self.place else { return };
        let waker = self.inner.state.lock().line.remove(&place);
        match waker {
            Some(waker) => _ = drop_quietly(waker),
            // Served, and never took it.
            None => self.inner.give_back(),
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("place", &self.place).finish_non_exhaustive()
    }
}

const _: () = {
    const fn owned<T: Send + Sync + Unpin + 'static>() {}
    owned::<CapacityLimiter>();
    owned::<Permit>();
    owned::<Acquire>();
};
