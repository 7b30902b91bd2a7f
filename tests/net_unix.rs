//! Unix sockets: by path, by abstract name and in pairs.

use std::ffi::OsStr;
use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use runtime::io::Interest;
use runtime::net::unix::{UnixDatagram, UnixListener, UnixStream};
use runtime::{Runtime, time};
use runtime_tests::{CountingWaker, Deed, Hostile, Op, PATIENCE, on_each, single, waits, within};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg};

/// A path that nobody else uses, whose file is gone at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Place(std::env::temp_dir().join(format!("runtime-unix-{}", unique())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn name() -> SocketAddr {
    SocketAddr::from_abstract_name(format!("runtime-unix-{}", unique())).unwrap()
}

#[test]
fn a_path_connects() {
    on_each(|rt| {
        rt.block_on(async {
            let place = Place::new();
            let listener = UnixListener::bind(&place.0).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(place.0.as_path()));
            let accepting = runtime::spawn(async move { listener.accept().await });
            assert!(waits(&accepting).await);
            let client = UnixStream::connect(&place.0).await.unwrap();
            let (server, from) = accepting.await.unwrap().unwrap();
            assert!(from.is_unnamed());
            assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(place.0.as_path()));
            client.write_all(b"path").await.unwrap();
            let mut buf = [0; 4];
            server.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"path");
        });
    });
}

#[test]
fn an_abstract_name_connects() {
    on_each(|rt| {
        rt.block_on(async {
            let name = name();
            let listener = UnixListener::bind_addr(&name).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_abstract_name(), name.as_abstract_name());
            let client = UnixStream::connect_addr(&name).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            server.write_all(b"name").await.unwrap();
            let mut buf = [0; 4];
            client.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"name");
        });
    });
}

#[test]
fn connecting_to_nobody_is_an_error() {
    let rt = single();
    rt.block_on(async {
        let place = Place::new();
        assert_eq!(UnixStream::connect(&place.0).await.unwrap_err().kind(), ErrorKind::NotFound);
        // A process that is just being started may have a copy of it, which does not listen either.
        let left = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        left.bind(&socket2::SockAddr::unix(&place.0).unwrap()).unwrap();
        drop(left);
        assert_eq!(UnixStream::connect(&place.0).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(UnixListener::bind(&place.0).unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn a_full_queue_of_connections_is_an_error_and_never_a_hang() {
    let rt = single();
    rt.block_on(async {
        let name = name();
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let path = [b"\0".as_slice(), name.as_abstract_name().unwrap()].concat();
        let path = std::str::from_utf8(&path).unwrap();
        socket.bind(&socket2::SockAddr::unix(path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let mut clients = Vec::new();
        let error = loop {
            match UnixStream::connect_addr(&name).await {
                Ok(client) => clients.push(client),
                Err(error) => break error,
            }
            assert!(clients.len() < 100, "the queue has no end");
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn the_other_side_is_this_process() {
    let rt = single();
    rt.block_on(async {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = one.peer_cred().unwrap();
        assert_eq!(peer.pid(), Some(std::process::id().cast_signed()));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let number = |label: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(label)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
        };
        assert_eq!((peer.uid(), peer.gid()), (number("Uid:"), number("Gid:")));
    });
}

#[test]
fn bytes_behind_a_passed_descriptor_are_read() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            let reading = runtime::spawn(async move {
                let mut all = Vec::new();
                let mut buf = [0; 64];
                while all.len() < 2 {
                    let count = other.read(&mut buf).await.unwrap();
                    all.extend_from_slice(&buf[..count]);
                }
                all
            });
            assert!(waits(&reading).await);
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = [one.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            sendmsg(&one, &[IoSlice::new(b"a")], &mut control, SendFlags::empty()).unwrap();
            one.write_all(b"b").await.unwrap();
            assert_eq!(reading.await.unwrap(), b"ab");
        });
    });
}

#[test]
fn messages_keep_their_ends_and_their_order() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixDatagram::pair().unwrap();
            let sending = runtime::spawn(async move {
                for n in 0..1_000_u32 {
                    one.send(&n.to_be_bytes()).await.unwrap();
                }
            });
            let mut buf = [0; 16];
            for n in 0..1_000_u32 {
                assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
                assert_eq!(buf[..4], n.to_be_bytes());
            }
            sending.await.unwrap();
        });
    });
}

#[test]
fn a_message_goes_to_a_path_or_a_name_and_says_where_it_is_from() {
    on_each(|rt| {
        rt.block_on(async {
            let (place, back) = (Place::new(), name());
            let server = UnixDatagram::bind(&place.0).unwrap();
            let client = UnixDatagram::bind_addr(&back).unwrap();
            client.send_to(b"to a path", &place.0).await.unwrap();
            let mut buf = [0; 16];
            let (len, from) = server.recv_from(&mut buf).await.unwrap();
            assert_eq!(&buf[..len], b"to a path");
            assert_eq!(from.as_abstract_name(), back.as_abstract_name());
            server.send_to_addr(b"to a name", &from).await.unwrap();
            assert_eq!(client.recv(&mut buf).await.unwrap(), 9);

            let unbound = UnixDatagram::unbound().unwrap();
            unbound.connect_addr(&back).unwrap();
            unbound.send(b"from nowhere").await.unwrap();
            assert!(client.recv_from(&mut buf).await.unwrap().1.is_unnamed());
            unbound.connect(&place.0).unwrap();
            unbound.try_send(b"x").unwrap();
            assert_eq!(server.recv(&mut buf).await.unwrap(), 1);
        });
    });
}

#[test]
fn a_path_that_begins_with_a_zero_byte_is_an_abstract_name() {
    on_each(|rt| {
        rt.block_on(async {
            let name = name();
            let path = [b"\0".as_slice(), name.as_abstract_name().unwrap()].concat();
            let path = Path::new(OsStr::from_bytes(&path));
            let listener = UnixListener::bind(path).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_abstract_name(), name.as_abstract_name());
            drop(UnixStream::connect(path).await.unwrap());
            drop(listener);

            let server = UnixDatagram::bind(path).unwrap();
            let client = UnixDatagram::unbound().unwrap();
            client.send_to(b"a", path).await.unwrap();
            client.connect(path).unwrap();
            assert_eq!(client.peer_addr().unwrap().as_abstract_name(), name.as_abstract_name());
            client.send(b"b").await.unwrap();
            let mut buf = [0; 2];
            for message in [b"a", b"b"] {
                assert_eq!(server.recv(&mut buf).await.unwrap(), 1);
                assert_eq!(&buf[..1], message);
            }
        });
    });
}

#[test]
fn a_sender_waits_for_a_slow_receiver() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixDatagram::pair().unwrap();
            let mut sent = 0;
            while one.try_send(&[7; 1024]).is_ok() {
                sent += 1;
            }
            let sending = runtime::spawn(async move { one.send(b"last").await });
            assert!(waits(&sending).await);
            let mut buf = [0; 2048];
            for _ in 0..sent {
                assert_eq!(other.recv(&mut buf).await.unwrap(), 1024);
            }
            assert_eq!(other.recv(&mut buf).await.unwrap(), 4);
            sending.await.unwrap().unwrap();
        });
    });
}

#[test]
fn a_receiver_without_room_holds_up_only_what_is_sent_to_it() {
    on_each(|rt| {
        rt.block_on(async {
            let (place, other) = (Place::new(), Place::new());
            let slow = UnixDatagram::bind(&place.0).unwrap();
            let _fast = UnixDatagram::bind(&other.0).unwrap();
            let (filler, sender) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
            let mut sent = 0;
            while filler.try_send_to(b"full", &place.0).is_ok() {
                sent += 1;
            }
            let sender = Arc::new(sender);
            let sending = {
                let (sender, place) = (sender.clone(), place.0.clone());
                runtime::spawn(async move { sender.send_to(b"last", place).await })
            };
            assert!(waits(&sending).await);
            assert_eq!(sender.send_to(b"other", &other.0).await.unwrap(), 5);
            assert_eq!(sender.try_send_to(b"other", &other.0).unwrap(), 5);
            for _ in 0..=sent {
                assert_eq!(slow.recv(&mut [0; 8]).await.unwrap(), 4);
            }
            assert_eq!(sending.await.unwrap().unwrap(), 4);
        });
    });
}

/// Polled for other reasons in between, as by a `select!`.
#[test]
fn a_send_that_waits_for_room_is_woken_once_for_its_next_try_however_often_it_is_polled() {
    let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
    rt.block_on(async {
        let place = Place::new();
        let _slow = UnixDatagram::bind(&place.0).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        while sender.try_send_to(b"full", &place.0).is_ok() {}
        let (counts, waker) = CountingWaker::new();
        let mut cx = Context::from_waker(&waker);
        let mut sending = pin!(sender.send_to(b"last", &place.0));
        for _ in 0..100 {
            assert!(sending.as_mut().poll(&mut cx).is_pending());
        }
        time::advance(Duration::from_secs(1)).await;
        assert_eq!(counts.wakes(), 1);
        for _ in 0..100 {
            assert!(sender.poll_send_to(&mut cx, b"last", &place.0).is_pending());
        }
        time::advance(Duration::from_secs(1)).await;
        assert_eq!(counts.wakes(), 2);
    });
}

#[test]
fn a_send_that_need_not_wait_leaves_the_one_that_waits_its_next_try() {
    let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
    rt.block_on(async {
        let (place, other) = (Place::new(), Place::new());
        let _slow = UnixDatagram::bind(&place.0).unwrap();
        let _quick = UnixDatagram::bind(&other.0).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        while sender.try_send_to(b"full", &place.0).is_ok() {}
        let (counts, waker) = CountingWaker::new();
        assert!(sender.poll_send_to(&mut Context::from_waker(&waker), b"last", &place.0).is_pending());
        let mut noop = Context::from_waker(Waker::noop());
        assert!(sender.poll_send_to(&mut noop, b"first", &other.0).is_ready());
        time::advance(Duration::from_secs(1)).await;
        assert_eq!(counts.wakes(), 1);
    });
}

/// Its `clone` is called for the next try.
#[test]
fn a_waker_may_send_with_the_socket_that_it_waits_for() {
    within(PATIENCE, || {
        single().block_on(async {
            let place = Place::new();
            let _slow = UnixDatagram::bind(&place.0).unwrap();
            let sender = Arc::new(UnixDatagram::unbound().unwrap());
            while sender.try_send_to(b"full", &place.0).is_ok() {}
            let (again, path) = (sender.clone(), place.0.clone());
            let meddle = Arc::new(move || {
                let mut noop = Context::from_waker(Waker::noop());
                assert!(again.poll_send_to(&mut noop, b"meddles", &path).is_pending());
            });
            let (hostile, waker) = Hostile::new(Op::Clone, Deed::Meddle, meddle, Vec::new());
            assert!(sender.poll_send_to(&mut Context::from_waker(&waker), b"last", &place.0).is_pending());
            assert!(hostile.deeds() > 0);
            // The socket gives back the waker that holds it: they would keep each other.
            let mut noop = Context::from_waker(Waker::noop());
            assert!(sender.poll_send_to(&mut noop, b"last", &place.0).is_pending());
        });
    });
}

#[test]
fn a_path_with_a_zero_byte_in_it_is_refused_and_not_cut() {
    single().block_on(async {
        let place = Place::new();
        let cut = {
            let mut path = place.0.clone().into_os_string();
            path.push("\0rest");
            PathBuf::from(path)
        };
        let socket = UnixDatagram::unbound().unwrap();
        let errors = [
            UnixListener::bind(&cut).unwrap_err(),
            UnixStream::connect(&cut).await.unwrap_err(),
            UnixDatagram::bind(&cut).unwrap_err(),
            socket.connect(&cut).unwrap_err(),
            socket.send_to(b"x", &cut).await.unwrap_err(),
            socket.try_send_to(b"x", &cut).unwrap_err(),
        ];
        assert_eq!(errors.map(|error| error.kind()), [ErrorKind::InvalidInput; 6]);
        assert!(!place.0.exists());
    });
}

#[test]
fn a_peer_whose_number_is_not_known_has_none() {
    let nobody = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let stream = UnixStream::from_std(nobody.into()).unwrap();
    let peer = stream.peer_cred().unwrap();
    assert_eq!((peer.pid(), peer.uid(), peer.gid()), (None, u32::MAX, u32::MAX));
}

#[test]
fn sockets_go_to_std_and_back() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            let other = UnixStream::from_std(other.into_std().unwrap()).unwrap();
            let reading = runtime::spawn(async move { other.read(&mut [0; 8]).await });
            assert!(waits(&reading).await);
            one.write_all(b"back").await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), 4);
        });
    });
}

#[test]
fn a_write_that_would_block_does_not_hide_the_end_of_the_stream() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            other.shutdown().await.unwrap();
            one.readable().await.unwrap();
            // It may do both; what fails is the write.
            let fill = || Ok(rustix::net::send(&one, &[0; 4_096], SendFlags::NOSIGNAL)?);
            while one.try_io(Interest::READABLE | Interest::WRITABLE, fill).is_ok() {}
            assert_eq!(one.read(&mut [0]).await.unwrap(), 0);
        });
    });
}
