#!/usr/bin/env bash
# Compares instructions per operation with what tests/counts.txt records; `--record` writes the file anew.
#
# callgrind counts instructions, the same for each run of one binary whatever else the machine does. The
# recorded figures are those of the toolchain named in the file; another one may differ by a few percent.
set -euo pipefail
cd "$(dirname "$0")/.."
record=tests/counts.txt
allowed_percent=5

cargo build --quiet --release -p runtime-benches --bin counts
binary=${CARGO_TARGET_DIR:-target}/release/counts

instructions() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='counts::measured*' "$binary" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : *//p'
}

per_operation() {
  echo $((($(instructions "$1" 4000) - $(instructions "$1" 2000)) / 2000))
}

if [ "${1:-}" = --record ]; then
  {
    echo "# Instructions per operation, current-thread runtime, release; written by tests/counts.sh --record."
    echo "# $(rustc --version)"
    for operation in spawn yield wake; do echo "$operation $(per_operation "$operation")"; done
  } >"$record"
  cat "$record"
  exit
fi

failed=0
while read -r operation most; do
  case $operation in '#'*) continue ;; esac
  now=$(per_operation "$operation")
  verdict=ok
  if [ $((now * 100)) -gt $((most * (100 + allowed_percent))) ]; then verdict="MORE THAN RECORDED" failed=1; fi
  printf '%-8s recorded %5d  now %5d  %s\n' "$operation" "$most" "$now" "$verdict"
done <"$record"
exit $failed
