//! A task with many readers: its output is forwarded to a promise.
//!
//! There is no task for the forwarding. The forwarder is the waker of what it waits for: the task's end and the wish of a
//! reader to cancel. It is polled by whoever wakes it, and never by two threads at a time.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::cell::Task;
use crate::coop::BudgetGuard;
use crate::loom::lock::Mutex;
use crate::promise::{Future, Promise};

impl<T: Send + Sync + 'static> Task<T> {
    /// The same output for many readers, by reference or, if `T` can be cloned, by value.
    ///
    /// Cancelling the future cancels the task. Dropping all readers detaches the task, like dropping its handle.
    ///
    /// ```
    /// runtime::block_on(async {
    ///     let future = runtime::spawn(async { String::from("once") }).shared();
    ///     let other = future.clone();
    ///     assert_eq!(future.await.unwrap(), "once");
    ///     assert_eq!(other.result().unwrap().unwrap(), "once");
    /// });
    /// ```
    #[track_caller]
    pub fn shared(self) -> Future<T> {
        let (promise, future) = Promise::inner();
        Arc::new(Forward { state: Mutex::new(State::Waiting(self, promise)) }).poll();
        future
    }
}

struct Forward<T> {
    state: Mutex<State<T>>,
}

enum State<T> {
    Waiting(Task<T>, Promise<T>),
    Polling,
    /// Woken while somebody polls: that somebody polls once more.
    Woken,
    Done,
}

impl<T: Send + Sync + 'static> Wake for Forward<T> {
    fn wake(self: Arc<Self>) {
        self.poll();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.poll();
    }
}

impl<T: Send + Sync + 'static> Forward<T> {
    fn poll(self: &Arc<Self>) {
        let Some((mut task, promise)) = self.begin() else { return };
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        // Whoever wakes us lends their thread, not their budget.
        let _free = BudgetGuard::unconstrained();
        loop {
            // First, for the task may be what closes it, and cannot be asked for its output then. An output that nobody
            // reads goes with the handle, which reports a panic.
            if promise.poll_closed(&mut cx).is_ready() {
                if promise.is_cancelled() {
                    task.cancel();
                }
                return self.finish();
            }
            if let Poll::Ready(output) = task.poll_output(&mut cx) {
                self.finish();
                return promise.forward(output, |panic| task.unobserved(panic));
            }
            let mut state = self.state.lock();
            if matches!(*state, State::Woken) {
                *state = State::Polling;
                continue;
            }
            *state = State::Waiting(task, promise);
            return;
        }
    }

    /// Takes what there is to poll, or leaves word to whoever is polling it.
    fn begin(&self) -> Option<(Task<T>, Promise<T>)> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Polling) {
            State::Waiting(task, promise) => return Some((task, promise)),
            State::Polling | State::Woken => *state = State::Woken,
            State::Done => *state = State::Done,
        }
        None
    }

    fn finish(&self) {
        *self.state.lock() = State::Done;
    }
}
