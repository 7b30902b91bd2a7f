//! A server on the peer, loaded by a client in another process.

use std::time::Duration;

use runtime_benches::Net;
use runtime_benches::harness::{Bencher, Workload};
use runtime_benches::load::{Amount, Load};
use runtime_benches::serve::{self, Service};

use super::{cpu_time, plain};

/// Enough that the workers stay busy, and few enough that no answer waits long for the client to read it.
const KEPT_ALIVE: usize = 32;
/// Enough that the server can accept several with each wake-up.
const SHORT_AT_A_TIME: usize = 16;

/// One connection: the time of an exchange is that of four crossings of the loopback and two wake-ups.
pub(super) fn echo_1<P: Net>() -> Workload {
    let run = |bencher: &mut Bencher| load::<P>(bencher, Service::Echo, 1);
    served("echo_1", "exchange 64 bytes; 1 connection", run)
}

/// As many connections as keep the workers busy.
pub(super) fn echo_64<P: Net>() -> Workload {
    let run = |bencher: &mut Bencher| load::<P>(bencher, Service::Echo, 64);
    served("echo_64", "exchange 64 bytes; 64 connections", run)
}

/// More connections than fit into a cache.
pub(super) fn echo_1000<P: Net>() -> Workload {
    let run = |bencher: &mut Bencher| load::<P>(bencher, Service::Echo, 1_000);
    served("echo_1000", "exchange 64 bytes; 1,000 connections", run)
}

/// Accept, spawn, exchange, close.
pub(super) fn short<P: Net>() -> Workload {
    let run = |bencher: &mut Bencher| load::<P>(bencher, Service::Short, SHORT_AT_A_TIME);
    served("connect_exchange_close", "connect, exchange 64 bytes, close; 16 at a time", run)
}

/// hyper on the peer's streams.
pub(super) fn hello<P: Net>() -> Workload {
    let run = |bencher: &mut Bencher| load::<P>(bencher, Service::Hello, KEPT_ALIVE);
    served("hyper_hello", "GET on one of 32 kept connections; hyper 1, HTTP/1.1", run)
}

/// The time of an exchange, and the server's processor time for it: a runtime that spins has its answers sooner. What it takes
/// to start the client and to accept its connections is spread over the exchanges.
fn served(name: &'static str, op: &'static str, run: fn(&mut Bencher)) -> Workload {
    Workload { figures: &["", "cpu"], ..plain(name, op, 1, run) }
}

fn load<P: Net>(bencher: &mut Bencher, service: Service, connections: usize) {
    runtime_benches::limits::allow_many_files();
    let peer = P::start_with_drivers(bencher.workers());
    let address = serve::start(&peer, service);
    let amount = Amount::Budget(bencher.budget());
    let load = Load { service, address, connections, amount, pause: Duration::ZERO };
    let before = cpu_time();
    let done = load.run().expect("the client succeeds");
    let used = cpu_time() - before;
    bencher.report("", done.ns_per_exchange);
    bencher.report("cpu", used.as_nanos() as f64 / done.exchanges as f64);
}
