//! The methods that streams and their halves share, as macros: written once, and found on each type without a trait.
//!
//! They stand inside an `impl` block of a type that is a [`ByteStream`](crate::io::stream::ByteStream).

/// `read` and its kin.
macro_rules! read_methods {
    () => {
        /// Reads what there is, and waits only if there is nothing; 0 if the other side has ended its writing.
        ///
        /// Any number of tasks may read at a time; each byte goes to one of them.
        ///
        /// # Cancellation
        /// Nothing is lost: what was not given out stays in the kernel.
        ///
        /// # Errors
        /// Those of the system; if the runtime that watches the object was shut down.
        pub async fn read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            crate::io::stream::read(self, buf).await
        }

        /// Fills all of `buf`.
        ///
        /// # Cancellation
        /// What was read until then is in `buf`, and nobody knows how much it is.
        ///
        /// # Errors
        /// `UnexpectedEof` if the stream ends before; those of [`read`](Self::read).
        pub async fn read_exact(&self, buf: &mut [u8]) -> std::io::Result<()> {
            crate::io::stream::read_exact(self, buf).await
        }

        /// Appends everything to `buf` until the other side ends its writing; how much it was.
        ///
        /// # Cancellation
        /// What was read until then is in `buf`.
        ///
        /// # Errors
        /// Those of [`read`](Self::read).
        pub async fn read_to_end(&self, buf: &mut Vec<u8>) -> std::io::Result<usize> {
            crate::io::stream::read_to_end(self, buf).await
        }

        /// Waits until there is something to read or the stream has ended. A hint: another task may be quicker.
        ///
        /// # Cancellation
        /// Nothing is lost.
        ///
        /// # Errors
        /// If the object cannot be watched, or the runtime that watches it was shut down.
        pub async fn readable(&self) -> std::io::Result<()> {
            self.ready(crate::io::Interest::READABLE).await.map(drop)
        }

        /// Reads without waiting.
        ///
        /// # Errors
        /// `WouldBlock` if there is nothing; those of [`read`](Self::read).
        pub fn try_read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            crate::io::stream::try_read(self, buf)
        }

        /// Reads without waiting, into one buffer after the other.
        ///
        /// # Errors
        /// As for [`try_read`](Self::try_read).
        pub fn try_read_vectored(&self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
            crate::io::stream::try_read_vectored(self, bufs)
        }
    };
}

/// `peek` by awaiting and by polling, which only sockets can.
macro_rules! peek_methods {
    () => {
        /// Reads like [`read`](Self::read), and leaves the bytes where they are.
        ///
        /// # Cancellation
        /// Nothing is lost.
        ///
        /// # Errors
        /// Those of [`read`](Self::read).
        pub async fn peek(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            crate::io::stream::peek(self, buf).await
        }

        /// The same by polling. Keeps the waker of the last caller only.
        ///
        /// # Errors
        /// Those of [`read`](Self::read).
        pub fn poll_peek(
            &self,
            cx: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            crate::io::stream::poll_peek(self, cx, buf)
        }
    };
}

/// `write` and its kin.
macro_rules! write_methods {
    () => {
        /// Writes as much as there is room for, and waits only if there is none.
        ///
        /// # Cancellation
        /// A cancelled write has written nothing.
        ///
        /// # Errors
        /// Those of the system: `BrokenPipe` or `ConnectionReset` if nobody can read it; if the runtime that watches the
        /// object was shut down.
        pub async fn write(&self, buf: &[u8]) -> std::io::Result<usize> {
            crate::io::stream::write(self, buf).await
        }

        /// Writes from several buffers in one call; at most 1024 of them.
        ///
        /// # Cancellation
        /// A cancelled write has written nothing.
        ///
        /// # Errors
        /// Those of [`write`](Self::write).
        pub async fn write_vectored(&self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            crate::io::stream::write_vectored(self, bufs).await
        }

        /// Writes all of `buf`. What several tasks write at a time may be mixed.
        ///
        /// # Cancellation
        /// A part of `buf` may have been written, and nobody knows how much it is.
        ///
        /// # Errors
        /// Those of [`write`](Self::write).
        pub async fn write_all(&self, buf: &[u8]) -> std::io::Result<()> {
            crate::io::stream::write_all(self, buf).await
        }

        /// Waits until there is room to write. A hint: another task may be quicker.
        ///
        /// # Cancellation
        /// Nothing is lost.
        ///
        /// # Errors
        /// If the object cannot be watched, or the runtime that watches it was shut down.
        pub async fn writable(&self) -> std::io::Result<()> {
            self.ready(crate::io::Interest::WRITABLE).await.map(drop)
        }

        /// Writes without waiting.
        ///
        /// # Errors
        /// `WouldBlock` if there is no room; those of [`write`](Self::write).
        pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
            crate::io::stream::try_write(self, buf)
        }

        /// Writes from several buffers without waiting.
        ///
        /// # Errors
        /// As for [`try_write`](Self::try_write).
        pub fn try_write_vectored(&self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            crate::io::stream::try_write_vectored(self, bufs)
        }
    };
}

/// `shutdown`, which only sockets can.
macro_rules! shutdown_methods {
    () => {
        /// Ends the writing: the other side reads what is on its way and then the end. Reading goes on.
        ///
        /// Again, or after the other side has gone, it does nothing.
        ///
        /// # Errors
        /// Those of the system.
        pub async fn shutdown(&self) -> std::io::Result<()> {
            crate::io::stream::shutdown_write(self)
        }
    };
}

/// `ready`, for streams and halves.
macro_rules! ready_methods {
    () => {
        crate::net::methods::ready_methods!(|ready| ready);
    };
    // With what more is known of what the system says.
    (|$ready:ident| $told:expr) => {
        /// Waits until the object is ready for any of `interest`. A hint: another task may be quicker.
        ///
        /// # Cancellation
        /// Nothing is lost.
        ///
        /// # Errors
        /// If the object cannot be watched, or the runtime that watches it was shut down.
        pub async fn ready(&self, interest: crate::io::Interest) -> std::io::Result<crate::io::Ready> {
            let $ready = crate::io::stream::ByteStream::evented(self).ready(interest).await?.ready;
            Ok($told)
        }
    };
}

/// `try_io` and `async_io`, for objects whose field is `io`.
macro_rules! io_methods {
    () => {
        /// Makes one system call of the user's own, unless the object is known not to be ready.
        ///
        /// `op` must be a call on this object that does not block.
        ///
        /// # Errors
        /// Those of `op`; `WouldBlock` also without a call of it.
        pub fn try_io<R>(
            &self,
            interest: crate::io::Interest,
            op: impl FnOnce() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            self.io.try_once(interest, |_| op())
        }

        /// Makes a system call of the user's own again and again, after a wait each time that it would block.
        ///
        /// `op` must be a call on this object that answers `WouldBlock` when there is nothing to do, or the task may sleep
        /// for ever.
        ///
        /// # Cancellation
        /// Nothing is lost: an `op` that succeeded ends the wait at once.
        ///
        /// # Errors
        /// Those of `op`, except `WouldBlock`; if the runtime that watches the object was shut down.
        pub async fn async_io<R>(
            &self,
            interest: crate::io::Interest,
            mut op: impl FnMut() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            crate::io::async_io(&self.io, interest, |_| op()).await
        }
    };
}

/// Conversions from std's type and from and to descriptors, and `Debug` with the name of the type, for a field `io`.
macro_rules! socket_impls {
    ($socket:ident, $std:ty) => {
        impl TryFrom<$std> for $socket {
            type Error = std::io::Error;

            /// As `from_std` does.
            fn try_from(socket: $std) -> std::io::Result<Self> {
                $socket::from_std(socket)
            }
        }

        impl TryFrom<std::os::fd::OwnedFd> for $socket {
            type Error = std::io::Error;

            /// As `from_std` does, with the descriptor of such a socket. That it is one shows at the first call.
            fn try_from(fd: std::os::fd::OwnedFd) -> std::io::Result<Self> {
                $socket::from_std(fd.into())
            }
        }

        impl From<$socket> for std::os::fd::OwnedFd {
            /// As `into_std` does: still in non-blocking mode.
            fn from(socket: $socket) -> Self {
                socket.io.into_inner().into()
            }
        }

        impl std::os::fd::AsFd for $socket {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.io.show().as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $socket {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.io.show().as_raw_fd()
            }
        }

        impl std::fmt::Debug for $socket {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.io.get_ref().fmt(f)
            }
        }
    };
}

/// What sockets for messages share, for a field `io`; `$Addr` are their addresses.
macro_rules! message_methods {
    ($Addr:ty) => {
        /// Waits until the socket is ready for any of `interest`. A hint: another task may be quicker.
        ///
        /// # Cancellation
        /// Nothing is lost.
        ///
        /// # Errors
        /// If the socket cannot be watched, or the runtime that watches it was shut down.
        pub async fn ready(&self, interest: crate::io::Interest) -> std::io::Result<crate::io::Ready> {
            Ok(self.io.ready(interest).await?.ready)
        }

        /// Waits until there is a message. A hint: another task may be quicker.
        ///
        /// # Errors
        /// As for [`ready`](Self::ready).
        pub async fn readable(&self) -> std::io::Result<()> {
            self.ready(crate::io::Interest::READABLE).await.map(drop)
        }

        /// Waits until there is room for a message. A hint: another task may be quicker.
        ///
        /// # Errors
        /// As for [`ready`](Self::ready).
        pub async fn writable(&self) -> std::io::Result<()> {
            self.ready(crate::io::Interest::WRITABLE).await.map(drop)
        }

        /// Polls for a message. Keeps the waker of the last caller only.
        ///
        /// # Errors
        /// As for [`ready`](Self::ready).
        pub fn poll_recv_ready(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.io.poll_ready(cx, crate::io::Interest::READABLE).map_ok(drop)
        }

        /// Polls for room. Keeps the waker of the last caller only.
        ///
        /// # Errors
        /// As for [`ready`](Self::ready).
        pub fn poll_send_ready(
            &self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.io.poll_ready(cx, crate::io::Interest::WRITABLE).map_ok(drop)
        }

        /// Sends a message to the address that the socket is connected to.
        ///
        /// # Cancellation
        /// A cancelled send has sent nothing.
        ///
        /// # Errors
        /// Those of the system, also that of an earlier message which came back.
        pub async fn send(&self, buf: &[u8]) -> std::io::Result<usize> {
            self.io.io(crate::io::Direction::Write, |io| send(io, buf)).await
        }

        /// The same by polling. Keeps the waker of the last caller only.
        ///
        /// # Errors
        /// As for [`send`](Self::send).
        pub fn poll_send(
            &self,
            cx: &mut std::task::Context<'_>,
            buf: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            self.io.poll_io(cx, crate::io::Direction::Write, |io| send(io, buf))
        }

        /// The same without waiting.
        ///
        /// # Errors
        /// `WouldBlock` if there is no room; as for [`send`](Self::send).
        pub fn try_send(&self, buf: &[u8]) -> std::io::Result<usize> {
            self.io.try_io(crate::io::Direction::Write, |io| send(io, buf))
        }

        /// Receives a message; what does not fit into `buf` is lost.
        ///
        /// # Cancellation
        /// Nothing is lost.
        ///
        /// # Errors
        /// Those of the system, also that of an earlier message which came back; if the runtime that watches the socket
        /// was shut down.
        pub async fn recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.io(crate::io::Direction::Read, |io| io.recv(buf)).await
        }

        /// The same by polling. Keeps the waker of the last caller only.
        ///
        /// # Errors
        /// As for [`recv`](Self::recv).
        pub fn poll_recv(
            &self,
            cx: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            self.io.poll_io(cx, crate::io::Direction::Read, |io| io.recv(buf))
        }

        /// The same without waiting.
        ///
        /// # Errors
        /// `WouldBlock` if there is no message; as for [`recv`](Self::recv).
        pub fn try_recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.io.try_io(crate::io::Direction::Read, |io| io.recv(buf))
        }

        /// Receives a message and says who sent it; what does not fit into `buf` is lost.
        ///
        /// # Cancellation
        /// Nothing is lost.
        ///
        /// # Errors
        /// As for [`recv`](Self::recv).
        pub async fn recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $Addr)> {
            self.io.io(crate::io::Direction::Read, |io| io.recv_from(buf)).await
        }

        /// The same by polling. Keeps the waker of the last caller only.
        ///
        /// # Errors
        /// As for [`recv`](Self::recv).
        pub fn poll_recv_from(
            &self,
            cx: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<std::io::Result<(usize, $Addr)>> {
            self.io.poll_io(cx, crate::io::Direction::Read, |io| io.recv_from(buf))
        }

        /// The same without waiting.
        ///
        /// # Errors
        /// `WouldBlock` if there is no message; as for [`recv`](Self::recv).
        pub fn try_recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $Addr)> {
            self.io.try_io(crate::io::Direction::Read, |io| io.recv_from(buf))
        }

        /// The address of this side.
        ///
        /// # Errors
        /// Those of the system.
        pub fn local_addr(&self) -> std::io::Result<$Addr> {
            self.io.get_ref().local_addr()
        }

        /// The address that it is connected to.
        ///
        /// # Errors
        /// `NotConnected` if it is not.
        pub fn peer_addr(&self) -> std::io::Result<$Addr> {
            self.io.get_ref().peer_addr()
        }

        /// Takes the error that the system keeps for the socket (`SO_ERROR`).
        ///
        /// # Errors
        /// If the system cannot say.
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            self.io.get_ref().take_error()
        }
    };
}

pub(super) use {
    io_methods, message_methods, peek_methods, read_methods, ready_methods, shutdown_methods, socket_impls,
    write_methods,
};
