//! The options of a runtime.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Runtime;
use crate::context::{Stall, Unobserved};
use crate::handle::{Config, Handle, Hook, Inner, MAX_WORKERS, ThreadName, UnobservedPolicy, build_global};
use crate::scheduler::Flavor;

/// Builds a [`Runtime`] with options; their order does not matter, and each is checked by [`build`](Self::build).
///
/// ```
/// let rt = runtime::Runtime::builder().worker_threads(2).thread_name("api").build()?;
/// assert_eq!(rt.metrics().workers(), 2);
/// # std::io::Result::Ok(())
/// ```
#[must_use = "a builder does nothing until it is built"]
#[derive(Clone, Default)]
pub struct Builder {
    workers: Option<usize>,
    max_blocking_threads: Option<usize>,
    blocking_keep_alive: Option<Duration>,
    thread_name: Option<ThreadName>,
    thread_stack_size: Option<usize>,
    on_thread_start: Option<Hook>,
    on_thread_stop: Option<Hook>,
    on_unobserved: Option<Arc<dyn Fn(Unobserved) + Send + Sync>>,
    unobserved: UnobservedPolicy,
    name: Option<String>,
    current_thread: bool,
    start_paused: bool,
    no_monitor: bool,
    stall_threshold: Option<Option<Duration>>,
    on_stall: Option<Arc<dyn Fn(Stall) + Send + Sync>>,
}

impl Builder {
    /// Default options.
    pub fn new() -> Self {
        Builder::default()
    }

    /// How many tasks may be polled at the same time. Default: the number of processors that the process may use, or
    /// what the environment variable `RUNTIME_WORKER_THREADS` says.
    ///
    /// While all of them are kept by polls that do not return, spare ones run the rest: see [`monitor`](Self::monitor).
    pub fn worker_threads(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// How many threads the blocking pool may have. Default: 512; a few for
    /// each processor are started when all others are busy, the rest when those mostly sleep.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.max_blocking_threads = Some(threads);
        self
    }

    /// How long a thread of the blocking pool waits for its next job. Default: 10 s.
    pub fn blocking_keep_alive(mut self, time: Duration) -> Self {
        self.blocking_keep_alive = Some(time);
        self
    }

    /// The first word of the threads' names. Default: `runtime`, as in `runtime-worker-0`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = Some(ThreadName::numbered(name));
        self
    }

    /// The names of the threads that the runtime starts for your code, one call for each.
    pub fn thread_name_fn(mut self, name: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.thread_name = Some(ThreadName::Function(Arc::new(name)));
        self
    }

    /// The stack of each of them, in bytes, a tebibyte at most. Default: the standard library's.
    pub fn thread_stack_size(mut self, bytes: usize) -> Self {
        self.thread_stack_size = Some(bytes);
        self
    }

    /// Called on each thread that the runtime starts for your code, before it does anything else; not on one that lends itself by
    /// `block_on`, such as that of `main`, which runs tasks as well. A panic of it is not passed on.
    ///
    /// A worker's thread is called for a task, which others take only if they come by: let the hook be short. One that waits
    /// for the hook of another worker may wait for ever, and one that waits for a task as well, if there is one worker.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Called on each thread that the runtime started for your code, after everything else. A panic of it is not passed on.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_thread_stop = Some(Arc::new(hook));
        self
    }

    /// Takes the failures that nobody can see any more. Default: a line on standard error.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let rt = runtime::Runtime::builder()
    ///     .on_unobserved(move |report| sender.send(report.to_string()).unwrap())
    ///     .build()?;
    /// rt.spawn(async { panic!("nobody looks") });
    /// assert!(reports.recv().unwrap().contains("panicked: nobody looks"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_unobserved(mut self, handler: impl Fn(Unobserved) + Send + Sync + 'static) -> Self {
        self.on_unobserved = Some(Arc::new(handler));
        self
    }

    /// What becomes of the runtime after such a report. Default: nothing.
    ///
    /// ```
    /// use runtime::{Runtime, UnobservedPolicy};
    ///
    /// let rt = Runtime::builder().unobserved(UnobservedPolicy::Shutdown).build()?;
    /// let waiting = rt.spawn(std::future::pending::<()>());
    /// drop(rt.spawn(async { panic!("nobody looks") }));
    /// assert!(waiting.wait().unwrap_err().is_shutdown());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn unobserved(mut self, policy: UnobservedPolicy) -> Self {
        self.unobserved = policy;
        self
    }

    /// A name for the runtime itself, for [`Handle::runtime_name`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// No worker threads: tasks run on the thread that is inside [`block_on`](Runtime::block_on), one at a time.
    ///
    /// If several threads are, one of them runs the tasks and the others take over when it leaves. Only at the end, where a
    /// destructor waits in `block_on`, a thread may be started to end the other tasks.
    pub fn current_thread(mut self) -> Self {
        self.current_thread = true;
        self
    }

    /// Starts with the clock [stopped](crate::time::pause): it moves when nothing else can be done, to the next deadline. For
    /// tests.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let rt = runtime::Runtime::builder().start_paused(true).build()?;
    /// let begin = Instant::now();
    /// rt.block_on(runtime::time::sleep(Duration::from_secs(24 * 60 * 60)));
    /// assert!(begin.elapsed() < Duration::from_secs(60));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start_paused(mut self, paused: bool) -> Self {
        self.start_paused = paused;
        self
    }

    /// Whether a thread looks after workers whose poll does not return. Default: yes.
    ///
    /// While a task blocks its thread or computes for milliseconds, the monitor passes on what its worker holds: the tasks
    /// behind it, the timers, the sockets. If all workers are in such polls it starts spare ones, sixteen at most, so that
    /// for this time more tasks may be polled at once than [`worker_threads`](Self::worker_threads) says. It looks every
    /// few milliseconds while any worker is awake, more often while a task waits behind a poll or polls have
    /// been long, and sleeps while none is.
    ///
    /// On a [`current_thread`](Self::current_thread) runtime nothing can be passed on; there it only reports. Without the
    /// monitor there are no reports either, whatever [`stall_threshold`](Self::stall_threshold) says.
    pub fn monitor(mut self, on: bool) -> Self {
        self.no_monitor = !on;
        self
    }

    /// How long a poll may take before the monitor reports it, to within some milliseconds; `None` for no reports. Default:
    /// 100 ms in builds with debug assertions, and no reports in others, nor on a
    /// [`current_thread`](Self::current_thread) runtime, for which a threshold means one thread.
    ///
    /// A poll that goes on is reported again when it has taken ten times as long. Of all polls together there may be ten
    /// reports at once, and then at most ten a second.
    pub fn stall_threshold(mut self, threshold: impl Into<Option<Duration>>) -> Self {
        self.stall_threshold = Some(threshold.into());
        self
    }

    /// Takes the reports of polls that take too long. Default: a line on standard error.
    ///
    /// With the feature `tracing` each report is an event as well, at level `WARN` under the target `runtime::stall`.
    ///
    /// Called on the monitor's thread while the poll still goes on: nobody else is looked after until it returns. A panic of
    /// it is not passed on.
    ///
    /// ```
    /// use std::{sync::mpsc, thread, time::Duration};
    ///
    /// let (sender, stalls) = mpsc::channel();
    /// let rt = runtime::Runtime::builder()
    ///     .stall_threshold(Duration::from_millis(10))
    ///     .on_stall(move |stall| sender.send(stall).unwrap())
    ///     .build()?;
    /// let (done, until_reported) = mpsc::channel();
    /// let task = rt.spawn(async move { until_reported.recv() });
    /// let stall = stalls.recv().unwrap();
    /// assert_eq!(stall.task_id, task.id());
    /// assert_eq!(stall.cause, runtime::StallCause::Blocked);
    /// done.send(()).unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_stall(mut self, handler: impl Fn(Stall) + Send + Sync + 'static) -> Self {
        self.on_stall = Some(Arc::new(handler));
        self
    }

    /// Builds the runtime.
    ///
    /// # Errors
    /// `InvalidInput`, naming the option and the value, for one that makes no sense; so for the environment variable
    /// `RUNTIME_WORKER_THREADS`, which is read where neither [`worker_threads`](Self::worker_threads) nor
    /// [`current_thread`](Self::current_thread) is set.
    pub fn build(self) -> io::Result<Runtime> {
        let handle = Handle { inner: Inner::start(self.config()?) };
        Ok(Runtime::with_handle(handle))
    }

    /// Builds the process-wide default runtime, which is used by threads that stand in no other, and never shut down.
    ///
    /// # Errors
    /// As [`build`](Self::build), and `AlreadyExists` if there is one: built here or on first use, or that of a
    /// `#[runtime::main]` which is running.
    pub fn build_global(self) -> io::Result<()> {
        build_global(self.config()?).map(drop)
    }

    fn config(self) -> io::Result<Config> {
        let mut config = Config::standard_for(self.workers, self.current_thread)?;
        if let Some(threads) = self.max_blocking_threads {
            check("max_blocking_threads", threads, 1..=1 << 20)?;
            config.max_blocking_threads = threads;
        }
        if let Some(bytes) = self.thread_stack_size {
            // Less than the least and the first call of a poll overflows the stack; more than the most is a mistake in units,
            // which would show as tasks that fail one by one for want of a thread.
            check("thread_stack_size", bytes, 16 << 10..=LARGEST_STACK)?;
            config.thread_stack_size = Some(bytes);
        }
        if let Some(ThreadName::Numbered { prefix, .. }) = &self.thread_name {
            if prefix.contains('\0') {
                return Err(invalid(format!("thread_name must not contain a NUL byte, and is {prefix:?}")));
            }
        }
        config.blocking_keep_alive = self.blocking_keep_alive.unwrap_or(config.blocking_keep_alive);
        config.thread_name = self.thread_name.unwrap_or(config.thread_name);
        config.hooks.start = self.on_thread_start;
        config.hooks.stop = self.on_thread_stop;
        config.on_unobserved = self.on_unobserved;
        config.unobserved = self.unobserved;
        config.name = self.name;
        config.start_paused = self.start_paused;
        config.monitor = !self.no_monitor;
        config.stall_threshold = self.stall_threshold.unwrap_or(config.stall_threshold);
        config.on_stall = self.on_stall;
        Ok(config)
    }
}

/// A tebibyte, where addresses have 64 bits: processors have address spaces of 128 of those.
const LARGEST_STACK: usize = if usize::BITS < 64 { isize::MAX as usize } else { (1_u64 << 40) as usize };

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Refuses a number outside its range by name.
fn check(option: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> io::Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("{option} must be from {} to {}, and is {value}", range.start(), range.end())))
}

impl Config {
    fn standard_for(workers: Option<usize>, current_thread: bool) -> io::Result<Self> {
        if current_thread && workers.is_some_and(|workers| workers != 1) {
            return Err(invalid(format!(
                "worker_threads must be 1 or unset on a current_thread runtime, and is {}",
                workers.unwrap_or_default()
            )));
        }
        if let Some(workers) = workers {
            check("worker_threads", workers, 1..=MAX_WORKERS)?;
        }
        let workers = if current_thread { Some(1) } else { workers };
        let mut config = Config::standard(workers)?;
        if current_thread {
            config.flavor = Flavor::CurrentThread;
            // A runtime that has no thread of its own has none for the monitor either, unless that is asked for.
            config.stall_threshold = None;
        }
        Ok(config)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("worker_threads", &self.workers)
            .field("max_blocking_threads", &self.max_blocking_threads)
            .field("blocking_keep_alive", &self.blocking_keep_alive)
            .field("thread_stack_size", &self.thread_stack_size)
            .field("name", &self.name)
            .field("current_thread", &self.current_thread)
            .field("start_paused", &self.start_paused)
            .finish_non_exhaustive()
    }
}
