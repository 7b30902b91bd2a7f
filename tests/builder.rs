//! Options do what they say, and one that makes no sense is an error that names it.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::{Builder, Runtime};
use runtime_tests::{PATIENCE, child, is_child, single, threads_named, until, within};

#[track_caller]
fn refused(builder: Builder, option: &str, value: &str) {
    let error = builder.build().expect_err("it makes no sense");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains(option) && text.contains(value), "{text}");
}

#[test]
fn no_workers_are_refused() {
    refused(Builder::new().worker_threads(0), "worker_threads", "0");
}

#[test]
fn an_absurd_number_of_workers_is_refused() {
    refused(Builder::new().worker_threads(usize::MAX), "worker_threads", &usize::MAX.to_string());
}

#[test]
fn no_blocking_threads_are_refused() {
    refused(Builder::new().max_blocking_threads(0), "max_blocking_threads", "0");
}

#[test]
fn an_absurd_number_of_blocking_threads_is_refused() {
    let most = usize::MAX;
    refused(Builder::new().max_blocking_threads(most), "max_blocking_threads", &most.to_string());
}

#[test]
fn a_stack_of_no_or_one_byte_is_refused() {
    refused(Builder::new().thread_stack_size(0), "thread_stack_size", "0");
    refused(Builder::new().thread_stack_size(1), "thread_stack_size", "1");
}

#[test]
fn an_absurd_stack_is_refused_or_an_error_and_never_a_hang() {
    within(PATIENCE, || {
        for bytes in [usize::MAX, 1 << 60, (1 << 40) + 1] {
            refused(Builder::new().thread_stack_size(bytes), "thread_stack_size", &bytes.to_string());
        }
        // What the option's range allows and the system does not is the tasks' error.
        let rt = Builder::new().worker_threads(1).thread_stack_size(1 << 40).build().unwrap();
        let _ = rt.spawn(async {}).wait();
        let _ = rt.spawn_blocking(|| ()).wait();
    });
}

#[test]
fn a_thread_name_with_a_nul_byte_is_refused() {
    refused(Builder::new().thread_name("a\0b"), "thread_name", "a\\0b");
}

#[test]
fn two_workers_on_a_current_thread_runtime_are_refused() {
    refused(Builder::new().current_thread().worker_threads(2), "worker_threads", "2");
}

#[test]
fn the_order_of_options_does_not_matter() {
    refused(Builder::new().worker_threads(2).current_thread(), "worker_threads", "2");
    refused(Builder::new().worker_threads(0).thread_name("x"), "worker_threads", "0");
    assert!(Builder::new().worker_threads(1).current_thread().build().is_ok());
}

#[test]
fn the_last_value_of_an_option_counts() {
    let rt = Builder::new().worker_threads(0).worker_threads(3).build().unwrap();
    assert_eq!(rt.metrics().workers(), 3);
}

#[test]
fn threads_have_the_given_first_word_and_a_number() {
    within(PATIENCE, || {
        let rt = Builder::new().worker_threads(2).thread_name("loom").build().unwrap();
        let name = || thread::current().name().unwrap().to_owned();
        assert!(rt.spawn(async move { name() }).wait().unwrap().starts_with("loom-worker-"));
        assert_eq!(rt.spawn_blocking(name).wait().unwrap(), "loom-blocking-0");
    });
}

#[test]
fn threads_are_called_what_the_function_says() {
    within(PATIENCE, || {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let name = move || format!("own-{}", counter.fetch_add(1, Ordering::SeqCst));
        // Without a monitor there is no spare worker, which would be a call more.
        let rt = Builder::new().worker_threads(1).monitor(false).thread_name_fn(name).build().unwrap();
        let name = rt.spawn(async { thread::current().name().unwrap().to_owned() }).wait().unwrap();
        assert_eq!((name.as_str(), calls.load(Ordering::SeqCst)), ("own-0", 1));
    });
}

#[test]
fn a_name_function_that_panics_or_gives_a_nul_byte_costs_only_the_name() {
    within(PATIENCE, || {
        let panics = Builder::new().worker_threads(1).thread_name_fn(|| panic!("no name")).build().unwrap();
        panics.spawn(async {}).wait().unwrap();
        let nul = Builder::new().worker_threads(1).thread_name_fn(|| "n\0ul".to_owned()).build().unwrap();
        nul.spawn_blocking(|| ()).wait().unwrap();
    });
}

#[test]
fn the_hooks_run_once_on_each_thread() {
    within(PATIENCE, || {
        let (started, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (start, stop) = (started.clone(), stopped.clone());
        let rt = Builder::new()
            .worker_threads(2)
            // Without spare workers, whose threads have their hooks as well.
            .monitor(false)
            .on_thread_start(move || {
                start.fetch_add(1, Ordering::SeqCst);
            })
            .on_thread_stop(move || {
                stop.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .unwrap();
        let both = Arc::new(Barrier::new(2));
        let meet = || {
            let both = both.clone();
            rt.spawn(async move {
                both.wait();
            })
        };
        [meet(), meet()].into_iter().for_each(|task| task.wait().unwrap());
        rt.spawn_blocking(|| ()).wait().unwrap();
        drop(rt);
        let counts = (started.load(Ordering::SeqCst), stopped.load(Ordering::SeqCst));
        assert_eq!(counts, (3, 3));
    });
}

#[test]
fn the_thread_of_the_monitor_has_no_hooks_and_a_name_of_its_own() {
    within(PATIENCE, || {
        let name = || thread::current().name().unwrap().to_owned();
        let ((start, hooked), (report, reported)) = (mpsc::channel(), mpsc::channel());
        let stop = start.clone();
        let rt = Builder::new()
            .worker_threads(1)
            .thread_name_fn(|| "own".to_owned())
            .on_thread_start(move || start.send(name()).unwrap())
            .on_thread_stop(move || stop.send(name()).unwrap())
            .stall_threshold(Duration::from_millis(1))
            .on_stall(move |_| drop(report.send(name())))
            .build()
            .unwrap();
        let (go, gone) = mpsc::channel::<()>();
        drop(rt.spawn(async move { gone.recv() }));
        assert_eq!(reported.recv().unwrap(), "runtime-monitor");
        drop(go);
        drop(rt);
        assert_eq!(hooked.try_iter().find(|name| name != "own"), None);
    });
}

#[test]
fn the_start_hook_comes_before_the_first_task() {
    within(PATIENCE, || {
        let (sender, order) = mpsc::channel();
        let hook = sender.clone();
        let rt = Builder::new()
            .worker_threads(1)
            .on_thread_start(move || hook.send("hook").unwrap())
            .build()
            .unwrap();
        rt.spawn(async move { sender.send("task").unwrap() }).wait().unwrap();
        assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["hook", "task"]);
    });
}

#[test]
fn hooks_that_panic_cost_nothing() {
    within(PATIENCE, || {
        let rt = Builder::new()
            .worker_threads(2)
            .thread_name("panicky")
            .on_thread_start(|| panic!("at the start"))
            .on_thread_stop(|| panic!("at the stop"))
            .build()
            .unwrap();
        for n in 0..10 {
            assert_eq!(rt.spawn(async move { n }).wait().unwrap(), n);
            assert_eq!(rt.spawn_blocking(move || n).wait().unwrap(), n);
        }
        drop(rt);
        until(|| threads_named("panicky") == 0);
    });
}

#[test]
fn hooks_may_use_the_runtime() {
    within(PATIENCE, || {
        let (sender, spawned) = mpsc::channel();
        let rt = Builder::new()
            .worker_threads(1)
            .on_thread_start(move || {
                let sender = sender.clone();
                drop(runtime::spawn(async move { sender.send(runtime::Handle::current().id()).unwrap() }));
            })
            .on_thread_stop(|| drop(runtime::spawn(async {})))
            .build()
            .unwrap();
        rt.spawn(async {}).wait().unwrap();
        assert_eq!(spawned.recv(), Ok(rt.handle().id()));
    });
}

#[test]
fn a_hook_that_blocks_on_holds_up_its_own_thread_only() {
    within(PATIENCE, || {
        let rt = Builder::new()
            .worker_threads(2)
            .on_thread_start(|| runtime::block_on(async { runtime::spawn(async {}).await }).unwrap_or(()))
            .build()
            .unwrap();
        rt.spawn(async {}).wait().unwrap();
    });
}

#[test]
fn the_stack_of_the_threads_has_the_given_size() {
    fn deep(n: u32) -> u32 {
        let room = std::hint::black_box([n; 256]);
        if n == 0 { room[0] } else { deep(n - 1) + room[255] - n }
    }
    within(PATIENCE, || {
        let rt = Builder::new().worker_threads(1).thread_stack_size(64 << 20).build().unwrap();
        assert_eq!(rt.spawn(async { deep(20_000) }).wait().unwrap(), 0);
    });
}

#[test]
fn threads_start_only_when_they_are_needed() {
    within(PATIENCE, || {
        let rt = Builder::new().worker_threads(4).thread_name("lazy").build().unwrap();
        assert_eq!(threads_named("lazy"), 0);
        rt.spawn(async {}).wait().unwrap();
        assert!(threads_named("lazy") >= 1);
        until(|| rt.metrics().live_tasks() == 0);
    });
}

#[test]
fn a_blocking_thread_ends_after_its_keep_alive() {
    within(PATIENCE, || {
        let rt = Builder::new()
            .worker_threads(1)
            .thread_name("brief-b")
            .blocking_keep_alive(Duration::from_millis(1))
            .build()
            .unwrap();
        rt.spawn_blocking(|| ()).wait().unwrap();
        until(|| rt.metrics().blocking_threads() == 0 && threads_named("brief-b-blockin") == 0);
    });
}

#[test]
fn a_builder_is_used_again_through_its_clone() {
    let (log, seen) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let counter = log.clone();
    // Without spare workers, whose threads would be counted.
    let builder = Builder::new().worker_threads(1).monitor(false);
    let builder = builder.on_thread_start(move || *counter.lock() += 1);
    for rt in [builder.clone().build().unwrap(), builder.build().unwrap()] {
        rt.spawn(async {}).wait().unwrap();
        *seen.lock() += 1;
    }
    assert_eq!((*log.lock(), *seen.lock()), (2, 2));
}

// --- the default runtime and the environment: processes of their own ---

#[test]
fn the_default_runtime_is_configured_once() {
    if is_child() {
        Builder::new().worker_threads(3).name("global").build_global().unwrap();
        assert_eq!(runtime::Handle::current().runtime_name(), Some("global"));
        assert_eq!(
            runtime::spawn(async { runtime::Handle::current().metrics().workers() }).wait().unwrap(),
            3
        );
        let error = Builder::new().build_global().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        return;
    }
    let output = child("builder::the_default_runtime_is_configured_once", &[]);
    runtime_tests::assert_passed(&output);
}

#[test]
fn the_default_runtime_cannot_be_configured_after_its_first_use() {
    if is_child() {
        runtime::spawn(async {}).wait().unwrap();
        let error = Builder::new().build_global().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("default runtime exists"), "{error}");
        return;
    }
    let output = child("builder::the_default_runtime_cannot_be_configured_after_its_first_use", &[]);
    runtime_tests::assert_passed(&output);
}

#[runtime::main]
async fn configures_another_default() -> ErrorKind {
    Builder::new().build_global().unwrap_err().kind()
}

#[test]
fn the_runtime_of_main_is_the_default_one_and_cannot_be_configured_again() {
    if is_child() {
        assert_eq!(configures_another_default(), ErrorKind::AlreadyExists);
        return;
    }
    let output = child("builder::the_runtime_of_main_is_the_default_one_and_cannot_be_configured_again", &[]);
    runtime_tests::assert_passed(&output);
}

#[test]
fn the_environment_gives_the_number_of_workers() {
    if is_child() {
        assert_eq!(Runtime::new().metrics().workers(), 7);
        assert_eq!(Builder::new().worker_threads(2).build().unwrap().metrics().workers(), 2);
        assert_eq!(single().metrics().workers(), 1);
        return;
    }
    let test = "builder::the_environment_gives_the_number_of_workers";
    let output = child(test, &[("RUNTIME_WORKER_THREADS", "7")]);
    runtime_tests::assert_passed(&output);
}

#[test]
fn garbage_in_the_environment_is_an_error_that_names_the_variable_and_the_value() {
    const VARIABLE: &str = "RUNTIME_WORKER_THREADS";
    if is_child() {
        let value = std::env::var(VARIABLE).unwrap();
        refused(Builder::new(), VARIABLE, &format!("{value:?}"));
        // What asks for a number of its own does not look there.
        assert!(Builder::new().worker_threads(1).build().is_ok());
        return;
    }
    let test = "builder::garbage_in_the_environment_is_an_error_that_names_the_variable_and_the_value";
    for value in ["0", "-1", "two", "", "3.5", "99999999999999999999"] {
        let output = child(test, &[(VARIABLE, value)]);
        runtime_tests::assert_passed(&output);
    }
}

#[test]
fn a_program_with_garbage_in_the_environment_panics_with_the_variable_and_does_not_hang() {
    const TEST: &str =
        "builder::a_program_with_garbage_in_the_environment_panics_with_the_variable_and_does_not_hang";
    const ENTRY: &str = "RUNTIME_TEST_ENTRY";
    /// All that build the default runtime where there is none.
    const ENTRIES: [(&str, fn()); 11] = [
        ("new", || drop(Runtime::new())),
        ("current", || drop(runtime::Handle::current())),
        ("spawn", || drop(runtime::spawn(async {}))),
        ("spawn_named", || drop(runtime::task::Builder::new().name("named").spawn(async {}))),
        ("spawn_blocking", || drop(runtime::spawn_blocking(|| ()))),
        ("spawn_blocking_named", || drop(runtime::task::Builder::new().name("named").spawn_blocking(|| ()))),
        ("block_on", || runtime::block_on(async {})),
        ("shield", || drop(runtime::shield(async {}))),
        ("scope", || runtime::scope(|s| drop(s.spawn(|| ())))),
        ("blocking_pool", || drop(runtime::BlockingPool::new(1))),
        ("add_done_callback", || _ = runtime::Promise::<()>::new().1.add_done_callback(|_| ())),
    ];
    if is_child() {
        let asked = std::env::var(ENTRY).unwrap();
        let (_, enter) = ENTRIES.into_iter().find(|(name, _)| *name == asked).unwrap();
        enter();
        return;
    }
    for (name, _) in ENTRIES {
        let output = child(TEST, &[("RUNTIME_WORKER_THREADS", "many"), (ENTRY, name)]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name}");
        assert!(text.contains("RUNTIME_WORKER_THREADS") && text.contains("\"many\""), "{name}: {text}");
        // The caller's line, not one of the crate's.
        assert!(text.contains("builder.rs"), "{name}: {text}");
    }
}
