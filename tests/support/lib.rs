//! What several test files share: futures that count, a waker that counts, a watchdog, and a look into `/proc`.
//!
//! Tests wait for facts, never for time: [`until`] and [`within`] bound how long a wrong runtime can take, and a right
//! one never gets near the bound.

mod hostile;
mod random;
mod sockets;
mod waiting;

use std::future::poll_fn;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

// Not std's, which ThreadSanitizer cannot see into.
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use std::{fs, thread};

use runtime::{Runtime, Unobserved};

pub use hostile::{Deed, Hostile, Meddle, Op};
pub use random::Random;
pub use sockets::{alone, both, nobody, poll_once, tcp_pair, waits, watched};
pub use waiting::{Primitive, Scene, Wait, primitives};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
struct Guide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/migration.md")]
struct Migration;

/// Longer than anything right takes on a busy machine; a test that gets here has found a hang.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A wait that must not depend on something that never comes is over by then.
pub const PROMPT: Duration = Duration::from_secs(5);

// --- watchdogs ---

/// Runs `f` on a thread of its own and gives what it returns; panics if that takes longer than `limit`.
///
/// The thread is left behind then: a hang fails its test and does not hold up the rest.
///
/// # Panics
/// With the panic of `f`, or at the limit.
#[track_caller]
pub fn within<R: Send + 'static>(limit: Duration, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let body = move || {
        let _ = sender.send(f());
    };
    finish_within(limit, Box::new(body));
    receiver.recv().expect("the thread has sent what it returned")
}

/// Not generic, so that the hundreds of tests do not each start their thread with code of their own.
#[track_caller]
fn finish_within(limit: Duration, body: Box<dyn FnOnce() + Send>) {
    let (sender, receiver) = mpsc::channel();
    let name = thread::current().name().unwrap_or("test").to_owned();
    let body = move || {
        body();
        let _ = sender.send(());
    };
    let thread = thread::Builder::new().name(name).spawn(body).expect("a thread for the test");
    match receiver.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("hangs: no end within {limit:?}"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        }
    }
}

/// Yields the thread until `fact` holds.
///
/// # Panics
/// If it does not within [`PATIENCE`].
#[track_caller]
pub fn until(mut fact: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !fact() {
        assert!(begin.elapsed() < PATIENCE, "hangs: what was waited for has not come true");
        thread::yield_now();
    }
}

/// Runs `f` and fails if it took as long as a wait for what never comes would.
///
/// # Panics
/// If it took longer than [`PROMPT`].
#[track_caller]
pub fn promptly<R>(f: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let result = f();
    let elapsed = begin.elapsed();
    assert!(elapsed < PROMPT, "took {elapsed:?}");
    result
}

/// Calls `shutdown` until it takes less than the second that a shutdown waits for its threads, and gives what it gave then.
///
/// On a busy machine they may get no processor for that time, which is no fault, and the report says so. Where they never
/// end no call is in time: to be called [within] a limit.
pub fn in_time<R>(shutdown: impl Fn() -> R) -> R {
    /// What `Runtime::shutdown` has beside the grace.
    const TIME: Duration = Duration::from_secs(1);
    loop {
        let begin = Instant::now();
        let result = shutdown();
        if begin.elapsed() < TIME {
            return result;
        }
    }
}

// --- runtimes ---

/// A multi-thread runtime.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn multi(workers: usize) -> Runtime {
    Runtime::builder().worker_threads(workers).build().expect("a multi-thread runtime")
}

/// A current-thread runtime.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn single() -> Runtime {
    Runtime::builder().current_thread().build().expect("a current-thread runtime")
}

/// Calls `test` with each shape of runtime: one thread, one worker, two workers; each call under a watchdog.
///
/// # Panics
/// With the panic of `test`, or if it hangs.
#[track_caller]
pub fn on_each(test: impl Fn(Runtime) + Clone + Send + 'static) {
    for make in [single, || multi(1), || multi(2)] {
        let test = test.clone();
        within(PATIENCE, move || test(make()));
    }
}

/// As [`on_each`], with clocks that stand still.
///
/// # Panics
/// With the panic of `test`, or if it hangs.
#[track_caller]
pub fn on_each_paused(test: impl Fn(Runtime) + Clone + Send + 'static) {
    let shapes: [fn() -> runtime::Builder; 3] = [
        || Runtime::builder().current_thread(),
        || Runtime::builder().worker_threads(1),
        || Runtime::builder().worker_threads(2),
    ];
    for shape in shapes {
        let test = test.clone();
        within(PATIENCE, move || test(shape().start_paused(true).build().expect("a runtime")));
    }
}

/// A handler for `Builder::on_unobserved`, and where its reports arrive.
pub fn reports() -> (impl Fn(Unobserved) + Send + Sync + 'static, Receiver<Unobserved>) {
    let (sender, receiver) = mpsc::channel();
    (move |report| drop(sender.send(report)), receiver)
}

// --- counting ---

/// How often a future was polled and dropped, and whether two polls ever overlapped.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    polls: AtomicUsize,
    drops: AtomicUsize,
    polling: AtomicBool,
    overlaps: AtomicUsize,
}

impl Counts {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Counts::default()
    }

    /// Polls so far.
    #[must_use]
    pub fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    /// Drops so far, of watched futures and of tokens.
    #[must_use]
    pub fn drops(&self) -> usize {
        self.0.drops.load(Ordering::SeqCst)
    }

    /// Polls that began while another had not ended.
    #[must_use]
    pub fn overlaps(&self) -> usize {
        self.0.overlaps.load(Ordering::SeqCst)
    }

    /// The same future, counted.
    pub fn watch<F: Future>(&self, future: F) -> Counted<F> {
        Counted { future: Box::pin(future), token: self.token() }
    }

    /// A value whose drop is counted.
    #[must_use]
    pub fn token(&self) -> Token {
        Token(self.clone())
    }
}

/// A value whose drop is counted; from [`Counts::token`].
#[derive(Debug)]
pub struct Token(Counts);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0.drops.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future whose polls and drop are counted; from [`Counts::watch`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Counted<F> {
    // The order matters: the drop is counted after the destructors of the future itself.
    future: Pin<Box<F>>,
    token: Token,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let counters = self.token.0.0.clone();
        counters.polls.fetch_add(1, Ordering::SeqCst);
        if counters.polling.swap(true, Ordering::SeqCst) {
            counters.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        let polled = self.future.as_mut().poll(cx);
        counters.polling.store(false, Ordering::SeqCst);
        polled
    }
}

/// A waker that counts its wakes and wakes nobody.
#[derive(Debug, Default)]
pub struct CountingWaker(AtomicUsize);

impl CountingWaker {
    /// The count and a waker that adds to it.
    #[must_use]
    pub fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(CountingWaker::default());
        (count.clone(), Waker::from(count))
    }

    /// Wakes so far.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// --- waiting by hand ---

/// A place where one future waits at a time, with its waker in reach.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    waker: Option<Waker>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Gate::default()
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.0.lock()
    }

    /// Waits until the gate is open. Leaves its waker at each poll.
    pub async fn pass(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            let old = state.waker.replace(cx.waker().clone());
            let polled = if state.open { Poll::Ready(()) } else { Poll::Pending };
            drop(state);
            drop(old);
            self.0.1.notify_all();
            polled
        })
        .await;
    }

    /// Opens the gate and wakes who waits.
    pub fn open(&self) {
        let waker = {
            let mut state = self.state();
            state.open = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// True while a future has left its waker here.
    #[must_use]
    pub fn is_waited_at(&self) -> bool {
        self.state().waker.is_some()
    }

    /// Blocks the thread until a future waits, and gives a clone of its waker.
    ///
    /// # Panics
    /// If nobody comes within [`PATIENCE`].
    #[must_use]
    pub fn waker(&self) -> Waker {
        let mut state = self.state();
        let waited = self.0.1.wait_while_for(&mut state, |state| state.waker.is_none(), PATIENCE);
        assert!(!waited.timed_out(), "hangs: nobody has come to the gate");
        state.waker.clone().expect("the wait was for a waker")
    }
}

/// What `make` makes of this length of time, once a first poll with that waker has found that it waits.
///
/// A thread may be kept off its processor between the two for longer than that; then there is another. What is ready before
/// its time is wrong.
///
/// # Panics
/// If it is ready too early.
#[track_caller]
pub fn armed<F: Future + Unpin>(length: Duration, make: impl Fn(Duration) -> F, waker: &Waker) -> F {
    loop {
        let begin = runtime::time::now();
        let mut wait = make(length);
        if Pin::new(&mut wait).poll(&mut Context::from_waker(waker)).is_pending() {
            return wait;
        }
        let elapsed = runtime::time::now() - begin;
        assert!(elapsed >= length, "ready after {elapsed:?}");
    }
}

/// As [`armed`], for whoever awaits this.
///
/// # Panics
/// If it is ready too early.
pub async fn armed_here<F: Future + Unpin>(length: Duration, make: impl Fn(Duration) -> F) -> F {
    poll_fn(|cx| Poll::Ready(armed(length, &make, cx.waker()))).await
}

/// Waits for a task that was spawned here and yields once: whatever was ready before had its turn on this thread.
pub async fn turn() {
    let _ = runtime::spawn(runtime::task::yield_now()).await;
}

/// A few [turns](turn): on one thread, whatever is ready runs until it waits.
pub async fn settle() {
    for _ in 0..16 {
        turn().await;
    }
}

// --- the process ---

/// How many threads the process has.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn threads() -> usize {
    threads_named("")
}

/// How many of the process's threads have a name that begins so. The system keeps 15 bytes of a name.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn threads_named(prefix: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc").filter_map(Result::ok);
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("stat")).ok())
        .filter(|stat| lives(stat, prefix))
        .count()
}

/// True if this is what the system says of a thread with a name that begins so, and the thread has not begun to end: it has
/// for whoever has joined it, and is listed for a moment longer.
fn lives(stat: &str, prefix: &str) -> bool {
    /// `PF_EXITING` of Linux.
    const EXITING: u32 = 4;
    let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else {
        return false;
    };
    let flags = rest.split_whitespace().nth(6).and_then(|flags| flags.parse::<u32>().ok());
    name.starts_with(prefix) && flags.is_some_and(|flags| flags & EXITING == 0)
}

/// How many files the process has open.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn open_files() -> usize {
    kept_files().count()
}

/// As [`open_files`], without the timers that monitors wait for: a runtime that goes on opens one when its tasks first may
/// keep something from each other, which is no leak.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn open_files_but_timers() -> usize {
    kept_files().filter(|target| !is_timer(target)).count()
}

/// How many timers of the system the process has open.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn open_timers() -> usize {
    kept_files().filter(|target| is_timer(target)).count()
}

fn is_timer(target: &Path) -> bool {
    target.as_os_str() == "anon_inode:[timerfd]"
}

/// What the open files are, without those in `/proc`: a monitor has one open while it reads how a thread is, whenever the
/// machine keeps a poll from the processor, and so has this function.
fn kept_files() -> impl Iterator<Item = PathBuf> {
    let files = fs::read_dir("/proc/self/fd").expect("/proc").filter_map(Result::ok);
    files.filter_map(|file| file.path().read_link().ok()).filter(|target| !target.starts_with("/proc"))
}

const CHILD: &str = "RUNTIME_TEST_CHILD";

/// Runs one test of this binary again in a process of its own, which finds [`is_child`] true.
///
/// # Panics
/// If the process cannot be started.
#[must_use]
pub fn child(test: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = child_command(test);
    command.envs(environment.iter().copied());
    command.output().expect("the test starts again")
}

/// How [`child`] starts a test, for those who talk to it meanwhile. A child that hangs is killed.
///
/// # Panics
/// If the program of this process is not known.
#[must_use]
pub fn child_command(test: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", &PATIENCE.as_secs().to_string()])
        .arg(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        // What it prints is the same wherever it runs.
        .env("RUST_BACKTRACE", "0")
        .env(CHILD, "1");
    command
}

/// The test that ran in a [`child`] is one that there is, and passed.
///
/// # Panics
/// If not, with what it printed.
#[track_caller]
pub fn assert_passed(output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "there is no such test\n{out}\n{err}");
}

/// True in a process that [`child`] started.
#[must_use]
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The place of the call, to be compared with the one in a report.
#[track_caller]
#[must_use]
pub fn here() -> &'static Location<'static> {
    Location::caller()
}
