//! Values that belong to a task and not to a thread.
//!
//! A key is declared with [`task_local!`](crate::task_local). [`scope`](LocalKey::scope) gives it a value for the length of
//! one future; whatever that future calls, however deep and on whichever worker, reads it [`with`](LocalKey::with) the key.
//!
//! A task that is spawned inside the scope sees nothing of it, unless the key says `inherit`: a request's id, a deadline
//! or a tracing span then follow the work, through [`spawn`](crate::spawn()), [`spawn_blocking`](crate::spawn_blocking),
//! `spawn_local`, [`call_soon`](crate::Handle::call_soon), [`call_later`](crate::Handle::call_later),
//! [`BlockingPool`](crate::BlockingPool) and done callbacks. Which values a callback sees is decided where it is
//! added, not where the task or future ends.
//!
//! ```
//! runtime::task_local! {
//!     static USER: String;             // for this task only
//!     pub inherit static REQUEST: u64; // for its children as well
//! }
//!
//! runtime::block_on(REQUEST.scope(17, USER.scope("ada".into(), async {
//!     assert_eq!(USER.with(|user| user.len()), 3);
//!
//!     let child = runtime::spawn(async { (REQUEST.get(), USER.try_with(|_| ()).is_err()) });
//!     assert_eq!(child.await.unwrap(), (17, true));
//! })));
//! ```
//!
//! # Whose value is it
//! The value is there while the future of the scope is polled or dropped, by the task that polls it. A task that the same
//! thread happens to poll meanwhile, in a nested `block_on` or a `LocalSet`, does not see it.
//!
//! # What it costs
//! A task that inherits nothing is not larger for it, and its spawn takes one look at a thread-local more. One that
//! inherits takes one allocation more. Reading an inherited value is a search among those that are in force.

mod inherited;
mod own;
mod slot;

use std::error::Error;
use std::fmt;

pub use inherited::{InheritedKey, InheritedScope};
pub use own::{LocalKey, Scope};
#[doc(hidden)]
pub use slot::Slot as __Slot;

/// There is no value: the code does not run inside a scope of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task-local has no value here: the code runs outside of its scope")
    }
}

impl Error for AccessError {}

#[cold]
#[track_caller]
fn outside() -> ! {
    panic!("{AccessError}");
}

/// Declares task-local keys; see [`local`](crate::local).
///
/// A line is that of a `static` without a value, `static NAME: Type;`, with any attributes and visibility. It makes a
/// [`LocalKey`](crate::local::LocalKey). With `inherit` before `static` it makes an
/// [`InheritedKey`](crate::local::InheritedKey), whose value is passed on to what a task spawns; its type has to be `Send
/// + Sync`.
///
/// ```
/// runtime::task_local! {
///     /// Who asks.
///     pub static USER: String;
///     inherit static DEPTH: u32;
/// }
///
/// async fn descend() -> u32 {
///     let depth = DEPTH.get();
///     if depth == 3 {
///         return depth;
///     }
///     Box::pin(DEPTH.scope(depth + 1, descend())).await
/// }
///
/// assert_eq!(runtime::block_on(DEPTH.scope(0, descend())), 3);
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty $(; $($rest:tt)*)?) => {
        $(#[$attr])*
        $vis static $name: $crate::local::LocalKey<$t> = {
            ::std::thread_local! {
                static __RUNTIME_SLOT: $crate::local::__Slot<$t> = const { $crate::local::__Slot::new() };
            }
            $crate::local::LocalKey::__new(__RUNTIME_SLOT)
        };
        $($crate::task_local! { $($rest)* })?
    };
    ($(#[$attr:meta])* $vis:vis inherit static $name:ident: $t:ty $(; $($rest:tt)*)?) => {
        $(#[$attr])*
        $vis static $name: $crate::local::InheritedKey<$t> = $crate::local::InheritedKey::__new();
        $($crate::task_local! { $($rest)* })?
    };
}
