//! The memory that what waits takes, on this runtime, on tokio and on smol: tasks, sleepers, connections.
//!
//! ```text
//! cargo bench -p runtime-benches --bench memory -- [--row R[,R]] [--tasks N] [--connections N] [--workers N]
//!     [--peer P[,P]] [--quick]
//! ```
//!
//! # Method
//! A process per peer and row. The runtime is started and warmed up, and VmRSS is read; then a task makes what is to
//! wait, and VmRSS is read again when all of it waits. So queues and tables that grew on the way count. Beside it
//! stands what was asked of the allocator meanwhile and not given back, without the allocator's own overhead.
//!
//! - `pending`: tasks as large as `std::future::pending::<()>()`, that is of size 0. The vector for the handles is
//!   allocated and touched before, so that it does not count; the handle's own size is shown beside it.
//! - `sleeping`: tasks that sleep for an hour.
//! - `connection`: accepted connections, each with a task that waits in a read of one byte. The other ends are in a
//!   process of their own. The kernel's memory does not count.
#![expect(unsafe_code, reason = "a global allocator that counts is an unsafe impl")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, BufReader, Read};
use std::mem::{self, MaybeUninit};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::process::{self, Child, Command, ExitCode, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{env, fs, io, thread};

use runtime_benches::{Net, Ours, Peer, PeerName, Smol, Time, Tokio, child, limits};

/// Enough that a peer's fixed costs vanish: at 100 bytes a task, 20 MB.
const TASKS: usize = 200_000;
const CONNECTIONS: usize = 10_000;
const QUICK_TASKS: usize = 10_000;
const QUICK_CONNECTIONS: usize = 500;
/// Run to their end before the first reading, so that stacks, arenas and first blocks are there already.
const WARM_UP_TASKS: usize = 1_000;
const WARM_UP_CONNECTIONS: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Pending,
    Sleeping,
    Connection,
}

impl Row {
    const ALL: [Row; 3] = [Row::Pending, Row::Sleeping, Row::Connection];

    fn as_str(self) -> &'static str {
        match self {
            Row::Pending => "pending",
            Row::Sleeping => "sleeping",
            Row::Connection => "connection",
        }
    }
}

impl FromStr for Row {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Row::ALL.into_iter().find(|row| row.as_str() == name);
        known.ok_or_else(|| format!("no row is called `{name}`; there are pending, sleeping and connection"))
    }
}

// --- the allocator ---

/// The system's allocator, with a count of what is out.
struct Counting;

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counter does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's contract is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_add(size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// --- the program ---

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
    connections: usize,
    workers: usize,
    peers: Vec<PeerName>,
    rows: Vec<Row>,
    /// Measure this one here, instead of each in a child process.
    child: Option<PeerName>,
    /// Hold the other ends of connections with this server.
    hold: Option<SocketAddr>,
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        tasks: TASKS,
        connections: CONNECTIONS,
        workers: 2,
        peers: PeerName::ALL.to_vec(),
        rows: Row::ALL.to_vec(),
        child: None,
        hold: None,
    };
    if args.is_empty() {
        // `cargo test --benches` runs us so.
        options.be_quick();
    }
    let mut rest = args.iter();
    while let Some(name) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{name} wants a value"));
        match name.as_str() {
            // Cargo says this to every benchmark.
            "--bench" => {}
            "--quick" => options.be_quick(),
            "--tasks" => options.tasks = count(name, value()?)?,
            "--connections" => options.connections = count(name, value()?)?,
            "--workers" => options.workers = count(name, value()?)?,
            "--peer" => options.peers = list(value()?)?,
            "--row" => options.rows = list(value()?)?,
            "--child" => options.child = Some(value()?.parse()?),
            "--hold" => options.hold = Some(value()?.parse().map_err(|_| "--hold wants an address")?),
            unknown => return Err(format!("unknown option `{unknown}`")),
        }
    }
    Ok(options)
}

fn count(name: &str, text: &str) -> Result<usize, String> {
    let positive = text.parse().ok().filter(|count| *count > 0);
    positive.ok_or_else(|| format!("{name} {text}: not a positive number"))
}

fn list<T: FromStr<Err = String>>(text: &str) -> Result<Vec<T>, String> {
    text.split(',').map(str::parse).collect()
}

impl Options {
    fn be_quick(&mut self) {
        self.tasks = QUICK_TASKS;
        self.connections = QUICK_CONNECTIONS;
    }

    /// How many of `row` there are.
    fn count(&self, row: Row) -> usize {
        if row == Row::Connection { self.connections } else { self.tasks }
    }
}

fn perform(options: Options) -> Result<(), String> {
    if let Some(server) = options.hold {
        return hold(server, options.connections).map_err(|error| format!("a connection: {error}"));
    }
    match options.child {
        Some(PeerName::Ours) => measure::<Ours>(&options),
        Some(PeerName::Tokio) => measure::<Tokio>(&options),
        Some(PeerName::Smol) => measure::<Smol>(&options),
        None => options.rows.iter().try_for_each(|row| compare(&options, *row))?,
    }
    Ok(())
}

fn compare(options: &Options, row: Row) -> Result<(), String> {
    println!("{}: {}, {} workers; bytes for each", row.as_str(), options.count(row), options.workers);
    println!("{:<8}{:>10}{:>12}{:>10}", "peer", "resident", "allocated", "handle");
    for peer in &options.peers {
        let mut args = vec!["--child".to_owned(), peer.to_string()];
        args.extend(["--row".to_owned(), row.as_str().to_owned()]);
        args.extend(["--tasks".to_owned(), options.tasks.to_string()]);
        args.extend(["--connections".to_owned(), options.connections.to_string()]);
        args.extend(["--workers".to_owned(), options.workers.to_string()]);
        let printed = child::run(&args, options.workers).map_err(|error| format!("{peer}: {error}"))?;
        let figures = parse_figures(&printed)
            .ok_or_else(|| format!("{peer}: the child printed no figures, but {printed:?}"))?;
        println!("{peer:<8}{:>10.1}{:>12.1}{:>10.0}", figures[0], figures[1], figures[2]);
    }
    println!();
    Ok(())
}

fn parse_figures(printed: &str) -> Option<[f64; 3]> {
    let figures: Vec<f64> = printed.split_whitespace().map_while(|figure| figure.parse().ok()).collect();
    figures.try_into().ok()
}

// --- measuring ---

/// What the process has at one moment.
#[derive(Clone, Copy)]
struct Memory {
    resident: u64,
    allocated: isize,
}

impl Memory {
    fn now() -> Self {
        Memory { resident: resident_bytes(), allocated: LIVE_BYTES.load(Ordering::Relaxed) }
    }
}

/// Measures one peer on the first row and prints the bytes of each thing and of its handle.
fn measure<P: Net + Time>(options: &Options) {
    let row = options.rows[0];
    let (before, handle) = match row {
        Row::Pending => pending::<P>(options),
        Row::Sleeping => (sleeping::<P>(options), 0),
        Row::Connection => (connection::<P>(options), 0),
    };
    let after = Memory::now();
    let each = |grown: f64| grown / options.count(row) as f64;
    let resident = each(after.resident as f64 - before.resident as f64);
    println!("{resident} {} {handle}", each((after.allocated - before.allocated) as f64));
    // With everything waiting: how it ends is not measured here.
    process::exit(0);
}

/// Waits until `count` tasks were polled, and a little more for the last of them to lie down.
fn wait_for(count: usize) {
    while POLLED.load(Ordering::Relaxed) < count {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(100));
}

async fn warm_up<P: Peer>() {
    for _ in 0..WARM_UP_TASKS {
        P::spawn(async {}).await;
    }
}

/// How many tasks have been polled.
static POLLED: AtomicUsize = AtomicUsize::new(0);

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this benchmark needs Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is listed");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("VmRSS is a number");
    kib * 1024
}

// --- pending ---

fn pending<P: Peer>(options: &Options) -> (Memory, usize) {
    let peer = P::start(options.workers);
    peer.block_on(async { P::spawn(warm_up::<P>()).await });
    let handles = touched::<P::Handle<()>>(options.tasks);

    let before = Memory::now();
    let handles = peer.block_on(async move { P::spawn(spawn_pending::<P>(handles)).await });
    wait_for(options.tasks);
    mem::forget((peer, handles));
    (before, mem::size_of::<P::Handle<()>>())
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

/// As small and as patient as `std::future::pending()`, but says when it has been polled.
struct CountedPending;

impl Future for CountedPending {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        POLLED.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }
}

// --- sleeping ---

fn sleeping<P: Net + Time>(options: &Options) -> Memory {
    let (peer, tasks) = (P::start_with_drivers(options.workers), options.tasks);
    peer.block_on(async { P::spawn(warm_up::<P>()).await });
    peer.block_on(async {
        P::spawn(async {
            P::sleep(Duration::from_millis(1)).await;
        })
        .await;
    });

    let before = Memory::now();
    peer.block_on(async move {
        P::spawn(async move {
            for _ in 0..tasks {
                P::detach(P::spawn(sleep_long::<P>()));
            }
        })
        .await;
    });
    wait_for(tasks);
    mem::forget(peer);
    before
}

async fn sleep_long<P: Time>() {
    POLLED.fetch_add(1, Ordering::Relaxed);
    P::sleep(HOUR).await;
}

// --- connection ---

fn connection<P: Net>(options: &Options) -> Memory {
    limits::allow_many_files();
    let (peer, connections) = (P::start_with_drivers(options.workers), options.connections);
    let (listener, address) = peer.block_on(P::listen()).expect("a port is free");
    let mut holder = start_holder(address, WARM_UP_CONNECTIONS);
    let listener = peer.block_on(async { P::spawn(serve::<P>(listener, WARM_UP_CONNECTIONS)).await });
    wait_for(WARM_UP_CONNECTIONS);
    stop(&mut holder);
    POLLED.store(0, Ordering::Relaxed);

    let before = Memory::now();
    // Not stopped: it ends when its input does, that is with this process.
    let holder = start_holder(address, connections);
    let listener = peer.block_on(async move { P::spawn(serve::<P>(listener, connections)).await });
    wait_for(connections);
    mem::forget((peer, listener, holder));
    before
}

/// Accepts, and has a task wait on each connection.
async fn serve<P: Net>(listener: P::Listener, connections: usize) -> P::Listener {
    for _ in 0..connections {
        let stream = P::accept(&listener).await.expect("the next connection is accepted");
        P::detach(P::spawn(read_one::<P>(stream)));
    }
    listener
}

async fn read_one<P: Net>(mut stream: P::Stream) {
    // The next client comes after this: a queue of clients that overflows would take seconds to recover.
    P::write_all(&mut stream, &[0]).await.expect("the client is there");
    POLLED.fetch_add(1, Ordering::Relaxed);
    // Whatever comes, and that is the end of the connection.
    let _ = P::read(&mut stream, &mut [0]).await;
}

/// Starts a process that connects so often.
fn start_holder(server: SocketAddr, connections: usize) -> Child {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command.args(["--hold", &server.to_string(), "--connections", &connections.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process for the other ends")
}

fn stop(holder: &mut Child) {
    drop(holder.stdin.take());
    let _ = holder.wait();
    // For the tasks to see the ends and go.
    thread::sleep(Duration::from_millis(100));
}

/// Holds the other ends until the input ends.
fn hold(server: SocketAddr, connections: usize) -> io::Result<()> {
    limits::allow_many_files();
    let _held = (0..connections).map(|_| connect(server)).collect::<io::Result<Vec<_>>>()?;
    let _ = BufReader::new(io::stdin()).lines().next();
    Ok(())
}

/// A connection that the server has accepted.
fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}
