//! Keys whose values go with what a task spawns. The values are shared, not copied.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{AccessError, outside};
use crate::inherit::{self, Key, Value, Values};

/// A task-local key, declared with `inherit static` in [`task_local!`](crate::task_local). Whatever is spawned inside a
/// scope of it sees the value too, and keeps it alive, also after the scope has ended.
///
/// ```
/// runtime::task_local! { inherit static REQUEST: u64; }
///
/// runtime::block_on(REQUEST.scope(17, async {
///     let task = runtime::spawn(async { REQUEST.get() });
///     let job = runtime::spawn_blocking(|| REQUEST.get());
///     assert_eq!((task.await.unwrap(), job.await.unwrap()), (17, 17));
/// }));
/// ```
pub struct InheritedKey<T> {
    /// Makes the address of each key its own, and so its name: what may change is never merged with its like.
    place: AtomicU8,
    value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> InheritedKey<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn __new() -> Self {
        InheritedKey { place: AtomicU8::new(0), value: PhantomData }
    }

    /// The future, with `value` under this key while it is polled and while it is dropped, and for all that is spawned
    /// meanwhile.
    ///
    /// The value is dropped with the last of them.
    ///
    /// ```
    /// runtime::task_local! { inherit static NAME: String; }
    ///
    /// let child = NAME.scope("ada".into(), async { runtime::spawn(async { NAME.with(String::len) }).await });
    /// assert_eq!(runtime::block_on(child).unwrap(), 3);
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> InheritedScope<F> {
        InheritedScope {
            key: self.name(),
            value: Arc::new(value),
            outer: None,
            inner: None,
            future: Some(future),
        }
    }

    /// Calls `f` with `value` under this key, for all that is spawned meanwhile too.
    ///
    /// # Panics
    /// With the panic of `f`.
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let values = inherit::capture().unwrap_or_default().with(self.name(), Arc::new(value));
        inherit::run(Some(values), f)
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    /// Outside of a scope of the key and of what was spawned there; [`try_with`](Self::try_with) does not.
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(AccessError) => outside(),
        }
    }

    /// Calls `f` with the value, if there is one.
    ///
    /// # Errors
    /// Outside of a scope of the key and of what was spawned there.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let value = inherit::find(self.name()).ok_or(AccessError)?;
        let value: &T = value.downcast_ref().expect("BUG: a key has values of its type only");
        Ok(f(value))
    }

    /// A copy of the value.
    ///
    /// # Panics
    /// Outside of a scope of the key and of what was spawned there.
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

    fn name(&'static self) -> Key {
        Key((&raw const self.place).addr())
    }
}

impl<T> fmt::Debug for InheritedKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritedKey").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`InheritedKey::scope`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct InheritedScope<F> {
        key: Key,
        value: Value,
        // What was in force around the last poll, and what is inside: made anew only if the former has changed.
        outer: Option<Values>,
        inner: Option<Values>,
        // `None` once it was dropped, which happens with the values in force.
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for InheritedScope<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                let _entered = inside(*this.key, this.value, this.outer, this.inner).enter();
                this.future.set(None);
            }
        }
    }
}

/// What is in force inside a scope, if the surroundings are as they are now.
fn inside(key: Key, value: &Value, outer: &mut Option<Values>, inner: &mut Option<Values>) -> Values {
    let now = inherit::capture();
    let same = match (&now, &*outer) {
        (None, None) => true,
        (Some(now), Some(outer)) => now.is(outer),
        _ => false,
    };
    if !same {
        *inner = None;
        *outer = now;
    }
    let make = || outer.clone().unwrap_or_default().with(key, value.clone());
    inner.get_or_insert_with(make).clone()
}

impl<F: Future> Future for InheritedScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _entered = inside(*this.key, this.value, this.outer, this.inner).enter();
        let future = this.future.as_mut().as_pin_mut().expect("a scope is not polled after it was ready");
        let polled = future.poll(cx);
        if polled.is_ready() {
            // Its destructors run in the scope as well.
            this.future.set(None);
        }
        polled
    }
}

impl<F> fmt::Debug for InheritedScope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritedScope").finish_non_exhaustive()
    }
}
