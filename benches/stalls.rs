//! What other tasks notice of one that blocks its thread, or computes: how late they are, beside tokio.
//!
//! ```sh
//! cargo run --release -p runtime-benches --bin stalls               # 1,000 runs of ours and 20 of tokio, 30 minutes
//! cargo run --release -p runtime-benches --bin stalls -- --runs 50
//! cargo run --release -p runtime-benches --bin stalls -- --clean 60     # a load without stalls; fails if one is reported
//! ```
//! Two workers. *ticker*: the worst gap between two ticks of 10 ms while both workers compute for 600 ms; in turns with ours
//! that of a thread which sleeps 10 ms at a time beside two that compute: what the system does to everybody. *less what was
//! lost*: the same without the time, a millisecond and more at once, in which neither of the two that compute had a processor,
//! because the machine stood still or was with somebody else. *child*: how long after it was woken a task starts whose waker
//! then blocks for 20 ms, while the other worker is idle; in turns with ours that of a thread which is woken by one that has slept
//! 0.75 ms for that, about as our monitor does (and up to 50 us longer, the slack of a plain sleep). *echo*: exchanges on a
//! connection of a plain thread, one each millisecond, beside a task that blocks for 50 ms, again and again; for each run the
//! 99th percentile of 200, and the worst.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use runtime_benches::serve::{self, Service};
use runtime_benches::{Net, Ours, Time, Tokio};
use tokio::sync::oneshot;

const USAGE: &str =
    "usage: stalls [--runs N]           N runs of ours (1000); of tokio a fiftieth, and 3 at least
       stalls --clean SECONDS   short tasks, timers and connections for so long; no stall may be reported
";

/// Spawns from a thread outside.
fn spawn<P: Net, T: Send + 'static>(
    peer: &P,
    future: impl Future<Output = T> + Send + 'static,
) -> P::Handle<T> {
    let mut future = Some(future);
    peer.block_on(std::future::poll_fn(|_| Poll::Ready(future.take().map(P::spawn))))
        .expect("it is polled once")
}

const WORKERS: usize = 2;
const SPIN: Duration = Duration::from_millis(600);
const TICK: Duration = Duration::from_millis(10);

/// After this time our monitor looks at a task that waits while a worker sleeps.
const HELP: Duration = Duration::from_micros(750);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [option, seconds] = &args[..] {
        if let ("--clean", Ok(seconds)) = (option.as_str(), seconds.parse()) {
            return clean(Duration::from_secs(seconds));
        }
    }
    let runs = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(1_000),
        ["--runs", runs] => runs.parse::<usize>(),
        _ => "".parse(),
    };
    let Ok(runs @ 1..) = runs else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("microseconds over the runs          runs      p50      p99      max");
    let mut threads = Threads::default();
    compare::<Ours>(runs, Some(&mut threads));
    show_gaps("threads", threads.gaps);
    show("threads", CHILD, threads.children);
    compare::<Tokio>((runs / 50).max(3), None);
    ExitCode::SUCCESS
}

const CHILD: &str = "child, start";

/// What plain threads have seen in turns with a runtime: what the system does to everybody.
#[derive(Default)]
struct Threads {
    gaps: Vec<Gap>,
    children: Vec<Duration>,
}

fn compare<P: Net + Time>(runs: usize, mut threads: Option<&mut Threads>) {
    let peer = P::start_with_drivers(WORKERS);
    let gaps = (0..runs).map(|_| {
        if let Some(threads) = &mut threads {
            threads.gaps.push(ticker_of_threads());
        }
        ticker(&peer)
    });
    show_gaps(P::NAME.as_str(), gaps.collect());
    let children = (0..runs).map(|_| {
        if let Some(threads) = &mut threads {
            threads.children.push(child_of_threads());
        }
        child(&peer)
    });
    show(P::NAME.as_str(), CHILD, children.collect());
    let address = serve::start(&peer, Service::Echo);
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    let echoes: Vec<_> = (0..runs).map(|_| echo(&peer, &mut stream)).collect();
    show(P::NAME.as_str(), "echo, p99 of a run", echoes.iter().map(|echo| echo.0).collect());
    show(P::NAME.as_str(), "echo, worst of a run", echoes.iter().map(|echo| echo.1).collect());
}

fn show_gaps(who: &str, gaps: Vec<Gap>) {
    show(who, "ticker, worst gap", gaps.iter().map(|gap| gap.whole).collect());
    show(who, "  less what was lost", gaps.iter().map(|gap| gap.served).collect());
    let worst = gaps.iter().max_by_key(|gap| gap.served).expect("it ran");
    println!("{who:<8}  the worst of these began {:.0?} after the ticker", worst.after);
}

fn show(who: &str, what: &str, mut seen: Vec<Duration>) {
    seen.sort_unstable();
    let at = |percent: usize| seen[(seen.len() * percent).div_ceil(100).max(1) - 1].as_micros();
    println!("{who:<8}{what:<26}{:>6} {:>8} {:>8} {:>8}", seen.len(), at(50), at(99), at(100));
}

/// A stretch of time.
type Span = (Instant, Instant);

/// From one tick to the next.
struct Ticks {
    last: Instant,
    gaps: Vec<Span>,
}

impl Ticks {
    fn new() -> Self {
        Ticks { last: Instant::now(), gaps: Vec::new() }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.gaps.push((self.last, now));
        self.last = now;
    }

    /// The worst gap while somebody computed, as it was and without what was lost to both.
    fn worst(&self, computed: &[Computed; WORKERS]) -> Gap {
        let [one, other] = computed.each_ref().map(|computed| &computed.silences);
        let over = |gap: &&Span| computed.iter().any(|computed| !common(&[**gap, computed.span]).is_zero());
        let gaps: Vec<Span> = self.gaps.iter().filter(over).copied().collect();
        let lost = |gap: &Span| -> Duration {
            let pairs = one.iter().flat_map(|one| other.iter().map(move |other| (one, other)));
            pairs.map(|(one, other)| common(&[*gap, *one, *other])).sum()
        };
        let lengths = gaps.iter().map(|gap| gap.1 - gap.0);
        let whole = lengths.max().expect("it ticks");
        let served = gaps.iter().map(|gap| (gap.1 - gap.0 - lost(gap), gap.0));
        let (served, from) = served.max().expect("it ticks");
        Gap { whole, served, after: from - self.gaps[0].0 }
    }
}

/// The worst one of a run.
struct Gap {
    whole: Duration,
    /// Less what was lost.
    served: Duration,
    /// Whether the computing had just begun then, or ended.
    after: Duration,
}

/// The time that is in all of them.
fn common(spans: &[Span]) -> Duration {
    let begin = spans.iter().map(|span| span.0).max().expect("one");
    let end = spans.iter().map(|span| span.1).min().expect("one");
    end.saturating_duration_since(begin)
}

fn ticker<P: Net + Time>(peer: &P) -> Gap {
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let ticks = spawn(peer, async move {
        let mut interval = P::interval_at(Instant::now() + TICK, TICK);
        let mut ticks = Ticks::new();
        while !until.load(Ordering::Relaxed) {
            P::tick(&mut interval).await;
            ticks.tick();
        }
        ticks
    });
    peer.block_on(async {
        P::sleep(3 * TICK).await;
        let [one, other] = [(); WORKERS].map(|()| P::spawn(async { spin(SPIN) }));
        let computed = [one.await, other.await];
        over.store(true, Ordering::Relaxed);
        ticks.await.worst(&computed)
    })
}

/// Without a runtime.
fn ticker_of_threads() -> Gap {
    let end = Instant::now() + SPIN;
    thread::scope(|scope| {
        let spinners = [(); WORKERS].map(|()| scope.spawn(|| spin(SPIN)));
        let mut ticks = Ticks::new();
        while ticks.last < end {
            thread::sleep(TICK);
            ticks.tick();
        }
        ticks.worst(&spinners.map(|spinner| spinner.join().expect("it does not panic")))
    })
}

/// What a task that computes has seen.
struct Computed {
    /// From its begin to its end.
    span: Span,
    /// When it had no processor, for a millisecond and more at once.
    silences: Vec<Span>,
}

fn spin(time: Duration) -> Computed {
    let begin = Instant::now();
    let mut last = begin;
    let mut silences = Vec::new();
    while last - begin < time {
        let now = Instant::now();
        if now - last > Duration::from_millis(1) {
            silences.push((last, now));
        }
        last = now;
    }
    Computed { span: (begin, last), silences }
}

fn child<P: Net + Time>(peer: &P) -> Duration {
    peer.block_on(async {
        // Both workers are idle, and asleep.
        P::sleep(Duration::from_millis(3)).await;
        let (sender, receiver) = oneshot::channel::<Instant>();
        let child = P::spawn(async move { receiver.await.expect("it is sent").elapsed() });
        let parent = P::spawn(async move {
            P::sleep(Duration::from_millis(2)).await;
            sender.send(Instant::now()).expect("it waits");
            thread::sleep(Duration::from_millis(20));
        });
        let late = child.await;
        parent.await;
        late
    })
}

/// Without a runtime.
fn child_of_threads() -> Duration {
    let (wake, woken) = mpsc::channel();
    let waker = thread::spawn(move || {
        let begin = Instant::now();
        thread::sleep(HELP);
        wake.send(begin).expect("it waits");
    });
    let late = woken.recv().expect("it is sent").elapsed();
    waker.join().expect("it does not panic");
    late
}

/// The 99th percentile, and the worst.
fn echo<P: Net + Time>(peer: &P, stream: &mut TcpStream) -> (Duration, Duration) {
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let blocks = spawn(peer, async move {
        while !until.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
            P::yield_now().await;
        }
    });
    let mut exchanges: Vec<Duration> = (0..200)
        .map(|_| {
            // So that a run sees several begins of a block.
            thread::sleep(Duration::from_millis(1));
            exchange(stream)
        })
        .collect();
    over.store(true, Ordering::Relaxed);
    peer.block_on(blocks);
    exchanges.sort_unstable();
    (exchanges[exchanges.len() * 99 / 100 - 1], exchanges[exchanges.len() - 1])
}

fn exchange(stream: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    stream.write_all(&[7; 64]).expect("the server reads");
    stream.read_exact(&mut [0; 64]).expect("the server answers");
    begin.elapsed()
}

/// What a load of short polls has reported: nothing, or the machine was too busy for it.
fn clean(time: Duration) -> ExitCode {
    let rt = runtime::Builder::new()
        .worker_threads(WORKERS)
        .stall_threshold(Duration::from_millis(100))
        .on_stall(|stall| println!("{stall}"))
        .build()
        .expect("two threads");
    rt.block_on(async {
        let listener = runtime::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let until = Instant::now() + time;
        let mut load: Vec<_> = (0..16).map(|_| runtime::spawn(turns(until))).collect();
        for _ in 0..16 {
            let client = runtime::net::TcpStream::connect(address).await.expect("it listens");
            let (server, _) = listener.accept().await.expect("a descriptor");
            load.push(runtime::spawn(exchanges(client, until)));
            runtime::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(1..) = server.read(&mut buffer).await {
                    server.write_all(&buffer).await.expect("the client reads");
                }
            });
        }
        for task in load {
            task.await.expect("it ends");
        }
    });
    let metrics = rt.metrics();
    println!("{:?} of short polls: {} polls, {} stalls", time, metrics.polls(), metrics.stalls());
    if metrics.stalls() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Spawns, computes a little, and sleeps a little.
async fn turns(until: Instant) {
    while Instant::now() < until {
        runtime::spawn(async { _ = spin(Duration::from_micros(20)) }).await.expect("it ends");
        runtime::time::sleep(Duration::from_micros(500)).await;
    }
}

async fn exchanges(stream: runtime::net::TcpStream, until: Instant) {
    let mut buffer = [7; 64];
    while Instant::now() < until {
        stream.write_all(&buffer).await.expect("the server reads");
        stream.read_exact(&mut buffer).await.expect("the server answers");
    }
}
