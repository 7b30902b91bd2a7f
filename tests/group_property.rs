//! Random trees of groups: nested, limited, with every policy, with errors, panics, cancels, drops and sleeps anywhere.
//!
//! Whatever happens: when a group returns nothing of it lives, at any depth; every destructor has run; its report holds
//! every failure that was raised in it and nothing else, and its value is that of its body; never more children run than
//! its limit allows; and once it was stopped it is over when its grace is.
//!
//! `RUNTIME_GROUP_TREES` says how many trees (300), `RUNTIME_GROUP_SEED` is the first one's seed; a failure prints its own.

use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use runtime::group::Policy;
use runtime::time::{now, sleep, timeout};
use runtime::{Failure, GroupError, Runtime, TaskGroup};
use runtime_tests::{PATIENCE, Random, within};

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {text:?}")))
}

/// Now and then far longer than all that is usual: who waits for that was not stopped.
fn time(random: &mut Random) -> Duration {
    let unit = if random.one_in(8) { 10_000 } else { 10 };
    Duration::from_millis(random.below(6) * unit)
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
    /// A group that the body runs once it has spawned the children.
    inside: Option<Box<Plan>>,
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
        let grace = random.maybe(2, time).unwrap_or(Duration::ZERO);
        let children = (0..random.below(6)).map(|_| Child::random(random, depth)).collect();
        let inside = if depth > 0 && random.one_in(4) {
            Some(Box::new(Plan::random(random, depth - 1)))
        } else {
            None
        };
        Plan { policy, limit, grace, children, inside, then: time(random), end: End::random(random) }
    }

    /// No less than the tree can take by the clock: everything in it one after the other.
    fn longest(&self) -> Duration {
        let children = self.children.iter().map(Child::longest).sum::<Duration>();
        let inside = self.inside.as_ref().map_or(Duration::ZERO, |plan| plan.longest());
        self.grace + self.then + children + inside
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
            What::Leaf(Leaf { sleep: time(random), listens: random.maybe(3, time), grudge, end })
        };
        Child { what, before: time(random), cancelled: random.maybe(8, time) }
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
    /// What was found wrong: a panic inside of a group would be one more failure of that.
    faults: Mutex<Vec<String>>,
}

/// What is known of one group that ran.
struct Log {
    world: Arc<World>,
    parent: Option<Arc<Log>>,
    /// The group runs in the body of the other one, and not in a child.
    in_body: bool,
    policy: Policy,
    limit: usize,
    /// Children that were polled and not dropped.
    running: AtomicUsize,
    begun: Instant,
    /// When the group was cancelled.
    stopped: Mutex<Option<Instant>>,
    /// When the first success cancelled the children only.
    succeeded: Mutex<Option<Instant>>,
    body_gone: Mutex<Option<Instant>>,
    body_returned: AtomicBool,
    /// Futures of the group and of all groups inside it that were made and not dropped.
    live: AtomicUsize,
    raised: Mutex<Vec<u64>>,
    successes: AtomicUsize,
    body_failed: AtomicBool,
}

impl Log {
    fn new(plan: &Plan, world: &Arc<World>, parent: Option<Arc<Log>>, in_body: bool) -> Arc<Self> {
        Arc::new(Log {
            world: world.clone(),
            parent,
            in_body,
            policy: plan.policy,
            limit: plan.limit.unwrap_or(usize::MAX),
            running: AtomicUsize::new(0),
            begun: now(),
            stopped: Mutex::new(None),
            succeeded: Mutex::new(None),
            body_gone: Mutex::new(None),
            body_returned: AtomicBool::new(false),
            live: AtomicUsize::new(0),
            raised: Mutex::new(Vec::new()),
            successes: AtomicUsize::new(0),
            body_failed: AtomicBool::new(false),
        })
    }

    /// A failure that the group has to report.
    fn raise(&self) -> u64 {
        if self.policy == Policy::FailFast {
            self.stop();
        }
        let id = self.world.ids.fetch_add(1, Ordering::SeqCst);
        self.raised.lock().push(id);
        id
    }

    /// A failure of the body.
    fn raise_in_body(&self) -> u64 {
        self.body_failed.store(true, Ordering::SeqCst);
        self.stop();
        self.raise()
    }

    /// The group is cancelled in the poll that calls this.
    fn stop(&self) {
        self.stopped.lock().get_or_insert_with(now);
    }

    /// A child succeeds in the poll that calls this.
    fn succeed(&self) {
        self.successes.fetch_add(1, Ordering::SeqCst);
        if self.policy == Policy::FirstSuccess {
            self.succeeded.lock().get_or_insert_with(now);
        }
    }

    /// When the group was cancelled, or whatever it stands in.
    fn stopped(&self) -> Option<Instant> {
        let above = self
            .parent
            .as_ref()
            .and_then(|parent| if self.in_body { parent.stopped() } else { parent.children_stopped() });
        self.stopped.lock().into_iter().chain(above).min()
    }

    fn children_stopped(&self) -> Option<Instant> {
        self.succeeded.lock().into_iter().chain(self.stopped()).min()
    }

    fn fault(&self, fault: String) {
        self.world.faults.lock().push(fault);
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

/// Part of every child that was polled.
struct Running(Arc<Log>);

impl Running {
    fn new(log: &Arc<Log>) -> Self {
        let running = log.running.fetch_add(1, Ordering::SeqCst) + 1;
        if running > log.limit {
            log.fault(format!("{running} children run, and {} may", log.limit));
        }
        Running(log.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Part of the body.
struct Body(Arc<Log>);

impl Drop for Body {
    fn drop(&mut self) {
        *self.0.body_gone.lock() = Some(now());
    }
}

/// Takes note of a group that is dropped before its end.
struct Stops<'a>(&'a Log);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.stop();
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
fn run(plan: Plan, parent: Option<Arc<Log>>, in_body: bool, world: Arc<World>) -> Boxed<bool> {
    Box::pin(async move {
        let log = Log::new(&plan, &world, parent, in_body);
        let mut builder = TaskGroup::builder().policy(plan.policy).grace(plan.grace);
        if let Some(limit) = plan.limit {
            builder = builder.limit(limit);
        }
        let body = plan.clone();
        let mut group = pin!(builder.run(|group| self::body(body, group, log.clone())));
        // Dropped before the group is.
        let stops = Stops(&log);
        let outcome = group.as_mut().await;
        std::mem::forget(stops);
        check(&plan, &log, &outcome);
        outcome.is_err()
    })
}

fn check(plan: &Plan, log: &Log, outcome: &Result<Option<()>, GroupError<u64>>) {
    let live = log.live.load(Ordering::SeqCst);
    if live > 0 {
        log.fault(format!("{live} outlive their group: {plan:?}"));
    }
    if let Some(stopped) = log.stopped() {
        // It may have begun in the grace of another one.
        let late = now() - stopped.max(log.begun);
        if late > plan.grace {
            log.fault(format!("ends {late:?} after it was stopped: {plan:?}"));
        }
    }
    let children_stopped = *log.succeeded.lock();
    if let (Some(stopped), Some(body_gone)) = (children_stopped, *log.body_gone.lock()) {
        let late = now() - body_gone.max(stopped + plan.grace);
        if !late.is_zero() {
            log.fault(format!("ends {late:?} after its children were stopped: {plan:?}"));
        }
    }
    let returned = log.body_returned.load(Ordering::SeqCst);
    if outcome.as_ref().is_ok_and(|value| value.is_some() != returned) {
        log.fault(format!("gives {outcome:?}, and that its body returned is {returned}: {plan:?}"));
    }
    if outcome.as_ref().is_ok_and(Option::is_none) && log.stopped().is_none() {
        log.fault(format!("gives no value though nobody stopped it: {plan:?}"));
    }
    let mut raised = log.raised.lock().clone();
    let forgiven = plan.policy == Policy::FirstSuccess
        && log.successes.load(Ordering::SeqCst) > 0
        && !log.body_failed.load(Ordering::SeqCst);
    if forgiven {
        if outcome.is_err() {
            log.fault(format!("a success was not enough: {plan:?}"));
        }
        return;
    }
    let id = |failure: &Failure<u64>| match failure {
        Failure::Error(id) => Some(*id),
        Failure::Panic(error) => error.clone().into_panic().ok()?.downcast().ok().map(|id| *id),
    };
    let mut reported: Vec<Option<u64>> = match outcome {
        Ok(_) => Vec::new(),
        Err(error) => error.errors.iter().map(id).collect(),
    };
    raised.sort_unstable();
    reported.sort_unstable();
    if !reported.iter().copied().eq(raised.iter().copied().map(Some)) {
        log.fault(format!("reports {reported:?} of {raised:?} that were raised: {plan:?}"));
    }
}

async fn body(plan: Plan, group: TaskGroup<u64>, log: Arc<Log>) -> Result<(), u64> {
    let _alive = Alive::new(&log);
    let _body = Body(log.clone());
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
    if let Some(plan) = plan.inside {
        let _ = run(*plan, Some(log.clone()), true, log.world.clone()).await;
    }
    sleep(plan.then).await;
    match plan.end {
        End::Success => {}
        End::Error => return Err(log.raise_in_body()),
        End::Panic => resume_unwind(Box::new(log.raise_in_body())),
        End::Cancel => {
            log.stop();
            group.cancel();
        }
    }
    log.body_returned.store(true, Ordering::SeqCst);
    Ok(())
}

fn future(what: What, group: TaskGroup<u64>, log: Arc<Log>) -> Boxed<Result<(), u64>> {
    let alive = Alive::new(&log);
    match what {
        What::Leaf(leaf) => Box::pin(async move {
            let _alive = alive;
            let _running = Running::new(&log);
            self::leaf(leaf, group, log).await
        }),
        What::Group(plan) => Box::pin(async move {
            let _alive = alive;
            let _running = Running::new(&log);
            if run(plan, Some(log.clone()), false, log.world.clone()).await {
                return Err(log.raise());
            }
            log.succeed();
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
        End::Cancel => {
            log.stop();
            group.cancel();
        }
        End::Success => {}
    }
    if !leaf.grudge {
        log.succeed();
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
    let mut random = Random::new(seed);
    let builder = match random.below(3) {
        0 => Runtime::builder().current_thread(),
        workers => Runtime::builder().worker_threads(workers as usize),
    };
    // Panics of those who were cancelled through their handles are reported there as well.
    let rt = builder.start_paused(true).on_unobserved(drop).build().expect("a runtime");
    let plan = Plan::random(&mut random, 3);
    // Now and then the whole tree is dropped in the middle; then nobody waits for its members.
    let dropped = random.maybe(4, time);
    let world = Arc::new(World::default());
    rt.block_on(async {
        let begin = now();
        let longest = plan.longest();
        let group = run(plan, None, false, world.clone());
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
    let faults = world.faults.lock();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
