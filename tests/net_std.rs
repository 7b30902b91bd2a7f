//! Sockets of std become ours and never block, in whatever mode they come.

use std::net;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as unix_net;
use std::pin::pin;

use runtime::net::unix::{UnixDatagram, UnixListener, UnixStream};
use runtime::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use runtime_tests::{on_each, poll_once};
use rustix::fs::{OFlags, fcntl_getfl};

/// True if no call on the descriptor waits.
fn is_nonblocking(fd: &impl AsFd) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

/// Begins a wait on the socket for what never comes: in blocking mode the poll would not return.
async fn never_blocks<T>(socket: &impl AsFd, wait: impl Future<Output = T>) {
    assert!(is_nonblocking(socket));
    assert!(poll_once(pin!(wait)).await.is_pending());
}

#[test]
fn a_tcp_socket_of_std_that_blocks_is_made_one_that_does_not() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let client = net::TcpStream::connect(addr).unwrap();
            let (_server, _) = listener.accept().unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            never_blocks(&listener, listener.accept()).await;
            let client = TcpStream::from_std(client).unwrap();
            never_blocks(&client, client.read(&mut [0; 1])).await;

            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let socket = TcpSocket::from_std_stream(socket.into()).unwrap();
            let client = socket.connect(addr).await.unwrap();
            never_blocks(&client, client.read(&mut [0; 1])).await;
        });
    });
}

#[test]
fn a_udp_socket_of_std_that_blocks_is_made_one_that_does_not() {
    on_each(|rt| {
        rt.block_on(async {
            let socket = UdpSocket::from_std(net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            never_blocks(&socket, socket.recv(&mut [0; 1])).await;
        });
    });
}

#[test]
fn a_unix_socket_of_std_that_blocks_is_made_one_that_does_not() {
    on_each(|rt| {
        rt.block_on(async {
            let name = format!("runtime-std-{}-{}", std::process::id(), rt.handle().id());
            let name = unix_net::SocketAddr::from_abstract_name(name).unwrap();
            let listener = unix_net::UnixListener::bind_addr(&name).unwrap();
            let listener = UnixListener::from_std(listener).unwrap();
            never_blocks(&listener, listener.accept()).await;

            let (one, _other) = unix_net::UnixStream::pair().unwrap();
            let one = UnixStream::from_std(one).unwrap();
            never_blocks(&one, one.read(&mut [0; 1])).await;

            let (one, _other) = unix_net::UnixDatagram::pair().unwrap();
            let one = UnixDatagram::from_std(one).unwrap();
            never_blocks(&one, one.recv(&mut [0; 1])).await;
        });
    });
}
