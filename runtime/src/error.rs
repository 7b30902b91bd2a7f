//! The one error of tasks, futures, timeouts and pools: cloneable, eight bytes, opaque.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fork::LOST;
use crate::loom::lock::Mutex;

/// What a failure may be made of; anything that converts into it can be an exception.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a task, a future, a timeout or a pool has no value to give.
///
/// Clones are cheap and share everything, the typed exception included ([`downcast_ref`](Self::downcast_ref)).
///
/// ```
/// use runtime::{Error, ErrorKind};
///
/// let error = Error::new("out of paper".parse::<u32>().unwrap_err());
/// assert_eq!(error.kind(), ErrorKind::Exception);
/// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Cause>);

/// The reasons that an [`Error`] tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody set an exception, or an operation failed with an error of its own.
    Exception,
    /// The task or future was cancelled.
    Cancelled,
    /// The [`Promise`](crate::Promise) was dropped before it was set.
    BrokenPromise,
    /// The code that should have given the value panicked.
    Panicked,
    /// A deadline passed first.
    TimedOut,
    /// The runtime was shut down, or was shutting down already, or was lost in a fork.
    Shutdown,
}

enum Cause {
    Exception(BoxError),
    Cancelled,
    BrokenPromise { producer_panicked: bool },
    Panicked(Panic),
    TimedOut,
    Shutdown,
    Lost,
}

/// A caught panic: its text for everybody, its payload for the first who asks.
struct Panic {
    message: String,
    payload: Mutex<Option<Payload>>,
    /// The number of the runtime that the panic happened in, for the report if nobody ever looks; zero for none.
    origin: AtomicU64,
}

/// A panic payload whose own destructor may panic without harm.
struct Payload(Option<Box<dyn Any + Send>>);

impl Drop for Payload {
    fn drop(&mut self) {
        if let Some(payload) = self.0.take() {
            drop_quietly(payload);
        }
    }
}

/// Drops a value of the user's and swallows a panic of its destructor; true if there was one.
pub(crate) fn drop_quietly<T>(value: T) -> bool {
    match catch_unwind(AssertUnwindSafe(|| drop(value))) {
        Ok(()) => false,
        Err(payload) => {
            // The payload of a panicking destructor may panic again when dropped; leaking it ends the chain.
            std::mem::forget(payload);
            true
        }
    }
}

impl Error {
    /// An error that carries `exception`, to be found again with [`downcast_ref`](Self::downcast_ref).
    pub fn new(exception: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error(Arc::new(Cause::Exception(exception.into())))
    }

    pub(crate) fn cancelled() -> Self {
        Error(Arc::new(Cause::Cancelled))
    }

    pub(crate) fn shutdown() -> Self {
        Error(Arc::new(Cause::Shutdown))
    }

    /// The runtime is the parent process's.
    pub(crate) fn lost() -> Self {
        Error(Arc::new(Cause::Lost))
    }

    pub(crate) fn timed_out() -> Self {
        Error(Arc::new(Cause::TimedOut))
    }

    pub(crate) fn broken_promise(producer_panicked: bool) -> Self {
        Error(Arc::new(Cause::BrokenPromise { producer_panicked }))
    }

    /// Takes a caught panic over. The payload is a `&str` for a literal message and a `String` for a formatted one.
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "(a payload that is not a string)".to_owned()
        };
        let payload = Mutex::new(Some(Payload(Some(payload))));
        Error(Arc::new(Cause::Panicked(Panic { message, payload, origin: AtomicU64::new(0) })))
    }

    /// Notes the runtime that a panic happened in.
    pub(crate) fn set_origin(&self, runtime: u64) {
        if let Cause::Panicked(panic) = &*self.0 {
            // ORDERING: Relaxed, before the error is published with the task's output.
            panic.origin.store(runtime, Ordering::Relaxed);
        }
    }

    /// The runtime that a panic happened in, if it is known.
    pub(crate) fn origin(&self) -> Option<u64> {
        match &*self.0 {
            Cause::Panicked(panic) => {
                Some(panic.origin.load(Ordering::Relaxed)).filter(|origin| *origin != 0)
            }
            _ => None,
        }
    }

    /// The reason, for a `match`.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Cause::Exception(_) => ErrorKind::Exception,
            Cause::Cancelled => ErrorKind::Cancelled,
            Cause::BrokenPromise { .. } => ErrorKind::BrokenPromise,
            Cause::Panicked(_) => ErrorKind::Panicked,
            Cause::TimedOut => ErrorKind::TimedOut,
            Cause::Shutdown | Cause::Lost => ErrorKind::Shutdown,
        }
    }

    /// True if the task or future was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// True if the code that should have given the value panicked.
    pub fn is_panic(&self) -> bool {
        self.kind() == ErrorKind::Panicked
    }

    /// True if the promise was dropped before it was set.
    pub fn is_broken_promise(&self) -> bool {
        self.kind() == ErrorKind::BrokenPromise
    }

    /// True if a deadline passed first.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::TimedOut
    }

    /// True if the runtime was shut down.
    pub fn is_shutdown(&self) -> bool {
        self.kind() == ErrorKind::Shutdown
    }

    /// The exception as the type it was set with, if it is one of type `E`.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &*self.0 {
            Cause::Exception(exception) => exception.downcast_ref(),
            _ => None,
        }
    }

    /// The payload of the panic, for [`std::panic::resume_unwind`].
    ///
    /// There is one payload however many clones of the error there are: the first call gets it, a later one gets the
    /// panic's message as a `String`.
    ///
    /// # Errors
    /// Gives the error back if it is not a panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        let Cause::Panicked(panic) = &*self.0 else { return Err(self) };
        let payload = panic.payload.lock().take().and_then(|mut payload| payload.0.take());
        Ok(payload.unwrap_or_else(|| Box::new(panic.message.clone())))
    }

    /// Goes on with the caught panic on this thread, or panics with the error's text if it was none.
    ///
    /// # Panics
    /// Always.
    #[track_caller]
    pub fn resume_unwind(self) -> ! {
        match self.into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Exception(exception) => exception.fmt(f),
            Cause::Cancelled => f.write_str("cancelled"),
            Cause::BrokenPromise { producer_panicked: false } => {
                f.write_str("the promise was dropped before it was set")
            }
            Cause::BrokenPromise { producer_panicked: true } => {
                f.write_str("the promise was dropped before it was set: its producer panicked")
            }
            Cause::Panicked(panic) => write!(f, "task panicked: {}", panic.message),
            Cause::TimedOut => f.write_str("the deadline has passed"),
            Cause::Shutdown => f.write_str("the runtime was shut down"),
            Cause::Lost => f.write_str(LOST),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Exception(exception) => f.debug_tuple("Exception").field(exception).finish(),
            _ => write!(f, "{:?}({:?})", self.kind(), self.to_string()),
        }
    }
}

impl StdError for Error {
    /// The source of the exception: the exception itself is this error's text already.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Cause::Exception(exception) => exception.source(),
            _ => None,
        }
    }
}

/// An exception that is an [`io::Error`] comes out as it went in, or, while clones of the error are alive, with its
/// kind and the error inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Exception => {
                error.downcast_ref::<io::Error>().map_or(io::ErrorKind::Other, io::Error::kind)
            }
            ErrorKind::BrokenPromise => io::ErrorKind::BrokenPipe,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::Cancelled | ErrorKind::Panicked | ErrorKind::Shutdown => io::ErrorKind::Other,
        };
        match Arc::try_unwrap(error.0) {
            Ok(Cause::Exception(exception)) => match exception.downcast::<io::Error>() {
                Ok(io_error) => *io_error,
                Err(exception) => io::Error::new(kind, exception),
            },
            Ok(cause) => io::Error::new(kind, Error(Arc::new(cause))),
            Err(shared) => io::Error::new(kind, Error(shared)),
        }
    }
}

const _: () = {
    const fn shared_everywhere<T: Send + Sync + Clone>() {}
    shared_everywhere::<Error>();
    assert!(size_of::<Error>() == 8 || size_of::<usize>() != 8);
    assert!(size_of::<Result<(), Error>>() == size_of::<usize>());
};

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(f: impl FnOnce() + std::panic::UnwindSafe) -> Error {
        Error::panicked(catch_unwind(f).unwrap_err())
    }

    #[test]
    fn a_literal_and_a_formatted_panic_both_give_their_message() {
        let n = std::hint::black_box(1);
        assert_eq!(caught(|| panic!("boom")).to_string(), "task panicked: boom");
        assert_eq!(caught(move || panic!("boom {n}")).to_string(), "task panicked: boom 1");
    }

    #[test]
    fn the_payload_goes_to_the_first_and_the_message_to_the_rest() {
        let error = caught(|| std::panic::panic_any(17_u8));
        assert_eq!(*error.clone().into_panic().unwrap().downcast::<u8>().unwrap(), 17);
        assert!(error.into_panic().unwrap().is::<String>());
    }

    #[test]
    fn a_payload_whose_destructor_panics_is_dropped_quietly() {
        struct Grudge;
        impl Drop for Grudge {
            fn drop(&mut self) {
                panic!("from the payload's destructor");
            }
        }
        drop(caught(|| std::panic::panic_any(Grudge)));
    }

    #[test]
    fn an_io_error_comes_out_as_it_went_in() {
        let error = Error::new(io::Error::from_raw_os_error(11));
        assert_eq!(io::Error::from(error).raw_os_error(), Some(11));
    }
}
