//! A socket that takes connections from the same machine.

use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::task::{Context, Poll};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{UnixStream, path_addr, sock_addr, std_addr};
use crate::io::{Direction, Evented};
use crate::net::methods::socket_impls;
use crate::net::sys;

/// A Unix socket that takes connections.
///
/// Dropping it closes it and leaves its file where it is; who binds the path again has to remove that first.
///
/// ```
/// use runtime::net::unix::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let path = std::env::temp_dir().join(format!("listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path).await?;
/// let (server, _) = listener.accept().await?;
/// std::fs::remove_file(&path)?;
/// server.write_all(b"hello").await?;
/// let mut buf = [0; 5];
/// client.read_exact(&mut buf).await?;
/// assert_eq!(&buf, b"hello");
/// # Ok(()) }) }
/// ```
pub struct UnixListener {
    io: Evented<net::UnixListener>,
}

impl UnixListener {
    /// Listens at a path, where no file may be.
    ///
    /// # Errors
    /// Those of the system; `AddrInUse` if there is a file.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_to(&path_addr(path)?)
    }

    /// Listens at an address, which may be an abstract name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_to(&sock_addr(addr)?)
    }

    fn bind_to(addr: &SockAddr) -> io::Result<UnixListener> {
        let socket = sys::socket(Domain::UNIX, Type::STREAM)?;
        socket.bind(addr)?;
        socket.listen(sys::BACKLOG)?;
        Ok(UnixListener { io: Evented::new(socket.into()) })
    }

    /// Takes the next connection, with the address of its other side, which is mostly unnamed.
    ///
    /// As with [`TcpListener::accept`](crate::net::TcpListener::accept), the call after one that found no descriptors or
    /// no memory waits for 10 ms.
    ///
    /// # Cancellation
    /// Nothing is lost: the connection goes to the next one who accepts.
    ///
    /// # Errors
    /// Those of the system, which say nothing of the listener: a server should go on. If the runtime that watches the
    /// listener was shut down.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let accepted = self.io.io(Direction::Read, sys::accept).await;
        self.finish(accepted)
    }

    /// The same by polling. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.io.poll_io(cx, Direction::Read, sys::accept).map(|accepted| self.finish(accepted))
    }

    fn finish(&self, accepted: io::Result<(Socket, SockAddr)>) -> io::Result<(UnixStream, SocketAddr)> {
        match accepted {
            Ok((socket, addr)) => {
                let stream = UnixStream::from_socket(socket);
                // A path may fill all the room that there is, without an end; std can read it all the same.
                let addr = std_addr(&addr).or_else(|_| stream.peer_addr())?;
                Ok((stream, addr))
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
    /// # Errors
    /// If the mode cannot be set.
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener { io: Evented::foreign(listener) })
    }

    /// Gives the listener as std knows it, still in non-blocking mode.
    ///
    /// # Errors
    /// None at present.
    pub fn into_std(self) -> io::Result<net::UnixListener> {
        Ok(self.io.into_inner())
    }

    /// The address that it listens at.
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
}

socket_impls!(UnixListener, net::UnixListener);

const _: () = {
    const fn shared<T: Send + Sync + Unpin>() {}
    shared::<UnixListener>();
};
