//! The work-stealing deque and the injector.
//!
//! crossbeam's deques are opaque to loom, which would report a causality violation for what passes through them.
//! Under loom a locked queue with the same interface stands in: the models then check what we do around the deque.

#[cfg(not(runtime_loom))]
pub(crate) use crossbeam_deque::{Injector, Steal, Stealer, Worker};

/// Frees what deques that have grown and shrunk left behind.
///
/// The collector frees a buffer two epochs after the deque let go of it, and epochs move on only while somebody pins
/// one: a worker that goes idle after a burst would keep the buffers of the burst.
#[cfg(not(runtime_loom))]
pub(crate) fn collect() {
    for _ in 0..4 {
        crossbeam_epoch::pin().flush();
    }
}

/// Makes the collector that all deques of the process share, if nobody has.
///
/// The child of a process that forks while another thread makes it waits for that thread for ever, at its first steal.
#[cfg(not(runtime_loom))]
pub(crate) fn prepare() {
    crossbeam_epoch::default_collector();
}

#[cfg(runtime_loom)]
pub(crate) fn collect() {}

#[cfg(runtime_loom)]
pub(crate) fn prepare() {}

#[cfg(runtime_loom)]
pub(crate) use shim::{Injector, Steal, Stealer, Worker};

#[cfg(runtime_loom)]
mod shim {
    use std::collections::VecDeque;

    use loom::sync::{Arc, Mutex};

    #[derive(Debug)]
    pub(crate) enum Steal<T> {
        Empty,
        Success(T),
        Retry,
    }

    #[derive(Debug)]
    pub(crate) struct Worker<T>(Arc<Mutex<VecDeque<T>>>);
    #[derive(Debug)]
    pub(crate) struct Stealer<T>(Arc<Mutex<VecDeque<T>>>);
    #[derive(Debug)]
    pub(crate) struct Injector<T>(Mutex<VecDeque<T>>);

    fn take_batch<T>(from: &Mutex<VecDeque<T>>, to: &Worker<T>, limit: usize) -> Steal<T> {
        let mut batch: VecDeque<T> = {
            let mut from = from.lock().unwrap();
            let count = from.len().div_ceil(2).min(limit);
            from.drain(..count).collect()
        };
        match batch.pop_front() {
            None => Steal::Empty,
            Some(first) => {
                to.0.lock().unwrap().extend(batch);
                Steal::Success(first)
            }
        }
    }

    impl<T> Worker<T> {
        pub(crate) fn new_fifo() -> Self {
            Worker(Arc::new(Mutex::new(VecDeque::new())))
        }
        pub(crate) fn push(&self, value: T) {
            self.0.lock().unwrap().push_back(value);
        }
        pub(crate) fn pop(&self) -> Option<T> {
            self.0.lock().unwrap().pop_front()
        }
        pub(crate) fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }
        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
        pub(crate) fn stealer(&self) -> Stealer<T> {
            Stealer(self.0.clone())
        }
    }

    impl<T> Stealer<T> {
        pub(crate) fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }
        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
        pub(crate) fn steal(&self) -> Steal<T> {
            self.0.lock().unwrap().pop_front().map_or(Steal::Empty, Steal::Success)
        }
        pub(crate) fn steal_batch_with_limit_and_pop(&self, to: &Worker<T>, limit: usize) -> Steal<T> {
            take_batch(&self.0, to, limit)
        }
    }

    impl<T> Injector<T> {
        pub(crate) fn new() -> Self {
            Injector(Mutex::new(VecDeque::new()))
        }
        pub(crate) fn push(&self, value: T) {
            self.0.lock().unwrap().push_back(value);
        }
        pub(crate) fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }
        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
        pub(crate) fn steal(&self) -> Steal<T> {
            self.0.lock().unwrap().pop_front().map_or(Steal::Empty, Steal::Success)
        }
        pub(crate) fn steal_batch_with_limit(&self, to: &Worker<T>, limit: usize) -> Steal<()> {
            match take_batch(&self.0, to, limit) {
                Steal::Success(first) => {
                    to.0.lock().unwrap().push_front(first);
                    Steal::Success(())
                }
                Steal::Empty => Steal::Empty,
                Steal::Retry => Steal::Retry,
            }
        }
    }
}
