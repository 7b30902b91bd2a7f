//! Receiving and sending by polling: what the methods of every family of traits come to.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use rustix::buffer::Buffer;
use rustix::net::{RecvFlags, send};

use super::{ByteStream, Direction, QUIET, cut, gather, receive};

/// Receives into `buf`, which has room for `len` bytes and may not be initialised: the first ones are, as many as the
/// answer says.
pub(crate) fn poll_recv<S: ByteStream, B: ?Sized>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut B,
    len: usize,
) -> Poll<io::Result<usize>>
where
    for<'b> &'b mut B: Buffer<u8>,
{
    if len == 0 {
        return Poll::Ready(Ok(0));
    }
    let op = |io: &S::Io| receive(io, &mut *buf, RecvFlags::empty());
    if S::SHORT_READ_DRAINS {
        stream.evented().poll_transfer(cx, Direction::Read, len, op)
    } else {
        stream.evented().poll_io(cx, Direction::Read, op)
    }
}

pub(crate) fn poll_send<S: ByteStream>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &[u8],
) -> Poll<io::Result<usize>> {
    if buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    stream.evented().poll_transfer(cx, Direction::Write, buf.len(), |io| Ok(send(io, buf, QUIET)?))
}

pub(crate) fn poll_send_vectored<S: ByteStream>(
    stream: &S,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let (bufs, len) = cut(bufs);
    if len == 0 {
        return Poll::Ready(Ok(0));
    }
    stream.evented().poll_transfer(cx, Direction::Write, len, |io| gather(io, bufs))
}
