//! Threads that wait inside the runtime: `block_on`, which lends its thread to the scheduler meanwhile, and blocking
//! code on a worker, which leaves the worker to somebody else.
//!
//! # Protocol of `block_on`
//! 1. Poll the future if it was woken. On a multi-thread runtime the thread runs no worker during that poll, because the
//!    future may block; a current-thread runtime has no other thread to go on with, and keeps its worker.
//! 2. Claim a sleeping worker and run its loop, one task at least, until the future is woken.
//! 3. Without a free worker, sleep until the future is woken.
//!
//! A nested call never runs unrelated tasks on top of the stack (rayon issues 854 and 1064: that recursion has no
//! bound): it leaves the worker to another thread and sleeps. The one worker of a current-thread runtime has nobody to
//! be left to; there the nested call runs its tasks, all but those that stand on the stack already. A destructor that waits at
//! the end of a runtime, on the thread that ends its tasks, leaves that to another thread.

use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::context::{self, Context};
use super::idle::Prefer;
use super::refusal::ASK_AGAIN;
use super::seat::Occupied;
use super::virtual_clock::Held;
use super::worker::Exit;
use super::{Flavor, Shared};
use crate::context::{self as ambient, Ambient, set_async};
use crate::coop::BudgetGuard;
use crate::id::TaskId;
use crate::loom::atomic::{AtomicU8, Ordering};
use crate::loom::{Arc, mutant};
use crate::parker::Parker;

/// The waker of the future given to `block_on`. It outlives the call if somebody keeps it.
///
/// While the future is woken or being polled, it holds a virtual clock; but not while it is [buried](Self::bury).
pub(super) struct Signal {
    state: AtomicU8,
    parker: Arc<Parker>,
    shared: &'static Shared,
}

/// Of the calls on one stack, the innermost last.
pub(super) type Signals = SmallVec<[std::sync::Arc<Signal>; 2]>;

/// The future is to be polled.
const WOKEN: u8 = 1;

/// A nested call waits in the middle of its poll: it can be polled no earlier than that is over.
const BURIED: u8 = 2;

impl Signal {
    /// To be polled at once.
    pub(super) fn new(shared: &'static Shared, parker: Arc<Parker>) -> std::sync::Arc<Self> {
        shared.hold();
        std::sync::Arc::new(Signal { state: AtomicU8::new(WOKEN), parker, shared })
    }

    fn is_set(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WOKEN != 0
    }

    /// ORDERING: Acquire, pairs with `wake_by_ref`: the poll sees what the waker wrote.
    pub(super) fn take(&self) -> bool {
        self.state.fetch_and(!WOKEN, Ordering::Acquire) & WOKEN != 0
    }

    /// Lets go of the hold of a wake-up, and takes none for those that come; false if that is so already.
    pub(super) fn bury(&self) -> bool {
        // ORDERING: AcqRel, as in `wake_by_ref`: of the two the later one sees the other, and lets go.
        let before = self.state.fetch_or(BURIED, Ordering::AcqRel);
        if before == WOKEN {
            self.shared.release();
        }
        before & BURIED == 0
    }

    /// Holds for a wake-up that is there, and for those that come. By who has buried it.
    pub(super) fn unearth(&self) {
        self.shared.hold();
        // ORDERING: AcqRel, as in `bury`.
        let woken = self.state.fetch_and(!BURIED, Ordering::AcqRel) & WOKEN != 0;
        if !woken || mutant!("buried_wake_holds_nothing") {
            self.shared.release();
        }
    }
}

impl Wake for Signal {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        // Before the flag, so that no moment is without either.
        self.shared.hold();
        // ORDERING: Release, pairs with `take`. A change even if set: every waker's writes count.
        let before = self.state.fetch_or(WOKEN, Ordering::AcqRel);
        if before != 0 {
            self.shared.release();
        }
        if before & WOKEN == 0 {
            self.parker.unpark();
        }
    }
}

/// The future given to `block_on`, from this side.
struct Root<'a> {
    signal: std::sync::Arc<Signal>,
    waker: Waker,
    context: &'a Context,
}

impl<'a> Root<'a> {
    /// To be polled at once.
    fn new(context: &'a Context, parker: Arc<Parker>) -> Self {
        let signal = Signal::new(context.shared, parker);
        context.roots.borrow_mut().push(signal.clone());
        Root { waker: Waker::from(signal.clone()), signal, context }
    }

    /// Polls the future if it was woken.
    fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        if !self.signal.take() {
            return Poll::Pending;
        }
        // That of the wake-up that led to this poll.
        let _held = Held::taken_over(self.signal.shared);
        let _async = Async::set(true);
        let _budget = BudgetGuard::fresh();
        future.poll(&mut TaskContext::from_waker(&self.waker))
    }

    fn is_woken(&self) -> bool {
        self.signal.is_set()
    }

    /// Sleeps until the future is woken, without a worker: somebody else attends what it waits for.
    fn wait(&self) {
        let shared = self.signal.shared;
        shared.look_at_clock();
        shared.attend();
        let parker = &self.signal.parker;
        if shared.is_swept_here() {
            self.leave_sweep();
        }
        while !self.is_woken() {
            // Anew each time: whoever wakes the queue empties it. A refusal is noted before, or seen here.
            shared.queue(parker);
            if !shared.is_short_of_threads() || shared.is_stopping() {
                parker.park();
            } else {
                parker.park_timeout(ASK_AGAIN);
                // A refusal wakes this thread as well, but it comes back here before long.
                if !shared.was_just_refused() {
                    shared.offer_work();
                }
            }
        }
        shared.leave_queue(parker);
    }

    /// This is a destructor at the end of the runtime, and may wait for a task behind its own, which this thread would end
    /// next: another one does, unless what is waited for comes soon.
    fn leave_sweep(&self) {
        let begin = Instant::now();
        while !self.is_woken() && begin.elapsed() < SOON {
            self.signal.parker.park_timeout(SOON);
        }
        if !self.is_woken() {
            self.signal.shared.sweep_elsewhere();
        }
    }
}

/// How long a destructor at the end of its runtime waits before a thread is started for what is behind its own task.
const SOON: Duration = Duration::from_millis(20);

impl Drop for Root<'_> {
    /// The future is over: the signal stays set, and nobody is told of later wake-ups.
    fn drop(&mut self) {
        self.context.roots.borrow_mut().pop();
        if self.signal.state.fetch_or(WOKEN, Ordering::AcqRel) & WOKEN != 0 {
            self.signal.shared.release();
        }
    }
}

/// Sets the flag that this thread polls tasks, and puts it back.
struct Async(bool);

impl Async {
    fn set(on: bool) -> Self {
        Async(set_async(on))
    }
}

impl Drop for Async {
    fn drop(&mut self) {
        set_async(self.0);
    }
}

/// A task, and where it was spawned.
type Polled = (TaskId, &'static Location<'static>);

/// Makes the thread stand in the runtime whose tasks it runs, whatever guards the future of `block_on` holds.
struct Inside(Option<&'static Shared>, Option<&'static dyn Ambient>);

impl Inside {
    fn set(shared: &'static Shared) -> Self {
        let before = context::entered();
        context::set_entered(Some(shared));
        Inside(before, ambient::replace(Some(shared)))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        context::set_entered(self.0);
        ambient::replace(self.1);
    }
}

/// Runs `future` on this thread until it is ready, and tasks of `shared` while it is not.
pub(crate) fn block_on<F: Future>(shared: &'static Shared, future: F) -> F::Output {
    shared.assert_not_lost();
    let future = pin!(future);
    if shared.is_here() {
        nested(shared, future)
    } else {
        let context = Context::new(shared, true);
        // A worker of another runtime must not be kept waiting either.
        leave_worker(|| context::scope(&context, || outermost(&context, future)))
    }
}

fn outermost<F: Future>(context: &Context, future: Pin<&mut F>) -> F::Output {
    let _stay = Stay::begin(context);
    drive(context, future)
}

/// A guest is there: it leaves its worker also when its future panics.
struct Stay<'a>(&'a Context);

impl<'a> Stay<'a> {
    fn begin(context: &'a Context) -> Self {
        context.shared.guest_came();
        Stay(context)
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if self.0.shared.is_lost() {
            // The future forked, and this is the child, which takes nothing along.
            std::mem::forget(self.0.core.take());
            return;
        }
        self.0.leave_as_guest();
        self.0.shared.guest_left(&self.0.parker);
    }
}

/// The three steps of the protocol, over and over.
///
/// The types of the futures stay in here, and in [`Root::poll`]: what else there is exists once for all of them.
fn drive<F: Future>(context: &Context, mut future: Pin<&mut F>) -> F::Output {
    let root = Root::new(context, context.parker.clone());
    loop {
        context.enter_to_poll();
        {
            let _counted = Stacked::count(context, 1);
            if let Poll::Ready(output) = root.poll(future.as_mut()) {
                return output;
            }
        }
        let _lent = LentHolds::lend(context);
        context.serve(&root);
    }
}

/// `block_on` on a thread that runs a worker of the same runtime already.
fn nested<F: Future>(shared: &'static Shared, mut future: Pin<&mut F>) -> F::Output {
    context::find(shared, |context| {
        let context = context.expect("the thread is in the runtime");
        if shared.flavor == Flavor::CurrentThread {
            let _interrupted = Interrupted::by(context);
            // The innermost worker that this thread runs may be another runtime's.
            return leave_worker(|| drive(context, future));
        }
        // A virtual clock stands still whenever the task could go on: until the future's own hold is there, and from its
        // last poll, however that ends, until the task has a worker again, or a hold for the rest of its poll.
        let mut held = Some(Held::new(shared));
        leave_worker(|| {
            let root = Root::new(context, Parker::new());
            loop {
                drop(held.take());
                {
                    let _lent = LentHolds::lend(context);
                    root.wait();
                }
                held = Some(Held::new(shared));
                // This one, and that of the poll.
                let _counted = Stacked::count(context, 2);
                if let Poll::Ready(output) = root.poll(future.as_mut()) {
                    return output;
                }
                shared.assert_not_lost();
            }
        })
    })
}

/// Counts holds of a virtual clock that this thread has for what it is doing, until that is done.
struct Stacked<'a>(&'a Context, usize);

impl<'a> Stacked<'a> {
    fn count(context: &'a Context, holds: usize) -> Self {
        context.stacked_holds.set(context.stacked_holds.get() + holds);
        Stacked(context, holds)
    }
}

impl Drop for Stacked<'_> {
    fn drop(&mut self) {
        self.0.stacked_holds.set(self.0.stacked_holds.get() - self.1);
    }
}

/// While a call of `block_on` waits, what it was called from cannot go on: its holds of a virtual clock are let go, and taken
/// again before the call's own is over.
struct LentHolds<'a> {
    context: &'a Context,
    stacked: usize,
    holds: bool,
    /// The signals of the calls around the one that waits.
    buried: Signals,
}

impl<'a> LentHolds<'a> {
    fn lend(context: &'a Context) -> Self {
        let (stacked, holds) = (context.stacked_holds.take(), context.holds.take());
        let roots = context.roots.borrow();
        let enclosing = &roots[..roots.len().saturating_sub(1)];
        let buried = enclosing.iter().filter(|signal| signal.bury()).cloned().collect();
        drop(roots);
        let lent = LentHolds { context, stacked, holds, buried };
        (0..lent.count()).for_each(|_| context.shared.release());
        lent
    }

    fn count(&self) -> usize {
        self.stacked + usize::from(self.holds)
    }
}

impl Drop for LentHolds<'_> {
    fn drop(&mut self) {
        self.buried.iter().for_each(|signal| signal.unearth());
        (0..self.count()).for_each(|_| self.context.shared.hold());
        self.context.stacked_holds.set(self.stacked);
        self.context.holds.set(self.holds);
    }
}

/// Runs blocking code in the middle of a task: the rest of the worker's tasks go to another thread first.
///
/// Anywhere else it just calls `f`.
pub(crate) fn block_in_place<R>(f: impl FnOnce() -> R) -> R {
    context::with(|context| {
        let _held = context.map(|context| (Stacked::count(context, 1), Held::new(context.shared)));
        leave_worker(f)
    })
}

/// Calls `f` while another thread has this one's worker.
fn leave_worker<R>(f: impl FnOnce() -> R) -> R {
    context::with(|context| {
        let _back = context.and_then(Back::after_blocking);
        call(f)
    })
}

/// Comes back from blocking code, however that ends: what the poll does after that, if only to unwind, is its worker's.
struct Back<'a> {
    context: &'a Context,
    /// The poll goes on when the thread has come back.
    interrupted: Interrupted<'a>,
}

impl<'a> Back<'a> {
    /// Leaves the worker, if the thread has one that somebody else can run.
    fn after_blocking(context: &'a Context) -> Option<Self> {
        if context.keeps_worker() || context.core.borrow().is_none() {
            return None;
        }
        let back = Back { context, interrupted: Interrupted::by(context) };
        context.leave_seat();
        context.shared.offer_work();
        Some(back)
    }
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        // A child that was forked off in there may unwind to where it ends, and takes no worker along.
        if !(self.context.shared.is_lost() && std::thread::panicking()) {
            self.context.come_back(self.interrupted.polled.is_some());
        }
    }
}

/// The poll, if any, that this thread was in the middle of when it began to do something else; noted until it goes on.
struct Interrupted<'a> {
    context: &'a Context,
    polled: Option<Polled>,
    /// It was not noted before: the calls around this one may have interrupted it already.
    noted: bool,
}

impl<'a> Interrupted<'a> {
    fn by(context: &'a Context) -> Self {
        let polled = context.polled_task();
        let noted = polled.is_some_and(|(task, _)| context.shared.interrupted(task));
        Interrupted { context, polled, noted }
    }
}

impl Drop for Interrupted<'_> {
    fn drop(&mut self) {
        let Some((task, location)) = self.polled else { return };
        // In a child the poll ends soon, and the note is the parent's.
        if self.context.shared.is_lost() {
            return;
        }
        let core = self.context.core.borrow();
        match core.as_ref() {
            Some(core) => self.context.own(core).stats.enter(task, location),
            // No worker shows it: it is noted until it is over.
            None => self.context.unseated.set(Some(task)),
        }
        if self.noted && core.is_some() {
            self.context.shared.goes_on(task);
        }
    }
}

/// Calls code that may block, as it would be called outside of any task.
fn call<R>(f: impl FnOnce() -> R) -> R {
    let _sync = Async::set(false);
    let _free = BudgetGuard::unconstrained();
    f()
}

impl Context {
    /// The one worker of a current-thread runtime is this thread's while the future is polled.
    fn enter_to_poll(&self) {
        if self.keeps_worker() {
            self.enter_as_guest();
        }
    }

    fn keeps_worker(&self) -> bool {
        self.shared.flavor == Flavor::CurrentThread
    }

    /// Runs a worker, if one is free, until the future is woken; sleeps otherwise.
    fn serve(&self, root: &Root<'_>) {
        let shared = self.shared;
        shared.assert_not_lost();
        if self.enter_as_guest() {
            let exit = {
                let _async = Async::set(true);
                let _inside = Inside::set(shared);
                self.run(|| root.is_woken())
            };
            let stopped = exit == Exit::Stopped;
            // With a worker of a runtime that ends the future would be taken for one of its tasks, and have no timers.
            if stopped || !self.keeps_worker() || shared.is_stopping() {
                self.leave_as_guest();
            }
            if stopped {
                root.wait();
            }
        } else if !shared.is_stopping() {
            // Every worker has somebody; if the system refuses one its thread, this thread may have it.
            shared.queue_guest(&self.parker);
            shared.look_at_clock();
            shared.attend();
            if !root.is_woken() {
                self.parker.park();
            }
        } else {
            root.wait();
        }
    }

    /// Comes back from blocking code, to a poll or, from a waker that the worker has called, to none.
    fn come_back(&self, to_poll: bool) {
        self.shared.forbid_return();
        // With luck the worker, or another, is free again; otherwise this poll ends without one.
        let back = if self.guest { self.enter_as_guest() } else { self.reoccupy() };
        // What comes with the end of a poll would never let go of a hold that came without one.
        if !back && to_poll && !self.holds.replace(true) {
            self.shared.hold();
        }
    }

    /// The task that this thread's worker is noted to be polling.
    fn polled_task(&self) -> Option<Polled> {
        let core = self.core.borrow();
        let stats = &self.own(core.as_ref()?).stats;
        Some((stats.current()?, stats.location()?))
    }

    /// Takes a sleeping worker for this thread to run; true if it has one.
    fn enter_as_guest(&self) -> bool {
        if self.core.borrow().is_some() {
            return true;
        }
        let shared = self.shared;
        if shared.is_stopping() {
            return false;
        }
        let taken = match shared.flavor {
            Flavor::MultiThread => shared.idle.claim(Prefer::Vacant).and_then(|worker| {
                let taken = shared.processors[worker].seat.borrow(&self.parker);
                taken.map_err(|Occupied(sleeper)| sleeper.unpark()).ok()
            }),
            Flavor::CurrentThread => shared.processors[0].seat.borrow_free(&self.parker),
        };
        let Some(taken) = taken else { return false };
        if !self.counted.replace(true) {
            shared.runner_came();
        }
        shared.idle.set_manned(taken.core.index, true);
        self.throttle.interrupt();
        self.take_up(taken);
        if shared.flavor == Flavor::CurrentThread {
            shared.watch();
        }
        true
    }

    /// Gives the worker back, if this thread has one, and is no runner any more.
    ///
    /// Not called in the middle of a poll: a task that is being polled is no one else's to fail, so its thread counts
    /// as a runner even while blocking code has taken it off its worker.
    fn leave_as_guest(&self) {
        if self.core.borrow().is_some() {
            self.leave_seat();
            self.shared.offer_work();
        }
        if self.counted.replace(false) {
            self.shared.runner_left();
        }
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use std::panic::Location;
    use std::sync::LazyLock;
    use std::thread;
    use std::time::Instant;

    use super::super::OPEN;
    use super::super::refusal::testing::Refuses;
    use super::*;
    use crate::cell;

    #[test]
    fn a_nested_wait_asks_now_and_then_for_a_thread_that_is_refused() {
        static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared::new(Flavor::MultiThread, 2, 0));
        let refuses = Refuses::host_of(&SHARED);
        SHARED.phase.store(OPEN, Ordering::Relaxed);
        // There is somebody, who does not come by.
        SHARED.runner_came();
        SHARED.refusal.note();
        let (runnable, _task) = cell::new(async {}, &*SHARED, (), Location::caller());
        SHARED.injector.push(runnable);
        let context = Context::new(&SHARED, false);
        let root = Root::new(&context, Parker::new());
        assert!(root.signal.take());
        let (waker, begin) = (root.waker.clone(), Instant::now());
        let asker = thread::spawn(move || {
            while refuses.asked() < 3 {
                thread::yield_now();
            }
            waker.wake();
        });
        root.wait();
        assert!(begin.elapsed() >= 2 * ASK_AGAIN, "one question after the other");
        asker.join().unwrap();
    }
}
