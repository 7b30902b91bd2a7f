//! What `#[runtime::main]` and `#[runtime::test]` expand to.

use std::pin::{Pin, pin};

use super::{Builder, Runtime};
use crate::handle::install;

/// Builds a runtime, makes it the default one, and runs `future` in it.
#[doc(hidden)]
#[track_caller]
pub fn main<F: Future>(builder: Builder, future: F) -> F::Output {
    let runtime = start(builder);
    let _installed = install(&runtime.handle());
    runtime.block_on(future)
}

/// Builds a runtime for one test and runs `future` in it. Type-erased: a test file compiles the entry once.
#[doc(hidden)]
#[track_caller]
pub fn test<F: Future>(builder: Builder, future: F) -> F::Output {
    let future: Pin<&mut dyn Future<Output = F::Output>> = pin!(future);
    start(builder).block_on(future)
}

/// A runtime, or a panic with the reason.
#[track_caller]
pub(crate) fn start(builder: Builder) -> Runtime {
    match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("cannot build the runtime: {error}"),
    }
}
