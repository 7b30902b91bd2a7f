#!/bin/sh
# Installs what is missing of the given commands with apt-get.
#
#   tests/install.sh strace nc:netcat-openbsd     a command, and its package where that has another name
set -eu

missing=
for pair; do
    command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

echo "installing$missing"
log=$(mktemp)
# Mirrors fail now and then, and a machine that has just started may be installing something of its own.
apt() { apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=60 "$@" >>"$log" 2>&1; }
# shellcheck disable=SC2086  # words they are
if ! { apt update && apt install -y --no-install-recommends $missing; }; then
    tail -n 5 "$log" >&2
    rm "$log"
    echo "cannot install$missing" >&2
    exit 1
fi
rm "$log"
