//! TCP listeners, streams and sockets do what those of std do, without blocking.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use runtime::io::{Interest, Ready};
use runtime::net::{TcpListener, TcpSocket, TcpStream};
use runtime_tests::{
    PATIENCE, alone, multi, nobody, on_each, poll_once, settle, single, tcp_pair, waits, within,
};

#[test]
fn a_connection_carries_bytes_both_ways() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            client.write_all(b"ping").await.unwrap();
            let mut buf = [0; 4];
            server.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"ping");
            server.write_all(b"pong").await.unwrap();
            client.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"pong");
        });
    });
}

#[test]
fn a_read_waits_for_bytes() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let reading = runtime::spawn(async move {
                let mut buf = [0; 16];
                let count = server.read(&mut buf).await.unwrap();
                buf[..count].to_vec()
            });
            assert!(waits(&reading).await);
            client.write_all(b"late").await.unwrap();
            assert_eq!(reading.await.unwrap(), b"late");
        });
    });
}

#[test]
fn an_accept_waits_for_a_client() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let accepting = runtime::spawn(async move { listener.accept().await });
            assert!(waits(&accepting).await);
            let client = TcpStream::connect(addr).await.unwrap();
            let (server, from) = accepting.await.unwrap().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            assert_eq!(server.peer_addr().unwrap(), from);
            assert_eq!(client.peer_addr().unwrap(), addr);
        });
    });
}

#[test]
fn connecting_to_nobody_is_refused() {
    on_each(|rt| {
        let (_socket, addr) = nobody();
        let error = rt.block_on(TcpStream::connect(addr)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn every_address_is_tried_until_one_answers() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let ((_one, nobody1), (_two, nobody2)) = (nobody(), nobody());
            let stream = TcpStream::connect(&[nobody1, nobody2, addr][..]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addr);
        });
    });
}

#[test]
fn no_address_at_all_is_an_error() {
    let rt = single();
    let none: &[SocketAddr] = &[];
    assert_eq!(rt.block_on(TcpStream::connect(none)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(rt.block_on(TcpListener::bind(none)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_address_that_was_just_left_can_be_bound_again() {
    // A process that another test is just starting has a copy of what is dropped here.
    alone("net_tcp::an_address_that_was_just_left_can_be_bound_again", || {
        on_each(|rt| {
            rt.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                let client = TcpStream::connect(addr).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                // The side that closes first keeps the address in use for a while.
                drop(server);
                assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
                drop(client);
                drop(listener);
                assert_eq!(TcpListener::bind(addr).await.unwrap().local_addr().unwrap(), addr);
            });
        });
    });
}

#[test]
fn an_address_in_use_is_an_error() {
    let rt = single();
    rt.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = TcpListener::bind(listener.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn several_tasks_accept_at_one_listener_and_each_connection_goes_to_one() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
            let addr = listener.local_addr().unwrap();
            let accept = |listener: Arc<TcpListener>| async move {
                let mut from = Vec::new();
                for _ in 0..10 {
                    from.push(listener.accept().await.unwrap().1);
                }
                from
            };
            let tasks: Vec<_> = (0..4).map(|_| runtime::spawn(accept(listener.clone()))).collect();
            settle().await;
            let mut clients = Vec::new();
            for _ in 0..40 {
                clients.push(TcpStream::connect(addr).await.unwrap());
            }
            let mut accepted = HashSet::new();
            for task in tasks {
                accepted.extend(task.await.unwrap());
            }
            assert_eq!(accepted, clients.iter().map(|client| client.local_addr().unwrap()).collect());
        });
    });
}

#[test]
fn two_tasks_read_one_socket_and_each_byte_goes_to_one() {
    const BYTES: usize = 20_000;
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let server = Arc::new(server);
            let read = |server: Arc<TcpStream>| async move {
                let (mut sum, mut count, mut buf) = (0, 0, [0; 7]);
                loop {
                    match server.read(&mut buf).await.unwrap() {
                        0 => return (sum, count),
                        n => {
                            sum += buf[..n].iter().map(|byte| u64::from(*byte)).sum::<u64>();
                            count += n;
                        }
                    }
                }
            };
            let tasks = [runtime::spawn(read(server.clone())), runtime::spawn(read(server))];
            settle().await;
            let bytes: Vec<u8> = (0..BYTES).map(|n| n as u8).collect();
            client.write_all(&bytes).await.unwrap();
            drop(client);
            let (mut sum, mut count) = (0, 0);
            for task in tasks {
                let (more, n) = task.await.unwrap();
                sum += more;
                count += n;
            }
            assert_eq!((sum, count), (bytes.iter().map(|byte| u64::from(*byte)).sum(), BYTES));
        });
    });
}

#[test]
fn a_peek_leaves_the_bytes() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let server = Arc::new(server);
            let peeking = server.clone();
            let peek = runtime::spawn(async move { peeking.peek(&mut [0; 2]).await });
            assert!(waits(&peek).await);
            client.write_all(b"abc").await.unwrap();
            assert_eq!(peek.await.unwrap().unwrap(), 2);
            let mut buf = [0; 3];
            assert!(server.peek(&mut buf).await.unwrap() > 0);
            server.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"abc");
            // And it waits again when there is nothing.
            let again = runtime::spawn(async move { server.peek(&mut [0; 1]).await });
            assert!(waits(&again).await);
            drop(client);
            assert_eq!(again.await.unwrap().unwrap(), 0);
        });
    });
}

#[test]
fn trying_without_bytes_or_room_would_block() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            assert_eq!(server.try_read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let mut written = 0;
            loop {
                match client.try_write(&[1; 65_536]) {
                    Ok(count) => written += count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        break;
                    }
                }
            }
            let client = Arc::new(client);
            let waiting = client.clone();
            let room = runtime::spawn(async move { waiting.writable().await });
            let mut read = 0;
            while read < written {
                server.readable().await.unwrap();
                match server.try_read(&mut [0; 65_536]) {
                    Ok(count) => read += count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            room.await.unwrap().unwrap();
            assert!(client.try_write(&[1]).is_ok());
        });
    });
}

#[test]
fn a_try_before_the_first_event_asks_the_system() {
    single().block_on(async {
        let (_client, server) = tcp_pair().await.unwrap();
        let mut buf = [0; 1];
        let mut reading = pin!(server.read(&mut buf));
        // It is watched from now on, and nobody has looked for events.
        assert!(poll_once(reading.as_mut()).await.is_pending());
        assert_eq!(server.try_write(b"x").unwrap(), 1);
    });
}

#[test]
fn buffers_are_written_and_read_one_after_the_other() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
            assert_eq!(client.write_vectored(&parts).await.unwrap(), 7);
            assert_eq!(client.try_write_vectored(&parts).unwrap(), 7);
            let (mut first, mut second) = ([0; 5], [0; 9]);
            let mut count = 0;
            while count < 14 {
                server.readable().await.unwrap();
                server.peek(&mut [0; 14]).await.unwrap();
                let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                count = server.try_read_vectored(&mut parts).unwrap();
            }
            assert_eq!((&first, &second), (b"one t", b"woone two"));
        });
    });
}

#[test]
fn more_buffers_than_the_system_takes_are_written_in_part() {
    let rt = single();
    rt.block_on(async {
        let (client, server) = tcp_pair().await.unwrap();
        let parts = vec![IoSlice::new(b"x"); 3_000];
        let count = client.write_vectored(&parts).await.unwrap();
        assert!((1..3_000).contains(&count));
        drop(client);
        let mut all = Vec::new();
        assert_eq!(server.read_to_end(&mut all).await.unwrap(), count);
    });
}

/// More than the system takes in one call, which would move nothing then, as at the end.
#[test]
fn empty_buffers_before_a_full_one_are_passed_over() {
    let rt = single();
    rt.block_on(async {
        let (client, server) = tcp_pair().await.unwrap();
        let mut parts = vec![IoSlice::new(b""); 3_000];
        parts.push(IoSlice::new(b"xy"));
        assert_eq!(client.write_vectored(&parts).await.unwrap(), 2);
        server.readable().await.unwrap();
        let (mut empty, mut full) = (vec![[0; 0]; 3_000], [0; 2]);
        let mut parts: Vec<_> = empty.iter_mut().map(|part| IoSliceMut::new(part)).collect();
        parts.push(IoSliceMut::new(&mut full));
        assert_eq!(server.try_read_vectored(&mut parts).unwrap(), 2);
        assert_eq!(&full, b"xy");
    });
}

#[test]
fn an_empty_buffer_is_never_waited_for() {
    let rt = single();
    rt.block_on(async {
        let (client, _server) = tcp_pair().await.unwrap();
        assert_eq!(client.read(&mut []).await.unwrap(), 0);
        assert_eq!(client.try_read(&mut []).unwrap(), 0);
        assert_eq!(client.peek(&mut []).await.unwrap(), 0);
        assert!(poll_fn(|cx| Poll::Ready(client.poll_peek(cx, &mut []))).await.is_ready());
        assert_eq!(client.write(&[]).await.unwrap(), 0);
        assert_eq!(client.write_vectored(&[]).await.unwrap(), 0);
        client.read_exact(&mut []).await.unwrap();
    });
}

#[test]
fn a_stream_that_ends_too_early_is_an_error_of_read_exact() {
    let rt = single();
    rt.block_on(async {
        let (client, server) = tcp_pair().await.unwrap();
        client.write_all(b"12").await.unwrap();
        drop(client);
        let error = server.read_exact(&mut [0; 3]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn readiness_says_what_there_is() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let both = Interest::READABLE | Interest::WRITABLE;
            let ready = client.ready(both).await.unwrap();
            assert!(ready.is_writable() && !ready.is_read_closed());
            server.write_all(b"x").await.unwrap();
            assert!(client.ready(Interest::READABLE).await.unwrap().is_readable());
            assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 1);
            drop(server);
            let ready = client.ready(Interest::READABLE).await.unwrap();
            assert!(ready.is_readable(), "{ready:?}");
            assert!(!(ready & (Ready::READABLE | Ready::READ_CLOSED)).is_empty());
        });
    });
}

#[test]
fn a_call_of_the_users_own_is_made_when_the_socket_is_ready() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let peek = |server: &TcpStream| socket2::SockRef::from(server).peek_sender().map(drop);
            assert_eq!(
                server.try_io(Interest::READABLE, || peek(&server)).unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
            let waiting =
                runtime::spawn(async move { server.async_io(Interest::READABLE, || peek(&server)).await });
            assert!(waits(&waiting).await);
            client.write_all(b"x").await.unwrap();
            waiting.await.unwrap().unwrap();
        });
    });
}

#[test]
fn a_call_of_the_users_own_that_is_interrupted_is_given_back() {
    let rt = single();
    rt.block_on(async {
        let (client, _server) = tcp_pair().await.unwrap();
        let mut calls = 0;
        let interrupted = || {
            calls += 1;
            io::Result::<()>::Err(ErrorKind::Interrupted.into())
        };
        let error = client.try_io(Interest::WRITABLE, interrupted).unwrap_err();
        assert_eq!((error.kind(), calls), (ErrorKind::Interrupted, 1));
    });
}

#[test]
fn streams_and_listeners_go_to_std_and_back() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let listener = TcpListener::from_std(listener.into_std().unwrap()).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            // Watched before it leaves.
            server.writable().await.unwrap();
            assert_eq!(server.try_read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);

            let mut std = server.into_std().unwrap();
            std.set_nonblocking(false).unwrap();
            std.write_all(b"std").unwrap();
            client.write_all(b"runtime").await.unwrap();
            let mut buf = [0; 7];
            std.read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"runtime");

            let server = TcpStream::try_from(std).unwrap();
            client.read_exact(&mut buf[..3]).await.unwrap();
            assert_eq!(&buf[..3], b"std");
            let reading = runtime::spawn(async move { server.read(&mut [0; 9]).await });
            assert!(waits(&reading).await);
            client.write_all(b"back").await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), 4);
        });
    });
}

#[test]
fn options_are_those_that_were_set() {
    let rt = single();
    rt.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.set_keepalive(true).unwrap();
        socket.set_send_buffer_size(20_000).unwrap();
        socket.set_recv_buffer_size(20_000).unwrap();
        assert!(socket.reuseaddr().unwrap() && socket.reuseport().unwrap() && socket.keepalive().unwrap());
        assert!((20_000..=40_000).contains(&socket.send_buffer_size().unwrap()));
        assert!((20_000..=40_000).contains(&socket.recv_buffer_size().unwrap()));
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        listener.set_ttl(33).unwrap();
        assert_eq!(listener.ttl().unwrap(), 33);

        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!stream.nodelay().unwrap());
        stream.set_nodelay(true).unwrap();
        assert!(stream.nodelay().unwrap());
        stream.set_ttl(44).unwrap();
        assert_eq!(stream.ttl().unwrap(), 44);
        stream.set_linger(Some(Duration::from_secs(3))).unwrap();
        assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(3)));
        // The system counts seconds: less than one is not none.
        stream.set_linger(Some(Duration::from_millis(500))).unwrap();
        assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(1)));
        stream.set_linger(Some(Duration::MAX)).unwrap();
        assert!(stream.linger().unwrap() >= Some(Duration::from_secs(1 << 20)));
        stream.set_linger(None).unwrap();
        assert!(stream.take_error().unwrap().is_none());
    });
}

#[test]
fn a_listener_that_is_well_has_no_error() {
    let rt = single();
    rt.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(listener.take_error().unwrap().is_none());
    });
}

#[test]
fn a_bound_socket_connects_from_its_address() {
    let rt = single();
    rt.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let from = socket.local_addr().unwrap();
        let _client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, from);
    });
}

/// Reads four bytes, and tells when it waits for them.
async fn read_late(stream: &TcpStream, tell: mpsc::Sender<()>) -> [u8; 4] {
    let mut buf = [0; 4];
    {
        let mut reading = pin!(stream.read_exact(&mut buf));
        assert!(poll_once(reading.as_mut()).await.is_pending());
        tell.send(()).unwrap();
        reading.await.unwrap();
    }
    buf
}

#[test]
fn sockets_work_on_a_plain_thread_and_under_another_executor() {
    within(PATIENCE, || {
        // Neither thread stands in a runtime of ours: the default one watches the sockets.
        let (client, server) = smol::future::block_on(tcp_pair()).unwrap();
        let ((client_tells, client_waits), (server_tells, server_waits)) = (mpsc::channel(), mpsc::channel());
        let other = thread::spawn(move || {
            // The future itself and no task, which wakers put into a queue under a lock of std's: the race detector may not
            // see that.
            let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
            executor.block_on(async {
                assert_eq!(read_late(&server, server_tells).await, *b"ping");
                client_waits.recv().unwrap();
                server.write_all(b"pong").await.unwrap();
            });
        });
        server_waits.recv().unwrap();
        smol::future::block_on(async {
            client.write_all(b"ping").await.unwrap();
            assert_eq!(read_late(&client, client_tells).await, *b"pong");
        });
        other.join().unwrap();
    });
}

#[test]
fn a_socket_that_one_runtime_watches_is_served_on_another() {
    within(PATIENCE, || {
        let (watches, serves) = (multi(1), multi(1));
        let (client, server) = watches.block_on(tcp_pair()).unwrap();
        watches.block_on(async { assert!(poll_once(pin!(server.readable())).await.is_pending()) });
        serves.block_on(async {
            let reading = runtime::spawn(async move { server.read(&mut [0; 16]).await });
            assert!(waits(&reading).await);
            client.write_all(b"moved").await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), 5);
        });
    });
}

#[test]
fn urgent_data_is_told_of_until_a_read_finds_nothing() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let flags = rustix::net::SendFlags::OOB;
            assert_eq!(rustix::net::send(&client, b"!", flags).unwrap(), 1);
            client.write_all(b"x").await.unwrap();
            let ready = server.ready(Interest::READABLE).await.unwrap();
            assert!(ready.is_readable() && ready.is_priority(), "{ready:?}");
            // The byte that is urgent lies beside the others.
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
            assert_eq!(server.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            client.write_all(b"y").await.unwrap();
            let ready = server.ready(Interest::READABLE).await.unwrap();
            assert!(ready.is_readable() && !ready.is_priority(), "{ready:?}");
        });
    });
}

#[test]
fn a_wait_for_urgent_data_does_not_end_with_other_data() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let mut urgent = pin!(server.ready(Interest::PRIORITY));
            assert!(poll_once(urgent.as_mut()).await.is_pending());
            client.write_all(b"x").await.unwrap();
            // Its event is here.
            server.readable().await.unwrap();
            assert!(poll_once(urgent.as_mut()).await.is_pending());
            assert_eq!(rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap(), 1);
            let ready = urgent.await.unwrap();
            assert!(ready.is_priority() && !ready.is_readable(), "{ready:?}");
        });
    });
}

#[test]
fn a_read_that_finds_nothing_takes_no_urgent_data_from_who_waits_for_that_alone() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            assert_eq!(rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap(), 1);
            assert!(server.ready(Interest::READABLE).await.unwrap().is_priority());
            assert_eq!(server.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(server.ready(Interest::PRIORITY).await.unwrap().is_priority());
        });
    });
}
