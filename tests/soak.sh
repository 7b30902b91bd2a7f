#!/bin/sh
# The lives of many runtimes, one after the other: start, spawn from four threads, steal, cancel, stop; no hang, no leak
# of threads, files or tasks, no lost task. Prints its seed; RUNTIME_STRESS_SEED repeats a run.
#
#   tests/soak.sh             20,000 lives, about two minutes
#   tests/soak.sh 1000000     as many as you like
#
# Then an idle runtime is watched for ten seconds, four times: it must make no wake-up.
set -eu
cd "$(dirname "$0")/.."
RUNTIME_STRESS_ITERATIONS=${1-20000} cargo test --quiet --release -p runtime-tests --test stress -- --nocapture
RUNTIME_IDLE_SECONDS=10 cargo test --quiet --release -p runtime-tests --test idle -- --nocapture
