//! An object of the system and its link to the reactor.
//!
//! # Lazily
//! An operation is tried first. Only when it would block for the first time is the object registered, with the reactor
//! of the runtime that the thread stands in; a connection that is served in one go never costs an `epoll_ctl`. Once it is
//! registered, an operation is tried only while the object is known to be ready, and a short count spares the try that
//! would have blocked. Sends that name a Unix socket are tried whatever is known, and again after a while.
//!
//! # Waiters
//! The `poll_` forms have one place for each direction: the last caller's waker counts. The async forms have a place each.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use super::again::Again;
use super::interest::{Interest, Ready};
use super::rest::Rest;
use crate::coop;
use crate::driver::{Key, Registration, Seen, readiness};
use crate::error::Error;
use crate::fork;
use crate::handle;
use crate::loom::lock::Mutex;

/// Which half of an object is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    fn wanted(self) -> u8 {
        match self {
            Direction::Read => readiness::READ,
            Direction::Write => readiness::WRITE,
        }
    }

    fn interest(self) -> Interest {
        match self {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        }
    }

    fn key(self) -> Key {
        match self {
            Direction::Read => Key::POLL_READ,
            Direction::Write => Key::POLL_WRITE,
        }
    }
}

/// An object of the system in non-blocking mode, and its link to the reactor, which is made at the first would-block.
#[derive(Debug)]
pub(crate) struct Evented<T: AsFd> {
    /// `None` only after [`into_inner`](Self::into_inner).
    io: Option<T>,
    link: OnceLock<Registration>,
    linking: Mutex<()>,
    /// There is a link. std's own word for that is in precompiled code, which ThreadSanitizer does not see.
    linked: AtomicBool,
    /// Other descriptors of the object may exist: closing this one would leave it registered.
    ///
    /// ORDERING: Relaxed, whoever drops the object has seen who could have made one.
    foreign: AtomicBool,
    /// Nobody is to read yet.
    rest: Rest,
}

/// What an object is ready for, and when that was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) ready: Ready,
    /// What the wait was for.
    pub(super) interest: Interest,
    pub(super) seen: Seen,
}

impl<T: AsFd> Evented<T> {
    /// An object that we made: nobody else has a descriptor of it.
    pub(crate) fn new(io: T) -> Self {
        Evented::with(io, false)
    }

    /// An object that somebody gave us, and may have other descriptors of.
    pub(crate) fn foreign(io: T) -> Self {
        Evented::with(io, true)
    }

    /// The one or the other.
    pub(crate) fn with(io: T, foreign: bool) -> Self {
        Evented {
            io: Some(io),
            link: OnceLock::new(),
            linking: Mutex::new(()),
            linked: AtomicBool::new(false),
            foreign: foreign.into(),
            rest: Rest::default(),
        }
    }

    pub(crate) fn get_ref(&self) -> &T {
        self.io.as_ref().expect("only a consumed object is empty")
    }

    /// The object, for somebody who may make another descriptor of it.
    pub(crate) fn show(&self) -> &T {
        self.foreign.store(true, Ordering::Relaxed);
        self.get_ref()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.io.as_mut().expect("only a consumed object is empty")
    }

    /// The object, which is not watched any more.
    pub(crate) fn into_inner(mut self) -> T {
        *self.foreign.get_mut() = true;
        self.unlink();
        self.io.take().expect("consumed once")
    }

    /// The registration, if there is one.
    fn registration(&self) -> Option<&Registration> {
        // ORDERING: Acquire, pairs with the Release store in `link`.
        if self.linked.load(Ordering::Acquire) { self.link.get() } else { None }
    }

    /// The registration, made now if there is none.
    fn link(&self) -> io::Result<&Registration> {
        if let Some(link) = self.registration() {
            return if link.is_lost() { Err(Error::lost().into()) } else { Ok(link) };
        }
        let reactor = handle::reactor()?;
        // Before the lock: it is the user's code.
        let fd = self.get_ref().as_fd();
        let link = {
            let _one_at_a_time = self.linking.lock();
            match self.link.get() {
                Some(link) => link,
                None => {
                    let registration = reactor.reactor.register(fd)?;
                    let link = self.link.get_or_init(|| registration);
                    // ORDERING: Release, pairs with the load in `registration`.
                    self.linked.store(true, Ordering::Release);
                    link
                }
            }
        };
        reactor.attend();
        Ok(link)
    }

    fn unlink(&mut self) {
        if let Some(link) = self.link.take() {
            // A call of the system more for each socket that ends, in a program that has forked.
            let other_descriptors = *self.foreign.get_mut() || fork::has_forked();
            link.remove(self.get_ref().as_fd(), other_descriptors);
        }
    }

    /// Tries `op`, if the object may be ready; the answer comes with what was seen before the try.
    ///
    /// Pending: leave a waker with the source and try again.
    fn attempt<R>(
        &self,
        direction: Direction,
        op: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<(io::Result<R>, Option<Seen>)> {
        loop {
            let link = self.registration();
            let seen = match link.map(|link| link.source().ready(direction.wanted())) {
                None => None,
                Some(Poll::Ready(Ok(seen))) => Some(seen),
                Some(Poll::Ready(Err(error))) => return Poll::Ready((Err(error), None)),
                Some(Poll::Pending) => return Poll::Pending,
            };
            let Some(result) = self.try_unless_resting(direction.wanted(), &mut *op) else {
                return Poll::Pending;
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match (link, seen) {
                    (Some(link), Some(seen)) => link.source().clear(seen, direction.wanted()),
                    _ => return Poll::Pending,
                },
                result => return Poll::Ready((result, seen)),
            }
        }
    }

    /// Tries, and waits under the key in `key`, or under one that it leaves there.
    fn poll_attempt<R>(
        &self,
        waker: &Waker,
        key: &mut Option<Key>,
        direction: Direction,
        op: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<(io::Result<R>, Option<Seen>)> {
        loop {
            if let Poll::Ready(done) = self.attempt(direction, op) {
                return Poll::Ready(done);
            }
            if self.rest_with(direction.wanted(), waker) {
                return Poll::Pending;
            }
            let link = match self.link() {
                Ok(link) => link,
                Err(error) => return Poll::Ready((Err(error), None)),
            };
            match link.wait(*key, direction.wanted(), waker) {
                Ok(left) => {
                    *key = Some(left);
                    return Poll::Pending;
                }
                Err(Ok(_)) => {}
                Err(Err(error)) => return Poll::Ready((Err(error), None)),
            }
        }
    }

    /// Notes that a short count has emptied, or filled, the object.
    fn note_short(&self, direction: Direction, len: usize, result: &io::Result<usize>, seen: Option<Seen>) {
        if let (Some(link), Some(seen), Ok(count)) = (self.registration(), seen, result) {
            if *count < len && *count > 0 {
                link.drained(seen, direction.wanted());
            }
        }
    }

    /// Tries `op`; when it would block, waits for `direction` and tries again.
    pub(crate) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let unit = ready!(coop::poll_proceed(cx));
        let (result, _) =
            ready!(self.poll_attempt(cx.waker(), &mut Some(direction.key()), direction, &mut op));
        unit.made_progress();
        Poll::Ready(result)
    }

    /// The same for streams of bytes: a count below `len` means that there is no more, or no more room.
    #[cfg(any(feature = "futures-io", feature = "tokio-io", feature = "hyper"))]
    pub(crate) fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        len: usize,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let unit = ready!(coop::poll_proceed(cx));
        let (result, seen) =
            ready!(self.poll_attempt(cx.waker(), &mut Some(direction.key()), direction, &mut op));
        unit.made_progress();
        self.note_short(direction, len, &result, seen);
        Poll::Ready(result)
    }

    /// Tries `op` until it does not block. Any number of tasks may wait at a time.
    pub(crate) async fn io<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut wait = Wait { io: self, key: None };
        poll_fn(|cx| wait.poll(cx, direction, &mut op)).await.0
    }

    /// As [`io`](Self::io), for streams of bytes.
    pub(crate) async fn transfer(
        &self,
        direction: Direction,
        len: usize,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut wait = Wait { io: self, key: None };
        let (result, seen) = poll_fn(|cx| wait.poll(cx, direction, &mut op)).await;
        self.note_short(direction, len, &result, seen);
        result
    }

    /// One try without waiting, and without a system call if the object is known not to be ready. Before the first event, and
    /// where events come only to those who wait, nothing is known.
    ///
    /// A would-block that nobody foresaw clears what was seen of all of `interest` before the try.
    pub(crate) fn try_once<R>(
        &self,
        interest: Interest,
        op: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let (result, seen) = self.try_seen(interest, op);
        if let (Some(link), Some(seen), Err(error)) = (self.registration(), seen, &result) {
            if error.kind() == io::ErrorKind::WouldBlock {
                link.source().clear(seen, wanted(interest));
            }
        }
        result
    }

    /// The same, and what was seen before the try is kept: one direction may be ready for others.
    pub(crate) fn try_for_others<R>(
        &self,
        interest: Interest,
        op: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.try_seen(interest, op).0
    }

    /// The answer comes with what was seen before the try, if there was one.
    fn try_seen<R>(
        &self,
        interest: Interest,
        op: impl FnOnce(&T) -> io::Result<R>,
    ) -> (io::Result<R>, Option<Seen>) {
        let wanted = wanted(interest);
        let would_block = || (Err(io::ErrorKind::WouldBlock.into()), None);
        let link = self.registration();
        // In this order: the first event may come in between.
        let seen = match link.map(|link| (link.is_unsure(), link.source().ready(wanted))) {
            None | Some((true, Poll::Pending)) => None,
            Some((_, Poll::Ready(Ok(seen)))) => Some(seen),
            Some((_, Poll::Ready(Err(error)))) => return (Err(error), None),
            Some((false, Poll::Pending)) => return would_block(),
        };
        match self.try_unless_resting(wanted, op) {
            Some(result) => (result, seen),
            None => would_block(),
        }
    }

    /// Tries `op` whatever the object is ready for; when it would block, `again` wakes for the next try, because no event
    /// says when it would not.
    pub(crate) fn poll_again<R>(
        &self,
        cx: &mut Context<'_>,
        again: &mut Again,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let unit = ready!(coop::poll_proceed(cx));
        again.forget();
        match self.try_blindly(op) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                again.wake_later(cx.waker());
                Poll::Pending
            }
            result => {
                unit.made_progress();
                Poll::Ready(result)
            }
        }
    }

    /// Tries `op` whatever the object is ready for, and forgets none of that.
    pub(crate) fn try_blindly<R>(&self, mut op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        loop {
            match op(self.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// As [`try_once`](Self::try_once), of an operation that may be tried again after an interruption.
    pub(crate) fn try_io<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match self.try_once(direction.interest(), &mut op) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Waits until the object may be ready for some of `interest`.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Readiness>> {
        let direction = if interest.is_writable() && !interest.is_readable() {
            Direction::Write
        } else {
            Direction::Read
        };
        let mut key = Some(direction.key());
        self.poll_ready_under(cx, &mut key, interest)
    }

    fn poll_ready_under(
        &self,
        cx: &mut Context<'_>,
        key: &mut Option<Key>,
        interest: Interest,
    ) -> Poll<io::Result<Readiness>> {
        let unit = ready!(coop::poll_proceed(cx));
        let wanted = wanted(interest);
        if self.rest_with(wanted, cx.waker()) {
            return Poll::Pending;
        }
        let link = self.link()?;
        let seen = match link.source().ready(wanted) {
            Poll::Ready(seen) => seen?,
            Poll::Pending => match link.wait(*key, wanted, cx.waker()) {
                Ok(left) => {
                    *key = Some(left);
                    return Poll::Pending;
                }
                Err(seen) => seen?,
            },
        };
        unit.made_progress();
        Poll::Ready(Ok(Readiness { ready: told(seen, interest), interest, seen }))
    }

    /// What the object was seen to be ready for by now, to be given back to [`news`](Self::news).
    pub(crate) fn look(&self) -> Option<Seen> {
        self.registration().map(|link| link.source().look())
    }

    /// Waits until there was an event since `seen`, and the object may be ready for some of `interest`.
    pub(crate) async fn news(&self, interest: Interest, seen: Option<Seen>) -> io::Result<()> {
        let mut wait = Wait { io: self, key: None };
        let wanted = wanted(interest);
        poll_fn(|cx| {
            let unit = ready!(coop::poll_proceed(cx));
            if self.rest_with(wanted, cx.waker()) {
                return Poll::Pending;
            }
            match self.link()?.wait_since(seen, wait.key, wanted, cx.waker()) {
                Ok(left) => {
                    wait.key = Some(left);
                    Poll::Pending
                }
                Err(found) => {
                    found?;
                    unit.made_progress();
                    Poll::Ready(Ok(()))
                }
            }
        })
        .await
    }

    /// As [`poll_ready`](Self::poll_ready). Any number of tasks may wait at a time.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Readiness> {
        let mut wait = Wait { io: self, key: None };
        poll_fn(|cx| self.poll_ready_under(cx, &mut wait.key, interest)).await
    }

    /// Forgets what the object was seen to be ready for, unless there is news since.
    pub(crate) fn clear_ready(&self, readiness: Readiness) {
        if let Some(link) = self.registration() {
            let told = readiness.ready.bits() & (readiness::READ | readiness::WRITE | readiness::PRIORITY);
            let urgent = readiness.interest.is_priority() && told & readiness::PRIORITY != 0;
            let wanted = told | if urgent { readiness::URGENT } else { 0 };
            link.source().clear_of(readiness.seen, self::wanted(readiness.interest), wanted);
        }
    }

    /// The system has no descriptors or no memory to accept with: nobody tries for a while, however many events come, so
    /// that a loop around `accept` makes at most a hundred attempts a second.
    pub(crate) fn throttle(&self) {
        self.rest.begin(handle::clock_now());
    }

    /// Tries `op`; `None` if nobody, or somebody else, is to try yet.
    fn try_unless_resting<R>(
        &self,
        wanted: u8,
        op: impl FnOnce(&T) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        if wanted & readiness::READ == 0 {
            return Some(op(self.get_ref()));
        }
        if !self.rest.may_try(handle::clock_now) {
            return None;
        }
        let result = op(self.get_ref());
        let harmless = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        };
        if result.as_ref().err().is_none_or(harmless) {
            self.rest.end();
        }
        Some(result)
    }

    /// True if nobody is to try yet; `waker` is woken when that is over.
    fn rest_with(&self, wanted: u8, waker: &Waker) -> bool {
        if wanted & readiness::READ == 0 {
            return false;
        }
        let Some((now, left)) = self.rest.left(handle::clock_now) else { return false };
        // The timer needs no descriptor, which there may not be, and goes off by itself.
        if handle::arm(now, now.saturating_add(left), waker).is_none() {
            waker.wake_by_ref();
        }
        true
    }
}

/// What an interest is in the reactor's terms.
fn wanted(interest: Interest) -> u8 {
    let urgent = if interest.is_priority() { readiness::URGENT } else { 0 };
    (interest.mask().bits() & (readiness::READ | readiness::WRITE)) | urgent
}

/// What is told of after a wait for `interest`.
fn told(seen: Seen, interest: Interest) -> Ready {
    // Whoever reads and whoever waits for urgent data alone have a bit each.
    let of_readers = if interest.is_readable() { seen.ready() & readiness::PRIORITY } else { 0 };
    let urgent = interest.is_priority() && seen.ready() & readiness::URGENT != 0;
    let priority = if urgent { readiness::PRIORITY } else { of_readers };
    Ready::from_bits(seen.ready() & !readiness::PRIORITY | priority) & interest.told()
}

impl<T: AsFd> Drop for Evented<T> {
    fn drop(&mut self) {
        if self.io.is_some() {
            self.unlink();
        }
    }
}

/// One wait, which takes its waker along when it is dropped.
struct Wait<'a, T: AsFd> {
    io: &'a Evented<T>,
    key: Option<Key>,
}

impl<T: AsFd> Wait<'_, T> {
    fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        op: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<(io::Result<R>, Option<Seen>)> {
        let unit = ready!(coop::poll_proceed(cx));
        let done = ready!(self.io.poll_attempt(cx.waker(), &mut self.key, direction, op));
        unit.made_progress();
        Poll::Ready(done)
    }
}

impl<T: AsFd> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        if let (Some(key), Some(link)) = (self.key, self.io.registration()) {
            if !link.is_lost() {
                link.source().leave(key);
            }
        }
    }
}
