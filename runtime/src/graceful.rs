//! `#[runtime::main(graceful = "5s")]`: a program that is asked to end, has time for it, and ends.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::coop::BudgetGuard;
use crate::handle::install;
use crate::runtime::{Builder, start};
use crate::signal::{Signal, SignalKind};
use crate::time::timeout;

/// The token that is cancelled when the process is asked to end: by the first `SIGINT` or `SIGTERM`, in a program with
/// [`#[runtime::main(graceful = "5s")]`](macro@crate::main).
///
/// There is one in a process, and each call gives a handle to it. In other programs nobody cancels it, unless you do.
///
/// ```
/// # async fn serve() {}
/// #[runtime::main(graceful = "5s")]
/// async fn main() {
///     let stop = runtime::shutdown_token();
///     runtime::spawn(async move {
///         stop.cancelled().await;
///         println!("good night");
///     });
///     serve().await;
/// }
/// ```
#[must_use]
pub fn shutdown_token() -> CancelToken {
    static TOKEN: OnceLock<CancelToken> = OnceLock::new();
    TOKEN.get_or_init(CancelToken::new).clone()
}

/// Builds a runtime, makes it the default one, and runs `body` in it until that returns, or until `grace` after a signal.
#[doc(hidden)]
#[track_caller]
pub fn main<F: Future>(builder: Builder, grace: Duration, body: F) -> F::Output {
    // First, so that it goes last: a second signal ends a process that hangs in its shutdown.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => panic!("cannot listen to SIGINT and SIGTERM: {error}"),
    };
    let runtime = start(builder);
    let _installed = install(&runtime.handle());
    match runtime.block_on(until_asked(body, &mut signals, grace)) {
        Ok(output) => output,
        Err(kind) => {
            // The body did not return, so there is no output to end with.
            runtime.shutdown(Duration::ZERO);
            std::process::exit(kind.exit_code());
        }
    }
}

/// What asks a process to end. The first one is heard here; the second ends the process from inside its handler, whatever
/// else the process is doing.
struct Signals([(SignalKind, Signal); 2]);

impl Signals {
    fn new() -> io::Result<Self> {
        let armed = Arc::new(AtomicBool::new(false));
        let listen = |kind| Ok::<_, io::Error>((kind, Signal::armed(kind, armed.clone())?));
        Ok(Signals([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?]))
    }

    /// Waits for the first signal of either kind.
    async fn first(&mut self) -> SignalKind {
        poll_fn(|cx| {
            for (kind, signal) in &mut self.0 {
                match signal.poll_recv(cx) {
                    Poll::Ready(Some(())) => return Poll::Ready(*kind),
                    Poll::Ready(None) => {
                        panic!("cannot listen to SIGINT and SIGTERM: the system refuses to watch a socket")
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The output of `body`, or the signal after which it did not return in time. It is gone by then, and its destructors
/// have run.
async fn until_asked<F: Future>(
    body: F,
    signals: &mut Signals,
    grace: Duration,
) -> Result<F::Output, SignalKind> {
    let mut body = pin!(body);
    let kind = {
        let mut first = pin!(signals.first());
        let outcome = poll_fn(|cx| match body.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                // A body that uses the budget up in each of its polls does not hide the signal.
                let _unit = BudgetGuard::one_more();
                first.as_mut().poll(cx).map(Err)
            }
        });
        match outcome.await {
            Ok(output) => return Ok(output),
            Err(kind) => kind,
        }
    };
    shutdown_token().cancel();
    timeout(grace, body).await.map_err(|_| kind)
}
