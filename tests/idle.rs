//! An idle runtime makes no wake-ups: its threads are not scheduled at all.
//!
//! Counts are read, not times: the context switches of each thread, from the kernel. `RUNTIME_IDLE_SECONDS` says for
//! how long (2).

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use runtime::Runtime;
use runtime_tests::{Counts, Gate, until};

/// Context switches by thread, of the threads whose name begins so.
fn switches(prefix: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("/proc").filter_map(Result::ok) {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if !field("Name:").is_some_and(|name| name.starts_with(prefix)) {
            continue;
        }
        let count = |name| field(name).and_then(|count| count.parse::<u64>().ok()).expect("a count");
        let id = task.file_name().into_string().expect("a number");
        found.insert(id, count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:"));
    }
    found
}

/// The counts once they no longer change while this thread gives way a few thousand times.
fn stable(prefix: &str, threads: usize) -> BTreeMap<String, u64> {
    let mut last = BTreeMap::new();
    until(|| {
        (0..2_000).for_each(|_| thread::yield_now());
        let now = switches(prefix);
        let same = now == last && now.len() == threads;
        last = now;
        same
    });
    last
}

fn observe(prefix: &str, threads: usize) {
    let seconds = std::env::var("RUNTIME_IDLE_SECONDS").map_or(2, |text| text.parse().expect("a number"));
    let before = stable(prefix, threads);
    thread::sleep(Duration::from_secs(seconds));
    let after = switches(prefix);
    assert_eq!(before, after, "context switches in {seconds} s without work");
}

/// One test after the other in one function: each would be the other's noise.
#[test]
fn an_idle_runtime_makes_no_wake_ups() {
    two_workers_and_a_blocking_thread();
    waiting_tasks();
    two_threads_inside_block_on();
    two_threads_inside_block_on_of_a_current_thread_runtime();
}

fn busy_then_idle(rt: &Runtime) {
    let both = Arc::new(Barrier::new(2));
    let meet = || {
        let both = both.clone();
        rt.spawn(async move {
            both.wait();
        })
    };
    [meet(), meet()].into_iter().for_each(|task| task.wait().expect("the workers run"));
    rt.spawn_blocking(|| ()).wait().expect("the pool runs");
}

fn runtime(name: &str) -> Runtime {
    Runtime::builder()
        .worker_threads(2)
        .thread_name(name)
        .blocking_keep_alive(Duration::from_secs(3600))
        .build()
        .expect("a runtime")
}

fn two_workers_and_a_blocking_thread() {
    let rt = runtime("empty");
    busy_then_idle(&rt);
    observe("empty-", 3);
}

fn waiting_tasks() {
    let rt = runtime("waits");
    let counts = Counts::new();
    let tasks: Vec<_> = (0..1_000).map(|_| rt.spawn(counts.watch(std::future::pending::<()>()))).collect();
    until(|| counts.polls() == 1_000);
    busy_then_idle(&rt);
    observe("waits-", 3);
    assert_eq!(counts.polls(), 1_000);
    drop(tasks);
}

/// Two threads inside `block_on` whose futures wait; all of them and the runtime's own are looked at.
fn guests(rt: Runtime, name: &str, own: usize) {
    let rt = Arc::new(rt);
    let gates = [Gate::new(), Gate::new()];
    let guests = gates.clone().map(|gate| {
        let rt = rt.clone();
        let guest = thread::Builder::new().name(format!("{name}-guest"));
        guest.spawn(move || rt.block_on(async { gate.pass().await })).expect("a thread")
    });
    gates.iter().for_each(|gate| drop(gate.waker()));
    let prefix = format!("{name}-");
    let seen = std::panic::catch_unwind(|| observe(&prefix, own + 2));
    gates.iter().for_each(Gate::open);
    guests.into_iter().for_each(|guest| guest.join().expect("the future ended"));
    if let Err(payload) = seen {
        std::panic::resume_unwind(payload);
    }
}

fn two_threads_inside_block_on() {
    let rt = runtime("lent");
    busy_then_idle(&rt);
    guests(rt, "lent", 3);
}

fn two_threads_inside_block_on_of_a_current_thread_runtime() {
    guests(Runtime::builder().current_thread().build().expect("a runtime"), "one", 0);
}
