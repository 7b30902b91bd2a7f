//! Handlers that the system calls, in the middle of anything.
#![expect(
    unsafe_code,
    reason = "a signal handler may do little, and only its author can know that it does no more"
)]

use std::ffi::c_int;
use std::io;
use std::os::unix::net::UnixStream;
#[cfg(feature = "macros")]
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{SendFlags, send};
use signal_hook_registry::{FORBIDDEN, SigId, register, unregister};

use super::SignalKind;
#[cfg(feature = "macros")]
use super::asked::Asked;
#[cfg(feature = "macros")]
use crate::clocks;

/// A handler, taken out when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration(SigId);

impl Registration {
    /// From now on each signal of the kind writes a byte to `socket`, which does not block.
    pub(super) fn new(kind: SignalKind, socket: UnixStream) -> io::Result<Self> {
        let number = allowed(kind)?;
        let process = listens(number);
        let handler = move || {
            if process == std::process::id() {
                write(&socket);
            }
        };
        // SAFETY: the handler makes two system calls that POSIX allows there, and neither allocates nor locks nor panics;
        // the registry keeps errno.
        let id = unsafe { register(number, handler) }?;
        Ok(Registration(id))
    }

    /// As [`new`](Self::new), but a signal that asks again ends the process on the spot, with the code that shells give for
    /// a program that a signal ended.
    #[cfg(feature = "macros")]
    pub(super) fn ending(kind: SignalKind, socket: UnixStream, asked: Arc<Asked>) -> io::Result<Self> {
        let number = allowed(kind)?;
        let process = listens(number);
        let handler = move || {
            let is_here = process == std::process::id();
            if !is_here && is_listened_to(number) {
                return;
            }
            // In a child that does not listen nobody would hear the first one.
            if !is_here || clocks::read(libc::CLOCK_MONOTONIC).is_none_or(|now| asked.asks_again(now)) {
                // SAFETY: `_exit` may be called in a handler; it runs no code of the process.
                unsafe { libc::_exit(kind.exit_code()) };
            }
            write(&socket);
        };
        // SAFETY: as above, and an atomic exchange, a look at a clock that POSIX allows as well, and `_exit`.
        let id = unsafe { register(number, handler) }?;
        Ok(Registration(id))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        unregister(self.0);
    }
}

/// The registry panics where this gives an error.
fn allowed(kind: SignalKind) -> io::Result<c_int> {
    let number = kind.as_raw_value();
    if FORBIDDEN.contains(&number) {
        let message = format!("signal {number} cannot be handled by a program");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(number)
}

/// Which process listens to each signal. A child that is forked off has the handlers and the sockets of its parent, and what
/// it writes there its parent hears: so a handler asks where it is. That is one system call which may be made there; the
/// [generation](crate::fork) would not tell of a child that was made behind the C library's back.
static LISTENERS: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];

/// This process listens to a signal from now on; gives its number.
fn listens(signal: c_int) -> u32 {
    let process = std::process::id();
    if let Some(listener) = listener(signal) {
        // ORDERING: Relaxed, here and below: the number publishes nothing.
        listener.store(process, Ordering::Relaxed);
    }
    process
}

/// True if this process has listened to a signal itself.
#[cfg(feature = "macros")]
fn is_listened_to(signal: c_int) -> bool {
    listener(signal).is_some_and(|listener| listener.load(Ordering::Relaxed) == std::process::id())
}

fn listener(signal: c_int) -> Option<&'static AtomicU32> {
    LISTENERS.get(usize::try_from(signal).ok()?)
}

fn write(socket: &UnixStream) {
    // Full is as good as one more; and there is nobody to tell anything else.
    let _ = send(socket, &[0], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}
