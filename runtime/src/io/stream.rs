//! Connected sockets that carry bytes: receive and send, by polling, by awaiting and without waiting.
//!
//! Everything here takes a shared reference: the kernel orders the callers. Sending never raises SIGPIPE.

#[cfg(any(feature = "futures-io", feature = "tokio-io", feature = "hyper"))]
pub(crate) mod poll;

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use rustix::buffer::{Buffer, spare_capacity};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, recvmsg, send, sendmsg,
    shutdown,
};
use smallvec::SmallVec;

use super::evented::{Direction, Evented};

/// The kernel refuses longer lists (`IOV_MAX` on every system that we know).
const MOST_SLICES: usize = 1024;

/// A read into a vector asks for at least so much.
const CHUNK: usize = 8 * 1024;

#[cfg(not(target_vendor = "apple"))]
pub(crate) const QUIET: SendFlags = SendFlags::NOSIGNAL;
/// Here it is an option of the socket, which is set when it is made.
#[cfg(target_vendor = "apple")]
pub(crate) const QUIET: SendFlags = SendFlags::empty();

/// A connected socket, or a half of one.
pub(crate) trait ByteStream {
    /// The socket as std knows it.
    type Io: AsFd;

    /// A read that fills less than its buffer has emptied the kernel's queue.
    const SHORT_READ_DRAINS: bool;

    /// The socket.
    fn evented(&self) -> &Evented<Self::Io>;
}

impl<S: ByteStream> ByteStream for &S {
    type Io = S::Io;
    const SHORT_READ_DRAINS: bool = S::SHORT_READ_DRAINS;

    fn evented(&self) -> &Evented<S::Io> {
        S::evented(self)
    }
}

// --- receiving ---

pub(crate) async fn read<S: ByteStream>(stream: &S, buf: &mut [u8]) -> io::Result<usize> {
    let len = buf.len();
    recv_async(stream, len, |io| receive(io, &mut *buf, RecvFlags::empty())).await
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
        let read = |io: &S::Io| receive(io, spare_capacity(buf), RecvFlags::empty());
        if recv_async(stream, room, read).await? == 0 {
            return Ok(buf.len() - begin);
        }
    }
}

pub(crate) async fn peek<S: ByteStream>(stream: &S, buf: &mut [u8]) -> io::Result<usize> {
    // Never a transfer: what was seen is still there.
    stream.evented().io(Direction::Read, |io| receive(io, &mut *buf, RecvFlags::PEEK)).await
}

pub(crate) fn poll_peek<S: ByteStream>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    stream.evented().poll_io(cx, Direction::Read, |io| receive(io, &mut *buf, RecvFlags::PEEK))
}

pub(crate) fn try_read<S: ByteStream>(stream: &S, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    stream.evented().try_io(Direction::Read, |io| receive(io, &mut *buf, RecvFlags::empty()))
}

pub(crate) fn try_read_vectored<S: ByteStream>(stream: &S, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let most = bufs.len().min(MOST_SLICES);
    if bufs[..most].iter().all(|buf| buf.is_empty()) {
        return Ok(0);
    }
    stream.evented().try_io(Direction::Read, |io| {
        let mut control = RecvAncillaryBuffer::default();
        Ok(recvmsg(io, &mut bufs[..most], &mut control, RecvFlags::empty())?.bytes)
    })
}

fn receive<T: AsFd>(io: &T, buf: impl Buffer<u8>, flags: RecvFlags) -> io::Result<usize> {
    let (_, count) = recv(io, buf, flags)?;
    Ok(count)
}

// --- sending ---

pub(crate) async fn write<S: ByteStream>(stream: &S, buf: &[u8]) -> io::Result<usize> {
    if buf.is_empty() {
        return Ok(0);
    }
    stream.evented().transfer(Direction::Write, buf.len(), |io| Ok(send(io, buf, QUIET)?)).await
}

pub(crate) async fn write_vectored<S: ByteStream>(stream: &S, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let (bufs, len) = cut(bufs);
    if len == 0 {
        return Ok(0);
    }
    stream.evented().transfer(Direction::Write, len, |io| gather(io, bufs)).await
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
    stream.evented().try_io(Direction::Write, |io| Ok(send(io, buf, QUIET)?))
}

pub(crate) fn try_write_vectored<S: ByteStream>(stream: &S, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let (bufs, len) = cut(bufs);
    if len == 0 {
        return Ok(0);
    }
    stream.evented().try_io(Direction::Write, |io| gather(io, bufs))
}

/// As many slices as one call takes, and how much they hold.
fn cut<'a, 'b>(bufs: &'a [IoSlice<'b>]) -> (&'a [IoSlice<'b>], usize) {
    let bufs = &bufs[..bufs.len().min(MOST_SLICES)];
    (bufs, bufs.iter().map(|buf| buf.len()).sum())
}

/// As many bytes are copied in less time than the kernel takes to read a list of buffers: the head of a response and a
/// short body, say.
const FLAT: usize = 1024;

fn gather<T: AsFd>(io: &T, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut filled = bufs.iter().filter(|buf| !buf.is_empty());
    if let (Some(one), None) = (filled.next(), filled.next()) {
        return Ok(send(io, one, QUIET)?);
    }
    if bufs.iter().map(|buf| buf.len()).sum::<usize>() > FLAT {
        return Ok(sendmsg(io, bufs, &mut SendAncillaryBuffer::default(), QUIET)?);
    }
    let mut flat = SmallVec::<[u8; FLAT]>::new();
    bufs.iter().for_each(|buf| flat.extend_from_slice(buf));
    Ok(send(io, &flat, QUIET)?)
}

/// Says to the other side that nothing more will come. That it is gone already is no error.
pub(crate) fn shutdown_write<S: ByteStream>(stream: &S) -> io::Result<()> {
    match shutdown(stream.evented().get_ref(), Shutdown::Write) {
        Err(rustix::io::Errno::NOTCONN) => Ok(()),
        result => Ok(result?),
    }
}
