#!/usr/bin/env bash
# Counts the system calls of operations on this runtime and on a peer, and checks ours against the limits below.
#
# usage: tests/syscalls.sh [PEER...]     (ours tokio); needs strace
#
# A server is traced in its own process, its client is not. Calls per operation = (calls of 2N operations - calls
# of N) / N, by name, so that start and stop cancel out and the speed of the machine matters little; but no more than the
# mean of the 2N, because a server that finds the next request there already saves waits, in one of the runs or in both.
set -euo pipefail
cd "$(dirname "$0")/.."
peers=${*:-ours tokio}
# A tenth of a call is room for what happens now and then; a call too many for each operation is a whole one.
allowance=0.1

# operation  monitor workers N    service connections pause_us   limits of ours: reads writes others
operations="
echo         off     1       2000 echo    1           0          1 1 1
idle         off     2       500  echo    1           2000       1 1 1
short        off     2       4000 short   16          0          - - 5
sleep        off     2       300  -       -           -          0 0 1
echo         on      2       2000 echo    1           0          1 1 3
idle         on      1       500  echo    1           2000       1 1 3
short        on      2       4000 short   16          0          - - 6
sleep        on      2       300  -       -           -          0 0 3
"
# echo: one exchange on a kept connection. idle: the same when the server waits before each, so that nothing of the
# wait is shared. short: accept, exchange, close; here the third limit is for all calls. sleep: one sleep of 2 ms.
# With one worker nobody spins: a worker that looks for work for a moment before it sleeps makes calls that come with time.
# The monitor's calls come with time and not with operations: one for each look, at most once a millisecond; or, where all
# come to rest before, one to set its timer and one to stop it. It has rows of its own.

cargo build --quiet --release -p runtime-benches --bin syscalls
binary=${CARGO_TARGET_DIR:-target}/release/syscalls
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What strace does to the calls beside counting them.
inject=()

# trace FILE PEER WORKERS N SERVICE CONNECTIONS PAUSE_US: performs N operations, and counts the calls into FILE.
trace() {
  local file=$1 peer=$2 workers=$3 times=$4 service=$5 connections=$6 pause=$7 address
  # smol takes its number of threads from there.
  export SMOL_THREADS=$workers
  if [ "$service" = - ]; then
    strace -f -c -U calls,name "${inject[@]}" -o "$file" "$binary" "$workers" sleep "$peer" "$times"
    return
  fi
  coproc SERVER { exec strace -f -c -U calls,name "${inject[@]}" -o "$file" "$binary" "$workers" serve "$peer" "$service"; }
  local server=$SERVER_PID
  read -r address <&"${SERVER[0]}"
  "$binary" --load "$service" "$address" "$connections" rounds $((times / connections)) "$pause" >/dev/null
  exec {SERVER[1]}>&-
  wait "$server"
}

printf '%-14s%-7s%7s%7s%7s%7s  %s\n' operation peer reads writes others all "by name"
failed=0
while read -r operation monitor workers times service connections pause reads writes others; do
  [ -n "$operation" ] || continue
  if [ "$monitor" = off ]; then export RUNTIME_BENCH_NO_MONITOR=1; else unset RUNTIME_BENCH_NO_MONITOR; fi
  [ "$monitor" = off ] || operation="$operation+watch"
  for peer in $peers; do
    trace "$scratch/once" "$peer" "$workers" "$times" "$service" "$connections" "$pause"
    trace "$scratch/twice" "$peer" "$workers" $((2 * times)) "$service" "$connections" "$pause"
    awk -v operation="$operation" -v peer="$peer" -v times="$times" -v allowance="$allowance" \
      -v max_reads="$reads" -v max_writes="$writes" -v max_others="$others" '
      $1 !~ /^[0-9]+$/ || $2 == "total" { next }
      FNR == NR { once[$2] = $1; next }
      { twice[$2] = $1 }
      END {
        for (name in twice) {
          calls = (twice[name] - once[name]) / times
          if (calls > twice[name] / (2 * times)) calls = twice[name] / (2 * times)
          all += calls
          if (name ~ /^(read|readv|recvfrom|recvmsg)$/) reads += calls
          else if (name ~ /^(write|writev|sendto|sendmsg)$/) writes += calls
          else others += calls
          if (calls >= 0.005 || calls <= -0.005) names = names sprintf(" %s %.2f", name, calls)
        }
        printf "%-14s%-7s%7.2f%7.2f%7.2f%7.2f %s", operation, peer, reads, writes, others, all, names
        if (peer == "ours") {
          if (max_reads == "-") bad = all > max_others + allowance
          else bad = reads > max_reads + allowance || writes > max_writes + allowance || others > max_others + allowance
          printf "  %s", bad ? "MORE THAN ALLOWED" : "ok"
        }
        printf "\n"
        exit bad
      }' "$scratch/once" "$scratch/twice" || failed=1
  done
done <<<"$operations"

# Where a kernel has no epoll_pwait2, or a sandbox refuses it, the server waits with epoll_wait.
export RUNTIME_BENCH_NO_MONITOR=1
for error in ENOSYS EPERM EACCES; do
  inject=(-e "inject=epoll_pwait2:error=$error")
  trace "$scratch/refused" ours 1 200 echo 1 2000
  awk -v error="$error" '
    $2 == "epoll_wait" { waits = $1 }
    $2 == "epoll_pwait2" { refused = $1 }
    END {
      # The server is slow while it is traced, and waits only because its client rests before each request.
      bad = waits < 1 || refused < 1 || refused > 2
      printf "epoll_pwait2 gives %s %d times, epoll_wait serves 200 exchanges in %d calls  %s\n", error, refused, waits, bad ? "WRONG" : "ok"
      exit bad
    }' "$scratch/refused" || failed=1
done
exit $failed
