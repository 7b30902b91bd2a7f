//! The whole life of a runtime: what every `#[test]` with a runtime of its own pays.

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, Workload};

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "start_stop",
        op: "start a runtime, run one task, stop it",
        ops: 1,
        source: "written for this table",
        of_the_ten: false,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let workers = bencher.workers();
    bencher.iterate(|| P::start_stop(workers));
}
