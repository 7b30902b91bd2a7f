//! No timer that others can set, where the system has none.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Timer;

impl Timer {
    pub(super) fn new() -> Self {
        Timer
    }

    pub(super) fn open(&self) {}

    pub(super) fn close(&self) {}

    pub(super) fn is_open(&self) -> bool {
        false
    }

    pub(super) fn wait(&self) -> bool {
        false
    }

    pub(super) fn set(&self, _after: Duration, _apart: Duration) -> bool {
        false
    }
}
