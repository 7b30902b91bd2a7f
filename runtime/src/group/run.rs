//! The group's own future: polls the body, keeps the grace, and waits for the last member.

use std::future::poll_fn;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::builder::Builder;
use super::census::{Census, Part};
use super::child::{catch, discard, poll_caught};
use super::error::{Failure, GroupError};
use super::handle::TaskGroup;
use super::state::{Cause, Phase, Shared};
use crate::cancel::CancelledOwned;
use crate::context::dropping;
use crate::coop::BudgetGuard;
use crate::time::{Sleep, sleep};

pub(super) async fn run<E, R, F, Fut>(
    options: Builder,
    location: &'static Location<'static>,
    f: F,
) -> Result<Option<R>, GroupError<E>>
where
    E: Send + 'static,
    F: FnOnce(TaskGroup<E>) -> Fut,
    Fut: Future<Output = Result<R, E>>,
{
    let (shared, outer) = Shared::new(options, location);
    let mut watch = Watch { shared: shared.clone(), outer, over: false };
    // Declared after the watch, and so dropped before it: groups in the body are handed to ours before ours is to the
    // one outside. `f` is called in the first poll, where its panic is caught.
    let mut body = pin!(Some({
        let group = TaskGroup::of(shared.clone());
        async move { f(group).await }
    }));
    let mut progress = Progress {
        told: shared.census.members.clone().cancelled_owned(),
        asked: None,
        grace: None,
        census: Some(shared.census.clone()),
        value: None,
        body_failed: false,
        shared,
    };
    poll_fn(|cx| progress.poll(body.as_mut(), cx)).await;
    watch.over = true;
    let mut errors = watch.shared.failures(progress.body_failed);
    if errors.is_empty() {
        return Ok(progress.value);
    }
    // Nobody gets the value, and its destructor must not take the report along.
    let value = progress.value.take();
    if let Err(panic) = catch(|| drop(value)) {
        errors.push(Failure::Panic(panic));
    }
    Err(GroupError { errors })
}

/// Aborts the members if the group is dropped before its end.
struct Watch<E> {
    shared: Arc<Shared<E>>,
    /// The group that this one is inside of.
    outer: Option<Arc<Census>>,
    over: bool,
}

impl<E> Drop for Watch<E> {
    fn drop(&mut self) {
        if !self.over {
            self.shared.abandon(self.outer.take());
        }
    }
}

struct Progress<R, E> {
    shared: Arc<Shared<E>>,
    /// The token that the group gives away was cancelled, or one above it.
    told: CancelledOwned,
    /// The same without the former, which the success has cancelled that spares the body.
    asked: Option<CancelledOwned>,
    /// Until when members may go on after a cancel.
    grace: Option<Sleep>,
    /// Lent to the thread while the body is polled.
    census: Option<Arc<Census>>,
    value: Option<R>,
    body_failed: bool,
}

impl<R, E> Progress<R, E> {
    fn poll<B>(&mut self, mut body: Pin<&mut Option<B>>, cx: &mut Context<'_>) -> Poll<()>
    where
        B: Future<Output = Result<R, E>>,
    {
        // Left first: what changes while we look wakes us again.
        self.shared.census.register(cx.waker());
        self.poll_asked(cx);
        if self.body_may_go_on() && body.is_some() {
            self.poll_body(body.as_mut(), cx);
        }
        self.poll_grace(cx);
        // Its poll may have changed that, or the time that has come.
        if !self.body_may_go_on() && body.is_some() {
            self.drop_body(body.as_mut(), false);
        }
        if body.is_none() && self.shared.census.try_close() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_asked(&mut self, cx: &mut Context<'_>) {
        // Whoever shares the task's budget with the group does not hide the cancel from it.
        let _unit = BudgetGuard::one_more();
        if self.shared.phase().0 == Phase::Open && Pin::new(&mut self.told).poll(cx).is_ready() {
            self.shared.cancel(Cause::Told);
        }
        // After the former: a success may have come in between.
        let (phase, spares_body) = self.shared.phase();
        if phase != Phase::Open && spares_body {
            let token = &self.shared.census.token;
            let asked = self.asked.get_or_insert_with(|| token.clone().cancelled_owned());
            if Pin::new(asked).poll(cx).is_ready() {
                self.shared.cancel(Cause::Asked);
            }
        }
    }

    fn body_may_go_on(&self) -> bool {
        let (phase, spares_body) = self.shared.phase();
        phase != Phase::Aborting || spares_body
    }

    fn poll_body<B>(&mut self, mut body: Pin<&mut Option<B>>, cx: &mut Context<'_>)
    where
        B: Future<Output = Result<R, E>>,
    {
        let polled = poll_caught(body.as_mut(), Part::Body, &mut self.census, cx);
        let Poll::Ready(output) = polled else { return };
        let panicked = matches!(output, Err(Failure::Panic(_)));
        match output {
            Ok(value) => self.value = Some(value),
            Err(failure) => self.fail(failure),
        }
        self.drop_body(body, panicked);
    }

    fn drop_body<B>(&mut self, body: Pin<&mut Option<B>>, panicked: bool) {
        if let Err(panic) = dropping(panicked, || discard(body)) {
            self.fail(Failure::Panic(panic));
        }
    }

    /// A failure of the body cancels the group under every policy.
    fn fail(&mut self, failure: Failure<E>) {
        self.body_failed = true;
        self.shared.record(failure);
        self.shared.cancel(Cause::Asked);
    }

    /// Between a cancel and the end of the grace: waits for that, and then drops whoever is left.
    fn poll_grace(&mut self, cx: &mut Context<'_>) {
        if self.shared.phase().0 != Phase::Cancelled {
            return;
        }
        let length = self.shared.grace;
        let grace = self.grace.get_or_insert_with(|| sleep(length));
        // A body that uses the budget up in each of its polls does not hide the end of the grace.
        let _unit = BudgetGuard::one_more();
        if Pin::new(grace).poll(cx).is_ready() {
            self.shared.abort();
        }
    }
}
