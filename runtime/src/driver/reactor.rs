//! The reactor: which objects are registered, and whom their events concern.
//!
//! # Keys
//! An event carries an index and a generation, never a pointer. A descriptor number that is used again at once, or one
//! whose duplicate lives on in another process, may bring an event of its former owner: the generation is not that of
//! the new one, and the event is dropped. Our own sockets are therefore not taken out of epoll before they are closed,
//! which saves a system call; objects that may have duplicates are (`Registration::remove`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::poller::{Events, Poller};
use super::readiness::{READABLE, SHUTDOWN, URGENT, WRITABLE};
use super::source::{Key, Seen, Source};
use super::{Woken, wake};
use crate::error::Error;
use crate::fork::Birth;
use crate::loom::lock::Mutex;
use crate::loom::mutant;
use crate::parker::Bed;

/// One runtime's objects.
#[derive(Debug)]
pub(crate) struct Reactor {
    poller: Poller,
    registry: Mutex<Registry>,
    /// Buffers, lent out for the time of a wait and its dispatch. One thread may dispatch while the next one waits.
    spare: Mutex<Vec<Events>>,
    /// Of which process it is. The descriptors are in its children as well, but the instance is this one's.
    birth: Birth,
}

#[derive(Debug, Default)]
struct Registry {
    entries: Slab<Entry>,
    generation: u32,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    fd: RawFd,
    source: Arc<Source>,
}

/// An object's place in the reactor.
#[derive(Debug)]
pub(crate) struct Registration {
    reactor: Arc<Reactor>,
    source: Arc<Source>,
    token: u64,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

fn token(index: usize, generation: u32) -> io::Result<u64> {
    // The highest indices are the pollers' own.
    match u32::try_from(index) {
        Ok(index) if index < u32::MAX - 1 => Ok(u64::from(generation) << 32 | u64::from(index)),
        _ => Err(io::Error::other("too many objects are registered")),
    }
}

impl Registry {
    fn get(&self, token: u64) -> Option<&Entry> {
        let entry = self.entries.get(token as u32 as usize)?;
        (entry.generation == (token >> 32) as u32 || mutant!("token_without_generation")).then_some(entry)
    }

    /// How many registrations are for this number.
    fn owners(&self, fd: RawFd) -> usize {
        self.entries.iter().filter(|(_, entry)| entry.fd == fd).count()
    }
}

impl Reactor {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Reactor {
            poller: Poller::new()?,
            registry: Mutex::default(),
            spare: Mutex::default(),
            birth: Birth::now(),
        }))
    }

    /// Watches `fd` from now on.
    ///
    /// # Errors
    /// If the system cannot watch this kind of object, or no more of them, or the runtime is gone.
    pub(crate) fn register(self: &Arc<Self>, fd: BorrowedFd<'_>) -> io::Result<Registration> {
        let source = Arc::new(Source::new());
        let token = {
            let mut registry = self.registry.lock();
            if registry.closed {
                return Err(Error::shutdown().into());
            }
            registry.generation = registry.generation.wrapping_add(1);
            let generation = registry.generation;
            let entry = Entry { generation, fd: fd.as_raw_fd(), source: source.clone() };
            let index = registry.entries.insert(entry);
            token(index, generation).inspect_err(|_| drop(registry.entries.remove(index)))?
        };
        // From here on the registration undoes what was done so far when it is dropped.
        let registration = Registration { reactor: self.clone(), source, token };
        match self.poller.add(fd, token) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Somebody else waits for the events of this descriptor, and would wait for ever.
                if self.registry.lock().owners(fd.as_raw_fd()) > 1 {
                    return Err(error);
                }
                // A former owner of the number has left a duplicate of the same object registered.
                self.poller.delete(fd)?;
                self.poller.add(fd, token)?;
            }
            result => result?,
        }
        Ok(registration)
    }

    /// Waits for events; who waits has the lead, so that there is one at a time.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Events {
        let lent = self.spare.lock().pop();
        let mut events = lent.unwrap_or_else(Events::new);
        // A wait can fail for want of kernel memory. There is nobody to tell; the next wait comes soon.
        if self.poller.wait(&mut events, timeout).is_err() {
            events.clear();
        }
        events
    }

    /// Notes what the events say and wakes those whom they concern.
    pub(super) fn dispatch(&self, events: Events) {
        if events.is_empty() {
            return self.give_back(events);
        }
        let mut woken = Woken::new();
        {
            let registry = self.registry.lock();
            for event in events.iter() {
                // No such entry: a late event of an object that is gone.
                let Some(entry) = registry.get(event.token) else { continue };
                entry.source.set(event.ready, &mut woken);
                self.rearm(event.token, entry, 0);
            }
        }
        self.give_back(events);
        // Drained, because the wakers would be moved as a whole, with all the room that there is for others.
        woken.drain(..).for_each(wake);
    }

    fn give_back(&self, mut events: Events) {
        events.clear();
        self.spare.lock().push(events);
    }

    /// Where an event disarms the object: asks for the next one if somebody waits.
    fn rearm(&self, token: u64, entry: &Entry, more: u8) {
        if Poller::SHORT_MEANS_EMPTY {
            return;
        }
        let wanted = entry.source.wanted() | more;
        // Of an object that is closed both ways each question is answered at once, with that.
        if wanted == URGENT && entry.source.look().is_closed() {
            return;
        }
        if wanted & (READABLE | WRITABLE | URGENT) != 0 {
            // It fails if the object cannot be watched any more; a wait for it is then ended by its own next try.
            let _ = self.poller.rearm(entry.fd, token, wanted);
        }
    }

    /// Tells everybody that the runtime is gone, now and later.
    pub(super) fn close(&self) {
        let mut woken = Woken::new();
        {
            let mut registry = self.registry.lock();
            registry.closed = true;
            for (_, entry) in &registry.entries {
                entry.source.set(SHUTDOWN, &mut woken);
            }
        }
        woken.drain(..).for_each(wake);
    }

    /// How many objects are registered.
    pub(crate) fn registered(&self) -> usize {
        self.registry.lock().entries.len()
    }
}

/// What a thread that leads sleeps in.
impl Bed for Reactor {
    fn ring(&self) {
        self.poller.ring();
    }
}

impl Registration {
    /// True in a process that was forked off: the events are the parent's, and nobody here may touch the reactor.
    pub(crate) fn is_lost(&self) -> bool {
        self.reactor.birth.is_lost()
    }

    /// What the object is ready for.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// As [`Source::wait`], for whatever the object is ready for.
    pub(crate) fn wait(&self, key: Option<Key>, wanted: u8, waker: &Waker) -> Result<Key, io::Result<Seen>> {
        self.wait_since(None, key, wanted, waker)
    }

    /// As [`Source::wait`].
    pub(crate) fn wait_since(
        &self,
        seen: Option<Seen>,
        key: Option<Key>,
        wanted: u8,
        waker: &Waker,
    ) -> Result<Key, io::Result<Seen>> {
        let waits = self.source.wait(seen, key, wanted, waker);
        if !Poller::SHORT_MEANS_EMPTY && waits.is_ok() {
            let registry = self.reactor.registry.lock();
            if let Some(entry) = registry.get(self.token) {
                self.reactor.rearm(self.token, entry, wanted);
            }
        }
        waits
    }

    /// Whether an object that is not known to be ready is not: there may have been no time yet for the first event, which tells
    /// how it is, or nobody may have asked for the one that would have made it ready. Then only a try can tell.
    pub(crate) fn is_unsure(&self) -> bool {
        !Poller::SHORT_MEANS_EMPTY || self.source.look().is_first()
    }

    /// A short count has emptied, or filled, the object; as [`Source::drained`], where that is the end of it.
    pub(crate) fn drained(&self, seen: Seen, wanted: u8) {
        if Poller::SHORT_MEANS_EMPTY {
            self.source.drained(seen, wanted);
        }
    }

    /// Ends the registration, before the object is closed.
    ///
    /// The system's own list forgets an object when its last descriptor is closed, so that only an object that may have
    /// `other_descriptors` has to be taken out of it.
    pub(crate) fn remove(self, fd: BorrowedFd<'_>, other_descriptors: bool) {
        if !self.is_lost() && (other_descriptors || !Poller::CLOSE_DELETES) {
            // It fails if the object was closed behind our back; it is gone then, as it should be.
            let _ = self.reactor.poller.delete(fd);
        }
    }
}

#[cfg(all(test, runtime_loom))]
impl Registration {
    /// The system says that the object is ready.
    pub(crate) fn happen(&self, ready: u8) {
        self.reactor.poller.post(super::poller::Event { token: self.token, ready });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.is_lost() {
            return;
        }
        let entry = {
            let mut registry = self.reactor.registry.lock();
            let index = self.token as u32 as usize;
            registry.get(self.token).is_some().then(|| registry.entries.remove(index))
        };
        drop(entry);
        // Outside the lock: the wakers of those who polled and did not come back.
        self.source.abandon();
    }
}
