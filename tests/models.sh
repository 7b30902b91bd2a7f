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

. tests/models.build

# The names are alternatives: the module's would let all of them in.
[ $# -gt 0 ] || set -- models
names=$("$models" --list "$@" | sed -n 's/: test$//p')
[ -n "$names" ] || { echo "no model has such a name: $*" >&2; exit 1; }

# Each in a process of its own: a model makes and unmakes stacks all the time, for which the threads of one process wait
# for each other. From the end of the list, where those are that take long.
export models
judge='log=$(mktemp); "$models" --exact "$0" >"$log" 2>&1 && echo "ok      $0" || { cat "$log"; echo "FAILED  $0"; false; }; status=$?; rm "$log"; exit $status'
echo "$names" | sort -r | xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 1 sh -c "$judge"
echo "$(echo "$names" | wc -l) models passed"
