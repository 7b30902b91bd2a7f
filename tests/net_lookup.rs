//! Names become addresses on the blocking pool, and addresses need no name.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use runtime::net::{TcpListener, lookup_host};
use runtime_tests::{multi, on_each};

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
