#!/usr/bin/env bash
# Runs the examples echo, http, proxy and chat with clients that we did not write: nc, socat, curl and wrk.
#
#   tests/clients.sh           what they promise, under 25 seconds after the build
#   tests/clients.sh --long    wrk against the server of the example http, on ours and on tokio in turns, 30 seconds each
#   tests/clients.sh --pairs   the same in 30 pairs of short turns: for a machine whose speed changes between long ones
#
# Missing clients are installed with apt-get. Ends at the first failure, with what was expected.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=${CARGO_TARGET_DIR:-target}/release
scratch=$(mktemp -d)
started=()

# Only what this script started, and only what still runs.
clean_up() {
  local pid
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$scratch"
}
trap clean_up EXIT

fail() {
  printf 'clients: FAILED: %s\n' "$*" >&2
  exit 1
}

passed() { printf 'ok  %s\n' "$*"; }

# same WHAT EXPECTED ACTUAL
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }

install() { tests/install.sh nc:netcat-openbsd socat curl wrk; }

# A pipe with a name that is open at both ends, so that neither opening it nor a writer that leaves ends anything:
# `pipe` is its descriptor.
new_pipe() {
  local name
  name=$(mktemp -u "$scratch/pipe.XXXXXX")
  mkfifo "$name"
  exec {pipe}<>"$name"
  rm "$name"
}

# expect FD PATTERN WHO: reads lines until one matches, into `line`.
expect() {
  local seen=
  while IFS= read -r -t 10 -u "$1" line; do
    # shellcheck disable=SC2053  # a pattern it is
    if [[ $line == $2 ]]; then return; fi
    seen+=" | $line"
  done
  fail "$3 did not print '$2' within ten seconds; it printed:${seen:- nothing}"
}

# serve PROGRAM ARGS...: starts a server and waits until it listens. Sets `server` to its process, `printed` to the
# descriptor where its output can be read, `address`, and `host` and `port`, which are its parts.
serve() {
  local pipe
  new_pipe
  printed=$pipe
  "$@" >&"$printed" 2>&1 &
  server=$!
  started+=("$server")
  expect "$printed" 'listening on *' "$1"
  address=${line#listening on } host=${line#listening on } port=${line##*:}
  host=${host%:*}
}

# stop PID: ends a server that knows no other end.
stop() {
  kill "$1" 2>/dev/null || fail "a server had ended already"
  wait "$1" || true
}

# --- echo, and what all of them do with a bad command line ---

refuses() {
  local program=$1 message=$2 code=0
  shift 2
  timeout 10 "$programs/examples/$program" "$@" >"$scratch/refused" 2>&1 || code=$?
  same "exit code of '$program $*'" 2 "$code"
  grep -q "$message" "$scratch/refused" || fail "'$program $*' says: $(cat "$scratch/refused")"
}

try_command_lines() {
  local program
  for program in echo http chat; do
    refuses "$program" 'cannot listen on nonsense' nonsense
    refuses "$program" 'cannot listen on 192.0.2.1:1' 192.0.2.1:1
    refuses "$program" 'usage:' one two
    # The address of the echo server.
    refuses "$program" "cannot listen on $1: .*in use" "$1"
  done
  refuses proxy 'cannot listen on nonsense' nonsense 127.0.0.1:1
  refuses proxy 'usage:' 127.0.0.1:0
  passed "bad command lines and addresses: a message and exit code 2"
}

try_echo() {
  serve "$programs/examples/echo" 127.0.0.1:0
  try_command_lines "$address"
  same "nc's echo" hello "$(printf 'hello\n' | timeout 10 nc -N "$host" "$port")"
  passed "echo: nc gets its line back"

  head -c 100000000 /dev/urandom >"$scratch/data"
  # The end of the input is passed on as a half-close; -t is how long socat waits for the rest of the answer.
  same "checksum of 100 MB through echo" "$(sha256sum <"$scratch/data")" \
    "$(timeout 20 socat -b 65536 -t 20 - "TCP:$address" <"$scratch/data" | sha256sum)"
  passed "echo: socat gets 100 MB back"
  stop "$server"
}

# More connections than the server may have files. One before them, so that it has what it waits with.
try_exhaustion() {
  local held=() fd _
  serve prlimit --nofile=16 "$programs/examples/echo" 127.0.0.1:0
  same "nc's echo" hello "$(printf 'hello\n' | timeout 10 nc -N "$host" "$port")"
  for _ in {1..24}; do
    exec {fd}<>"/dev/tcp/$host/$port"
    held+=("$fd")
  done
  expect "$printed" 'echo: cannot accept: *' echo
  for fd in "${held[@]}"; do exec {fd}>&-; done
  same "nc's echo after the server ran out of files" hello "$(printf 'hello\n' | timeout 10 nc -N "$host" "$port")"
  passed "echo: serves on after it ran out of files"
  stop "$server"
}

# --- http and proxy ---

# get URL OPTIONS...: the body, the version of HTTP and the status.
get() { timeout 10 curl -s -w ' %{http_version} %{http_code}' "$@" | tr -d '\n'; }

try_http() {
  serve "$programs/examples/http" 127.0.0.1:0
  http=$address http_server=$server http_printed=$printed
  same "curl over HTTP/1.1" 'Hello, World! 1.1 200' "$(get "http://$http/")"
  same "curl over HTTP/2" 'Hello, World! 2 200' "$(get --http2-prior-knowledge "http://$http/")"
  same "curl for a page that is not there" 'There are / and /slow. 1.1 404' "$(get "http://$http/else")"
  passed "http: curl over HTTP/1.1 and HTTP/2"

  timeout 20 wrk -t2 -c64 -d2s --timeout 8s "http://$http/" >"$scratch/wrk" || fail "wrk: $(cat "$scratch/wrk")"
  if grep -Ei 'errors|non-2xx' "$scratch/wrk"; then fail "wrk saw the errors above"; fi
  grep -q '^Requests/sec: *[1-9]' "$scratch/wrk" || fail "wrk got no answers: $(cat "$scratch/wrk")"
  passed "http: wrk with 64 connections, no errors, $(sed -n 's/^Requests\/sec: *//p' "$scratch/wrk") requests/s"
}

try_proxy() {
  serve "$programs/examples/proxy" 127.0.0.1:0 "$http"
  same "curl through the proxy" 'Hello, World! 1.1 200' "$(get "http://$address/")"
  expect "$printed" "127.0.0.1:*: [1-9]* bytes to $http, [1-9]* bytes back" proxy
  same "HTTP/2 through the proxy" 'Hello, World! 2 200' "$(get --http2-prior-knowledge "http://$address/")"
  expect "$printed" "127.0.0.1:*: [1-9]* bytes to $http, [1-9]* bytes back" proxy
  stop "$server"
  passed "proxy: curl over HTTP/1.1 and HTTP/2 through it"

  # A half-close has to get through: echo answers to the end of the input.
  serve "$programs/examples/echo" 127.0.0.1:0
  local echo=$address echo_server=$server
  serve "$programs/examples/proxy" 127.0.0.1:0 "$echo"
  same "checksum of 100 MB through proxy and echo" "$(sha256sum <"$scratch/data")" \
    "$(timeout 20 nc -N "$host" "$port" <"$scratch/data" | sha256sum)"
  expect "$printed" "127.0.0.1:*: 100000000 bytes to $echo, 100000000 bytes back" proxy
  passed "proxy: 100 MB both ways, ended by a half-close, and counted"

  stop "$echo_server"
  same "an answer from a target that is not there" '' "$(timeout 10 nc "$host" "$port" </dev/null)"
  expect "$printed" "proxy: 127.0.0.1:*: cannot reach $echo: *refused*" proxy
  passed "proxy: says that the target is not there"
  stop "$server"
}

try_graceful_stop() {
  local idle one two code=0
  exec {idle}<>"/dev/tcp/${http%:*}/${http##*:}"
  get "http://$http/slow" >"$scratch/one" &
  one=$!
  get --http2-prior-knowledge "http://$http/slow" >"$scratch/two" &
  two=$!
  expect "$http_printed" 'a slow request came in' http
  expect "$http_printed" 'a slow request came in' http
  kill -TERM "$http_server"
  expect "$http_printed" 'http: stopping, *' http
  timeout 10 curl -s "http://$http/" >"$scratch/refused" || code=$?
  # 7 is curl's for a connection that was refused.
  same "curl's exit code for a new connection to a server that stops" 7 "$code"
  wait "$one" || fail "curl over HTTP/1.1 was cut off by SIGTERM"
  wait "$two" || fail "curl over HTTP/2 was cut off by SIGTERM"
  same "the request over HTTP/1.1 that SIGTERM found" 'Hello at last! 1.1 200' "$(cat "$scratch/one")"
  same "the request over HTTP/2 that SIGTERM found" 'Hello at last! 2 200' "$(cat "$scratch/two")"
  code=0
  wait "$http_server" || code=$?
  same "exit code of http after SIGTERM" 0 "$code"
  exec {idle}>&-
  passed "http: SIGTERM refuses new connections, finishes both requests and exits with 0"
}

# --- chat ---

# join NAME: a client by nc. Sets `says` and `hears` to descriptors; `leave` closes the first.
join() {
  local pipe
  new_pipe
  hears=$pipe
  # Without the other clients' inputs: these would never see their end.
  exec {says}> >(
    for says in "${inputs[@]}"; do exec {says}>&-; done
    exec timeout 30 nc -N "$host" "$port" >&"$hears"
  )
  inputs+=("$says")
  expect "$hears" '\* your name\?' chat
  printf '%s\n' "$1" >&"$says"
}

# leave FD: the end of a client's input.
leave() {
  local fd=$1 input kept=()
  exec {fd}>&-
  for input in "${inputs[@]}"; do [ "$input" = "$1" ] || kept+=("$input"); done
  inputs=("${kept[@]}")
}

try_chat() {
  local inputs=() says hears alice_says alice bob_says bob witness watching slow
  serve "$programs/examples/chat" 127.0.0.1:0
  join alice
  alice=$hears alice_says=$says
  expect "$alice" '\* hello alice; here are \[\]' chat
  join alice
  bob=$hears bob_says=$says
  expect "$bob" '\* somebody has that name; your name\?' chat
  printf 'bob\n' >&"$bob_says"
  expect "$bob" '\* hello bob; here are \[alice\]' chat
  expect "$alice" '\* bob joined' chat
  printf 'how are you?\n' >&"$bob_says"
  expect "$alice" 'bob: how are you\?' chat
  printf 'well\n' >&"$alice_says"
  # The next line of all: nobody hears himself.
  IFS= read -r -t 10 -u "$bob" line || fail "bob hears nothing"
  same "the next line that bob hears" 'alice: well' "$line"
  leave "$alice_says"
  expect "$bob" '\* alice left' chat
  passed "chat: two nc clients hear each other join, speak and leave"

  exec {slow}<>"/dev/tcp/$host/$port"
  printf 'slow\n' >&"$slow"
  expect "$bob" '\* slow joined' chat
  leave "$bob_says"
  join witness
  witness=$hears
  expect "$witness" '\* hello witness; *' chat
  timeout 20 sed '/^\* talker left$/q' <&"$witness" >"$scratch/heard" &
  watching=$!
  # Far more than the system keeps for a client that does not read.
  { echo talker; seq -f '%0990g' 20000; } | timeout 20 nc -N "$host" "$port" >/dev/null || fail "nobody heard the talker"
  wait "$watching" || fail "the witness did not hear the talker leave: $(tail -n 1 "$scratch/heard" | cut -c 1-100)"
  cmp <(seq -f 'talker: %0990g' 20000) <(grep '^talker: ' "$scratch/heard") || fail "the witness missed lines"
  grep -qxF '* slow read too slowly and was dropped' "$scratch/heard" || fail "the slow reader was kept"
  same "what the slow reader reads last" '* you read too slowly; goodbye' "$(timeout 10 cat <&"$slow" | tail -n 1)"
  exec {says}>&- {slow}>&-
  passed "chat: 20,000 lines reach a witness while a client that does not read is dropped"
  stop "$server"
}

# --- beside tokio ---

# The processor time of a process, in clock ticks. The name, in parentheses, may have spaces in it.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

# How often the threads of a process gave a processor away, of themselves or not.
switches() { cat "/proc/$1"/task/*/status | awk '/_ctxt_switches:/ { sum += $2 } END { print sum }'; }

# measure PEER SECONDS: one line, `PEER requests/s p99_us cpu_seconds_per_1000 context_switches_per_1000`.
measure() {
  local before after switched
  serve "$programs/hello" --peer "$1" --http
  # Warm: every connection's first request, and the code.
  wrk -t2 -c64 -d1s "http://$address/" >"$scratch/warm"
  before=$(ticks "$server") switched=$(switches "$server")
  wrk -t2 -c64 "-d$2s" --latency "http://$address/" >"$scratch/wrk"
  after=$(ticks "$server") switched=$(($(switches "$server") - switched))
  if grep -Ei 'errors|non-2xx' "$scratch/wrk"; then fail "wrk saw the errors above with $1"; fi
  awk -v peer="$1" -v ticks=$((after - before)) -v switched="$switched" -v per_second="$(getconf CLK_TCK)" '
    $1 == "99%" {
      p99 = $2 + 0
      if ($2 ~ /ms$/) p99 *= 1000
      else if ($2 !~ /us$/) p99 *= 1000000
    }
    $2 == "requests" && $3 == "in" { requests = $1 }
    $1 == "Requests/sec:" { rate = $2 }
    END {
      if (!rate || !p99) exit 1
      printf "%-6s %10.0f %10.0f %12.6f %14.2f\n", peer, rate, p99, ticks / per_second * 1000 / requests, switched * 1000 / requests
    }' "$scratch/wrk" || fail "wrk's report cannot be read: $(cat "$scratch/wrk")"
  stop "$server"
}

# turns SECONDS PEER...: measures each peer once.
turns() {
  local peer
  for peer in "${@:2}"; do measure "$peer" "$1" | tee -a "$scratch/figures"; done
}

# The figures of a peer, one to a line.
column() { awk -v peer="$1" -v column="$2" '$1 == peer { print $column }' "$scratch/figures"; }

# for_each_figure COMMAND: calls it with the name and the number of each column.
for_each_figure() {
  local what number=2
  for what in requests/s "p99 us" "cpu s/1000" "switches/1000"; do
    "$1" "$what" $number
    number=$((number + 1))
  done
}

# The middle one of three.
median() { column "$1" "$2" | sort -g | sed -n 2p; }

medians() {
  awk -v what="$1" -v ours="$(median ours "$2")" -v tokio="$(median tokio "$2")" \
    'BEGIN { printf "%-13s medians: ours %s, tokio %s, ours/tokio %.3f\n", what, ours, tokio, ours / tokio }'
}

# The middle of the pairs' quotients, and between which of 30 it lies in 95 of 100 such runs (binomial). A mean would say
# how often the machine changed its speed within a pair.
quotients() {
  paste <(column ours "$2") <(column tokio "$2") | awk '{ print $1 / $2 }' | sort -g | awk -v what="$1" '
    { quotient[NR] = $1 }
    END {
      middle = (quotient[15] + quotient[16]) / 2
      printf "%-13s pairs: ours/tokio %.3f (%.3f to %.3f)\n", what, middle, quotient[10], quotient[21]
    }'
}

compare() {
  install
  cargo build --quiet --release -p runtime-benches --bin hello
  printf '%-6s %10s %10s %12s %14s\n' peer requests/s "p99 us" "cpu s/1000" "switches/1000"
  "$1"
}

long_turns() {
  local _
  for _ in 1 2 3; do turns 30 ours tokio; done
  for_each_figure medians
}

# Whoever comes second in one pair comes first in the next.
short_pairs() {
  local _
  for _ in {1..15}; do turns 2 ours tokio tokio ours; done
  for_each_figure quotients
}

case ${1:-} in
  '')
    install
    cargo build --quiet --release -p runtime --features hyper \
      --example echo --example http --example proxy --example chat
    SECONDS=0
    try_echo
    try_exhaustion
    try_http
    try_proxy
    try_graceful_stop
    try_chat
    echo "all passed (${SECONDS}s)"
    ;;
  --long) compare long_turns ;;
  --pairs) compare short_pairs ;;
  *)
    echo "usage: tests/clients.sh [--long|--pairs]" >&2
    exit 2
    ;;
esac
