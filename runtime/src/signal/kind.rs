//! Which signal.

use std::ffi::c_int;

/// A kind of signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(c_int);

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $number:ident;)*) => {
        impl SignalKind {
            $($(#[doc = $doc])*
            #[must_use]
            pub const fn $name() -> Self {
                SignalKind(libc::$number)
            })*
        }
    };
}

kinds! {
    /// `SIGALRM`: a timer of the system has run out.
    alarm = SIGALRM;
    /// `SIGCHLD`: a child process has changed its state.
    child = SIGCHLD;
    /// `SIGHUP`: the terminal is gone; to servers, read your configuration again.
    hangup = SIGHUP;
    /// `SIGINT`: Ctrl-C.
    interrupt = SIGINT;
    /// `SIGIO`: a descriptor is ready.
    io = SIGIO;
    /// `SIGPIPE`: a write that nobody will read.
    pipe = SIGPIPE;
    /// `SIGQUIT`: Ctrl-\.
    quit = SIGQUIT;
    /// `SIGTERM`: please end.
    terminate = SIGTERM;
    /// `SIGUSR1`.
    user_defined1 = SIGUSR1;
    /// `SIGUSR2`.
    user_defined2 = SIGUSR2;
    /// `SIGWINCH`: the terminal has another size.
    window_change = SIGWINCH;
}

impl SignalKind {
    /// The signal of that number.
    #[must_use]
    pub const fn from_raw(number: c_int) -> Self {
        SignalKind(number)
    }

    /// What a shell makes of a program that the signal ended.
    #[cfg(feature = "macros")]
    pub(crate) const fn exit_code(self) -> c_int {
        128 + self.0
    }

    /// Its number.
    #[must_use]
    pub const fn as_raw_value(self) -> c_int {
        self.0
    }
}
