//! Clocks of the system that std does not read: the processor time of another thread, and the coarse one.
//!
//! Through the C library: rustix finds the kernel's own code for it by itself, and crashes where a program runs under
//! valgrind, which hides that.
#![cfg_attr(unix, expect(unsafe_code, reason = "the C library's function has no safe form"))]

use std::time::Duration;

/// How much processor time the thread has used; `None` if it has ended, or the system does not say.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
pub(crate) fn cpu_time(thread: u32) -> Option<Duration> {
    /// `CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD_MASK` of Linux: scheduled time, of one thread.
    const OF_THREAD: i32 = 2 | 4;

    let thread = i32::try_from(thread).ok().filter(|thread| *thread > 0)?;
    read((!thread << 3) | OF_THREAD)
}

/// The time on a clock; `None` if there is none. May be called in a signal handler.
#[cfg(unix)]
#[cfg_attr(any(not(target_os = "linux"), runtime_loom), allow(dead_code, reason = "for signals only"))]
pub(crate) fn read(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec to write to; a clock that does not exist is an error.
    let error = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (error == 0).then(|| Duration::new(seconds, nanos))
}

#[cfg(not(all(target_os = "linux", not(runtime_loom))))]
pub(crate) fn cpu_time(_: u32) -> Option<Duration> {
    None
}

/// True if the thread runs, and does not only wait for a processor: the system counts what it uses, also on one that is stopped.
pub(crate) fn has_processor(thread: u32) -> bool {
    let before = cpu_time(thread);
    before != cpu_time(thread)
}

#[cfg(all(test, target_os = "linux", not(runtime_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::thread_id::ThreadId;

    fn own() -> u32 {
        rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
    }

    #[test]
    fn a_thread_that_computes_uses_time_and_one_that_is_gone_has_none() {
        let before = cpu_time(own()).unwrap();
        while cpu_time(own()).unwrap() - before < Duration::from_millis(1) {}
        let gone = thread::spawn(own).join().unwrap();
        // Whoever joins a thread may be told a moment before the system has done with it.
        while cpu_time(gone).is_some() {
            thread::yield_now();
        }
        assert_eq!(cpu_time(0), None);
    }

    #[test]
    fn a_thread_that_runs_has_a_processor_and_one_that_sleeps_has_none() {
        assert!(has_processor(own()));
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            tell.send(own()).unwrap();
            let _ = ended.recv();
        });
        let number = told.recv().unwrap();
        assert!(ThreadId::of(number).unwrap().once_asleep(|| !has_processor(number)));
        drop(end);
        sleeper.join().unwrap();
    }
}
