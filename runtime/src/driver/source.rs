//! One registered object: what it is ready for, and who waits for it.
//!
//! # The word
//! `tick : 32 | unused : 24 | ready : 8`. An event sets bits and counts the tick up. Whoever finds that the object is not
//! ready after all takes the bits away, but only if the tick is the one it saw before it tried: an event that came in
//! between stays. 32 bits of tick cannot wrap between a look and a try (with 8 bits they did: tokio issue 6133).
//!
//! # Waiting
//! A waiter leaves its waker under the lock and then looks at the word once more; an event changes the word first and
//! takes the wakers under the lock afterwards. So either the event finds the waker or the waiter finds the event.
//!
//! Waiters have keys: an abandoned wait takes its own waker out and nobody else's. The two `poll_` forms, which have no
//! place to remember a key, share one key for each direction, and the last caller's waker counts.

use std::io;
use std::task::{Poll, Waker};

use smallvec::SmallVec;

use super::readiness::{ERROR, PRIORITY, READ, READ_CLOSED, SHUTDOWN, URGENT, WRITE, WRITE_CLOSED};
use crate::error::{Error, drop_quietly};
use crate::loom::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::loom::lock::Mutex;
use crate::loom::mutant;

/// Where an object's events arrive.
#[derive(Debug)]
pub(crate) struct Source {
    word: AtomicU64,
    waiters: Mutex<Waiters>,
    /// How many waiters there are, stored under their lock: whoever has left a waker and reads none knows that it was taken.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiters {
    /// Two: a reader and a writer.
    list: SmallVec<[Waiter; 2]>,
    next_key: u32,
}

#[derive(Debug)]
struct Waiter {
    key: Key,
    wanted: u8,
    waker: Waker,
}

/// Which waiter of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl Key {
    /// Whoever polls for reading.
    pub(crate) const POLL_READ: Key = Key(0);
    /// Whoever polls for writing.
    pub(crate) const POLL_WRITE: Key = Key(1);
    const FIRST: u32 = 2;

    /// Of one wait, and not of all who poll.
    fn is_own(self) -> bool {
        self.0 >= Key::FIRST
    }
}

/// What the word said at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

const TICK: u64 = 1 << 32;

impl Seen {
    pub(crate) fn ready(self) -> u8 {
        self.0 as u8
    }

    /// There was no event yet.
    pub(super) fn is_first(self) -> bool {
        self.0 < TICK
    }

    /// Closed both ways.
    pub(super) fn is_closed(self) -> bool {
        let closed = READ_CLOSED | WRITE_CLOSED;
        self.ready() & closed == closed
    }

    /// What it is ready for among `wanted`; an end or an error makes everything ready.
    fn among(self, wanted: u8) -> u8 {
        self.ready() & (wanted | ERROR | SHUTDOWN | closed(wanted))
    }
}

/// The ends of stream that belong to the directions in `wanted`.
fn closed(wanted: u8) -> u8 {
    let read = if wanted & (READ | URGENT) != 0 { READ_CLOSED } else { 0 };
    let write = if wanted & WRITE != 0 { WRITE_CLOSED } else { 0 };
    read | write
}

/// The runtime whose reactor watched the object is gone.
fn gone() -> io::Error {
    io::Error::from(Error::shutdown())
}

impl Source {
    pub(super) fn new() -> Self {
        Source {
            word: AtomicU64::new(0),
            waiters: Mutex::new(Waiters { next_key: Key::FIRST, ..Waiters::default() }),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The word, to be given back to [`clear`](Self::clear) after a try that would block.
    pub(crate) fn look(&self) -> Seen {
        // ORDERING: Acquire, pairs with `set`: what made the object ready comes before the try.
        Seen(self.word.load(Ordering::Acquire))
    }

    /// Ready for some of `wanted`, or the runtime is gone.
    pub(crate) fn ready(&self, wanted: u8) -> Poll<io::Result<Seen>> {
        let seen = self.look();
        match seen.among(wanted) {
            0 => Poll::Pending,
            bits if bits & SHUTDOWN != 0 => Poll::Ready(Err(gone())),
            _ => Poll::Ready(Ok(seen)),
        }
    }

    /// An event: adds `bits` and moves the wakers of those who wait for them to `woken`.
    pub(super) fn set(&self, bits: u8, woken: &mut impl Extend<Waker>) {
        let event = |word: u64| Some((word | u64::from(bits)).wrapping_add(TICK));
        // ORDERING: AcqRel, pairs with `look` and orders events among each other.
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, event);
        let mut waiters = self.waiters.lock();
        let now = Seen(u64::from(bits));
        let is_over = |waiter: &Waiter| now.among(waiter.wanted) != 0;
        // In the order of their coming: the first to wait is the first to be woken.
        if waiters.list.iter().all(is_over) {
            woken.extend(waiters.list.drain(..).map(|waiter| waiter.waker));
        } else {
            let (over, others) = std::mem::take(&mut waiters.list).into_iter().partition(is_over);
            let over: SmallVec<[Waiter; 2]> = over;
            woken.extend(over.into_iter().map(|waiter| waiter.waker));
            waiters.list = others;
        }
        self.count(&waiters);
    }

    /// To be called where the list has changed, before it is unlocked.
    fn count(&self, waiters: &Waiters) {
        // ORDERING: Relaxed; who reads it asks for what it has stored itself, or for something later.
        self.waiting.store(waiters.list.len(), Ordering::Relaxed);
    }

    /// Nobody waits, as far as this thread knows; a waker that it has left itself was taken.
    fn is_deserted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// What those who still wait want.
    pub(super) fn wanted(&self) -> u8 {
        self.waiters.lock().list.iter().fold(0, |wanted, waiter| wanted | waiter.wanted)
    }

    /// A try found that the object is not ready for `wanted`, unless an event has come since `seen`.
    ///
    /// Of several kinds it is not known which one was tried: an end of another is not told again. A try for urgent data
    /// alone reads nothing, and so says nothing of an end.
    pub(crate) fn clear(&self, seen: Seen, wanted: u8) {
        self.clear_of(seen, wanted, wanted);
    }

    /// The same for some of what was tried for.
    pub(crate) fn clear_of(&self, seen: Seen, tried: u8, wanted: u8) {
        let ends = if tried == READ || tried == WRITE { closed(wanted) } else { 0 };
        let urgent = if wanted & READ != 0 { PRIORITY } else { 0 };
        let bits = wanted | ends | urgent | ERROR;
        self.forget(seen, bits);
    }

    /// A short count found the end of what there is, unless an event has come since `seen`, or no more will ever come.
    pub(crate) fn drained(&self, seen: Seen, wanted: u8) {
        if seen.ready() & (closed(wanted) | ERROR | PRIORITY) == 0 {
            self.forget(seen, wanted);
        }
    }

    fn forget(&self, seen: Seen, bits: u8) {
        let bits = bits & !SHUTDOWN;
        let same_tick = |word: u64| word / TICK == seen.0 / TICK || mutant!("readiness_cleared_without_tick");
        let cleared = |word: u64| same_tick(word).then_some(word & !u64::from(bits));
        // ORDERING: AcqRel, as in `set`; a failure means that there is news, which is read by the next look.
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, cleared);
    }

    /// As [`ready`](Self::ready), and there was an event since `seen`, if that is known.
    fn ready_since(&self, seen: Option<Seen>, wanted: u8) -> Poll<io::Result<Seen>> {
        let is_old = |now: Seen| seen.is_some_and(|seen| seen.0 / TICK == now.0 / TICK);
        match self.ready(wanted) {
            Poll::Ready(Ok(now)) if is_old(now) => Poll::Pending,
            found => found,
        }
    }

    /// Leaves `waker` for the next event among `wanted`, in the place of the one under `key` if there is one.
    ///
    /// The answer is pending and the key under which the waker lies, or what the last look found. What was ready at `seen` is
    /// not found, if there was no event since.
    pub(crate) fn wait(
        &self,
        seen: Option<Seen>,
        key: Option<Key>,
        wanted: u8,
        waker: &Waker,
    ) -> Result<Key, io::Result<Seen>> {
        let key = match key.filter(|key| self.renew(*key, wanted, waker)) {
            Some(key) => key,
            None => self.put(key, wanted, waker),
        };
        if mutant!("wait_without_second_look") {
            return Ok(key);
        }
        match self.ready_since(seen, wanted) {
            Poll::Pending => Ok(key),
            Poll::Ready(found) => {
                // Under a key that is shared another one may lie there by now, who has not found this.
                let blindly = mutant!("shared_key_left_blindly");
                self.leave_if(key, |waiter| blindly || key.is_own() || waiter.waker.will_wake(waker));
                Err(found)
            }
        }
    }

    /// The waker lies under the key already: hyper waits twice in a poll.
    fn renew(&self, key: Key, wanted: u8, waker: &Waker) -> bool {
        if self.is_deserted() {
            return false;
        }
        let mut waiters = self.waiters.lock();
        let old = waiters.list.iter_mut().find(|old| old.key == key && old.waker.will_wake(waker));
        old.map(|old| old.wanted = wanted).is_some()
    }

    /// Leaves the waker under the key, or under one that it gives.
    fn put(&self, key: Option<Key>, wanted: u8, waker: &Waker) -> Key {
        // Cloned before and dropped after the lock: both are foreign code.
        let ours = waker.clone();
        let (key, unused) = {
            let mut waiters = self.waiters.lock();
            let key = key.unwrap_or_else(|| waiters.fresh_key());
            let unused = waiters.put(Waiter { key, wanted, waker: ours });
            self.count(&waiters);
            (key, unused)
        };
        // It may be another task's: a panic of its destructor is not ours.
        drop_quietly(unused);
        key
    }

    /// Forgets everybody who waits; the object is being closed.
    pub(super) fn abandon(&self) {
        let list = {
            let mut waiters = self.waiters.lock();
            let list = std::mem::take(&mut waiters.list);
            self.count(&waiters);
            list
        };
        // One by one: two destructors that panic at a time would end the process.
        for waiter in list {
            drop_quietly(waiter);
        }
    }

    /// Gives up the wait under `key`.
    pub(crate) fn leave(&self, key: Key) {
        self.leave_if(key, |_| true);
    }

    fn leave_if(&self, key: Key, may: impl Fn(&Waiter) -> bool) {
        if self.is_deserted() {
            return;
        }
        let late = mutant!("waiters_counted_outside_the_lock");
        let (waiter, left) = {
            let mut waiters = self.waiters.lock();
            let index = waiters.list.iter().position(|waiter| waiter.key == key && may(waiter));
            let waiter = index.map(|index| waiters.list.remove(index));
            if !late {
                self.count(&waiters);
            }
            (waiter, waiters.list.len())
        };
        if late {
            self.waiting.store(left, Ordering::Relaxed);
        }
        // This runs in destructors: a panic of the waker's own ends here.
        drop_quietly(waiter);
    }
}

impl Waiters {
    fn fresh_key(&mut self) -> Key {
        loop {
            let key = Key(self.next_key);
            self.next_key = self.next_key.wrapping_add(1).max(Key::FIRST);
            // After four thousand million waits the numbers begin again, and one may still be waiting.
            if self.list.iter().all(|waiter| waiter.key != key) {
                return key;
            }
        }
    }

    /// Gives back what is not needed any more.
    fn put(&mut self, waiter: Waiter) -> Option<Waiter> {
        match self.list.iter_mut().find(|old| old.key == waiter.key) {
            Some(old) => Some(std::mem::replace(old, waiter)),
            None => {
                self.list.push(waiter);
                None
            }
        }
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_try_takes_away_no_event_that_has_come_since_however_many_have() {
        for events in [1, 1 << 8, 1 << 16] {
            let source = Source::new();
            source.set(READ, &mut Vec::new());
            let seen = source.look();
            for _ in 0..events {
                source.set(READ, &mut Vec::new());
            }
            source.clear(seen, READ);
            assert!(source.ready(READ).is_ready(), "{events} events");
        }
    }
}
