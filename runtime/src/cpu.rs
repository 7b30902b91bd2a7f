//! Which of the machine's processors a thread runs on, and which it may use.
//!
//! A processor may do nothing for a thread for ten milliseconds and more: the host of a virtual machine stops it, because others
//! want the time or a quota is used up, and the kernel inside goes on as if it ran; or the kernel does something of its own there
//! that it does not interrupt. A thread whose timer is on that processor, or that waits for it, sleeps on: it would be moved to a
//! better place when it ran.
//!
//! So two threads of which one looks after the other are of use on two processors only, and one that is to run elsewhere has to
//! be told where. Both are done by the set of processors that a thread may use, which is put back.
#![cfg_attr(
    all(target_os = "linux", not(runtime_loom)),
    expect(
        unsafe_code,
        reason = "the safe form of asking where a thread runs is a system call on some machines"
    )
)]

#[cfg(all(target_os = "linux", not(runtime_loom)))]
pub(crate) use linux::{Home, Mover, Thread, here};
#[cfg(runtime_loom)]
pub(crate) use modelled::{Home, Mover, Thread, here};
#[cfg(not(any(target_os = "linux", runtime_loom)))]
pub(crate) use unknown::{Home, Mover, Thread, here};

#[cfg(all(target_os = "linux", not(runtime_loom)))]
mod linux {
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

    /// The processor that runs this thread, or did a moment ago; `None` if the system does not say.
    pub(crate) fn here() -> Option<u32> {
        // SAFETY: reads a number that the kernel keeps for this thread.
        u32::try_from(unsafe { libc::sched_getcpu() }).ok()
    }

    /// What a thread may use, while it may use one processor only.
    #[derive(Clone, Debug)]
    pub(crate) struct Home {
        all: CpuSet,
        one: CpuSet,
        /// Nobody has limited it.
        whole: bool,
    }

    impl Home {
        /// The same of a thread that is to use that processor, if it may and is not there.
        pub(crate) fn elsewhere(&self, cpu: u32) -> Option<Home> {
            let one = one(cpu);
            (self.all.is_set(cpu as usize) && self.one != one).then(|| Home { one, ..self.clone() })
        }
    }

    /// A thread that may be brought to another processor.
    #[derive(Debug)]
    pub(crate) struct Thread(Pid);

    impl Thread {
        /// The calling thread.
        pub(crate) fn current() -> Option<Self> {
            Some(Thread(gettid()))
        }

        /// The system's number of it.
        pub(crate) fn number(&self) -> Option<u32> {
            u32::try_from(self.0.as_raw_nonzero().get()).ok()
        }

        /// Lets it use the one processor only. If it waits for another it waits there from now on; if it runs on another it is
        /// moved, which takes until that sees to it.
        pub(crate) fn confine(&self, home: &Home) -> bool {
            sched_setaffinity(Some(self.0), &home.one).is_ok()
        }

        /// True if that has been done to it. Of the calling thread.
        pub(crate) fn is_confined(&self, home: &Home) -> bool {
            sched_getaffinity(None).is_ok_and(|now| now == home.one)
        }

        /// Lets it use all of that again. Of the calling thread.
        pub(crate) fn put_back(&self, home: &Home) {
            put_back(&home.all, home.whole);
        }
    }

    /// Brings threads to other processors.
    pub(crate) struct Mover {
        /// What a thread may use that nobody has limited.
        unlimited: CpuSet,
    }

    impl Mover {
        /// `None` if the system does not let threads be moved.
        pub(crate) fn new() -> Option<Self> {
            let own = sched_getaffinity(None).ok()?;
            sched_setaffinity(None, &every()).ok()?;
            let mover = Mover { unlimited: sched_getaffinity(None).unwrap_or(own) };
            mover.put_back(own);
            Some(mover)
        }

        /// Lets this thread use all of that again. To Linux that is a choice, which a thread keeps when there are more
        /// processors later, unless it is every one that there could be.
        fn put_back(&self, all: CpuSet) {
            put_back(&all, all == self.unlimited);
        }

        /// What the thread may use, if that is this processor and others.
        pub(crate) fn home_of(&self, thread: &Thread, cpu: u32) -> Option<Home> {
            let all = sched_getaffinity(Some(thread.0)).ok()?;
            let fits = all.is_set(cpu as usize) && all.count() > 1;
            fits.then(|| Home { all, one: one(cpu), whole: all == self.unlimited })
        }

        /// Moves this thread from that processor to another, if it may use one. It may come back later.
        pub(crate) fn leave(&self, cpu: u32) {
            self.elsewhere(cpu, || ());
        }

        /// Calls `f` on another processor than that, if there is one.
        fn elsewhere(&self, cpu: u32, f: impl FnOnce()) {
            let Ok(all) = sched_getaffinity(None) else { return };
            let mut others = all;
            others.unset(cpu as usize);
            // The kernel refuses an empty set.
            if sched_setaffinity(None, &others).is_ok() {
                f();
                self.put_back(all);
            }
        }
    }

    /// `whole` if nobody has limited the thread.
    fn put_back(all: &CpuSet, whole: bool) {
        if whole || sched_setaffinity(None, all).is_err() {
            let _ = sched_setaffinity(None, &every());
        }
    }

    fn one(cpu: u32) -> CpuSet {
        let mut one = CpuSet::new();
        one.set(cpu as usize);
        one
    }

    fn every() -> CpuSet {
        let mut set = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu));
        set
    }

    #[cfg(test)]
    mod tests {
        use std::thread;

        use super::*;

        fn allowed() -> CpuSet {
            sched_getaffinity(None).unwrap()
        }

        /// On a thread of its own, which has limits afterwards.
        fn limited(test: impl FnOnce() + Send + 'static) {
            thread::spawn(test).join().unwrap();
        }

        /// On a machine with one processor there is no other.
        #[test]
        fn who_leaves_a_processor_runs_on_another_and_may_come_back() {
            let all = allowed();
            let mover = Mover::new().unwrap();
            assert_eq!(allowed(), all);
            let (left, mut seen) = (here().unwrap(), None);
            mover.elsewhere(left, || seen = here());
            assert_ne!(seen, Some(left));
            assert_eq!(seen.is_some(), all.count() > 1);
            mover.leave(here().unwrap());
            assert_eq!(allowed(), all);
        }

        #[test]
        fn who_is_confined_runs_there_until_its_set_is_put_back() {
            let (all, mover, thread) = (allowed(), Mover::new().unwrap(), Thread::current().unwrap());
            for cpu in (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)) {
                let cpu = cpu as u32;
                let Some(home) = mover.home_of(&thread, cpu) else { continue };
                assert!(!thread.is_confined(&home));
                assert!(thread.confine(&home) && thread.is_confined(&home));
                assert_eq!(here(), Some(cpu));
                thread.put_back(&home);
                assert_eq!(allowed(), all);
            }
        }

        #[test]
        fn who_has_limits_keeps_them() {
            limited(|| {
                let limits = one(here().unwrap());
                sched_setaffinity(None, &limits).unwrap();
                let mover = Mover::new().unwrap();
                assert_eq!(allowed(), limits);
                mover.put_back(limits);
                assert_eq!(allowed(), limits);
            });
        }

        #[test]
        fn who_may_use_one_processor_or_not_this_one_is_not_brought_here() {
            limited(|| {
                let (all, mover, thread) = (allowed(), Mover::new().unwrap(), Thread::current().unwrap());
                let cpu = here().unwrap();
                assert_eq!(mover.home_of(&thread, cpu).is_some(), all.count() > 1);
                let mut others = all;
                others.unset(cpu as usize);
                if sched_setaffinity(None, &others).is_ok() {
                    assert!(mover.home_of(&thread, cpu).is_none());
                }
                sched_setaffinity(None, &one(cpu)).unwrap();
                assert!(mover.home_of(&thread, cpu).is_none());
            });
        }
    }
}

/// The one thread that a model has somebody bring elsewhere. Its processors have numbers above zero.
#[cfg(runtime_loom)]
mod modelled {
    use crate::loom::atomic::{AtomicU32, Ordering};

    pub(crate) fn here() -> Option<u32> {
        None
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Home(u32);

    impl Home {
        pub(crate) fn elsewhere(&self, cpu: u32) -> Option<Home> {
            (self.0 != cpu).then_some(Home(cpu))
        }
    }

    #[derive(Debug)]
    pub(crate) struct Thread(AtomicU32);

    impl Thread {
        pub(crate) fn current() -> Option<Self> {
            Some(Thread(AtomicU32::new(0)))
        }

        pub(crate) fn number(&self) -> Option<u32> {
            None
        }

        pub(crate) fn confine(&self, home: &Home) -> bool {
            self.0.store(home.0, Ordering::Release);
            true
        }

        pub(crate) fn is_confined(&self, home: &Home) -> bool {
            self.0.load(Ordering::Acquire) == home.0
        }

        pub(crate) fn is_free(&self) -> bool {
            self.0.load(Ordering::Acquire) == 0
        }

        pub(crate) fn put_back(&self, _: &Home) {
            self.0.store(0, Ordering::Release);
        }
    }

    pub(crate) struct Mover;

    impl Mover {
        pub(crate) fn new() -> Option<Self> {
            Some(Mover)
        }

        pub(crate) fn home_of(&self, _: &Thread, cpu: u32) -> Option<Home> {
            Some(Home(cpu))
        }

        pub(crate) fn leave(&self, _: u32) {}
    }
}

#[cfg(not(any(target_os = "linux", runtime_loom)))]
mod unknown {
    pub(crate) fn here() -> Option<u32> {
        None
    }

    #[derive(Clone, Debug)]
    pub(crate) enum Home {}

    impl Home {
        pub(crate) fn elsewhere(&self, _: u32) -> Option<Home> {
            match *self {}
        }
    }

    /// There is none.
    #[derive(Debug)]
    pub(crate) enum Thread {}

    impl Thread {
        pub(crate) fn current() -> Option<Self> {
            None
        }

        pub(crate) fn number(&self) -> Option<u32> {
            match *self {}
        }

        pub(crate) fn confine(&self, _: &Home) -> bool {
            match *self {}
        }

        pub(crate) fn is_confined(&self, _: &Home) -> bool {
            match *self {}
        }

        pub(crate) fn put_back(&self, _: &Home) {
            match *self {}
        }
    }

    /// There is none.
    pub(crate) enum Mover {}

    impl Mover {
        pub(crate) fn new() -> Option<Self> {
            None
        }

        pub(crate) fn home_of(&self, _: &Thread, _: u32) -> Option<Home> {
            match *self {}
        }

        pub(crate) fn leave(&self, _: u32) {
            match *self {}
        }
    }
}
