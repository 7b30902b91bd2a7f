//! What the calling thread has used, as the system says.
#![cfg_attr(
    all(target_os = "linux", not(runtime_loom)),
    expect(unsafe_code, reason = "the usage of one thread has no safe form")
)]

use std::time::Duration;

/// What a thread has used since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Of a processor.
    pub(super) time: Duration,
    /// How often it gave its processor up, to wait for something.
    pub(super) given: u64,
}

/// Of the calling thread; `None` if the system does not say.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
pub(super) fn usage() -> Option<Usage> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes one rusage, which is what `usage` has room for.
    let error = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: it is made of integers, for which zeros are values as well.
    let usage = unsafe { usage.assume_init() };
    if error != 0 {
        return None;
    }
    Some(Usage {
        time: duration(usage.ru_utime)? + duration(usage.ru_stime)?,
        given: u64::try_from(usage.ru_nvcsw).ok()?,
    })
}

#[cfg(all(target_os = "linux", not(runtime_loom)))]
fn duration(time: libc::timeval) -> Option<Duration> {
    let (seconds, micros) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_usec).ok()?);
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
}

#[cfg(not(all(target_os = "linux", not(runtime_loom))))]
pub(super) fn usage() -> Option<Usage> {
    None
}

#[cfg(all(test, target_os = "linux", not(runtime_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_computes_uses_time_and_one_that_waits_gives_its_processor_up() {
        let before = usage().unwrap();
        while usage().unwrap().time <= before.time {}
        let (ask, asked) = mpsc::channel::<()>();
        let (answer, answered) = mpsc::channel();
        let other = thread::spawn(move || {
            while let Ok(()) = asked.recv() {
                answer.send(()).unwrap();
            }
        });
        while usage().unwrap().given == before.given {
            ask.send(()).unwrap();
            answered.recv().unwrap();
        }
        drop(ask);
        other.join().unwrap();
    }
}
