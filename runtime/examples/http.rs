//! A web server: hyper on this runtime's sockets, HTTP/1.1 and HTTP/2, with a stop that cuts nobody off.
//!
//! ```sh
//! cargo run --release --features hyper --example http -- 127.0.0.1:8080
//! curl http://127.0.0.1:8080/
//! curl --http2-prior-knowledge http://127.0.0.1:8080/slow
//! ```
//!
//! `/` says hello, `/slow` takes half a second for it. SIGTERM and SIGINT (Ctrl-C) stop the server: it accepts no more,
//! finishes the requests that it has, and closes the connections that only wait for another one.
//!
//! Port 0 lets the system choose; the first line on stdout names the address. The exit code is 0 after a stop, 1 if
//! requests were still unfinished ten seconds into it, 2 for a wrong command line or an address that cannot be listened
//! at.

use std::convert::Infallible;
use std::io::{self, Write};
use std::os::unix::net;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use runtime::compat::hyper::{Executor, Timer};
use runtime::net::unix::UnixStream;
use runtime::net::{TcpListener, TcpStream};
use runtime::time::{sleep, timeout};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

const USAGE: &str = "\
usage: http [ADDRESS]

  ADDRESS   where to listen, such as localhost:8080 or [::1]:0 (default: 127.0.0.1:8080)
";

/// For so long a client may be silent before its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// What a request in flight has left once the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);

#[runtime::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address = match args.as_slice() {
        [] => "127.0.0.1:8080",
        [help] if help == "--help" || help == "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [address] if !address.starts_with('-') => address,
        _ => {
            eprint!("http: one address, or none\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Before the address is printed: whoever has read it may send the signal.
    let signals = match signals() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("http: cannot watch for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    match listen(address).await {
        Ok(listener) => serve(listener, signals).await,
        Err(error) => {
            eprintln!("http: cannot listen on {address}: {error}");
            ExitCode::from(2)
        }
    }
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// A stream that gets a byte for each signal to stop. Nearly nothing may be done inside a signal handler; writing to a
/// socket may.
fn signals() -> io::Result<UnixStream> {
    let (signals, handler) = net::UnixStream::pair()?;
    pipe::register(SIGTERM, handler.try_clone()?)?;
    pipe::register(SIGINT, handler)?;
    UnixStream::from_std(signals)
}

/// Until a signal comes, and then until the last request is answered.
async fn serve(listener: TcpListener, signals: UnixStream) -> ExitCode {
    let connections = Arc::new(GracefulShutdown::new());
    let accepting = runtime::spawn(accept_all(listener, Arc::clone(&connections)));
    if let Err(error) = signals.read_exact(&mut [0]).await {
        eprintln!("http: stopping, for signals cannot be read any more: {error}");
    }
    // Its future is gone when this returns: the listener is closed, and nobody else has the connections.
    let _ = accepting.cancel_and_wait().await;
    let connections = Arc::into_inner(connections).expect("whoever accepts has ended");

    let unfinished = connections.count();
    eprintln!("http: stopping, {unfinished} connections are open");
    match timeout(GRACE, connections.shutdown()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            eprintln!("http: not everybody was served within {GRACE:?}");
            ExitCode::FAILURE
        }
    }
}

async fn accept_all(listener: TcpListener, connections: Arc<GracefulShutdown>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => talk(stream, &connections),
            // Too many open files, say. Says nothing of the listener, and `accept` itself keeps this loop from spinning.
            Err(error) => eprintln!("http: cannot accept: {error}"),
        }
    }
}

/// Starts a task for the connection. What the client sends first decides between HTTP/1.1 and HTTP/2.
fn talk(stream: TcpStream, connections: &GracefulShutdown) {
    // Without this the last piece of an answer waits until the client has acknowledged the piece before.
    let _ = stream.set_nodelay(true);
    let mut server = auto::Builder::new(Executor::new());
    // The clock lets hyper give up on clients that take for ever over their headers; it starts once they have begun with them.
    server.http1().timer(Timer::new());
    server.http2().timer(Timer::new());
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = Arc::clone(&asked);
        service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            answer(request)
        })
    };
    let connection = connections.watch(server.serve_connection(stream, service).into_owned());
    drop(runtime::spawn(async move {
        let mut connection = pin!(connection);
        let ended = match timeout(FIRST_REQUEST, connection.as_mut()).await {
            Ok(ended) => ended,
            Err(_) if asked.load(Ordering::Relaxed) => connection.await,
            // A client that says nothing would keep its connection for ever.
            Err(_) => return,
        };
        if let Err(error) = ended {
            eprintln!("http: {error}");
        }
    }));
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = match request.uri().path() {
        "/" => "Hello, World!\n",
        "/slow" => {
            // Whoever tries the stop can tell from this line that there is something to finish.
            // Nobody may be left to read it.
            let _ = writeln!(io::stdout(), "a slow request came in");
            sleep(Duration::from_millis(500)).await;
            "Hello at last!\n"
        }
        _ => {
            let mut lost = Response::new(Full::from("There are / and /slow.\n"));
            *lost.status_mut() = StatusCode::NOT_FOUND;
            return Ok(lost);
        }
    };
    Ok(Response::new(Full::from(text)))
}
