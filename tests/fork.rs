//! A process that is forked off while there are runtimes: the child is told, may make its own, and harms nobody.
//!
//! What only a crash would show ends in the child's exit code: a child that hangs is ended by an alarm.
#![expect(unsafe_code, reason = "forks")]

use std::future::pending;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use runtime::io::stdin;
use runtime::net::unix::UnixStream;
use runtime::net::{TcpListener, TcpStream};
use runtime::signal::{SignalKind, signal};
use runtime::{BlockingPool, Error, Runtime, When};
use runtime_tests::{
    Gate, PATIENCE, alone, armed_here, child, child_command, is_child, multi, on_each, poll_once, promptly,
    single, waits, watched, within,
};

/// Begins `body` in a child, on the one thread that it has; the child ends with it. Returns the child's number.
#[track_caller]
fn begin_in_child(body: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child calls what a program would that does not know of threads, which is what is tested here.
    match unsafe { libc::fork() } {
        -1 => panic!("no child: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: an alarm without a handler ends the process.
            unsafe { libc::alarm(20) };
            let ended = catch_unwind(AssertUnwindSafe(body)).is_ok();
            // SAFETY: ends this process, without the destructors that are the parent's.
            unsafe { libc::_exit(i32::from(!ended)) };
        }
        child => child,
    }
}

/// How the child has ended.
#[track_caller]
fn end_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

/// Runs `body` in a child, on the one thread that it has; the child ends with it.
#[track_caller]
fn in_child(body: impl FnOnce()) {
    assert_eq!(end_of(begin_in_child(body)), 0, "the child's status: 256 for a panic, 14 for a hang");
}

#[track_caller]
fn says_that_it_was_lost(error: &Error) {
    assert!(error.is_shutdown() && error.to_string().contains("lost in a fork"), "{error}");
}

#[track_caller]
fn panics_with_that(f: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("no panic");
    let text = panic.downcast_ref::<String>().expect("a message");
    assert!(text.contains("lost in a fork"), "{text}");
}

async fn echo(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut buf = [0; 4];
    while stream.read_exact(&mut buf).await.is_ok() {
        stream.write_all(&buf).await.unwrap();
    }
}

async fn exchange(stream: &TcpStream, number: u32) {
    let mut buf = [0; 4];
    stream.write_all(&number.to_ne_bytes()).await.unwrap();
    stream.read_exact(&mut buf).await.unwrap();
    assert_eq!(buf, number.to_ne_bytes());
}

/// A spawn, a timer, a blocking job and a connection.
fn use_of_everything(rt: &Runtime) {
    rt.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = runtime::spawn(echo(listener));
        let client = runtime::spawn(async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            for number in 0..4 {
                exchange(&stream, number).await;
            }
        });
        runtime::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(runtime::spawn_blocking(|| 3).await.unwrap(), 3);
        client.await.unwrap();
        server.await.unwrap();
    });
}

#[test]
fn five_hundred_children_use_runtimes_of_their_own_and_the_parent_loses_nothing() {
    within(PATIENCE * 4, || {
        let rt = multi(2);
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let load = |_| {
            let (stop, rounds) = (stop.clone(), rounds.clone());
            rt.spawn(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                let server = runtime::spawn(echo(listener));
                let stream = TcpStream::connect(addr).await.unwrap();
                let mut own = 0;
                while !stop.load(Ordering::SeqCst) {
                    exchange(&stream, own).await;
                    runtime::time::sleep(Duration::from_micros(200)).await;
                    runtime::task::Builder::new().name("named").spawn(async {}).await.unwrap();
                    runtime::spawn_blocking(|| ()).await.unwrap();
                    own += 1;
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
                drop(stream);
                server.await.unwrap();
                own
            })
        };
        let tasks: Vec<_> = (0..8).map(load).collect();
        for _ in 0..500 {
            in_child(|| {
                let rt = multi(2);
                use_of_everything(&rt);
                drop(rt);
            });
        }
        stop.store(true, Ordering::SeqCst);
        let done: u32 = tasks.into_iter().map(|task| promptly(|| task.wait()).unwrap()).sum();
        assert_eq!(done as usize, rounds.load(Ordering::SeqCst));
        assert!(done > 0);
        promptly(|| drop(rt));
    });
}

#[test]
fn handles_of_the_parents_runtime_give_errors_in_the_child_at_once() {
    on_each(|rt| {
        let waiting = rt.spawn(pending::<()>());
        let (mut waited, mut gathered) = (Some(rt.spawn(pending::<()>())), Some(rt.spawn(pending::<()>())));
        let pool = {
            let _entered = rt.enter();
            BlockingPool::new(1)
        };
        let (enter, entered) = std::sync::mpsc::channel();
        let (proceed, may_go_on) = std::sync::mpsc::channel::<()>();
        let blocking = rt.spawn_blocking(move || {
            enter.send(()).unwrap();
            let _ = may_go_on.recv();
        });
        entered.recv().unwrap();
        let handle = rt.handle();
        let (mut rt, mut waiting, mut blocking) = (Some(rt), Some(waiting), Some(blocking));
        in_child(|| {
            says_that_it_was_lost(&handle.spawn(async {}).wait().unwrap_err());
            says_that_it_was_lost(&handle.spawn_blocking(|| ()).wait().unwrap_err());
            says_that_it_was_lost(&waiting.take().unwrap().wait().unwrap_err());
            let blocking = blocking.take().unwrap();
            blocking.cancel();
            says_that_it_was_lost(&runtime::block_on(blocking).unwrap_err());
            panics_with_that(|| handle.block_on(async {}));
            panics_with_that(|| drop(handle.enter()));
            says_that_it_was_lost(&pool.submit(|| ()).unwrap_err());
            runtime::block_on(pool.shutdown(true, true));
            runtime::block_on(async {
                let mut tasks = vec![waited.take().unwrap()];
                let ended = runtime::wait(&mut tasks, When::All, None).await;
                assert_eq!((ended.len(), tasks.len()), (1, 0));
                for task in ended {
                    says_that_it_was_lost(&task.await.unwrap_err());
                }
                says_that_it_was_lost(&runtime::gather_all(gathered.take()).await.unwrap_err());
            });
            handle.stop();
            handle.call_soon(|| unreachable!());
            drop(handle.call_later(Duration::ZERO, || unreachable!()));
            assert_eq!(handle.metrics().blocking_threads(), 0);
            drop(rt.take());
        });
        assert!(!waiting.as_ref().unwrap().is_finished());
        drop(proceed);
        blocking.take().unwrap().wait().unwrap();
        assert_eq!(promptly(|| rt.take().unwrap().block_on(async { 5 })), 5);
    });
}

#[test]
fn what_the_child_drops_does_not_disturb_the_parent() {
    on_each(|rt| {
        let (one, other) = rt.block_on(async { UnixStream::pair() }).unwrap();
        // A foreign descriptor is taken out of epoll when it is dropped, and epoll is the parent's.
        let one = rt.block_on(async { UnixStream::from_std(one.into_std().unwrap()) }).unwrap();
        let mut buf = [0; 1];
        rt.block_on(async { assert!(poll_once(pin!(one.read(&mut buf))).await.is_pending()) });
        let sleep = rt.block_on(armed_here(Duration::from_millis(5), runtime::time::sleep));
        let (mut rt, mut one, mut sleep) = (Some(rt), Some(one), Some(sleep));
        in_child(|| {
            let own = multi(1);
            let read = own.block_on(one.as_ref().unwrap().read(&mut [0; 1])).unwrap_err();
            assert!(read.to_string().contains("lost in a fork"), "{read}");
            own.block_on(sleep.take().unwrap());
            drop((one.take(), rt.take(), own));
        });
        let (rt, one) = (rt.take().unwrap(), one.take().unwrap());
        let wait = rt.spawn(async move { one.read(&mut [0; 1]).await });
        rt.block_on(async {
            runtime_tests::settle().await;
            other.write_all(b"x").await.unwrap();
            assert_eq!(wait.await.unwrap().unwrap(), 1);
            sleep.take().unwrap().await;
        });
    });
}

#[test]
fn what_a_child_has_as_well_is_not_watched_any_more_when_the_parent_drops_it() {
    alone("what_a_child_has_as_well_is_not_watched_any_more_when_the_parent_drops_it", || {
        single().block_on(async {
            let (one, _other) = UnixStream::pair().unwrap();
            assert!(poll_once(pin!(one.read(&mut [0]))).await.is_pending());
            let before = watched();
            let child = begin_in_child(|| {
                // SAFETY: waits for a signal, which ends the child.
                unsafe { libc::pause() };
            });
            drop(one);
            let after = watched();
            // SAFETY: a child of this process, for which nobody has waited.
            assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
            end_of(child);
            assert_eq!(after, before - 1);
        });
    });
}

#[test]
fn a_task_that_forks_goes_on_in_the_parent_and_its_child_has_runtimes_of_its_own() {
    on_each(|rt| {
        let gate = Gate::new();
        let passing = gate.clone();
        let task = rt.spawn(async move {
            runtime::task::yield_now().await;
            in_child(|| {
                assert_eq!(runtime::task::current(), None);
                assert!(runtime::Handle::try_current().is_none());
                use_of_everything(&multi(1));
                assert_eq!(runtime::spawn(async { 7 }).wait().unwrap(), 7);
            });
            passing.pass().await;
            8
        });
        gate.open();
        assert_eq!(rt.block_on(task).unwrap(), 8);
    });
}

#[test]
fn the_future_of_block_on_may_fork_and_return_in_the_child() {
    on_each(|rt| {
        let mut rt = Some(rt);
        // SAFETY: as in `in_child`.
        let child = rt.as_ref().unwrap().block_on(async { unsafe { libc::fork() } });
        if child == 0 {
            // SAFETY: as in `in_child`.
            unsafe { libc::alarm(20) };
            let ended = catch_unwind(AssertUnwindSafe(|| {
                drop(rt.take());
                use_of_everything(&multi(1));
            }));
            // SAFETY: as in `in_child`.
            unsafe { libc::_exit(i32::from(ended.is_err())) };
        }
        let mut status = 0;
        // SAFETY: as in `in_child`.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        use_of_everything(rt.as_ref().unwrap());
    });
}

#[test]
fn the_default_runtime_is_made_anew_in_the_child() {
    within(PATIENCE, || {
        assert_eq!(runtime::spawn(async { 1 }).wait().unwrap(), 1);
        let id = runtime::Handle::current().id();
        in_child(|| {
            assert_ne!(runtime::Handle::current().id(), id);
            assert_eq!(runtime::spawn(async { 2 }).wait().unwrap(), 2);
            assert_eq!(runtime::block_on(async { runtime::spawn(async { 3 }).await }).unwrap(), 3);
        });
        assert_eq!(runtime::spawn(async { 4 }).wait().unwrap(), 4);
    });
}

#[test]
fn a_child_of_a_child_has_lost_the_runtimes_of_both() {
    within(PATIENCE, || {
        let first = multi(1);
        first.spawn(async {}).wait().unwrap();
        in_child(|| {
            let second = multi(1);
            second.spawn(async {}).wait().unwrap();
            in_child(|| {
                says_that_it_was_lost(&first.spawn(async {}).wait().unwrap_err());
                says_that_it_was_lost(&second.spawn(async {}).wait().unwrap_err());
                use_of_everything(&multi(1));
            });
            use_of_everything(&second);
        });
    });
}

#[test]
fn a_child_reads_the_standard_input_that_its_parent_was_reading() {
    if is_child() {
        multi(1).block_on(async {
            let reading = runtime::spawn(async { stdin().read(&mut [0; 8]).await });
            assert!(waits(&reading).await);
        });
        println!("{READS}");
        in_child(|| assert_eq!(Runtime::new().block_on(stdin().read(&mut [0; 8])).unwrap(), 0));
        return;
    }
    let mut command = child_command("a_child_reads_the_standard_input_that_its_parent_was_reading");
    let mut parent = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with(READS)));
    // The end of the input, for both.
    drop(parent.stdin.take());
    assert!(parent.wait().unwrap().success());
}

/// What the parent says when it waits for its input.
const READS: &str = "reads";

#[test]
fn a_half_that_the_child_drops_does_not_end_the_writing_of_the_parent() {
    on_each(|rt| {
        let (one, other) = rt.block_on(async { UnixStream::pair() }).unwrap();
        let (_read, write) = one.into_split();
        let mut write = Some(write);
        in_child(|| drop(write.take()));
        rt.block_on(async {
            write.as_mut().unwrap().write_all(b"x").await.unwrap();
            assert_eq!(other.read(&mut [0; 1]).await.unwrap(), 1);
        });
    });
}

#[test]
fn a_signal_to_the_child_is_not_heard_by_the_parent() {
    within(PATIENCE, || {
        let rt = multi(1);
        rt.block_on(async {
            let mut listener = signal(SignalKind::user_defined1()).unwrap();
            // SAFETY: there is a handler for the signal.
            in_child(|| assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0));
            let heard = runtime::time::timeout(Duration::from_millis(1), listener.recv()).await;
            assert!(heard.is_err());
        });
    });
}

#[runtime::main(graceful = "10m")]
async fn has_a_child_that_is_asked_to_end() {
    // SAFETY: as in `in_child`; this child waits for a signal, and for no longer than its alarm.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: an alarm without a handler ends the process.
        unsafe { libc::alarm(20) };
        loop {
            std::thread::park();
        }
    }
    let mut status = 0;
    // SAFETY: a child of this process, which was not waited for.
    assert_eq!(unsafe { libc::kill(child, libc::SIGTERM) }, 0);
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 143, "{status}");
    let asked = runtime::shutdown_token();
    assert!(runtime::time::timeout(Duration::from_millis(1), asked.cancelled()).await.is_err());
}

#[test]
fn a_child_of_a_graceful_program_ends_by_a_signal_of_its_own() {
    if is_child() {
        return has_a_child_that_is_asked_to_end();
    }
    let program = child("a_child_of_a_graceful_program_ends_by_a_signal_of_its_own", &[]);
    runtime_tests::assert_passed(&program);
}

#[runtime::main(graceful = "10m")]
async fn has_a_child_that_listens() {
    in_child(|| {
        multi(1).block_on(async {
            let mut listener = signal(SignalKind::terminate()).unwrap();
            // SAFETY: there is a handler for the signal.
            assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
            listener.recv().await.unwrap();
        });
    });
}

#[test]
fn a_child_of_a_graceful_program_may_listen_to_the_signal_itself() {
    if is_child() {
        return has_a_child_that_listens();
    }
    let program = child("a_child_of_a_graceful_program_may_listen_to_the_signal_itself", &[]);
    runtime_tests::assert_passed(&program);
}

/// Forks on a thread that returns in both processes; the child is ended by the runtime for that.
fn forks_and_returns(child: &AtomicI32) {
    // SAFETY: as in `in_child`.
    let process = unsafe { libc::fork() };
    if process == 0 {
        // SAFETY: an alarm without a handler ends the process.
        unsafe { libc::alarm(20) };
    }
    child.store(process, Ordering::SeqCst);
}

#[track_caller]
fn was_ended(child: i32) {
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT, "{status}");
}

#[test]
fn a_child_that_returns_into_a_limited_pool_runs_none_of_its_jobs() {
    within(PATIENCE, || {
        let rt = multi(1);
        let pool = {
            let _entered = rt.enter();
            BlockingPool::new(1)
        };
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (proceed, may_go_on) = std::sync::mpsc::channel::<()>();
        let child = Arc::new(AtomicI32::new(0));
        let forks = {
            let child = child.clone();
            pool.submit(move || {
                let _ = may_go_on.recv();
                forks_and_returns(&child);
            })
        };
        let runs = pool.submit(move || {
            std::io::Write::write_all(&mut { theirs }, &std::process::id().to_ne_bytes()).unwrap();
        });
        drop(proceed);
        forks.unwrap().wait().unwrap();
        runs.unwrap().wait().unwrap();
        was_ended(child.load(Ordering::SeqCst));
        let mut written = Vec::new();
        std::io::Read::read_to_end(&mut ours, &mut written).unwrap();
        assert_eq!(written, std::process::id().to_ne_bytes());
    });
}

#[test]
fn a_child_that_returns_into_a_scope_is_ended() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let (both, child) = (std::sync::Barrier::new(2), AtomicI32::new(0));
        runtime::scope(|s| {
            let (both, child) = (&both, &child);
            s.spawn(move || {
                both.wait();
                both.wait();
            });
            both.wait();
            s.spawn(move || forks_and_returns(child)).join().unwrap();
            both.wait();
        });
        was_ended(child.into_inner());
    });
}

#[test]
fn a_child_that_is_forked_off_in_a_scope_does_not_wait_for_its_parents_threads() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let (both, child) = (std::sync::Barrier::new(2), AtomicI32::new(0));
        runtime::scope(|s| {
            s.spawn(|| {
                both.wait();
                both.wait();
            });
            both.wait();
            forks_and_returns(&child);
            if child.load(Ordering::SeqCst) != 0 {
                both.wait();
            }
        });
        was_ended(child.into_inner());
    });
}
