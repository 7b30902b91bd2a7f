//! Whole lives of runtimes, over and over: start, spawn from foreign threads, steal, cancel, shut down.
//!
//! `RUNTIME_STRESS_ITERATIONS` says how many lives (300), `RUNTIME_STRESS_SEED` repeats a run; the seed is printed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runtime::{AbortHandle, Handle, Promise, Runtime, Task};
use runtime_tests::{Counts, Gate, PATIENCE, open_files, threads, until, within};

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {text:?}")))
}

fn iterations() -> u64 {
    variable("RUNTIME_STRESS_ITERATIONS").unwrap_or(300)
}

fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = variable("RUNTIME_STRESS_SEED").unwrap_or_else(clock);
    println!("RUNTIME_STRESS_SEED={seed} RUNTIME_STRESS_ITERATIONS={}", iterations());
    seed
}

/// SplitMix64 (Steele, Lea, Flood 2014): a stream for each seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What one life has made, to be accounted for at its end.
#[derive(Clone, Default)]
struct Ledger {
    counts: Counts,
    made: Arc<AtomicUsize>,
}

impl Ledger {
    fn watch<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let token = self.counts.token();
        async move {
            let _token = token;
            future.await
        }
    }
}

/// One foreign thread's part in a life.
fn foreign(handle: &Handle, ledger: &Ledger, mut random: Random) -> Vec<Task<()>> {
    let mut kept = Vec::new();
    let mut aborts: Vec<AbortHandle> = Vec::new();
    for _ in 0..random.below(24) {
        let task = one_of_many(handle, ledger, &mut random);
        match random.below(6) {
            0 => {
                task.cancel();
            }
            1 => aborts.push(task.abort_handle()),
            2 => {
                drop(task);
                continue;
            }
            3 => {
                drop(task.abort_on_drop());
                continue;
            }
            _ => {}
        }
        kept.push(task);
        if random.below(4) == 0 {
            for abort in aborts.drain(..) {
                abort.cancel();
            }
        }
        if random.below(8) == 0 {
            let inner = ledger.watch(async {});
            handle.block_on(async { drop(runtime::spawn(inner).await) });
        }
    }
    kept
}

fn one_of_many(handle: &Handle, ledger: &Ledger, random: &mut Random) -> Task<()> {
    let yields = random.below(4);
    match random.below(7) {
        0 => handle.spawn(ledger.watch(async {})),
        1 => handle.spawn(ledger.watch(async move {
            for _ in 0..yields {
                runtime::task::yield_now().await;
            }
        })),
        2 => handle.spawn(ledger.watch(std::future::pending())),
        3 => {
            // Children: work to steal.
            let children: Vec<_> = (0..8).map(|_| ledger.watch(runtime::task::yield_now())).collect();
            handle.spawn(ledger.watch(async move {
                let children: Vec<_> = children.into_iter().map(runtime::spawn).collect();
                for child in children {
                    let _ = child.await;
                }
            }))
        }
        4 => {
            let gate = Gate::new();
            let passing = gate.clone();
            let task = handle.spawn(ledger.watch(async move { passing.pass().await }));
            thread::yield_now();
            gate.open();
            task
        }
        5 => {
            let (promise, future) = Promise::new();
            let task = handle.spawn(ledger.watch(async move { drop(future.await) }));
            let _ = promise.set_result(());
            task
        }
        _ => handle.spawn_blocking(thread::yield_now),
    }
}

/// One life; whatever happens in it, nothing is lost and nothing stays.
fn life(mut random: Random) {
    let workers = usize::try_from(random.below(4)).expect("small");
    let builder = Runtime::builder().blocking_keep_alive(Duration::from_millis(random.below(2)));
    let builder = if workers == 0 { builder.current_thread() } else { builder.worker_threads(workers) };
    let rt = builder.build().expect("a runtime");
    let ledger = Ledger::default();
    let start = Arc::new(Barrier::new(5));
    let threads = [(); 4].map(|()| {
        let (handle, ledger, start) = (rt.handle(), ledger.clone(), start.clone());
        let random = Random(random.next());
        thread::spawn(move || {
            start.wait();
            foreign(&handle, &ledger, random)
        })
    });
    start.wait();
    // Some lives end while the foreign threads are still at it, some after.
    let early = random.below(2) == 0 && workers != 0;
    let mut tasks = Vec::new();
    let mut rt = Some(rt);
    if early {
        for _ in 0..random.below(200) {
            thread::yield_now();
        }
        end(rt.take().expect("alive"), random.below(4));
    }
    for thread in threads {
        tasks.extend(thread.join().expect("the foreign thread's part"));
    }
    if let Some(rt) = rt {
        if random.below(2) == 0 {
            rt.block_on(runtime_tests::settle());
        }
        end(rt, random.below(4));
    }
    for task in tasks {
        if let Err(error) = task.wait() {
            assert!(error.is_cancelled() || error.is_shutdown(), "{error}");
        }
    }
    until(|| ledger.counts.drops() == ledger.made.load(Ordering::SeqCst));
}

fn end(rt: Runtime, how: u64) {
    match how {
        0 => drop(rt),
        1 => drop(rt.shutdown(Duration::ZERO)),
        2 => rt.shutdown_background(),
        _ => {
            let handle = rt.handle();
            handle.block_on(async move { drop(rt) });
        }
    }
}

/// One test, so that nothing else starts threads or opens files meanwhile.
#[test]
fn lives_of_runtimes_leave_no_thread_no_file_and_no_task_behind() {
    let mut random = Random(seed());
    // The first lives make what is kept for the process: schedulers, the default runtime, the epochs of the deques.
    for _ in 0..10 {
        let stream = Random(random.next());
        within(PATIENCE * 2, move || life(stream));
    }
    let settled = || {
        let before = (threads(), open_files());
        (0..50).for_each(|_| thread::yield_now());
        (before == (threads(), open_files())).then_some(before)
    };
    let mut before = None;
    until(|| {
        before = settled();
        before.is_some()
    });
    let (threads_before, files_before) = before.expect("settled");
    for n in 0..iterations() {
        let stream = Random(random.next());
        let state = stream.0;
        let lived = std::panic::catch_unwind(move || within(PATIENCE * 2, move || life(stream)));
        if let Err(payload) = lived {
            println!("life {n} of stream {state}");
            std::panic::resume_unwind(payload);
        }
    }
    until(|| threads() <= threads_before);
    until(|| open_files() <= files_before);
}
