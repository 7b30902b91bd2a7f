//! Random timers over years of virtual time, beside a sorted map that says when each has to go off: none is early, none lost.
//!
//! `RUNTIME_TIMER_SEEDS` says how many seeds each test tries (3).

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::time::{Sleep, advance, now, sleep, sleep_until, timeout};
use runtime_tests::{CountingWaker, Random, on_each_paused};

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

fn seeds() -> u64 {
    std::env::var("RUNTIME_TIMER_SEEDS").map_or(3, |seeds| seeds.parse().expect("a number of seeds"))
}

/// Of every order of magnitude up to ten years.
fn length(random: &mut Random) -> Duration {
    let most = 1 << random.below(59);
    Duration::from_nanos(random.below(most)).min(TEN_YEARS)
}

/// A sleep in our hands.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
    count: Arc<CountingWaker>,
    waker: Waker,
    /// As many wake-ups had been seen when it was polled last.
    seen: usize,
    polled: bool,
}

impl Timer {
    fn new(length: Duration) -> Self {
        let (count, waker) = CountingWaker::new();
        let deadline = now() + length;
        Timer { sleep: Box::pin(sleep(length)), deadline, count, waker, seen: 0, polled: false }
    }

    /// True once it has gone off. It may be polled whenever somebody likes, and has to be when it was woken.
    fn poll(&mut self) -> bool {
        self.polled = true;
        self.seen = self.count.wakes();
        let polled = self.sleep.as_mut().poll(&mut Context::from_waker(&self.waker));
        assert_eq!(
            polled.is_ready(),
            now() >= self.deadline,
            "{:?}",
            self.deadline.checked_duration_since(now())
        );
        polled.is_ready()
    }

    fn was_woken(&self) -> bool {
        self.polled && self.count.wakes() > self.seen
    }
}

/// The timers that wait, by number; and by deadline, in the map that is right.
#[derive(Default)]
struct World {
    timers: BTreeMap<u64, Timer>,
    due: BTreeMap<(Instant, u64), ()>,
    last: u64,
}

impl World {
    fn create(&mut self, length: Duration) {
        self.last += 1;
        let timer = Timer::new(length);
        self.due.insert((timer.deadline, self.last), ());
        self.timers.insert(self.last, timer);
    }

    fn any(&self, random: &mut Random) -> Option<u64> {
        let index = random.below(self.timers.len().max(1) as u64) as usize;
        self.timers.keys().nth(index).copied()
    }

    fn remove(&mut self, number: u64) {
        let timer = self.timers.remove(&number).expect("it waits");
        self.due.remove(&(timer.deadline, number));
    }

    fn reset(&mut self, number: u64, deadline: Instant) {
        let timer = self.timers.get_mut(&number).expect("it waits");
        self.due.remove(&(timer.deadline, number));
        self.due.insert((deadline, number), ());
        timer.deadline = deadline;
        timer.sleep.as_mut().reset(deadline);
    }

    fn poll(&mut self, number: u64) {
        if self.timers.get_mut(&number).expect("it waits").poll() {
            self.remove(number);
        }
    }

    /// Polls whoever was woken; true if somebody is left whose time has come and who was polled before that.
    fn look(&mut self) -> bool {
        let woken: Vec<u64> =
            self.timers.iter().filter(|(_, timer)| timer.was_woken()).map(|(number, _)| *number).collect();
        woken.into_iter().for_each(|number| self.poll(number));
        self.due.range(..=(now(), u64::MAX)).any(|((_, number), ())| self.timers[number].polled)
    }

    /// Until nobody is late: another thread may be about to wake who is.
    async fn settle(&mut self) {
        while self.look() {
            runtime::task::yield_now().await;
        }
    }

    async fn step(&mut self, random: &mut Random) {
        match random.below(10) {
            0..3 => self.create(length(random)),
            3..5 => {
                if let Some(number) = self.any(random) {
                    self.poll(number);
                }
            }
            5 => {
                if let Some(number) = self.any(random) {
                    self.reset(number, now() + length(random));
                }
            }
            6 => {
                if let Some(number) = self.any(random) {
                    self.remove(number);
                }
            }
            7 => advance(length(random) / 64).await,
            // To the next one, and to just before it.
            _ => {
                let next = self.due.keys().map(|(deadline, _)| *deadline).find(|deadline| *deadline > now());
                if let Some(next) = next {
                    let left = next - now();
                    advance(left - Duration::from_nanos(random.below(2)).min(left)).await;
                }
            }
        }
        self.settle().await;
    }
}

#[test]
fn timers_that_are_polled_reset_and_dropped_at_random_go_off_when_the_map_says() {
    on_each_paused(|rt| {
        for seed in 0..seeds() {
            let begin = rt.block_on(async { now() });
            rt.block_on(async {
                let (mut random, mut world) = (Random::new(seed), World::default());
                while now() - begin < TEN_YEARS {
                    world.step(&mut random).await;
                }
            });
            assert_eq!(rt.metrics().timers(), 0, "seed {seed}: all were dropped");
        }
    });
}

/// What a task waits for, one after the other: how, and for how long.
fn plan(random: &mut Random) -> Vec<(u64, Duration)> {
    (0..random.below(12)).map(|_| (random.below(4), length(random) / 16)).collect()
}

/// One wait of a task, by a function that has to take exactly so long.
async fn wait(how: u64, length: Duration) {
    match how {
        0 => sleep(length).await,
        1 => assert!(timeout(length, pending::<()>()).await.unwrap_err().is_timeout()),
        2 => assert!(timeout(length + Duration::from_nanos(1), sleep(length)).await.is_ok()),
        _ => {
            let mut sleep = Box::pin(sleep_until(now() + length / 2));
            let polled = std::future::poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await;
            if polled.is_pending() || length.is_zero() {
                sleep.as_mut().reset(now() + length);
                sleep.await;
            } else {
                runtime::time::sleep(length).await;
            }
        }
    }
}

#[test]
fn tasks_that_wait_at_random_go_on_in_the_order_and_at_the_times_of_the_map() {
    on_each_paused(|rt| {
        for seed in 0..seeds() {
            let mut random = Random::new(seed);
            let plans: Vec<_> = (0..40).map(|_| plan(&mut random)).collect();
            let log: Arc<Mutex<Vec<(Duration, usize)>>> = Arc::default();
            rt.block_on(async {
                let begin = now();
                let tasks: Vec<_> = plans
                    .iter()
                    .cloned()
                    .enumerate()
                    .map(|(number, plan)| {
                        let log = log.clone();
                        runtime::spawn(async move {
                            for (how, length) in plan {
                                wait(how, length).await;
                                log.lock().push((now() - begin, number));
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
            let mut map = BTreeMap::<Duration, Vec<usize>>::new();
            for (number, plan) in plans.iter().enumerate() {
                let mut at = Duration::ZERO;
                for (_, length) in plan {
                    at += *length;
                    map.entry(at).or_default().push(number);
                }
            }
            let mut seen = BTreeMap::<Duration, Vec<usize>>::new();
            let mut last = Duration::ZERO;
            for (at, number) in log.lock().drain(..) {
                assert!(at >= last, "seed {seed}: the clock went back");
                last = at;
                seen.entry(at).or_default().push(number);
            }
            seen.values_mut().for_each(|numbers| numbers.sort_unstable());
            map.values_mut().for_each(|numbers| numbers.sort_unstable());
            assert_eq!(seen, map, "seed {seed}");
        }
    });
}
