//! The timers of a runtime: a wheel for each worker, and what a sleeper has to know of them without a lock.
//!
//! # Protocol
//! Under a shard's lock stands its wheel. Two figures can be read without it:
//! - `next`, when the shard has something to do. It is stored under the lock, whenever it changes: stored later it
//!   could overwrite what a later holder of the lock found, and the sleeper would not hear of an earlier timer (tokio
//!   #6682).
//! - `elapsed`, up to when everything was taken out. It is stored after the wakers were taken and before they are woken,
//!   so that who was woken finds its timer fired, and who finds its timer fired leaves nothing behind in the wheel.
//!
//! Who arms a timer has to tell a thread that sleeps for longer than that; it puts a `fence(SeqCst)` between
//! [`arm`](Timers::arm) and its look at the sleeper, and the sleeper one between saying how long it will sleep and
//! [`next`](Timers::next).
//!
//! # Slack
//! A deadline is rounded up to a power of two of at most a 64th of the time until then, between [`LEAST_SLACK`] and
//! [`MOST_SLACK`]: long timers that end at about the same time share a wake-up, and short ones are exact. Under a
//! virtual clock there is no slack: who sleeps for a second shall find that a second has passed.

use std::task::Waker;

use crossbeam_utils::CachePadded;

use super::wheel::{Key, Wheel};
use super::{Woken, wake};
use crate::error::drop_quietly;
use crate::fork::Birth;
use crate::loom::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::loom::lock::{Mutex, assert_none_held};
use crate::loom::mutant;

/// A microsecond: less than the shortest sleep that a system can do.
const LEAST_SLACK: u64 = 1 << 10;

/// Half a millisecond or so: what long timers are rounded up by. Another half is what it may take to wake who waits.
const MOST_SLACK: u64 = 1 << 19;

/// Wakers that are taken out at a time, no more than have room in [`Woken`]; the lock is free in between.
const BATCH: usize = 64;

/// The timers of a runtime.
#[derive(Debug)]
pub(crate) struct Timers {
    shards: Box<[CachePadded<Shard>]>,
    /// Counts the times that the timers were opened and closed; odd while they are open.
    phase: AtomicU32,
    /// Deadlines are kept as they are.
    exact: AtomicBool,
    /// Of which process they are.
    birth: Birth,
}

#[derive(Debug)]
struct Shard {
    /// No deadline of the wheel is before this.
    next: AtomicU64,
    /// All deadlines of the wheel are after this.
    elapsed: AtomicU64,
    /// Leaf lock: nothing else is taken under it.
    wheel: Mutex<Wheel>,
}

/// A timer that was armed. Plain data: whoever drops it has to [`disarm`](Timers::disarm) it first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    /// When it fires: the deadline that was asked for, and the slack.
    pub(crate) deadline: u64,
    key: Key,
    phase: u32,
    shard: u16,
}

/// `deadline` rounded up by the slack of a timer that is armed at `now`.
fn with_slack(now: u64, deadline: u64) -> u64 {
    let sixty_fourth = deadline.saturating_sub(now) >> 6;
    let slack = 1 << sixty_fourth.clamp(LEAST_SLACK, MOST_SLACK).ilog2();
    deadline.checked_next_multiple_of(slack).unwrap_or(u64::MAX)
}

impl Timers {
    /// Open timers without any.
    pub(crate) fn new(shards: usize) -> Self {
        debug_assert!(shards > 0 && shards <= usize::from(u16::MAX));
        let shard = |_| {
            CachePadded::new(Shard {
                next: AtomicU64::new(u64::MAX),
                elapsed: AtomicU64::new(0),
                wheel: Mutex::new(Wheel::new()),
            })
        };
        Timers {
            shards: (0..shards).map(shard).collect(),
            phase: AtomicU32::new(1),
            birth: Birth::now(),
            exact: AtomicBool::new(false),
        }
    }

    // --- timers ---

    /// Has `waker` woken at `deadline`, seen from `now`; `None` if the timers are closed.
    ///
    /// The caller has to tell whoever sleeps for longer, see the module. A deadline that has passed on the shard wakes
    /// at once.
    // Inlined up to the future that keeps the result: on the way each copy of it would cost as much as one of the locks, since
    // what was just written in parts is read as a whole.
    #[inline(always)]
    pub(crate) fn arm(&self, shard: usize, now: u64, deadline: u64, waker: &Waker) -> Option<Armed> {
        assert_none_held();
        let waker = waker.clone();
        let index = shard as u16;
        let shard = &self.shards[shard];
        let mut wheel = shard.wheel.lock();
        // Under the lock that `close` takes after it has changed the phase: it finds the timer, or we find it closed.
        let phase = self.phase.load(Ordering::Relaxed);
        if phase % 2 == 0 {
            drop(wheel);
            drop_quietly(waker);
            return None;
        }
        // So is the clock that has just stopped: `set_exact` takes the lock after it has said so.
        let exact = self.exact.load(Ordering::Relaxed);
        let deadline = if exact { deadline } else { with_slack(now, deadline) };
        wheel.catch_up(now);
        if deadline <= wheel.elapsed() {
            // Whoever goes by another clock, which is behind, is told so as well, instead of being woken again and again.
            // ORDERING: Release, as in `fire_batch`.
            shard.elapsed.store(wheel.elapsed(), Ordering::Release);
            drop(wheel);
            wake(waker);
            return Some(Armed { deadline, key: Key::DEAD, phase, shard: index });
        }
        let key = wheel.insert(deadline, waker);
        if mutant!("timer_next_after_unlock") {
            let next = wheel.next();
            drop(wheel);
            shard.next.store(next, Ordering::Relaxed);
        } else if deadline < shard.next.load(Ordering::Relaxed) {
            // ORDERING: Relaxed; the fences of the module order it for the sleeper.
            shard.next.store(deadline, Ordering::Relaxed);
        }
        Some(Armed { deadline, key, phase, shard: index })
    }

    /// Keeps the deadlines of new timers as they are, without slack: the clock is a virtual one. Whoever waits already is
    /// woken, and finds its timer gone, to arm another.
    pub(crate) fn set_exact(&self) {
        if !self.exact.swap(true, Ordering::Relaxed) {
            self.wake_everybody();
        }
    }

    /// True if the timer went off: its waker was woken, or is about to be.
    #[inline]
    pub(crate) fn is_fired(&self, armed: &Armed) -> bool {
        // ORDERING: Acquire, pairs with the Release store in `fire_batch`: the waker is out of the wheel.
        let elapsed = self.shards[usize::from(armed.shard)].elapsed.load(Ordering::Acquire);
        // A timer of the runtime before this one did not fire, it was lost; the clock may have been another.
        elapsed >= armed.deadline
            && !self.birth.is_lost()
            && self.phase.load(Ordering::Relaxed) == armed.phase
    }

    /// Takes a timer back. Its waker is dropped, unless it was woken, or is about to be.
    pub(crate) fn disarm(&self, armed: Armed) {
        let waker = self.take(armed);
        assert_none_held();
        // This runs in destructors: a panic of the waker's own ends here.
        drop_quietly(waker);
    }

    /// Takes a timer back, and gives its waker unless it was woken, or is about to be.
    pub(crate) fn take(&self, armed: Armed) -> Option<Waker> {
        if self.birth.is_lost() || self.is_fired(&armed) {
            return None;
        }
        let shard = &self.shards[usize::from(armed.shard)];
        let mut wheel = shard.wheel.lock();
        let waker = wheel.remove(armed.key);
        // It was the earliest one, as far as anybody knows.
        if waker.is_some() && armed.deadline <= shard.next.load(Ordering::Relaxed) {
            // ORDERING: Relaxed, under the lock; a sleeper that reads the old value wakes too early.
            shard.next.store(wheel.next(), Ordering::Relaxed);
        }
        waker
    }

    /// Makes sure that the timer wakes `waker`; false if it went off, or was lost with its runtime.
    pub(crate) fn update(&self, armed: &Armed, waker: &Waker) -> bool {
        if self.birth.is_lost() || self.is_fired(armed) {
            return false;
        }
        let wheel = &self.shards[usize::from(armed.shard)].wheel;
        match wheel.lock().waker(armed.key) {
            None => return false,
            Some(known) if known.will_wake(waker) => return true,
            Some(_) => {}
        }
        assert_none_held();
        let waker = waker.clone();
        let replaced = wheel.lock().replace(armed.key, waker);
        let updated = replaced.is_ok();
        assert_none_held();
        drop_quietly(replaced);
        updated
    }

    // --- sleepers ---

    /// No timer goes off before this; `u64::MAX` if there is none.
    pub(crate) fn next(&self) -> u64 {
        // ORDERING: Relaxed; the fences of the module order it.
        self.shards.iter().map(|shard| shard.next.load(Ordering::Relaxed)).min().unwrap_or(u64::MAX)
    }

    /// Wakes whoever is due at `now` on one shard; gives how many that were.
    ///
    /// Safe to be called by several threads at a time. A waker that panics does not keep the others from being woken.
    pub(crate) fn fire(&self, shard: usize, now: u64) -> usize {
        let shard = &self.shards[shard];
        if shard.next.load(Ordering::Relaxed) > now {
            return 0;
        }
        let (mut due, mut fired) = (Woken::new(), 0);
        loop {
            let more = self.fire_batch(shard, now, &mut due);
            fired += due.len();
            due.drain(..).for_each(wake);
            if !more {
                return fired;
            }
        }
    }

    /// As [`fire`](Self::fire), on all shards.
    pub(crate) fn fire_all(&self, now: u64) -> usize {
        (0..self.shards.len()).map(|shard| self.fire(shard, now)).sum()
    }

    /// Takes a few wakers out that are due; true if there are more.
    fn fire_batch(&self, shard: &Shard, now: u64, due: &mut Woken) -> bool {
        let mut wheel = shard.wheel.lock();
        // As in `arm`. A wheel that `close` has emptied stays where it is: the next runtime's clock may be behind this one.
        if !self.is_open() && !mutant!("fires_after_the_close") {
            return false;
        }
        if mutant!("timer_elapsed_before_unlink") {
            shard.elapsed.store(now, Ordering::Release);
            drop(wheel);
            wheel = shard.wheel.lock();
        }
        let more = wheel.expire(now, due, BATCH);
        // ORDERING: Relaxed, under the lock.
        shard.next.store(wheel.next(), Ordering::Relaxed);
        // ORDERING: Release, pairs with `is_fired`.
        shard.elapsed.store(wheel.elapsed(), Ordering::Release);
        more
    }

    /// How many timers are armed.
    pub(crate) fn len(&self) -> usize {
        if self.birth.is_lost() {
            return 0;
        }
        self.shards.iter().map(|shard| shard.wheel.lock().len()).sum()
    }

    // --- the runtime's life ---

    /// Opens closed timers again, for a clock that may have gone back. Timers from before the close stay lost.
    ///
    /// Nobody may fire or arm timers meanwhile.
    pub(crate) fn open(&self) {
        if self.is_open() {
            return;
        }
        for shard in &self.shards {
            shard.elapsed.store(0, Ordering::Relaxed);
        }
        self.exact.store(false, Ordering::Relaxed);
        // ORDERING: Relaxed, as the stores before it; whoever opens starts or tells those that arm.
        self.phase.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes everybody; nothing can be armed any more.
    pub(crate) fn close(&self) {
        // ORDERING: Relaxed; `arm` looks under the locks that are taken below.
        let change = |phase| (phase % 2 == 1).then(|| u32::wrapping_add(phase, 1));
        if self.phase.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_err() {
            return;
        }
        self.wake_everybody();
    }

    /// Takes all timers out, and wakes those who wait for them.
    fn wake_everybody(&self) {
        let mut woken = Vec::new();
        for shard in &self.shards {
            let mut wheel = shard.wheel.lock();
            wheel.clear(&mut woken);
            shard.next.store(u64::MAX, Ordering::Relaxed);
            drop(wheel);
            woken.drain(..).for_each(wake);
        }
    }

    /// False once the runtime is gone: nothing can be armed.
    pub(crate) fn is_open(&self) -> bool {
        self.phase.load(Ordering::Relaxed) % 2 == 1
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests;

#[cfg(all(test, runtime_loom))]
mod models;
