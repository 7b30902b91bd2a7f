//! Signals to listeners, and programs that are asked to end: each in a process of its own.

use std::future::pending;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, getpid, kill_process};

use runtime::shutdown_token;
use runtime::signal::{SignalKind, ctrl_c, signal};
use runtime_tests::{
    PATIENCE, alone, child_command, is_child, multi, open_files_but_timers, poll_once, single, until, within,
};

// --- listeners ---

fn send(signal: Signal) {
    kill_process(getpid(), signal).expect("a signal to oneself");
}

#[test]
fn every_listener_hears_a_signal() {
    alone("signal::every_listener_hears_a_signal", || {
        runtime::block_on(async {
            let mut listeners: Vec<_> =
                (0..3).map(|_| signal(SignalKind::user_defined1()).unwrap()).collect();
            send(Signal::USR1);
            for listener in &mut listeners {
                assert_eq!(listener.recv().await, Some(()));
            }
        });
    });
}

#[test]
fn signals_since_the_last_look_are_heard_as_one() {
    alone("signal::signals_since_the_last_look_are_heard_as_one", || {
        runtime::block_on(async {
            let mut one = signal(SignalKind::user_defined1()).unwrap();
            // Registered later, so it hears each signal after the other.
            let mut each = signal(SignalKind::user_defined1()).unwrap();
            for _ in 0..3 {
                send(Signal::USR1);
                each.recv().await.unwrap();
            }
            one.recv().await.unwrap();
            assert!(poll_once(std::pin::pin!(one.recv())).await.is_pending());
            send(Signal::USR1);
            one.recv().await.unwrap();
        });
    });
}

/// Many more than a socket holds of what the handlers write.
#[test]
fn a_storm_of_signals_that_nobody_reads_of_holds_up_nobody_and_is_heard() {
    alone("signal::a_storm_of_signals_that_nobody_reads_of_holds_up_nobody_and_is_heard", || {
        runtime::block_on(async {
            let mut listener = signal(SignalKind::user_defined1()).unwrap();
            (0..10_000).for_each(|_| send(Signal::USR1));
            listener.recv().await.unwrap();
            send(Signal::USR1);
            listener.recv().await.unwrap();
        });
    });
}

#[test]
fn listeners_of_several_runtimes_hear_a_signal() {
    alone("signal::listeners_of_several_runtimes_hear_a_signal", || {
        let runtimes = [multi(1), multi(2), single()];
        let mut listeners: Vec<_> = runtimes
            .iter()
            .map(|rt| rt.block_on(async { signal(SignalKind::user_defined1()).unwrap() }))
            .collect();
        send(Signal::USR1);
        for (rt, listener) in runtimes.iter().zip(&mut listeners) {
            assert_eq!(rt.block_on(listener.recv()), Some(()));
        }
    });
}

#[test]
fn other_signals_are_not_heard() {
    alone("signal::other_signals_are_not_heard", || {
        runtime::block_on(async {
            let mut wrong = signal(SignalKind::hangup()).unwrap();
            let mut right = signal(SignalKind::user_defined2()).unwrap();
            send(Signal::USR2);
            right.recv().await.unwrap();
            assert!(poll_once(std::pin::pin!(wrong.recv())).await.is_pending());
        });
    });
}

#[test]
fn ctrl_c_is_heard() {
    alone("signal::ctrl_c_is_heard", || {
        runtime::block_on(async {
            let mut waiting = Box::pin(ctrl_c());
            assert!(poll_once(waiting.as_mut()).await.is_pending());
            send(Signal::INT);
            waiting.await.unwrap();
        });
    });
}

#[test]
fn a_listener_wakes_its_task_on_a_runtime_that_sleeps() {
    alone("signal::a_listener_wakes_its_task_on_a_runtime_that_sleeps", || {
        let rt = runtime::Runtime::builder().worker_threads(1).build().unwrap();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let task = rt.spawn(async move {
            let mut listener = signal(SignalKind::user_defined1()).unwrap();
            ready.send(()).unwrap();
            listener.recv().await
        });
        is_ready.recv().unwrap();
        send(Signal::USR1);
        assert_eq!(task.wait().unwrap(), Some(()));
    });
}

#[test]
fn a_dropped_listener_leaves_no_file_behind() {
    alone("signal::a_dropped_listener_leaves_no_file_behind", || {
        runtime::block_on(async {
            let listen = async || {
                let mut listener = signal(SignalKind::user_defined1()).unwrap();
                send(Signal::USR1);
                listener.recv().await.unwrap();
            };
            listen().await;
            let before = open_files_but_timers();
            for _ in 0..100 {
                listen().await;
            }
            assert_eq!(open_files_but_timers(), before);
        });
    });
}

#[test]
fn signals_that_no_program_may_handle_are_refused() {
    for number in [9, 11, 19] {
        let error = signal(SignalKind::from_raw(number)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert!(signal(SignalKind::from_raw(-1)).is_err());
}

// --- programs that are asked to end ---

/// A program of ours that runs; what it says on its standard error.
struct Program {
    child: Child,
    says: BufReader<ChildStderr>,
    pid: Pid,
}

impl Program {
    /// Runs a test of this file as a program, until it says who it is.
    fn start(test: &str) -> Program {
        let mut child = child_command(test).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(child.stderr.take().unwrap());
        let mut program = Program { child, says, pid: getpid() };
        let number = program.until("pid ").parse().unwrap();
        program.pid = Pid::from_raw(number).unwrap();
        program
    }

    /// Reads until a line begins with `word`, and gives the rest of it.
    fn until(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.says.read_line(&mut line).unwrap(),
                0,
                "it ended before it said {word:?}: {seen}"
            );
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
            seen.push_str(&line);
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Sends the signal until there is no such program any more: those that come at once are one with the first.
    fn insist(&self, signal: Signal) {
        until(|| kill_process(self.pid, signal).is_err());
    }

    /// Its exit code.
    fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn say_ready() {
    eprintln!("pid {}", std::process::id());
}

struct SaysOnDrop(&'static str);

impl Drop for SaysOnDrop {
    fn drop(&mut self) {
        eprintln!("{}", self.0);
    }
}

#[runtime::main(graceful = "10m")]
async fn returns_when_asked() {
    let task = runtime::spawn(async {
        shutdown_token().cancelled().await;
        eprintln!("task asked");
    });
    say_ready();
    shutdown_token().cancelled().await;
    task.await.unwrap();
    eprintln!("body done");
}

#[test]
fn the_first_signal_cancels_the_token_and_the_body_may_return() {
    if is_child() {
        return returns_when_asked();
    }
    within(PATIENCE, || {
        for signal in [Signal::INT, Signal::TERM] {
            let mut program =
                Program::start("signal::the_first_signal_cancels_the_token_and_the_body_may_return");
            program.send(signal);
            program.until("task asked");
            program.until("body done");
            assert_eq!(program.end(), Some(0));
        }
    });
}

#[runtime::main(graceful = "10m")]
async fn works_until_asked() {
    say_ready();
    while !shutdown_token().is_cancelled() {
        runtime::task::coop::consume_budget().await;
    }
}

#[test]
fn a_body_that_uses_its_budget_up_is_asked_all_the_same() {
    if is_child() {
        return works_until_asked();
    }
    within(PATIENCE, || {
        let program = Program::start("signal::a_body_that_uses_its_budget_up_is_asked_all_the_same");
        program.send(Signal::TERM);
        assert_eq!(program.end(), Some(0));
    });
}

#[runtime::main(graceful = "50ms", flavor = "current_thread")]
async fn never_returns() {
    let _body = SaysOnDrop("body dropped");
    let of_task = SaysOnDrop("task dropped");
    runtime::spawn(async {
        let _of_task = of_task;
        pending::<()>().await;
    });
    runtime::task::yield_now().await;
    say_ready();
    pending::<()>().await;
}

#[test]
fn a_body_that_does_not_return_in_time_is_dropped_and_the_program_ends_with_the_signals_code() {
    if is_child() {
        return never_returns();
    }
    within(PATIENCE, || {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let mut program = Program::start(
                "signal::a_body_that_does_not_return_in_time_is_dropped_and_the_program_ends_with_the_signals_code",
            );
            program.send(signal);
            program.until("body dropped");
            program.until("task dropped");
            assert_eq!(program.end(), Some(code));
        }
    });
}

#[runtime::main(graceful = "10m")]
async fn hangs_when_asked() {
    let _body = SaysOnDrop("body dropped");
    say_ready();
    shutdown_token().cancelled().await;
    eprintln!("asked");
    hang()
}

/// Not even an await. A signal ends the process.
fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once_whatever_it_does() {
    if is_child() {
        return hangs_when_asked();
    }
    within(PATIENCE, || {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let mut program =
                Program::start("signal::a_second_signal_ends_the_program_at_once_whatever_it_does");
            program.send(Signal::TERM);
            program.until("asked");
            program.insist(signal);
            assert_eq!(program.end(), Some(code));
        }
    });
}

struct HangsOnDrop;

impl Drop for HangsOnDrop {
    fn drop(&mut self) {
        eprintln!("hangs");
        hang()
    }
}

#[runtime::main(graceful = "10m", flavor = "current_thread")]
async fn panics_and_hangs() {
    let hangs = HangsOnDrop;
    runtime::spawn(async move {
        let _hangs = hangs;
        pending::<()>().await;
    });
    runtime::task::yield_now().await;
    say_ready();
    panic!("quiet: the body");
}

#[test]
fn the_first_signal_ends_a_program_that_hangs_after_its_body_panicked() {
    if is_child() {
        return panics_and_hangs();
    }
    within(PATIENCE, || {
        let mut program =
            Program::start("signal::the_first_signal_ends_a_program_that_hangs_after_its_body_panicked");
        program.until("hangs");
        program.send(Signal::TERM);
        assert_eq!(program.end(), Some(143));
    });
}

#[test]
fn without_a_signal_the_body_ends_the_program() {
    #[runtime::main(graceful = "5s")]
    async fn answer() -> Result<u8, runtime::Error> {
        runtime::spawn(async { 42 }).await
    }
    alone("signal::without_a_signal_the_body_ends_the_program", || {
        assert_eq!(answer().unwrap(), 42);
        assert!(!shutdown_token().is_cancelled());
    });
}

#[test]
fn there_is_one_token_in_a_process() {
    alone("signal::there_is_one_token_in_a_process", || {
        shutdown_token().cancel();
        assert!(shutdown_token().is_cancelled());
    });
}

/// The thread of the body is in a task that does not return.
#[runtime::main(graceful = "10m", flavor = "current_thread")]
async fn is_kept_by_a_task() {
    runtime::spawn(async {
        runtime::block_on(async {
            say_ready();
            shutdown_token().cancelled().await;
        });
        eprintln!("task asked");
    });
    pending::<()>().await;
}

#[test]
fn a_task_that_keeps_the_thread_of_the_body_is_asked_all_the_same() {
    if is_child() {
        return is_kept_by_a_task();
    }
    within(PATIENCE, || {
        let mut program =
            Program::start("signal::a_task_that_keeps_the_thread_of_the_body_is_asked_all_the_same");
        program.send(Signal::TERM);
        program.until("task asked");
        program.insist(Signal::TERM);
        assert_eq!(program.end(), Some(143));
    });
}

/// Never ends.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        say_ready();
        loop {
            std::thread::park();
        }
    }
}

/// The body has returned; the runtime waits for what it still has.
#[runtime::main(graceful = "10m", flavor = "current_thread")]
async fn never_ends() {
    runtime::spawn(async {
        let _late = Endless;
        pending::<()>().await;
    });
    runtime::task::yield_now().await;
}

#[test]
fn the_first_signal_ends_a_program_whose_body_has_returned() {
    if is_child() {
        return never_ends();
    }
    within(PATIENCE, || {
        let program = Program::start("signal::the_first_signal_ends_a_program_whose_body_has_returned");
        program.send(Signal::TERM);
        assert_eq!(program.end(), Some(143));
    });
}

#[test]
fn a_wait_for_ctrl_c_whose_runtime_ends_is_an_error() {
    alone("signal::a_wait_for_ctrl_c_whose_runtime_ends_is_an_error", || {
        let rt = multi(1);
        let handle = rt.handle().clone();
        let (begun, begins) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            handle.block_on(async {
                let mut pressed = std::pin::pin!(runtime::signal::ctrl_c());
                assert!(poll_once(pressed.as_mut()).await.is_pending());
                begun.send(()).unwrap();
                pressed.await
            })
        });
        begins.recv().unwrap();
        drop(rt);
        assert!(waiting.join().unwrap().is_err());
    });
}
