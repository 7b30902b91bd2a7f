//! Signals of the system, as something to await.
//!
//! ```no_run
//! # async fn serve() {}
//! # runtime::block_on(async {
//! let server = runtime::spawn(serve());
//! runtime::signal::ctrl_c().await?;
//! println!("good night");
//! let _ = server.cancel_and_wait().await;
//! # Ok::<_, std::io::Error>(())
//! # });
//! ```
//!
//! Several may listen to one signal, on several runtimes; each hears it. Signals that come before anybody looked are heard
//! as one. As long as the process lives, a signal that somebody has once listened to no longer does what it did by
//! default, such as ending the process, also when nobody listens any more.
//!
//! # How
//! The handler that the system calls writes a byte to a socket of each listener, and does nothing else; the listener
//! waits for that socket as for any other. A socket that is full is as good as one byte more.
//!
//! # After a fork
//! A child hears a signal only if it listens itself, and its parent hears nothing of it. One that nobody listens to does
//! nothing there; in the child of a program with `graceful` it ends the child.

#[cfg(feature = "macros")]
mod asked;
mod kind;
mod register;

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::io::{AsyncFd, Interest};

#[cfg(feature = "macros")]
pub(crate) use asked::Asked;
pub use kind::SignalKind;
pub(crate) use register::Registration;

/// A listener to one kind of signal; from [`signal`].
///
/// Dropping it ends the listening.
#[derive(Debug)]
#[must_use = "a listener that is dropped at once hears nothing"]
pub struct Signal {
    socket: AsyncFd<UnixStream>,
    #[cfg_attr(not(feature = "macros"), expect(dead_code, reason = "it goes with the listener"))]
    registration: Arc<Registration>,
}

/// Begins to listen to a kind of signal. What comes from now on is heard, also if nobody awaits it at that moment.
///
/// ```no_run
/// use runtime::signal::{SignalKind, signal};
///
/// # runtime::block_on(async {
/// let mut hangups = signal(SignalKind::hangup())?;
/// while hangups.recv().await.is_some() {
///     println!("reading the configuration again");
/// }
/// # Ok::<_, std::io::Error>(())
/// # });
/// ```
///
/// # Errors
/// `InvalidInput` if programs must not handle the signal, such as `SIGKILL` or `SIGSEGV`; whatever the system says if it
/// does not know it or has no descriptor left.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    Signal::listen(|socket| Registration::new(kind, socket))
}

/// Waits for `SIGINT`, which Ctrl-C in a terminal sends.
///
/// It listens from its first poll on, and not any more once it is ready or dropped. A Ctrl-C in between two calls in a loop
/// is lost: use [`signal`] there.
///
/// # Errors
/// As [`signal`]; if the socket behind it cannot be watched, or its runtime is shut down before.
pub async fn ctrl_c() -> io::Result<()> {
    let mut signal = signal(SignalKind::interrupt())?;
    std::future::poll_fn(|cx| signal.poll_heard(cx)).await
}

impl Signal {
    fn listen(register: impl FnOnce(UnixStream) -> io::Result<Registration>) -> io::Result<Self> {
        let (ours, handlers) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        handlers.set_nonblocking(true)?;
        let registration = register(handlers)?;
        let socket = AsyncFd::with_interest(ours, Interest::READABLE)?;
        Ok(Signal { socket, registration: Arc::new(registration) })
    }

    /// What the system calls. Who keeps it keeps that up, when nobody listens any more.
    #[cfg(feature = "macros")]
    pub(crate) fn registration(&self) -> Arc<Registration> {
        self.registration.clone()
    }

    /// A listener whose signal ends the process on the spot if it asks for that again.
    #[cfg(feature = "macros")]
    pub(crate) fn ending(kind: SignalKind, asked: Arc<Asked>) -> io::Result<Self> {
        Signal::listen(|socket| Registration::ending(kind, socket, asked))
    }

    /// Waits for the signal. Signals that came since the last call, or since the beginning, are heard as one.
    ///
    /// Always `Some`, for the sake of `while let`, unless the system fails.
    ///
    /// # Cancellation
    /// Dropping it loses nothing.
    pub async fn recv(&mut self) -> Option<()> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) as a poll function.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.poll_heard(cx).map(Result::ok)
    }

    /// The same, with what the system says if it fails.
    pub(crate) fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            let mut heard = false;
            let mut room = [0; 64];
            // Until it is empty: all of them are one.
            let end = loop {
                match { ready.get_inner() }.read(&mut room) {
                    // The handler's end is as old as the listener.
                    Ok(0) => break io::ErrorKind::UnexpectedEof.into(),
                    Ok(_) => heard = true,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break error,
                }
            };
            if end.kind() == io::ErrorKind::WouldBlock {
                ready.clear_ready();
            } else if !heard {
                return Poll::Ready(Err(end));
            }
            if heard {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
