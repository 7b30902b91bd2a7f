//! The workloads, each written once for every peer.
//!
//! "The ten" are those whose mean stands for the scheduler as a whole. The others show one path alone
//! (`spawn_await_main`, `thread_wake`, `start_stop`), or depend on more than the scheduler.

mod blocking_burst;
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
use runtime_benches::harness::{ONE_FIGURE, Workload};

/// The file that most of these workloads come from.
const TOKIO_BENCH: &str = "tokio, benches/rt_multi_threaded.rs";

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
        blocking_burst::compute::<P>(),
        blocking_burst::sleep::<P>(),
    ]
}
