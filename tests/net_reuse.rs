//! A descriptor's number says nothing of whose it is: an event never reaches the next owner, nor is it lost to another.
#![expect(unsafe_code, reason = "makes a descriptor of a socket behind its back")]

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::pin::pin;
use std::sync::Arc;

use runtime::Runtime;
use runtime::net::unix::UnixStream;
use runtime::net::{TcpListener, TcpStream};
use runtime_tests::{Counts, alone, on_each, poll_once, settle, single, tcp_pair, waits, watched};

fn std_pair() -> (StdStream, StdStream) {
    let (one, other) = StdStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    (one, other)
}

/// A watched socket and its number, its peer, and what else is to live on.
type Predecessor<K> = (UnixStream, RawFd, StdStream, K);

/// Makes `predecessor` ready, drops it before anybody has looked, and lets a successor with the same number wait.
fn succeed<K>(rt: &Runtime, predecessor: impl FnOnce() -> Predecessor<K>, ready_before: bool) {
    rt.block_on(async {
        let (old, number, mut old_peer, _kept) = predecessor();
        {
            let mut buf = [0; 8];
            let mut reading = pin!(old.read(&mut buf));
            assert!(poll_once(reading.as_mut()).await.is_pending());
        }
        if ready_before {
            old_peer.write_all(b"old").unwrap();
        }
        drop(old);
        let (new, mut new_peer) = std_pair();
        assert_eq!(new.as_raw_fd(), number, "the lowest free number is the next one");
        let new = UnixStream::from_std(new).unwrap();
        let counts = Counts::new();
        let mut reading = Box::pin(counts.watch(async move {
            let mut buf = [0; 8];
            let count = new.read(&mut buf).await.unwrap();
            buf[..count].to_vec()
        }));
        assert!(poll_once(reading.as_mut()).await.is_pending());
        let reading = runtime::spawn(reading);
        if !ready_before {
            // Fails if no descriptor of the predecessor is left.
            let _ = old_peer.write_all(b"old");
        }
        assert!(waits(&reading).await);
        // One here, and one as a task.
        assert_eq!(counts.polls(), 2, "an event of the predecessor has woken the successor");
        new_peer.write_all(b"new").unwrap();
        assert_eq!(reading.await.unwrap(), b"new");
    });
}

#[test]
fn an_event_never_reaches_the_next_owner_of_the_number() {
    alone("net_reuse::an_event_never_reaches_the_next_owner_of_the_number", || {
        for ready_before in [true, false] {
            let own = || {
                let (old, peer) = std_pair();
                let number = old.as_raw_fd();
                (UnixStream::from_std(old).unwrap(), number, peer, ())
            };
            succeed(&single(), own, ready_before);
        }
    });
}

#[test]
fn an_event_of_a_duplicate_never_reaches_the_next_owner_of_the_number() {
    alone("net_reuse::an_event_of_a_duplicate_never_reaches_the_next_owner_of_the_number", || {
        for ready_before in [true, false] {
            let duplicated = || {
                let (old, peer) = std_pair();
                let (number, kept) = (old.as_raw_fd(), old.try_clone().unwrap());
                (UnixStream::from_std(old).unwrap(), number, peer, kept)
            };
            succeed(&single(), duplicated, ready_before);
        }
    });
}

#[test]
fn an_event_of_a_duplicate_that_we_do_not_know_of_never_reaches_the_next_owner() {
    alone("net_reuse::an_event_of_a_duplicate_that_we_do_not_know_of_never_reaches_the_next_owner", || {
        for ready_before in [true, false] {
            // A socket of our own making, which is not taken out of epoll before it is closed.
            let duplicated = || {
                let number = std_pair().0.as_raw_fd();
                let (old, peer) = UnixStream::pair().unwrap();
                // SAFETY: the number is that of the pair's first socket, which was the lowest free one and is open.
                let kept = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().unwrap();
                let peer = peer.into_std().unwrap();
                (old, number, peer, kept)
            };
            succeed(&single(), duplicated, ready_before);
        }
    });
}

#[test]
fn a_duplicate_with_the_number_of_the_closed_original_is_watched() {
    alone("net_reuse::a_duplicate_with_the_number_of_the_closed_original_is_watched", || {
        let rt = single();
        rt.block_on(async {
            let (original, peer) = UnixStream::pair().unwrap();
            let number = original.as_raw_fd();
            let mut buf = [0; 8];
            {
                let mut reading = pin!(original.read(&mut buf));
                assert!(poll_once(reading.as_mut()).await.is_pending());
            }
            let kept = original.as_fd().try_clone_to_owned().unwrap();
            drop(original);
            let again = StdStream::from(kept.try_clone().unwrap());
            assert_eq!(again.as_raw_fd(), number, "the lowest free number is the next one");
            let again = UnixStream::from_std(again).unwrap();
            let mut reading = pin!(again.read(&mut buf));
            let begun = poll_once(reading.as_mut()).await;
            assert!(begun.is_pending(), "{begun:?}");
            peer.write_all(b"x").await.unwrap();
            assert_eq!(reading.await.unwrap(), 1);
        });
    });
}

#[test]
fn duplicates_wait_side_by_side() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, mut peer) = std_pair();
            let other = UnixStream::from_std(one.try_clone().unwrap()).unwrap();
            let one = UnixStream::from_std(one).unwrap();
            let mut buf = [[0; 1]; 2];
            let [first, second] = &mut buf;
            {
                let mut first = pin!(one.read(first));
                let mut second = pin!(other.read(second));
                assert!(poll_once(first.as_mut()).await.is_pending());
                assert!(poll_once(second.as_mut()).await.is_pending());
                peer.write_all(b"ab").unwrap();
                assert_eq!(first.await.unwrap(), 1);
                assert_eq!(second.await.unwrap(), 1);
            }
            assert_eq!(buf.concat(), b"ab");
        });
    });
}

#[test]
fn a_duplicate_waits_on_after_the_other_one_is_gone() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, mut peer) = std_pair();
            let other = UnixStream::from_std(one.try_clone().unwrap()).unwrap();
            let one = UnixStream::from_std(one).unwrap();
            let (mut buf, mut other_buf) = ([0; 8], [0; 8]);
            let mut reading = pin!(other.read(&mut other_buf));
            assert!(poll_once(reading.as_mut()).await.is_pending());
            {
                let mut gone = pin!(one.read(&mut buf));
                assert!(poll_once(gone.as_mut()).await.is_pending());
            }
            drop(one);
            peer.write_all(b"x").unwrap();
            assert_eq!(reading.await.unwrap(), 1);
        });
    });
}

#[test]
fn each_byte_ends_one_of_two_reads_of_one_socket() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let server = Arc::new(server);
            let read = |server: Arc<TcpStream>| {
                Box::pin(async move {
                    let mut buf = [0];
                    assert_eq!(server.read(&mut buf).await.unwrap(), 1);
                    buf[0]
                })
            };
            let (mut one, mut other) = (read(server.clone()), read(server.clone()));
            assert!(poll_once(one.as_mut()).await.is_pending());
            assert!(poll_once(other.as_mut()).await.is_pending());
            let (one, other) = (runtime::spawn(one), runtime::spawn(other));
            client.write_all(b"1").await.unwrap();
            let mut both = vec![one, other];
            let first = loop {
                settle().await;
                if let Some(index) = both.iter().position(|task| task.is_finished()) {
                    break both.remove(index);
                }
            };
            assert_eq!(first.await.unwrap(), b'1');
            let second = both.pop().unwrap();
            assert!(waits(&second).await);
            client.write_all(b"2").await.unwrap();
            assert_eq!(second.await.unwrap(), b'2');
        });
    });
}

#[test]
fn a_read_that_is_dropped_after_its_event_leaves_the_bytes_to_the_others() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let (mut one, mut other) = ([0; 8], [0; 8]);
            let mut gone = Box::pin(server.read(&mut one));
            let mut reading = pin!(server.read(&mut other));
            assert!(poll_once(gone.as_mut()).await.is_pending());
            assert!(poll_once(reading.as_mut()).await.is_pending());
            client.write_all(b"x").await.unwrap();
            settle().await;
            drop(gone);
            assert_eq!(reading.await.unwrap(), 1);
        });
    });
}

#[test]
fn an_accept_that_is_dropped_after_its_event_leaves_the_connection_to_the_others() {
    on_each(|rt| {
        rt.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut gone = Box::pin(listener.accept());
            let mut accepting = pin!(listener.accept());
            assert!(poll_once(gone.as_mut()).await.is_pending());
            assert!(poll_once(accepting.as_mut()).await.is_pending());
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            settle().await;
            drop(gone);
            assert_eq!(accepting.await.unwrap().1, client.local_addr().unwrap());
        });
    });
}

#[test]
fn connections_that_come_at_once_go_to_all_who_accept() {
    const TASKS: usize = 5;
    on_each(|rt| {
        rt.block_on(async {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
            let addr = listener.local_addr().unwrap();
            let mut tasks = Vec::new();
            for _ in 0..TASKS {
                let listener = listener.clone();
                let mut accepting = Box::pin(async move { listener.accept().await.unwrap().1 });
                assert!(poll_once(accepting.as_mut()).await.is_pending());
                tasks.push(runtime::spawn(accepting));
            }
            // All of them are in the queue before the first one is taken: one event, on one thread.
            let clients: Vec<_> = (0..TASKS).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
            let mut accepted = Vec::new();
            for task in tasks {
                accepted.push(task.await.unwrap());
            }
            let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
            accepted.sort();
            expected.sort();
            assert_eq!(accepted, expected);
        });
    });
}

#[test]
fn a_socket_is_not_watched_any_more_when_it_is_dropped_although_a_duplicate_lives() {
    alone(
        "net_reuse::a_socket_is_not_watched_any_more_when_it_is_dropped_although_a_duplicate_lives",
        || {
            let rt = single();
            rt.block_on(async {
                let (one, _peer) = UnixStream::pair().unwrap();
                assert!(poll_once(pin!(one.read(&mut [0]))).await.is_pending());
                let before = watched();
                let _kept = one.as_fd().try_clone_to_owned().unwrap();
                drop(one);
                assert_eq!(watched(), before - 1);
            });
        },
    );
}
