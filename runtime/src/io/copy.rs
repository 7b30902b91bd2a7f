//! From one stream to another until the end, in one direction or in both.
//!
//! Over the traits of tokio, because these read into memory that was not cleared and say what a vectored write can do;
//! every stream of this crate has them, and so do the TLS streams that stand on it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::coop;

/// Two pages: a larger one gains little on sockets, and a proxy has two for each connection.
const BUFFER: usize = 8 * 1024;

/// Copies everything that `reader` gives to `writer`, flushes it, and says how much it was.
///
/// What was read is written before more is read, so a slow writer holds the reader back. If the reader has to wait the
/// writer is flushed first. The writer is not shut down. What was interrupted is done again.
///
/// # Cancellation
/// What was read and not yet written is lost.
///
/// # Errors
/// The first one of either side. What was copied until then stays copied.
///
/// ```
/// use runtime::net::unix::UnixStream;
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let (mut reader, client) = UnixStream::pair()?;
/// let (mut writer, server) = UnixStream::pair()?;
/// client.write_all(b"hello").await?;
/// drop(client);
/// assert_eq!(runtime::io::copy(&mut reader, &mut writer).await?, 5);
/// let mut buf = [0; 5];
/// server.read_exact(&mut buf).await?;
/// assert_eq!(&buf, b"hello");
/// # Ok(()) }) }
/// ```
pub async fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut pipe = Pipe::new();
    poll_fn(|cx| pipe.poll(cx, Pin::new(&mut *reader), Pin::new(&mut *writer))).await
}

/// Copies both ways between two streams until both have ended; how much went from `a` to `b`, and from `b` to `a`.
///
/// When one side ends, the writing half of the other is shut down and the opposite direction goes on: a half-close passes
/// through. What was interrupted is done again.
///
/// # Cancellation
/// What was read and not yet written is lost.
///
/// # Errors
/// The first one of either side, which ends both directions. Neither stream is shut down then.
///
/// ```
/// use runtime::net::unix::UnixStream;
///
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let (client, mut a) = UnixStream::pair()?;
/// let (mut b, server) = UnixStream::pair()?;
/// let proxy = runtime::spawn(async move { runtime::io::copy_bidirectional(&mut a, &mut b).await });
///
/// client.write_all(b"question").await?;
/// client.shutdown().await?;
/// let mut question = Vec::new();
/// server.read_to_end(&mut question).await?;
/// server.write_all(b"answer").await?;
/// drop(server);
/// let mut answer = Vec::new();
/// client.read_to_end(&mut answer).await?;
///
/// assert_eq!((&question[..], &answer[..]), (&b"question"[..], &b"answer"[..]));
/// assert_eq!(proxy.await??, (8, 6));
/// # Ok(()) }) }
/// ```
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let (mut there, mut back) = (Way::new(), Way::new());
    let mut back_first = true;
    poll_fn(|cx| {
        // A direction that is always ready spends the whole budget of a poll, so they take turns to go first.
        back_first = !back_first;
        let early =
            if back_first { back.poll(cx, Pin::new(&mut *b), Pin::new(&mut *a))? } else { Poll::Pending };
        let there = there.poll(cx, Pin::new(&mut *a), Pin::new(&mut *b))?;
        let back = if back_first { early } else { back.poll(cx, Pin::new(&mut *b), Pin::new(&mut *a))? };
        match (there, back) {
            (Poll::Ready(there), Poll::Ready(back)) => Poll::Ready(Ok((there, back))),
            _ => Poll::Pending,
        }
    })
    .await
}

/// One direction of a copy: what has been read and waits to be written.
struct Pipe {
    buf: Box<[u8]>,
    begin: usize,
    end: usize,
    copied: u64,
    read_all: bool,
    unflushed: bool,
}

impl Pipe {
    fn new() -> Self {
        let buf = vec![0; BUFFER].into_boxed_slice();
        Pipe { buf, begin: 0, end: 0, copied: 0, read_all: false, unflushed: false }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Pin<&mut R>,
        mut writer: Pin<&mut W>,
    ) -> Poll<io::Result<u64>>
    where
        R: AsyncRead + ?Sized,
        W: AsyncWrite + ?Sized,
    {
        loop {
            // Streams of other crates may charge nothing.
            let unit = ready!(coop::poll_proceed(cx));
            if self.begin == self.end && !self.read_all {
                let read = self.poll_fill(cx, reader.as_mut());
                if read.is_pending() && self.unflushed {
                    ready!(retry(|| writer.as_mut().poll_flush(cx)))?;
                    self.unflushed = false;
                }
                ready!(read)?;
            }
            while self.begin < self.end {
                let written = retry(|| writer.as_mut().poll_write(cx, &self.buf[self.begin..self.end]));
                let count = ready!(written)?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                if count > self.end - self.begin {
                    let more = "the writer says that it has written more than it was given";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, more)));
                }
                self.begin += count;
                self.copied += count as u64;
                self.unflushed = true;
            }
            unit.made_progress();
            if self.read_all {
                ready!(retry(|| writer.as_mut().poll_flush(cx)))?;
                return Poll::Ready(Ok(self.copied));
            }
        }
    }

    /// Reads into the empty buffer.
    fn poll_fill<R: AsyncRead + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Pin<&mut R>,
    ) -> Poll<io::Result<()>> {
        let mut buf = ReadBuf::new(&mut self.buf);
        ready!(retry(|| reader.as_mut().poll_read(cx, &mut buf)))?;
        (self.begin, self.end) = (0, buf.filled().len());
        self.read_all = self.end == 0;
        Poll::Ready(Ok(()))
    }
}

/// Does it again as long as it is interrupted, as the streams of others may be.
fn retry<T>(mut op: impl FnMut() -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    loop {
        match op() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// One direction of a copy in both, with the half-close at its end.
struct Way {
    pipe: Pipe,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Copying,
    ShuttingDown(u64),
    Done(u64),
}

impl Way {
    fn new() -> Self {
        Way { pipe: Pipe::new(), stage: Stage::Copying }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Pin<&mut R>,
        mut writer: Pin<&mut W>,
    ) -> Poll<io::Result<u64>>
    where
        R: AsyncRead + ?Sized,
        W: AsyncWrite + ?Sized,
    {
        loop {
            self.stage = match self.stage {
                Stage::Copying => {
                    Stage::ShuttingDown(ready!(self.pipe.poll(cx, reader.as_mut(), writer.as_mut()))?)
                }
                Stage::ShuttingDown(copied) => {
                    ready!(retry(|| writer.as_mut().poll_shutdown(cx)))?;
                    Stage::Done(copied)
                }
                Stage::Done(copied) => return Poll::Ready(Ok(copied)),
            };
        }
    }
}
