//! Readiness of what the system can wait for, copying between streams, and the standard streams.
//!
//! Sockets and pipes are in [`net`](crate::net). Whatever else `epoll` takes (terminals, devices, event descriptors) goes
//! into an [`AsyncFd`]; files do not, for they are always ready and yet block.
//!
//! # Traits
//! The streams of this crate implement the traits of futures-io (feature `futures-io`) and of tokio (feature `tokio-io`),
//! both by default, and those of `hyper::rt` with the feature `hyper`. What most programs need is inherent (`read`,
//! `read_exact`, `write_all` ..) and takes no import.
//!
//! # The runtime behind it
//! An object belongs to no runtime until it first has to wait; from then on its events come through the runtime that
//! this wait stood in, whoever waits later. If that is a current-thread runtime they come while some thread is inside one of its
//! `block_on`s, and not otherwise: a socket that is to go elsewhere goes there before it waits. An operation that finds its
//! object ready costs its system call and nothing else.

mod again;
mod async_fd;
mod attempt;
#[cfg(feature = "tokio-io")]
mod copy;
mod evented;
mod interest;
mod rest;
mod stdio;
pub(crate) mod stream;
pub(crate) mod traits;

pub(crate) use again::Again;
pub(crate) use attempt::async_io;
pub(crate) use evented::{Direction, Evented};

pub use async_fd::{AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, TryIoError};
#[cfg(feature = "tokio-io")]
pub use copy::{copy, copy_bidirectional};
pub use interest::{Interest, Ready};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
