//! Timers, descriptors and the virtual clock are looked after, whichever thread leaves whichever worker.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use runtime::io::{AsyncFd, Interest};
use runtime::net::{TcpListener, TcpStream, UdpSocket};
use runtime::{Builder, Handle, Runtime, task, time};
use runtime_tests::{Counts, Gate, PATIENCE, alone, armed_here, multi, until, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Much longer than any wait here that ends at all.
const BOUND: Duration = Duration::from_secs(10);

/// Runs `test` on paused runtimes of several shapes.
#[track_caller]
fn on_each_paused(shapes: &[fn() -> Builder], test: impl Fn(Runtime) + Clone + Send + 'static) {
    for shape in shapes {
        let (test, rt) = (test.clone(), shape().start_paused(true).build().unwrap());
        within(PATIENCE, move || test(rt));
    }
}

/// Nobody writes to this object, so that whoever attends the runtime sleeps in the system until somebody tells it.
fn occupy_the_reactor(rt: &Runtime) {
    let counts = Counts::new();
    let waiting = counts.watch(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let _ = socket.recv(&mut [0]).await;
    });
    rt.spawn(waiting);
    until(|| counts.polls() > 0);
}

/// Spawns a timer on the worker of the calling task while another worker sleeps, and waits until it is armed; the
/// receiver hears of its end.
async fn timer_on_this_worker() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    // The other worker attends the runtime, and has nothing else to do.
    until(|| Handle::current().metrics().idle_workers() > 0);
    let armed = Gate::new();
    let arming = armed.clone();
    runtime::spawn(async move {
        let sleep = armed_here(20 * MS, time::sleep).await;
        arming.open();
        sleep.await;
        let _ = sender.send(());
    });
    armed.pass().await;
    receiver
}

// --- timers of a worker that its thread has left ---

#[test]
fn a_timer_goes_off_although_the_thread_that_armed_it_has_left_block_on() {
    within(2 * PATIENCE, || {
        let rt = multi(2);
        occupy_the_reactor(&rt);
        for round in 0..20 {
            let fired = rt.block_on(async { runtime::spawn(timer_on_this_worker()).await.unwrap() });
            fired.recv_timeout(BOUND).unwrap_or_else(|_| panic!("never went off in round {round}"));
        }
    });
}

/// A task blocks, in the way given, until a timer has gone off that its worker has to look after.
#[track_caller]
fn a_blocked_task_hears_of_the_timer(block: fn(mpsc::Receiver<()>) -> bool) {
    within(2 * PATIENCE, move || {
        let rt = multi(2);
        occupy_the_reactor(&rt);
        for round in 0..20 {
            let (sender, receiver) = mpsc::channel();
            let task = async move { sender.send(block(timer_on_this_worker().await)).unwrap() };
            // Both workers are left to the runtime's own threads.
            rt.spawn(task);
            assert!(receiver.recv_timeout(2 * BOUND).unwrap(), "never went off in round {round}");
        }
    });
}

#[test]
fn a_timer_goes_off_while_block_in_place_holds_the_thread_that_armed_it() {
    a_blocked_task_hears_of_the_timer(|fired| task::block_in_place(|| fired.recv_timeout(BOUND).is_ok()));
}

#[test]
fn a_timer_goes_off_while_a_nested_block_on_holds_the_thread_that_armed_it() {
    a_blocked_task_hears_of_the_timer(|fired| {
        Handle::current().block_on(async { fired.recv_timeout(BOUND).is_ok() })
    });
}

// --- events ---

#[test]
fn try_io_does_not_forget_an_event_that_came_during_the_call() {
    let watched = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    };
    within(PATIENCE, move || {
        multi(2).block_on(async {
            let (ours, mut theirs) = watched();
            let fd = AsyncFd::new(ours).unwrap();
            theirs.write_all(b"x").unwrap();
            drop(fd.readable().await.unwrap());
            let mut byte = [0];
            fd.try_io(Interest::READABLE, |mut io| io.read(&mut byte)).unwrap();

            // Events come in the order of their causes: who heard of the later one knows that the first has come.
            let (witness, mut later) = watched();
            let witness = AsyncFd::new(witness).unwrap();
            let (sender, told) = mpsc::channel();
            let counts = Counts::new();
            let hearing = counts.watch(async move {
                drop(witness.readable().await.unwrap());
                sender.send(()).unwrap();
            });
            runtime::spawn(hearing);
            until(|| counts.polls() > 0);

            let result = fd.try_io(Interest::READABLE, |mut io| {
                let result = io.read(&mut byte);
                theirs.write_all(b"y")?;
                later.write_all(b"z")?;
                told.recv_timeout(BOUND).expect("the event comes");
                result
            });
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            let readable = time::timeout(BOUND, fd.readable()).await;
            assert!(readable.is_ok(), "the event is forgotten");
        });
    });
}

// --- the virtual clock ---

#[test]
fn a_virtual_clock_stands_still_while_an_idle_pool_thread_is_given_a_job() {
    let shapes: [fn() -> Builder; 3] = [
        || Builder::new().current_thread(),
        || Builder::new().worker_threads(1),
        || Builder::new().worker_threads(2),
    ];
    on_each_paused(&shapes, |rt| {
        for round in 0..200 {
            let in_time = rt.block_on(async {
                task::spawn_blocking(|| ()).await.unwrap();
                until(|| Handle::current().metrics().idle_blocking_threads() > 0);
                let job = task::spawn_blocking(|| thread::sleep(MS));
                time::timeout(HOUR, job).await.is_ok()
            });
            assert!(in_time, "an hour passed in round {round}");
        }
    });
}

/// Those that have threads of their own.
const MULTI: [fn() -> Builder; 2] =
    [|| Builder::new().worker_threads(1), || Builder::new().worker_threads(2)];

/// Blocks the poll of a task by `block` until another thread has its worker, and looks at the clock afterwards.
#[track_caller]
fn the_clock_stands_still_in_the_rest_of_the_poll(block: fn(&mut dyn FnMut())) {
    on_each_paused(&MULTI, move |rt| {
        let task = rt.spawn(async move {
            let counts = Counts::new();
            runtime::spawn(counts.watch(time::sleep(HOUR)));
            let before = time::now();
            block(&mut || until(|| counts.polls() > 0));
            assert_eq!(time::now(), before, "during the call");
            // Time for the thread that has the worker now to find nothing else to do.
            thread::sleep(50 * MS);
            assert_eq!(time::now(), before, "after the call");
        });
        task.wait().unwrap();
    });
}

#[test]
fn a_virtual_clock_stands_still_in_a_poll_that_block_in_place_took_off_its_worker() {
    the_clock_stands_still_in_the_rest_of_the_poll(|wait| task::block_in_place(wait));
}

#[test]
fn a_virtual_clock_stands_still_in_a_poll_that_a_nested_block_on_took_off_its_worker() {
    the_clock_stands_still_in_the_rest_of_the_poll(|wait| Handle::current().block_on(async { wait() }));
}

/// As it is told at its end.
struct AtTheEnd(Box<dyn FnMut() + Send>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Ends the poll of a task by a panic out of `block`, and looks at the clock while that unwinds.
#[track_caller]
fn the_clock_stands_still_while_the_poll_unwinds(block: fn(&mut dyn FnMut())) {
    on_each_paused(&MULTI, move |rt| {
        let (tell, told) = mpsc::channel();
        let task = rt.spawn(async move {
            let counts = Counts::new();
            runtime::spawn(counts.watch(time::sleep(HOUR)));
            let before = time::now();
            let _end = AtTheEnd(Box::new(move || {
                // Time for the thread that has the worker now to find nothing else to do.
                thread::sleep(50 * MS);
                tell.send(time::now() - before).unwrap();
            }));
            block(&mut || {
                until(|| counts.polls() > 0);
                panic!("on purpose");
            });
        });
        assert!(task.wait().unwrap_err().is_panic());
        assert_eq!(told.recv().unwrap(), Duration::ZERO);
    });
}

#[test]
fn a_virtual_clock_stands_still_while_a_poll_unwinds_that_block_in_place_took_off_its_worker() {
    the_clock_stands_still_while_the_poll_unwinds(|panics| task::block_in_place(panics));
}

#[test]
fn a_virtual_clock_stands_still_while_a_poll_unwinds_that_a_nested_block_on_took_off_its_worker() {
    the_clock_stands_still_while_the_poll_unwinds(|panics| Handle::current().block_on(async { panics() }));
}

// --- a runtime that was shut down ---

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on this thread, with no runtime's help, and counts; gives up when it was woken far too often.
fn polls_until_ready<F: Future>(future: F) -> usize {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    for polls in 1..=1000 {
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return polls;
        }
        thread::park();
    }
    panic!("polled a thousand times");
}

#[test]
fn a_sleep_inside_a_runtime_that_was_shut_down_ends_at_its_time_without_a_spin() {
    for paused in [false, true] {
        for builder in [Builder::new().current_thread(), Builder::new().worker_threads(1)] {
            let rt = builder.start_paused(paused).build().unwrap();
            let handle = rt.handle();
            drop(rt);
            let polls = within(PATIENCE, move || {
                let _inside = handle.enter();
                let begin = Instant::now();
                let polls = polls_until_ready(time::sleep(50 * MS));
                assert!(begin.elapsed() >= 50 * MS, "early");
                polls
            });
            assert!(polls <= 10, "{polls} polls of one sleep, paused: {paused}");
        }
    }
}

// --- whom a batch calls for ---

/// Notes how many workers are idle when it is woken.
struct IdleWhenWoken(Handle, mpsc::Sender<usize>);

impl Wake for IdleWhenWoken {
    fn wake(self: Arc<Self>) {
        self.1.send(self.0.metrics().idle_workers()).unwrap();
    }
}

#[test]
fn nobody_is_called_for_the_tasks_of_a_batch_before_all_of_it_is_queued() {
    // Without a monitor, which calls for tasks that a worker keeps too long.
    on_each_paused(&[|| Builder::new().worker_threads(2).monitor(false)], |rt| {
        let (sender, idle) = mpsc::channel();
        let observer = Waker::from(Arc::new(IdleWhenWoken(rt.handle(), sender)));
        let wakers: Vec<_> = (0..3)
            .map(|_| {
                let gate = Gate::new();
                rt.spawn({
                    let gate = gate.clone();
                    async move { gate.pass().await }
                });
                gate.waker()
            })
            .collect();
        rt.spawn(async move {
            // One set of timers, all due at once, with an observer at each end.
            let all: Vec<_> = [&observer].into_iter().chain(&wakers).chain([&observer]).collect();
            let mut sleeps: Vec<_> = all.iter().map(|_| Box::pin(time::sleep(20 * MS))).collect();
            for (sleep, waker) in sleeps.iter_mut().zip(all) {
                assert!(sleep.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            }
            std::future::pending::<()>().await;
        });
        // The worker that leads, and so fires the timers, is awake; the other sleeps until the end.
        assert_eq!([idle.recv().unwrap(), idle.recv().unwrap()], [1, 1]);
    });
}

// --- a system that refuses threads ---

/// A runtime whose one worker gets no thread but those in `block_on`. For a process of its own.
fn without_threads() -> Arc<Runtime> {
    // Room for everything else, but not for such a stack.
    const ROOM: u64 = 1 << 36;
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let used = pages.split(' ').next().unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64;
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current: Some(used + ROOM), maximum }).unwrap();
    Arc::new(Builder::new().worker_threads(1).thread_stack_size(2 * ROOM as usize).build().unwrap())
}

/// One thread runs the worker in `block_on` and leaves once `future`, in `block_on` on another, waits; then `and_then`.
#[track_caller]
fn goes_on_when_the_other_leaves<F: Future<Output = ()> + Send + 'static>(
    future: impl FnOnce() -> F + Send + 'static,
    and_then: impl FnOnce() + Send + 'static,
) {
    within(PATIENCE, move || {
        let rt = without_threads();
        let gate = Gate::new();
        let (first_rt, leaving) = (rt.clone(), gate.clone());
        let first = thread::spawn(move || {
            first_rt.block_on(async {
                // A task runs as soon as this thread has the worker.
                while runtime::spawn(async {}).await.is_err() {
                    task::yield_now().await;
                }
                leaving.pass().await;
            });
        });
        drop(gate.waker());

        let counts = Counts::new();
        let watched = counts.clone();
        let second = thread::spawn(move || rt.block_on(async move { watched.watch(future()).await }));
        until(|| counts.polls() > 0);
        gate.open();
        first.join().unwrap();
        and_then();
        second.join().unwrap();
    });
}

#[test]
fn a_timer_in_block_on_goes_off_after_another_thread_has_left_with_the_only_worker() {
    alone("driver::a_timer_in_block_on_goes_off_after_another_thread_has_left_with_the_only_worker", || {
        goes_on_when_the_other_leaves(|| time::sleep(300 * MS), || ());
    });
}

#[test]
fn an_event_reaches_block_on_after_another_thread_has_left_with_the_only_worker() {
    alone("driver::an_event_reaches_block_on_after_another_thread_has_left_with_the_only_worker", || {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        goes_on_when_the_other_leaves(
            || async move { drop(AsyncFd::new(ours).unwrap().readable().await.unwrap()) },
            move || theirs.write_all(b"x").unwrap(),
        );
    });
}

// --- addresses ---

#[test]
fn connect_goes_on_to_the_next_address_if_the_first_is_refused_at_once() {
    within(PATIENCE, || {
        runtime::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let good = listener.local_addr().unwrap();
            // A system without IPv6 refuses the socket, one with it the connection: there is no such interface, nobody
            // listens, and a broadcast is nobody's address.
            for bad in ["[fe80::1%4294967295]:1", "[::1]:1", "255.255.255.255:1"] {
                let bad: SocketAddr = bad.parse().unwrap();
                let stream = TcpStream::connect(&[bad, good][..]).await;
                assert_eq!(stream.unwrap().peer_addr().unwrap(), good, "after {bad}");
            }
        });
    });
}

// --- the zero of the clock ---

#[test]
fn an_instant_from_before_the_first_use_of_the_clock_is_kept() {
    alone("driver::an_instant_from_before_the_first_use_of_the_clock_is_kept", || {
        let start = Instant::now();
        until(|| Instant::now() > start);
        assert_eq!(time::sleep_until(start).deadline(), start);
        let tick = runtime::block_on(async { time::interval_at(start, 20 * MS).tick().await });
        assert_eq!(tick, start);
    });
}
