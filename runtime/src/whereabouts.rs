//! Where a thread sleeps, and how another one brings it to its own processor.
//!
//! A thread that is to wake up in time says where it sleeps. Whoever looks after it and sees that it does not [fetches
//! it](Whereabouts::fetch): lets it use nothing but its own processor, which is known to run threads, and wakes it. The thread
//! itself puts back what it may use, before it runs anything else.
//!
//! # Protocol
//! *Sleeper*: 1. say that it sleeps; 2. sleep; 3. say that it is up. If somebody is fetching it, 3 waits until its set of
//! processors was narrowed or that has failed; if it was narrowed, 3 puts it back.
//!
//! *Who fetches*, one at a time: 1. change ASLEEP, or FETCHED if that was to another processor, to FETCHING; 2. note what the
//! thread may use, and to what it is narrowed; 3. narrow it; 4. change FETCHING to FETCHED; 5. wake it.
//!
//! # Why no set stays narrow, and no thread is narrowed that has ended
//! The sleeper gets up from ASLEEP, and then nobody is in the middle of a fetch nor begins one; or with the note in its hands,
//! which it takes only while it sees FETCHED, or has the very set that the note tells: then the fetch that wrote the note is past
//! its third step. The next one finds no note, and does nothing. A fetch that sleeps through several sleeps after its third step
//! finds no FETCHING that is not its own, because there is one at a time.
//!
//! # Why nobody waits for long
//! The third step may put the thread in the place of who fetches it, for some milliseconds: it has waited for a processor, or
//! runs and is moved. So no lock is held meanwhile, and the sleeper need not wait for the fourth step: it sees by its own set
//! that the third is over. It waits only if it has woken up by itself between the first and the third.

use crate::cpu::{Home, Mover, Thread, here};
use crate::loom::atomic::{AtomicU8, AtomicU32, Ordering};
use crate::loom::lock::Mutex;
use crate::loom::{Arc, mutant, thread};

/// It runs, or sleeps as long as it likes.
const AWAKE: u8 = 0;

/// It sleeps, and is to wake up in time.
const ASLEEP: u8 = 1;

/// Somebody is about to narrow its set of processors.
const FETCHING: u8 = 2;

/// Somebody has, and wakes it.
const FETCHED: u8 = 3;

/// Whoever is waited for is about to call the system, but may itself have to wait for a processor.
#[cfg(not(runtime_loom))]
fn wait_a_moment() {
    thread::sleep(std::time::Duration::from_micros(50));
}

#[cfg(runtime_loom)]
fn wait_a_moment() {
    thread::yield_now();
}

/// Of one thread.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    state: AtomicU8,
    thread: Thread,
    /// Where it fell asleep last.
    cpu: AtomicU32,
    /// What it may use, while somebody fetches it. Leaf lock: nothing else is taken under it.
    home: Mutex<Option<Home>>,
}

/// A thread that sleeps; up again at the end.
pub(crate) struct Asleep<'a>(&'a Whereabouts);

impl Whereabouts {
    /// Of the calling thread; `None` on systems where threads cannot be brought elsewhere.
    pub(crate) fn new() -> Option<Arc<Self>> {
        let (state, cpu) = (AtomicU8::new(AWAKE), AtomicU32::new(0));
        let thread = Thread::current()?;
        Some(Arc::new(Whereabouts { state, thread, cpu, home: Mutex::new(None) }))
    }

    /// The calling thread, whose whereabouts these are, is about to sleep.
    pub(crate) fn fall_asleep(&self) -> Asleep<'_> {
        self.cpu.store(here().unwrap_or(u32::MAX), Ordering::Relaxed);
        // ORDERING: Release, the place comes before the sleep.
        self.state.store(ASLEEP, Ordering::Release);
        Asleep(self)
    }

    /// The processor on which it sleeps, if it does.
    pub(crate) fn sleeps_on(&self) -> Option<u32> {
        // ORDERING: Acquire, pairs with `fall_asleep`.
        let asleep = self.state.load(Ordering::Acquire) == ASLEEP;
        asleep.then(|| self.cpu.load(Ordering::Relaxed))
    }

    /// The system's number of the thread. It may have ended.
    pub(crate) fn number(&self) -> Option<u32> {
        self.thread.number()
    }

    /// Has the thread wake up on that processor, if it sleeps and may use it; true if the caller is to wake it. It may be moved
    /// later. Not for two threads at a time.
    pub(crate) fn fetch(&self, mover: &Mover, cpu: u32) -> bool {
        // ORDERING: Acquire, pairs with `fall_asleep`.
        let begin =
            |from| self.state.compare_exchange(from, FETCHING, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let before = if begin(ASLEEP) { ASLEEP } else { FETCHED };
        if before == FETCHED && !begin(FETCHED) {
            return false;
        }
        let again = before == FETCHED;
        let narrowed = self.note(mover, cpu, again).is_some_and(|home| self.narrow(&home, again));
        let next = if narrowed { FETCHED } else { before };
        // It may be up already. ORDERING: Release, pairs with `takes_note`: the set has been narrowed.
        let _ = self.state.compare_exchange(FETCHING, next, Ordering::Release, Ordering::Relaxed);
        narrowed
    }

    /// Notes what the thread may use and that it is to use that processor, if it may; `None` if there is nothing to do.
    fn note(&self, mover: &Mover, cpu: u32, again: bool) -> Option<Home> {
        let mut home = self.home.lock();
        // What it may use now is no more than what it was narrowed to before.
        let next = if again { home.as_ref()?.elsewhere(cpu) } else { mover.home_of(&self.thread, cpu) };
        *home = Some(next?);
        home.clone()
    }

    fn narrow(&self, home: &Home, again: bool) -> bool {
        let narrowed = self.thread.confine(home);
        if !narrowed && !again {
            *self.home.lock() = None;
        }
        narrowed
    }

    fn get_up(&self) {
        // ORDERING: Relaxed, of a sleep that nobody has ended.
        while self.state.compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            let home = self.takes_note();
            if home.is_some() || mutant!("fetched_thread_gets_up_at_once") {
                home.inspect(|home| self.thread.put_back(home));
                // ORDERING: a swap, so that it comes after whatever the fetch writes last.
                self.state.swap(AWAKE, Ordering::Acquire);
                return;
            }
            wait_a_moment();
        }
    }

    /// What the thread is to put back, once its set was narrowed.
    fn takes_note(&self) -> Option<Home> {
        // ORDERING: Acquire, pairs with `fetch`.
        let is_fetched = || self.state.load(Ordering::Acquire) == FETCHED;
        let early = mutant!("note_is_taken_after_an_early_look") && is_fetched();
        let mut home = self.home.lock();
        // Under the lock: who begins to fetch it again after this look finds no note.
        let fetched = early || is_fetched();
        home.take_if(|home| fetched || self.thread.is_confined(home))
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.get_up();
    }
}

#[cfg(all(test, target_os = "linux", not(runtime_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use rustix::thread::sched_getaffinity;

    use super::*;

    #[test]
    fn who_is_fetched_wakes_up_here_with_what_it_may_use() {
        let (tell, told) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            let before = sched_getaffinity(None).unwrap();
            let whereabouts = Whereabouts::new().unwrap();
            let asleep = whereabouts.fall_asleep();
            tell.send(whereabouts.clone()).unwrap();
            woken.recv().unwrap();
            let narrow = sched_getaffinity(None).unwrap();
            drop(asleep);
            assert_eq!(whereabouts.sleeps_on(), None);
            (before, narrow, sched_getaffinity(None).unwrap())
        });
        let whereabouts = told.recv().unwrap();
        let here = here().unwrap();
        let fetched = whereabouts.fetch(&Mover::new().unwrap(), here);
        wake.send(()).unwrap();
        let (before, narrow, after) = sleeper.join().unwrap();
        assert_eq!(fetched, before.count() > 1);
        assert!(narrow.count() == 1 && narrow.is_set(here as usize));
        assert_eq!(after, before);
    }

    #[test]
    fn who_was_fetched_can_be_fetched_again_and_keeps_what_it_may_use() {
        let (whereabouts, mover) = (Whereabouts::new().unwrap(), Mover::new().unwrap());
        let before = sched_getaffinity(None).unwrap();
        let asleep = whereabouts.fall_asleep();
        for cpu in
            (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| before.count() > 1 && before.is_set(*cpu))
        {
            assert!(whereabouts.fetch(&mover, cpu as u32));
            assert_eq!(here(), Some(cpu as u32));
        }
        drop(asleep);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn who_is_awake_is_left_alone() {
        let (whereabouts, mover) = (Whereabouts::new().unwrap(), Mover::new().unwrap());
        let before = sched_getaffinity(None).unwrap();
        assert!(!whereabouts.fetch(&mover, here().unwrap()));
        drop(whereabouts.fall_asleep());
        assert!(!whereabouts.fetch(&mover, here().unwrap()));
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn who_sleeps_says_where() {
        let whereabouts = Whereabouts::new().unwrap();
        assert_eq!(whereabouts.sleeps_on(), None);
        let asleep = whereabouts.fall_asleep();
        assert!(whereabouts.sleeps_on().is_some());
        drop(asleep);
        assert_eq!(whereabouts.sleeps_on(), None);
    }

    #[test]
    fn who_cannot_be_brought_here_sleeps_on() {
        let (whereabouts, mover) = (Whereabouts::new().unwrap(), Mover::new().unwrap());
        let asleep = whereabouts.fall_asleep();
        assert!(!whereabouts.fetch(&mover, rustix::thread::CpuSet::MAX_CPU as u32 - 1));
        assert!(whereabouts.sleeps_on().is_some());
        drop(asleep);
    }
}

#[cfg(all(test, runtime_loom))]
mod models {
    use super::*;

    /// Has the thread fetched to these processors, one after the other, by somebody else.
    fn fetched_to(whereabouts: &Arc<Whereabouts>, processors: &'static [u32]) -> thread::JoinHandle<()> {
        let whereabouts = whereabouts.clone();
        thread::spawn(move || {
            for cpu in processors {
                whereabouts.fetch(&Mover, *cpu);
            }
        })
    }

    #[test]
    fn a_thread_that_gets_up_while_it_is_fetched_keeps_no_narrow_set() {
        ::loom::model(|| {
            let whereabouts = Whereabouts::new().unwrap();
            let fetcher = fetched_to(&whereabouts, &[1, 2]);
            for _ in 0..2 {
                drop(whereabouts.fall_asleep());
                assert!(whereabouts.thread.is_free(), "it runs");
            }
            fetcher.join().unwrap();
            assert!(whereabouts.thread.is_free(), "and may end");
        });
    }

    #[test]
    fn a_thread_that_gets_up_while_it_is_fetched_again_keeps_no_narrow_set() {
        ::loom::model(|| {
            let whereabouts = Whereabouts::new().unwrap();
            let asleep = whereabouts.fall_asleep();
            assert!(whereabouts.fetch(&Mover, 1));
            let fetcher = fetched_to(&whereabouts, &[2]);
            drop(asleep);
            assert!(whereabouts.thread.is_free(), "it runs");
            fetcher.join().unwrap();
            assert!(whereabouts.thread.is_free(), "and may end");
        });
    }
}
