//! The programs that asyncio's users ask about: what each prints there, and what it prints here.
//!
//! ```sh
//! cargo run --example asyncio_side_by_side         # all of them
//! cargo run --example asyncio_side_by_side -- 4    # the fourth
//! ```
//!
//! Asyncio's lines were printed by Python 3.11; ours are printed now, by the function of each program below. Hours are
//! slept on a clock that jumps, so that all of it takes no time. The exit code is 0, 1 if a runtime cannot be built, or 2
//! for a wrong command line.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use runtime::time::sleep;
use runtime::{BlockingPool, Promise, Runtime, When};

const USAGE: &str = "\
usage: asyncio_side_by_side [NUMBER]

  NUMBER   print this program only, from 1 up
";

struct Program {
    title: &'static str,
    python: &'static str,
    /// What Python printed.
    asyncio: &'static [&'static str],
    /// The same program here, and what it prints.
    ours: fn() -> io::Result<Vec<String>>,
    remark: &'static str,
}

fn main() -> ExitCode {
    let chosen = match parse(std::env::args().skip(1).collect()) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprint!("asyncio_side_by_side: {reason}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    for (program, number) in PROGRAMS.iter().zip(1..) {
        if chosen.is_some_and(|chosen| chosen != number) {
            continue;
        }
        match (program.ours)() {
            Ok(ours) => program.print(number, &ours),
            Err(error) => {
                eprintln!("asyncio_side_by_side: cannot build a runtime: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// `None`: only help is wanted. `Some(None)`: all programs.
fn parse(args: Vec<String>) -> Result<Option<Option<usize>>, String> {
    match args.as_slice() {
        [] => Ok(Some(None)),
        [help] if help == "--help" || help == "-h" => Ok(None),
        [number] => match number.parse() {
            Ok(n) if (1..=PROGRAMS.len()).contains(&n) => Ok(Some(Some(n))),
            _ => Err(format!("there are programs 1 to {}, and no {number}", PROGRAMS.len())),
        },
        [_, second, ..] => Err(format!("one program at a time, and {second} is the second")),
    }
}

impl Program {
    fn print(&self, number: usize, ours: &[String]) {
        println!("{number}. {}\n", self.title);
        for line in self.python.lines() {
            let indent = if line.is_empty() { "" } else { "    " };
            println!("{indent}{line}");
        }
        println!("\n  asyncio prints");
        for line in self.asyncio {
            println!("    {line}");
        }
        println!("  ours prints");
        for line in ours {
            println!("    {line}");
        }
        println!("\n  {}\n", self.remark);
    }
}

const PROGRAMS: &[Program] = &[
    Program {
        title: "Coroutine, task and future",
        python: r#"async def foo(n):
    return f"foo {n}"

async def main():
    coroutine = foo(0)                                   # nothing has run
    task = asyncio.create_task(foo(1))                   # is going to run
    future = asyncio.get_running_loop().create_future()
    future.set_result("HELLO")                           # set by hand
    print(f"{await coroutine}, {await task}, {await future}")
    try:
        future.set_result("AGAIN")
    except asyncio.InvalidStateError:
        print("set twice: InvalidStateError")"#,
        asyncio: &["foo 0, foo 1, HELLO", "set twice: InvalidStateError"],
        ours: kinds,
        remark: "The same, but a second value comes back to whoever set it.",
    },
    Program {
        title: "wait asks which are done, gather wants results",
        python: r#"async def main():
    ran = []
    async def work(name):
        await asyncio.sleep(0.1)
        ran.append(name)
    async def fail():
        raise ValueError("out of paper")
    tasks = [asyncio.create_task(work("x")), asyncio.create_task(asyncio.sleep(3600))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    print(f"wait: {len(done)} done, {len(pending)} pending")
    try:
        await asyncio.gather(work("a"), fail(), work("c"))
    except ValueError as error:
        print(f"gather: {error}")
    await asyncio.sleep(1)
    print(f"ran: {', '.join(ran)}")"#,
        asyncio: &["wait: 1 done, 1 pending", "gather: out of paper", "ran: x, a, c"],
        ours: wait_and_gather,
        remark: "After a failure asyncio's gather lets the others go on; ours cancels them and waits until they are gone.",
    },
    Program {
        title: "A callback that stops the loop",
        python: r#"loop = asyncio.new_event_loop()
log = []
future = loop.create_future()
future.add_done_callback(lambda f: log.append(f.result()))
future.add_done_callback(lambda f: log.append("second callback"))
future.add_done_callback(lambda f: loop.stop())
def finish():
    future.set_result("Future is done!")
    log.append("set_result has returned")
loop.call_later(0.1, finish)
loop.run_forever()
print(", ".join(log))"#,
        asyncio: &["set_result has returned, Future is done!, second callback"],
        ours: callbacks,
        remark: "The same: callbacks run in the order of adding, and never inside set_result.",
    },
    Program {
        title: "A listener fulfils futures, and a caller gives up",
        python: r#"async def main():
    pending = {1: asyncio.get_running_loop().create_future()}
    async def caller(reply):
        return await reply
    first = asyncio.create_task(caller(pending[1]))
    second = asyncio.create_task(caller(pending[1]))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    try:
        pending.pop(1).set_result("ONE")
        print("listener: set")
    except asyncio.InvalidStateError:
        print("listener: InvalidStateError")
    try:
        print(f"second caller: {await second}")
    except asyncio.CancelledError:
        print("second caller: CancelledError")"#,
        asyncio: &["listener: InvalidStateError", "second caller: CancelledError"],
        ours: listener,
        remark: "There one cancelled caller cancels the future for everybody; here it only stops waiting.",
    },
    Program {
        title: "A thousand calls, fifty at a time",
        python: r#"async def main():
    limit = asyncio.Semaphore(50)
    in_flight = most = 0
    async def call(n):
        nonlocal in_flight, most
        async with limit:
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0.01)
            in_flight -= 1
            return n
    replies = await asyncio.gather(*(call(n) for n in range(1000)))
    print(f"{len(replies)} replies, in order: {replies == sorted(replies)}, at most {most} in flight")"#,
        asyncio: &["1000 replies, in order: True, at most 50 in flight"],
        ours: thousand_calls,
        remark: "The same, in one line, and without a thousand coroutines that wait for their turn.",
    },
    Program {
        title: "Blocking code in a bounded executor",
        python: r#"async def main():
    loop = asyncio.get_running_loop()
    pool = ThreadPoolExecutor(max_workers=2)
    squares = await asyncio.gather(*(loop.run_in_executor(pool, lambda n=n: n * n) for n in range(5)))
    print(f"squares: {squares}")
    pool.shutdown()
    try:
        pool.submit(print)
    except RuntimeError:
        print("after the shutdown: RuntimeError")"#,
        asyncio: &["squares: [0, 1, 4, 9, 16]", "after the shutdown: RuntimeError"],
        ours: executor,
        remark: "The same; the error is a value.",
    },
    Program {
        title: "Cancelling by a saved reference",
        python: r#"async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling() == 3:
                return "survived"

async def main():
    task = asyncio.create_task(stubborn())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
    print(f"{await task}, cancelled: {task.cancelled()}")"#,
        asyncio: &["survived, cancelled: False"],
        ours: cancel,
        remark: "There a coroutine may refuse; here it is dropped where it waits, and its destructors run.",
    },
    Program {
        title: "Futures and threads",
        python: r#"async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    async def plus_one():
        return await future + 1
    def thread():
        loop.call_soon_threadsafe(future.set_result, 41)
        return asyncio.run_coroutine_threadsafe(plus_one(), loop).result()
    print(f"the thread got {await asyncio.to_thread(thread)}")"#,
        asyncio: &["the thread got 42"],
        ours: threads,
        remark: "The same, without the two detours: a promise may be set, and a task spawned and awaited, on any thread.",
    },
];

/// Two workers, and a clock that jumps to the next timer when nothing else is to be done.
fn two_workers() -> io::Result<Runtime> {
    Runtime::builder().worker_threads(2).start_paused(true).build()
}

async fn foo(n: u32) -> String {
    format!("foo {n}")
}

fn kinds() -> io::Result<Vec<String>> {
    Ok(two_workers()?.block_on(async {
        let coroutine = foo(0); // nothing has run
        let task = runtime::spawn(foo(1)); // is running
        let (promise, future) = Promise::new();
        promise.set_result("HELLO").expect("the first value"); // set by hand

        let values = format!("{}, {}, {}", coroutine.await, shown(task.await), shown(future.await));
        let twice = match promise.set_result("AGAIN") {
            Ok(()) => "set twice: set".to_owned(),
            Err(error) => format!("set twice: InvalidState, and {} is back", error.value),
        };
        vec![values, twice]
    }))
}

fn wait_and_gather() -> io::Result<Vec<String>> {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let work = |name| {
        let ran = ran.clone();
        async move {
            sleep(Duration::from_millis(100)).await;
            ran.lock().expect("no panic under the lock").push(name);
        }
    };
    let mut lines = two_workers()?.block_on(async {
        let mut tasks = vec![runtime::spawn(work("x")), runtime::spawn(sleep(Duration::from_secs(3600)))];
        let done = runtime::wait(&mut tasks, When::FirstCompleted, None).await;
        let waited = format!("wait: {} done, {} pending", done.len(), tasks.len());

        // A panic that goes past the hook, which would write to stderr.
        let fail = async { std::panic::resume_unwind(Box::new("out of paper")) };
        let tasks = [runtime::spawn(work("a")), runtime::spawn(fail), runtime::spawn(work("c"))];
        let gathered = match runtime::gather_all(tasks).await {
            Ok(_) => "gather: fine".to_owned(),
            Err(error) => format!("gather: {error}"),
        };
        sleep(Duration::from_secs(1)).await;
        vec![waited, gathered]
    });
    lines.push(format!("ran: {}", ran.lock().expect("no panic under the lock").join(", ")));
    Ok(lines)
}

fn callbacks() -> io::Result<Vec<String>> {
    // With more threads than one, callbacks may run beside the code after `set_result`.
    let rt = Runtime::builder().current_thread().start_paused(true).build()?;
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = |log: &Arc<Mutex<Vec<String>>>| {
        let log = Arc::clone(log);
        move |text: &str| log.lock().expect("no panic under the lock").push(text.to_owned())
    };
    let (promise, future) = Promise::new();

    let here = rt.enter(); // callbacks run on the runtime of the place where they are added
    let write = writer(&log);
    future.add_done_callback(move |future| write(&future.result().map_or_else(String::new, shown)));
    let write = writer(&log);
    future.add_done_callback(move |_| write("second callback"));
    let handle = rt.handle();
    future.add_done_callback(move |_| handle.stop());
    drop(here);

    let write = writer(&log);
    rt.handle().call_later(Duration::from_millis(100), move || {
        let _ = promise.set_result("Future is done!");
        write("set_result has returned");
    });
    rt.run_forever();
    let log = log.lock().expect("no panic under the lock");
    Ok(vec![log.join(", ")])
}

fn listener() -> io::Result<Vec<String>> {
    Ok(two_workers()?.block_on(async {
        let (promise, reply) = Promise::new();
        let mut pending = HashMap::from([(1, promise)]);
        let first = runtime::spawn(reply.clone());
        let second = runtime::spawn(reply);
        let _ = first.cancel_and_wait().await;

        let set = pending.remove(&1).is_some_and(|promise| promise.set_result("ONE").is_ok());
        let listener = if set { "listener: set" } else { "listener: InvalidState" };
        let caller = match second.await {
            Ok(reply) => format!("second caller: {}", shown(reply)),
            Err(error) => format!("second caller: {error}"),
        };
        vec![listener.to_owned(), caller]
    }))
}

fn thousand_calls() -> io::Result<Vec<String>> {
    static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    async fn call(n: usize) -> usize {
        MOST.fetch_max(IN_FLIGHT.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        sleep(Duration::from_millis(10)).await;
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        n
    }
    let replies = two_workers()?.block_on(runtime::map_concurrent(0..1000, 50, call));
    let in_order = replies.iter().enumerate().all(|(n, reply)| matches!(reply, Ok(reply) if *reply == n));
    let most = MOST.load(Ordering::Relaxed);
    Ok(vec![format!("{} replies, in order: {in_order}, at most {most} in flight", replies.len())])
}

fn executor() -> io::Result<Vec<String>> {
    Ok(two_workers()?.block_on(async {
        let pool = BlockingPool::new(2);
        let squares = pool.map(0..5, |n| n * n).await;
        let squares: Result<Vec<i32>, _> = squares.into_iter().collect();
        pool.shutdown(true, false).await;
        let late = match pool.submit(|| ()) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        };
        let squares = squares.map_or_else(|error| error.to_string(), |squares| format!("{squares:?}"));
        vec![format!("squares: {squares}"), format!("after the shutdown: {late}")]
    }))
}

fn cancel() -> io::Result<Vec<String>> {
    /// Sends a word when it is dropped.
    struct Goodbye(std::sync::mpsc::Sender<&'static str>);
    impl Drop for Goodbye {
        fn drop(&mut self) {
            let _ = self.0.send("destructors ran");
        }
    }
    let (sender, words) = std::sync::mpsc::channel();
    Ok(two_workers()?.block_on(async {
        let goodbye = Goodbye(sender);
        let stubborn = runtime::spawn(async move {
            let _goodbye = goodbye;
            loop {
                sleep(Duration::from_secs(3600)).await;
            }
        });
        let reference = stubborn.abort_handle(); // may be cloned, and outlives the task's handle
        reference.cancel();
        let ended: Result<(), _> = stubborn.await;
        let cancelled = ended.is_err_and(|error| error.is_cancelled());
        // Sent before the task ended.
        let word = words.try_recv().unwrap_or("nothing dropped");
        vec![format!("{word}, cancelled: {cancelled}")]
    }))
}

fn threads() -> io::Result<Vec<String>> {
    let rt = two_workers()?;
    let handle = rt.handle();
    let (promise, future) = Promise::new();
    let thread = thread::spawn(move || {
        let set = promise.set_result(41);
        let task = handle.spawn(async move { future.await.map(|n| n + 1) });
        set.ok().map(|()| task.wait())
    });
    Ok(vec![match thread.join() {
        Ok(Some(Ok(sum))) => format!("the thread got {}", shown(sum)),
        other => format!("the thread got {other:?}"),
    }])
}

/// A value, or why there is none.
fn shown<T: std::fmt::Display, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |value| value.to_string())
}
