#!/bin/sh
# Model checking: small scenarios in every order that the memory model allows, up to a bound on preemptions.
#
#   tests/models.sh            two preemptions: every commit
#   tests/models.sh --deep     three: before a release, or after a change of an ordering
#   tests/models.sh [--deep] guest     only the models whose name contains the word
#
# To replay a failure: run it with LOOM_CHECKPOINT_FILE=loom.json LOOM_CHECKPOINT_INTERVAL=1 until it fails, then once
# more with LOOM_LOG=trace LOOM_LOCATION=1 added. A deadlock among the threads of a model is a wake-up that was lost.
set -eu
cd "$(dirname "$0")/.."

preemptions=2
if [ "${1-}" = --deep ]; then
    preemptions=3
    shift
fi

# Debug assertions are part of what the models check; without optimization they would take ten times as long.
export RUSTFLAGS="--cfg runtime_loom -C debug_assertions"
export CARGO_TARGET_DIR="$PWD/target/loom"
export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS-$preemptions}
# The longest execution is far below this; a model that reaches it goes round in circles.
export LOOM_MAX_BRANCHES=${LOOM_MAX_BRANCHES-20000}

# The names after `--` are alternatives: the module's would let all of them in.
[ $# -gt 0 ] || set -- models
exec cargo test --quiet -p runtime --release --lib -- "$@"
