//! Sockets of std and descriptors become ours and never block, in whatever mode they come.

use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as unix_net;
use std::pin::pin;
use std::{io, net};

use runtime::Runtime;
use runtime::net::unix::{UnixDatagram, UnixListener, UnixStream};
use runtime::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use runtime_tests::{on_each, poll_once};
use rustix::fs::{OFlags, fcntl_getfl};

/// A name for a Unix socket that no other test of a runtime has.
fn abstract_name(rt: &Runtime) -> unix_net::SocketAddr {
    let name = format!("runtime-std-{}-{}", std::process::id(), rt.handle().id());
    unix_net::SocketAddr::from_abstract_name(name).unwrap()
}

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
            let name = abstract_name(&rt);
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

/// Makes a descriptor of the socket, in blocking mode, and a socket of that again.
fn there_and_back<S>(socket: S) -> S
where
    S: TryFrom<OwnedFd, Error = io::Error> + AsFd,
    OwnedFd: From<S>,
{
    let fd = OwnedFd::from(socket);
    assert!(is_nonblocking(&fd));
    rustix::io::ioctl_fionbio(&fd, false).unwrap();
    let socket = S::try_from(fd).unwrap();
    assert!(is_nonblocking(&socket));
    socket
}

#[test]
fn tcp_sockets_become_descriptors_and_sockets_again() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = there_and_back(TcpListener::bind("127.0.0.1:0").await.unwrap());
            let socket = there_and_back(TcpSocket::new_v4().unwrap());
            let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            // Watched before it leaves.
            client.writable().await.unwrap();
            never_blocks(&client, client.read(&mut [0; 1])).await;
            let client = there_and_back(client);
            never_blocks(&client, client.read(&mut [0; 1])).await;
            server.write_all(b"x").await.unwrap();
            assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 1);
        });
    });
}

#[test]
fn sockets_for_messages_and_unix_sockets_become_descriptors_and_sockets_again() {
    on_each(|rt| {
        rt.block_on(async {
            let socket = there_and_back(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            socket.send_to(b"x", socket.local_addr().unwrap()).await.unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 1);

            let (one, other) = UnixDatagram::pair().unwrap();
            one.send(b"x").await.unwrap();
            assert_eq!(there_and_back(other).recv(&mut [0; 8]).await.unwrap(), 1);

            let (one, other) = UnixStream::pair().unwrap();
            one.write_all(b"x").await.unwrap();
            assert_eq!(there_and_back(other).read(&mut [0; 8]).await.unwrap(), 1);

            let name = abstract_name(&rt);
            let listener = there_and_back(UnixListener::bind_addr(&name).unwrap());
            let _client = UnixStream::connect_addr(&name).await.unwrap();
            listener.accept().await.unwrap();
        });
    });
}
