//! Standard input, output and error, which may be anything and block: a thread and the blocking pool do the calls.
//!
//! They never hold up the end of the process: a read that nobody answers, from a terminal say, is in a thread that the
//! exit does not wait for, and for a write that nobody takes it waits a moment only.

#[cfg(feature = "futures-io")]
mod futures_io;
mod input;
mod output;
#[cfg(feature = "tokio-io")]
mod tokio_io;

pub use input::{Stdin, stdin};
pub use output::{Stderr, Stdout, stderr, stdout};
