//! How a worker that finds nothing to do waits for more: a short spin, then sleep; and how it gives its seat up.

use std::time::Instant;

use super::attend::{Found, Rest};
use super::context::Context;
use super::core::{Core, LOOKS, STUCK};
use super::idle::Prefer;
use super::seat::{Occupied, Resume, Taken};
use super::worker::Exit;
use crate::loom::atomic::Ordering;
use crate::loom::{deque, hint, mutant};

/// A deque that never held this many has no buffers worth collecting.
const COLLECT_AFTER: u64 = 1024;

impl Context {
    /// Looks for work for a moment, if this worker is the one that searches; true if there is some.
    pub(super) fn spin(&self, since: Instant, woken: &impl Fn() -> bool) -> bool {
        let has_io = self.shared.driver.has_io();
        let crowded = has_io && self.throttle.is_crowded();
        let limit = match self.core.borrow_mut().as_mut() {
            Some(core) if core.searching => {
                let polls = self.own(core).stats.polls.get();
                core.waits.spin_limit(polls, has_io, crowded)
            }
            _ => return false,
        };
        while !limit.is_zero() && since.elapsed() < limit {
            // A stop is for `sleep` to see, which ends the loop; a search that spins would go round for ever.
            if self.shared.is_stopping() {
                return false;
            }
            if self.shared.has_work() || woken() || self.glance_at_driver() {
                return true;
            }
            if crowded {
                // Whoever yields a processor that many want loses what was left of its slice, and for as much time each
                // thread that it wakes takes the processor from it (0002).
                hint::spin_loop();
            } else {
                // The one that is to bring the work may be waiting for this processor.
                std::thread::yield_now();
            }
        }
        false
    }

    /// Looks for events on the way to sleep, unless somebody sleeps for them; true if there were any.
    fn glance_at_driver(&self) -> bool {
        let driver = &self.shared.driver;
        if !driver.has_io() {
            return false;
        }
        let Some(lead) = driver.lead() else { return false };
        let found = Found::events(lead.poll());
        drop(lead);
        let any = found.any();
        self.dispatch(found);
        any
    }

    /// Puts the core down and sleeps until there is work, or a reason to end the loop. It has been out of work `since` then.
    #[cold]
    pub(super) fn sleep(&self, since: Instant, woken: &impl Fn() -> bool) -> Option<Exit> {
        let shared = self.shared;
        if self.is_dismissed() {
            return Some(Exit::Dismissed);
        }
        let mut core = self.core.take().expect("the loop has just used the core");
        let (worker, searching) = (core.index, std::mem::take(&mut core.searching));
        let mut suspicious = core.suspect.is_some() && core.looks < LOOKS;
        core.looks += 1;
        let own = self.own(&core);
        own.stats.parks.add(1);
        if own.stats.spawned.get() - core.collected_at > COLLECT_AFTER {
            core.collected_at = own.stats.spawned.get();
            deque::collect();
        }
        let expected = core.waits.expected();
        own.seat.put(core);
        shared.park(worker, searching);
        if shared.phase.load(Ordering::Relaxed) != super::OPEN {
            shared.idle_while_closing();
        }
        // The second look that the protocol asks of everybody who parks.
        let mut look_again = !mutant!("park_skips_second_look") && shared.has_work();
        if look_again && !searching {
            // It may be in a deque that only searchers look at, and there are enough of them: one may not have begun yet.
            hint::spin_loop();
        }
        let mut found = Found::default();
        loop {
            let stopping = shared.is_stopping();
            let wants = std::mem::take(&mut look_again) || found.any() || stopping || woken();
            let rest = match own.seat.resume(&self.parker, wants, || shared.idle.leave(worker)) {
                Resume::Taken(taken) => return self.awake(taken, stopping, found, woken()),
                // A guest runs the worker, and ends with it what has to be ended.
                Resume::Displaced if stopping => return Some(Exit::Stopped),
                Resume::Displaced => Rest::WithoutSeat,
                // Somebody's next slot was full: look once more whether that somebody is stuck.
                Resume::Asleep if suspicious && !stopping => Rest::Nap(2 * STUCK),
                Resume::Asleep => {
                    shared.monitor.settle(shared, since, expected);
                    Rest::Seated(worker)
                }
            };
            suspicious &= !matches!(rest, Rest::WithoutSeat);
            self.dispatch(found);
            found = self.rest(&rest);
            // Somebody may have failed to wake whom they wanted, and have woken everybody instead.
            look_again = found.any() || matches!(rest, Rest::Nap(_)) || shared.has_work();
        }
    }

    /// Goes on with the core in hand, and with what was found while it was put down.
    fn awake(&self, taken: Taken<Core>, stopping: bool, found: Found, woken: bool) -> Option<Exit> {
        let own = self.own(&taken.core);
        // Asked of all others where it matters.
        let empty =
            (stopping || woken) && taken.core.is_empty() && own.next.is_empty() && !self.shared.has_work();
        // A task whose first poll met the stop was bound after the walk: whoever polled it looks again before it leaves.
        let done = stopping && empty && !self.shared.cancel_waiting();
        self.take_up(taken);
        // What wakes a guest whose future is ready, and nothing else, is the end of many a runtime.
        if !(stopping || woken && empty) {
            self.shared.watch();
        }
        // With the core in hand, so that those who are woken queue here.
        self.dispatch(found);
        done.then_some(Exit::Stopped)
    }

    /// Gives the worker up; whoever is notified next runs it. What it has queued is to be offered after that.
    pub(super) fn leave_seat(&self) {
        let Some(mut core) = self.core.take() else { return };
        let (shared, worker) = (self.shared, core.index);
        let own = self.own(&core);
        core.expose(own);
        if shared.is_spare(worker) {
            // A worker takes its seat again; into this deque nobody would look before they have run dry.
            core.drain().into_iter().for_each(|runnable| shared.injector.push(runnable));
        }
        own.stats.leave();
        let searching = std::mem::take(&mut core.searching);
        let manned = own.seat.give_back(core);
        shared.idle.set_manned(worker, manned);
        if shared.is_spare(worker) {
            shared.spare_left(worker, searching);
        } else if shared.flavor == super::Flavor::CurrentThread {
            if searching && !mutant!("guest_keeps_the_search") {
                // Whoever takes the worker next looks at every queue first.
                let _ = shared.idle.found(worker);
            }
            shared.next_guest();
        } else {
            shared.park(worker, searching);
        }
    }

    /// Takes a worker that nobody has after blocking code; false if there is none, and the thread has to go.
    pub(super) fn reoccupy(&self) -> bool {
        let shared = self.shared;
        let Some(worker) = shared.idle.claim(Prefer::Vacant) else { return false };
        match shared.processors[worker].seat.occupy(&self.parker) {
            Ok(taken) => {
                shared.idle.set_manned(worker, true);
                self.throttle.interrupt();
                self.take_up(taken);
                true
            }
            Err(Occupied(sleeper)) => {
                sleeper.unpark();
                false
            }
        }
    }

    /// True if this thread runs a spare worker that is not needed any more.
    pub(super) fn is_dismissed(&self) -> bool {
        self.core.borrow().as_ref().is_some_and(|core| self.own(core).post.is_dismissed())
    }

    /// Goes on with a core: its worker is this thread's until the core is put down again.
    pub(super) fn take_up(&self, taken: Taken<Core>) {
        let mut core = taken.core;
        core.searching = taken.searching;
        self.own(&core).runner.set();
        self.core.replace(Some(core));
        self.shared.monitor.stir(self.shared);
    }
}
