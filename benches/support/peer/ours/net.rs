//! The sockets of this repository.

use std::io;
use std::net::SocketAddr;

use hyper_util::server::graceful::GracefulShutdown;
use runtime::compat::hyper::{Executor, Timer};
use runtime::net::{TcpListener, TcpStream, UdpSocket};

use super::Ours;
use crate::peer::net::{LOOPBACK, Net};
use crate::serve;

impl Net for Ours {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type HyperStream = TcpStream;
    type Datagrams = UdpSocket;

    async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(LOOPBACK).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        Ok(stream)
    }

    async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer).await
    }

    async fn write_all(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        stream.write_all(bytes).await
    }

    fn for_hyper(stream: TcpStream) -> TcpStream {
        stream
    }

    fn http(stream: TcpStream, all: &GracefulShutdown) -> impl Future<Output = ()> + Send + 'static {
        let _ = stream.set_nodelay(true);
        serve::http!(stream, Executor::new(), Timer::new(), all)
    }

    async fn datagram_pair() -> io::Result<(UdpSocket, UdpSocket)> {
        let one = UdpSocket::bind(LOOPBACK).await?;
        let other = UdpSocket::bind(LOOPBACK).await?;
        one.connect(other.local_addr()?).await?;
        other.connect(one.local_addr()?).await?;
        Ok((one, other))
    }

    async fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<usize> {
        socket.send(bytes).await
    }

    async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
        socket.recv(buffer).await
    }
}
