//! Which of the machine's processors a thread runs on, and how it is brought to another.
//!
//! The host of a virtual machine may stop one of its processors for ten milliseconds and more, because others want the time
//! or a quota is used up, and the kernel inside goes on as if it ran. A thread whose timer is on that processor sleeps on: it
//! would be moved to a better place when it wakes up, and who is to wake it is the timer.
//!
//! So two threads of which one looks after the other are of use on two processors only, and one that is to wake up elsewhere
//! has to be told where. Both are done by the set of processors that a thread may use, which is put back at once.
#![cfg_attr(
    all(target_os = "linux", not(runtime_loom)),
    expect(
        unsafe_code,
        reason = "the safe form of asking where a thread runs is a system call on some machines"
    )
)]

#[cfg(all(target_os = "linux", not(runtime_loom)))]
pub(super) use linux::{Mover, here, place};
#[cfg(not(all(target_os = "linux", not(runtime_loom))))]
pub(super) use unknown::{Mover, here, place};

#[cfg(all(target_os = "linux", not(runtime_loom)))]
mod linux {
    use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

    use super::super::runner::own_thread;
    use crate::driver::Place;

    /// The processor that runs this thread, or did a moment ago; `None` if the system does not say.
    pub(in super::super) fn here() -> Option<u32> {
        // SAFETY: reads a number that the kernel keeps for this thread.
        u32::try_from(unsafe { libc::sched_getcpu() }).ok()
    }

    /// This thread, where it is.
    pub(in super::super) fn place() -> Option<Place> {
        Some(Place { thread: own_thread()?, cpu: here()? })
    }

    /// Brings threads to other processors.
    pub(in super::super) struct Mover {
        /// What a thread may use that nobody has limited.
        unlimited: CpuSet,
    }

    impl Mover {
        /// `None` if the system does not let threads be moved.
        pub(in super::super) fn new() -> Option<Self> {
            let own = sched_getaffinity(None).ok()?;
            sched_setaffinity(None, &every()).ok()?;
            let unlimited = sched_getaffinity(None);
            let mover = Mover { unlimited: unlimited.unwrap_or(own) };
            mover.widen(None, &own);
            Some(mover)
        }

        /// Moves this thread from that processor to another, if it may use one. It may come back later.
        pub(in super::super) fn leave(&self, cpu: u32) {
            let Ok(all) = sched_getaffinity(None) else { return };
            let mut others = all;
            others.unset(cpu as usize);
            // The kernel refuses an empty set.
            self.with_set(None, &all, &others, || ());
        }

        /// Has a thread that sleeps wake up on the processor that runs this one, if it may: calls `wake`, which wakes it. One
        /// that waits for a processor waits here. It may be moved later.
        ///
        /// It is not to run: this thread would have to wait until it lets go of its processor, which may be stopped.
        pub(in super::super) fn fetch(&self, thread: u32, wake: impl FnOnce()) {
            let Some((thread, here)) = pid(thread).zip(here()) else { return };
            let Ok(all) = sched_getaffinity(Some(thread)) else { return };
            if all.is_set(here as usize) {
                let mut one = CpuSet::new();
                one.set(here as usize);
                self.with_set(Some(thread), &all, &one, wake);
            }
        }

        /// Calls `f` while the thread may only use `some` of `all` that it may use, if that can be had.
        fn with_set(&self, thread: Option<Pid>, all: &CpuSet, some: &CpuSet, f: impl FnOnce()) {
            if sched_setaffinity(thread, some).is_ok() {
                f();
                self.widen(thread, all);
            }
        }

        /// Lets the thread use `all` again. To Linux that is a choice, which a thread keeps when there are more processors
        /// later, unless it is every one that there could be.
        fn widen(&self, thread: Option<Pid>, all: &CpuSet) {
            if *all == self.unlimited || sched_setaffinity(thread, all).is_err() {
                let _ = sched_setaffinity(thread, &every());
            }
        }
    }

    fn every() -> CpuSet {
        let mut set = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu));
        set
    }

    fn pid(thread: u32) -> Option<Pid> {
        Pid::from_raw(i32::try_from(thread).ok()?)
    }

    #[cfg(test)]
    mod tests {
        use std::sync::mpsc;
        use std::thread;

        use super::*;
        use crate::thread_id::ThreadId;

        fn allowed(thread: Option<u32>) -> CpuSet {
            sched_getaffinity(thread.and_then(pid)).unwrap()
        }

        fn without(all: &CpuSet, cpu: u32) -> CpuSet {
            let mut others = *all;
            others.unset(cpu as usize);
            others
        }

        /// Calls `f` with a thread that sleeps, after `first`.
        fn with_sleeper<T: Send + 'static>(
            first: impl FnOnce() -> T + Send + 'static,
            f: impl FnOnce(u32, T),
        ) {
            let (tell, told) = mpsc::channel();
            let (end, ended) = mpsc::channel::<()>();
            let sleeper = thread::spawn(move || {
                tell.send((own_thread().unwrap(), first())).unwrap();
                let _ = ended.recv();
            });
            let (thread, first) = told.recv().unwrap();
            while ThreadId::of(thread).unwrap().is_runnable() == Some(true) {
                thread::yield_now();
            }
            f(thread, first);
            drop(end);
            sleeper.join().unwrap();
        }

        /// On a machine with one processor there is no other.
        #[test]
        fn who_leaves_a_processor_runs_on_another_and_may_come_back() {
            let (mover, all) = (Mover::new().unwrap(), allowed(None));
            let left = here().unwrap();
            let mut seen = None;
            mover.with_set(None, &all, &without(&all, left), || seen = here());
            assert_ne!(seen, Some(left));
            assert_eq!(seen.is_some(), all.count() > 1);
            mover.leave(here().unwrap());
            assert_eq!(allowed(None), all);
        }

        #[test]
        fn who_is_fetched_may_run_nowhere_else_until_it_is_woken() {
            let mover = Mover::new().unwrap();
            with_sleeper(
                || (),
                |thread, ()| {
                    let before = allowed(Some(thread));
                    let mut meanwhile = None;
                    mover.fetch(thread, || meanwhile = Some(allowed(Some(thread))));
                    assert_eq!(meanwhile.unwrap().count(), 1);
                    assert_eq!(allowed(Some(thread)), before);
                },
            );
        }

        /// On a machine with one processor it may.
        #[test]
        fn who_may_not_come_here_is_not_fetched() {
            let test = || {
                let (mover, all, here) = (Mover::new().unwrap(), allowed(None), here().unwrap());
                let mut one = CpuSet::new();
                one.set(here as usize);
                sched_setaffinity(None, &one).unwrap();
                let others = without(&all, here);
                with_sleeper(
                    move || sched_setaffinity(None, &others).is_ok(),
                    |thread, elsewhere| {
                        let mut fetched = false;
                        mover.fetch(thread, || fetched = true);
                        assert_eq!(fetched, !elsewhere);
                        assert_eq!(elsewhere, all.count() > 1);
                    },
                );
            };
            // One of its own, because it has limits from here on.
            thread::spawn(test).join().unwrap();
        }

        #[test]
        fn who_has_limits_keeps_them() {
            let test = || {
                let mut one = CpuSet::new();
                one.set(here().unwrap() as usize);
                sched_setaffinity(None, &one).unwrap();
                let mover = Mover::new().unwrap();
                assert_eq!(allowed(None), one);
                with_sleeper(
                    || (),
                    |thread, ()| {
                        let mut fetched = false;
                        mover.fetch(thread, || fetched = true);
                        assert!(fetched);
                        assert_eq!(allowed(Some(thread)), one);
                    },
                );
            };
            thread::spawn(test).join().unwrap();
        }
    }
}

#[cfg(not(all(target_os = "linux", not(runtime_loom))))]
mod unknown {
    use crate::driver::Place;

    pub(in super::super) fn here() -> Option<u32> {
        None
    }

    pub(in super::super) fn place() -> Option<Place> {
        None
    }

    /// There is none.
    pub(in super::super) enum Mover {}

    impl Mover {
        pub(in super::super) fn new() -> Option<Self> {
            None
        }

        pub(in super::super) fn leave(&self, _: u32) {
            match *self {}
        }

        pub(in super::super) fn fetch(&self, _: u32, _: impl FnOnce()) {
            match *self {}
        }
    }
}
