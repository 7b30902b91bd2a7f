//! The wheel against a model of it, at all the times at which a wheel has ever gone wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Wake;

use parking_lot::Mutex;

use super::*;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;
const YEAR: u64 = 365 * DAY;

/// A waker that writes its number into a log.
struct Numbered {
    number: usize,
    log: Log,
}

type Log = Arc<Mutex<Vec<usize>>>;

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.log.lock().push(self.number);
    }
}

fn numbered(number: usize, log: &Log) -> Waker {
    Waker::from(Arc::new(Numbered { number, log: log.clone() }))
}

/// A wheel, and a map that says what it should do.
struct Pair {
    wheel: Wheel,
    /// By deadline and order of insertion.
    model: BTreeMap<(u64, usize), Key>,
    log: Log,
    now: u64,
    last: usize,
    dead: Vec<Key>,
}

impl Pair {
    fn new(now: u64) -> Self {
        let mut wheel = Wheel::new();
        wheel.catch_up(now);
        Pair { wheel, model: BTreeMap::new(), log: Log::default(), now, last: 0, dead: Vec::new() }
    }

    fn insert(&mut self, deadline: u64) {
        self.last += 1;
        let key = self.wheel.insert(deadline, numbered(self.last, &self.log));
        // What is past counts as due when it came.
        self.model.insert((deadline.max(self.wheel.now), self.last), key);
    }

    /// Removes one of those that are there.
    fn remove(&mut self, nth: usize) {
        let Some((id, key)) = self.model.iter().nth(nth).map(|(id, key)| (*id, *key)) else { return };
        self.model.remove(&id);
        self.wheel.remove(key).expect("it has not fired").wake();
        assert_eq!(self.log.lock().drain(..).collect::<Vec<_>>(), [id.1]);
        self.dead.push(key);
    }

    fn replace(&mut self, nth: usize) {
        let Some((id, key)) = self.model.iter().nth(nth).map(|(id, key)| (*id, *key)) else { return };
        self.last += 1;
        // The place in the order is that of the timer, whoever waits for it.
        let log = Log::default();
        let old = self.wheel.replace(key, numbered(id.1, &self.log)).expect("it has not fired");
        let other = self.wheel.replace(key, numbered(0, &log)).expect("it has not fired");
        assert!(!other.will_wake(&old) && !self.wheel.waker(key).unwrap().will_wake(&other));
        self.wheel.replace(key, other).unwrap();
    }

    /// Moves the time, and compares what fires; in small helpings sometimes.
    fn expire(&mut self, now: u64, most: usize) {
        self.now = now;
        let mut due = Vec::new();
        let mut rounds = 0;
        while self.wheel.expire(now, &mut due, most) {
            rounds += 1;
            assert_eq!(due.len(), rounds * most);
            let next = self.wheel.next();
            assert!(next <= now && (self.wheel.elapsed() < next || next == 0), "more are due: {next}");
        }
        due.into_iter().for_each(Waker::wake);
        let later = self.model.split_off(&(now, usize::MAX));
        let expected = mem::replace(&mut self.model, later);
        let expected_numbers: Vec<_> = expected.keys().map(|(_, number)| *number).collect();
        assert_eq!(self.log.lock().drain(..).collect::<Vec<_>>(), expected_numbers);
        assert_eq!(self.wheel.elapsed(), now);
        self.dead.extend(expected.into_values());
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.model.len());
        let first = self.model.keys().next().map_or(u64::MAX, |(deadline, _)| *deadline);
        assert!(self.wheel.next() <= first, "{} would come too late for {first}", self.wheel.next());
    }

    fn check_dead(&mut self) {
        for key in mem::take(&mut self.dead) {
            assert!(self.wheel.remove(key).is_none() && self.wheel.waker(key).is_none());
            assert!(self.wheel.replace(key, Waker::noop().clone()).is_err());
        }
    }
}

struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Any order of magnitude is as likely as any other.
    fn magnitude(&mut self) -> u64 {
        let bits = self.below(62);
        self.below(1 << bits)
    }
}

/// The times at which the random walks start.
fn starts() -> Vec<u64> {
    let mut starts = vec![0, 1, DAY * 124 / 10, YEAR * 22 / 10, 10 * YEAR, (1 << 36) * 1_000_000];
    for level in 1..=LEVELS as u32 {
        let boundary = 1_u128 << (level * SLOT_BITS);
        for time in [boundary - 1, boundary, boundary + 1] {
            starts.push(u64::try_from(time).unwrap_or(u64::MAX - 2 * DAY));
        }
    }
    starts.push(u64::MAX - YEAR);
    starts
}

fn walk(seed: u64, start: u64, steps: u64) {
    let mut random = Xorshift(seed | 1);
    let mut pair = Pair::new(start);
    for _ in 0..steps {
        match random.below(8) {
            0..3 => {
                let d = random.magnitude();
                pair.insert(pair.now.saturating_add(d));
            }
            3 => {
                let again = random.below(4);
                let deadline = pair.now.saturating_add(random.magnitude());
                (0..again).for_each(|_| pair.insert(deadline));
            }
            4 => pair.remove(random.below(pair.model.len().max(1) as u64) as usize),
            5 => pair.replace(random.below(pair.model.len().max(1) as u64) as usize),
            6 => pair.insert(pair.now.saturating_sub(random.magnitude())),
            _ => {
                let to = match random.below(4) {
                    0 => pair.wheel.next().min(u64::MAX - 1).max(pair.now),
                    1 => pair.wheel.next().saturating_sub(1).min(u64::MAX - 1).max(pair.now),
                    _ => pair.now.saturating_add(random.magnitude()).min(u64::MAX - 1),
                };
                pair.expire(to, if random.below(2) == 0 { 3 } else { usize::MAX });
            }
        }
        pair.check();
        if random.below(16) == 0 {
            pair.wheel.catch_up(pair.now);
        }
    }
    pair.check_dead();
    pair.expire(u64::MAX - 1, 7);
    assert!(pair.model.keys().all(|(deadline, _)| *deadline == NEVER));
}

#[test]
fn it_does_what_the_model_does() {
    let seeds: u64 =
        std::env::var("RUNTIME_TIMER_SEEDS").map_or(3, |text| text.parse().expect("a number of seeds"));
    for seed in 1..=seeds {
        for start in starts() {
            let failed =
                std::panic::catch_unwind(|| walk(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), start, 150));
            assert!(failed.is_ok(), "with seed {seed}, started at {start}");
        }
    }
}

#[test]
fn a_timer_on_either_side_of_every_boundary_fires_in_time() {
    for k in 0..64 {
        for boundary in [(1_u64 << k) - 1, 1 << k, (1 << k) + 1] {
            for start in [0, boundary.saturating_sub(3), boundary] {
                for deadline in [boundary, boundary.saturating_add(1), boundary.saturating_add(64)] {
                    let mut pair = Pair::new(start);
                    pair.insert(deadline);
                    let due = deadline.max(start);
                    assert_eq!(pair.wheel.next(), due, "from {start} to {deadline}");
                    pair.expire(due.saturating_sub(1).max(start), 1);
                    pair.expire(due, 1);
                    assert_eq!(pair.wheel.len(), 0);
                }
            }
        }
    }
}

#[test]
fn ten_years_are_walked_through_with_one_wait_for_each_timer() {
    let mut pair = Pair::new(0);
    let (mut waits, mut fired) = (0, 0);
    pair.insert(10 * YEAR);
    while pair.now < 10 * YEAR {
        for after in [1, 1_000_000, 77 * SECOND, DAY] {
            pair.insert(pair.now + after);
        }
        fired += 4;
        for _ in 0..4 {
            let next = pair.wheel.next();
            let before = pair.wheel.len();
            pair.expire(next, usize::MAX);
            assert!(pair.wheel.len() < before, "a wait for nothing until {next}");
            waits += 1;
        }
        // Now and then a long silence.
        if fired % 64 == 0 {
            pair.expire(pair.wheel.next().min(pair.now + 30 * DAY) - 1, 1);
        }
    }
    assert!(waits > 1_000);
}

#[test]
fn without_removals_next_is_exact() {
    let mut random = Xorshift(99);
    let mut pair = Pair::new(12_345_678_901);
    for _ in 0..2_000 {
        if random.below(3) > 0 {
            let d = random.magnitude();
            pair.insert(pair.now.saturating_add(d));
        } else {
            let next = pair.wheel.next();
            let first = pair.model.keys().next().map_or(u64::MAX, |(deadline, _)| *deadline);
            assert_eq!(next, first);
            if next < u64::MAX {
                pair.expire(next, usize::MAX);
            }
        }
    }
}

#[test]
fn what_never_ends_never_fires_and_can_be_removed() {
    let mut pair = Pair::new(0);
    pair.insert(u64::MAX);
    pair.insert(u64::MAX);
    assert_eq!(pair.wheel.next(), u64::MAX);
    pair.expire(u64::MAX - 1, 1);
    assert_eq!(pair.wheel.len(), 2);
    pair.remove(0);
    pair.remove(0);
    assert_eq!(pair.wheel.len(), 0);
}

#[test]
fn a_wheel_without_timers_has_no_memory() {
    let wheel = Wheel::new();
    assert_eq!(wheel.entries.capacity(), 0);
    assert!(wheel.levels.iter().all(Option::is_none));
}

#[test]
fn a_million_of_one_deadline_fire_in_helpings() {
    let mut wheel = Wheel::new();
    for _ in 0..1_000_000 {
        wheel.insert(SECOND, Waker::noop().clone());
    }
    let (mut due, mut fired) = (Vec::new(), 0);
    assert!(!wheel.expire(SECOND - 1, &mut due, 64) && due.is_empty());
    loop {
        let more = wheel.expire(SECOND + 1, &mut due, 64);
        fired += due.len();
        assert!(due.len() <= 64);
        due.clear();
        if !more {
            break;
        }
    }
    assert_eq!((fired, wheel.len(), wheel.entries.capacity()), (1_000_000, 0, 0));
}

#[test]
fn a_million_removed_at_random_give_their_memory_back() {
    let (mut wheel, mut random) = (Wheel::new(), Xorshift(5));
    let mut keys: Vec<_> = (0..1_000_000)
        .map(|_| {
            let deadline = random.magnitude();
            wheel.insert(deadline, Waker::noop().clone())
        })
        .collect();
    let old = keys[17];
    while !keys.is_empty() {
        let nth = random.below(keys.len() as u64) as usize;
        assert!(wheel.remove(keys.swap_remove(nth)).is_some());
    }
    assert_eq!((wheel.len(), wheel.entries.capacity(), wheel.next()), (0, 0, u64::MAX));
    // The places are used again, the keys are not.
    (0..100).for_each(|_| _ = wheel.insert(SECOND, Waker::noop().clone()));
    assert!(wheel.remove(old).is_none());
    assert_eq!(wheel.len(), 100);
}

#[test]
fn a_clear_gives_all_wakers_and_kills_all_keys() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> =
        [0, 1, SECOND, u64::MAX].map(|deadline| wheel.insert(deadline, Waker::noop().clone())).into();
    let mut all = Vec::new();
    wheel.clear(&mut all);
    assert_eq!((all.len(), wheel.len(), wheel.next(), wheel.elapsed()), (4, 0, u64::MAX, 0));
    wheel.insert(SECOND, Waker::noop().clone());
    assert!(keys.into_iter().all(|key| wheel.remove(key).is_none()));
}

#[test]
fn the_dead_key_fits_nothing() {
    let mut wheel = Wheel::new();
    wheel.insert(SECOND, Waker::noop().clone());
    assert!(wheel.waker(Key::DEAD).is_none());
}
