//! `#[runtime::main(graceful = "5s")]`: a program that is asked to end, has time for it, and ends.

use std::error::Error as StdError;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::coop::BudgetGuard;
use crate::error::Error;
use crate::handle::install;
use crate::promise::{self, Promise};
use crate::runtime::{Builder, start};
use crate::signal::{Asked, Registration, Signal, SignalKind};
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
///     let _ = runtime::shutdown_token().run_until_cancelled(serve()).await;
///     println!("good night");
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
    let (signals, handlers) = match Signals::new() {
        Ok(both) => both,
        Err(error) => panic!("cannot listen to SIGINT and SIGTERM: {error}"),
    };
    let runtime = start(builder);
    let _installed = install(&runtime.handle());
    // By a task: the thread of `block_on` may be in another one that does not return, and the rest is to be asked even so.
    let (asked, told) = Promise::inner();
    let _listening = runtime.spawn(signals.ask(asked)).abort_on_drop();
    let outcome = {
        // Nobody listens any more after that, also if the body panics: what remains is the runtime's end.
        let _last = EndWithTheNext(&handlers);
        runtime.block_on(until_asked(body, told, grace))
    };
    match outcome {
        Ok(output) => output,
        Err(kind) => {
            // The body did not return, so there is no output to end with.
            runtime.shutdown(Duration::ZERO);
            std::process::exit(kind.exit_code());
        }
    }
}

/// What asks a process to end. The first one is heard here.
struct Signals([(SignalKind, Signal); 2]);

/// What the system calls for them. A second one, if it is not at the same moment, ends the process from there, whatever
/// else the process is doing.
struct Handlers {
    asked: Arc<Asked>,
    _registered: [Arc<Registration>; 2],
}

/// When it is dropped the next signal ends the process, also if none has come; but not one that comes with the first.
struct EndWithTheNext<'a>(&'a Handlers);

impl Drop for EndWithTheNext<'_> {
    fn drop(&mut self) {
        self.0.asked.before_all();
    }
}

impl Signals {
    fn new() -> io::Result<(Self, Handlers)> {
        let asked = Arc::new(Asked::default());
        let listen = |kind| Ok::<_, io::Error>((kind, Signal::ending(kind, asked.clone())?));
        let signals = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
        let registered = signals.each_ref().map(|(_, signal)| signal.registration());
        Ok((Signals(signals), Handlers { asked, _registered: registered }))
    }

    /// Waits for the first signal, cancels the token, and says which signal it was, or why it hears none.
    async fn ask(mut self, asked: Promise<SignalKind>) {
        match poll_fn(|cx| self.poll_first(cx)).await {
            Ok(kind) => {
                shutdown_token().cancel();
                // Lost if the body has returned, and with it whoever would be told.
                let _ = asked.set_result(kind);
            }
            // Then whoever shut the runtime down ends the program as well.
            Err(error) if error.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<Error>) => {}
            Err(error) => _ = asked.set_exception(error),
        }
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SignalKind>> {
        for (kind, signal) in &mut self.0 {
            if let Poll::Ready(heard) = signal.poll_heard(cx) {
                return Poll::Ready(heard.map(|()| *kind));
            }
        }
        Poll::Pending
    }
}

/// The output of `body`, or the signal after which it did not return in time. It is gone by then, and its destructors
/// have run.
async fn until_asked<F: Future>(
    body: F,
    told: promise::Future<SignalKind>,
    grace: Duration,
) -> Result<F::Output, SignalKind> {
    let mut body = pin!(body);
    let kind = {
        let mut told = pin!(signal_of(told));
        let outcome = poll_fn(|cx| match body.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                // A body that uses the budget up in each of its polls does not hide the signal.
                let _unit = BudgetGuard::one_more();
                told.as_mut().poll(cx).map(Err)
            }
        });
        match outcome.await {
            Ok(output) => return Ok(output),
            Err(kind) => kind,
        }
    };
    timeout(grace, body).await.map_err(|_| kind)
}

/// The signal that has come; never, if the runtime was shut down before.
async fn signal_of(told: promise::Future<SignalKind>) -> SignalKind {
    match told.await {
        Ok(kind) => kind,
        Err(error) if error.is_broken_promise() => pending().await,
        Err(error) => panic!("cannot listen to SIGINT and SIGTERM: {error}"),
    }
}
