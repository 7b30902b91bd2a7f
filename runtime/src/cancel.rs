//! Asking from outside: a tree of tokens that code looks at, or waits for, to learn that it should stop.
//!
//! Cancelling a [`Task`](crate::Task) drops its future where it stands. A [`CancelToken`] asks instead: whoever holds one
//! decides when and how to stop, and may clean up with more awaits. Tokens form a tree. Cancelling one cancels all below
//! it and none above; a deadline holds for everything below it too.
//!
//! # Shape
//! ```text
//!   CancelToken ──┐              ┌─ cancelled   one flag, set once
//!   Cancelled   ──┼── Arc ──▶ Node ─ links      who is below (weak), under the one lock
//!   child Node  ──┘              ├─ parent      strong: a node in the middle stays while somebody is below it
//!                                └─ promise     who waits: the waiters are a promise's
//! ```
//! `tree.rs` owns the nodes, `token.rs` the handles, `wait.rs` the futures.
//!
//! # Protocol
//! *Cancel*: mark the node and everything below it, node by node: under the node's lock set the flag and take the list
//! of children. Then, with no lock held, settle the promise of each marked node, which wakes its waiters. So whoever is
//! woken finds all descendants marked. Both walks are loops over a list: depth costs no stack.
//!
//! *Child*: under the parent's lock look at the flag. If it is set, the child is born cancelled and alone; otherwise it
//! is entered, and a cancel that comes later takes it with the list.
//!
//! *Drop*: the last handle of a node takes it out of its parent's list, and goes on with the parent if that was the
//! parent's last use; a loop again.
//!
//! *Deadline*: nobody keeps a timer for a token. The effective deadline, the earliest of the token and all above it, is
//! fixed when the token is made; whoever waits brings a timer of its own, and whoever only looks compares the clock.
//!
//! # Rejected
//! - A list of wakers in the node: the promise has one, with keys, and a model that proves it.
//! - A task for each deadline: it would have to be stopped and would keep the token alive.

#[cfg(not(runtime_loom))]
mod token;
mod tree;
#[cfg(not(runtime_loom))]
mod wait;

#[cfg(all(test, runtime_loom))]
mod models;

#[cfg(not(runtime_loom))]
pub use token::{CancelOnDrop, CancelToken};
#[cfg(not(runtime_loom))]
pub use wait::{Cancelled, CancelledOwned, RunUntilCancelled};
