#!/bin/sh
# The runtime's own tests and the integration tests under the sanitizers.
#
#   tests/sanitizers.sh          both
#   tests/sanitizers.sh asan     addresses and leaks: use after free, double free, what nobody frees
#   tests/sanitizers.sh tsan     data races
#   tests/sanitizers.sh tsan cancel    only the tests whose name contains the word
#
# The toolchain is the stable one: RUSTC_BOOTSTRAP lets it take the sanitizer flags.
set -eu
cd "$(dirname "$0")/.."

which=both
case ${1-} in asan | tsan | both) which=$1; shift ;; esac

target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
# Backtraces of panics that tests expect are made under locks of std's, which the race detector does not see.
export RUST_BACKTRACE=0

# run FLAGS_OF_CARGO -- FLAGS_OF_THE_TESTS
run() {
    # --target keeps build scripts and macros, which run in the compiler, free of the sanitizer.
    cargo test --quiet --target "$target" -p runtime --lib "$@"
    # The tests of the examples build them with a cargo of their own, which would get the flags without the --target.
    cargo test --quiet --target "$target" -p runtime-tests --test it "$@" --skip examples::
}

asan() {
    export CARGO_TARGET_DIR="$PWD/target/asan"
    # Frame pointers make the stacks in a report readable.
    export RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes"
    export ASAN_OPTIONS="detect_stack_use_after_return=1:detect_leaks=1"
    # Absolute, because cargo runs each test in the directory of its package. Schedulers are never freed, but stay
    # reachable, which is no leak.
    export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
    # What a test forgets on purpose is a leak, and a forgotten runtime holds memory that other tests have used.
    run "$@" --skip a_forgotten_
}

tsan() {
    export CARGO_TARGET_DIR="$PWD/target/tsan"
    # The standard library comes without instrumentation, which is what the flag allows and the suppressions are for.
    export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
    # Absolute, as above.
    export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"
    # The symbolizer starts at the first report that is to be suppressed: what counts descriptors would count its own, and
    # where none are left it does not start, and nothing is suppressed.
    # Signals are held back from a thread until it calls something that the sanitizer intercepts, and epoll_pwait2 is not.
    # The other runtimes, and tests about the system's own lock, have std's locks, which came without instrumentation.
    run "$@" --skip five_thousand_connections --skip fifty_runtimes_with_sockets --skip net_exhaustion:: \
        --skip a_task_that_is_cancelled_while_it_connects --skip a_connect_that_is_dropped_in_the_middle \
        --skip signal:: --skip p06_ --skip a_shutdown_ends_every_wait_of_foreign_threads --skip sync:: --skip p05_
}

if [ "$which" = both ]; then
    # At once: most of a build is one crate, which leaves a processor idle for much of the time.
    (asan --no-run --) &
    (tsan --no-run --)
    wait $!
fi
[ "$which" = tsan ] || (asan -- "$@")
[ "$which" = asan ] || (tsan -- "$@")
