//! Wakers in the order in which they came, each found again by its key.

use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::error::drop_quietly;
use crate::loom::lock::assert_none_held;

/// Names one waiter of one promise; never used twice by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(pub(super) NonZeroU64);

impl Key {
    /// The place of `Promise::poll_closed`, which has no future of its own to keep a key in.
    pub(super) const POLLED: Key = Key(NonZeroU64::MIN);
}

/// A list that is taken whole in constant time and loses single waiters in logarithmic time.
#[derive(Default)]
pub(super) struct Waiters {
    /// The one waiter of the common case, without an allocation. Filled only while `rest` is empty, hence first.
    first: Option<(Key, Waker)>,
    rest: BTreeMap<Key, Waker>,
}

impl Waiters {
    pub(super) fn get(&self, key: Key) -> Option<&Waker> {
        match &self.first {
            Some((first, waker)) if *first == key => Some(waker),
            _ => self.rest.get(&key),
        }
    }

    /// Puts `waker` in the place of `key`, and gives back who was there, to be dropped outside the lock.
    pub(super) fn put(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        match &mut self.first {
            Some((first, old)) if *first == key => Some(std::mem::replace(old, waker)),
            None if self.rest.is_empty() => {
                self.first = Some((key, waker));
                None
            }
            _ => self.rest.insert(key, waker),
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        self.first
            .take_if(|(first, _)| *first == key)
            .map(|(_, waker)| waker)
            .or_else(|| self.rest.remove(&key))
    }

    /// Wakes everybody in order. A waker that panics does not stop it; the first panic comes back.
    pub(super) fn wake_all(self) -> Option<Box<dyn Any + Send>> {
        assert_none_held();
        let mut first_panic = None;
        for waker in self.first.into_iter().map(|(_, waker)| waker).chain(self.rest.into_values()) {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                match first_panic {
                    None => first_panic = Some(payload),
                    Some(_) => _ = drop_quietly(payload),
                }
            }
        }
        first_panic
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }
}
