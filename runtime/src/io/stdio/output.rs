//! Standard output and error: each write is a job on the blocking pool, one at a time for each handle.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::cell::Task;
use crate::handle::Handle;

/// A handle keeps at most so much back, and one job writes no more.
const MOST: usize = 64 * 1024;

/// One of the two, with what its last write does.
pub(super) struct Output {
    target: Target,
    state: State,
}

#[derive(Clone, Copy)]
enum Target {
    Stdout,
    Stderr,
}

enum State {
    /// An empty buffer.
    Idle(Vec<u8>),
    Writing(Task<(io::Result<()>, Vec<u8>)>),
}

impl Output {
    fn new(target: Target) -> Self {
        Output { target, state: State::Idle(Vec::new()) }
    }

    /// Starts to write as much of `buf` as one job takes, after the job before has ended.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut bytes = ready!(self.poll_idle(cx))?;
        let count = buf.len().min(MOST);
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        bytes.extend_from_slice(&buf[..count]);
        let (target, runtime) = (self.target, Handle::current());
        let pool = runtime.pool().clone();
        let job = move || {
            let result = pool.loosely(|| write(target, &bytes));
            bytes.clear();
            (result, bytes)
        };
        self.state = State::Writing(runtime.spawn_owed(job));
        Poll::Ready(Ok(count))
    }

    /// Waits until everything was given to the system.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let buf = ready!(self.poll_idle(cx))?;
        self.state = State::Idle(buf);
        Poll::Ready(Ok(()))
    }

    /// Waits until no job runs; the error is that of the last one.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        match &mut self.state {
            State::Idle(buf) => Poll::Ready(Ok(std::mem::take(buf))),
            State::Writing(task) => {
                let ended = ready!(Pin::new(task).poll(cx));
                self.state = State::Idle(Vec::new());
                let (result, buf) = ended?;
                Poll::Ready(result.map(|()| buf))
            }
        }
    }

    async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write(cx, buf)).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    async fn write_all(&mut self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let count = self.write(buf).await?;
            buf = &buf[count..];
        }
        self.flush().await
    }
}

fn write(target: Target, bytes: &[u8]) -> io::Result<()> {
    match target {
        Target::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes)?;
            stdout.flush()
        }
        Target::Stderr => io::stderr().lock().write_all(bytes),
    }
}

/// The process's standard output; made by [`stdout`].
///
/// [`write`](Self::write) and the `poll_write` of the traits hand the bytes to a thread of the blocking pool and do not
/// wait for it: an error shows at the next call. After [`flush`](Self::flush) the system has everything.
/// [`write_all`](Self::write_all) flushes. The end of a runtime lets a write that was not flushed begin and waits for it, for a
/// tenth of a second where nobody takes it, after the grace if it has one. An end that waits for nothing (inside async code, or by
/// `shutdown_background`) does not wait for that either, and the default runtime never ends: there only a flush is certain.
///
/// What one handle writes comes out in order. Pieces of up to 64 KiB come out whole, also between those of other handles
/// and of `println!`.
///
/// # Cancellation
/// A cancelled write is either written or not begun; a cancelled `write_all` may be written in part.
pub struct Stdout(pub(super) Output);

/// The process's standard error; made by [`stderr`].
///
/// It behaves as [`Stdout`] does: nothing is certain before a flush.
pub struct Stderr(pub(super) Output);

/// The process's standard output.
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// runtime::io::stdout().write_all(b"hello\n").await?;
/// # Ok(()) }) }
/// ```
pub fn stdout() -> Stdout {
    Stdout(Output::new(Target::Stdout))
}

/// The process's standard error.
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// runtime::io::stderr().write_all(b"hello\n").await?;
/// # Ok(()) }) }
/// ```
pub fn stderr() -> Stderr {
    Stderr(Output::new(Target::Stderr))
}

macro_rules! inherent {
    ($($handle:ident),*) => {$(
        impl $handle {
            /// Hands a piece of `buf` to the blocking pool, after the piece before was written; its length.
            ///
            /// # Errors
            /// That of the piece before; if no thread could be had, or the runtime was shut down.
            pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.0.write(buf).await
            }

            /// Writes all of `buf` and flushes.
            ///
            /// # Errors
            /// The first one of any piece.
            pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.0.write_all(buf).await
            }

            /// Waits until the system has everything that was written with this handle.
            ///
            /// # Errors
            /// That of the last piece.
            pub async fn flush(&mut self) -> io::Result<()> {
                self.0.flush().await
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle)).finish_non_exhaustive()
            }
        }
    )*};
}

inherent!(Stdout, Stderr);
