//! What a runtime was asked to be.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, io, thread};

use super::UnobservedPolicy;
use crate::context::{Role, Stall, Unobserved};
use crate::error::drop_quietly;
use crate::scheduler::{Flavor, MonitorOptions};

/// A function of the user's, called on the runtime's threads.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// The options of a runtime, checked.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) flavor: Flavor,
    pub(crate) workers: usize,
    pub(crate) max_blocking_threads: usize,
    pub(crate) blocking_keep_alive: Duration,
    pub(crate) thread_name: ThreadName,
    pub(crate) thread_stack_size: Option<usize>,
    pub(crate) hooks: Hooks,
    pub(crate) on_unobserved: Option<Arc<dyn Fn(Unobserved) + Send + Sync>>,
    pub(crate) unobserved: UnobservedPolicy,
    pub(crate) name: Option<String>,
    pub(crate) start_paused: bool,
    pub(crate) monitor: bool,
    pub(crate) stall_threshold: Option<Duration>,
    pub(crate) on_stall: Option<Arc<dyn Fn(Stall) + Send + Sync>>,
}

/// What runs when a thread starts and stops.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) start: Option<Hook>,
    pub(crate) stop: Option<Hook>,
}

impl Hooks {
    pub(crate) fn run_start(&self) {
        run(self.start.as_ref());
    }

    pub(crate) fn run_stop(&self) {
        run(self.stop.as_ref());
    }
}

/// A hook that panics has had its message printed by the panic hook; the thread is needed all the same.
fn run(hook: Option<&Hook>) {
    if let Some(hook) = hook {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| hook())) {
            drop_quietly(payload);
        }
    }
}

/// How threads are called.
#[derive(Clone)]
pub(crate) enum ThreadName {
    /// `runtime-worker-0`, or with another first word.
    Numbered { prefix: String, workers: Arc<AtomicUsize>, blocking: Arc<AtomicUsize> },
    /// What the function says.
    Function(Arc<dyn Fn() -> String + Send + Sync>),
}

impl ThreadName {
    pub(crate) fn numbered(prefix: impl Into<String>) -> Self {
        ThreadName::Numbered { prefix: prefix.into(), workers: Arc::default(), blocking: Arc::default() }
    }

    /// The name of the next thread. A name of the user's with a NUL byte in it, which no thread can have, loses it.
    pub(crate) fn next(&self, role: Role) -> String {
        match self {
            ThreadName::Numbered { prefix, workers, blocking } => {
                let (what, count) = match role {
                    Role::Worker => ("worker", workers),
                    Role::Blocking => ("blocking", blocking),
                    Role::Monitor => return format!("{prefix}-monitor"),
                };
                format!("{prefix}-{what}-{}", count.fetch_add(1, Ordering::Relaxed))
            }
            ThreadName::Function(_) if role == Role::Monitor => "runtime-monitor".to_owned(),
            ThreadName::Function(name) => catch_unwind(AssertUnwindSafe(|| name()))
                .map(|name| name.replace('\0', ""))
                .unwrap_or_else(|payload| {
                    drop_quietly(payload);
                    "runtime".to_owned()
                }),
        }
    }
}

impl Config {
    /// What one gets who asks for nothing, or for a number of workers only.
    pub(crate) fn standard(workers: Option<usize>) -> io::Result<Self> {
        let workers = match workers {
            Some(workers) => workers,
            None => default_workers()?,
        };
        Ok(Config {
            flavor: Flavor::MultiThread,
            workers,
            // Threads of the pool cost memory only while jobs block; 512 is what programs written for tokio expect.
            max_blocking_threads: 512,
            blocking_keep_alive: Duration::from_secs(10),
            thread_name: ThreadName::numbered("runtime"),
            thread_stack_size: None,
            hooks: Hooks::default(),
            on_unobserved: None,
            unobserved: UnobservedPolicy::default(),
            name: None,
            start_paused: false,
            monitor: true,
            stall_threshold: cfg!(debug_assertions).then_some(STALL_THRESHOLD),
            on_stall: None,
        })
    }
}

/// A poll longer than this delays whoever waits for its worker by as much as a slow network; while a program is being
/// developed its author wants to know.
const STALL_THRESHOLD: Duration = Duration::from_millis(100);

impl Config {
    /// What the runtime's monitor is to do. Where there is one thread, nothing can be passed on to another.
    pub(crate) fn monitor(&self) -> MonitorOptions {
        MonitorOptions {
            rescue: self.monitor && self.flavor == Flavor::MultiThread,
            report_after: self.stall_threshold.filter(|_| self.monitor),
        }
    }
}

/// The variable that overrides the default number of workers.
const WORKERS_VARIABLE: &str = "RUNTIME_WORKER_THREADS";

/// As many workers as the environment says, or as the machine runs threads at a time and the process may use.
///
/// `num_cpus` and the standard library read affinity and cgroup quotas in different ways; the smaller answer holds.
fn default_workers() -> io::Result<usize> {
    match env::var(WORKERS_VARIABLE) {
        Ok(text) => parse_workers(&text),
        Err(env::VarError::NotUnicode(text)) => Err(bad_workers(&text.to_string_lossy())),
        Err(env::VarError::NotPresent) => {
            let machine = num_cpus::get();
            Ok(thread::available_parallelism().map_or(machine, |quota| quota.get().min(machine)).max(1))
        }
    }
}

fn parse_workers(text: &str) -> io::Result<usize> {
    match text.trim().parse::<NonZeroUsize>() {
        Ok(workers) if workers.get() <= MAX_WORKERS => Ok(workers.get()),
        _ => Err(bad_workers(text)),
    }
}

fn bad_workers(text: &str) -> io::Error {
    let message = format!("{WORKERS_VARIABLE} must be a number from 1 to {MAX_WORKERS}, and is {text:?}");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// More workers than any machine has processors; a larger number is a mistake, such as a byte size.
pub(crate) const MAX_WORKERS: usize = 4096;

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("flavor", &self.flavor)
            .field("workers", &self.workers)
            .field("max_blocking_threads", &self.max_blocking_threads)
            .field("blocking_keep_alive", &self.blocking_keep_alive)
            .field("thread_stack_size", &self.thread_stack_size)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_number_of_workers_is_named_in_the_error() {
        for text in ["0", "-1", "two", "", "5000"] {
            let error = parse_workers(text).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(WORKERS_VARIABLE) && error.to_string().contains(text));
        }
    }

    #[test]
    fn a_good_number_of_workers_is_taken() {
        assert_eq!(parse_workers(" 3 ").unwrap(), 3);
    }
}
