//! What tasks, sleeps and sockets cost in memory: so many allocations, of so many bytes, given back at the end.
#![expect(unsafe_code, reason = "a global allocator that counts is an unsafe impl")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use runtime::Runtime;
use runtime::task::yield_now;
use runtime::time::{sleep, timeout};
use runtime_tests::{Counts, multi, single, tcp_pair, until};

/// The system's allocator, with counters in front.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);
static LIVE_BLOCKS: AtomicIsize = AtomicIsize::new(0);
/// The size of the last allocation.
static LAST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Of this thread only: what the test's own thread does is exact whatever libtest does beside it.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

#[expect(clippy::cast_possible_wrap, reason = "no layout is larger than isize::MAX")]
fn signed(bytes: usize) -> isize {
    bytes as isize
}

// SAFETY: every call goes to the system's allocator unchanged; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BLOCKS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(signed(layout.size()), Ordering::Relaxed);
        LAST.store(layout.size(), Ordering::Relaxed);
        let _ = OWN.try_with(|own| own.set(own.get() + 1));
        // SAFETY: the caller's contract is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BLOCKS.fetch_sub(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(signed(layout.size()), Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live_bytes() -> isize {
    LIVE_BYTES.load(Ordering::SeqCst)
}

/// Allocations of this thread while it runs `f`.
fn own_allocations(f: impl FnOnce()) -> usize {
    let before = OWN.get();
    f();
    OWN.get() - before
}

const WARM_UP: usize = 2_000;
const ROUNDS: usize = 1_000;

fn spawn_and_await(rt: &Runtime) {
    rt.block_on(async { one().await });

    async fn one() {
        let value = black_box(1_u32);
        let task = runtime::spawn(async move { value + 1 });
        assert_eq!(task.await.unwrap(), 2);
    }
}

/// Allocations for `ROUNDS` spawns that are awaited one at a time, inside one `block_on`.
fn steady(rt: &Runtime) -> usize {
    rt.block_on(async {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        for _ in 0..ROUNDS {
            let value = black_box(1_u32);
            let task = runtime::spawn(async move { value + 1 });
            assert_eq!(task.await.unwrap(), 2);
        }
        ALLOCATIONS.load(Ordering::SeqCst) - before
    })
}

fn a_spawn_on_one_thread_is_one_allocation() {
    let rt = single();
    (0..WARM_UP).for_each(|_| spawn_and_await(&rt));
    let allocations = steady(&rt);
    // The injector takes a block of its own for each 63 tasks; nothing else may.
    assert!((ROUNDS..=ROUNDS + ROUNDS / 31).contains(&allocations), "{allocations} for {ROUNDS} spawns");
}

fn a_spawn_inside_a_task_is_one_allocation() {
    for rt in [single(), multi(1), multi(2)] {
        let measured = rt.spawn(async {
            let mut least = usize::MAX;
            // What another thread allocates once, the one that waits here for example, is in one round only.
            for _ in 0..4 {
                let before = ALLOCATIONS.load(Ordering::SeqCst);
                for _ in 0..ROUNDS {
                    let value = black_box(1_u32);
                    let task = runtime::spawn(async move { value + 1 });
                    assert_eq!(task.await.unwrap(), 2);
                }
                least = least.min(ALLOCATIONS.load(Ordering::SeqCst) - before);
            }
            least
        });
        let allocations = rt.block_on(measured).unwrap();
        assert!((ROUNDS..=ROUNDS + 2).contains(&allocations), "{allocations} for {ROUNDS} spawns");
    }
}

fn polling_waking_and_yielding_allocate_nothing() {
    let rt = single();
    let task = rt.spawn(async {
        for _ in 0..WARM_UP {
            yield_now().await;
        }
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        for _ in 0..ROUNDS {
            yield_now().await;
        }
        ALLOCATIONS.load(Ordering::SeqCst) - before
    });
    assert_eq!(rt.block_on(task).unwrap(), 0);
}

fn cancelling_allocates_at_most_the_error() {
    let rt = single();
    rt.block_on(async {
        for warm_up in [true, false] {
            let tasks: Vec<_> = (0..100).map(|_| runtime::spawn(pending::<()>())).collect();
            runtime_tests::settle().await;
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            for task in tasks {
                assert!(task.cancel_and_wait().await.unwrap_err().is_cancelled());
            }
            let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
            assert!(warm_up || allocations <= 100 + 4, "{allocations} for 100 cancellations");
        }
    });
}

fn the_cell_of_an_empty_task_has_72_bytes() {
    let rt = single();
    rt.block_on(async {
        drop(runtime::spawn(async {}).await);
        let mut size = 0;
        let allocations = own_allocations(|| {
            let task = runtime::spawn(async {});
            size = LAST.load(Ordering::SeqCst);
            drop(task);
        });
        assert_eq!((allocations, size), (1, 72));
    });
}

fn the_future_adds_its_own_size_and_no_more() {
    let rt = single();
    rt.block_on(async {
        drop(runtime::spawn(async {}).await);
        let room = black_box([0_u8; 512]);
        let future = async move {
            black_box(&room);
        };
        let bytes = size_of_val(&future);
        let task = runtime::spawn(future);
        let size = LAST.load(Ordering::SeqCst);
        drop(task);
        assert!(size <= 64 + bytes.next_multiple_of(8), "{size} for a future of {bytes}");
    });
}

/// Tasks of one round. Leaked ones would be a megabyte and a half: each has 72 bytes at least.
const TASKS: usize = 20_000;

fn spawn_and_await_many(rt: &Runtime, tasks: usize) {
    let counts = Counts::new();
    let tasks: Vec<_> = (0..tasks).map(|_| rt.spawn(counts.watch(async {}))).collect();
    rt.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Waits until no more is left than the little that comes and goes.
///
/// What a deque outgrew goes back when no other thread may still look at it, and a deque gets smaller when its own worker
/// takes something: that needs more tasks, so many that no worker leaves all of them to the others for ever.
fn returns_to(before: isize, rt: &Runtime) {
    until(|| rt.metrics().live_tasks() == 0);
    until(|| {
        spawn_and_await_many(rt, TASKS / 10);
        live_bytes() - before < 64 << 10
    });
}

fn memory_returns_when_tasks_end() {
    for rt in [single(), multi(2)] {
        spawn_and_await_many(&rt, TASKS);
        until(|| rt.metrics().live_tasks() == 0);
        let before = live_bytes();
        for _ in 0..3 {
            spawn_and_await_many(&rt, TASKS);
        }
        returns_to(before, &rt);
    }
}

fn memory_returns_when_others_took_what_was_queued() {
    let rt = multi(2);
    spawn_and_await_many(&rt, TASKS);
    until(|| rt.metrics().live_tasks() == 0);
    let before = live_bytes();
    let burst = rt.spawn(async {
        let counts = Counts::new();
        for _ in 0..TASKS {
            drop(runtime::spawn(counts.watch(async {})));
        }
        // Without a return to the worker, which takes none of them.
        until(|| counts.drops() == TASKS);
    });
    burst.wait().unwrap();
    returns_to(before, &rt);
}

fn memory_returns_when_waiting_tasks_are_cancelled() {
    let rt = single();
    let round = || {
        rt.block_on(async {
            let tasks: Vec<_> = (0..20_000).map(|_| runtime::spawn(pending::<()>())).collect();
            runtime_tests::settle().await;
            for task in &tasks {
                task.cancel();
            }
            for task in tasks {
                assert!(task.await.is_err());
            }
        });
    };
    round();
    let before = live_bytes();
    (0..3).for_each(|_| round());
    let grown = live_bytes() - before;
    assert!(grown < 64 << 10, "{grown} bytes stay");
}

fn memory_returns_when_connections_have_come_and_gone() {
    let rt = multi(2);
    let round = || {
        rt.block_on(async {
            for _ in 0..CONNECTIONS / BATCH {
                let mut pairs = Vec::with_capacity(BATCH);
                for _ in 0..BATCH {
                    pairs.push(tcp_pair().await.unwrap());
                }
                let waits: Vec<_> = pairs
                    .into_iter()
                    .map(|(client, server)| {
                        runtime::spawn(async move {
                            client.write_all(b"ping").await.unwrap();
                            server.read_exact(&mut [0; 4]).await.unwrap();
                            // It waits in vain, with a timer, and is cancelled.
                            let _ = timeout(Duration::from_secs(3_600), client.read(&mut [0; 4])).await;
                        })
                    })
                    .collect();
                runtime_tests::settle().await;
                for wait in waits {
                    let _ = wait.cancel_and_wait().await;
                }
            }
        });
        until(|| rt.metrics().live_tasks() == 0);
    };
    round();
    let before = live_bytes();
    (0..3).for_each(|_| round());
    let grown = live_bytes() - before;
    assert!(grown < 64 << 10, "{grown} bytes stay of {} connections", 3 * CONNECTIONS);
}

fn memory_returns_when_runtimes_end() {
    let round = || {
        let rt = multi(2);
        let tasks: Vec<_> = (0..200).map(|_| rt.spawn(pending::<()>())).collect();
        rt.spawn_blocking(|| ()).wait().unwrap();
        drop(rt);
        tasks.into_iter().for_each(|task| assert!(task.wait().is_err()));
    };
    (0..30).for_each(|_| round());
    let before = live_bytes();
    (0..100).for_each(|_| round());
    let grown = live_bytes() - before;
    assert!(grown < 64 << 10, "{grown} bytes stay");
}

// --- timers ---

/// A level of the timer wheel takes a block when it is first used; so do a thread that lies down for the first time and
/// a table that grows. None of it comes again.
const ONCE: usize = 40;
const CONNECTIONS: usize = 1_000;
const BATCH: usize = 250;

/// Allocations while `future` runs on a runtime, after it ran once to warm up.
fn allocations_of<F: Future>(rt: &Runtime, future: impl Fn() -> F) -> usize {
    rt.block_on(async {
        future().await;
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        future().await;
        ALLOCATIONS.load(Ordering::SeqCst) - before
    })
}

fn a_sleep_allocates_nothing() {
    for rt in [single(), multi(1), multi(2)] {
        let sleeps = || async {
            for _ in 0..ROUNDS {
                sleep(Duration::from_micros(2)).await;
            }
        };
        let allocations = allocations_of(&rt, sleeps);
        assert!(allocations <= ONCE, "{allocations} for {ROUNDS} sleeps");
    }
}

fn a_timeout_that_is_not_needed_allocates_nothing() {
    for rt in [single(), multi(1), multi(2)] {
        let in_time = || async {
            for _ in 0..ROUNDS {
                timeout(Duration::from_secs(60), yield_now()).await.unwrap();
            }
        };
        let allocations = allocations_of(&rt, in_time);
        assert!(allocations <= ONCE, "{allocations} for {ROUNDS} timeouts");
    }
}

fn a_timeout_allocates_its_error() {
    for rt in [single(), multi(1), multi(2)] {
        let too_late = || async {
            for _ in 0..ROUNDS {
                timeout(Duration::from_micros(2), pending::<()>()).await.unwrap_err();
            }
        };
        let allocations = allocations_of(&rt, too_late);
        assert!((ROUNDS..=ROUNDS + ONCE).contains(&allocations), "{allocations} for {ROUNDS} timeouts");
    }
}

// --- sockets ---

/// Polls once, and the future has to wait.
async fn wait_begins(future: &mut (impl Future + Unpin)) {
    let waits = poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await;
    assert!(waits);
}

fn the_first_wait_on_a_socket_is_one_allocation_and_the_next_are_none() {
    const SOCKETS: usize = 64;
    for rt in [single(), multi(1), multi(2)] {
        rt.block_on(async {
            let mut pairs = Vec::new();
            for _ in 0..=SOCKETS {
                pairs.push(tcp_pair().await.unwrap());
            }
            let mut waits: Vec<_> = pairs.iter().map(|(client, _)| Box::pin(client.readable())).collect();
            // The first one of all makes the reactor.
            wait_begins(&mut waits[0]).await;
            let before = OWN.get();
            for wait in &mut waits[1..] {
                wait_begins(wait).await;
            }
            let first = OWN.get() - before;
            // The table of all sockets doubles a few times, and a worker is started to attend them.
            assert!((SOCKETS..=SOCKETS + ONCE).contains(&first), "{first} for {SOCKETS} sockets");
            let next = own_allocations(|| drop(waits));
            assert_eq!(next, 0);
            let before = OWN.get();
            for (client, _) in &pairs {
                wait_begins(&mut pin!(client.readable())).await;
            }
            assert_eq!(OWN.get() - before, 0, "for the second waits");
        });
    }
}

fn an_exchange_on_a_kept_connection_allocates_nothing() {
    for rt in [single(), multi(1), multi(2)] {
        let (client, server) = rt.block_on(tcp_pair()).unwrap();
        let echo = rt.spawn(async move {
            let mut buf = [0; 64];
            while let Ok(len @ 1..) = server.read(&mut buf).await {
                server.write_all(&buf[..len]).await.unwrap();
            }
        });
        let exchanges = || async {
            let mut buf = [0; 64];
            for _ in 0..ROUNDS {
                client.write_all(b"hello").await.unwrap();
                assert_eq!(client.read(&mut buf).await.unwrap(), 5);
            }
        };
        let allocations = allocations_of(&rt, exchanges);
        // A buffer for the events when one thread still dispatches while the next one waits.
        assert!(allocations <= ONCE, "{allocations} for {ROUNDS} exchanges");
        drop(client);
        rt.block_on(echo).unwrap();
    }
}

/// One test, because the counters are the process's: a second one would be counted in.
#[test]
fn a_task_is_one_allocation_that_is_given_back() {
    the_cell_of_an_empty_task_has_72_bytes();
    the_future_adds_its_own_size_and_no_more();
    a_spawn_on_one_thread_is_one_allocation();
    a_spawn_inside_a_task_is_one_allocation();
    polling_waking_and_yielding_allocate_nothing();
    cancelling_allocates_at_most_the_error();
    memory_returns_when_tasks_end();
    memory_returns_when_others_took_what_was_queued();
    memory_returns_when_waiting_tasks_are_cancelled();
    memory_returns_when_connections_have_come_and_gone();
    memory_returns_when_runtimes_end();
    a_sleep_allocates_nothing();
    a_timeout_that_is_not_needed_allocates_nothing();
    a_timeout_allocates_its_error();
    the_first_wait_on_a_socket_is_one_allocation_and_the_next_are_none();
    an_exchange_on_a_kept_connection_allocates_nothing();
    assert!(LIVE_BLOCKS.load(Ordering::SeqCst) > 0);
}
