//! A system that refuses threads gets errors, never a hang, a spin or a panic of the caller.
//!
//! The tests run again as a user whose limit of processes holds. Root's does not, so root starts a copy of this program,
//! which everybody may read, as a user of its own for each test; anybody else starts this one again. The child makes its
//! limit tight when it needs it, with the `prlimit` program on itself; that of one process is exceeded by whatever else
//! the user runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::mpsc;

use parking_lot::Mutex;
use runtime::{Error, Runtime};
use runtime_tests::{Gate, PATIENCE, promptly, until, within};
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};

const CHILD: &str = "RUNTIME_REFUSED";
/// `EAGAIN`, what the system says when the limit of threads is reached.
const REFUSED: i32 = 11;

/// A copy of this program that everybody may run, gone at the end.
struct Copy(PathBuf);

impl Copy {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("runtime-refusal-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("a folder for everybody");
        let program = folder.join("refusal");
        fs::copy(std::env::current_exe().expect("the test's own path"), &program).expect("a copy");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program for everybody");
        Copy(program)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().expect("a file is in a folder"));
    }
}

/// Runs one test of this file again: root as `user`, anybody else as they are.
fn limited(test: &str, user: u32) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", &PATIENCE.as_secs().to_string()]);
    // Gone when the child has ended.
    let _copy = if getuid().is_root() {
        let copy = Copy::new(test);
        command.args(["setpriv", "--reuid", &user.to_string(), "--clear-groups"]).arg(&copy.0);
        Some(copy)
    } else {
        command.arg(std::env::current_exe().expect("the test's own path"));
        None
    };
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("the test starts again")
}

/// From here on this process gets no thread more; those it has stay.
fn refuse_threads() {
    let this = std::process::id().to_string();
    // Started before the limit holds; the limit is on this process only.
    let limited =
        Command::new("prlimit").args(["--pid", &this, "--nproc=1:1"]).status().expect("prlimit starts");
    assert!(limited.success());
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "the limit does not hold");
}

/// Runs `body` in the child and, in the parent, the child.
fn refused(test: &str, user: u32, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    runtime_tests::assert_passed(&limited(test, user));
}

#[track_caller]
fn carries_the_system_s_error(error: Error) {
    let io = error.downcast_ref::<std::io::Error>().unwrap_or_else(|| panic!("not the system's: {error:?}"));
    assert_eq!(io.raw_os_error(), Some(REFUSED), "{io}");
    assert_eq!(std::io::Error::from(error).raw_os_error(), Some(REFUSED));
}

#[test]
fn a_job_without_any_thread_resolves_with_the_systems_error() {
    refused("a_job_without_any_thread_resolves_with_the_systems_error", 65501, || {
        let rt = Runtime::builder().worker_threads(1).build().expect("no thread is needed yet");
        refuse_threads();
        for _ in 0..100 {
            carries_the_system_s_error(promptly(|| rt.spawn_blocking(|| 1).wait()).unwrap_err());
        }
        assert_eq!(rt.metrics().blocking_threads(), 0);
        assert_eq!(rt.metrics().blocking_queue_depth(), 0);
        assert_eq!(rt.metrics().peak_blocking_threads(), 0, "none was ever there");
    });
}

#[test]
fn a_job_with_a_pool_thread_runs_there() {
    refused("a_job_with_a_pool_thread_runs_there", 65502, || {
        let rt = Runtime::builder().worker_threads(1).build().unwrap();
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let first = rt.spawn_blocking(move || {
            entered.send(()).unwrap();
            let _ = may_go_on.lock().recv();
        });
        begun.recv().unwrap();
        refuse_threads();
        let second = promptly(|| rt.spawn_blocking(|| 2));
        assert!(!second.is_finished());
        drop(proceed);
        first.wait().unwrap();
        assert_eq!(promptly(|| second.wait()).unwrap(), 2);
    });
}

#[test]
fn a_task_on_a_runtime_without_any_thread_resolves_with_the_systems_error() {
    refused("a_task_on_a_runtime_without_any_thread_resolves_with_the_systems_error", 65503, || {
        let rt = Runtime::builder().worker_threads(2).build().unwrap();
        refuse_threads();
        for _ in 0..100 {
            carries_the_system_s_error(promptly(|| rt.spawn(async { 1 }).wait()).unwrap_err());
        }
        assert_eq!(rt.metrics().live_tasks(), 0);
    });
}

#[test]
fn tasks_run_in_block_on_if_no_worker_thread_starts() {
    refused("tasks_run_in_block_on_if_no_worker_thread_starts", 65504, || {
        let rt = Runtime::builder().worker_threads(2).build().unwrap();
        refuse_threads();
        let ran = promptly(|| {
            rt.block_on(async {
                // The thread is a worker once its own future waits for the first time.
                runtime_tests::settle().await;
                let mut ran = 0;
                for _ in 0..200 {
                    match runtime::spawn(async { runtime::spawn(async { 1 }).await }).await {
                        Ok(inner) => ran += inner.unwrap(),
                        Err(error) => carries_the_system_s_error(error),
                    }
                }
                ran
            })
        });
        assert!(ran > 0, "every task was refused");
    });
}

#[test]
fn a_runtime_recovers_when_the_system_gives_threads_again() {
    refused("a_runtime_recovers_when_the_system_gives_threads_again", 65505, || {
        let rt = Runtime::builder().worker_threads(2).build().unwrap();
        let limit = Limit::of_one_thread();
        assert!(rt.spawn(async { 1 }).wait().is_err());
        assert!(rt.spawn_blocking(|| 1).wait().is_err());
        limit.lift();
        assert_eq!(promptly(|| rt.spawn(async { 1 }).wait()).unwrap(), 1);
        assert_eq!(promptly(|| rt.spawn_blocking(|| 1).wait()).unwrap(), 1);
    });
}

#[test]
fn a_waiting_task_that_is_woken_without_threads_resolves() {
    refused("a_waiting_task_that_is_woken_without_threads_resolves", 65506, || {
        let rt = Runtime::builder().worker_threads(1).build().unwrap();
        let gate = Gate::new();
        let passing = gate.clone();
        let task = rt.spawn(async move { passing.pass().await });
        drop(gate.waker());
        refuse_threads();
        // Its worker is alive: the refusal of others is nothing to it.
        gate.open();
        promptly(|| task.wait()).unwrap();
    });
}

#[test]
fn a_runtime_without_threads_shuts_down() {
    refused("a_runtime_without_threads_shuts_down", 65507, || {
        let rt = Runtime::builder().worker_threads(4).build().unwrap();
        refuse_threads();
        let dropped = Arc::new(());
        for _ in 0..10 {
            let held = dropped.clone();
            drop(rt.spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            }));
        }
        promptly(|| drop(rt));
        assert_eq!(Arc::strong_count(&dropped), 1);
    });
}

#[test]
fn the_default_runtime_works_without_threads_inside_block_on() {
    refused("the_default_runtime_works_without_threads_inside_block_on", 65508, || {
        refuse_threads();
        assert_eq!(promptly(|| runtime::block_on(async { 1 })), 1);
        carries_the_system_s_error(promptly(|| runtime::spawn_blocking(|| 1).wait()).unwrap_err());
    });
}

/// A soft limit on this process, which another one, started before it holds, lifts again.
struct Limit(std::process::Child);

impl Limit {
    fn of_one_thread() -> Self {
        let this = std::process::id().to_string();
        // The soft limit only, which its owner may raise again to what it was.
        let before = getrlimit(Resource::Nproc).current;
        let before = before.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        let mut lifter = Command::new("sh");
        lifter.args(["-c", &format!("read x; exec prlimit --pid {this} --nproc={before}:")]);
        let lifter = lifter.stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(Command::new("prlimit").args(["--pid", &this, "--nproc=1:"]).status().unwrap().success());
        assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "the limit does not hold");
        Limit(lifter)
    }

    fn lift(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn a_pool_refused_in_the_middle_of_a_load_goes_on_with_what_it_has_and_grows_later() {
    refused("a_pool_refused_in_the_middle_of_a_load_goes_on_with_what_it_has_and_grows_later", 65509, || {
        let rt = Runtime::builder().worker_threads(2).build().unwrap();
        let burst = |count: usize| -> Vec<_> {
            let job = || std::thread::sleep(std::time::Duration::from_millis(5));
            (0..count).map(|_| rt.spawn_blocking(job)).collect()
        };
        // Its worker has a thread from here on.
        rt.spawn(async {}).wait().unwrap();
        let before = burst(100);
        runtime_tests::until(|| rt.metrics().blocking_threads() > 2);
        let limit = Limit::of_one_thread();
        let during = burst(100);
        let task = rt.spawn(async { 1 });
        for job in before.into_iter().chain(during) {
            promptly(|| job.wait()).unwrap();
        }
        assert_eq!(promptly(|| task.wait()).unwrap(), 1);
        // One more than there are threads, and each waits for all: only a thread that starts later ends them.
        let all = rt.metrics().blocking_threads() + 1;
        let barrier = Arc::new(std::sync::Barrier::new(all));
        let meet = |_| {
            let barrier = barrier.clone();
            rt.spawn_blocking(move || {
                barrier.wait();
            })
        };
        let jobs: Vec<_> = (0..all).map(meet).collect();
        limit.lift();
        for job in jobs {
            promptly(|| job.wait()).unwrap();
        }
        promptly(|| drop(rt));
    });
}

#[test]
fn a_job_whose_thread_was_refused_has_one_as_soon_as_the_system_gives_it() {
    job_refused("a_job_whose_thread_was_refused_has_one_as_soon_as_the_system_gives_it", 65511, false);
}

#[test]
fn a_job_whose_thread_was_refused_has_one_later_also_where_the_clock_stands_still() {
    job_refused(
        "a_job_whose_thread_was_refused_has_one_later_also_where_the_clock_stands_still",
        65517,
        true,
    );
}

/// The only thread that runs jobs waits for a job that was refused one.
fn job_refused(test: &str, user: u32, start_paused: bool) {
    refused(test, user, || {
        let rt = Runtime::builder().worker_threads(1).start_paused(start_paused).build().unwrap();
        // Its worker has a thread from here on.
        rt.spawn(async {}).wait().unwrap();
        let meeting = Arc::new(std::sync::Barrier::new(2));
        let (entered, begun) = mpsc::channel();
        let first = {
            let meeting = meeting.clone();
            rt.spawn_blocking(move || {
                entered.send(()).unwrap();
                meeting.wait();
            })
        };
        begun.recv().unwrap();
        let limit = Limit::of_one_thread();
        // The one thread there is waits for this job.
        let second = rt.spawn_blocking(move || {
            meeting.wait();
        });
        limit.lift();
        promptly(|| second.wait()).unwrap();
        first.wait().unwrap();
        promptly(|| drop(rt));
    });
}

#[test]
fn a_current_thread_runtime_has_its_grace_without_a_thread_that_watches_the_clock() {
    refused("a_current_thread_runtime_has_its_grace_without_a_thread_that_watches_the_clock", 65512, || {
        let rt = Runtime::builder().current_thread().build().unwrap();
        let task = rt.spawn(async {
            runtime::time::sleep(std::time::Duration::from_millis(1)).await;
            1
        });
        refuse_threads();
        promptly(|| rt.shutdown(std::time::Duration::from_secs(60)));
        assert_eq!(task.wait().unwrap(), 1);
    });
}

#[test]
fn threads_refused_for_want_of_memory_are_errors_until_there_is_some() {
    refused("threads_refused_for_want_of_memory_are_errors_until_there_is_some", 65510, || {
        let rt = Runtime::builder().worker_threads(2).thread_stack_size(64 << 20).build().unwrap();
        let before = getrlimit(Resource::As);
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        // Enough for everything but the stack of a thread.
        let limit = pages * 4096 + (16 << 20);
        setrlimit(Resource::As, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
        for _ in 0..20 {
            carries_the_system_s_error(promptly(|| rt.spawn(async { 1 }).wait()).unwrap_err());
            carries_the_system_s_error(promptly(|| rt.spawn_blocking(|| 1).wait()).unwrap_err());
        }
        setrlimit(Resource::As, before).unwrap();
        assert_eq!(promptly(|| rt.spawn(async { 1 }).wait()).unwrap(), 1);
        assert_eq!(promptly(|| rt.spawn_blocking(|| 1).wait()).unwrap(), 1);
    });
}

#[test]
fn a_thread_that_has_ended_leaves_room_for_the_stack_of_the_next() {
    refused("a_thread_that_has_ended_leaves_room_for_the_stack_of_the_next", 65518, || {
        let stack = 256 << 20;
        let rt = Runtime::builder()
            .worker_threads(1)
            .thread_stack_size(stack)
            .blocking_keep_alive(std::time::Duration::ZERO)
            .build()
            .unwrap();
        let before = getrlimit(Resource::As);
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        // One stack and half of another.
        let limit = pages * 4096 + 3 * stack as u64 / 2;
        setrlimit(Resource::As, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
        assert_eq!(rt.spawn_blocking(|| 1).wait().unwrap(), 1);
        until(|| rt.metrics().blocking_threads() == 0);
        // The system may take a moment to forget it.
        until(|| rt.spawn_blocking(|| 2).wait().is_ok());
    });
}

/// What all who run wait for is a task whose worker was refused a thread.
fn in_blocking_code(test: &str, user: u32, monitor: bool, block: fn(runtime::Task<u32>, Limit) -> u32) {
    refused(test, user, || {
        let rt = Runtime::builder().worker_threads(1).monitor(monitor).build().unwrap();
        // Its worker has a thread from here on, and its monitor, if it has one.
        rt.spawn(async { runtime::spawn(async {}).await }).wait().unwrap().unwrap();
        let task = rt.spawn(async move {
            let limit = Limit::of_one_thread();
            block(runtime::spawn(async { 1 }), limit)
        });
        assert_eq!(promptly(|| task.wait()).unwrap(), 1);
    });
}

#[test]
fn a_task_that_a_nested_wait_left_without_a_thread_has_one_when_the_system_gives_it() {
    let test = "a_task_that_a_nested_wait_left_without_a_thread_has_one_when_the_system_gives_it";
    let block: fn(runtime::Task<u32>, Limit) -> u32 = |child, limit| {
        runtime::block_on(async move {
            limit.lift();
            child.await.unwrap()
        })
    };
    in_blocking_code(test, 65515, false, block);
}

#[test]
fn a_task_that_blocking_code_left_without_a_thread_has_one_when_the_system_gives_it() {
    let test = "a_task_that_blocking_code_left_without_a_thread_has_one_when_the_system_gives_it";
    let block: fn(runtime::Task<u32>, Limit) -> u32 = |child, limit| {
        runtime::task::block_in_place(|| {
            limit.lift();
            child.wait().unwrap()
        })
    };
    in_blocking_code(test, 65513, true, block);
}

#[test]
fn a_task_that_came_while_a_nested_call_waited_has_a_thread_when_the_system_gives_it() {
    refused(
        "a_task_that_came_while_a_nested_call_waited_has_a_thread_when_the_system_gives_it",
        65516,
        || {
            let rt = Runtime::builder().worker_threads(1).monitor(false).build().unwrap();
            let (sender, receiver) = runtime::sync::oneshot::channel();
            let (tell, told) = mpsc::channel();
            let task = rt.spawn(async move {
                runtime::block_on(async move {
                    tell.send(()).unwrap();
                    receiver.await.unwrap()
                })
            });
            told.recv().unwrap();
            let limit = Limit::of_one_thread();
            drop(rt.spawn(async move { sender.send(1).unwrap() }));
            limit.lift();
            assert_eq!(promptly(|| task.wait()).unwrap(), 1);
        },
    );
}

#[test]
fn a_monitor_that_the_system_refused_watches_later() {
    refused("a_monitor_that_the_system_refused_watches_later", 65514, || {
        let rt = Runtime::builder().worker_threads(1).stall_threshold(None).build().unwrap();
        // Its worker has a thread from here on, and no monitor yet: nothing is reported, and there was one task.
        rt.spawn(async {}).wait().unwrap();
        let limit = Limit::of_one_thread();
        rt.spawn(async { runtime::spawn(async {}).await }).wait().unwrap().unwrap();
        limit.lift();
        // Until somebody passes on what it keeps.
        let keeps = async || {
            let child = runtime::spawn(async {});
            let begin = std::time::Instant::now();
            while !child.is_finished() && begin.elapsed() < std::time::Duration::from_millis(50) {
                std::thread::yield_now();
            }
            child.is_finished()
        };
        let task = rt.spawn(async move {
            while !keeps().await {
                runtime::task::yield_now().await;
            }
        });
        // On a busy machine the time of many of them may be over before anybody else gets a processor.
        within(PATIENCE, || task.wait()).unwrap();
    });
}
