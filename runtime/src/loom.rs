//! Every primitive that a proof has to see, from std and its neighbours or, under `--cfg runtime_loom`, from loom.
//!
//! The rest of the crate takes atomics, cells, locks, threads and the deque from here and from nowhere else, so that
//! the models run the very code that ships. The choice between the two worlds is made in this file only.

pub(crate) mod deque;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod futex;
pub(crate) mod lock;

#[cfg(not(runtime_loom))]
mod imp {
    pub(crate) use std::sync::{Arc, Weak, atomic};
    pub(crate) use std::{hint, thread};

    /// A cell whose accesses loom checks for overlap; std's own otherwise.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        /// Calls `f` with a pointer for shared reading.
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer for exclusive access.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// A thread-local without a destructor or lazy start, so that it works inside other destructors.
    macro_rules! local {
        ($(#[$attr:meta])* static $name:ident: $ty:ty = $init:expr;) => {
            std::thread_local! { $(#[$attr])* static $name: $ty = const { $init }; }
        };
    }
    pub(crate) use local;
}

#[cfg(runtime_loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::{Arc, atomic};
    pub(crate) use loom::{hint, thread};
    pub(crate) use std::sync::Weak;

    macro_rules! local {
        ($(#[$attr:meta])* static $name:ident: $ty:ty = $init:expr;) => {
            loom::thread_local! { $(#[$attr])* static $name: $ty = $init; }
        };
    }
    pub(crate) use local;
}

#[expect(unused_imports, reason = "not every build of the facade uses every name")]
pub(crate) use imp::{Arc, UnsafeCell, Weak, atomic, hint, local, thread};

/// True in a build that carries faults on purpose, if the named one is chosen.
///
/// `tests/mutants.sh` chooses one after the other and expects the models to fail on each.
macro_rules! mutant {
    ($name:literal) => {
        $crate::loom::is_mutant($name)
    };
}
pub(crate) use mutant;

#[cfg(not(runtime_mutant))]
#[inline(always)]
pub(crate) const fn is_mutant(_: &str) -> bool {
    false
}

/// The name comes from the environment, so that one build serves for all.
#[cfg(runtime_mutant)]
pub(crate) fn is_mutant(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("RUNTIME_MUTANT").ok()).as_deref() == Some(name)
}
