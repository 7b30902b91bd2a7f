//! An idle runtime makes no wake-ups: its threads are not scheduled at all, whatever waits in it.
//!
//! Counts are read, not times: the context switches of each thread, from the kernel, and the processor time that it
//! charged. `RUNTIME_IDLE_SECONDS` says for how long (2).

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use parking_lot::Mutex;
use runtime::net::TcpListener;
use runtime::{Runtime, time};
use runtime_tests::{Counts, Gate, PATIENCE, until, within};
use rustix::process::{Resource, getrlimit, setrlimit};

/// One test after the other: each would be the other's noise.
static ALONE: Mutex<()> = Mutex::new(());

/// Context switches by thread, of the threads whose name begins so, and whether it sleeps.
fn switches(prefix: &str) -> BTreeMap<String, (u64, bool)> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("/proc").filter_map(Result::ok) {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if !field("Name:").is_some_and(|name| name.starts_with(prefix)) {
            continue;
        }
        let count = |name| field(name).and_then(|count| count.parse::<u64>().ok()).expect("a count");
        let id = task.file_name().into_string().expect("a number");
        let sleeps = field("State:").is_some_and(|state| state.starts_with('S'));
        found.insert(id, (count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:"), sleeps));
    }
    found
}

/// A worker that goes to sleep is done by then, and so is the monitor, which looks once more or a few times, a millisecond
/// apart.
const QUIET: Duration = Duration::from_millis(100);

/// The counts once all threads are there and sleep, and nothing changes for a while: one that waits for a processor does
/// not switch either.
fn stable(prefix: &str, threads: usize) -> BTreeMap<String, (u64, bool)> {
    let (mut last, mut same) = (BTreeMap::new(), 0);
    until(|| {
        let begin = Instant::now();
        while begin.elapsed() < QUIET {
            thread::yield_now();
        }
        let now = switches(prefix);
        let quiet = now.len() == threads && now.values().all(|(_, sleeps)| *sleeps);
        same = if quiet && now == last { same + 1 } else { 0 };
        last = now;
        // Three looks that saw the same.
        same == 2
    });
    last
}

/// Nanoseconds on a processor, of these threads together.
fn processor_time<'a>(threads: impl Iterator<Item = &'a String>) -> u64 {
    let time = |thread| {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).expect("schedstat");
        let (time, _) = text.split_once(' ').expect("three figures");
        time.parse::<u64>().expect("a number")
    };
    threads.map(time).sum()
}

fn seconds() -> u64 {
    env::var("RUNTIME_IDLE_SECONDS").map_or(2, |text| text.parse().expect("a number"))
}

fn observe(prefix: &str, threads: usize) {
    let seconds = seconds();
    let before = stable(prefix, threads);
    let time = processor_time(before.keys());
    thread::sleep(Duration::from_secs(seconds));
    let after = switches(prefix);
    assert_eq!(before, after, "context switches in {seconds} s without work");
    let spent = processor_time(before.keys()) - time;
    // A millisecond in ten seconds.
    assert!(spent <= seconds * 100_000, "{spent} ns on a processor in {seconds} s without work");
}

#[test]
fn an_idle_runtime_makes_no_wake_ups() {
    let _alone = ALONE.lock();
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
    // Two workers, a blocking thread, and the monitor.
    observe("empty-", 4);
}

fn waiting_tasks() {
    let rt = runtime("waits");
    let counts = Counts::new();
    let tasks: Vec<_> = (0..1_000).map(|_| rt.spawn(counts.watch(std::future::pending::<()>()))).collect();
    until(|| counts.polls() == 1_000);
    busy_then_idle(&rt);
    observe("waits-", 4);
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
    guests(rt, "lent", 4);
}

fn two_threads_inside_block_on_of_a_current_thread_runtime() {
    guests(Runtime::builder().current_thread().build().expect("a runtime"), "one", 0);
}

// --- connections and timers ---

/// Connections, and as many timers.
const MANY: usize = 10_000;
/// Fewer prove nothing.
const ENOUGH: usize = 1_000;
/// Files that are no connection.
const OTHER_FILES: u64 = 200;
/// Where the other ends are to connect to, and how many they are; set in the process that holds them.
const SERVER: &str = "RUNTIME_TEST_IDLE_SERVER";

#[test]
fn idle_connections_and_far_timers_make_no_wake_ups_and_are_served_afterwards() {
    if let Ok(order) = env::var(SERVER) {
        return hold(&order);
    }
    let _alone = ALONE.lock();
    within(2 * PATIENCE + Duration::from_secs(seconds()), connections_and_timers);
}

fn connections_and_timers() {
    let many = affordable();
    let rt = runtime("conns");
    let (waiting, sleeping) = (Counts::new(), Counts::new());
    let listener = rt.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let mut holder = Holder::start(listener.local_addr().expect("it is bound"), many);
    let server = rt.spawn({
        let waiting = waiting.clone();
        async move {
            let mut served = Vec::new();
            for _ in 0..many {
                let (stream, _) = listener.accept().await.expect("a connection");
                served.push(runtime::spawn(waiting.watch(echo_once(stream))));
            }
            served
        }
    });
    for _ in 0..many {
        drop(rt.spawn(sleeping.watch(time::sleep(Duration::from_secs(3600)))));
    }
    holder.expect("connected");
    let served = server.wait().expect("all were accepted");
    until(|| waiting.polls() == many && sleeping.polls() == many);
    busy_then_idle(&rt);

    observe("conns-", 4);
    assert_eq!((waiting.polls(), sleeping.polls()), (many, many));

    holder.say("go");
    holder.expect("served");
    served.into_iter().for_each(|task| task.wait().expect("no panic").expect("a byte came and went back"));
    assert_eq!(
        (waiting.polls(), sleeping.polls()),
        (2 * many, many),
        "one poll for the byte, none for a timer"
    );
    holder.end();
}

/// Greets, waits for a byte and sends it back.
async fn echo_once(stream: runtime::net::TcpStream) -> io::Result<()> {
    stream.write_all(b"!").await?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    stream.write_all(&byte).await
}

/// How many connections this process may have, with the limit raised as far as it goes.
fn affordable() -> usize {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).expect("a limit may be raised to its maximum");
    let room = files.maximum.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
    let many = usize::try_from(room).unwrap_or(MANY).min(MANY);
    assert!(many >= ENOUGH, "this test needs {ENOUGH} open files and may have {room}");
    if many < MANY {
        // Past the test's own capture: nobody reads what a test that passed has printed.
        let _ = writeln!(io::stderr(), "WARNING: only {many} of {MANY} connections, for want of open files");
    }
    many
}

/// The other ends, in a process of their own.
struct Holder {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn start(server: SocketAddr, many: usize) -> Self {
        let mut command = Command::new(env::current_exe().expect("the test's own path"));
        let test = "idle_connections_and_far_timers_make_no_wake_ups_and_are_served_afterwards";
        command.args(["--exact", test, "--nocapture"]).env(SERVER, format!("{server} {many}"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let (input, output) = (process.stdin.take().expect("a pipe"), process.stdout.take().expect("a pipe"));
        Holder { process, input, output: BufReader::new(output) }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.input, "{word}").expect("the other process is there");
    }

    /// Reads up to a line that is `word`; the test harness writes lines of its own.
    fn expect(&mut self, word: &str) {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        assert!(lines.any(|line| line == word), "the other process never said: {word}");
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.process.wait().expect("it can be waited for").success());
    }
}

/// What the other process does: connects, waits for the word, and has a byte echoed on each connection.
fn hold(order: &str) {
    let (server, many) = order.split_once(' ').expect("an address and a number");
    affordable();
    let connect = |_| {
        let mut connection = TcpStream::connect(server).expect("a connection");
        // One after the other, so that they never have to queue: a queue that overflows takes seconds to recover.
        connection.read_exact(&mut [0]).expect("a greeting");
        connection
    };
    let connections: Vec<_> = (0..many.parse().expect("a number")).map(connect).collect();
    println!("\nconnected");
    io::stdin().lines().next().expect("a word").expect("a line");
    for (n, mut connection) in connections.iter().enumerate() {
        connection.write_all(&[n as u8]).expect("it is open");
        let mut echo = Vec::new();
        // To the end: the server closes first, so that no port of ours stays behind.
        connection.read_to_end(&mut echo).expect("an echo");
        assert_eq!(echo, [n as u8]);
    }
    println!("served");
}
