//! Two tasks that throw a datagram back and forth.

use std::sync::Arc;

use runtime_benches::Net;
use runtime_benches::harness::{Bencher, Workload};

use super::plain;

const MESSAGE: [u8; 64] = [b'x'; 64];
/// Makes the start of the outer task a percent of the iteration.
const PINGS: u32 = 100;

pub(super) fn workload<P: Net>() -> Workload {
    plain("udp_ping", "64 bytes there and back, between two tasks", PINGS, run::<P>)
}

fn run<P: Net>(bencher: &mut Bencher) {
    let peer = P::start_with_drivers(bencher.workers());
    let (ping, pong) = peer.block_on(P::datagram_pair()).expect("two ports are free");
    peer.block_on(async { P::detach(P::spawn(send_back::<P>(pong))) });
    let ping = Arc::new(ping);
    bencher.iterate(|| peer.block_on(async { P::spawn(exchange::<P>(ping.clone())).await }));
}

async fn exchange<P: Net>(socket: Arc<P::Datagrams>) {
    let mut buffer = [0; MESSAGE.len()];
    for _ in 0..PINGS {
        P::send(&socket, &MESSAGE).await.expect("a datagram is sent");
        P::receive(&socket, &mut buffer).await.expect("a datagram comes back");
    }
}

async fn send_back<P: Net>(socket: P::Datagrams) {
    let mut buffer = [0; MESSAGE.len()];
    while let Ok(len) = P::receive(&socket, &mut buffer).await {
        if P::send(&socket, &buffer[..len]).await.is_err() {
            return;
        }
    }
}
