//! What the handles and the members of one group share: its phase, who may run, what went wrong.

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::builder::Builder;
use super::census::{self, Census};
use super::error::{Failure, Policy};
use crate::cancel::CancelToken;
use crate::context::{self, Executor, Job, Unobserved};
use crate::error::drop_quietly;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::lock::Mutex;
use crate::promise::{Future, Promise};

pub(super) struct Shared<E> {
    pub(super) census: Arc<Census>,
    pub(super) grace: Duration,
    pub(super) policy: Policy,
    location: &'static Location<'static>,
    /// That of the runtime in which the group began.
    executor: Option<Arc<dyn Executor>>,
    /// The phase is `Aborting`; for members that run, which have no other reason to take the lock.
    aborting: AtomicBool,
    state: Mutex<State<E>>,
}

struct State<E> {
    phase: Phase,
    /// The cancel was for the children only.
    spares_body: bool,
    /// Nobody will ask for the failures.
    abandoned: bool,
    succeeded: bool,
    failures: Vec<Failure<E>>,
    limit: usize,
    last_key: u64,
    running: Members,
    queued: Members,
    /// Set when there is room for one more; made when somebody waits for that.
    room: Option<(Promise<()>, Future<()>)>,
}

/// In the order of their spawns. The waker is there once the member was polled.
type Members = BTreeMap<u64, Option<Waker>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Cancelled; who runs may go on until the grace is over.
    Cancelled,
    /// Everybody is to be dropped.
    Aborting,
}

/// Why a group is cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A failure, somebody who holds the group, or a token above it.
    Asked,
    /// The token that the group gives away was cancelled. That counts while the group is open: later it is a trace of
    /// whatever else has cancelled the group.
    Told,
    /// A child succeeded, and that was all that was wanted of the children.
    Success,
}

/// What a spawn finds.
pub(super) enum Entry {
    Member(u64),
    /// The group is cancelled, and waits for what was to be spawned to be dropped.
    Refused,
    /// The group is over.
    Closed,
}

/// What a member that is polled may do.
pub(super) enum Turn {
    Go,
    Wait,
    Stop,
}

/// How a member ended, for its group.
pub(super) enum End<E> {
    Success,
    Failed(Failure<E>),
    /// Somebody else was told.
    Neutral,
}

/// What to wake without the lock.
struct Stopped {
    queued: Members,
    running: Members,
    room: Option<(Promise<()>, Future<()>)>,
}

impl Stopped {
    fn wake(self) {
        for waker in self.queued.into_values().chain(self.running.into_values()).flatten() {
            waker.wake();
        }
        if let Some((promise, _)) = self.room {
            let _ = promise.set_result(());
        }
    }
}

impl<E> State<E> {
    fn stop(&mut self, phase: Phase) -> Stopped {
        self.phase = phase;
        let running = match phase {
            Phase::Aborting => std::mem::take(&mut self.running),
            Phase::Open | Phase::Cancelled => Members::new(),
        };
        Stopped { queued: std::mem::take(&mut self.queued), running, room: self.room.take() }
    }

    fn has_room(&self) -> bool {
        self.running.len() < self.limit && self.queued.is_empty()
    }

    /// Lets queued members run while there is room; the wakers of those who have been polled.
    fn advance(&mut self) -> Vec<Option<Waker>> {
        let mut wakers = Vec::new();
        while self.running.len() < self.limit {
            let Some((key, waker)) = self.queued.pop_first() else { break };
            // It leaves its waker again when it is polled.
            self.running.insert(key, None);
            wakers.push(waker);
        }
        wakers
    }

    fn take_room(&mut self) -> Option<(Promise<()>, Future<()>)> {
        if self.has_room() { self.room.take() } else { None }
    }
}

impl<E> Shared<E> {
    /// The state of a group that begins here; its place in the tree of groups is that of the caller.
    pub(super) fn new(
        options: Builder,
        location: &'static Location<'static>,
    ) -> (Arc<Self>, Option<Arc<Census>>) {
        let outer = census::current();
        let token = match (&options.token, &outer) {
            (Some(token), _) | (None, Some((_, token))) => token.child(),
            (None, None) => CancelToken::new(),
        };
        // Only a success tells the children from the rest.
        let members = if options.policy == Policy::FirstSuccess { token.child() } else { token.clone() };
        let state = State {
            phase: Phase::Open,
            spares_body: false,
            abandoned: false,
            succeeded: false,
            failures: Vec::new(),
            limit: options.limit,
            last_key: 0,
            running: Members::new(),
            queued: Members::new(),
            room: None,
        };
        let shared = Shared {
            census: Census::new(token, members),
            grace: options.grace,
            policy: options.policy,
            location,
            executor: context::executor(),
            aborting: AtomicBool::new(false),
            state: Mutex::new(state),
        };
        (Arc::new(shared), outer.map(|(census, _)| census))
    }

    /// What the children see of a cancel.
    pub(super) fn members_token(&self) -> &CancelToken {
        &self.census.members
    }

    /// True once no child can be spawned any more because of a cancel.
    pub(super) fn is_cancelled(&self) -> bool {
        // The token is cancelled a little after the phase has changed, and a deadline passes before it has.
        self.members_token().is_cancelled() || self.state.lock().phase != Phase::Open
    }

    // --- members ---

    /// Counts a new member, and says whether it may run.
    pub(super) fn enter(&self) -> Entry {
        if !self.census.enter() {
            return Entry::Closed;
        }
        if self.members_token().is_cancelled() {
            return Entry::Refused;
        }
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Entry::Refused;
        }
        state.last_key += 1;
        let key = state.last_key;
        let members = if state.has_room() { &mut state.running } else { &mut state.queued };
        members.insert(key, None);
        Entry::Member(key)
    }

    /// What the member may do; its waker is left for when that changes.
    pub(super) fn check_in(&self, key: u64, waker: &Waker) -> Turn {
        let mut waker = Some(waker.clone());
        let turn = {
            let mut state = self.state.lock();
            let (place, turn) = match state.running.get_mut(&key) {
                Some(place) => (Some(place), Turn::Go),
                None => match state.queued.get_mut(&key) {
                    Some(place) => (Some(place), Turn::Wait),
                    None => (None, Turn::Stop),
                },
            };
            if let Some(place) = place {
                std::mem::swap(place, &mut waker);
            }
            turn
        };
        drop(waker);
        turn
    }

    /// For a member that has checked in and runs.
    #[inline]
    pub(super) fn is_aborting(&self) -> bool {
        // ORDERING: Relaxed, the flag publishes nothing; it is set before the member is woken, and the wake orders it
        // before the poll that follows.
        self.aborting.load(Ordering::Relaxed)
    }

    /// The member's task is finished.
    pub(super) fn leave(&self, key: Option<u64>) {
        let (waker, wakers, room) = {
            let mut state = self.state.lock();
            let waker = key.and_then(|key| state.running.remove(&key).or_else(|| state.queued.remove(&key)));
            (waker, state.advance(), state.take_room())
        };
        drop(waker);
        wakers.into_iter().flatten().for_each(Waker::wake);
        if let Some((promise, _)) = room {
            let _ = promise.set_result(());
        }
        self.census.leave();
    }

    pub(super) fn set_limit(&self, limit: usize) {
        let (wakers, room) = {
            let mut state = self.state.lock();
            state.limit = limit;
            (state.advance(), state.take_room())
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
        if let Some((promise, _)) = room {
            let _ = promise.set_result(());
        }
    }

    /// The event that there may be room; `None` if there is, or if nobody may be spawned any more.
    pub(super) fn room(&self) -> Option<Future<()>> {
        let is_full = |state: &State<E>| state.phase == Phase::Open && !state.has_room();
        if !is_full(&self.state.lock()) {
            return None;
        }
        // The lock is not for allocations.
        let (promise, event) = Promise::new();
        {
            let mut state = self.state.lock();
            match &state.room {
                _ if !is_full(&state) => return None,
                Some((_, event)) => return Some(event.clone()),
                None => state.room = Some((promise, event.clone())),
            }
        }
        Some(event)
    }

    // --- the end ---

    /// Takes note of how a member or the body ended.
    pub(super) fn end(&self, end: End<E>) {
        match end {
            End::Success if self.policy == Policy::FirstSuccess => {
                self.state.lock().succeeded = true;
                self.cancel(Cause::Success);
            }
            End::Failed(failure) => {
                self.record(failure);
                if self.policy == Policy::FailFast {
                    self.cancel(Cause::Asked);
                }
            }
            End::Success | End::Neutral => {}
        }
    }

    pub(super) fn record(&self, failure: Failure<E>) {
        let lost = {
            let mut state = self.state.lock();
            if state.abandoned {
                Some(failure)
            } else {
                state.failures.push(failure);
                None
            }
        };
        if let Some(failure) = lost {
            self.report(failure);
        }
    }

    pub(super) fn cancel(&self, cause: Cause) {
        let stopped = {
            let mut state = self.state.lock();
            let was_spared = state.spares_body;
            if state.phase == Phase::Open {
                state.spares_body = cause == Cause::Success;
                let phase = if self.grace.is_zero() { Phase::Aborting } else { Phase::Cancelled };
                self.note(phase);
                Some(state.stop(phase))
            } else if cause == Cause::Told {
                return;
            } else {
                state.spares_body &= cause == Cause::Success;
                if was_spared == state.spares_body {
                    return;
                }
                None
            }
        };
        if let Some(stopped) = stopped {
            stopped.wake();
        }
        match cause {
            Cause::Success => self.census.members.cancel(),
            Cause::Asked | Cause::Told => self.census.token.cancel(),
        };
        self.census.wake_owner();
    }

    /// The grace is over.
    pub(super) fn abort(&self) {
        let stopped = {
            let mut state = self.state.lock();
            self.note(Phase::Aborting);
            state.stop(Phase::Aborting)
        };
        stopped.wake();
    }

    fn note(&self, phase: Phase) {
        // ORDERING: Relaxed, see `is_aborting`.
        self.aborting.store(phase == Phase::Aborting, Ordering::Relaxed);
    }

    /// The phase, and whether the body is to go on whatever that is.
    pub(super) fn phase(&self) -> (Phase, bool) {
        let state = self.state.lock();
        (state.phase, state.spares_body)
    }

    /// The group's own future was dropped before its end.
    pub(super) fn abandon(&self, heir: Option<Arc<Census>>) {
        let (stopped, failures) = {
            let mut state = self.state.lock();
            state.abandoned = true;
            self.note(Phase::Aborting);
            (state.stop(Phase::Aborting), std::mem::take(&mut state.failures))
        };
        // First of all, while whoever drops us is counted by the heir.
        self.census.abandon(heir);
        stopped.wake();
        self.census.token.cancel();
        failures.into_iter().for_each(|failure| self.report(failure));
    }

    /// The failures that count; the rest is reported.
    pub(super) fn failures(&self, body_failed: bool) -> Vec<Failure<E>> {
        let (failures, forgiven) = {
            let mut state = self.state.lock();
            state.abandoned = true;
            (std::mem::take(&mut state.failures), state.succeeded && !body_failed)
        };
        if !forgiven {
            return failures;
        }
        failures.into_iter().for_each(|failure| self.report(failure));
        Vec::new()
    }

    /// Nobody will see this failure any more: a panic is worth a report, an error is dropped.
    pub(super) fn report(&self, failure: Failure<E>) {
        match failure {
            Failure::Error(error) => _ = drop_quietly(error),
            Failure::Panic(error) => self.tell(Unobserved::future(error, self.location)),
        }
    }

    /// Gives a report to the runtime that the group began in, wherever this thread stands.
    fn tell(&self, unobserved: Unobserved) {
        context::report(self.executor.clone().or_else(context::executor), unobserved);
    }
}

/// Callbacks of members' ends, which are ours and short, run in place.
impl<E: Send + 'static> Executor for Shared<E> {
    fn execute(&self, job: Job) {
        job();
    }

    fn report(&self, unobserved: Unobserved) {
        self.tell(unobserved);
    }

    fn id(&self) -> u64 {
        u64::MAX
    }
}
