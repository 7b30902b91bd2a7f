//! A connection within one machine.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::task::{Context, Poll};

use socket2::{Domain, SockAddr, Socket, Type};

use super::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
#[cfg(target_os = "linux")]
use super::ucred::UCred;
use super::{path_addr, sock_addr};
use crate::io::stream::{ByteStream, Sockets};
use crate::io::{Direction, Evented, Interest};
use crate::net::methods::{
    io_methods, peek_methods, read_methods, ready_methods, shutdown_methods, socket_impls, write_methods,
};
use crate::net::sys;

/// A Unix connection that carries bytes.
///
/// Everything takes a shared reference: one task may read while another writes, with the stream in an `Arc` or split.
/// Dropping it closes the connection.
///
/// ```
/// use runtime::net::unix::UnixStream;
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let (ours, theirs) = UnixStream::pair()?;
/// ours.write_all(b"hello").await?;
/// drop(ours);
/// let mut received = Vec::new();
/// theirs.read_to_end(&mut received).await?;
/// assert_eq!(received, b"hello");
/// # Ok(()) }) }
/// ```
pub struct UnixStream {
    io: Evented<net::UnixStream>,
}

impl UnixStream {
    /// Connects to the listener at a path.
    ///
    /// # Cancellation
    /// The attempt is given up and its socket closed.
    ///
    /// # Errors
    /// Those of the system; `WouldBlock` if the listener's queue is full, which the system cannot tell the end of.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let addr = path_addr(path)?;
        UnixStream::connect_to(addr).await
    }

    /// Connects to the listener at an address, which may be an abstract name.
    ///
    /// # Cancellation
    /// The attempt is given up and its socket closed.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(sock_addr(addr)?).await
    }

    async fn connect_to(addr: SockAddr) -> io::Result<UnixStream> {
        let socket = sys::socket(Domain::UNIX, Type::STREAM)?;
        let begun = socket.connect(&addr);
        let stream = UnixStream::from_socket(socket);
        match begun {
            Ok(()) => Ok(stream),
            Err(error) if sys::is_in_progress(&error) => {
                stream.io.io(Direction::Write, sys::connected).await?;
                Ok(stream)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn from_socket(socket: Socket) -> UnixStream {
        UnixStream { io: Evented::new(socket.into()) }
    }

    /// Two streams that are connected with each other.
    ///
    /// # Errors
    /// Those of the system.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = sys::pair(Type::STREAM)?;
        Ok((UnixStream::from_socket(one), UnixStream::from_socket(other)))
    }

    read_methods!();
    peek_methods!();
    write_methods!();
    shutdown_methods!();
    ready_methods!();
    io_methods!();

    /// Polls for something to read. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`readable`](Self::readable).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::READABLE).map_ok(drop)
    }

    /// Polls for room to write. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`writable`](Self::writable).
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::WRITABLE).map_ok(drop)
    }

    /// Ends the reading, the writing or both, as std does.
    ///
    /// # Errors
    /// Those of the system; `NotConnected` if the connection is gone.
    pub fn shutdown_half(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }

    /// A half for reading and one for writing, which borrow the stream and cost nothing.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// A half for reading and one for writing, for two tasks; the writing one ends the writing when it is dropped.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(self)
    }

    /// Takes a stream of std, and sets its non-blocking mode, which others that hold duplicates of it share.
    ///
    /// # Errors
    /// If the mode cannot be set.
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        stream.set_nonblocking(true)?;
        Ok(UnixStream { io: Evented::foreign(stream) })
    }

    /// Gives the stream as std knows it, still in non-blocking mode.
    ///
    /// # Errors
    /// None at present.
    pub fn into_std(self) -> io::Result<net::UnixStream> {
        Ok(self.io.into_inner())
    }

    /// The address of this side.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// `NotConnected` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// The process at the other side.
    ///
    /// # Errors
    /// Those of the system.
    #[cfg(target_os = "linux")]
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of(self.io.get_ref())
    }

    /// Takes the error that the system keeps for the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.get_ref().take_error()
    }
}

impl ByteStream for UnixStream {
    type Io = net::UnixStream;
    type Calls = Sockets;
    /// A read ends behind a piece that carries descriptors, with more in the queue.
    const SHORT_READ_DRAINS: bool = false;

    fn evented(&self) -> &Evented<net::UnixStream> {
        &self.io
    }
}

socket_impls!(UnixStream, net::UnixStream);

const _: () = {
    const fn shared<T: Send + Sync + Unpin>() {}
    shared::<UnixStream>();
};
