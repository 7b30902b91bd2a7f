//! Standard input: one thread for the process reads when somebody asks, into a buffer that all readers share.
//!
//! # Protocol
//! A reader that finds nothing leaves its waker and asks. The thread sleeps until somebody has asked, reads once without
//! the lock, leaves what it got, and wakes everybody who waits; who comes too late asks again. So the thread never reads
//! ahead of a question, and what a cancelled reader asked for is there for the next one.
//!
//! # After a fork
//! The child has no such thread and begins anew; what its parent has not yet given out stays the parent's. The lost thread
//! may have been in std's reading, whose lock is its own for ever then: the child reads the descriptor itself.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::thread;

use crate::coop;
use crate::driver::wake;
use crate::error::drop_quietly;
use crate::fork;
use crate::loom::lock::{Condvar, Mutex};

/// As much as std's own buffer takes.
const CHUNK: usize = 8 * 1024;

static INPUT: Input = Input { state: Mutex::new(State::new()), asked: Condvar::new() };

struct Input {
    state: Mutex<State>,
    asked: Condvar,
}

struct State {
    started: bool,
    /// Not through std.
    bare: bool,
    asked: bool,
    buf: Vec<u8>,
    begin: usize,
    /// So much of the rest has no line's end in it.
    scanned: usize,
    /// How the last read ended, if not with data.
    outcome: Option<io::Result<()>>,
    /// Of each [`Wait`].
    wakers: BTreeMap<u64, Waker>,
}

impl State {
    const fn new() -> Self {
        State {
            started: false,
            bare: false,
            asked: false,
            buf: Vec::new(),
            begin: 0,
            scanned: 0,
            outcome: None,
            wakers: BTreeMap::new(),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buf[self.begin..]
    }

    /// Behind what is left: what was consumed goes, and its room is used again.
    fn append(&mut self, bytes: &[u8]) {
        self.buf.drain(..self.begin);
        self.begin = 0;
        self.buf.extend_from_slice(bytes);
    }

    fn consume(&mut self, count: usize) {
        self.begin += count;
        self.scanned = 0;
    }

    /// The length of the first line with its end, or of all there is if nothing comes after it.
    fn line(&mut self) -> Option<usize> {
        let rest = self.rest();
        if let Some(index) = rest[self.scanned..].iter().position(|byte| *byte == b'\n') {
            return Some(self.scanned + index + 1);
        }
        let len = rest.len();
        self.scanned = len;
        (self.outcome.is_some() && len > 0).then_some(len)
    }
}

/// The process's standard input; made by [`stdin`].
///
/// All handles read from one buffer, each byte goes to one of them. Nothing is read before somebody asks. The end of the
/// input is a read of 0 bytes; what comes after that, as on a terminal, can be read too.
///
/// A thread of its own makes the calls, because they cannot be interrupted; the end of the process does not wait for it.
///
/// # Cancellation
/// Nothing is lost: what was asked for stays for the next reader.
#[derive(Debug)]
pub struct Stdin(
    #[cfg_attr(
        not(any(feature = "futures-io", feature = "tokio-io")),
        expect(dead_code, reason = "the traits poll with it")
    )]
    pub(super) Wait,
);

/// The process's standard input.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let mut name = String::new();
/// runtime::io::stdin().read_line(&mut name).await?;
/// println!("hello, {}", name.trim_end());
/// # Ok(()) }) }
/// ```
pub fn stdin() -> Stdin {
    Stdin(Wait::new())
}

impl Stdin {
    /// Reads what there is, at least one byte unless the input has ended.
    ///
    /// # Errors
    /// Those of the system, also if it refuses the thread.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut wait = Wait::new();
        poll_fn(|cx| wait.poll_take(cx, buf.len(), |bytes| buf[..bytes.len()].copy_from_slice(bytes))).await
    }

    /// Appends the next line with its end to `line`; 0 if the input has ended. The last line may have no end.
    ///
    /// # Errors
    /// As for [`read`](Self::read); `InvalidData` if the line is not UTF-8, which is then skipped.
    pub async fn read_line(&self, line: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        let mut wait = Wait::new();
        let count =
            poll_fn(|cx| wait.poll_next(cx, State::line, |next| bytes.extend_from_slice(next))).await?;
        let text =
            std::str::from_utf8(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        line.push_str(text);
        Ok(count)
    }

    /// Appends everything up to the end of the input to `buf`.
    ///
    /// # Cancellation
    /// What was read until then is in `buf`.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_to_end(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let begin = buf.len();
        let mut wait = Wait::new();
        while poll_fn(|cx| wait.poll_take(cx, usize::MAX, |bytes| buf.extend_from_slice(bytes))).await? > 0 {}
        Ok(buf.len() - begin)
    }
}

/// A wait for input: it has one waker there, however often it is polled, and takes it along when it is given up.
#[derive(Debug)]
pub(super) struct Wait {
    key: u64,
    waits: bool,
}

impl Wait {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // ORDERING: Relaxed, all that counts is that the numbers differ.
        Wait { key: NEXT.fetch_add(1, Ordering::Relaxed), waits: false }
    }

    /// Hands at most `most` bytes to `take`.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let some = |state: &mut State| match state.rest().len() {
            0 => None,
            len => Some(len.min(most)),
        };
        if most == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_next(cx, some, take)
    }

    /// Hands as many bytes to `take` as `find` says, or asks for more if it says nothing.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        find: impl Fn(&mut State) -> Option<usize>,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let unit = ready!(coop::poll_proceed(cx));
        // Before it can be said that there is a thread.
        fork::watch(fork::Who::StandardInput, forget_parent);
        // Made before the lock is taken: a waker is the caller's code.
        let waker = cx.waker().clone();
        let mut state = INPUT.state.lock();
        if let Some(count) = find(&mut state) {
            take(&state.rest()[..count]);
            state.consume(count);
            drop(state);
            unit.made_progress();
            return Poll::Ready(Ok(count));
        }
        if let Some(outcome) = state.outcome.take() {
            drop(state);
            unit.made_progress();
            return Poll::Ready(outcome.map(|()| 0));
        }
        state.asked = true;
        let spare = state.wakers.insert(self.key, waker);
        self.waits = true;
        let start = !std::mem::replace(&mut state.started, true);
        drop(state);
        drop_quietly(spare);
        INPUT.asked.notify_all();
        if start {
            start_thread()?;
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.waits {
            let waker = INPUT.state.lock().wakers.remove(&self.key);
            drop_quietly(waker);
        }
    }
}

/// In a child of a process that had the thread, or was about to.
fn forget_parent() {
    INPUT.state.renew(State { bare: true, ..State::new() });
}

fn start_thread() -> io::Result<()> {
    let started = thread::Builder::new().name("stdin".to_owned()).spawn(serve);
    let Err(error) = started else { return Ok(()) };
    let wakers = {
        let mut state = INPUT.state.lock();
        state.started = false;
        std::mem::take(&mut state.wakers)
    };
    // Whoever else waits finds the error by an attempt of its own.
    wakers.into_values().for_each(wake);
    Err(error)
}

/// The life of the thread: one read for each time that somebody asks.
fn serve() {
    let mut chunk = vec![0; CHUNK];
    loop {
        let mut state = INPUT.state.lock();
        while !state.asked {
            state = INPUT.asked.wait(state);
        }
        let bare = state.bare;
        drop(state);
        let read = loop {
            let read = if bare { read_bare(&mut chunk) } else { io::stdin().read(&mut chunk) };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let mut state = INPUT.state.lock();
        match read {
            Ok(0) => state.outcome = Some(Ok(())),
            Ok(count) => state.append(&chunk[..count]),
            Err(error) => state.outcome = Some(Err(error)),
        }
        state.asked = false;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        // Another executor's may panic; the other readers need this thread.
        wakers.into_values().for_each(wake);
    }
}

fn read_bare(buf: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(rustix::stdio::stdin(), buf)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_consumed_takes_no_room() {
        let line: Vec<u8> = [vec![b'x'; CHUNK], vec![b'\n']].concat();
        let input = line.repeat(100);
        let (mut state, mut lines) = (State::new(), 0);
        for chunk in input.chunks(CHUNK) {
            state.append(chunk);
            while let Some(count) = state.line() {
                assert_eq!(state.rest()[..count], line);
                state.consume(count);
                lines += 1;
            }
            assert!(state.buf.len() <= line.len() + CHUNK);
        }
        assert_eq!(lines, 100);
    }
}
