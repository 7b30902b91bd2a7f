//! The end of a runtime, and what keeps a late wake-up from being lost in it.

use std::cell::Cell;
use std::ptr;
use std::time::{Duration, Instant};

use super::core::steal_one;
use super::virtual_clock::Held;
use super::{DRAINING, SPARE, STOPPING, Shared};
use crate::cell::Runnable;
use crate::context::{Role, ending};
use crate::error::Error;
use crate::id::TaskId;
use crate::loom::atomic::{Ordering, fence};
use crate::loom::{Arc, mutant};
use crate::parker::Parker;

impl Shared {
    /// Refuses new tasks from outside; those that exist go on.
    pub(crate) fn drain(&self) {
        // ORDERING: Relaxed, a hint to submitters; nothing is lost when one misses it.
        let _ = self.phase.compare_exchange(super::OPEN, DRAINING, Ordering::Relaxed, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `Idle::park`, for `wait_until_empty`: a worker that has run its last task and
        // parks sees the phase after its fence and tells whoever waits, or this thread sees that task completed.
        fence(Ordering::SeqCst);
    }

    /// True if the runtime has threads of its own to run its tasks.
    pub(crate) fn has_threads(&self) -> bool {
        self.flavor == super::Flavor::MultiThread
    }

    /// Waits until no task is left, for at most `grace`.
    pub(crate) fn wait_until_empty(&self, grace: Duration) {
        let deadline = Instant::now().checked_add(grace);
        drop(self.changed.wait_while(self.life.lock(), deadline, |_| self.snapshot().live > 0));
    }

    /// Somebody has run out of work while somebody else may be waiting for the end.
    pub(super) fn idle_while_closing(&self) {
        drop(self.life.lock());
        self.changed.notify_all();
    }

    /// From here on whatever is dequeued fails; tasks that wait are dequeued.
    pub(crate) fn stop(&'static self) {
        // Counted, so that nobody fails what they push meanwhile; see `fail_if_deserted`.
        self.runner_came();
        self.phase.store(STOPPING, Ordering::Release);
        // ORDERING: pairs with the fence in `Idle::submitted`: a submitter reads the new phase after its push, or the
        // workers, which come after this fence, see the push.
        fence(Ordering::SeqCst);
        self.cancel_waiting();
        self.driver.close();
        self.wake_everybody();
        // As every submission: those that are awake may have looked already, and a worker may have no thread yet.
        self.idle.submitted();
        self.offer_work();
        // Ends the monitor, unless somebody still polls: what a poll that is stuck holds has to be failed as well.
        self.runner_left();
    }

    /// Queues every task that waits, to be failed; true if there were any.
    pub(super) fn cancel_waiting(&self) -> bool {
        let lists = self.processors.iter().map(|processor| &processor.owned).chain([&self.stray_list]);
        let waiting: Vec<Runnable> = lists.flat_map(|list| list.cancel_all()).collect();
        let any = !waiting.is_empty();
        waiting.into_iter().for_each(|runnable| self.injector.push(runnable));
        any
    }

    fn wake_everybody(&self) {
        self.wake_manned();
        self.next_guest();
        self.changed.notify_all();
    }

    /// Waits until no thread runs a worker, for at most `grace`; the number of those that still do.
    pub(crate) fn wait_until_stopped(&self, grace: Duration) -> usize {
        let deadline = Instant::now().checked_add(grace);
        self.changed.wait_while(self.life.lock(), deadline, |life| life.runners > 0).runners
    }

    pub(super) fn runner_came(&self) {
        self.life.lock().runners += 1;
    }

    pub(super) fn runner_left(&'static self) {
        let last = {
            let mut life = self.life.lock();
            life.runners -= 1;
            life.runners == 0
        };
        self.changed.notify_all();
        if last && self.is_stopping() {
            self.monitor.close();
            self.sweep();
            debug_assert!(
                self.is_stopping(),
                "whoever runs a worker keeps the scheduler from the next runtime"
            );
        }
    }

    /// A thread is inside `block_on`: it runs tasks whenever its own future waits.
    pub(super) fn guest_came(&self) {
        self.life.lock().guests += 1;
    }

    pub(super) fn guest_left(&'static self, parker: &Arc<Parker>) {
        self.life.lock().guests -= 1;
        self.leave_queue(parker);
        // Once more, now that nobody may rely on this thread: if the system refuses another, the tasks have to know.
        if !self.is_stopping() {
            self.offer_work();
        }
    }

    /// The thread that polls the task does something else in the middle of that; false if it did so already.
    pub(super) fn interrupted(&self, task: TaskId) -> bool {
        let interrupted = &mut self.life.lock().interrupted;
        let new = !interrupted.contains(&task);
        if new {
            interrupted.push(task);
        }
        new
    }

    /// The poll of the task goes on.
    pub(super) fn goes_on(&self, task: TaskId) {
        let interrupted = &mut self.life.lock().interrupted;
        if let Some(place) = interrupted.iter().position(|other| *other == task) {
            interrupted.swap_remove(place);
        }
    }

    /// Fails everything that is left, unless somebody is still there to do it when they leave.
    pub(crate) fn sweep_if_idle(&'static self) {
        if self.life.lock().runners == 0 {
            self.sweep();
        }
    }

    /// Has another thread fail what is left: this one is in the destructor of a task that it fails. If the system refuses the
    /// thread, that destructor comes first.
    pub(super) fn sweep_elsewhere(&'static self) {
        // This thread had nothing else to do but what lies there now.
        if self.injector.is_empty() {
            return;
        }
        let Some(host) = self.host() else { return };
        // It counts as no runner, on whom those rely who wake a task late: it may be waiting for that very task. It keeps the
        // runtime, which joins it.
        let _ = host.start_thread(Role::Worker, Box::new(move || self.sweep()));
    }

    /// True if the runtime is stopped, and this thread is in a destructor of a task that it fails, and fails others after it.
    pub(super) fn is_swept_here(&self) -> bool {
        self.is_stopping() && ptr::eq(FAILS.get(), self)
    }

    /// Fails everything that is left. Called when nobody polls any more, by the last one to leave and by the owner.
    pub(crate) fn sweep(&'static self) {
        loop {
            let cancelled = self.cancel_waiting();
            self.put_down();
            if self.fail_injected() == 0 && !cancelled {
                return;
            }
        }
    }

    /// What is queued with workers that nobody runs is anybody's: a destructor may wait for what comes after its own task.
    fn put_down(&self) {
        for processor in &self.processors {
            let queued = processor.seat.with_core(|core| {
                core.expose(processor);
                core.drain()
            });
            queued.into_iter().flatten().for_each(|runnable| self.injector.push(runnable));
        }
    }

    /// Fails what is queued, because the system refuses the threads that would run it.
    pub(super) fn fail_unattended(&self, error: &Error) {
        self.put_down();
        self.fail_all(std::iter::from_fn(|| steal_one(&self.injector)), error);
        if !mutant!("failed_tasks_are_not_told") {
            self.idle_while_closing();
        }
    }

    /// Fails what was injected, unless somebody is there who does so before they leave, or when they leave as the last one.
    ///
    /// Whoever wakes a task may have a lock in hand that the destructor of another one wants: it runs none as long as there is
    /// somebody else to do it.
    pub(super) fn fail_if_deserted(&'static self) {
        // Under the lock that the last one takes before it looks: it sees what this thread has pushed.
        let deserted = self.life.lock().runners == 0;
        if deserted && !mutant!("late_wake_leaves_it") {
            self.fail_injected();
        }
    }

    /// Empties the injector; returns how many tasks it failed.
    pub(super) fn fail_injected(&'static self) -> usize {
        let mut failed = 0;
        let held = (!mutant!("late_hand_holds_no_clock")).then(|| Held::new(self));
        // ORDERING: pairs with the fence in `advance_if_idle`, for the clock of the next runtime: its leader sees the hold, or
        // the task that this thread has put back.
        fence(Ordering::SeqCst);
        while let Some(runnable) = steal_one(&self.injector) {
            // A late wake-up may get here when the scheduler serves the next runtime already, whose tasks are not its
            // to fail. The phase is read after the steal, which makes visible what came before the push.
            if !self.is_stopping() && !mutant!("late_wake_fails_next_runtime") {
                self.inject(runnable);
                break;
            }
            failed += self.fail_all([runnable], &Error::shutdown());
        }
        drop(held);
        self.look_at_clock();
        failed
    }

    fn fail_all(&self, runnables: impl IntoIterator<Item = Runnable>, error: &Error) -> usize {
        let mut failed = 0;
        let _fails = Fails::tasks_of(self);
        ending(|| {
            for runnable in runnables {
                runnable.fail(error.clone());
                // After its destructors, which belong to this runtime.
                // ORDERING: Release, pairs with the fence in `is_deserted`.
                self.remote.completed.fetch_add(1, Ordering::Release);
                failed += 1;
            }
        });
        failed
    }

    /// Puts a stopped scheduler where the next runtime finds it. Nobody stands in it any more.
    pub(crate) fn retire(&'static self) {
        self.reset();
        SPARE.lock().push(self);
    }

    /// Back to how it was made. The idle words and the offers are so by themselves: a worker that nobody runs is parked,
    /// and the exception, one that a late wake-up is about to notify, is that wake-up's to put right.
    pub(super) fn reset(&'static self) {
        self.sweep();
        *self.host.lock() = None;
        self.idle.forget_threads();
        self.forget_spares();
        self.refusal.forget();
        for processor in &self.processors {
            processor.seat.reset();
        }
    }

    /// A thread that is to be woken when the system refuses one, until it leaves the queue.
    pub(super) fn queue(&self, parker: &Arc<Parker>) {
        let mut life = self.life.lock();
        if !life.queue.iter().any(|waiting| Arc::ptr_eq(waiting, parker)) {
            life.queue.push(parker.clone());
        }
    }

    pub(super) fn leave_queue(&self, parker: &Arc<Parker>) {
        let mut life = self.life.lock();
        let place = life.queue.iter().position(|waiting| Arc::ptr_eq(waiting, parker));
        let gone = place.map(|place| life.queue.swap_remove(place));
        drop(life);
        drop(gone);
    }

    /// Waits for a worker without a thread: the one of a current-thread runtime, or one whose thread is refused.
    pub(super) fn queue_guest(&self, parker: &Arc<Parker>) {
        self.queue(parker);
        // The worker may have become free before the entry was there.
        let free = match self.flavor {
            super::Flavor::CurrentThread => self.processors[0].seat.is_free(),
            super::Flavor::MultiThread => self.idle.parked() > 0,
        };
        if free {
            parker.unpark();
        }
    }

    /// A worker is free that has no thread: whoever waits may have it.
    pub(super) fn next_guest(&self) {
        // Those who are woken want the lock next.
        let guests = std::mem::take(&mut self.life.lock().queue);
        guests.iter().for_each(|guest| guest.unpark());
    }
}

thread_local! {
    /// Whose tasks this thread fails.
    static FAILS: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// Says whose tasks this thread fails, and puts back what it said before.
struct Fails(*const Shared);

impl Fails {
    fn tasks_of(shared: &Shared) -> Self {
        Fails(FAILS.replace(shared))
    }
}

impl Drop for Fails {
    fn drop(&mut self) {
        FAILS.set(self.0);
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use std::panic::Location;
    use std::ptr;

    use super::*;
    use crate::cell;
    use crate::scheduler::{Flavor, OPEN};

    /// No other test has a runtime with so many workers.
    const WORKERS: usize = 11;

    #[test]
    fn a_scheduler_serves_no_runtime_while_a_late_wake_up_has_a_task_of_the_one_before_in_hand() {
        let obtain = || Shared::obtain(Flavor::MultiThread, WORKERS);
        let late = obtain();
        late.phase.store(OPEN, Ordering::Relaxed);
        let (runnable, task) = cell::new(async {}, late, (), Location::caller());
        late.accept(runnable);
        let in_hand = steal_one(&late.injector);
        late.stop();
        late.retire();
        let next = obtain();
        assert!(!ptr::eq(next, late));
        late.fail_all(in_hand, &Error::shutdown());
        assert!(task.is_finished());
        assert!(ptr::eq(obtain(), late));
        [late, next].into_iter().for_each(Shared::retire);
    }
}
