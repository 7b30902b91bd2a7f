//! Messages within one machine.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{path_addr, sock_addr};
use crate::io::stream::QUIET;
use crate::io::{Again, Evented};
use crate::loom::lock::Mutex;
use crate::net::methods::{io_methods, message_methods, socket_impls};
use crate::net::sys;

/// How long a sender waits for a receiver that has no room and that it names, until it tries again.
const FULL: Duration = Duration::from_millis(2);

/// A Unix socket that carries messages: none is lost and they stay in order.
///
/// A receiver that is slow makes its senders wait. The system tells a sender of room only if it is
/// [connected](Self::connect) to the receiver; one that names it ([`send_to`](Self::send_to)) asks every two milliseconds,
/// and the others that it sends to do not wait for that. Everything takes a shared reference. Dropping it leaves the file of a
/// bound socket where it is.
///
/// ```
/// use runtime::net::unix::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let (one, other) = UnixDatagram::pair()?;
/// one.send(b"hello").await?;
/// one.send(b"world").await?;
/// let mut buf = [0; 16];
/// assert_eq!(other.recv(&mut buf).await?, 5);
/// assert_eq!(&buf[..5], b"hello");
/// # Ok(()) }) }
/// ```
pub struct UnixDatagram {
    io: Evented<net::UnixDatagram>,
    /// Of the last caller of [`poll_send_to`](Self::poll_send_to) that waits.
    again: LastCaller,
}

struct LastCaller(Mutex<Option<(Waker, Again)>>);

impl LastCaller {
    // Wakers are cloned and dropped out of the lock: they are others' code.

    fn replace(&self, waker: &Waker, again: Again) {
        let last = (waker.clone(), again);
        let before = self.0.lock().replace(last);
        drop(before);
    }

    /// It need not be woken any more, if it is this one.
    fn forget(&self, waker: &Waker) {
        let gone = self.0.lock().take_if(|(last, _)| last.will_wake(waker));
        drop(gone);
    }
}

impl UnixDatagram {
    /// A socket at a path, where no file may be.
    ///
    /// # Errors
    /// Those of the system; `AddrInUse` if there is a file.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_to(&path_addr(path)?)
    }

    /// A socket at an address, which may be an abstract name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_to(&sock_addr(addr)?)
    }

    fn bind_to(addr: &SockAddr) -> io::Result<UnixDatagram> {
        let socket = sys::socket(Domain::UNIX, Type::DGRAM)?;
        socket.bind(addr)?;
        Ok(UnixDatagram::from_socket(socket))
    }

    fn over(io: Evented<net::UnixDatagram>) -> UnixDatagram {
        UnixDatagram { io, again: LastCaller(Mutex::new(None)) }
    }

    fn from_socket(socket: Socket) -> UnixDatagram {
        UnixDatagram::over(Evented::new(socket.into()))
    }

    /// A socket without an address, which nobody can answer.
    ///
    /// # Errors
    /// Those of the system.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Ok(UnixDatagram::from_socket(sys::socket(Domain::UNIX, Type::DGRAM)?))
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    /// Those of the system.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = sys::pair(Type::DGRAM)?;
        Ok((UnixDatagram::from_socket(one), UnixDatagram::from_socket(other)))
    }

    /// Says whom [`send`](Self::send) sends to.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        SockRef::from(self.io.get_ref()).connect(&path_addr(path)?)
    }

    /// Says whom [`send`](Self::send) sends to; the address may be an abstract name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        SockRef::from(self.io.get_ref()).connect(&sock_addr(addr)?)
    }

    message_methods!(SocketAddr);
    io_methods!();

    /// Sends a message to the socket at a path.
    ///
    /// # Cancellation
    /// A cancelled send has sent nothing.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let addr = path_addr(path)?;
        let mut again = Again::after(FULL);
        poll_fn(|cx| self.io.poll_again(cx, &mut again, |io| send_to(io, buf, &addr))).await
    }

    /// Sends a message to the socket at an address, which may be an abstract name.
    ///
    /// # Cancellation
    /// A cancelled send has sent nothing.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        let addr = sock_addr(addr)?;
        let mut again = Again::after(FULL);
        poll_fn(|cx| self.io.poll_again(cx, &mut again, |io| send_to(io, buf, &addr))).await
    }

    /// The same as [`send_to`](Self::send_to) by polling. Keeps the waker of the last caller that waits only.
    ///
    /// # Errors
    /// As for [`send_to`](Self::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        path: impl AsRef<Path>,
    ) -> Poll<io::Result<usize>> {
        let addr = path_addr(path)?;
        let mut again = Again::after(FULL);
        let sent = self.io.poll_again(cx, &mut again, |io| send_to(io, buf, &addr));
        // One that does not wait leaves another that does alone.
        if again.is_set() {
            self.again.replace(cx.waker(), again);
        } else if sent.is_ready() {
            self.again.forget(cx.waker());
        }
        sent
    }

    /// The same as [`send_to`](Self::send_to) without waiting.
    ///
    /// [`writable`](Self::writable) does not wait for room at a receiver that is named here: the system does not tell of it.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; as for [`send_to`](Self::send_to).
    pub fn try_send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let addr = path_addr(path)?;
        self.io.try_blindly(|io| send_to(io, buf, &addr))
    }

    /// Ends the receiving, the sending or both.
    ///
    /// # Errors
    /// Those of the system.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }

    /// Takes a socket of std, and sets its non-blocking mode, which others that hold duplicates of it share.
    ///
    /// # Errors
    /// If the mode cannot be set.
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        socket.set_nonblocking(true)?;
        Ok(UnixDatagram::over(Evented::foreign(socket)))
    }

    /// Gives the socket as std knows it, still in non-blocking mode.
    ///
    /// # Errors
    /// None at present.
    pub fn into_std(self) -> io::Result<net::UnixDatagram> {
        Ok(self.io.into_inner())
    }
}

fn send(io: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(io, buf, QUIET)?)
}

fn send_to(io: &impl AsFd, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
    SockRef::from(io).send_to_with_flags(buf, addr, QUIET.bits() as i32)
}

socket_impls!(UnixDatagram, net::UnixDatagram);

const _: () = {
    const fn shared<T: Send + Sync + Unpin>() {}
    shared::<UnixDatagram>();
};
