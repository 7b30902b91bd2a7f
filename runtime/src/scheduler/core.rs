//! A worker's core: its queue, and where the next task comes from.
//!
//! # Where the next task comes from
//! 1. the next slot, three times in a row at most;
//! 2. the deque, oldest first; every eighth pick, this worker's share of the injector goes to its back before;
//! 3. this worker's share of the injector;
//! 4. half of some other worker's deque;
//! 5. some other worker's next slot, if that worker has been in one poll for a while.
//!
//! Yields and self-wakes go to the back of the deque.

use std::time::{Duration, Instant};

use super::waits::Waits;
use super::{Processor, Shared};
use crate::cell::{Binder, Runnable};
use crate::loom::deque::{Injector, Steal, Stealer, Worker};
use crate::loom::hint;
use crate::rng::Rng;

/// A pair of tasks that wake each other would otherwise keep the rest of the queue waiting for ever (tokio issue 5686).
const NEXT_IN_A_ROW: u32 = 3;

/// As many as crossbeam moves from a deque in one go.
const BATCH: usize = 32;

/// At most so many injected tasks at a time: about two microseconds between two polls.
const SHARE: usize = 256;

/// Lost races in a row with other thieves before a victim is left alone.
const RETRIES: usize = 4;

/// A victim's next slot is left to it unless its current poll is at least this old. The models know no time.
pub(super) const STUCK: Duration =
    if cfg!(runtime_loom) { Duration::ZERO } else { Duration::from_micros(50) };

/// A worker that is busy with ever new tasks in its slot is not stuck: after so many looks the idle one sleeps.
pub(super) const LOOKS: u32 = 3;

/// What a worker owns.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) index: usize,
    /// Keeps the room that it has grown to until this worker takes a task from it: it gets smaller only then.
    deque: Worker<Runnable>,
    pub(super) binder: Binder,
    rng: Rng,
    next_in_a_row: u32,
    /// Counted as searching in the idle word.
    pub(super) searching: bool,
    /// What a victim with a full next slot was doing when this worker last looked.
    pub(super) suspect: Option<Suspect>,
    /// How often in a row this worker has slept with an eye on a suspect.
    pub(super) looks: u32,
    pub(super) waits: Waits,
    /// How many tasks the worker had spawned when it last emptied the collector.
    pub(super) collected_at: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    victim: usize,
    polls: u64,
    since: Instant,
}

impl Core {
    pub(super) fn new(index: usize, binder: Binder) -> Self {
        let seed = (index as u32).wrapping_mul(0x9E37_79B9) ^ 0x5bd1_e995;
        Core {
            index,
            deque: Worker::new_fifo(),
            binder,
            rng: Rng::new(seed),
            next_in_a_row: 0,
            searching: false,
            suspect: None,
            looks: 0,
            waits: Waits::new(),
            collected_at: 0,
        }
    }

    pub(super) fn stealer(&self) -> Stealer<Runnable> {
        self.deque.stealer()
    }

    /// True if nothing is queued here.
    pub(super) fn is_empty(&self) -> bool {
        self.deque.is_empty()
    }

    /// How many tasks are queued here.
    pub(super) fn len(&self) -> usize {
        self.deque.len()
    }

    /// Everything that is queued here, for the end.
    pub(super) fn drain(&mut self) -> Vec<Runnable> {
        std::iter::from_fn(|| self.deque.pop()).collect()
    }

    /// The next task of the worker's own.
    #[inline]
    pub(super) fn pick(&mut self, own: &Processor) -> Option<Runnable> {
        if self.next_in_a_row < NEXT_IN_A_ROW {
            if let Some(runnable) = own.next.take() {
                self.next_in_a_row += 1;
                return Some(runnable);
            }
        }
        self.next_in_a_row = 0;
        self.deque.pop().or_else(|| own.next.take())
    }

    /// The next pick looks into the next slot, whatever came from there before.
    pub(super) fn begin_in_slot(&mut self) {
        self.next_in_a_row = 0;
    }

    /// A task of somebody else's.
    #[cold]
    pub(super) fn search(&mut self, shared: &'static Shared) -> Option<Runnable> {
        if !shared.injector.is_empty() {
            self.take_share(shared);
            if let Some(runnable) = self.deque.pop() {
                return Some(runnable);
            }
        }
        if shared.reach().len() == 1 {
            return None;
        }
        self.searching = self.searching || shared.idle.search(self.index);
        if !self.searching {
            return None;
        }
        self.steal(shared).or_else(|| self.steal_next(shared))
    }

    /// Moves this worker's share of the injected tasks behind its own, so that all run in about the order of arrival.
    #[cold]
    pub(super) fn take_share(&mut self, shared: &'static Shared) {
        let mut left = (shared.injector.len() / shared.workers + 1).min(SHARE);
        while left > 0 {
            let before = self.deque.len();
            if insist(|| shared.injector.steal_batch_with_limit(&self.deque, left)).is_none() {
                return;
            }
            left = left.saturating_sub(self.deque.len().saturating_sub(before).max(1));
        }
    }

    fn victims(&mut self, shared: &'static Shared) -> impl Iterator<Item = usize> + use<> {
        let (count, own) = (shared.reach().len(), self.index);
        let start = self.rng.below(count);
        (start..count).chain(0..start).filter(move |victim| *victim != own)
    }

    fn steal(&mut self, shared: &'static Shared) -> Option<Runnable> {
        self.victims(shared).find_map(|victim| {
            let victim = &shared.processors[victim];
            if victim.stealer.is_empty() {
                return None;
            }
            let stolen = insist(|| victim.stealer.steal_batch_with_limit_and_pop(&self.deque, BATCH))?;
            shared.processors[self.index].stats.stolen.add(1 + self.deque.len() as u64);
            Some(stolen)
        })
    }

    /// Takes the next slot of a worker that has been in the same poll since this worker looked before.
    fn steal_next(&mut self, shared: &'static Shared) -> Option<Runnable> {
        let victim = self.victims(shared).find(|victim| !shared.processors[*victim].next.is_empty());
        let Some(victim) = victim else {
            self.suspect = None;
            return None;
        };
        let polls = shared.processors[victim].stats.polls.get();
        match self.suspect {
            Some(old) if old.victim == victim && old.polls == polls => {
                if old.since.elapsed() < STUCK {
                    return None;
                }
                self.suspect = None;
                shared.processors[victim].next.take()
            }
            _ => {
                self.suspect = Some(Suspect { victim, polls, since: Instant::now() });
                None
            }
        }
    }

    /// Everything in the worker's hands goes where others can take it.
    pub(super) fn expose(&mut self, own: &Processor) {
        if let Some(runnable) = own.next.take() {
            self.deque.push(runnable);
        }
    }
}

/// One task of the injector, which is to be emptied: of two who are at it, both could give up after so many lost races.
pub(super) fn steal_one(injector: &Injector<Runnable>) -> Option<Runnable> {
    loop {
        match injector.steal() {
            Steal::Success(stolen) => return Some(stolen),
            Steal::Empty => return None,
            Steal::Retry => hint::spin_loop(),
        }
    }
}

/// Tries again after a lost race, a few times.
pub(super) fn insist<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    for _ in 0..RETRIES {
        match steal() {
            Steal::Success(stolen) => return Some(stolen),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
    None
}

/// A task that was woken runs next; what it displaces queues. True if the push calls for a wake-up.
#[inline]
pub(super) fn push_woken(shared: &'static Shared, core: &mut Core, runnable: Runnable) -> bool {
    match shared.processors[core.index].next.put(runnable) {
        None => {
            shared.kept();
            false
        }
        Some(displaced) => {
            core.deque.push(displaced);
            shared.idle.calls_for_wake()
        }
    }
}

/// A fresh task runs next if nothing else does, or else queues. True if the push calls for a wake-up.
#[inline]
pub(super) fn push_spawned(shared: &'static Shared, core: &mut Core, runnable: Runnable) -> bool {
    let own = &shared.processors[core.index];
    own.stats.spawned.add(1);
    if own.next.is_empty() {
        own.next.put(runnable);
        shared.kept();
        return false;
    }
    core.deque.push(runnable);
    shared.idle.calls_for_wake()
}

/// A task that yielded runs after the others. This worker is about to pick, so nobody is woken for it.
#[inline]
pub(super) fn push_yielded(_: &'static Shared, core: &mut Core, runnable: Runnable) -> bool {
    core.deque.push(runnable);
    false
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Core>();
};
