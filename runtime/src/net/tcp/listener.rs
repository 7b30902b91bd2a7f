//! A socket that takes connections.

use std::io;
use std::net::{self, SocketAddr};
use std::task::{Context, Poll};

use socket2::{SockAddr, Socket};

use super::{TcpSocket, TcpStream};
use crate::io::{Direction, Evented};
use crate::net::methods::socket_impls;
use crate::net::{ToSocketAddrs, addr, sys};

/// A TCP socket that takes connections.
///
/// Any number of tasks may accept at a time; each connection goes to one of them. Dropping the listener closes it and
/// refuses the connections that nobody has accepted.
///
/// ```
/// use runtime::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (stream, address) = listener.accept().await?;
/// assert_eq!(address, client.local_addr()?);
/// assert_eq!(stream.peer_addr()?, address);
/// # Ok(()) }) }
/// ```
pub struct TcpListener {
    io: Evented<net::TcpListener>,
}

impl TcpListener {
    /// Listens at the first of the addresses that can be bound. Port 0 lets the system choose one.
    ///
    /// The address may be one that an earlier listener has just left (`SO_REUSEADDR`), and up to 1024 connections wait to
    /// be accepted. For other options there is [`TcpSocket`].
    ///
    /// # Errors
    /// That of the last address, or of the lookup.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        let resolving = addr::resolve(&addr);
        let mut last = None;
        for addr in resolving.await? {
            match TcpListener::bind_one(addr) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(addr::none))
    }

    fn bind_one(addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::for_addr(addr)?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(sys::BACKLOG as u32)
    }

    pub(super) fn from_socket(socket: Socket, shown: bool) -> TcpListener {
        TcpListener { io: Evented::with(socket.into(), shown) }
    }

    /// Takes the next connection, with the address of its other side.
    ///
    /// A connection that its client gave up before is passed over. If the process or the system has no descriptors or no
    /// memory left that is an error; the next call then waits for 10 ms, so that a loop that goes on after errors makes at
    /// most 100 attempts a second, and finds the connection once there is room.
    ///
    /// # Cancellation
    /// Nothing is lost: the connection goes to the next one who accepts.
    ///
    /// # Errors
    /// Those of the system, which say nothing of the listener: a server should go on. If the runtime that watches the
    /// listener was shut down.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.io.io(Direction::Read, sys::accept).await;
        self.finish(accepted)
    }

    /// The same by polling. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.io.poll_io(cx, Direction::Read, sys::accept).map(|accepted| self.finish(accepted))
    }

    fn finish(&self, accepted: io::Result<(Socket, SockAddr)>) -> io::Result<(TcpStream, SocketAddr)> {
        match accepted {
            Ok((socket, addr)) => {
                let addr = addr.as_socket().ok_or(io::ErrorKind::InvalidData)?;
                Ok((TcpStream::from_socket(socket, false), addr))
            }
            Err(error) => {
                if sys::is_exhaustion(&error) {
                    self.io.throttle();
                }
                Err(error)
            }
        }
    }

    /// Takes a listener of std, and sets its non-blocking mode.
    ///
    /// ```
    /// use runtime::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> { runtime::block_on(async {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = TcpListener::from_std(listener)?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// If the mode cannot be set.
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener { io: Evented::foreign(listener) })
    }

    /// Gives the listener as std knows it, still in non-blocking mode.
    ///
    /// # Errors
    /// None at present.
    pub fn into_std(self) -> io::Result<net::TcpListener> {
        Ok(self.io.into_inner())
    }

    /// The address that it listens at, with the port that the system chose.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// Takes the error that the system keeps for the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.get_ref().take_error()
    }

    /// How many hops a packet of a connection may make.
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Sets how many hops a packet of a connection may make.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }
}

socket_impls!(TcpListener, net::TcpListener);

const _: () = {
    const fn shared<T: Send + Sync + Unpin>() {}
    shared::<TcpListener>();
};
