//! The system's calls that carry bytes: those of sockets, which never raise SIGPIPE, and those of pipes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::buffer::Buffer;
use rustix::io::{read, readv, write, writev};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, recvmsg, send, sendmsg,
    shutdown,
};
use smallvec::SmallVec;

#[cfg(not(target_vendor = "apple"))]
pub(crate) const QUIET: SendFlags = SendFlags::NOSIGNAL;
/// Here it is an option of the socket, which is set when it is made.
#[cfg(target_vendor = "apple")]
pub(crate) const QUIET: SendFlags = SendFlags::empty();

/// As many bytes are copied in less time than the kernel takes to read a list of buffers: the head of a response and a
/// short body, say.
const FLAT: usize = 1024;

/// How an object takes bytes and gives them.
pub(crate) trait Calls {
    /// A write that takes less than its buffer has left no room.
    const SHORT_WRITE_FILLS: bool;

    /// Reads into `buf`, from its beginning on.
    fn receive(io: &impl AsFd, buf: impl Buffer<u8, Output: Filled>) -> io::Result<usize>;

    /// Reads into one buffer after the other.
    fn scatter(io: &impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes from `buf`, which is not empty.
    fn send(io: &impl AsFd, buf: &[u8]) -> io::Result<usize>;

    /// Writes from several buffers, of which not all are empty.
    fn gather(io: &impl AsFd, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Says to the other side that nothing more will come, where that can be said before the object is closed.
    fn end(io: &impl AsFd) -> io::Result<()>;
}

/// What a read says of the memory that it was given.
pub(crate) trait Filled {
    /// How many bytes were read.
    fn count(&self) -> usize;
}

impl Filled for usize {
    fn count(&self) -> usize {
        *self
    }
}

impl Filled for (&mut [u8], &mut [MaybeUninit<u8>]) {
    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The calls of connected sockets.
pub(crate) enum Sockets {}

impl Sockets {
    /// Reads and leaves the bytes where they are.
    pub(super) fn look(io: &impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
        let (_, count) = recv(io, buf, RecvFlags::PEEK)?;
        Ok(count)
    }
}

impl Calls for Sockets {
    const SHORT_WRITE_FILLS: bool = true;

    fn receive(io: &impl AsFd, buf: impl Buffer<u8, Output: Filled>) -> io::Result<usize> {
        let (_, count) = recv(io, buf, RecvFlags::empty())?;
        Ok(count)
    }

    fn scatter(io: &impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut control = RecvAncillaryBuffer::default();
        Ok(recvmsg(io, bufs, &mut control, RecvFlags::empty())?.bytes)
    }

    fn send(io: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
        Ok(send(io, buf, QUIET)?)
    }

    fn gather(io: &impl AsFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
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

    /// That the other side is gone already is no error.
    fn end(io: &impl AsFd) -> io::Result<()> {
        match shutdown(io, Shutdown::Write) {
            Err(rustix::io::Errno::NOTCONN) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// The calls of pipes, which raise SIGPIPE where a program does not ignore it, as Rust's do.
pub(crate) enum Pipes {}

impl Calls for Pipes {
    /// Some systems count the room in pages, and others in bytes: the next write finds out.
    const SHORT_WRITE_FILLS: bool = false;

    fn receive(io: &impl AsFd, buf: impl Buffer<u8, Output: Filled>) -> io::Result<usize> {
        Ok(read(io, buf)?.count())
    }

    fn scatter(io: &impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(readv(io, bufs)?)
    }

    fn send(io: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
        Ok(write(io, buf)?)
    }

    fn gather(io: &impl AsFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(writev(io, bufs)?)
    }

    /// Only its close ends a pipe.
    fn end(_: &impl AsFd) -> io::Result<()> {
        Ok(())
    }
}
