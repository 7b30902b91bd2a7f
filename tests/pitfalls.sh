#!/bin/sh
# Each test whose name begins with p and two digits, or s and two digits, a thousand times in a row, while a busy loop
# for each processor keeps it from running when it would like to. A trap that one futures library in ten thousand runs
# steps into is still a trap.
#
#   tests/pitfalls.sh                 1,000 times each
#   tests/pitfalls.sh 50              50 times each
#   tests/pitfalls.sh 1000 p01        only those whose name contains the word
#
# Stops at the first run that fails or does not end within a minute, and shows what it printed.
set -eu
cd "$(dirname "$0")/.."

times=${1-1000}
only=${2-}

# Some of them panic on purpose, and finding the names of a stack takes longer than the test.
export RUST_BACKTRACE=0

log=target/pitfalls
mkdir -p "$log"
# Not a pipe, which would hide that the build failed.
cargo test --quiet --release -p runtime-tests --test it --no-run --message-format=json-render-diagnostics >"$log/build.json"
it=$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$log/build.json")
names=$("$it" --list | sed -n 's/^\(.*::[ps][0-9][0-9]_[a-z0-9_]*\): test$/\1/p' | grep -e "$only" || true)
[ -n "$names" ] || { echo "no test has such a name" >&2; exit 1; }

load=
trap 'kill $load 2>/dev/null || true' EXIT
trap 'exit 1' INT TERM
for _ in $(seq "$(getconf _NPROCESSORS_ONLN)"); do
    (while :; do :; done) &
    load="$load $!"
done

for name in $names; do
    begin=$(date +%s)
    run=0
    while [ $run -lt "$times" ]; do
        run=$((run + 1))
        timeout --signal=KILL 60 "$it" --exact "$name" >"$log/last.log" 2>&1 || {
            cat "$log/last.log"
            echo "$name failed in run $run of $times" >&2
            exit 1
        }
    done
    printf '%5ss  %s\n' $(($(date +%s) - begin)) "$name"
done
