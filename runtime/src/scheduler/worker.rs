//! The loop that runs a worker: pick, poll, search, sleep.

use std::ptr;
use std::time::Instant;

use super::context::{self, Context};
use super::core::Core;
use super::throttle::Throttle;
use super::{Processor, Shared, slice};
use crate::cell::Runnable;
use crate::context::set_async;
use crate::coop::BudgetGuard;
use crate::driver::Precise;
use crate::error::Error;
use crate::loom::atomic::Ordering;
use crate::loom::{Arc, mutant};
use crate::parker::Parker;

/// Why a run loop ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The runtime is stopping and there is nothing left to fail.
    Stopped,
    /// The core was left behind for blocking code, and no other was free.
    LostCore,
    /// The future of `block_on` was woken.
    Woken,
    /// A spare worker that is not needed any more.
    Dismissed,
}

/// The body of a worker's own thread.
pub(super) fn main(shared: &'static Shared, worker: usize) {
    let context = Context::new(shared, false);
    if let Some(taken) = shared.processors[worker].seat.start(&context.parker) {
        context.take_up(taken);
        set_async(true);
        let _precise = Precise::set();
        if shared.is_spare(worker) {
            // Before it runs anything: whoever hears from a task that ran here finds it counted.
            shared.monitor.counts.summoned.fetch_add(1, Ordering::Relaxed);
            slice::shorten();
        }
        context::scope(&context, || while context.run(|| false) == Exit::LostCore && context.reoccupy() {});
        context.leave_seat();
        shared.offer_work();
        set_async(false);
    }
    if shared.desert(&context.parker) {
        shared.offer_work();
    }
    shared.runner_left();
}

impl Context {
    pub(super) fn own(&self, core: &Core) -> &'static Processor {
        &self.shared.processors[core.index]
    }

    /// Runs the worker until the runtime stops, the core is lost, or `woken` says so.
    pub(super) fn run(&self, woken: impl Fn() -> bool) -> Exit {
        let budget = BudgetGuard::fresh();
        loop {
            if self.housekeeping.turn() {
                self.housekeep();
                if self.is_dismissed() {
                    return Exit::Dismissed;
                }
            } else if cfg!(runtime_loom) && self.is_dismissed() {
                // A model has no time for so many turns.
                return Exit::Dismissed;
            }
            let picked = {
                let mut core = self.core.borrow_mut();
                let Some(core) = core.as_mut() else { return Exit::LostCore };
                let own = self.own(core);
                let runnable = core.pick(own).or_else(|| core.search(self.shared));
                runnable.map(|runnable| (runnable, own, self.picked(core)))
            };
            match picked {
                Some((runnable, own, wake)) => {
                    if wake {
                        self.shared.notify();
                    }
                    budget.refill();
                    self.execute(runnable, own);
                    // After a task and not before: a future that wakes itself all the time lets one run each time.
                    if woken() {
                        return Exit::Woken;
                    }
                }
                None => {
                    self.count_polls(|throttle, polls| throttle.run_dry(polls));
                    if woken() {
                        return Exit::Woken;
                    }
                    let idle_since = Instant::now();
                    if !self.spin(idle_since, &woken) {
                        if let Some(exit) = self.sleep(idle_since, &woken) {
                            return exit;
                        }
                    }
                    let now = Instant::now();
                    self.housekeeping.rested(now);
                    self.relieve_monitor(now);
                    if let Some(core) = self.core.borrow_mut().as_mut() {
                        core.waits.add(now.duration_since(idle_since));
                    }
                    self.count_polls(|throttle, polls| throttle.rested(idle_since, now, polls));
                }
            }
        }
    }

    /// Tells the throttle what the worker has polled, where it is to call nobody now and then.
    fn count_polls(&self, tell: impl FnOnce(&Throttle, u64)) {
        if self.shared.workers == 1 || !self.shared.monitor.rescues() {
            return;
        }
        if let Some(core) = self.core.borrow().as_ref() {
            tell(&self.throttle, self.own(core).stats.polls.get());
        }
    }

    /// Ends a search that was successful, and looks whether somebody else could help; true if somebody should.
    #[inline]
    fn picked(&self, core: &mut Core) -> bool {
        if self.shared.monitor.is_due() {
            self.expect_stall(core);
        }
        if core.searching {
            core.searching = false;
            core.looks = 0;
            return self.shared.idle.found(core.index) && self.shared.has_work();
        }
        !core.is_empty() && self.shared.idle.calls_for_wake() && self.is_worth_a_call(core.len())
    }

    /// True if so many queued tasks are worth a call, or would be kept by a poll that does not return.
    fn is_worth_a_call(&self, queued: usize) -> bool {
        let shared = self.shared;
        self.throttle.is_worth(queued) || !shared.monitor.rescues() || shared.is_stopping()
    }

    /// Has the monitor's thread started, unless this is the thread's first task, alone. Most runtimes in tests have no other.
    #[cold]
    fn expect_stall(&self, core: &Core) {
        if self.polled.replace(true) || !core.is_empty() || !self.own(core).next.is_empty() {
            self.shared.watch();
        }
    }

    /// Polls a task, or fails it if the runtime is stopping.
    #[inline]
    fn execute(&self, runnable: Runnable, own: &'static Processor) {
        own.stats.enter(runnable.id(), runnable.location());
        let completed = if self.shared.is_stopping() {
            runnable.fail(Error::shutdown());
            true
        } else {
            runnable.run()
        };
        self.shared.forbid_return();
        let still_own = self.core.borrow().as_ref().is_some_and(|core| ptr::eq(self.own(core), own));
        if still_own {
            own.stats.leave();
            own.stats.polls.add(1);
            own.stats.completed.add(u64::from(completed));
        } else {
            // The poll left the core behind, and with it the right to count there. If it has another by now it ends there, so
            // that the monitor does not take the same task's next poll for it.
            match self.core.borrow().as_ref() {
                Some(core) => {
                    let own = self.own(core);
                    own.stats.leave();
                    own.stats.polls.add(1);
                }
                None => {
                    // ORDERING: Relaxed, a statistic; so is the one below.
                    self.shared.remote.polls.fetch_add(1, Ordering::Relaxed);
                }
            }
            if self.holds.take() {
                self.shared.release();
            }
            if let Some(task) = self.unseated.take() {
                self.shared.goes_on(task);
            }
            self.shared.remote.completed.fetch_add(u64::from(completed), Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// True if this thread runs a worker of this scheduler, or waits in it, at any depth of the stack.
    pub(crate) fn is_here(&self) -> bool {
        context::find(self, |context| context.is_some())
    }

    /// The thread will not come back to any worker. True if a guest has given one back meanwhile, and somebody has called this
    /// thread for it: the caller has to look at every source once more.
    pub(super) fn desert(&self, thread: &Arc<Parker>) -> bool {
        let mut called = false;
        for (worker, processor) in self.processors.iter().enumerate() {
            if let Some(searching) = processor.seat.desert(thread) {
                self.put_back(worker, searching);
                called = true;
            }
        }
        called
    }

    /// Wakes somebody if there is work, or a driver without a leader; called by whoever gives a worker up, while it still
    /// counts as a runner.
    ///
    /// At the shutdown as well: a destructor may wait for that of a task behind it in the queue, and this thread may have
    /// looked at the queues while the tasks were on their way from one to the other.
    pub(super) fn offer_work(&'static self) {
        if self.has_work() {
            self.notify();
        }
        if !mutant!("guest_leaves_the_driver") {
            self.attend();
        }
    }
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Arc<Parker>>();
};
