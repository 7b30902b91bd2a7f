//! What goes wrong on the other side, or on the way, is an error; never a hang, never a signal, never a descriptor less.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use runtime::net::unix::UnixStream;
use runtime::net::{TcpListener, TcpStream, UdpSocket};
use runtime::time;
use runtime_tests::{alone, nobody, on_each, open_files_but_timers, poll_once, settle, tcp_pair};

/// Closes so that the other side is told of a reset, not of an end.
fn reset(stream: TcpStream) {
    stream.set_linger(Some(Duration::ZERO)).unwrap();
}

/// The errors of a connection that is gone.
fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Writes until there is no room.
fn fill(stream: &TcpStream) {
    while stream.try_write(&[0; 65_536]).is_ok() {}
}

#[test]
fn a_reset_is_an_error_of_the_write_that_waits() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            fill(&client);
            let mut writing = Box::pin(async move { client.write_all(&[0; 1 << 20]).await });
            assert!(poll_once(writing.as_mut()).await.is_pending());
            let writing = runtime::spawn(writing);
            reset(server);
            let error = writing.await.unwrap().unwrap_err();
            assert!(is_gone(error.kind()), "{error}");
        });
    });
}

#[test]
fn a_reset_is_an_error_of_the_read_that_waits() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let mut reading = Box::pin(async move { client.read(&mut [0; 8]).await });
            assert!(poll_once(reading.as_mut()).await.is_pending());
            let reading = runtime::spawn(reading);
            reset(server);
            assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
        });
    });
}

#[test]
fn a_reset_ends_everybody_who_waits_for_the_connection() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            fill(&client);
            let mut buf = [0; 8];
            {
                let mut reading = pin!(client.read(&mut buf));
                let mut writing = pin!(client.write_all(&[0; 1 << 20]));
                let mut waiting = pin!(client.readable());
                assert!(poll_once(reading.as_mut()).await.is_pending());
                assert!(poll_once(writing.as_mut()).await.is_pending());
                assert!(poll_once(waiting.as_mut()).await.is_pending());
                reset(server);
                // The system tells the error once; the other one learns that the connection is gone.
                assert!(is_gone(writing.await.unwrap_err().kind()));
                assert!(reading.await.map_or_else(|error| is_gone(error.kind()), |count| count == 0));
                waiting.await.unwrap();
            }
        });
    });
}

#[test]
fn a_client_that_resets_before_it_is_accepted_does_not_stop_the_listener() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            // Once before anybody waits, and once while somebody does.
            for waits in [false, true] {
                let mut accepting = Box::pin(listener.accept());
                if waits {
                    assert!(poll_once(accepting.as_mut()).await.is_pending());
                }
                let gone = TcpStream::connect(addr).await.unwrap();
                let gone_from = gone.local_addr().unwrap();
                reset(gone);
                let client = TcpStream::connect(addr).await.unwrap();
                let (mut server, mut from) = accepting.await.unwrap();
                if from == gone_from {
                    // Linux hands out what is reset already.
                    let error = server.read(&mut [0; 1]).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    (server, from) = listener.accept().await.unwrap();
                }
                assert_eq!(from, client.local_addr().unwrap());
                client.write_all(b"x").await.unwrap();
                assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 1);
            }
        });
    });
}

#[test]
fn refused_connections_leave_no_descriptor() {
    alone("net_faults::refused_connections_leave_no_descriptor", || {
        on_each(|rt| {
            rt.block_on(async {
                let (_socket, nobody) = nobody();
                let _ = TcpStream::connect(nobody).await;
                let before = open_files_but_timers();
                for _ in 0..100 {
                    let error = TcpStream::connect(nobody).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                }
                assert_eq!(open_files_but_timers(), before);
            });
        });
    });
}

/// A listener whose queue is full: whoever connects from here on waits.
async fn full_listener() -> (std::net::TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let listener: std::net::TcpListener = socket.into();
    let addr = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    loop {
        // Over the loopback a connection is made within the first call, or soon, or not for a second.
        match time::timeout(Duration::from_millis(50), TcpStream::connect(addr)).await {
            Ok(client) => clients.push(client.unwrap()),
            Err(_) => return (listener, addr, clients),
        }
        assert!(clients.len() < 100, "the queue has no end");
    }
}

#[test]
fn a_connect_that_is_dropped_in_the_middle_closes_its_socket() {
    alone("net_faults::a_connect_that_is_dropped_in_the_middle_closes_its_socket", || {
        on_each(|rt| {
            rt.block_on(async {
                let (_listener, addr, _clients) = full_listener().await;
                let (files, registered) =
                    (open_files_but_timers(), runtime::Handle::current().metrics().registered_objects());
                for _ in 0..10 {
                    let mut connecting = Box::pin(TcpStream::connect(addr));
                    assert!(poll_once(connecting.as_mut()).await.is_pending());
                    assert_eq!(open_files_but_timers(), files + 1);
                    drop(connecting);
                    assert_eq!(open_files_but_timers(), files);
                }
                assert_eq!(runtime::Handle::current().metrics().registered_objects(), registered);
            });
        });
    });
}

#[test]
fn a_task_that_is_cancelled_while_it_connects_closes_its_socket() {
    alone("net_faults::a_task_that_is_cancelled_while_it_connects_closes_its_socket", || {
        on_each(|rt| {
            rt.block_on(async {
                let (_listener, addr, _clients) = full_listener().await;
                let files = open_files_but_timers();
                let mut connecting = Box::pin(TcpStream::connect(addr));
                assert!(poll_once(connecting.as_mut()).await.is_pending());
                let task = runtime::spawn(connecting);
                settle().await;
                assert!(task.cancel_and_wait().await.unwrap_err().is_cancelled());
                assert_eq!(open_files_but_timers(), files);
            });
        });
    });
}

/// The default: a write that nobody can read kills the process.
#[expect(unsafe_code, reason = "std ignores the signal and has no call that ends that")]
fn let_broken_pipes_kill() {
    // SAFETY: SIG_DFL is no handler, so that nothing of ours runs in a signal.
    let old = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(old, libc::SIG_ERR);
}

#[test]
fn a_write_that_nobody_can_read_is_an_error_and_no_signal() {
    alone("net_faults::a_write_that_nobody_can_read_is_an_error_and_no_signal", || {
        let_broken_pipes_kill();
        on_each(|rt| {
            rt.block_on(async {
                let (client, server) = tcp_pair().await.unwrap();
                drop(server);
                let error = loop {
                    match client.write(b"to nobody").await {
                        // The answer to the first one is that there is nobody.
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert_eq!(client.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
                let parts = [std::io::IoSlice::new(b"x"), std::io::IoSlice::new(b"y")];
                assert_eq!(client.write_vectored(&parts).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
                assert_eq!(client.try_write_vectored(&parts).unwrap_err().kind(), ErrorKind::BrokenPipe);
                assert_eq!(client.write_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

                let (one, other) = UnixStream::pair().unwrap();
                drop(other);
                assert_eq!(one.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
                assert_eq!(one.write_vectored(&parts).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            });
        });
    });
}

#[test]
fn a_datagram_that_came_back_is_one_error_and_the_socket_goes_on() {
    // A process that another test is just starting has a copy of what is dropped here.
    alone("net_faults::a_datagram_that_came_back_is_one_error_and_the_socket_goes_on", || {
        on_each(|rt| {
            rt.block_on(async {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let addr = peer.local_addr().unwrap();
                socket.connect(addr).await.unwrap();
                drop(peer);
                let mut buf = [0; 8];
                {
                    let mut receiving = pin!(socket.recv(&mut buf));
                    assert!(poll_once(receiving.as_mut()).await.is_pending());
                    socket.send(b"to nobody").await.unwrap();
                    assert_eq!(receiving.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
                }
                let mut receiving = Box::pin(socket.recv(&mut buf));
                assert!(poll_once(receiving.as_mut()).await.is_pending(), "the error was told twice");
                let peer = UdpSocket::bind(addr).await.unwrap();
                peer.send_to(b"back", socket.local_addr().unwrap()).await.unwrap();
                assert_eq!(receiving.await.unwrap(), 4);
                assert_eq!(&buf[..4], b"back");
            });
        });
    });
}
