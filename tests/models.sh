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

. tests/models.env
export LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS-$preemptions}

# The names after `--` are alternatives: the module's would let all of them in.
[ $# -gt 0 ] || set -- models
exec cargo test --config tests/models.toml --quiet -p runtime --lib -- "$@"
