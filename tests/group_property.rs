//! Random trees of groups: nested, limited, with every policy, with errors, panics, cancels, drops and sleeps anywhere.
//!
//! Whatever happens: when a group returns nothing of it lives, at any depth; every destructor has run; and its report
//! holds every failure that was raised in it and nothing else.
//!
//! `RUNTIME_GROUP_TREES` says how many trees (300), `RUNTIME_GROUP_SEED` is the first one's seed; a failure prints its own.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use runtime::group::Policy;
use runtime::time::{now, sleep, timeout};
use runtime::{Failure, GroupError, Runtime, TaskGroup};
use runtime_tests::{PATIENCE, within};

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {text:?}")))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn time(&mut self) -> Duration {
        Duration::from_millis(self.below(6) * 10)
    }

    fn maybe<T>(&mut self, n: u64, f: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(n) { Some(f(self)) } else { None }
    }
}

// --- the plan of a tree ---

#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Error,
    Panic,
    /// Cancels the group it is in, and succeeds.
    Cancel,
}

impl End {
    fn random(random: &mut Random) -> Self {
        match random.below(10) {
            0 => End::Error,
            1 => End::Panic,
            2 => End::Cancel,
            _ => End::Success,
        }
    }
}

#[derive(Clone, Debug)]
struct Leaf {
    sleep: Duration,
    /// Stops its sleep at a cancel, and takes that long to clean up.
    listens: Option<Duration>,
    /// Its destructor panics.
    grudge: bool,
    end: End,
}

#[derive(Clone, Debug)]
enum What {
    Leaf(Leaf),
    Group(Plan),
}

#[derive(Clone, Debug)]
struct Child {
    what: What,
    before: Duration,
    /// Cancelled through its handle, that long after its spawn.
    cancelled: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Plan {
    policy: Policy,
    limit: Option<usize>,
    grace: Duration,
    children: Vec<Child>,
    then: Duration,
    end: End,
}

impl Plan {
    fn random(random: &mut Random, depth: u64) -> Self {
        let policy = match random.below(4) {
            0 => Policy::FailFast,
            1 => Policy::FirstSuccess,
            _ => Policy::Supervise,
        };
        let limit = random.maybe(3, |random| 1 + random.below(3) as usize);
        let grace = random.maybe(2, Random::time).unwrap_or(Duration::ZERO);
        let children = (0..random.below(6)).map(|_| Child::random(random, depth)).collect();
        Plan { policy, limit, grace, children, then: random.time(), end: End::random(random) }
    }

    /// No less than the tree can take by the clock: everything in it one after the other.
    fn longest(&self) -> Duration {
        let children = self.children.iter().map(Child::longest).sum::<Duration>();
        self.grace + self.then + children
    }
}

impl Child {
    fn random(random: &mut Random, depth: u64) -> Self {
        let what = if depth > 0 && random.one_in(3) {
            What::Group(Plan::random(random, depth - 1))
        } else {
            let (grudge, end) = (random.one_in(12), End::random(random));
            // Its destructor runs in the poll that returns, and an error would be lost to its panic.
            let end = if grudge { End::Success } else { end };
            What::Leaf(Leaf { sleep: random.time(), listens: random.maybe(3, Random::time), grudge, end })
        };
        Child { what, before: random.time(), cancelled: random.maybe(8, Random::time) }
    }

    fn longest(&self) -> Duration {
        let what = match &self.what {
            What::Leaf(leaf) => leaf.sleep + leaf.listens.unwrap_or_default(),
            What::Group(plan) => plan.longest(),
        };
        self.before + self.cancelled.unwrap_or_default() + what
    }
}

// --- what happened ---

#[derive(Default)]
struct World {
    made: AtomicUsize,
    dropped: AtomicUsize,
    ids: AtomicU64,
}

/// What is known of one group that ran.
struct Log {
    world: Arc<World>,
    parent: Option<Arc<Log>>,
    /// Futures of the group and of all groups inside it that were made and not dropped.
    live: AtomicUsize,
    raised: Mutex<Vec<u64>>,
    successes: AtomicUsize,
    body_failed: AtomicBool,
}

impl Log {
    fn new(world: &Arc<World>, parent: Option<Arc<Log>>) -> Arc<Self> {
        Arc::new(Log {
            world: world.clone(),
            parent,
            live: AtomicUsize::new(0),
            raised: Mutex::new(Vec::new()),
            successes: AtomicUsize::new(0),
            body_failed: AtomicBool::new(false),
        })
    }

    /// A failure that the group has to report.
    fn raise(&self) -> u64 {
        let id = self.world.ids.fetch_add(1, Ordering::SeqCst);
        self.raised.lock().push(id);
        id
    }

    fn upwards(self: &Arc<Self>, f: impl Fn(&AtomicUsize)) {
        let mut next = Some(self.clone());
        while let Some(log) = next {
            f(&log.live);
            next = log.parent.clone();
        }
    }
}

/// Part of every future: counts it.
struct Alive(Arc<Log>);

impl Alive {
    fn new(log: &Arc<Log>) -> Self {
        log.world.made.fetch_add(1, Ordering::SeqCst);
        log.upwards(|live| _ = live.fetch_add(1, Ordering::SeqCst));
        Alive(log.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.world.dropped.fetch_add(1, Ordering::SeqCst);
        self.0.upwards(|live| _ = live.fetch_sub(1, Ordering::SeqCst));
    }
}

struct Grudge(Option<Arc<Log>>);

impl Drop for Grudge {
    fn drop(&mut self) {
        if let Some(log) = self.0.take() {
            // Without the panic hook, which would print thousands of lines.
            resume_unwind(Box::new(log.raise()));
        }
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a planned group and checks it when it returns; true if it failed.
fn run(plan: Plan, parent: Option<Arc<Log>>, world: Arc<World>) -> Boxed<bool> {
    Box::pin(async move {
        let log = Log::new(&world, parent);
        let mut builder = TaskGroup::builder().policy(plan.policy).grace(plan.grace);
        if let Some(limit) = plan.limit {
            builder = builder.limit(limit);
        }
        let body = plan.clone();
        let outcome = builder.run(|group| self::body(body, group, log.clone())).await;
        check(&plan, &log, &outcome);
        outcome.is_err()
    })
}

fn check(plan: &Plan, log: &Log, outcome: &Result<Option<()>, GroupError<u64>>) {
    assert_eq!(log.live.load(Ordering::SeqCst), 0, "something outlives its group: {plan:?}");
    let mut raised = log.raised.lock().clone();
    let forgiven = plan.policy == Policy::FirstSuccess
        && log.successes.load(Ordering::SeqCst) > 0
        && !log.body_failed.load(Ordering::SeqCst);
    if forgiven {
        assert!(outcome.is_ok(), "a success was not enough: {plan:?}");
        return;
    }
    let id = |failure: &Failure<u64>| match failure {
        Failure::Error(id) => *id,
        Failure::Panic(error) => *error.clone().into_panic().unwrap().downcast::<u64>().unwrap(),
    };
    let mut reported: Vec<u64> = match outcome {
        Ok(_) => Vec::new(),
        Err(error) => error.errors.iter().map(id).collect(),
    };
    raised.sort_unstable();
    reported.sort_unstable();
    assert_eq!(reported, raised, "raised on the right, reported on the left: {plan:?}");
}

async fn body(plan: Plan, group: TaskGroup<u64>, log: Arc<Log>) -> Result<(), u64> {
    let _alive = Alive::new(&log);
    for child in plan.children {
        if !child.before.is_zero() {
            sleep(child.before).await;
        }
        let task = group.spawn(future(child.what, group.clone(), log.clone()));
        if let Some(delay) = child.cancelled {
            let handle = task.abort_handle();
            runtime::spawn(async move {
                sleep(delay).await;
                handle.cancel();
            });
        }
    }
    sleep(plan.then).await;
    match plan.end {
        End::Success => Ok(()),
        End::Error => {
            log.body_failed.store(true, Ordering::SeqCst);
            Err(log.raise())
        }
        End::Panic => {
            log.body_failed.store(true, Ordering::SeqCst);
            resume_unwind(Box::new(log.raise()))
        }
        End::Cancel => {
            group.cancel();
            Ok(())
        }
    }
}

fn future(what: What, group: TaskGroup<u64>, log: Arc<Log>) -> Boxed<Result<(), u64>> {
    let alive = Alive::new(&log);
    match what {
        What::Leaf(leaf) => Box::pin(async move {
            let _alive = alive;
            self::leaf(leaf, group, log).await
        }),
        What::Group(plan) => Box::pin(async move {
            let _alive = alive;
            if run(plan, Some(log.clone()), log.world.clone()).await {
                return Err(log.raise());
            }
            log.successes.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }),
    }
}

async fn leaf(leaf: Leaf, group: TaskGroup<u64>, log: Arc<Log>) -> Result<(), u64> {
    let _grudge = Grudge(if leaf.grudge { Some(log.clone()) } else { None });
    match leaf.listens {
        Some(cleanup) => {
            if group.token().run_until_cancelled(sleep(leaf.sleep)).await.is_none() {
                sleep(cleanup).await;
            }
        }
        None => sleep(leaf.sleep).await,
    }
    match leaf.end {
        End::Error => return Err(log.raise()),
        End::Panic => resume_unwind(Box::new(log.raise())),
        End::Cancel => group.cancel(),
        End::Success => {}
    }
    if !leaf.grudge {
        log.successes.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

fn tree(seed: u64) {
    /// Names the seed of a tree that failed.
    struct Name(u64);
    impl Drop for Name {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("RUNTIME_GROUP_SEED={} RUNTIME_GROUP_TREES=1 repeats it", self.0);
            }
        }
    }

    let _name = Name(seed);
    let mut random = Random(seed);
    let builder = match random.below(3) {
        0 => Runtime::builder().current_thread(),
        workers => Runtime::builder().worker_threads(workers as usize),
    };
    // Panics of those who were cancelled through their handles are reported there as well.
    let rt = builder.start_paused(true).on_unobserved(drop).build().expect("a runtime");
    let plan = Plan::random(&mut random, 3);
    // Now and then the whole tree is dropped in the middle; then nobody waits for its members.
    let dropped = random.maybe(4, Random::time);
    let world = Arc::new(World::default());
    rt.block_on(async {
        let begin = now();
        let longest = plan.longest();
        let group = run(plan, None, world.clone());
        match dropped {
            None => _ = group.await,
            Some(delay) => {
                let _ = timeout(delay, group).await;
                while world.dropped.load(Ordering::SeqCst) < world.made.load(Ordering::SeqCst) {
                    runtime::task::yield_now().await;
                }
            }
        }
        assert!(now() - begin <= longest, "took {:?} of {longest:?}", now() - begin);
    });
    assert_eq!(world.made.load(Ordering::SeqCst), world.dropped.load(Ordering::SeqCst));
}

#[test]
fn random_trees_of_groups_leave_nothing_and_report_everything() {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let first = variable("RUNTIME_GROUP_SEED").unwrap_or_else(clock);
    let trees = variable("RUNTIME_GROUP_TREES").unwrap_or(300);
    println!("RUNTIME_GROUP_SEED={first} RUNTIME_GROUP_TREES={trees}");
    for n in 0..trees {
        within(PATIENCE, move || tree(first.wrapping_add(n)));
    }
}
