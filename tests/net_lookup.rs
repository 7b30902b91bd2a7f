//! Names become addresses on the blocking pool, and addresses need no name.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::mpsc;

use runtime::Runtime;
use runtime::net::{TcpListener, lookup_host};
use runtime_tests::{PATIENCE, multi, on_each, poll_once, within};

async fn addresses(host: impl runtime::net::ToSocketAddrs) -> Vec<SocketAddr> {
    lookup_host(host).await.unwrap().collect()
}

#[test]
fn what_is_an_address_already_takes_no_thread() {
    let rt = multi(1);
    rt.block_on(async {
        let v4: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(addresses("127.0.0.1:80").await, [v4]);
        assert_eq!(addresses("127.0.0.1:80".to_owned()).await, [v4]);
        assert_eq!(addresses(("127.0.0.1", 80)).await, [v4]);
        assert_eq!(addresses(("127.0.0.1".to_owned(), 80)).await, [v4]);
        assert_eq!(addresses((IpAddr::from([127, 0, 0, 1]), 80)).await, [v4]);
        assert_eq!(addresses((Ipv4Addr::LOCALHOST, 80)).await, [v4]);
        assert_eq!(addresses("[::1]:80").await, [v6]);
        assert_eq!(addresses(("::1", 80)).await, [v6]);
        assert_eq!(addresses((Ipv6Addr::LOCALHOST, 80)).await, [v6]);
        assert_eq!(addresses(&[v4, v6][..]).await, [v4, v6]);
        assert_eq!(addresses(&&v6).await, [v6]);
    });
    assert_eq!(rt.metrics().blocking_threads(), 0);
}

#[test]
fn a_name_is_looked_up() {
    on_each(|rt| {
        rt.block_on(async {
            let found = addresses("localhost:80").await;
            assert!(!found.is_empty() && found.iter().all(|addr| addr.ip().is_loopback()), "{found:?}");
            assert_eq!(addresses(("localhost", 80)).await, found);
            assert!(TcpListener::bind("localhost:0").await.unwrap().local_addr().unwrap().ip().is_loopback());
        });
    });
}

#[test]
fn text_that_cannot_be_a_host_and_port_is_an_error() {
    on_each(|rt| {
        for text in ["localhost", "localhost:port", "", "localhost:99999"] {
            let error = rt.block_on(lookup_host(text)).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}: {error}");
        }
    });
}

/// How many times this thread has read something, this one not included: the resolver reads its files.
fn reads() -> u64 {
    let mut text = [0; 512];
    let len = File::open("/proc/thread-self/io").unwrap().read(&mut text).unwrap();
    let text = std::str::from_utf8(&text[..len]).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("syscr:")).unwrap();
    count.trim().parse().unwrap()
}

/// How often the only thread of the pool reads while it gets to the end of the queue. `queue` is called while a job keeps
/// the thread.
fn reads_of_the_queue(rt: &Runtime, queue: impl FnOnce()) -> u64 {
    let (entered, begun) = mpsc::channel();
    let (proceed, may_go_on) = mpsc::channel::<()>();
    let before = rt.spawn_blocking(move || {
        entered.send(()).unwrap();
        let _ = may_go_on.recv();
        reads()
    });
    begun.recv().unwrap();
    queue();
    let after = rt.spawn_blocking(reads);
    drop(proceed);
    let before = before.wait().unwrap();
    after.wait().unwrap() - before
}

/// A lookup that waits for a thread.
fn queued_lookup(rt: &Runtime) -> Pin<Box<impl Future<Output = ()>>> {
    let mut lookup = Box::pin(async { drop(lookup_host("localhost:80").await) });
    assert!(rt.block_on(poll_once(lookup.as_mut())).is_pending());
    lookup
}

#[test]
fn a_lookup_that_is_given_up_before_its_turn_asks_nobody() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let nothing = reads_of_the_queue(&rt, || ());
        let given_up = reads_of_the_queue(&rt, || {
            drop(queued_lookup(&rt));
            assert_eq!(rt.metrics().blocking_queue_depth(), 1);
        });
        let mut kept = None;
        let looked_up = reads_of_the_queue(&rt, || kept = Some(queued_lookup(&rt)));
        drop(kept);
        assert_eq!(given_up, nothing);
        assert!(looked_up > nothing, "the resolver reads nothing: this test would not see it");
    });
}
