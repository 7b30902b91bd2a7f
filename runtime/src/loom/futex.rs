//! Locks whose whole state is in the lock, on the system's futex.
//!
//! parking_lot keeps the threads that wait for any lock in one table of the process. After a fork the child has that
//! table with the entries of threads that it does not have, in memory that its own threads are given, and perhaps with a
//! bucket locked by one of them: the child's first contended lock may then never be free. Here a lock that no lost
//! thread held is as good in the child as a new one. std's locks are like that too, but they are in precompiled code,
//! which ThreadSanitizer does not see.
//!
//! # Where it comes from
//! The mutex is the third of Ulrich Drepper's "Futexes Are Tricky" (2011). The condition variable counts its
//! notifications: a waiter sleeps only while the count is what it was when it had the lock.
#![expect(
    unsafe_code,
    reason = "a lock is what makes shared access exclusive: the implementation is unsafe to promise"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lock_api::{GuardNoSend, RawMutex};
use rustix::thread::futex::{self, Flags, Timespec};

pub(crate) type Mutex<T> = lock_api::Mutex<Word, T>;
pub(crate) type MutexGuard<'a, T> = lock_api::MutexGuard<'a, Word, T>;

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep.
const AWAITED: u32 = 2;

/// How often a thread looks whether the lock is free before it sleeps; a critical section of ours takes less.
const LOOKS: u32 = 100;

/// The state of a mutex.
#[derive(Debug)]
pub(crate) struct Word(AtomicU32);

// SAFETY: `lock` returns only when this thread has changed the word from FREE, and nobody does so until `unlock`.
unsafe impl RawMutex for Word {
    const INIT: Self = Word(AtomicU32::new(FREE));
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        if !self.try_lock() {
            self.lock_contended();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // ORDERING: Acquire, pairs with the Release of `unlock`.
        self.0.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        // ORDERING: Release, pairs with whoever takes the lock next.
        if self.0.swap(FREE, Ordering::Release) == AWAITED {
            wake(&self.0, 1);
        }
    }
}

impl Word {
    #[cold]
    fn lock_contended(&self) {
        for _ in 0..LOOKS {
            match self.0.load(Ordering::Relaxed) {
                FREE if self.try_lock() => return,
                AWAITED => break,
                _ => std::hint::spin_loop(),
            }
        }
        // From here on the word says AWAITED while this thread has the lock, whether somebody else waits or not.
        // ORDERING: Acquire, as in `try_lock`.
        while self.0.swap(AWAITED, Ordering::Acquire) != FREE {
            sleep(&self.0, AWAITED, None);
        }
    }
}

/// Makes a lock as good as new in a process that has been forked off: nobody who held it will ever go on.
pub(crate) fn renew<T>(mutex: &Mutex<T>, value: T) {
    // SAFETY: called by the handler of a fork only, on the one thread of the process, which holds no lock of ours: no
    // user's code runs under one, and it is the user's that forks. What was there is left alone: it may be half changed.
    unsafe { mutex.data_ptr().write(value) };
    // SAFETY: as above.
    let word = unsafe { mutex.raw() };
    word.0.store(FREE, Ordering::Relaxed);
}

/// A condition variable.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    notifications: AtomicU32,
    /// Changed under the lock of whoever waits.
    waiting: AtomicU32,
}

/// How a wait ended.
pub(crate) struct TimedOut(bool);

impl TimedOut {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Condvar { notifications: AtomicU32::new(0), waiting: AtomicU32::new(0) }
    }

    /// Waits for a notification; may end without one.
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.wait_for(guard, None);
    }

    /// Waits for a notification or until `deadline`; may end without either.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> TimedOut {
        let left = deadline.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            self.wait_for(guard, Some(left));
        }
        TimedOut(Instant::now() >= deadline)
    }

    fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, time: Option<Duration>) {
        // ORDERING: Relaxed, all of them: the lock orders them with the change that a notification is about.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let before = self.notifications.load(Ordering::Relaxed);
        MutexGuard::unlocked(guard, || sleep(&self.notifications, before, time));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn notify_one(&self) {
        self.notify(1);
    }

    pub(crate) fn notify_all(&self) {
        self.notify(i32::MAX as u32);
    }

    /// ORDERING: Relaxed. The caller has held the lock since it changed what the waiter looks at, or holds it. If the
    /// waiter had the lock before, it is counted, and its futex sees the new number; if after, it sees the change.
    #[inline]
    fn notify(&self, most: u32) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.notifications.fetch_add(1, Ordering::Relaxed);
            wake(&self.notifications, most);
        }
    }
}

/// Sleeps while `word` is `value`, for at most `time`. May return early.
fn sleep(word: &AtomicU32, value: u32, time: Option<Duration>) {
    // What is too long for the system is for ever.
    let limit = time.and_then(|time| {
        let seconds = i64::try_from(time.as_secs()).ok()?;
        Some(Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() })
    });
    // Whatever the answer, the caller looks again.
    let _ = futex::wait(word, Flags::PRIVATE, value, limit.as_ref());
}

#[cold]
fn wake(word: &AtomicU32, most: u32) {
    // It cannot fail: the word exists.
    let _ = futex::wake(word, Flags::PRIVATE, most);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn additions_of_four_threads_are_all_there() {
        let sum = Arc::new(Mutex::new(0_u64));
        let threads = [(); 4].map(|()| {
            let sum = sum.clone();
            thread::spawn(move || {
                for _ in 0..20_000 {
                    *sum.lock() += 1;
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*sum.lock(), 80_000);
    }

    #[test]
    fn a_turn_that_is_passed_back_and_forth_is_never_lost() {
        let shared = Arc::new((Mutex::new(0_u32), Condvar::new()));
        let play = |own: u32| {
            let shared = shared.clone();
            move || {
                let (turn, changed) = &*shared;
                for _ in 0..5_000 {
                    let mut turn = turn.lock();
                    while *turn % 2 != own {
                        changed.wait(&mut turn);
                    }
                    *turn += 1;
                    changed.notify_one();
                }
            }
        };
        let other = thread::spawn(play(1));
        play(0)();
        other.join().unwrap();
        assert_eq!(*shared.0.lock(), 10_000);
    }

    #[test]
    fn a_wait_that_nobody_ends_is_over_at_its_deadline_and_not_before() {
        let (lock, changed) = (Mutex::new(()), Condvar::new());
        let deadline = Instant::now() + Duration::from_millis(3);
        let mut guard = lock.lock();
        while !changed.wait_until(&mut guard, deadline).timed_out() {}
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn a_lock_that_was_held_by_a_thread_that_is_gone_is_renewed() {
        let lock = Mutex::new(1);
        std::mem::forget(lock.lock());
        renew(&lock, 2);
        assert_eq!(*lock.lock(), 2);
    }
}
