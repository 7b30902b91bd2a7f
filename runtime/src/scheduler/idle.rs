//! Who searches and who sleeps: one word for each 48 workers, the single truth for notifiers and sleepers (I4).
//!
//! # Shape
//! A word is `parks : 8 | searching : 8 | parked : 48`, two counts and a bitmap. A bitmap, because a sleeper that is woken by
//! something else must be able to remove *itself*, and because there is no ABA. How often workers have parked is for whoever
//! looks twice ([`super::virtual_clock`]), and costs nothing.
//!
//! # Protocol
//! *Submitter*: 1. push the task; 2. `fence(SeqCst)`, unless the queue is its own deque; 3. if nobody searches and
//! somebody is parked, [`notify`](Idle::notify): clear one bit, count it as searching, wake it.
//!
//! *Worker out of work*: 1. [`search`](Idle::search), if fewer than half search already; 2. on finding work,
//! [`found`](Idle::found): the last searcher to find some looks once more and passes the search on if there is more;
//! 3. on finding none, [`park`](Idle::park): leave the count, set the bit, `fence(SeqCst)`; 4. look at every source
//! again; 5. sleep, or [`leave`](Idle::leave) if step 4 found something.
//!
//! # Why no wake-up is lost
//! Let A be the push, B the submitter's load, C the parker's announcement, D its second look; the fences order A before
//! B and C before D in the single order of all `SeqCst` fences. If B comes before C, then A comes before D: the parker
//! sees the task. Otherwise B sees the bit and notifies, or sees a searcher; that searcher either finds the task, or
//! finds another and, being the last, looks again after its decrement, or parks, and then its own D comes after A.
//!
//! A searcher whose thread does not go on, because it is in a foreign waker, breaks that: when the monitor has seen so, it
//! calls [somebody beside it](Idle::notify_beside).
//!
//! Pushes to the owner's deque skip the fence: the owner runs what it pushed. It looks again at its next pop, unless that
//! is not [worth it](super::throttle), so only parallelism can be late, never the task.
//!
//! # Rejected
//! An elected last searcher that alone re-checks (Go issue 43997: two workers parking at once each thought the other
//! would look); a stack of sleepers (a sleeper in the middle cannot leave).

use crossbeam_utils::CachePadded;

use crate::loom::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::loom::mutant;

const PER_WORD: usize = 48;
const PARKED: u64 = (1 << PER_WORD) - 1;
const SEARCHER: u64 = 1 << PER_WORD;
const PARK: u64 = SEARCHER << 8;

/// The idle words of a scheduler.
#[derive(Debug)]
pub(super) struct Idle {
    words: Box<[Word]>,
    /// The first so many places are workers; the rest is for the spare ones of the monitor.
    workers: usize,
    /// A hint whom not to prefer: the worker that attends the driver.
    leader: AtomicUsize,
}

const NOBODY: usize = usize::MAX;

#[derive(Debug)]
struct Word {
    state: CachePadded<AtomicU64>,
    /// A hint for whom to prefer: the workers that have a sleeping thread.
    manned: CachePadded<AtomicU64>,
}

/// Whom a caller would rather have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// A worker whose thread only has to be woken.
    Manned,
    /// A worker without a thread.
    Vacant,
}

/// How the taker of a worker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// Not at all.
    No,
    /// As searching, unless somebody else does.
    Searcher,
    /// As searching, whoever else does.
    OneMoreSearcher,
}

/// No more than the workers of a word can search at a time.
fn searching(state: u64) -> u64 {
    state / SEARCHER % (PARK / SEARCHER)
}

/// The bits of one word that belong to workers, and not to spare ones.
fn ordinary(workers: usize, word: usize) -> u64 {
    (1 << workers.saturating_sub(word * PER_WORD).min(PER_WORD)) - 1
}

impl Idle {
    /// All workers parked or, where a worker is only there while somebody lends it a thread, none; and no spare one.
    pub(super) fn new(workers: usize, spares: usize, parked: bool) -> Self {
        let word = |index: usize| {
            let bits = if parked { ordinary(workers, index) } else { 0 };
            Word {
                state: CachePadded::new(AtomicU64::new(bits)),
                manned: CachePadded::new(AtomicU64::new(0)),
            }
        };
        Idle {
            words: (0..(workers + spares).div_ceil(PER_WORD)).map(word).collect(),
            workers,
            leader: AtomicUsize::new(NOBODY),
        }
    }

    fn of(&self, worker: usize) -> (&Word, u64) {
        (&self.words[worker / PER_WORD], 1 << (worker % PER_WORD))
    }

    /// Notes whether the worker has a thread that sleeps for it.
    pub(super) fn set_manned(&self, worker: usize, manned: bool) {
        let (word, bit) = self.of(worker);
        if manned {
            word.manned.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.manned.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Notes which worker attends the driver in its sleep.
    pub(super) fn set_leader(&self, worker: Option<usize>) {
        self.leader.store(worker.unwrap_or(NOBODY), Ordering::Relaxed);
    }

    fn leader_bit(&self, word: usize) -> u64 {
        match self.leader.load(Ordering::Relaxed) {
            leader if leader / PER_WORD == word => 1 << (leader % PER_WORD),
            _ => 0,
        }
    }

    /// True if no worker runs or searches, nor any of so many spare ones.
    pub(super) fn all_asleep(&self, spares: usize) -> bool {
        let mut parked = 0;
        for (index, word) in self.words.iter().enumerate() {
            let (state, workers) = (word.state.load(Ordering::Acquire), ordinary(self.workers, index));
            if state & workers != workers || searching(state) > 0 {
                return false;
            }
            parked += (state & PARKED & !workers).count_ones() as usize;
        }
        parked == spares
    }

    /// How often workers have parked, modulo a number that nobody counts to between two looks.
    pub(super) fn parks(&self) -> u64 {
        self.words.iter().map(|word| word.state.load(Ordering::Acquire) / PARK).sum()
    }

    /// True if any worker sleeps, also a spare one.
    pub(super) fn anybody_sleeps(&self) -> bool {
        self.words.iter().any(|word| word.state.load(Ordering::Relaxed) & PARKED != 0)
    }

    /// True if some worker sleeps on a thread, which only has to be woken.
    pub(super) fn can_wake(&self) -> bool {
        let sleepers = |word: &Word| word.state.load(Ordering::Relaxed) & word.manned.load(Ordering::Relaxed);
        self.words.iter().any(|word| sleepers(word) & PARKED != 0)
    }

    /// True if the worker sleeps, or is free to be run.
    pub(super) fn is_parked(&self, worker: usize) -> bool {
        let (word, bit) = self.of(worker);
        word.state.load(Ordering::Relaxed) & bit != 0
    }

    /// True if a submission calls for a wake-up: somebody sleeps and nobody searches.
    #[inline]
    pub(super) fn calls_for_wake(&self) -> bool {
        let mut asleep = false;
        for word in &self.words {
            let state = word.state.load(Ordering::Relaxed);
            if searching(state) > 0 {
                return false;
            }
            asleep |= state & PARKED != 0;
        }
        asleep
    }

    /// The submitter's fence, between a push that others must find and [`calls_for_wake`](Self::calls_for_wake).
    #[inline]
    pub(super) fn submitted(&self) {
        if !mutant!("submit_without_fence") {
            // ORDERING: pairs with the fence in `park` and in `found`, see the module's proof.
            fence(Ordering::SeqCst);
        }
    }

    /// Takes one sleeper out of the bitmap and counts it as searching; the caller has to wake it.
    pub(super) fn notify(&self) -> Option<usize> {
        self.take(Prefer::Manned, Count::Searcher)
    }

    /// As [`notify`](Self::notify), also if somebody searches already.
    pub(super) fn notify_beside(&self) -> Option<usize> {
        let count = if mutant!("nobody_is_called_beside") { Count::Searcher } else { Count::OneMoreSearcher };
        self.take(Prefer::Manned, count)
    }

    /// Takes one sleeper out of the bitmap without counting it; the caller runs in its place. Never a spare one, which
    /// goes when its own thread does.
    pub(super) fn claim(&self, prefer: Prefer) -> Option<usize> {
        self.take(prefer, Count::No)
    }

    fn take(&self, prefer: Prefer, count: Count) -> Option<usize> {
        let as_searcher = count != Count::No;
        let refused = |state| count == Count::Searcher && searching(state) > 0;
        for (index, word) in self.words.iter().enumerate() {
            let eligible = if as_searcher { PARKED } else { ordinary(self.workers, index) };
            let mut state = word.state.load(Ordering::Relaxed);
            while state & eligible != 0 && !refused(state) {
                let parked = state & eligible;
                let manned = word.manned.load(Ordering::Relaxed);
                let wanted = parked & if prefer == Prefer::Manned { manned } else { !manned };
                let leader = self.leader_bit(index);
                // Rather not the leader: it would be roused in a dearer way, and leave the driver to nobody.
                let choices = [wanted & !leader, wanted, parked & !leader, parked];
                let from = choices.into_iter().find(|choice| *choice != 0).unwrap_or(parked);
                let bit = from & from.wrapping_neg();
                let next = (state & !bit) + if as_searcher { SEARCHER } else { 0 };
                // ORDERING: AcqRel, so that what the sleeper left is visible and the next taker sees it through us.
                match word.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => return Some(index * PER_WORD + bit.trailing_zeros() as usize),
                    Err(now) => state = now,
                }
            }
            if refused(state) {
                return None;
            }
        }
        None
    }

    /// Begins to search; false if half of the workers of this word search already.
    pub(super) fn search(&self, worker: usize) -> bool {
        let (word, _) = self.of(worker);
        let most = (self.workers.min(PER_WORD) as u64).div_ceil(2);
        let mut state = word.state.load(Ordering::Relaxed);
        while searching(state) < most {
            let next = state + SEARCHER;
            match word.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Ends a search that found work; true if nobody else searches, and the caller has to look whether there is more.
    #[must_use]
    pub(super) fn found(&self, worker: usize) -> bool {
        let (word, _) = self.of(worker);
        let before = word.state.fetch_sub(SEARCHER, Ordering::AcqRel);
        let last = searching(before) == 1;
        if last {
            // ORDERING: pairs with the fence in `submitted`: a submitter that relied on this search pushed before it,
            // and the look that follows sees the push.
            fence(Ordering::SeqCst);
        }
        last && !mutant!("last_searcher_keeps_quiet")
    }

    /// Announces that the worker is going to sleep. The caller has to look at every source once more.
    pub(super) fn park(&self, worker: usize, was_searching: bool) {
        let (word, bit) = self.of(worker);
        let change = (PARK + bit).wrapping_sub(if was_searching { SEARCHER } else { 0 });
        // ORDERING: AcqRel hands what the worker owns to whoever takes it out of the bitmap.
        let before = word.state.fetch_add(change, Ordering::AcqRel);
        debug_assert!(before & bit == 0, "worker {worker} was parked already");
        if !mutant!("park_without_fence") {
            // ORDERING: pairs with the fence in `submitted`, see the module's proof.
            fence(Ordering::SeqCst);
        }
    }

    /// Takes the worker's own bit back; false if somebody was quicker.
    pub(super) fn leave(&self, worker: usize) -> bool {
        let (word, bit) = self.of(worker);
        // ORDERING: as in `take`.
        word.state.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// No worker has a thread any more.
    pub(super) fn forget_threads(&self) {
        for word in &self.words {
            word.manned.store(0, Ordering::Relaxed);
        }
    }

    /// How many workers sleep, spare ones not counted.
    pub(super) fn parked(&self) -> usize {
        let parked = |(index, word): (usize, &Word)| {
            (word.state.load(Ordering::Relaxed) & ordinary(self.workers, index)).count_ones() as usize
        };
        self.words.iter().enumerate().map(parked).sum()
    }
}
