//! Every other system, and Linux under `--cfg runtime_portable`: all through `polling`, one event for each arming.
//!
//! `polling` does not tell the end of a stream apart from data, so a short count says nothing here, and not every system
//! has edges, so each event disarms the object until somebody waits for it again. Only Linux is tested, where this file
//! passes the same tests as the other.
#![cfg_attr(
    not(runtime_loom),
    expect(unsafe_code, reason = "polling asks the caller to delete before closing")
)]

#[cfg(runtime_loom)]
pub(crate) use model::{Events, Poller};
#[cfg(not(runtime_loom))]
pub(crate) use real::{Events, Poller};

#[cfg(not(runtime_loom))]
mod real {
    use std::io;
    use std::os::fd::{BorrowedFd, RawFd};
    use std::time::Duration;

    use crate::driver::poller::Event;
    use crate::driver::readiness::{ERROR, PRIORITY, READ_CLOSED, READABLE, URGENT, WRITABLE, WRITE_CLOSED};

    #[derive(Debug)]
    pub(crate) struct Poller(polling::Poller);

    /// Room for one batch.
    pub(crate) struct Events(Option<polling::Events>);

    impl Events {
        pub(crate) fn new() -> Self {
            Events(None)
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.as_ref().is_none_or(|events| events.is_empty())
        }

        pub(crate) fn clear(&mut self) {
            if let Some(events) = &mut self.0 {
                events.clear();
            }
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = Event> {
            self.0.iter().flat_map(polling::Events::iter).map(|event| {
                let mut ready = 0;
                if event.readable {
                    ready |= READABLE;
                }
                if event.writable {
                    ready |= WRITABLE;
                }
                if event.is_priority() {
                    ready |= PRIORITY | URGENT | READABLE;
                }
                if event.is_interrupt() {
                    ready |= READ_CLOSED | WRITE_CLOSED | READABLE | WRITABLE;
                }
                if event.is_err().unwrap_or(false) {
                    ready |= ERROR | READABLE | WRITABLE;
                }
                Event { token: event.key as u64, ready }
            })
        }
    }

    impl Poller {
        pub(crate) const SHORT_MEANS_EMPTY: bool = false;
        pub(crate) const CLOSE_DELETES: bool = false;

        pub(crate) fn new() -> io::Result<Self> {
            polling::Poller::new().map(Poller)
        }

        pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
            // SAFETY: whoever registers an object deletes it before it closes (CLOSE_DELETES).
            unsafe { self.0.add(&fd, interest(token, READABLE | WRITABLE)) }
        }

        /// Asks for one more event of the kinds that somebody waits for.
        pub(crate) fn rearm(&self, fd: RawFd, token: u64, wanted: u8) -> io::Result<()> {
            // SAFETY: the object is registered, and whoever registers one deletes it before it closes.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            self.0.modify(fd, interest(token, wanted))
        }

        pub(crate) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
            self.0.delete(fd)
        }

        pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
            events.clear();
            let room = events.0.get_or_insert_with(polling::Events::new);
            match self.0.wait(room, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
                _ => Ok(()),
            }
        }

        pub(crate) fn ring(&self) {
            // Fails only if the descriptor is gone, and then so is whoever sleeps on it.
            let _ = self.0.notify();
        }
    }

    fn interest(token: u64, wanted: u8) -> polling::Event {
        // On systems of 32 bits the generation is cut off, and with it the protection against events of a predecessor;
        // there are none, since every object is deleted before it closes.
        let mut event = polling::Event::new(token as usize, wanted & READABLE != 0, wanted & WRITABLE != 0);
        // Not every system has such events; readers are told of urgent data in any case.
        if wanted & URGENT != 0 {
            event = event.with_priority();
        }
        event
    }
}

/// loom knows no descriptors: what is rung is a condition variable, and events are posted by the model.
#[cfg(runtime_loom)]
mod model {
    use std::io;
    use std::os::fd::{BorrowedFd, RawFd};
    use std::time::Duration;

    use crate::driver::poller::Event;
    use crate::loom::lock::{Condvar, Mutex};

    #[derive(Debug)]
    pub(crate) struct Poller {
        posted: Mutex<(Vec<Event>, bool)>,
        changed: Condvar,
    }

    pub(crate) struct Events(Vec<Event>);

    impl Events {
        pub(crate) fn new() -> Self {
            Events(Vec::new())
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub(crate) fn clear(&mut self) {
            self.0.clear();
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = Event> {
            self.0.iter().copied()
        }
    }

    impl Poller {
        pub(crate) const SHORT_MEANS_EMPTY: bool = true;
        pub(crate) const CLOSE_DELETES: bool = true;

        pub(crate) fn new() -> io::Result<Self> {
            Ok(Poller { posted: Mutex::new((Vec::new(), false)), changed: Condvar::new() })
        }

        pub(crate) fn add(&self, _: BorrowedFd<'_>, _: u64) -> io::Result<()> {
            Ok(())
        }

        pub(crate) fn rearm(&self, _: RawFd, _: u64, _: u8) -> io::Result<()> {
            Ok(())
        }

        pub(crate) fn delete(&self, _: BorrowedFd<'_>) -> io::Result<()> {
            Ok(())
        }

        /// A wait with a limit other than zero may take for ever: loom has no time.
        pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
            let mut posted = self.posted.lock();
            while posted.0.is_empty() && !posted.1 && timeout != Some(Duration::ZERO) {
                posted = self.changed.wait(posted);
            }
            posted.1 = false;
            events.0 = std::mem::take(&mut posted.0);
            Ok(())
        }

        pub(crate) fn ring(&self) {
            self.posted.lock().1 = true;
            self.changed.notify_all();
        }

        /// The system has news.
        #[cfg(test)]
        pub(crate) fn post(&self, event: Event) {
            self.posted.lock().0.push(event);
            self.changed.notify_all();
        }
    }
}
