//! Keys whose values stay with their task: the value lies in the scope's future, and a thread-local points to it during
//! its polls.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use pin_project_lite::pin_project;

use super::slot::Slot;
use super::{AccessError, outside};

/// A task-local key, declared with [`task_local!`](crate::task_local). Its value stays with the task.
///
/// ```
/// runtime::task_local! { static NUMBER: u32; }
///
/// runtime::block_on(NUMBER.scope(1, async {
///     assert_eq!(NUMBER.get(), 1);
///     NUMBER.scope(2, async { assert_eq!(NUMBER.get(), 2) }).await;
///     assert_eq!(NUMBER.get(), 1);
/// }));
/// ```
pub struct LocalKey<T: 'static> {
    slot: thread::LocalKey<Slot<T>>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(slot: thread::LocalKey<Slot<T>>) -> Self {
        LocalKey { slot }
    }

    /// The future, with `value` under this key while it is polled and while it is dropped.
    ///
    /// The value is dropped with the future. Scopes of one key may stand inside each other: the innermost counts.
    ///
    /// ```
    /// runtime::task_local! { static NAME: String; }
    ///
    /// let length = NAME.scope("ada".into(), async { NAME.with(String::len) });
    /// assert_eq!(runtime::block_on(length), 3);
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> Scope<T, F> {
        Scope { key: self, value: Some(value), future: Some(future) }
    }

    /// Calls `f` with `value` under this key.
    ///
    /// ```
    /// runtime::task_local! { static NUMBER: u32; }
    ///
    /// assert_eq!(NUMBER.sync_scope(7, || NUMBER.get()), 7);
    /// ```
    ///
    /// # Panics
    /// With the panic of `f`.
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        Slot::enter(&self.slot, Some(&value), f)
    }

    /// Calls `f` with the value.
    ///
    /// ```
    /// runtime::task_local! { static NAME: &'static str; }
    ///
    /// assert_eq!(NAME.sync_scope("ada", || NAME.with(|name| name.len())), 3);
    /// ```
    ///
    /// # Panics
    /// Outside of a scope of the key; [`try_with`](Self::try_with) does not.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(AccessError) => outside(),
        }
    }

    /// Calls `f` with the value, if there is one.
    ///
    /// ```
    /// runtime::task_local! { static NAME: &'static str; }
    ///
    /// assert!(NAME.try_with(|_| ()).is_err());
    /// ```
    ///
    /// # Errors
    /// Outside of a scope of the key.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        Slot::read(&self.slot, f).ok_or(AccessError)
    }

    /// A copy of the value.
    ///
    /// # Panics
    /// Outside of a scope of the key.
    #[track_caller]
    #[must_use]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        match self.try_with(T::clone) {
            Ok(value) => value,
            Err(AccessError) => outside(),
        }
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`LocalKey::scope`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Scope<T: 'static, F> {
        key: &'static LocalKey<T>,
        value: Option<T>,
        // `None` once it was dropped, which happens with the value in its place.
        #[pin]
        future: Option<F>,
    }

    impl<T: 'static, F> PinnedDrop for Scope<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                Slot::enter(&this.key.slot, this.value.as_ref(), || this.future.set(None));
            }
        }
    }
}

impl<T: 'static, F> Scope<T, F> {
    /// Takes the value out, once the future is ready; `None` if it was taken before.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::pin::pin;
    ///
    /// runtime::task_local! { static CALLS: Cell<u32>; }
    ///
    /// runtime::block_on(async {
    ///     let mut scope = pin!(CALLS.scope(Cell::new(0), async { CALLS.with(|calls| calls.set(calls.get() + 1)) }));
    ///     scope.as_mut().await;
    ///     assert_eq!(scope.take_value(), Some(Cell::new(1)));
    /// });
    /// ```
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().value.take()
    }
}

impl<T: 'static, F: Future> Future for Scope<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        Slot::enter(&this.key.slot, this.value.as_ref(), || {
            let future = this.future.as_mut().as_pin_mut().expect("a scope is not polled after it was ready");
            let polled = future.poll(cx);
            if polled.is_ready() {
                // Its destructors run in the scope as well.
                this.future.set(None);
            }
            polled
        })
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Scope<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("value", &self.value).finish_non_exhaustive()
    }
}
