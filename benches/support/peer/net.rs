//! A peer's sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hyper_util::server::graceful::GracefulShutdown;

use super::Peer;

/// Any port of the loopback interface.
pub(super) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A runtime that can run the workloads with sockets.
pub trait Net: Peer {
    /// A listening TCP socket.
    type Listener: Send + 'static;
    /// A TCP connection.
    type Stream: Send + 'static;
    /// A connection as hyper wants it.
    type HyperStream: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static;
    /// A UDP socket that is connected to another.
    type Datagrams: Send + Sync + 'static;

    /// Starts a runtime as [`Peer::start`] does, with its drivers for I/O and time.
    fn start_with_drivers(workers: usize) -> Self {
        Self::start(workers)
    }

    /// Listens on a free port of the loopback interface.
    fn listen() -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;

    /// Takes the next connection. Its options are those it was born with.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Reads what is there, or waits for something; 0 at the end.
    fn read(stream: &mut Self::Stream, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;

    /// Writes all of `bytes`.
    fn write_all(stream: &mut Self::Stream, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Wraps a connection in what hyper's documentation, or the peer's, says to use.
    fn for_hyper(stream: Self::Stream) -> Self::HyperStream;

    /// Serves a connection as the example `http` does, with this peer's clock and tasks, until its client leaves.
    fn http(stream: Self::Stream, all: &GracefulShutdown) -> impl Future<Output = ()> + Send + 'static;

    /// Two UDP sockets, each connected to the other.
    fn datagram_pair() -> impl Future<Output = io::Result<(Self::Datagrams, Self::Datagrams)>> + Send;

    /// Sends one datagram.
    fn send(socket: &Self::Datagrams, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;

    /// Receives one datagram.
    fn receive(socket: &Self::Datagrams, buffer: &mut [u8])
    -> impl Future<Output = io::Result<usize>> + Send;
}
