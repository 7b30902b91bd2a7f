//! Every interleaving of the hand-off to the pool's threads, up to loom's bound on preemptions.
//!
//! A thread's patience ends with the pool only, or at once: loom has no time.

use std::sync::Weak;

use super::*;
use crate::cell::models::{Threads, block_on};
use crate::loom::thread;

/// Runs `body` in every interleaving with a pool of at most `most` threads, of which `threads` can be started.
fn model(most: usize, threads: usize, body: impl Fn(&Arc<Pool>) + Send + Sync + 'static) {
    model_with(Duration::MAX, most, threads, body);
}

fn model_with(
    keep_alive: Duration,
    most: usize,
    threads: usize,
    body: impl Fn(&Arc<Pool>) + Send + Sync + 'static,
) {
    ::loom::model(move || {
        let host = Threads::host(threads);
        let pool = Pool::new(most, keep_alive);
        pool.set_host(Arc::downgrade(&host) as Weak<_>);
        body(&pool);
        pool.close();
        assert_eq!(pool.wait_until_stopped(Duration::MAX), 0);
        pool.threads().into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(pool.figures(), Figures::default());
    });
}

fn spawn<T: Send + 'static>(pool: &Arc<Pool>, job: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    pool.spawn(job, (), Location::caller())
}

#[test]
fn a_job_that_meets_a_thread_going_idle_is_run() {
    model(1, 1, |pool| {
        for n in 0..2 {
            assert_eq!(block_on(spawn(pool, move || n)).unwrap(), n);
        }
    });
}

#[test]
fn two_jobs_that_meet_are_both_run() {
    model(1, 1, |pool| {
        let other = {
            let pool = pool.clone();
            thread::spawn(move || assert_eq!(block_on(spawn(&pool, || 1)).unwrap(), 1))
        };
        assert_eq!(block_on(spawn(pool, || 2)).unwrap(), 2);
        other.join().unwrap();
    });
}

/// A thread that runs a job is not idle, and nothing is left to it.
#[test]
fn a_job_that_another_waits_for_has_a_thread_of_its_own() {
    model(2, 2, |pool| {
        let parker = Parker::new();
        let first = {
            let parker = parker.clone();
            spawn(pool, move || parker.park())
        };
        let second = spawn(pool, move || parker.unpark());
        block_on(first).unwrap();
        block_on(second).unwrap();
    });
}

#[test]
fn a_job_that_meets_the_close_runs_or_fails() {
    model(1, 1, |pool| {
        let other = {
            let pool = pool.clone();
            thread::spawn(move || block_on(spawn(&pool, || 1)))
        };
        pool.close();
        assert!(other.join().unwrap().map_or_else(|error| error.is_shutdown(), |n| n == 1));
    });
}

#[test]
fn a_job_that_meets_the_end_of_an_idle_thread_runs_or_fails() {
    model(1, 1, |pool| {
        block_on(spawn(pool, || ())).unwrap();
        let other = {
            let pool = pool.clone();
            thread::spawn(move || block_on(spawn(&pool, || 1)))
        };
        pool.close();
        assert!(other.join().unwrap().map_or_else(|error| error.is_shutdown(), |n| n == 1));
    });
}

#[test]
fn jobs_fail_when_no_thread_starts() {
    model(2, 0, |pool| {
        let other = {
            let pool = pool.clone();
            thread::spawn(move || assert!(block_on(spawn(&pool, || ())).is_err()))
        };
        assert!(block_on(spawn(pool, || ())).is_err());
        other.join().unwrap();
    });
}

#[test]
fn a_job_waits_for_the_one_thread_that_started() {
    model(2, 1, |pool| {
        let first = spawn(pool, || 1);
        let second = spawn(pool, || 2);
        // Refused: the first thread is there for both.
        assert_eq!(block_on(second).unwrap(), 2);
        assert_eq!(block_on(first).unwrap(), 1);
    });
}

#[test]
fn a_job_that_meets_a_thread_without_patience_is_run() {
    model_with(Duration::ZERO, 1, 2, |pool| {
        let first = spawn(pool, || 1);
        let second = spawn(pool, || 2);
        assert_eq!(block_on(first).unwrap(), 1);
        assert_eq!(block_on(second).unwrap(), 2);
    });
}
