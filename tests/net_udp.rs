//! UDP sockets carry messages, cut what does not fit, and say when a message came back.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;

use runtime::net::UdpSocket;
use runtime_tests::{alone, on_each, single, waits};

async fn pair() -> (UdpSocket, UdpSocket) {
    let one = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    one.connect(other.local_addr().unwrap()).await.unwrap();
    other.connect(one.local_addr().unwrap()).await.unwrap();
    (one, other)
}

#[test]
fn a_message_names_its_sender() {
    on_each(|rt| {
        rt.block_on(async {
            let one = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let to = other.local_addr().unwrap();
            let receiving = runtime::spawn(async move {
                let mut buf = [0; 64];
                let (len, from) = other.recv_from(&mut buf).await.unwrap();
                (buf[..len].to_vec(), from)
            });
            assert!(waits(&receiving).await);
            assert_eq!(one.send_to(b"hello", to).await.unwrap(), 5);
            assert_eq!(receiving.await.unwrap(), (b"hello".to_vec(), one.local_addr().unwrap()));
        });
    });
}

#[test]
fn a_message_may_be_empty() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = pair().await;
            assert_eq!(one.send(b"").await.unwrap(), 0);
            one.send(b"next").await.unwrap();
            let mut buf = [0; 8];
            assert_eq!(other.recv(&mut buf).await.unwrap(), 0);
            assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
        });
    });
}

#[test]
fn a_message_that_does_not_fit_is_cut_and_the_next_one_is_whole() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = pair().await;
            one.send(b"too long").await.unwrap();
            one.send(b"ok").await.unwrap();
            let mut buf = [0; 3];
            assert_eq!(other.recv(&mut buf).await.unwrap(), 3);
            assert_eq!(&buf, b"too");
            assert_eq!(other.recv(&mut buf).await.unwrap(), 2);
            assert_eq!(&buf[..2], b"ok");
        });
    });
}

#[test]
fn a_connected_socket_hears_only_its_peer() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = pair().await;
            let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            stranger.send_to(b"stranger", other.local_addr().unwrap()).await.unwrap();
            one.send(b"friend").await.unwrap();
            let mut buf = [0; 16];
            let len = other.recv(&mut buf).await.unwrap();
            assert_eq!(&buf[..len], b"friend");
            assert_eq!(other.peer_addr().unwrap(), one.local_addr().unwrap());
        });
    });
}

#[test]
fn a_message_that_came_back_is_an_error_of_the_receiver_that_waits() {
    // A process that another test is just starting has a copy of what is dropped here.
    alone("net_udp::a_message_that_came_back_is_an_error_of_the_receiver_that_waits", || {
        on_each(|rt| {
            rt.block_on(async {
                let (one, other) = pair().await;
                drop(other);
                one.send(b"to nobody").await.unwrap();
                let error = one.recv(&mut [0; 1]).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                // The socket goes on.
                assert!(one.send(b"again").await.is_ok());
            });
        });
    });
}

#[test]
fn a_peek_leaves_the_message() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = pair().await;
            one.send(b"message").await.unwrap();
            let mut buf = [0; 16];
            let from = one.local_addr().unwrap();
            assert_eq!(other.peek_from(&mut buf).await.unwrap(), (7, from));
            assert_eq!(other.peek(&mut buf).await.unwrap(), 7);
            assert_eq!(poll_fn(|cx| other.poll_peek(cx, &mut buf)).await.unwrap(), 7);
            assert_eq!(other.try_peek_from(&mut buf).unwrap(), (7, from));
            assert_eq!(other.recv_from(&mut buf).await.unwrap(), (7, from));
            assert_eq!(other.try_peek(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
    });
}

#[test]
fn trying_without_a_message_would_block() {
    let rt = single();
    rt.block_on(async {
        let (one, other) = pair().await;
        let mut buf = [0; 4];
        assert_eq!(other.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(other.try_recv_from(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.try_send(b"a").unwrap(), 1);
        assert_eq!(one.try_send_to(b"b", other.local_addr().unwrap()).unwrap(), 1);
        other.readable().await.unwrap();
        assert_eq!(other.try_recv(&mut buf).unwrap(), 1);
    });
}

#[test]
fn several_tasks_receive_and_each_message_goes_to_one() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = pair().await;
            let other = Arc::new(other);
            let receive = |other: Arc<UdpSocket>| async move {
                let mut buf = [0; 1];
                other.recv(&mut buf).await.unwrap();
                buf[0]
            };
            let tasks: Vec<_> = (0..8).map(|_| runtime::spawn(receive(other.clone()))).collect();
            for task in &tasks {
                assert!(waits(task).await);
            }
            for n in 0..8 {
                one.send(&[n]).await.unwrap();
            }
            let mut received = Vec::new();
            for task in tasks {
                received.push(task.await.unwrap());
            }
            received.sort_unstable();
            assert_eq!(received, [0, 1, 2, 3, 4, 5, 6, 7]);
        });
    });
}

#[test]
fn options_are_those_that_were_set() {
    let rt = single();
    rt.block_on(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_multicast_loop_v4(false).unwrap();
        socket.set_multicast_ttl_v4(7).unwrap();
        socket.set_ttl(9).unwrap();
        socket.set_tos_v4(0x10).unwrap();
        assert!(socket.broadcast().unwrap() && !socket.multicast_loop_v4().unwrap());
        assert_eq!(socket.multicast_ttl_v4().unwrap(), 7);
        assert_eq!((socket.ttl().unwrap(), socket.tos_v4().unwrap()), (9, 0x10));
    });
}

#[test]
fn the_traffic_class_of_ipv6_is_the_one_that_was_set() {
    // Made by hand: it needs no address, which a machine without IPv6 would not give.
    let Ok(socket) = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None) else { return };
    let socket = UdpSocket::from_std(socket.into()).unwrap();
    socket.set_tclass_v6(0x20).unwrap();
    assert_eq!(socket.tclass_v6().unwrap(), 0x20);
}

#[test]
fn a_member_of_a_group_hears_what_is_sent_to_it() {
    on_each(|rt| {
        rt.block_on(async {
            let group = Ipv4Addr::new(239, 7, 7, 7);
            let member = UdpSocket::bind("0.0.0.0:0").await.unwrap();
            member.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket2::SockRef::from(&sender).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
            sender.send_to(b"all", (group, member.local_addr().unwrap().port())).await.unwrap();
            let mut buf = [0; 8];
            assert_eq!(member.recv(&mut buf).await.unwrap(), 3);
            member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        });
    });
}

#[test]
fn a_socket_goes_to_std_and_back() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = pair().await;
            let other = UdpSocket::from_std(other.into_std().unwrap()).unwrap();
            let receiving = runtime::spawn(async move { other.recv(&mut [0; 8]).await });
            assert!(waits(&receiving).await);
            one.send(b"back").await.unwrap();
            assert_eq!(receiving.await.unwrap().unwrap(), 4);
        });
    });
}

#[test]
fn a_buffer_that_is_larger_than_any_is_no_smaller_than_it_was() {
    single().block_on(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (send, recv) = (socket.send_buffer_size().unwrap(), socket.recv_buffer_size().unwrap());
        // Of the number's bits an `int` has those that are zero.
        let large = usize::MAX - u32::MAX as usize;
        socket.set_send_buffer_size(large).unwrap();
        socket.set_recv_buffer_size(large).unwrap();
        assert!(socket.send_buffer_size().unwrap() >= send);
        assert!(socket.recv_buffer_size().unwrap() >= recv);
    });
}
