//! A condition variable, from a notification and a lock.

use std::fmt;

use tokio::sync::{Mutex, MutexGuard, Notify};

/// Waits for a change of what a [`Mutex`] guards.
///
/// A wait can end without a notification: a notification that came while nobody waited is kept for the next waiter, and
/// one that is passed on by a waiter that gave up may wake one too many. Always look at the value again, or let
/// [`wait_while`](Self::wait_while) do it.
///
/// ```
/// use std::sync::Arc;
/// use runtime::sync::{Condvar, Mutex};
///
/// runtime::block_on(async {
///     let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
///     let consumer = runtime::spawn({
///         let shared = shared.clone();
///         async move {
///             let (items, filled) = &*shared;
///             filled.wait_while(items.lock().await, |items| items.is_empty()).await.pop()
///         }
///     });
///     let (items, filled) = &*shared;
///     items.lock().await.push(1);
///     filled.notify_one();
///     assert_eq!(consumer.await.unwrap(), Some(1));
/// });
/// ```
#[derive(Default)]
pub struct Condvar {
    notify: Notify,
}

/// A notification that was received; goes to somebody else unless it is used.
struct Received<'a>(&'a Notify);

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Condvar {
    /// Nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Condvar { notify: Notify::const_new() }
    }

    /// Unlocks the mutex, waits for a notification, and locks it again.
    ///
    /// No notification is missed that comes after the unlock.
    ///
    /// # Cancellation
    /// Dropping it unlocks the mutex, if it has not been already. A notification that it had received goes to another
    /// waiter.
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex: &'a Mutex<T> = MutexGuard::mutex(&guard);
        let mut notified = std::pin::pin!(self.notify.notified());
        // In the line before the lock is free.
        notified.as_mut().enable();
        drop(guard);
        notified.await;
        let received = Received(&self.notify);
        let guard = mutex.lock().await;
        std::mem::forget(received);
        guard
    }

    /// Waits until `condition` does not hold; it is looked at under the lock.
    ///
    /// # Cancellation
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// With the panic of `condition`; the mutex is unlocked then.
    pub async fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Wakes one who waits, the first to come. If nobody does, the next wait ends at once.
    pub fn notify_one(&self) {
        self.notify.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.notify.notify_waiters();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
