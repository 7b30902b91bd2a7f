#!/bin/sh
# The crate with each of its features alone, and with none: what they leave out is missed by nothing, and what they bring needs
# nothing that another one brings.
#
#   tests/features.sh          before a release, or after a change of a `cfg(feature)`
set -eu
cd "$(dirname "$0")/.."

export RUSTFLAGS="-D warnings"
export CARGO_TARGET_DIR="$PWD/target/features"

features=$(sed -n '/^\[features\]/,/^$/s/^\([a-z-]*\) = .*/\1/p' runtime/Cargo.toml)
for feature in "" $features; do
    echo "feature: ${feature:-none}"
    cargo check --quiet -p runtime --no-default-features --features "$feature" --all-targets
done
