//! Every interleaving of the hand-off to the pool's threads, up to loom's bound on preemptions.
//!
//! A thread's patience ends with the pool only, or at once: loom has no time.

use std::sync::Weak;

use super::*;
use crate::cell::models::{Threads, block_on, join_all};
use crate::loom::thread;
use crate::parker::Parker;

/// Runs `body` in every interleaving with a pool of at most `most` threads, of which `threads` can be started.
fn model(most: usize, threads: usize, body: impl Fn(&Arc<Pool>) + Send + Sync + 'static) {
    model_with(Duration::MAX, || 2, most, threads, body);
}

/// As [`model`], with one thread that starts without a look. In every look the threads are found asleep.
fn model_of_looks(most: usize, threads: usize, body: impl Fn(&Arc<Pool>) + Send + Sync + 'static) {
    model_with(Duration::MAX, || 1, most, threads, body);
}

/// As [`model_of_looks`], for so many threads that a preemption less has to do.
fn wide_model_of_looks(most: usize, threads: usize, body: impl Fn(&Arc<Pool>) + Send + Sync + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.map(|bound| bound.saturating_sub(1));
    builder.check(life(Duration::MAX, || 1, most, threads, body));
}

fn model_with(
    keep_alive: Duration,
    free: fn() -> usize,
    most: usize,
    threads: usize,
    body: impl Fn(&Arc<Pool>) + Send + Sync + 'static,
) {
    ::loom::model(life(keep_alive, free, most, threads, body));
}

/// As [`wide_model_of_looks`], where the system refuses one thread after `before`, and then starts `after` more.
fn model_of_a_refusal(
    most: usize,
    before: usize,
    after: usize,
    body: impl Fn(&Arc<Pool>) + Send + Sync + 'static,
) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.map(|bound| bound.saturating_sub(1));
    let host = move || Threads::host_that_refuses_one(before, after);
    builder.check(life_on(host, Duration::MAX, || 1, most, body));
}

/// The life of a pool.
fn life(
    keep_alive: Duration,
    free: fn() -> usize,
    most: usize,
    threads: usize,
    body: impl Fn(&Arc<Pool>) + Send + Sync + 'static,
) -> impl Fn() + Send + Sync + 'static {
    life_on(move || Threads::host(threads), keep_alive, free, most, body)
}

fn life_on(
    host: impl Fn() -> Arc<dyn Host> + Send + Sync + 'static,
    keep_alive: Duration,
    free: fn() -> usize,
    most: usize,
    body: impl Fn(&Arc<Pool>) + Send + Sync + 'static,
) -> impl Fn() + Send + Sync + 'static {
    move || {
        let host = host();
        let pool = Pool::new(most, free, keep_alive);
        pool.set_host(Arc::downgrade(&host) as Weak<_>);
        body(&pool);
        pool.close();
        assert_eq!(pool.wait_until_stopped(Duration::MAX), 0);
        join_all();
        assert_eq!(pool.figures(), Figures { peak: pool.figures().peak, ..Figures::default() });
    }
}

fn spawn<T: Send + 'static>(pool: &Arc<Pool>, job: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    let (job, task) = pool.job(job, (), Location::caller());
    pool.push(job);
    task
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

/// Also while it lies on the bench of a thread that has not woken up.
#[test]
fn a_wait_for_every_job_lets_none_be_failed() {
    model(1, 1, |pool| {
        block_on(spawn(pool, || ())).unwrap();
        let second = spawn(pool, || 2);
        pool.wait_until_empty(Duration::MAX);
        pool.close();
        assert_eq!(block_on(second).unwrap(), 2);
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
    model_with(
        Duration::ZERO,
        || 2,
        1,
        2,
        |pool| {
            let first = spawn(pool, || 1);
            let second = spawn(pool, || 2);
            assert_eq!(block_on(first).unwrap(), 1);
            assert_eq!(block_on(second).unwrap(), 2);
        },
    );
}

/// Each job but the last waits for the next one: all have threads in the end, however the looks fall.
fn chain(pool: &Arc<Pool>, jobs: usize) {
    let parkers: Vec<_> = (1..jobs).map(|_| Parker::new()).collect();
    let job = |index: usize| {
        let (next, own) = (parkers.get(index).cloned(), index.checked_sub(1).map(|own| parkers[own].clone()));
        spawn(pool, move || {
            next.inspect(|parker| parker.park());
            own.inspect(|parker| parker.unpark());
        })
    };
    let tasks: Vec<_> = (0..jobs).map(job).collect();
    tasks.into_iter().for_each(|task| block_on(task).unwrap());
}

#[test]
fn the_scout_takes_the_one_job_that_is_queued() {
    model_of_looks(2, 2, |pool| chain(pool, 2));
}

#[test]
fn jobs_that_wait_for_each_other_have_threads_beyond_those_that_start_at_once() {
    wide_model_of_looks(3, 3, |pool| chain(pool, 3));
}

#[test]
fn each_job_that_finds_everybody_at_work_has_a_scout() {
    wide_model_of_looks(3, 3, |pool| {
        let held = || {
            let (begun, end) = (Parker::new(), Parker::new());
            let task = {
                let (begun, end) = (begun.clone(), end.clone());
                spawn(pool, move || {
                    begun.unpark();
                    end.park();
                })
            };
            begun.park();
            (task, end)
        };
        let at_work = [held(), held()];
        block_on(spawn(pool, || ())).unwrap();
        for (task, end) in at_work {
            end.unpark();
            block_on(task).unwrap();
        }
    });
}

#[test]
fn the_last_idle_thread_looks_and_every_job_has_a_thread() {
    wide_model_of_looks(3, 3, |pool| {
        // The first may be idle, on its way there, or at work when the chain comes.
        let first = spawn(pool, || ());
        chain(pool, 2);
        block_on(first).unwrap();
    });
}

#[test]
fn a_scout_that_the_system_refuses_leaves_its_job_to_the_others() {
    model_of_looks(2, 1, |pool| {
        let first = spawn(pool, || 1);
        let second = spawn(pool, || 2);
        assert_eq!(block_on(second).unwrap(), 2);
        assert_eq!(block_on(first).unwrap(), 1);
    });
}

/// The one thread there is waits for the job.
#[test]
fn a_job_whose_scout_was_refused_has_one_later() {
    model_of_a_refusal(2, 1, 1, |pool| chain(pool, 2));
}

/// The scout would take the first of two jobs, which waits for the second, whose thread is refused.
#[test]
fn a_scout_whose_companion_is_refused_does_not_leave_the_rest_alone() {
    model_of_a_refusal(3, 2, 1, |pool| {
        // As after a burst that made the pool grow.
        pool.state.lock().pace.step = 2;
        chain(pool, 3);
    });
}

/// Of two jobs that could run one after the other, one is waited for by the thread there is.
#[test]
fn a_scout_that_is_refused_every_thread_runs_the_jobs_itself() {
    wide_model_of_looks(4, 2, |pool| {
        let parker = Parker::new();
        let first = {
            let parker = parker.clone();
            spawn(pool, move || parker.park())
        };
        let second = spawn(pool, move || parker.unpark());
        let third = spawn(pool, || ());
        for job in [first, second, third] {
            block_on(job).unwrap();
        }
    });
}

#[test]
fn a_close_that_meets_the_scout_ends_it() {
    model_of_looks(2, 2, |pool| {
        let first = spawn(pool, || ());
        let second = spawn(pool, || ());
        pool.close();
        for job in [first, second] {
            assert!(block_on(job).map_or_else(|error| error.is_shutdown(), |()| true));
        }
    });
}
