//! Any descriptor that the reactor can watch, with the system calls left to the user.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};

use super::async_io;
use super::evented::{Evented, Readiness};
use super::interest::{Interest, Ready};

/// A descriptor in non-blocking mode, watched by the runtime.
///
/// For everything that has no type here: event and timer descriptors, terminals, devices, sockets of other families.
/// The user sets `O_NONBLOCK` and makes the system calls; the runtime says when to.
///
/// The simple way is [`async_io`](Self::async_io): it makes the call, and waits whenever the call would block. The other
/// one is in two steps: wait with [`readable`](Self::readable) or [`writable`](Self::writable), and make the call inside
/// [`try_io`](AsyncFdReadyGuard::try_io) of the guard, which notices when there is nothing any more.
///
/// Any number of tasks may wait at a time through a shared reference. Dropping the `AsyncFd` ends the watch and drops
/// the descriptor. Nothing is watched before the first wait.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use runtime::io::{AsyncFd, Interest};
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// ours.set_nonblocking(true)?;
/// let ours = AsyncFd::new(ours)?;
/// theirs.write_all(b"hello")?;
///
/// let mut buf = [0; 16];
/// let n = ours.async_io(Interest::READABLE, |mut stream| stream.read(&mut buf)).await?;
/// assert_eq!(&buf[..n], b"hello");
/// # Ok(()) }) }
/// ```
pub struct AsyncFd<T: AsFd> {
    io: Evented<T>,
    interest: Interest,
}

impl<T: AsFd> AsyncFd<T> {
    /// Takes a descriptor that is in non-blocking mode, to be waited for in both directions.
    ///
    /// # Errors
    /// None at present: what cannot be watched, a regular file for example, gives its error (`EPERM`) at the first wait.
    pub fn new(inner: T) -> io::Result<Self> {
        AsyncFd::with_interest(inner, Interest::READABLE | Interest::WRITABLE)
    }

    /// The same, to be waited for in the given directions only.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_interest(inner: T, interest: Interest) -> io::Result<Self> {
        Ok(AsyncFd { io: Evented::foreign(inner), interest })
    }

    /// The descriptor's owner.
    pub fn get_ref(&self) -> &T {
        self.io.get_ref()
    }

    /// The descriptor's owner. It must go on to have the same descriptor.
    pub fn get_mut(&mut self) -> &mut T {
        self.io.get_mut()
    }

    /// Ends the watch and gives the owner back, still in non-blocking mode.
    pub fn into_inner(self) -> T {
        self.io.into_inner()
    }

    /// Waits until the object is ready for any of `interest`.
    ///
    /// # Cancellation
    /// Nothing is lost.
    ///
    /// # Errors
    /// If the object cannot be watched, or its runtime was shut down; `AlreadyExists` while the same descriptor is watched for
    /// somebody else, who would have no events any more (a duplicate may be watched beside it); `InvalidInput` for a direction
    /// that [`with_interest`](Self::with_interest) left out.
    pub async fn ready(&self, interest: Interest) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        let readiness = self.wait(interest).await?;
        Ok(AsyncFdReadyGuard { fd: self, readiness })
    }

    /// The same, for operations that need the owner exclusively.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub async fn ready_mut(&mut self, interest: Interest) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        let readiness = self.wait(interest).await?;
        Ok(AsyncFdReadyMutGuard { fd: self, readiness })
    }

    /// Waits until there is something to read; see [`ready`](Self::ready).
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use runtime::io::AsyncFd;
    ///
    /// # fn main() -> std::io::Result<()> { runtime::block_on(async {
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let ours = AsyncFd::new(ours)?;
    /// theirs.write_all(b"hello")?;
    ///
    /// let mut buf = [0; 16];
    /// let n = loop {
    ///     let mut guard = ours.readable().await?;
    ///     match guard.try_io(|fd| fd.get_ref().read(&mut buf)) {
    ///         Ok(read) => break read?,
    ///         Err(_would_block) => {}
    ///     }
    /// };
    /// assert_eq!(&buf[..n], b"hello");
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::READABLE).await
    }

    /// The same, for operations that need the owner exclusively.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub async fn readable_mut(&mut self) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        self.ready_mut(Interest::READABLE).await
    }

    /// Waits until there is room to write; see [`ready`](Self::ready).
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub async fn writable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::WRITABLE).await
    }

    /// The same, for operations that need the owner exclusively.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub async fn writable_mut(&mut self) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        self.ready_mut(Interest::WRITABLE).await
    }

    /// Polls for something to read. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        let readiness = ready!(self.poll_wait(cx, Interest::READABLE))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { fd: self, readiness }))
    }

    /// The same, for operations that need the owner exclusively.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub fn poll_read_ready_mut(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'_, T>>> {
        let readiness = ready!(self.poll_wait(cx, Interest::READABLE))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard { fd: self, readiness }))
    }

    /// Polls for room to write. Keeps the waker of the last caller only.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        let readiness = ready!(self.poll_wait(cx, Interest::WRITABLE))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { fd: self, readiness }))
    }

    /// The same, for operations that need the owner exclusively.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub fn poll_write_ready_mut(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'_, T>>> {
        let readiness = ready!(self.poll_wait(cx, Interest::WRITABLE))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard { fd: self, readiness }))
    }

    /// Makes one attempt, unless the object is known not to be ready.
    ///
    /// # Errors
    /// Those of `op`; `WouldBlock` also without a call of it.
    pub fn try_io<R>(&self, interest: Interest, op: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.check(interest)?;
        self.io.try_once(interest, op)
    }

    /// Makes the attempt again and again, after a wait each time that it would block.
    ///
    /// `op` must be a system call on this object that answers `WouldBlock` when there is nothing to do, or the task may
    /// sleep for ever. Interrupted calls are made again.
    ///
    /// # Cancellation
    /// Nothing is lost: an `op` that succeeded ends the wait at once.
    ///
    /// # Errors
    /// Those of `op`, except `WouldBlock`, and those of [`ready`](Self::ready).
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.check(interest)?;
        async_io(&self.io, interest, op).await
    }

    async fn wait(&self, interest: Interest) -> io::Result<Readiness> {
        self.check(interest)?;
        self.io.ready(interest).await
    }

    fn poll_wait(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Readiness>> {
        self.check(interest)?;
        self.io.poll_ready(cx, interest)
    }

    fn check(&self, interest: Interest) -> io::Result<()> {
        match interest.remove(self.interest) {
            None => Ok(()),
            Some(other) => {
                let message = format!("waits for {other:?}, made for {:?}", self.interest);
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))
            }
        }
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", self.get_ref()).finish_non_exhaustive()
    }
}

/// The object was ready a moment ago; made by [`AsyncFd::ready`] and its kin.
///
/// Dropping the guard leaves the object marked as ready, so that the next wait ends at once.
#[must_use = "without `try_io` or `clear_ready` the next wait ends at once"]
pub struct AsyncFdReadyGuard<'a, T: AsFd> {
    fd: &'a AsyncFd<T>,
    readiness: Readiness,
}

/// The same with exclusive access; made by [`AsyncFd::ready_mut`] and its kin.
#[must_use = "without `try_io` or `clear_ready` the next wait ends at once"]
pub struct AsyncFdReadyMutGuard<'a, T: AsFd> {
    fd: &'a mut AsyncFd<T>,
    readiness: Readiness,
}

/// The operation would have blocked, and the object is marked as not ready.
#[derive(Debug)]
pub struct TryIoError(());

impl fmt::Display for TryIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation would block")
    }
}

impl Error for TryIoError {}

/// What both guards have.
macro_rules! guard {
    ($guard:ident, $receiver:ty) => {
        impl<'a, T: AsFd> $guard<'a, T> {
            /// What the object is ready for.
            pub fn ready(&self) -> Ready {
                self.readiness.ready
            }

            /// Marks the object as not ready: the next wait waits for an event.
            ///
            /// After a wait for both directions it is not known of which one that is: an end of either stays, and ends the next
            /// wait for both. Wait for one direction to sleep until that is ready.
            ///
            /// Only right after an operation that would have blocked, or a wait may last for ever.
            pub fn clear_ready(&mut self) {
                self.clear(self.readiness.ready);
            }

            /// The same for some of what it is ready for.
            pub fn clear_ready_matching(&mut self, ready: Ready) {
                self.clear(self.readiness.ready & ready);
            }

            /// Leaves the object marked as ready, which it is without this too.
            pub fn retain_ready(&mut self) {}

            /// Makes one attempt. If it would block the object is marked as not ready, and the caller should wait again.
            ///
            /// # Errors
            /// [`TryIoError`] if it would block. Any other error of `op` is inside the `Ok`.
            pub fn try_io<R>(
                &mut self,
                op: impl FnOnce($receiver) -> io::Result<R>,
            ) -> Result<io::Result<R>, TryIoError> {
                match op(&mut self.fd) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.clear(self.readiness.ready);
                        Err(TryIoError(()))
                    }
                    result => Ok(result),
                }
            }

            /// The object that is ready.
            pub fn get_ref(&self) -> &AsyncFd<T> {
                &self.fd
            }

            /// The owner of the descriptor that is ready.
            pub fn get_inner(&self) -> &T {
                self.fd.get_ref()
            }

            fn clear(&mut self, ready: Ready) {
                self.fd.io.clear_ready(Readiness { ready, ..self.readiness });
                self.readiness.ready = self.readiness.ready - ready;
            }
        }

        impl<T: AsFd + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($guard))
                    .field("fd", &self.fd)
                    .field("ready", &self.readiness.ready)
                    .finish()
            }
        }
    };
}

guard!(AsyncFdReadyGuard, &AsyncFd<T>);
guard!(AsyncFdReadyMutGuard, &mut AsyncFd<T>);

impl<T: AsFd> AsyncFdReadyMutGuard<'_, T> {
    /// The object that is ready.
    pub fn get_mut(&mut self) -> &mut AsyncFd<T> {
        self.fd
    }

    /// The owner of the descriptor that is ready.
    pub fn get_inner_mut(&mut self) -> &mut T {
        self.fd.get_mut()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<AsyncFd<std::fs::File>>();
};
