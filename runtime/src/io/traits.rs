//! The traits of futures-io, tokio-io and hyper on the crate's streams: one macro for each family, over
//! [`ByteStream`](super::stream::ByteStream).
//!
//! Reads go straight into the caller's memory, which need not be initialised. Writes may be vectored, and say so.
//! `flush` does nothing, for sockets and pipes keep nothing back; `close` and `shutdown` end the writing half, but not a
//! pipe, which only a drop ends.

#![cfg_attr(
    any(feature = "tokio-io", feature = "hyper"),
    expect(unsafe_code, reason = "the traits hand out memory that is not initialised")
)]

#[cfg(any(feature = "tokio-io", feature = "hyper"))]
use std::io;
#[cfg(any(feature = "tokio-io", feature = "hyper"))]
use std::mem::MaybeUninit;
#[cfg(any(feature = "tokio-io", feature = "hyper"))]
use std::task::{Context, Poll, ready};

#[cfg(any(feature = "tokio-io", feature = "hyper"))]
use super::stream::{ByteStream, poll::poll_recv};

/// Receives into the unfilled part of `buf`.
#[cfg(feature = "tokio-io")]
pub(crate) fn poll_fill<S: ByteStream>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut tokio::io::ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_recv` only writes initialised bytes to the slice.
    let room = unsafe { buf.unfilled_mut() };
    let len = room.len();
    let count = ready!(poll_recv::<_, [MaybeUninit<u8>]>(stream, cx, room, len))?;
    // SAFETY: the kernel has written the first `count` bytes of the slice.
    unsafe { buf.assume_init(count) };
    buf.advance(count);
    Poll::Ready(Ok(()))
}

/// Receives into the rest of hyper's buffer.
#[cfg(feature = "hyper")]
pub(crate) fn poll_fill_hyper<S: ByteStream>(
    stream: &S,
    cx: &mut Context<'_>,
    mut buf: hyper::rt::ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: `poll_recv` only writes initialised bytes to the slice.
    let room = unsafe { buf.as_mut() };
    let len = room.len();
    let count = ready!(poll_recv::<_, [MaybeUninit<u8>]>(stream, cx, room, len))?;
    // SAFETY: the kernel has written the first `count` bytes of the slice.
    unsafe { buf.advance(count) };
    Poll::Ready(Ok(()))
}

/// `futures_io::AsyncRead` for byte streams.
#[cfg(feature = "futures-io")]
macro_rules! futures_io_read {
    ($($stream:ty),* $(,)?) => {$(
        impl futures_io::AsyncRead for $stream {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let len = buf.len();
                crate::io::stream::poll::poll_recv::<_, [u8]>(&*self, cx, buf, len)
            }
        }
    )*};
}

/// `futures_io::AsyncWrite` for byte streams.
#[cfg(feature = "futures-io")]
macro_rules! futures_io_write {
    ($($stream:ty),* $(,)?) => {$(
        impl futures_io::AsyncWrite for $stream {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                crate::io::stream::poll::poll_send(&*self, cx, buf)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                crate::io::stream::poll::poll_send_vectored(&*self, cx, bufs)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(crate::io::stream::shutdown_write(&*self))
            }
        }
    )*};
}

/// `tokio::io::AsyncRead` for byte streams.
#[cfg(feature = "tokio-io")]
macro_rules! tokio_io_read {
    ($($stream:ty),* $(,)?) => {$(
        impl tokio::io::AsyncRead for $stream {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                crate::io::traits::poll_fill(&*self, cx, buf)
            }
        }
    )*};
}

/// The writing trait of one family, whose names are tokio's: `tokio::io::AsyncWrite` or `hyper::rt::Write`.
#[cfg(any(feature = "tokio-io", feature = "hyper"))]
macro_rules! vectored_write {
    ($family:path: $($stream:ty),* $(,)?) => {$(
        impl $family for $stream {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                crate::io::stream::poll::poll_send(&*self, cx, buf)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                crate::io::stream::poll::poll_send_vectored(&*self, cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(crate::io::stream::shutdown_write(&*self))
            }
        }
    )*};
}

/// `hyper::rt::Read` for byte streams.
#[cfg(feature = "hyper")]
macro_rules! hyper_read {
    ($($stream:ty),* $(,)?) => {$(
        impl hyper::rt::Read for $stream {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: hyper::rt::ReadBufCursor<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                crate::io::traits::poll_fill_hyper(&*self, cx, buf)
            }
        }
    )*};
}

#[cfg(feature = "futures-io")]
pub(crate) use {futures_io_read, futures_io_write};

#[cfg(feature = "hyper")]
pub(crate) use hyper_read;

#[cfg(feature = "tokio-io")]
pub(crate) use tokio_io_read;

#[cfg(any(feature = "tokio-io", feature = "hyper"))]
pub(crate) use vectored_write;
