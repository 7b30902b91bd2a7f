//! Who has a batch of cheap tasks does them alone, and is helped with everything else.

use std::collections::HashSet;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use runtime::{Builder, Handle, task, time};
use runtime_tests::{PATIENCE, within};

/// How many timers are due at a time.
const MEMBERS: usize = 2;

/// From one batch to the next, on a virtual clock.
const TICK: Duration = Duration::from_millis(10);

/// Polls of a task that is alone, after each batch: what a rest costs counts little beside so many.
const CHEAP: usize = 50;

/// Whether the members of the batches found the other worker asleep.
#[derive(Default)]
struct Batches {
    /// Of the current batch.
    ran: usize,
    alone: usize,
    /// A whole batch was done by one worker while the other slept.
    learnt: bool,
}

impl Batches {
    /// One more member ran; true if it was the last of its batch.
    fn ran(&mut self, alone: bool) -> bool {
        self.ran += 1;
        self.alone += usize::from(alone);
        let last = self.ran == MEMBERS;
        if last {
            *self = Batches { learnt: self.alone == MEMBERS, ..Batches::default() };
        }
        last
    }
}

/// Two workers get batch after batch of timers for tasks that do next to nothing, until one of them has done a whole batch
/// while the other slept. The tasks of the batch after that do what `acts` gives them.
#[track_caller]
fn after_cheap_batches<F>(acts: impl Fn() -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    within(PATIENCE, move || {
        let rt = Builder::new().worker_threads(2).start_paused(true).build().unwrap();
        // The clock stands still until this task has spawned them all.
        let members = rt.spawn(async move {
            let (batches, begin) = (Arc::new(Mutex::new(Batches::default())), time::now());
            let member = |_| {
                let (batches, acts) = (batches.clone(), acts.clone());
                runtime::spawn(async move {
                    learn(begin, &batches).await;
                    acts().await;
                })
            };
            (0..MEMBERS).map(member).collect::<Vec<_>>()
        });
        members.wait().unwrap().into_iter().for_each(|member| member.wait().unwrap());
    });
}

/// One member, until the batch after the first that was done by one worker.
async fn learn(begin: Instant, batches: &Mutex<Batches>) {
    for tick in 1.. {
        time::sleep_until(begin + TICK * tick).await;
        let alone = Handle::current().metrics().idle_workers() == 1;
        if batches.lock().learnt {
            return;
        }
        if batches.lock().ran(alone) {
            for _ in 0..CHEAP {
                task::yield_now().await;
            }
        }
    }
}

#[test]
fn a_worker_learns_to_do_a_batch_of_cheap_tasks_alone() {
    after_cheap_batches(|| async {});
}

#[test]
fn tasks_of_a_batch_that_yield_get_a_second_worker() {
    let threads = Arc::new(Mutex::new(HashSet::new()));
    after_cheap_batches(move || {
        let threads = threads.clone();
        async move {
            while {
                let mut threads = threads.lock();
                threads.insert(thread::current().id());
                threads.len() < 2
            } {
                task::yield_now().await;
            }
        }
    });
}

#[test]
fn a_task_that_blocks_does_not_keep_the_others_of_its_batch() {
    let (done, all_done) = mpsc::channel();
    let all_done = Arc::new(Mutex::new(Some(all_done)));
    after_cheap_batches(move || {
        let (done, all_done) = (done.clone(), all_done.clone());
        async move {
            // Whoever comes first blocks its thread until the others have run.
            let all_done = all_done.lock().take();
            match all_done {
                Some(all_done) => (1..MEMBERS).for_each(|_| all_done.recv().unwrap()),
                None => done.send(()).unwrap(),
            }
        }
    });
}
