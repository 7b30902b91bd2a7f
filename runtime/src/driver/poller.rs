//! Where the system's readiness events come from: epoll on Linux, the `polling` crate elsewhere, a stand-in in models.
//!
//! # The seam
//! A poller has `add`, `rearm`, `delete`, `wait` and `ring`, and two constants: whether a short count means that the
//! object has no more, and whether closing an object takes it out. Everything above it is the same on every system.

#[cfg(all(target_os = "linux", not(runtime_portable), not(runtime_loom)))]
mod epoll;
#[cfg(any(not(target_os = "linux"), runtime_portable, runtime_loom))]
mod portable;

#[cfg(all(target_os = "linux", not(runtime_portable), not(runtime_loom)))]
pub(crate) use epoll::{Events, Poller};
#[cfg(any(not(target_os = "linux"), runtime_portable, runtime_loom))]
pub(crate) use portable::{Events, Poller};

/// What the system said about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// What [`Poller::add`] was given.
    pub(crate) token: u64,
    /// A set of the bits in [`super::readiness`].
    pub(crate) ready: u8,
}
