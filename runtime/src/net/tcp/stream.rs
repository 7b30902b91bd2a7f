//! A TCP connection.

use std::io;
use std::net::{self, Shutdown, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, Socket};

use super::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::{TcpSocket, linger};
use crate::io::stream::{ByteStream, Sockets};
use crate::io::{Direction, Evented, Interest};
use crate::net::methods::{
    io_methods, peek_methods, read_methods, ready_methods, shutdown_methods, socket_impls, write_methods,
};
use crate::net::{ToSocketAddrs, addr, sys};

/// A TCP connection.
///
/// Everything takes a shared reference: one task may read while another writes, with the stream in an `Arc` or split.
/// Dropping it closes the connection; what was written is still delivered, unless there was something left to read,
/// which makes the system reset the connection.
///
/// ```
/// use runtime::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
///
/// client.write_all(b"ping").await?;
/// client.shutdown().await?;
/// let mut received = Vec::new();
/// server.read_to_end(&mut received).await?;
/// assert_eq!(received, b"ping");
/// # Ok(()) }) }
/// ```
pub struct TcpStream {
    io: Evented<net::TcpStream>,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers; tries one after the other.
    ///
    /// There is no limit of time but the system's, which is minutes.
    ///
    /// # Cancellation
    /// The attempt is given up and its socket closed.
    ///
    /// # Errors
    /// That of the last address, or of the lookup.
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let resolving = addr::resolve(&addr);
        let mut last = None;
        for addr in resolving.await? {
            // A system without IPv6, say, may still have the next address.
            let attempt = match TcpSocket::for_addr(addr) {
                Ok(socket) => socket.connect(addr).await,
                Err(error) => Err(error),
            };
            match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(addr::none))
    }

    pub(super) fn from_socket(socket: Socket, shown: bool) -> TcpStream {
        TcpStream { io: Evented::with(socket.into(), shown) }
    }

    /// Waits until a connection that was begun is there or has failed.
    pub(super) async fn established(&self) -> io::Result<()> {
        // The first look is before the wait: to a listener on the same machine the connection is there already.
        self.io.io(Direction::Write, sys::connected).await
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
    ///
    /// ```
    /// # use runtime::net::{TcpListener, TcpStream};
    /// # fn main() -> std::io::Result<()> { runtime::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = server.into_split();
    /// let copier = runtime::spawn(async move {
    ///     let mut buf = [0; 64];
    ///     loop {
    ///         match reader.read(&mut buf).await? {
    ///             0 => return std::io::Result::Ok(()),
    ///             n => writer.write_all(&buf[..n]).await?,
    ///         }
    ///     }
    /// });
    /// client.write_all(b"echo").await?;
    /// client.shutdown().await?;
    /// let mut echo = Vec::new();
    /// client.read_to_end(&mut echo).await?;
    /// assert_eq!(echo, b"echo");
    /// copier.await?
    /// # }) }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(self)
    }

    /// Takes a stream of std, and sets its non-blocking mode, which others that hold duplicates of it share.
    ///
    /// # Errors
    /// If the mode cannot be set.
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream { io: Evented::foreign(stream) })
    }

    /// Gives the stream as std knows it, still in non-blocking mode.
    ///
    /// # Errors
    /// None at present.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
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

    /// Takes the error that the system keeps for the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.get_ref().take_error()
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// Those of the system.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.get_ref().nodelay()
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`), instead of being collected.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.get_ref().set_nodelay(nodelay)
    }

    /// How many hops a packet may make.
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Sets how many hops a packet may make.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }

    /// For how long the system goes on to deliver after the stream was closed, if that is limited.
    ///
    /// # Errors
    /// Those of the system.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.io.get_ref()).linger()
    }

    /// Limits for how long the system goes on to deliver after the stream was closed (`SO_LINGER`).
    ///
    /// Zero makes the drop reset the connection at once, and drop what was not delivered. Anything else makes the drop
    /// block the thread for up to that time, which a task should never do; the system counts whole seconds, and a part of
    /// one counts as one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        linger::set(&SockRef::from(self.io.get_ref()), linger)
    }

    /// Whether acknowledgements are sent at once.
    ///
    /// # Errors
    /// Those of the system.
    #[cfg(target_os = "linux")]
    pub fn quickack(&self) -> io::Result<bool> {
        SockRef::from(self.io.get_ref()).tcp_quickack()
    }

    /// Sets whether acknowledgements are sent at once (`TCP_QUICKACK`); the system may change it again.
    ///
    /// # Errors
    /// Those of the system.
    #[cfg(target_os = "linux")]
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        SockRef::from(self.io.get_ref()).set_tcp_quickack(quickack)
    }
}

impl ByteStream for TcpStream {
    type Io = net::TcpStream;
    type Calls = Sockets;
    const SHORT_READ_DRAINS: bool = true;

    fn evented(&self) -> &Evented<net::TcpStream> {
        &self.io
    }
}

socket_impls!(TcpStream, net::TcpStream);

const _: () = {
    const fn shared<T: Send + Sync + Unpin>() {}
    shared::<TcpStream>();
};
