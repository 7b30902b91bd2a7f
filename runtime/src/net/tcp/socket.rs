//! A TCP socket that is neither a listener nor a stream yet, for options that have to be set before.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use super::{TcpListener, TcpStream, linger};
use crate::net::sys;

/// A TCP socket before it listens or connects.
///
/// ```
/// use runtime::net::TcpSocket;
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(128)?;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_nodelay(true)?;
/// let stream = socket.connect(listener.local_addr()?).await?;
/// assert!(stream.nodelay()?);
/// # Ok(()) }) }
/// ```
pub struct TcpSocket {
    socket: Socket,
    /// Somebody may have another descriptor of it.
    ///
    /// ORDERING: Relaxed, whoever makes it a stream has seen who could have made one.
    shown: AtomicBool,
}

/// An option: how to read it and how to set it.
macro_rules! options {
    ($($(#[$attr:meta])* $get:ident, $set:ident: $ty:ty => $inner_get:ident, $inner_set:ident, $what:literal;)*) => {$(
        #[doc = concat!("Reads ", $what, ".")]
        ///
        /// # Errors
        /// Those of the system.
        $(#[$attr])*
        pub fn $get(&self) -> io::Result<$ty> {
            self.socket.$inner_get()
        }

        #[doc = concat!("Sets ", $what, ".")]
        ///
        /// # Errors
        /// Those of the system.
        $(#[$attr])*
        pub fn $set(&self, value: $ty) -> io::Result<()> {
            self.socket.$inner_set(value)
        }
    )*};
}

impl TcpSocket {
    fn over(socket: Socket) -> Self {
        TcpSocket { socket, shown: AtomicBool::new(false) }
    }

    /// A socket for IPv4.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new_v4() -> io::Result<TcpSocket> {
        Ok(TcpSocket::over(sys::socket(Domain::IPV4, Type::STREAM)?))
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new_v6() -> io::Result<TcpSocket> {
        Ok(TcpSocket::over(sys::socket(Domain::IPV6, Type::STREAM)?))
    }

    pub(super) fn for_addr(addr: SocketAddr) -> io::Result<TcpSocket> {
        Ok(TcpSocket::over(sys::socket(Domain::for_address(addr), Type::STREAM)?))
    }

    /// Takes a socket of std that is not connected, whatever std calls it, and sets its non-blocking mode.
    ///
    /// # Errors
    /// If the mode cannot be set.
    pub fn from_std_stream(stream: net::TcpStream) -> io::Result<TcpSocket> {
        stream.set_nonblocking(true)?;
        Ok(TcpSocket { socket: stream.into(), shown: AtomicBool::new(true) })
    }

    /// Gives the socket an address.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.socket.bind(&addr.into())
    }

    /// Connects, and makes it a stream.
    ///
    /// # Cancellation
    /// The attempt is given up and the socket closed.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        let begun = self.socket.connect(&addr.into());
        let stream = TcpStream::from_socket(self.socket, self.shown.into_inner());
        match begun {
            Ok(()) => Ok(stream),
            Err(error) if sys::is_in_progress(&error) => {
                stream.established().await?;
                Ok(stream)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes it a listener, with room for `backlog` connections that nobody has accepted yet.
    ///
    /// # Errors
    /// Those of the system.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::from_socket(self.socket, self.shown.into_inner()))
    }

    /// The address that it was bound to.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Takes the error that the system keeps for the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    options! {
        reuseaddr, set_reuseaddr: bool => reuse_address, set_reuse_address,
            "whether an address may be bound that a closed connection still uses (`SO_REUSEADDR`)";
        #[cfg(not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))]
        reuseport, set_reuseport: bool => reuse_port, set_reuse_port,
            "whether several sockets may be bound to one address (`SO_REUSEPORT`)";
        keepalive, set_keepalive: bool => keepalive, set_keepalive,
            "whether a silent connection is probed (`SO_KEEPALIVE`)";
        nodelay, set_nodelay: bool => tcp_nodelay, set_tcp_nodelay,
            "whether small writes are sent at once (`TCP_NODELAY`)";
        tos_v4, set_tos_v4: u32 => tos_v4, set_tos_v4,
            "the type of service of IPv4 packets (`IP_TOS`)";
        #[cfg(target_os = "linux")]
        tclass_v6, set_tclass_v6: u32 => tclass_v6, set_tclass_v6,
            "the traffic class of IPv6 packets (`IPV6_TCLASS`)";
        ttl, set_ttl: u32 => ttl_v4, set_ttl_v4,
            "how many hops an IPv4 packet may make (`IP_TTL`)";
        only_v6, set_only_v6: bool => only_v6, set_only_v6,
            "whether an IPv6 socket leaves IPv4 to others (`IPV6_V6ONLY`)";
    }

    /// Reads for how long the system goes on to deliver after the close, if that is limited (`SO_LINGER`).
    ///
    /// # Errors
    /// Those of the system.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.linger()
    }

    /// Sets for how long the system goes on to deliver after the close, as [`TcpStream::set_linger`] does.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        linger::set(&SockRef::from(&self.socket), linger)
    }

    /// Sets how a silent connection is probed: after how much time, how often, how many times.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runtime::net::TcpSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_keepalive_times(Some(Duration::from_secs(60)), Some(Duration::from_secs(5)), Some(3))?;
    /// assert!(socket.keepalive()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the system.
    #[cfg(target_os = "linux")]
    pub fn set_keepalive_times(
        &self,
        idle: Option<Duration>,
        interval: Option<Duration>,
        retries: Option<u32>,
    ) -> io::Result<()> {
        let mut params = TcpKeepalive::new();
        if let Some(idle) = idle {
            params = params.with_time(idle);
        }
        if let Some(interval) = interval {
            params = params.with_interval(interval);
        }
        if let Some(retries) = retries {
            params = params.with_retries(retries);
        }
        self.socket.set_tcp_keepalive(&params)
    }

    /// How much the system keeps for a slow other side, in bytes; Linux doubles what was set.
    ///
    /// # Errors
    /// Those of the system.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        Ok(saturate(self.socket.send_buffer_size()?))
    }

    /// Sets how much the system keeps for a slow other side, in bytes (`SO_SNDBUF`).
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.socket.set_send_buffer_size(bytes as usize)
    }

    /// How much the system keeps for a slow reader here, in bytes; Linux doubles what was set.
    ///
    /// # Errors
    /// Those of the system.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        Ok(saturate(self.socket.recv_buffer_size()?))
    }

    /// Sets how much the system keeps for a slow reader here, in bytes (`SO_RCVBUF`).
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.socket.set_recv_buffer_size(bytes as usize)
    }

    /// The name of the interface that it is bound to.
    ///
    /// # Errors
    /// Those of the system.
    #[cfg(target_os = "linux")]
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        self.socket.device()
    }

    /// Binds the socket to an interface (`SO_BINDTODEVICE`), or to none.
    ///
    /// # Errors
    /// Those of the system; it takes a privilege.
    #[cfg(target_os = "linux")]
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        self.socket.bind_device(interface)
    }
}

fn saturate(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl TryFrom<OwnedFd> for TcpSocket {
    type Error = io::Error;

    /// As [`from_std_stream`](TcpSocket::from_std_stream) does.
    fn try_from(fd: OwnedFd) -> io::Result<TcpSocket> {
        TcpSocket::from_std_stream(fd.into())
    }
}

impl From<TcpSocket> for OwnedFd {
    /// Still in non-blocking mode.
    fn from(socket: TcpSocket) -> OwnedFd {
        socket.socket.into()
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shown.store(true, Ordering::Relaxed);
        self.socket.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.shown.store(true, Ordering::Relaxed);
        self.socket.as_raw_fd()
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpSocket").field("fd", &self.as_raw_fd()).finish()
    }
}
