//! Connected sockets and pipes, which carry bytes: receive and send, by polling, by awaiting and without waiting.
//!
//! Everything here takes a shared reference: the kernel orders the callers.

mod calls;
#[cfg(any(feature = "futures-io", feature = "tokio-io", feature = "hyper"))]
pub(crate) mod poll;

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::{Deref, Range};
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use rustix::buffer::spare_capacity;

use super::evented::{Direction, Evented};

use calls::Calls;
pub(crate) use calls::{Pipes, QUIET, Sockets};

/// The kernel refuses longer lists (`IOV_MAX` on every system that we know).
const MOST_SLICES: usize = 1024;

/// A read into a vector asks for at least so much.
const CHUNK: usize = 8 * 1024;

/// A connected socket, a half of one, or an end of a pipe.
pub(crate) trait ByteStream {
    /// The object as std knows it.
    type Io: AsFd;

    /// How it carries bytes.
    type Calls: Calls;

    /// A read that fills less than its buffer has emptied the kernel's queue.
    const SHORT_READ_DRAINS: bool;

    /// The object.
    fn evented(&self) -> &Evented<Self::Io>;
}

impl<S: ByteStream> ByteStream for &S {
    type Io = S::Io;
    type Calls = S::Calls;
    const SHORT_READ_DRAINS: bool = S::SHORT_READ_DRAINS;

    fn evented(&self) -> &Evented<S::Io> {
        S::evented(self)
    }
}

// --- receiving ---

pub(crate) async fn read<S: ByteStream>(stream: &S, buf: &mut [u8]) -> io::Result<usize> {
    let len = buf.len();
    recv_async(stream, len, |io| S::Calls::receive(io, &mut *buf)).await
}

async fn recv_async<S: ByteStream>(
    stream: &S,
    len: usize,
    op: impl FnMut(&S::Io) -> io::Result<usize>,
) -> io::Result<usize> {
    if len == 0 {
        Ok(0)
    } else if S::SHORT_READ_DRAINS {
        stream.evented().transfer(Direction::Read, len, op).await
    } else {
        stream.evented().io(Direction::Read, op).await
    }
}

pub(crate) async fn read_exact<S: ByteStream>(stream: &S, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        match read(stream, buf).await? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended too early")),
            n => buf = &mut buf[n..],
        }
    }
    Ok(())
}

pub(crate) async fn read_to_end<S: ByteStream>(stream: &S, buf: &mut Vec<u8>) -> io::Result<usize> {
    let begin = buf.len();
    loop {
        buf.reserve(CHUNK);
        let room = buf.capacity() - buf.len();
        let read = |io: &S::Io| S::Calls::receive(io, spare_capacity(buf));
        if recv_async(stream, room, read).await? == 0 {
            return Ok(buf.len() - begin);
        }
    }
}

pub(crate) async fn peek<S: ByteStream<Calls = Sockets>>(stream: &S, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    // Never a transfer: what was seen is still there.
    stream.evented().io(Direction::Read, |io| Sockets::look(io, buf)).await
}

pub(crate) fn poll_peek<S: ByteStream<Calls = Sockets>>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    if buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    stream.evented().poll_io(cx, Direction::Read, |io| Sockets::look(io, buf))
}

pub(crate) fn try_read<S: ByteStream>(stream: &S, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    stream.evented().try_io(Direction::Read, |io| S::Calls::receive(io, &mut *buf))
}

pub(crate) fn try_read_vectored<S: ByteStream>(stream: &S, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let part = part(bufs);
    let bufs = &mut bufs[part];
    if bufs.is_empty() {
        return Ok(0);
    }
    stream.evented().try_io(Direction::Read, |io| S::Calls::scatter(io, bufs))
}

// --- sending ---

pub(crate) async fn write<S: ByteStream>(stream: &S, buf: &[u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    stream.evented().transfer(Direction::Write, full::<S>(buf.len()), |io| S::Calls::send(io, buf)).await
}

pub(crate) async fn write_vectored<S: ByteStream>(stream: &S, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let (bufs, len) = cut(bufs);
    if len == 0 {
        return Ok(0);
    }
    stream.evented().transfer(Direction::Write, full::<S>(len), |io| S::Calls::gather(io, bufs)).await
}

pub(crate) async fn write_all<S: ByteStream>(stream: &S, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        match write(stream, buf).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => buf = &buf[n..],
        }
    }
    Ok(())
}

pub(crate) fn try_write<S: ByteStream>(stream: &S, buf: &[u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    stream.evented().try_io(Direction::Write, |io| S::Calls::send(io, buf))
}

pub(crate) fn try_write_vectored<S: ByteStream>(stream: &S, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let (bufs, len) = cut(bufs);
    if len == 0 {
        return Ok(0);
    }
    stream.evented().try_io(Direction::Write, |io| S::Calls::gather(io, bufs))
}

/// As many slices as one call takes, and how much they hold.
fn cut<'a, 'b>(bufs: &'a [IoSlice<'b>]) -> (&'a [IoSlice<'b>], usize) {
    let bufs = &bufs[part(bufs)];
    (bufs, bufs.iter().map(|buf| buf.len()).sum())
}

/// Which slices one call takes: those from the first that is not empty, because a call that moves nothing looks like an end.
fn part(bufs: &[impl Deref<Target = [u8]>]) -> Range<usize> {
    let begin = bufs.iter().position(|buf| !buf.is_empty()).unwrap_or(bufs.len());
    begin..bufs.len().min(begin + MOST_SLICES)
}

/// A write of fewer bytes than this has left no room; none has where that cannot be said.
fn full<S: ByteStream>(len: usize) -> usize {
    if S::Calls::SHORT_WRITE_FILLS { len } else { 0 }
}

/// Says to the other side that nothing more will come. That it is gone already is no error.
pub(crate) fn shutdown_write<S: ByteStream>(stream: &S) -> io::Result<()> {
    S::Calls::end(stream.evented().get_ref())
}
