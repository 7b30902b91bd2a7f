//! Tasks with a name.

use std::panic::Location;

use super::local;
use crate::cell::{Name, Task};
use crate::handle::Handle;

/// Spawns tasks with a name, which shows in handles, reports and panics that nobody saw.
///
/// ```
/// let task = runtime::task::Builder::new().name("counter").spawn(async { 1 });
/// assert_eq!(task.name(), Some("counter"));
/// assert_eq!(runtime::block_on(task).unwrap(), 1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder<'a> {
    name: Option<&'a str>,
}

impl<'a> Builder<'a> {
    /// No options yet.
    pub fn new() -> Self {
        Builder::default()
    }

    /// The task's name. Need not be unique.
    pub fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// As [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (handle, location) = (Handle::current(), Location::caller());
        match self.name {
            Some(name) => handle.shared().spawn(future, Name::new(name), location),
            None => handle.shared().spawn(future, (), location),
        }
    }

    /// As [`spawn_blocking`](super::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<T>(self, f: impl FnOnce() -> T + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        let (handle, location) = (Handle::current(), Location::caller());
        match self.name {
            Some(name) => handle.spawn_blocking_with(f, Name::new(name), location),
            None => handle.spawn_blocking_with(f, (), location),
        }
    }

    /// As [`spawn_local`](super::spawn_local).
    ///
    /// # Panics
    /// Outside a [`LocalSet`](super::LocalSet).
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        match self.name {
            Some(name) => local::spawn_here(future, Name::new(name), Location::caller()),
            None => local::spawn_here(future, (), Location::caller()),
        }
    }
}
