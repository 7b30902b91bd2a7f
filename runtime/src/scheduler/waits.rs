//! How long a worker's waits for work have been, and what that says of the next one.

use std::time::Duration;

/// Waking a sleeping thread on a virtual processor that has halted takes from 5 to 65 microseconds; spinning longer than
/// about that cannot be better than sleeping.
const SPIN_MOST: Duration = if cfg!(runtime_loom) { Duration::ZERO } else { Duration::from_micros(50) };

/// A lone peer that answers at once has to be woken for that as well, and what it does takes some more.
const SPIN_MOST_ALONE: Duration = if cfg!(runtime_loom) { Duration::ZERO } else { Duration::from_micros(80) };

/// So many waits in a row that brought a [`FEW`] tasks each say that the peer is a lone one.
const ALONE: u32 = 16;

/// Where waits for a lone peer have become longer than that, a worker spins for one in so many all the same: asleep, a wait
/// takes two wake-ups more than it would, and never looks short again. Not where they are as long as two wake-ups cannot make them.
const TRY_AGAIN: u32 = 32;
const TRY_WITHIN: Duration = LONG_FOR_SPINNING.saturating_sub(Duration::from_micros(25));

/// A spin that ends a little too soon costs both itself and the sleep. Of a server's waits under load nearly all are over at
/// once, so that twice their mean is next to nothing, and it is for the others that it spins.
const SPIN_LEAST: Duration = Duration::from_micros(20);

/// A longer wait counts as one of this length for the spinning, so that one long sleep does not end it and a few in a row do.
const LONG_FOR_SPINNING: Duration = SPIN_MOST.saturating_mul(4);

/// The same for what is expected: a server that works in bursts comes back to that after a pause.
const LONG: Duration = Duration::from_millis(10);

/// One task, and the one that it woke.
const FEW: u64 = 2;

/// A worker's waits, each from when it found nothing to do until there was something.
#[derive(Debug)]
pub(super) struct Waits {
    spinning: Mean,
    all: Mean,
    /// The worker's polls before the last wait.
    polls: u64,
    few_in_a_row: u32,
    /// The worker spins although its waits were too long.
    tries: bool,
}

impl Waits {
    pub(super) fn new() -> Self {
        // Nothing is expected to come soon of which nothing is known.
        Waits {
            spinning: Mean { ns: 0 },
            all: Mean { ns: LONG.as_nanos() as u64 },
            polls: 0,
            few_in_a_row: 0,
            tries: false,
        }
    }

    /// For how long to look for work before sleeping, after so many polls in all: worth it if work used to come within that
    /// moment.
    ///
    /// Where there is I/O, only after a wait that brought one task or two: a lone peer answers at once, and its answer meets
    /// a thread that is awake; for longer if that has been so for a while. With many peers the processor is wanted by others,
    /// and batches are better than haste. Unless the peers take all processors, as far as is known (`crowded`): who sleeps
    /// there gives up its slice, and has to wait for the end of another.
    pub(super) fn spin_limit(&mut self, polls: u64, has_io: bool, crowded: bool) -> Duration {
        let few = polls - std::mem::replace(&mut self.polls, polls) <= FEW;
        self.few_in_a_row = if few { self.few_in_a_row.saturating_add(1) } else { 0 };
        let alone = self.few_in_a_row >= ALONE && !crowded;
        let most = if alone { SPIN_MOST_ALONE } else { SPIN_MOST };
        let mean = self.spinning.get();
        self.tries = mean > most && mean < TRY_WITHIN && alone && self.few_in_a_row % TRY_AGAIN == 0;
        if self.tries {
            return most;
        }
        if mean > most || !(few || crowded || !has_io) {
            return Duration::ZERO;
        }
        let least = if crowded { SPIN_LEAST } else { Duration::ZERO };
        (mean * 2).max(least).min(most)
    }

    /// How long the next wait may be.
    pub(super) fn expected(&self) -> Duration {
        self.all.get()
    }

    pub(super) fn add(&mut self, time: Duration) {
        if std::mem::take(&mut self.tries) && time <= SPIN_MOST_ALONE {
            self.spinning.set(time);
        }
        self.spinning.add(time.min(LONG_FOR_SPINNING));
        self.all.add(time.min(LONG));
    }
}

/// Of what was added, each with a weight of 1/8.
#[derive(Debug)]
struct Mean {
    ns: u64,
}

impl Mean {
    fn get(&self) -> Duration {
        Duration::from_nanos(self.ns)
    }

    fn set(&mut self, time: Duration) {
        self.ns = time.as_nanos() as u64;
    }

    fn add(&mut self, time: Duration) {
        self.ns = self.ns - self.ns / 8 + time.as_nanos() as u64 / 8;
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    fn waits(times: &[Duration]) -> Waits {
        let mut waits = Waits::new();
        times.iter().for_each(|time| waits.add(*time));
        waits
    }

    #[test]
    fn what_is_expected_comes_near_to_what_was_seen() {
        let expected = waits(&[LONG / 10; 50]).expected();
        assert!(expected > LONG / 11 && expected < LONG / 9, "{expected:?}");
    }

    #[test]
    fn one_pause_is_soon_forgotten() {
        let mut waits = waits(&[LONG / 10; 50]);
        waits.add(LONG * 1000);
        assert!(waits.expected() < LONG / 2);
    }

    #[test]
    fn nothing_is_expected_soon_at_first() {
        assert_eq!(Waits::new().expected(), LONG);
    }

    #[test]
    fn a_worker_spins_for_longer_than_its_waits_while_they_are_short() {
        let limit = short().spin_limit(FEW, true, false);
        assert!(limit > SHORT && limit <= 2 * SHORT, "{limit:?}");
        assert_eq!(waits(&[LONG; 50]).spin_limit(FEW, true, false), Duration::ZERO);
    }

    #[test]
    fn a_worker_with_many_peers_does_not_spin() {
        assert_eq!(short().spin_limit(FEW + 1, true, false), Duration::ZERO);
        assert!(short().spin_limit(FEW + 1, false, false) > SHORT);
    }

    #[test]
    fn a_worker_whose_processor_others_want_spins_for_a_while_where_its_waits_are_over_at_once() {
        let mut waits = waits(&[Duration::ZERO; 50]);
        assert_eq!(waits.spin_limit(FEW + 1, true, true), SPIN_LEAST);
    }

    #[test]
    fn a_worker_spins_for_longer_for_a_lone_peer() {
        let mut waits = waits(&[SPIN_MOST; 50]);
        let mut limit = |polls| waits.spin_limit(polls, true, false);
        assert_eq!(limit(FEW), SPIN_MOST);
        assert_eq!((2..=u64::from(ALONE)).map(|n| limit(FEW * n)).max(), Some(SPIN_MOST_ALONE));
        assert_eq!(limit(FEW * 100), Duration::ZERO);
        assert_eq!(limit(FEW * 101), SPIN_MOST);
    }

    #[test]
    fn a_worker_tries_now_and_then_whether_a_lone_peer_answers_at_once_again() {
        let mut waits = waits(&[2 * SPIN_MOST_ALONE; 50]);
        let mut limits = |n: u32| {
            (0..n).map(|_| waits.spin_limit(0, true, false)).filter(|limit| !limit.is_zero()).count()
        };
        assert_eq!(limits(4 * TRY_AGAIN), 4);
        waits.add(LONG);
        assert!(waits.spinning.get() > SPIN_MOST_ALONE, "it was of no use");
        for _ in 0..TRY_AGAIN {
            waits.spin_limit(0, true, false);
        }
        waits.add(SHORT);
        assert!(waits.spinning.get() <= SHORT);
    }

    #[test]
    fn a_worker_does_not_try_to_spin_where_its_waits_are_long() {
        let mut waits = waits(&[LONG; 50]);
        assert!((0..4 * TRY_AGAIN).all(|_| waits.spin_limit(0, true, false).is_zero()));
    }

    #[test]
    fn one_long_wait_does_not_end_the_spinning_and_a_few_do() {
        let mut waits = waits(&[Duration::ZERO; 50]);
        waits.add(LONG);
        assert_ne!(waits.spin_limit(0, true, true), Duration::ZERO);
        (0..4).for_each(|_| waits.add(LONG));
        assert_eq!(waits.spin_limit(0, true, true), Duration::ZERO);
    }

    const SHORT: Duration = Duration::from_micros(10);

    fn short() -> Waits {
        waits(&[SHORT; 50])
    }
}
