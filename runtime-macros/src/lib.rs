//! The attributes `#[runtime::main]` and `#[runtime::test]`, which make an `async fn` an entry point.
//!
//! Use them through the `runtime` crate, which re-exports both with a summary and examples that compile; this
//! crate cannot name `runtime`, so it documents the options only.
//!
//! It depends on nothing, not even on `syn`, so it adds next to nothing to a build: an entry point is so simple a
//! form that a hand-written reader of its tokens is shorter than the glue to a general parser.
//!
//! # Shape
//! ```text
//! #[runtime::main(worker_threads = 4)]    fn main() -> Result<()> {
//! async fn main() -> Result<()> {             use ::runtime::{Builder as __RuntimeBuilder, __private as __runtime};
//!     serve().await                 ==>       async fn __runtime_body() -> Result<()> { serve().await }
//! }                                           __runtime::main(
//!                                                 __RuntimeBuilder::new().worker_threads(4), __runtime_body())
//!                                         }
//! ```
//! `function` cuts the item into its parts, `args` reads the options, `expand` puts both together, `error` says
//! what is wrong with either.
//!
//! # Invariants
//! - I1. The user's body, return type and parentheses keep their spans: what is wrong in the body is reported in
//!   the body, as for any `async fn`.
//! - I2. Tokens of ours have the call site's span and start from an absolute path: no name in scope changes their
//!   meaning, and lints see that the user did not write them.
//! - I3. An error comes with a function of the same name, so that it is the only error of its cause.
//!
//! # Rejected
//! - An `async` block in place of the inner `async fn`: a return type such as `impl Trait` has no place there, a
//!   wrong `?` is reported at the attribute, and only a `return` would tie the block to the declared type.
//! - The user's name for the inner function: a recursive call would reach it instead of the entry point.
//! - Full paths in place of the import: a wrong `crate = ..` would be reported twice.

mod args;
mod error;
mod expand;
mod function;
mod token;

use proc_macro::TokenStream;

/// # Options
/// | option | meaning | default |
/// | --- | --- | --- |
/// | `worker_threads = 4` | how many threads run tasks, at least 1 | `RUNTIME_WORKER_THREADS`, else one a CPU |
/// | `flavor = "current_thread"` | no threads of its own: the calling one runs all tasks | `"multi_thread"` |
/// | `name = "api"` | the name of the runtime | none |
/// | `graceful = "5s"` | how long the body may go on after `SIGINT` or `SIGTERM`: in `ms`, `s` or `m`; feature `signal` | the signal ends the process |
/// | `crate = path` | where the `runtime` crate is, if renamed or re-exported; or `"path"` | `::runtime` |
///
/// Values are literals; for computed ones, and for all other settings, use `Runtime::builder()`.
/// `worker_threads` contradicts `flavor = "current_thread"` and is refused beside it.
///
/// # What it can stand on
/// A free `async fn` without parameters, generics and `where` clause that is not `const`, `unsafe` or `extern`. It
/// may have any visibility, any attributes, any name, and any return type that such a function may have: `Result`,
/// `ExitCode`, `!` and `impl Trait` among them. Anything else is refused with a message that says what to change.
///
/// Once expanded it is a plain `fn`, which can be called from synchronous code.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(args::Attribute::Main, args, item)
}

/// # Options
/// | option | meaning | default |
/// | --- | --- | --- |
/// | `worker_threads = 4` | how many threads run tasks, at least 1 | `RUNTIME_WORKER_THREADS`, else one a CPU |
/// | `flavor = "current_thread"` | no threads of its own: the test's thread runs all tasks | `"multi_thread"` |
/// | `start_paused = true` | the clock is virtual: it jumps to the next timer when all tasks wait | `false` |
/// | `name = "api"` | the name of the runtime | none |
/// | `crate = path` | where the `runtime` crate is, if renamed or re-exported; or `"path"` | `::runtime` |
///
/// Values are literals. `worker_threads` contradicts `flavor = "current_thread"` and is refused beside it.
///
/// # What it can stand on
/// What `#[runtime::main]` can, with a return type that a `#[test]` may have. `#[should_panic]`, `#[ignore]` and
/// `#[cfg(..)]` work above it and below it. It implies `#[test]`, and a second one is refused.
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(args::Attribute::Test, args, item)
}
