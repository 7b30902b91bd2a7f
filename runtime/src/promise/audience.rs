//! Who is to be told: tasks that wait, producers that wait to be needed no more, callbacks.

use std::num::NonZeroU64;
use std::task::{Poll, Waker};

use super::callbacks::Callbacks;
use super::cell::Cell;
use super::state::State;
use super::waiters::{Key, Waiters};
use crate::error::{Error, drop_quietly};
use crate::loom::lock::{MutexGuard, assert_none_held};
use crate::loom::{Arc, mutant};

/// What one may wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The future is done.
    Done,
    /// The future is done, or has no reader left.
    Closed,
}

/// Everything that stands under a cell's lock.
pub(super) struct Audience<T> {
    done: Waiters,
    closed: Waiters,
    pub(super) callbacks: Callbacks<T>,
    last_key: NonZeroU64,
}

impl<T> Audience<T> {
    pub(super) fn new() -> Self {
        Audience {
            done: Waiters::default(),
            closed: Waiters::default(),
            callbacks: Callbacks::new(),
            last_key: Key::POLLED.0,
        }
    }

    /// A key larger than all before it, for a waiter.
    pub(super) fn next_key(&mut self) -> Key {
        // 2^64 waits at one a nanosecond take 584 years.
        self.last_key = self.last_key.saturating_add(1);
        Key(self.last_key)
    }

    fn list(&mut self, event: Event) -> &mut Waiters {
        match event {
            Event::Done => &mut self.done,
            Event::Closed => &mut self.closed,
        }
    }

    /// Empties a list in constant time; to be woken outside the lock.
    fn take(&mut self, event: Event) -> Waiters {
        std::mem::take(self.list(event))
    }
}

impl<T> Cell<T> {
    pub(super) fn has_happened(&self, event: Event) -> bool {
        self.state() != State::Pending || (event == Event::Closed && !self.has_readers())
    }

    /// Enlists `waker` for `event` under `key`, unless it has happened.
    pub(super) fn poll_event(&self, event: Event, key: &mut Option<Key>, waker: &Waker) -> Poll<()> {
        if self.has_happened(event) {
            // Whoever made it happen takes the list, and our waiter with it.
            *key = None;
            return Poll::Ready(());
        }
        if key.is_some_and(|key| self.waits(event, key, waker)) {
            return Poll::Pending;
        }
        assert_none_held();
        let waker = waker.clone();
        let mut audience = self.audience.lock();
        // The second look, under the lock that whoever makes it happen takes afterwards: no wake falls in between.
        let happened = !mutant!("promise_no_recheck") && self.has_happened(event);
        let unused = if happened {
            *key = None;
            Some(waker)
        } else {
            let key = *key.get_or_insert_with(|| audience.next_key());
            audience.list(event).put(key, waker)
        };
        drop(audience);
        assert_none_held();
        // It may be another awaiter's: a panic of its destructor is not ours.
        drop_quietly(unused);
        if happened { Poll::Ready(()) } else { Poll::Pending }
    }

    /// True if `key` is in the list with a waker for the same task: by P2 it will be woken.
    fn waits(&self, event: Event, key: Key, waker: &Waker) -> bool {
        self.audience.lock().list(event).get(key).is_some_and(|known| known.will_wake(waker))
    }

    /// Takes an abandoned waiter off the list. A panic of the waker's destructor ends here: this runs in destructors.
    pub(super) fn withdraw(&self, event: Event, key: Option<Key>) {
        let Some(key) = key else { return };
        if self.state() != State::Pending {
            return; // the settler took the list
        }
        let waker = self.audience.lock().list(event).remove(key);
        assert_none_held();
        drop_quietly(waker);
    }

    /// The last steps of settling: releases the lock, wakes everybody who waits and starts the callbacks.
    pub(super) fn tell_done(cell: &Arc<Cell<T>>, mut audience: MutexGuard<'_, Audience<T>>) {
        let done = audience.take(Event::Done);
        let closed = audience.take(Event::Closed);
        let start = audience.callbacks.start();
        drop(audience);
        cell.wake(done);
        cell.wake(closed);
        if let Some(start) = start {
            start.launch(cell.clone());
        }
    }

    /// The last reader went while the promise lives.
    #[cold]
    pub(super) fn tell_readers_gone(&self) {
        if self.state() != State::Pending {
            return; // the settler told the producer
        }
        let closed = self.audience.lock().take(Event::Closed);
        self.wake(closed);
    }

    /// Wakes a list that was taken, and reports the first waker that panics.
    fn wake(&self, waiters: Waiters) {
        if let Some(payload) = waiters.wake_all() {
            self.report_here(Error::panicked(payload));
        }
    }

    #[cfg(test)]
    pub(super) fn waiters(&self, event: Event) -> usize {
        self.audience.lock().list(event).len()
    }
}
