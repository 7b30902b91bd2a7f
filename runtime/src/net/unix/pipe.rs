//! Pipes: bytes in one direction, within a process or between a child process and this one.
//!
//! [`pipe`](pipe()) makes a new one. What others made comes by `TryFrom`: any descriptor of a pipe, and the ends that
//! [`std::process`] has of a child's standard streams.
//!
//! ```
//! use std::process::{Command, Stdio};
//! use runtime::net::unix::pipe::{Receiver, Sender};
//!
//! # fn main() -> std::io::Result<()> { runtime::block_on(async {
//! let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! let input = Sender::try_from(child.stdin.take().expect("it is piped"))?;
//! let output = Receiver::try_from(child.stdout.take().expect("it is piped"))?;
//!
//! input.write_all(b"hello").await?;
//! drop(input); // the child reads the end
//! let mut copy = Vec::new();
//! output.read_to_end(&mut copy).await?;
//! assert_eq!(copy, b"hello");
//! assert!(runtime::spawn_blocking(move || child.wait()).await??.success());
//! # Ok(()) }) }
//! ```
//!
//! # Signals
//! The system has no write to a pipe without SIGPIPE, as it has for sockets. Programs with a `main` in Rust ignore that signal
//! from their start on, and have the error `BrokenPipe`. One that asks for the signal again, or whose `main` is another
//! language's, is ended by it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::task::{Context, Poll};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::ioctl_fionbio;

use crate::io::stream::{ByteStream, Pipes};
use crate::io::{Evented, Interest, Ready};
use crate::net::methods::{io_methods, read_methods, ready_methods, write_methods};
use crate::net::sys;

/// The end of a pipe that is written.
///
/// Everything takes a shared reference. A reader that is slow makes it wait. The pipe ends, for who reads it, when the
/// last of its senders is dropped; `shutdown` and `close` of the traits do nothing.
pub struct Sender {
    io: Evented<OwnedFd>,
}

/// The end of a pipe that is read.
///
/// Everything takes a shared reference; each byte goes to one reader. When the last of its receivers is dropped, writes
/// give `BrokenPipe`.
pub struct Receiver {
    io: Evented<OwnedFd>,
}

/// Makes a pipe.
///
/// ```
/// use runtime::net::unix::pipe;
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let (sender, receiver) = pipe::pipe()?;
/// sender.write_all(b"hello").await?;
/// drop(sender);
/// let mut received = Vec::new();
/// receiver.read_to_end(&mut received).await?;
/// assert_eq!(received, b"hello");
/// # Ok(()) }) }
/// ```
///
/// # Errors
/// Those of the system.
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let (read, write) = sys::pipe()?;
    Ok((Sender { io: Evented::new(write) }, Receiver { io: Evented::new(read) }))
}

impl Sender {
    // A pipe that nobody reads any more is one that has failed, as Linux says it.
    ready_methods!(|ready| if ready.is_error() { ready | Ready::WRITE_CLOSED } else { ready });
    write_methods!();

    /// Polls for room to write. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`writable`](Self::writable).
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::WRITABLE).map_ok(drop)
    }
}

impl Receiver {
    ready_methods!();
    read_methods!();

    /// Polls for something to read. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`readable`](Self::readable).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::READABLE).map_ok(drop)
    }
}

/// Takes an end of a pipe that was opened for `access`, and sets its non-blocking mode.
fn adopt(fd: OwnedFd, access: OFlags) -> io::Result<Evented<OwnedFd>> {
    let invalid = |message| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::Fifo {
        return invalid("the descriptor is not that of a pipe");
    }
    let opened = fcntl_getfl(&fd)? & OFlags::RWMODE;
    if opened != access && opened != OFlags::RDWR {
        return invalid("the descriptor is that of the other end of a pipe");
    }
    ioctl_fionbio(&fd, true)?;
    Ok(Evented::foreign(fd))
}

/// What both ends have: `$access` is what the descriptor has to be opened for.
macro_rules! end {
    ($end:ident, $access:expr) => {
        impl $end {
            io_methods!();

            /// Gives the descriptor in blocking mode, as a child process wants it for a standard stream.
            ///
            /// Duplicates of the descriptor share the mode: an end that is made of one would block its worker.
            ///
            /// # Errors
            /// If the mode cannot be set.
            pub fn into_blocking_fd(self) -> io::Result<OwnedFd> {
                let fd = self.io.into_inner();
                ioctl_fionbio(&fd, false)?;
                Ok(fd)
            }

            /// Gives the descriptor, still in non-blocking mode.
            ///
            /// # Errors
            /// None at present.
            pub fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
                Ok(self.io.into_inner())
            }
        }

        impl ByteStream for $end {
            type Io = OwnedFd;
            type Calls = Pipes;
            /// Where the pipe keeps messages apart (`O_DIRECT`), a read ends behind each, with more in the queue.
            const SHORT_READ_DRAINS: bool = false;

            fn evented(&self) -> &Evented<OwnedFd> {
                &self.io
            }
        }

        impl TryFrom<OwnedFd> for $end {
            type Error = io::Error;

            /// Takes this end of a pipe, with a name or without, and sets its non-blocking mode, which its duplicates
            /// share.
            ///
            /// # Errors
            /// `InvalidInput` if it is something else, or was opened for the other direction alone; those of the system.
            fn try_from(fd: OwnedFd) -> io::Result<Self> {
                Ok($end { io: adopt(fd, $access)? })
            }
        }

        impl From<$end> for OwnedFd {
            /// Still in non-blocking mode.
            fn from(end: $end) -> OwnedFd {
                end.io.into_inner()
            }
        }

        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.io.show().as_fd()
            }
        }

        impl AsRawFd for $end {
            fn as_raw_fd(&self) -> RawFd {
                self.io.show().as_raw_fd()
            }
        }

        impl fmt::Debug for $end {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end)).field("fd", &self.io.get_ref().as_raw_fd()).finish()
            }
        }
    };
}

end!(Sender, OFlags::WRONLY);
end!(Receiver, OFlags::RDONLY);

/// The ends that std has of the standard streams of a child process.
macro_rules! of_child {
    ($($stream:ty => $end:ident),*) => {$(
        impl TryFrom<$stream> for $end {
            type Error = io::Error;

            /// Takes this end of the pipe and sets its non-blocking mode; the child's end stays as it is.
            fn try_from(stream: $stream) -> io::Result<Self> {
                $end::try_from(OwnedFd::from(stream))
            }
        }
    )*};
}

of_child!(ChildStdin => Sender, ChildStdout => Receiver, ChildStderr => Receiver);

const _: () = {
    const fn shared<T: Send + Sync + Unpin>() {}
    shared::<Sender>();
    shared::<Receiver>();
};
