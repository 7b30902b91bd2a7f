//! The state word, transition by transition. What threads do to it together is in the models.

use super::raw::Header;
use super::state::{Cancel, Complete, Detach, Start, State, Suspend, Wake};

/// A task whose first poll has returned `Pending`.
fn waiting() -> State {
    let state = State::new();
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.suspend(), Suspend::Idle);
    state
}

#[test]
fn the_header_leaves_the_future_at_the_second_cache_line() {
    assert_eq!(size_of::<Header>() + size_of::<&()>(), 64);
}

#[test]
fn a_new_task_is_polled_without_a_wake() {
    assert_eq!(State::new().start(), Start::Poll);
}

#[test]
fn only_the_first_wake_of_a_waiting_task_enqueues_it() {
    let state = waiting();
    assert!(state.wake_by_ref());
    assert!(!state.wake_by_ref());
    assert_eq!(state.start(), Start::Poll);
}

#[test]
fn a_wake_during_the_poll_leaves_the_task_to_its_poller() {
    let state = waiting();
    assert!(state.wake_by_ref());
    assert_eq!(state.start(), Start::Poll);
    assert!(!state.wake_by_ref());
    assert_eq!(state.suspend(), Suspend::Requeue);
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.suspend(), Suspend::Idle);
}

#[test]
fn a_wake_of_a_task_that_was_not_polled_yet_costs_no_second_poll() {
    let state = State::new();
    assert!(!state.wake_by_ref());
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.suspend(), Suspend::Idle);
}

#[test]
fn a_wake_by_value_gives_its_reference_away() {
    let state = waiting();
    state.retain();
    assert_eq!(state.wake_by_value(), Wake::Enqueue);
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.complete(), Complete::Done { callbacks: false });
    assert!(state.release(), "the handle's was the last one");
}

#[test]
fn a_late_wake_by_value_frees_the_task() {
    let state = waiting();
    state.retain();
    assert_eq!(state.detach(), Detach::Done);
    assert!(state.wake_by_ref());
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.complete(), Complete::Detached);
    assert_eq!(state.complete_detached(), (false, false));
    assert!(!state.wake_by_ref(), "nothing to poll any more");
    assert_eq!(state.wake_by_value(), Wake::Dealloc);
}

#[test]
fn a_waiting_task_that_is_cancelled_is_enqueued_and_not_polled() {
    let state = waiting();
    assert_eq!(state.cancel(), Cancel::Enqueue);
    assert_eq!(state.cancel(), Cancel::Asked);
    assert_eq!(state.start(), Start::Cancel);
}

#[test]
fn a_task_that_is_cancelled_during_its_poll_does_not_wait() {
    let state = State::new();
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.cancel(), Cancel::Asked);
    assert_eq!(state.suspend(), Suspend::Cancel);
    assert_eq!(state.suspend_awake(), Suspend::Cancel);
}

#[test]
fn a_task_that_is_cancelled_before_its_first_poll_is_not_polled() {
    let state = State::new();
    assert_eq!(state.cancel(), Cancel::Asked);
    assert_eq!(state.start(), Start::Cancel);
}

#[test]
fn a_complete_task_can_not_be_cancelled() {
    let state = State::new();
    assert_eq!(state.start(), Start::Poll);
    assert!(!state.is_complete());
    assert_eq!(state.complete(), Complete::Done { callbacks: false });
    assert!(state.is_complete());
    assert_eq!(state.cancel(), Cancel::Finished);
}

#[test]
fn a_completion_with_a_waiter_ends_after_the_waker_was_taken() {
    let state = State::new();
    assert!(state.set_waiter());
    assert!(state.has_waiter());
    assert_eq!(state.complete(), Complete::Wake { callbacks: false });
    assert!(state.is_complete());
    assert!(!state.unset_waiter(), "the slot belongs to the completing thread");
    assert!(!state.release_runtime());
    assert_eq!(state.detach(), Detach::Output);
    assert!(state.release());
}

#[test]
fn a_waiter_comes_too_late_for_a_complete_task() {
    let state = State::new();
    assert_eq!(state.complete(), Complete::Done { callbacks: false });
    assert!(!state.set_waiter());
    assert!(!state.set_callbacks());
}

#[test]
fn a_handle_takes_its_waker_back_before_it_goes() {
    let state = waiting();
    assert!(state.set_waiter());
    assert_eq!(state.detach(), Detach::Waiter);
    assert!(!state.has_waiter());
    assert_eq!(state.detach(), Detach::Done);
}

#[test]
fn a_detached_task_without_wakers_is_freed_when_it_completes() {
    let state = State::new();
    assert_eq!(state.detach(), Detach::Done);
    assert_eq!(state.complete(), Complete::Detached);
    assert_eq!(state.complete_detached(), (true, false));
}

#[test]
fn a_completion_tells_of_callbacks() {
    let state = State::new();
    assert!(state.set_callbacks());
    assert_eq!(state.complete(), Complete::Done { callbacks: true });

    let detached = State::new();
    assert!(detached.set_callbacks());
    assert_eq!(detached.detach(), Detach::Done);
    assert_eq!(detached.complete(), Complete::Detached);
    assert_eq!(detached.complete_detached(), (true, true));
}
