//! A timer for models, which know no time: one that is set may go off at once or later.

use std::io;
use std::time::Duration;

use crate::loom::lock::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(super) struct Timer {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Timer {
    pub(super) fn new() -> Option<Self> {
        Some(Timer::default())
    }

    pub(super) fn wait(&self) -> io::Result<()> {
        let mut set = self.set.lock();
        while !std::mem::take(&mut *set) {
            set = self.changed.wait(set);
        }
        Ok(())
    }

    pub(super) fn set(&self, _after: Duration) -> io::Result<()> {
        *self.set.lock() = true;
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn stop(&self) -> io::Result<()> {
        *self.set.lock() = false;
        Ok(())
    }
}
