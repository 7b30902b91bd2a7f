//! Signals interrupt system calls, and nobody who reads or writes is told.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use runtime::net::{TcpListener, TcpStream, UdpSocket};
use runtime_tests::{alone, multi, single, until};

/// Signals that were handled.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Handles SIGUSR1, so that the calls it interrupts are not begun again.
#[expect(unsafe_code, reason = "the safe ways to handle signals ask the system to begin calls again")]
fn interrupt_calls() {
    // SAFETY: a sigaction of zeroes is a valid one: no flags, SA_RESTART included, and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as extern "C" fn(libc::c_int) as usize;
    // SAFETY: `action` lives during the call, and its handler only adds to an atomic.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

fn this_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Sends the signal to each thread of the process but this one.
#[expect(
    unsafe_code,
    reason = "std and rustix send signals to processes only, and the first thread would get them all"
)]
fn interrupt_all() {
    let process = std::process::id() as i32;
    for task in fs::read_dir("/proc/self/task").expect("/proc").filter_map(Result::ok) {
        let thread: i32 = task.file_name().to_str().and_then(|id| id.parse().ok()).expect("a number");
        if thread != this_thread() {
            // SAFETY: takes numbers only; a thread of this process that is gone by now is an error.
            let _ = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
        }
    }
}

/// Runs `body` again and again while its threads are interrupted all the time, until they were often enough.
fn interrupted(mut body: impl FnMut()) {
    const ENOUGH: usize = 500;
    static OVER: AtomicBool = AtomicBool::new(false);
    interrupt_calls();
    OVER.store(false, Ordering::Relaxed);
    let sender = thread::spawn(|| {
        while !OVER.load(Ordering::Relaxed) {
            interrupt_all();
            thread::yield_now();
        }
    });
    let before = HANDLED.load(Ordering::Relaxed);
    until(|| {
        body();
        HANDLED.load(Ordering::Relaxed) - before >= ENOUGH
    });
    OVER.store(true, Ordering::Relaxed);
    sender.join().expect("the sender ends");
}

/// One connection, with so many messages of growing length there and back.
async fn converse(rounds: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let echo = runtime::spawn(async move {
        let mut buf = vec![0; 16 * 1024];
        loop {
            match server.read(&mut buf).await.unwrap() {
                0 => return,
                count => server.write_all(&buf[..count]).await.unwrap(),
            }
        }
    });
    for n in 0..rounds {
        let message: Vec<u8> = (0..n * 97).map(|byte| (byte * 7 + n) as u8).collect();
        client.write_all(&message).await.unwrap();
        let mut answer = vec![0; message.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert!(answer == message, "other bytes came back");
    }
    drop(client);
    echo.await.unwrap();
}

#[test]
fn connections_under_a_storm_of_signals_lose_nothing() {
    alone("net_signals::connections_under_a_storm_of_signals_lose_nothing", || {
        for make in [single, || multi(2)] {
            interrupted(|| {
                make().block_on(async {
                    let tasks: Vec<_> = (0..4).map(|_| runtime::spawn(converse(100))).collect();
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
            });
        }
    });
}

#[test]
fn a_sleeping_runtime_that_is_interrupted_sleeps_on() {
    const TIME: Duration = Duration::from_millis(100);
    alone("net_signals::a_sleeping_runtime_that_is_interrupted_sleeps_on", || {
        for make in [single, || multi(2)] {
            interrupted(|| {
                make().block_on(async {
                    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    let begin = std::time::Instant::now();
                    let waiting = runtime::time::timeout(TIME, socket.recv(&mut [0; 1])).await;
                    assert!(waiting.unwrap_err().is_timeout());
                    assert!(begin.elapsed() >= TIME);
                });
            });
        }
    });
}
