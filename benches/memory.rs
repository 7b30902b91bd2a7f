//! The memory that a pending task takes, on this runtime, on tokio and on smol.
//!
//! ```text
//! cargo bench -p runtime-benches --bench memory -- [--tasks N] [--workers N] [--peer P[,P]] [--quick]
//! ```
//!
//! # Method
//! A process per peer. The runtime is started and warmed up, the vector for the handles is allocated and
//! touched, and VmRSS is read; then a task spawns all the tasks, each as large as
//! `std::future::pending::<()>()`, that is of size 0; when every one has been polled, VmRSS is read again.
//! So queues and tables that grew on the way count, and the vector does not. The handle's own size is shown
//! beside it.

use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{env, fs, thread};

use runtime_benches::{Ours, Peer, PeerName, Smol, Tokio, child};

/// Enough that a peer's fixed costs vanish: at 100 bytes a task, 20 MB.
const TASKS: usize = 200_000;
const QUICK_TASKS: usize = 10_000;
/// Run to their end before the first reading, so that stacks, arenas and first blocks are there already.
const WARM_UP_TASKS: usize = 1_000;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match parse(&args).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    tasks: usize,
    workers: usize,
    peers: Vec<PeerName>,
    /// Measure this one here, instead of each in a child process.
    child: Option<PeerName>,
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options { tasks: TASKS, workers: 2, peers: PeerName::ALL.to_vec(), child: None };
    if args.is_empty() {
        // `cargo test --benches` runs us so.
        options.tasks = QUICK_TASKS;
    }
    let mut rest = args.iter();
    while let Some(name) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{name} wants a value"));
        match name.as_str() {
            // Cargo says this to every benchmark.
            "--bench" => {}
            "--quick" => options.tasks = QUICK_TASKS,
            "--tasks" => options.tasks = count(name, value()?)?,
            "--workers" => options.workers = count(name, value()?)?,
            "--peer" => options.peers = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--child" => options.child = Some(value()?.parse()?),
            unknown => return Err(format!("unknown option `{unknown}`")),
        }
    }
    Ok(options)
}

fn count(name: &str, text: &str) -> Result<usize, String> {
    let positive = text.parse().ok().filter(|count| *count > 0);
    positive.ok_or_else(|| format!("{name} {text}: not a positive number"))
}

fn perform(options: Options) -> Result<(), String> {
    match options.child {
        Some(PeerName::Ours) => measure::<Ours>(&options),
        Some(PeerName::Tokio) => measure::<Tokio>(&options),
        Some(PeerName::Smol) => measure::<Smol>(&options),
        None => compare(&options)?,
    }
    Ok(())
}

fn compare(options: &Options) -> Result<(), String> {
    println!("{} pending tasks of size 0, {} workers; bytes per task", options.tasks, options.workers);
    println!("{:<8}{:>10}{:>10}{:>10}", "peer", "task", "handle", "both");
    for peer in &options.peers {
        let mut args = vec!["--child".to_owned(), peer.to_string()];
        args.extend(["--tasks".to_owned(), options.tasks.to_string()]);
        args.extend(["--workers".to_owned(), options.workers.to_string()]);
        let printed = child::run(&args, options.workers).map_err(|error| format!("{peer}: {error}"))?;
        let (task, handle) = parse_figures(&printed)
            .ok_or_else(|| format!("{peer}: the child printed no figures, but {printed:?}"))?;
        println!("{peer:<8}{task:>10.1}{handle:>10.1}{:>10.1}", task + handle);
    }
    Ok(())
}

fn parse_figures(printed: &str) -> Option<(f64, f64)> {
    let (task, handle) = printed.trim().split_once(' ')?;
    Some((task.parse().ok()?, handle.parse().ok()?))
}

/// Measures one peer and prints the bytes of a task and of its handle.
fn measure<P: Peer>(options: &Options) {
    let peer = P::start(options.workers);
    peer.block_on(async { P::spawn(warm_up::<P>()).await });
    let handles = touched::<P::Handle<()>>(options.tasks);

    let before = resident_bytes();
    let _handles = peer.block_on(async move { P::spawn(spawn_pending::<P>(handles)).await });
    while POLLED.load(Ordering::Relaxed) < options.tasks {
        thread::sleep(Duration::from_millis(1));
    }
    let after = resident_bytes();

    let grown = after as f64 - before as f64;
    println!("{} {}", grown / options.tasks as f64, mem::size_of::<P::Handle<()>>());
    // With the tasks pending and the handles kept: how they end is not measured here.
    process::exit(0);
}

async fn warm_up<P: Peer>() {
    for _ in 0..WARM_UP_TASKS {
        P::spawn(async {}).await;
    }
}

async fn spawn_pending<P: Peer>(mut handles: Vec<P::Handle<()>>) -> Vec<P::Handle<()>> {
    for _ in 0..handles.capacity() {
        handles.push(P::spawn(CountedPending));
    }
    handles
}

/// An empty vector with room for `len` items, all of its pages resident.
fn touched<T>(len: usize) -> Vec<T> {
    let mut vec = Vec::with_capacity(len);
    for slot in vec.spare_capacity_mut() {
        *slot = MaybeUninit::zeroed();
    }
    vec
}

/// How many tasks have been polled.
static POLLED: AtomicUsize = AtomicUsize::new(0);

/// As small and as patient as `std::future::pending()`, but says when it has been polled.
struct CountedPending;

impl Future for CountedPending {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        POLLED.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this benchmark needs Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is listed");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("VmRSS is a number");
    kib * 1024
}
