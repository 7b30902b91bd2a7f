//! The monitor: a thread that looks after workers whose poll does not return.
//!
//! Nothing inside the scheduler can see a poll that blocks or computes for long: its thread is in foreign code, and those
//! that sleep are asleep. So one thread of its own looks at each worker about once a millisecond, while some worker is
//! awake and nobody does it in its place. A worker that has been in the same poll since the last look is *stuck*, and what
//! only it could have passed on is passed on for it ([`rescue`]): the task in its next slot, what is queued behind it, the
//! driver without a leader. If all are stuck, a spare worker comes ([`super::spare`]).
//!
//! # The price
//! A worker writes which task it polls, and counts polls: plain stores that the reports of the shutdown need as well. A
//! thread that takes a worker up looks whether the monitor sleeps, and so does one that puts it down. A few times in a
//! millisecond a worker that is between two polls looks at the others, so that a thread need not be woken for it: see
//! [`alarm`]. All else is the monitor's own time.
//!
//! # Sleep
//! While no worker is awake the monitor sleeps without a limit (I9): see [`alarm`].
//!
//! # Start
//! A runtime that runs a task or two and ends has nothing to watch, and a thread costs it a third of its life. So the
//! thread starts when for the first time something can be kept from others ([`Shared::watch`]): a task enters a next slot, or
//! is submitted while no worker sleeps; a worker polls its second task, or one with others behind it; it wakes up, and may
//! have been the driver's leader; or the driver needs one, and nobody sleeps. If stalls are reported it starts with the first
//! worker.
//!
//! Source: the `sysmon` thread of Go's scheduler (runtime/proc.go) retakes processors from system calls in the same way.

mod alarm;
mod bucket;
mod rescue;
mod sight;
mod thread_clock;
mod watch;

use std::time::{Duration, Instant};

use super::{Flavor, Shared, slice};
use crate::context::Role;
use crate::driver::Precise;
use crate::loom::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::loom::lock::Mutex;

use alarm::Alarm;
use sight::Sights;
use watch::{Next, Watch};

/// From one look to the next while some worker is awake. Waking a thread costs about 5 microseconds.
const LOOK: Duration = Duration::from_millis(1);

/// What a runtime's monitor is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Pass on what stuck workers hold.
    pub(crate) rescue: bool,
    /// Report polls that take longer than this.
    pub(crate) report_after: Option<Duration>,
}

/// One scheduler's monitor, as the workers see it.
#[derive(Debug)]
pub(crate) struct Monitor {
    on: AtomicBool,
    rescues: AtomicBool,
    /// In nanoseconds; never, if there are to be no reports.
    report_after: AtomicU64,
    /// There is to be a thread, and nobody has started it.
    due: AtomicBool,
    /// The system refused the thread.
    refused: AtomicBool,
    alarm: Alarm,
    sights: Mutex<Sights>,
    pub(super) counts: Counts,
}

/// What the monitor has done, for metrics.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Reports of polls that took too long, each time a poll was reported.
    pub(super) stalls: AtomicU64,
    /// Spare workers started.
    pub(super) summoned: AtomicU64,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Monitor {
            on: AtomicBool::new(false),
            rescues: AtomicBool::new(false),
            report_after: AtomicU64::new(u64::MAX),
            due: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            alarm: Alarm::new(),
            sights: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// Serves a new runtime, once its first thread is there. Nobody watches meanwhile.
    pub(super) fn open(&self, options: Options) {
        let Options { rescue, report_after } = options;
        let after =
            report_after.map_or(u64::MAX, |after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self.report_after.store(after, Ordering::Relaxed);
        self.rescues.store(rescue, Ordering::Relaxed);
        let on = rescue || report_after.is_some();
        self.refused.store(false, Ordering::Relaxed);
        self.due.store(on, Ordering::Relaxed);
        self.on.store(on, Ordering::Relaxed);
    }

    /// The last worker of a runtime that ends has left. Its monitor's thread keeps the runtime, so that a late one finds
    /// itself closed and not opened again by the next.
    pub(super) fn close(&self) {
        self.due.store(false, Ordering::Relaxed);
        self.on.store(false, Ordering::Relaxed);
        self.alarm.ring_at_once();
    }

    /// What a stuck worker holds is passed on, or will be once there is a thread for that.
    pub(super) fn rescues(&self) -> bool {
        self.rescues.load(Ordering::Relaxed) && !self.refused.load(Ordering::Relaxed)
    }

    /// There is to be a thread, and nobody has started it.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed)
    }

    /// Some thread has taken a worker up: there may be something to watch.
    #[inline]
    pub(super) fn stir(&self) {
        if self.on.load(Ordering::Relaxed) {
            self.alarm.stir();
        }
    }

    /// Some worker of `shared` is at rest, since `now` or a little after. Its bit is set, and the fence after that stands
    /// before this.
    #[inline]
    pub(super) fn settle(&self, shared: &Shared, now: Instant) {
        self.alarm.settle(now, || shared.all_at_rest());
    }

    /// The worker is between two polls at `now`: it looks at the others if it is time, so that the monitor need not.
    #[inline]
    pub(super) fn relieve(&self, shared: &Shared, worker: usize, now: Instant) {
        self.alarm.put_off(now, || self.sights.lock().all_well(shared, worker, now));
    }

    /// Sleeps until some worker is awake.
    fn sleep(&self, shared: &Shared) {
        self.alarm.sleep(|| shared.all_at_rest());
    }
}

#[cfg(all(test, runtime_loom))]
impl Monitor {
    /// Watches, but has no thread: the model is the monitor.
    pub(super) fn without_a_thread(&self) {
        self.open(Options { rescue: true, report_after: None });
        self.due.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, runtime_loom))]
impl Shared {
    /// Sleeps as the monitor does, until some worker is awake.
    pub(super) fn sleep_as_monitor(&self) {
        while self.all_at_rest() {
            self.monitor.sleep(self);
        }
    }

    /// One look of a monitor that has seen nothing yet.
    pub(super) fn look_as_monitor(&'static self) {
        Watch::new(self).look(Instant::now());
    }
}

/// The body of the monitor's thread.
fn run(shared: &'static Shared) {
    let monitor = &shared.monitor;
    let _precise = Precise::set();
    slice::shorten();
    let mut watch = Watch::new(shared);
    while monitor.on.load(Ordering::Relaxed) {
        let now = Instant::now();
        match watch.look(now) {
            Next::Look(after) => monitor.alarm.sleep_for(after),
            Next::Doze => monitor.alarm.doze(now),
            Next::Sleep => monitor.sleep(shared),
        }
    }
    monitor.alarm.close();
}

impl Shared {
    /// Something may be kept from others from here on: starts the monitor's thread, unless it is there or not wanted.
    #[inline]
    pub(super) fn watch(&'static self) {
        if self.monitor.is_due() {
            self.start_monitor();
        }
    }

    /// A worker's thread was started, so that another may be had as well, and there is somebody to report on.
    pub(super) fn watch_first(&'static self) {
        let monitor = &self.monitor;
        if monitor.refused.swap(false, Ordering::Relaxed) {
            monitor.due.store(monitor.on.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if monitor.report_after.load(Ordering::Relaxed) != u64::MAX {
            self.watch();
        }
    }

    /// Without a thread for it the runtime does without; the next thread that is started brings another try.
    #[cold]
    fn start_monitor(&'static self) {
        let monitor = &self.monitor;
        if !monitor.due.swap(false, Ordering::Relaxed) {
            return;
        }
        monitor.alarm.open();
        match self.host().map(|host| host.start_thread(Role::Monitor, Box::new(move || run(self)))) {
            Some(Ok(thread)) => self.keep(thread),
            _ => {
                monitor.alarm.close();
                monitor.refused.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The worker needs nobody to watch it: it sleeps, or nobody runs it.
    fn is_at_rest(&self, worker: usize) -> bool {
        if self.idle.is_parked(worker) {
            return true;
        }
        let processor = &self.processors[worker];
        if self.is_spare(worker) {
            return !processor.post.is_taken();
        }
        self.flavor == Flavor::CurrentThread && processor.seat.is_free()
    }

    fn all_at_rest(&self) -> bool {
        self.spares.in_use() == 0 && (0..self.workers).all(|worker| self.is_at_rest(worker))
    }
}
