//! Receiving and sending by polling: what the methods of every family of traits come to.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use rustix::buffer::Buffer;

use super::calls::{Calls, Filled};
use super::{ByteStream, Direction, cut, full};

/// Receives into `buf`, which has room for `len` bytes and may not be initialised: the first ones are, as many as the
/// answer says. The type of `buf` has to be named: the compiler does not infer it.
pub(crate) fn poll_recv<S: ByteStream, B: ?Sized>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut B,
    len: usize,
) -> Poll<io::Result<usize>>
where
    for<'b> &'b mut B: Buffer<u8, Output: Filled>,
{
    if len == 0 {
        return Poll::Ready(Ok(0));
    }
    let op = |io: &S::Io| S::Calls::receive(io, &mut *buf);
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
    stream.evented().poll_transfer(cx, Direction::Write, full::<S>(buf.len()), |io| S::Calls::send(io, buf))
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
    stream.evented().poll_transfer(cx, Direction::Write, full::<S>(len), |io| S::Calls::gather(io, bufs))
}
