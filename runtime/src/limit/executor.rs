//! Workers for code that blocks: at most so many jobs at a time, the others wait in a queue of their own.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::queue::{Job, Queue};
use crate::context::{self, Unobserved};
use crate::error::{Error, drop_quietly};
use crate::handle::Handle;
use crate::inherit::{self, Values};
use crate::loom::lock::Mutex;
use crate::promise::{Future, Promise};

/// A bounded executor for code that blocks, with a queue of its own: asyncio's `run_in_executor` with an `Executor`.
///
/// Its jobs run on threads of the runtime that it was made on, at most `max_workers` at a time. Use one to keep calls to
/// a slow disk, a database driver or a codec from taking all threads that [`spawn_blocking`](crate::spawn_blocking) has.
///
/// - **Cancel** of a job's [`Future`] takes a job that waits out of the queue and drops it at once. A job that runs
///   cannot be stopped: it goes on, and its result is dropped.
/// - **Panic** of a job fails its future with an error that [is a panic](Error::is_panic); the worker goes on.
/// - **Drop** of all readers of a job's future leaves the job alone. Drop of the pool lets what was submitted run.
/// - **Shutdown** of the runtime fails the jobs that wait with [`is_shutdown`](Error::is_shutdown).
/// - Values of [inherited task-locals](crate::local) go with each job.
///
/// ```
/// use runtime::BlockingPool;
///
/// let disk = BlockingPool::new(2);
/// runtime::block_on(async {
///     let text = disk.submit(|| std::fs::read_to_string("Cargo.toml")).unwrap();
///     // By reference: an `io::Error` cannot be cloned.
///     assert!((&text).await.unwrap().is_ok());
/// });
/// ```
///
/// Source: the rules are those of Python's `ThreadPoolExecutor`.
pub struct BlockingPool {
    queue: Arc<Queue>,
}

impl BlockingPool {
    /// A pool of so many workers, on the runtime that the thread stands in, or else the default one.
    ///
    /// # Panics
    /// If `max_workers` is zero: nothing could ever run. If the default runtime is meant and cannot be built.
    #[must_use]
    #[track_caller]
    pub fn new(max_workers: usize) -> Self {
        assert!(max_workers > 0, "BlockingPool::new needs at least 1 worker: with 0 nothing could ever run");
        BlockingPool { queue: Queue::new(Handle::current(), max_workers) }
    }

    /// Queues a job, and gives the future of what it returns. Jobs begin in the order in which they were submitted.
    ///
    /// The queue has no bound: submit inside a [`CapacityLimiter`](crate::CapacityLimiter) if the producer may be faster
    /// than the workers.
    ///
    /// ```
    /// let pool = runtime::BlockingPool::new(1);
    /// let answer = pool.submit(|| 6 * 7).unwrap();
    /// assert_eq!(runtime::block_on(answer).unwrap(), 42);
    /// ```
    ///
    /// # Errors
    /// [`is_shutdown`](Error::is_shutdown) after [`shutdown`](Self::shutdown), or when the runtime was shut down; the
    /// closure is dropped.
    #[track_caller]
    pub fn submit<T, F>(&self, f: F) -> Result<Future<T>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + Sync + 'static,
    {
        if self.queue.is_lost() {
            return Err(Error::lost());
        }
        let (promise, future) = Promise::new();
        let ticket = Arc::new(self.queue.ticket());
        ticket.watch(&promise);
        let call = Call { f, promise, captured: inherit::capture() };
        match self.queue.push(&ticket, Box::new(call)) {
            Ok(()) => Ok(future),
            Err(call) => {
                // It is not a promise that anybody broke.
                future.cancel();
                drop(call);
                Err(Error::shutdown())
            }
        }
    }

    /// Submits a job for each item, at once, and waits for all of them. The results come in the order of the items.
    ///
    /// One that fails does not touch the others. After a [`shutdown`](Self::shutdown) each result is an error that
    /// [`is_shutdown`](Error::is_shutdown).
    ///
    /// # Cancellation
    /// Dropping it drops the jobs that wait. Those that run go on to their end, and what they return is dropped. A panic that
    /// came before is reported as one that nobody saw.
    ///
    /// ```
    /// let pool = runtime::BlockingPool::new(2);
    /// let lengths = runtime::block_on(pool.map(["a", "bc", "def"], str::len));
    /// let lengths: Vec<_> = lengths.into_iter().map(Result::unwrap).collect();
    /// assert_eq!(lengths, [1, 2, 3]);
    /// ```
    #[track_caller]
    pub fn map<I, F, T>(
        &self,
        items: I,
        f: F,
    ) -> impl std::future::Future<Output = Vec<Result<T, Error>>> + use<I, F, T>
    where
        I: IntoIterator<Item: Send + 'static>,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        let f = Arc::new(f);
        let submit = |item| {
            let f = f.clone();
            self.submit(move || Mutex::new(Some(f(item)))).map(CancelOnDrop)
        };
        let jobs: Vec<_> = items.into_iter().map(submit).collect();
        let location = Location::caller();
        async move {
            let mut results = Results { results: Vec::with_capacity(jobs.len()), location };
            for job in jobs {
                results.results.push(match job {
                    Ok(job) => job.take().await,
                    Err(error) => Err(error),
                });
            }
            std::mem::take(&mut results.results)
        }
    }

    /// Refuses new jobs from now on. Repeating it is no error.
    ///
    /// - `cancel_queued`: jobs that wait are dropped, and their futures fail with [`is_cancelled`](Error::is_cancelled).
    ///   Otherwise they run.
    /// - `wait`: the returned future is ready when the last job has ended. Otherwise it is ready at once, and need not be
    ///   awaited. From a plain thread, wait with [`block_on`](crate::block_on()).
    ///
    /// The pool is closed by the call itself. Dropping the future stops the waiting and nothing else.
    ///
    /// ```
    /// let pool = runtime::BlockingPool::new(2);
    /// let job = pool.submit(|| 1).unwrap();
    /// runtime::block_on(pool.shutdown(true, false));
    /// assert!(job.done());
    /// assert!(pool.submit(|| 2).unwrap_err().is_shutdown());
    /// ```
    pub fn shutdown(&self, wait: bool, cancel_queued: bool) -> Shutdown {
        self.queue.close(cancel_queued);
        // In a child process nobody would tell, and nothing of the pool runs there.
        let wait = wait && !self.queue.is_lost();
        Shutdown(wait.then(|| self.queue.ended()))
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.fmt_as("BlockingPool", f)
    }
}

/// The future of [`BlockingPool::shutdown`].
#[derive(Debug)]
pub struct Shutdown(Option<Future<()>>);

impl std::future::Future for Shutdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(ended) = &mut self.0 {
            // It has no way to fail: the queue keeps the promise, and lives while somebody works.
            drop(ready!(Pin::new(ended).poll(cx)));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

/// A closure and the promise of its result.
struct Call<F, T> {
    f: F,
    promise: Promise<T>,
    captured: Option<Values>,
}

impl<F, T> Job for Call<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send + Sync + 'static,
{
    fn run(self: Box<Self>) {
        let Call { f, promise, captured } = *self;
        if promise.is_cancelled() {
            drop_quietly((f, captured));
        } else {
            promise.set_with::<Error>(|| Ok(inherit::run(captured, f)));
        }
    }

    fn fail(self: Box<Self>, error: Error) {
        let Call { f, promise, captured } = *self;
        // As for a task: the captured values go first, then everybody learns.
        drop_quietly((f, captured));
        let _ = promise.set_exception(error);
    }

    fn is_cancelled(&self) -> bool {
        self.promise.is_cancelled()
    }
}

/// Those of a [`map`](BlockingPool::map) so far. A panic that nobody is given, because the call is dropped, is reported.
struct Results<T> {
    results: Vec<Result<T, Error>>,
    location: &'static Location<'static>,
}

impl<T> Drop for Results<T> {
    fn drop(&mut self) {
        let panics = self.results.drain(..).filter_map(Result::err).filter(Error::is_panic);
        panics
            .for_each(|error| context::report(context::executor(), Unobserved::future(error, self.location)));
    }
}

/// A job whose only reader this is.
struct CancelOnDrop<T: Send + 'static>(Future<Mutex<Option<T>>>);

impl<T: Send + 'static> CancelOnDrop<T> {
    async fn take(self) -> Result<T, Error> {
        let value = (&self.0).await.map_err(Clone::clone)?.lock().take();
        Ok(value.expect("BUG: the value is taken by its only reader"))
    }
}

impl<T: Send + 'static> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
