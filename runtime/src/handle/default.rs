//! The runtime of last resort, for threads that stand in none.

use std::fmt;
use std::io;

use super::{Config, Handle, Inner};
use crate::loom::lock::Mutex;

struct Default {
    /// Installed by entry points while they live, the latest last.
    installed: Vec<Handle>,
    /// Built on first use or with `Builder::build_global`, and never shut down.
    built: Option<Handle>,
}

static DEFAULT: Mutex<Default> = Mutex::new(Default { installed: Vec::new(), built: None });

/// The default runtime, which is built if there is none.
#[track_caller]
pub(super) fn get() -> Handle {
    loop {
        if let Some(handle) = existing() {
            return handle;
        }
        match Config::standard(None) {
            // Without one another thread was quicker; what it has installed may be gone again.
            Ok(config) => {
                if let Ok(handle) = build_global(config) {
                    return handle;
                }
            }
            Err(error) => panic!("cannot build the default runtime: {error}"),
        }
    }
}

/// Forgets the runtimes of a process that this one was forked off from.
pub(super) fn forget_parent() {
    DEFAULT.renew(Default { installed: Vec::new(), built: None });
}

pub(super) fn existing() -> Option<Handle> {
    let default = DEFAULT.lock();
    default.installed.last().or(default.built.as_ref()).cloned()
}

/// Builds the default runtime, unless there is one, built or installed: the new one would serve nobody.
pub(crate) fn build_global(config: Config) -> io::Result<Handle> {
    let exists = || io::Error::new(io::ErrorKind::AlreadyExists, "the default runtime exists already");
    if existing().is_some() {
        return Err(exists());
    }
    let new = Handle { inner: Inner::start(config) };
    let mut default = DEFAULT.lock();
    if default.built.is_some() || !default.installed.is_empty() {
        drop(default);
        // The one too many is shut down outside the lock, when `new` goes.
        return Err(exists());
    }
    default.built = Some(new.clone());
    Ok(new)
}

/// Makes a runtime the default while the guard lives.
pub(crate) fn install(handle: &Handle) -> Installed {
    DEFAULT.lock().installed.push(handle.clone());
    Installed(handle.clone())
}

/// An installed default; see [`install`].
pub(crate) struct Installed(Handle);

impl Drop for Installed {
    fn drop(&mut self) {
        let removed = {
            let mut default = DEFAULT.lock();
            let index = default.installed.iter().rposition(|handle| *handle == self.0);
            index.map(|index| default.installed.remove(index))
        };
        drop(removed);
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Installed").field(&self.0).finish()
    }
}
