#!/bin/sh
# The integration tests on the poller of the systems that have no epoll (`runtime/src/driver/poller/portable.rs`), which
# Linux can run as well: it has to keep the same promises.
#
#   tests/portable.sh          all of them
#   tests/portable.sh net_     only the tests whose name contains the word; .ci/run names those that wait in the poller
set -eu
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="$PWD/target/portable"
export RUSTFLAGS="--cfg runtime_portable"

# The unit tests know where a poller differs, but not those of the examples: these build them with a cargo of their own.
cargo test --quiet -p runtime --lib -- "$@"
cargo test --quiet -p runtime-tests --test it -- --skip examples:: "$@"
cargo test --quiet -p runtime-tests --test fork
