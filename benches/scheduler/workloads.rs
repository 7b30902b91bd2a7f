//! The workloads, each written once for every peer.
//!
//! "The ten" are those whose mean stands for the scheduler as a whole. The others show one path alone
//! (`spawn_await_main`, `thread_wake`, `start_stop`), or depend on more than the scheduler.

mod chained_spawn;
mod fib;
mod join_many;
mod ping_pong;
mod ring;
mod skynet;
mod spawn_await;
mod spawn_many;
mod start_stop;
mod thread_wake;
mod yielding;

use runtime_benches::Peer;

use crate::bencher::Bencher;

/// The file that most of these workloads come from.
const TOKIO_BENCH: &str = "tokio, benches/rt_multi_threaded.rs";

/// One workload, compiled for one peer.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) op: &'static str,
    /// How many of them an iteration performs.
    pub(crate) ops: u32,
    pub(crate) source: &'static str,
    pub(crate) of_the_ten: bool,
    /// Starts the peer and iterates.
    pub(crate) run: fn(&mut Bencher),
}

/// All of them, in the order of the table.
pub(crate) fn all<P: Peer>() -> Vec<Workload> {
    vec![
        spawn_many::local::<P>(),
        spawn_many::remote_idle::<P>(),
        spawn_many::remote_busy::<P>(),
        yielding::many::<P>(),
        ping_pong::workload::<P>(),
        chained_spawn::workload::<P>(),
        spawn_await::inside::<P>(),
        spawn_await::main::<P>(),
        join_many::workload::<P>(),
        yielding::one::<P>(),
        skynet::workload::<P>(),
        fib::workload::<P>(),
        ring::workload::<P>(),
        thread_wake::workload::<P>(),
        start_stop::workload::<P>(),
    ]
}
