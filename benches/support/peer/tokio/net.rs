//! tokio's sockets.

use std::io;
use std::net::SocketAddr;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;

use super::Tokio;
use crate::peer::net::{LOOPBACK, Net};
use crate::serve;

impl Net for Tokio {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type HyperStream = TokioIo<TcpStream>;
    type Datagrams = UdpSocket;

    fn start_with_drivers(workers: usize) -> Self {
        let mut builder = Builder::new_multi_thread();
        Tokio(builder.worker_threads(workers).enable_all().build().expect("tokio starts"))
    }

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

    fn for_hyper(stream: TcpStream) -> TokioIo<TcpStream> {
        TokioIo::new(stream)
    }

    fn http(stream: TcpStream, all: &GracefulShutdown) -> impl Future<Output = ()> + Send + 'static {
        let _ = stream.set_nodelay(true);
        serve::http!(TokioIo::new(stream), TokioExecutor::new(), TokioTimer::new(), all)
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
