//! Whose turn it is among the futures of one task: where to begin, and when to give way to other tasks.

use std::cell::RefCell;
use std::future::IntoFuture;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::coop::{self, BudgetGuard};
use crate::rng::Rng;

/// `bool`, whatever that name means where a macro is used.
pub type Bool = bool;

thread_local! {
    /// Each `RandomState` has keys of its own, so threads begin at different places.
    static RNG: RefCell<Rng> = RefCell::new(Rng::new(RandomState::new().hash_one(0_u8) as u32));
}

/// How many branches there are.
pub fn count(branches: &[u32]) -> u32 {
    branches.len() as u32
}

/// Begins with the first of `branches`.
pub fn from_first(_last: u32, _branches: u32) -> u32 {
    0
}

/// Begins with any of `branches`.
pub fn from_any(_last: u32, branches: u32) -> u32 {
    RNG.with(|rng| rng.borrow_mut().below(branches as usize)) as u32
}

/// Begins one further than the `last` time.
pub fn from_next(last: u32, branches: u32) -> u32 {
    (last + 1) % branches
}

/// [`IntoFuture::into_future`], whatever traits are in scope.
pub fn into_future<F: IntoFuture>(future: F) -> F::IntoFuture {
    future.into_future()
}

/// True if the task has no budget left; then it is woken, and has to answer `Pending`.
pub fn must_give_way(cx: &mut Context<'_>) -> bool {
    // The unit goes back at once: it is for the futures inside.
    coop::poll_proceed(cx).is_pending()
}

/// Charges the task for an output that may have cost nothing so far: without this a loop over futures that are always
/// ready would never end its poll.
pub fn made_progress() {
    coop::spend();
}

/// Polls one of the futures. If those before it have used the budget up it gets one unit all the same: otherwise a
/// greedy one that is always polled first would keep the others from ever being seen.
pub fn poll_in_turn<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let _unit = BudgetGuard::one_more();
    future.poll(cx)
}
