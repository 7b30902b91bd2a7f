//! Messages over UDP.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use socket2::{Domain, SockRef, Type};

use super::methods::{io_methods, message_methods, socket_impls};
use super::{ToSocketAddrs, addr, sys};
use crate::io::stream::QUIET;
use crate::io::{Direction, Evented};

/// A UDP socket.
///
/// Everything takes a shared reference, and any number of tasks may send and receive at a time; a message goes to one of
/// them. Messages may be lost, doubled or out of order, and one that is longer than the buffer is cut.
///
/// ```
/// use runtime::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let one = UdpSocket::bind("127.0.0.1:0").await?;
/// let other = UdpSocket::bind("127.0.0.1:0").await?;
/// one.send_to(b"hello", other.local_addr()?).await?;
/// let mut buf = [0; 1500];
/// let (len, from) = other.recv_from(&mut buf).await?;
/// assert_eq!((&buf[..len], from), (&b"hello"[..], one.local_addr()?));
/// # Ok(()) }) }
/// ```
pub struct UdpSocket {
    io: Evented<net::UdpSocket>,
}

impl UdpSocket {
    /// Takes the first of the addresses that can be bound. Port 0 lets the system choose one.
    ///
    /// # Errors
    /// That of the last address, or of the lookup.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        let resolving = addr::resolve(&addr);
        let mut last = None;
        for addr in resolving.await? {
            match UdpSocket::bind_one(addr) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(addr::none))
    }

    fn bind_one(addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = sys::socket(Domain::for_address(addr), Type::DGRAM)?;
        socket.bind(&addr.into())?;
        Ok(UdpSocket { io: Evented::new(socket.into()) })
    }

    /// Says whom [`send`](Self::send) sends to, and refuses messages from others; the first address that works.
    ///
    /// Nothing is sent: whether somebody is there shows at a later call.
    ///
    /// # Errors
    /// That of the last address, or of the lookup.
    pub async fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        let resolving = addr::resolve(&addr);
        let mut last = None;
        for addr in resolving.await? {
            match self.io.get_ref().connect(addr) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(addr::none))
    }

    message_methods!(SocketAddr);
    io_methods!();

    /// Sends a message to the first of the addresses.
    ///
    /// # Cancellation
    /// A cancelled send has sent nothing.
    ///
    /// # Errors
    /// Those of the system, and of the lookup.
    pub async fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], target: A) -> io::Result<usize> {
        let addr = addr::resolve(&target).await?.next().ok_or_else(addr::none)?;
        self.io.io(Direction::Write, |io| io.send_to(buf, addr)).await
    }

    /// The same by polling. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// Those of the system.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_io(cx, Direction::Write, |io| io.send_to(buf, target))
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; those of the system.
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.io.try_io(Direction::Write, |io| io.send_to(buf, target))
    }

    /// Receives a message and leaves it where it is.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.io(Direction::Read, |io| io.peek(buf)).await
    }

    /// The same by polling. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_io(cx, Direction::Read, |io| io.peek(buf))
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is no message; as for [`recv`](Self::recv).
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_io(Direction::Read, |io| io.peek(buf))
    }

    /// Receives a message, says who sent it, and leaves it where it is.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.io(Direction::Read, |io| io.peek_from(buf)).await
    }

    /// The same by polling. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.io.poll_io(cx, Direction::Read, |io| io.peek_from(buf))
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is no message; as for [`recv`](Self::recv).
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Direction::Read, |io| io.peek_from(buf))
    }

    /// Takes a socket of std, and sets its non-blocking mode, which others that hold duplicates of it share.
    ///
    /// # Errors
    /// If the mode cannot be set.
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(UdpSocket { io: Evented::foreign(socket) })
    }

    /// Gives the socket as std knows it, still in non-blocking mode.
    ///
    /// # Errors
    /// None at present.
    pub fn into_std(self) -> io::Result<net::UdpSocket> {
        Ok(self.io.into_inner())
    }

    /// Joins a group of IPv4 on the interface with this address; `0.0.0.0` lets the system choose.
    ///
    /// # Errors
    /// Those of the system.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.get_ref().join_multicast_v4(&group, &interface)
    }

    /// Leaves a group of IPv4.
    ///
    /// # Errors
    /// Those of the system.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.get_ref().leave_multicast_v4(&group, &interface)
    }

    /// Joins a group of IPv6 on the interface with this index; 0 lets the system choose.
    ///
    /// # Errors
    /// Those of the system.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.get_ref().join_multicast_v6(group, interface)
    }

    /// Leaves a group of IPv6.
    ///
    /// # Errors
    /// Those of the system.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.get_ref().leave_multicast_v6(group, interface)
    }
}

/// The system takes an `int`, which a greater number would be cut to; Linux cuts this one to what it allows.
const MOST: usize = i32::MAX as usize;

/// An option: how to read it and how to set it.
macro_rules! options {
    ($($(#[$attr:meta])*
    $get:ident, $set:ident: $ty:ty $(, up to $most:expr)? => $inner_get:ident, $inner_set:ident, $what:literal;)*) => {
        impl UdpSocket {$(
            #[doc = concat!("Reads ", $what, ".")]
            ///
            /// # Errors
            /// Those of the system.
            $(#[$attr])*
            pub fn $get(&self) -> io::Result<$ty> {
                SockRef::from(self.io.get_ref()).$inner_get()
            }

            #[doc = concat!("Sets ", $what, ".")]
            ///
            /// # Errors
            /// Those of the system.
            $(#[$attr])*
            pub fn $set(&self, value: $ty) -> io::Result<()> {
                $(let value = value.min($most);)?
                SockRef::from(self.io.get_ref()).$inner_set(value)
            }
        )*}
    };
}

options! {
    broadcast, set_broadcast: bool => broadcast, set_broadcast,
        "whether messages may go to a broadcast address (`SO_BROADCAST`)";
    multicast_loop_v4, set_multicast_loop_v4: bool => multicast_loop_v4, set_multicast_loop_v4,
        "whether messages to an IPv4 group come back to this machine (`IP_MULTICAST_LOOP`)";
    multicast_ttl_v4, set_multicast_ttl_v4: u32 => multicast_ttl_v4, set_multicast_ttl_v4,
        "how many hops a message to an IPv4 group may make (`IP_MULTICAST_TTL`)";
    multicast_loop_v6, set_multicast_loop_v6: bool => multicast_loop_v6, set_multicast_loop_v6,
        "whether messages to an IPv6 group come back to this machine (`IPV6_MULTICAST_LOOP`)";
    ttl, set_ttl: u32 => ttl_v4, set_ttl_v4,
        "how many hops an IPv4 message may make (`IP_TTL`)";
    tos_v4, set_tos_v4: u32 => tos_v4, set_tos_v4,
        "the type of service of IPv4 messages (`IP_TOS`)";
    #[cfg(target_os = "linux")]
    tclass_v6, set_tclass_v6: u32 => tclass_v6, set_tclass_v6,
        "the traffic class of IPv6 messages (`IPV6_TCLASS`)";
    send_buffer_size, set_send_buffer_size: usize, up to MOST => send_buffer_size, set_send_buffer_size,
        "how much the system keeps of what was sent, in bytes, of which Linux sets the double (`SO_SNDBUF`)";
    recv_buffer_size, set_recv_buffer_size: usize, up to MOST => recv_buffer_size, set_recv_buffer_size,
        "how much the system keeps until it is received, in bytes, of which Linux sets the double (`SO_RCVBUF`)";
}

#[cfg(target_os = "linux")]
impl UdpSocket {
    /// The name of the interface that it is bound to.
    ///
    /// # Errors
    /// Those of the system.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        SockRef::from(self.io.get_ref()).device()
    }

    /// Binds the socket to an interface (`SO_BINDTODEVICE`), or to none.
    ///
    /// # Errors
    /// Those of the system; it takes a privilege.
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        SockRef::from(self.io.get_ref()).bind_device(interface)
    }
}

fn send(io: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(io, buf, QUIET)?)
}

socket_impls!(UdpSocket, net::UdpSocket);

const _: () = {
    const fn shared<T: Send + Sync + Unpin>() {}
    shared::<UdpSocket>();
};
