//! Thousands of connections that come and go, in whatever state, leave nothing behind.

use std::time::Duration;

use runtime::Metrics;
use runtime::net::{TcpListener, TcpStream};
use runtime::time::timeout;
use runtime_tests::{PATIENCE, alone, multi, open_files_but_timers, single, tcp_pair, until, within};

const CONNECTIONS: usize = 5_000;
const BATCH: usize = 250;
/// Nobody waits so long: its timer has to be taken away.
const LONG: Duration = Duration::from_secs(3_600);

/// What a runtime has at the moment that could leak.
fn held(metrics: &Metrics) -> [usize; 3] {
    [metrics.registered_objects(), metrics.timers(), metrics.live_tasks()]
}

/// What the client does with its connection before it drops it.
async fn come_and_go(client: TcpStream, n: usize) {
    let mut buf = [0; 4];
    match n % 5 {
        0 => {}
        1 => drop(client.write_all(b"ping").await),
        2 => {
            client.write_all(b"ping").await.unwrap();
            timeout(LONG, client.read_exact(&mut buf)).await.unwrap().unwrap();
        }
        // Reset, perhaps before it is accepted: Linux hands it out all the same.
        3 => {
            client.set_linger(Some(Duration::ZERO)).unwrap();
            let _ = client.write_all(b"ping").await;
        }
        // It waits in vain, and is dropped while it does.
        _ => drop(timeout(LONG, client.read(&mut buf)).await),
    }
}

/// Echoes until the other side is gone, whatever it is gone with.
async fn serve(server: TcpStream) {
    let mut buf = [0; 64];
    while let Ok(Ok(count @ 1..)) = timeout(LONG, server.read(&mut buf)).await {
        if server.write_all(&buf[..count]).await.is_err() {
            return;
        }
    }
}

async fn storm() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    for _ in 0..CONNECTIONS / BATCH {
        let clients: Vec<_> = (0..BATCH)
            .map(|n| {
                runtime::spawn(async move {
                    let client = TcpStream::connect(addr).await.unwrap();
                    come_and_go(client, n).await;
                })
            })
            .collect();
        let mut servers = Vec::new();
        for _ in 0..BATCH {
            let (server, _) = listener.accept().await.unwrap();
            servers.push(runtime::spawn(serve(server)));
        }
        for (n, client) in clients.into_iter().enumerate() {
            if n % 5 == 4 {
                assert!(client.cancel_and_wait().await.unwrap_err().is_cancelled());
            } else {
                client.await.unwrap();
            }
        }
        for server in servers {
            server.await.unwrap();
        }
    }
}

#[test]
fn five_thousand_connections_leave_nothing_behind() {
    alone("net_storm::five_thousand_connections_leave_nothing_behind", || {
        for make in [single, || multi(2)] {
            within(PATIENCE, move || {
                let rt = make();
                // The first wait makes the reactor, which stays.
                rt.block_on(async {
                    let (client, _server) = tcp_pair().await.unwrap();
                    assert!(timeout(Duration::ZERO, client.readable()).await.is_err());
                });
                let (files, start) = (open_files_but_timers(), held(&rt.metrics()));
                rt.block_on(storm());
                // A task counts as live until whoever ran it has let go of it.
                until(|| held(&rt.metrics()) == start);
                assert_eq!(open_files_but_timers(), files);
            });
        }
    });
}
