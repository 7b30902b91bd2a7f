//! Several futures in one task: nothing is spawned, so they may borrow, and they share one thread at a time.

mod join;
mod maybe_done;
mod number;
mod pin;
mod race;
mod select;
mod selected;
mod turn;

/// What the macros expand to.
pub(crate) mod support {
    pub use super::maybe_done::MaybeDone;
    pub use super::selected::{Never, Selected};
    pub use super::turn::{
        Bool, count, from_any, from_first, from_next, into_future, made_progress, must_give_way, poll_in_turn,
    };
    pub use std::future::poll_fn;
    pub use std::pin::pin as std_pin;
}
