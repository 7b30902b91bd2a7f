//! The servers, each written once for every peer.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::server::graceful::GracefulShutdown;

use crate::Net;

/// What a server reads into. Larger than any message: a read that fills its buffer makes a runtime try again,
/// and one that does not tells it that nothing is left.
const BUFFER: usize = 1_024;

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Sends back what it receives, as long as the client wants.
    Echo,
    /// Sends back the first message and closes.
    Short,
    /// Answers HTTP/1.1 requests with hyper.
    Hello,
    /// The server of the example `http`: HTTP/1.1 and HTTP/2, limits of time, and a stop that cuts nobody off.
    Http,
}

impl Service {
    const ALL: [Service; 4] = [Service::Echo, Service::Short, Service::Hello, Service::Http];

    fn as_str(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Short => "short",
            Service::Hello => "hello",
            Service::Http => "http",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Service::ALL.into_iter().find(|service| service.as_str() == name);
        known.ok_or_else(|| format!("no service is called `{name}`; there are echo, short, hello and http"))
    }
}

/// Starts a server on `peer`, which serves until the peer is dropped, and returns its address.
pub fn start<P: Net>(peer: &P, service: Service) -> SocketAddr {
    peer.block_on(async move {
        let (listener, address) = P::listen().await.expect("a port is free");
        P::detach(P::spawn(accept_all::<P>(listener, service)));
        address
    })
}

/// A task for each connection. No socket option is set: each side waits for the other's message before it
/// sends the next, so Nagle's algorithm never holds one back.
async fn accept_all<P: Net>(listener: P::Listener, service: Service) {
    let all = GracefulShutdown::new();
    // It fails when the peer goes. A client that is not accepted before that says so itself.
    while let Ok(stream) = P::accept(&listener).await {
        P::detach(match service {
            Service::Echo => P::spawn(echo::<P>(stream)),
            Service::Short => P::spawn(short::<P>(stream)),
            Service::Hello => P::spawn(hello::<P>(stream)),
            Service::Http => P::spawn(P::http(stream, &all)),
        });
    }
}

async fn echo<P: Net>(mut stream: P::Stream) {
    let mut buffer = [0; BUFFER];
    while echo_once::<P>(&mut stream, &mut buffer).await {}
}

async fn short<P: Net>(mut stream: P::Stream) {
    echo_once::<P>(&mut stream, &mut [0; BUFFER]).await;
}

/// Whether the connection goes on. A client that leaves, in whatever way, is no failure.
async fn echo_once<P: Net>(stream: &mut P::Stream, buffer: &mut [u8]) -> bool {
    match P::read(stream, buffer).await {
        Ok(0) | Err(_) => false,
        Ok(len) => P::write_all(stream, &buffer[..len]).await.is_ok(),
    }
}

async fn hello<P: Net>(stream: P::Stream) {
    let connection = http1::Builder::new().serve_connection(P::for_hyper(stream), service_fn(greet));
    // As above.
    let _ = connection.await;
}

/// The body of [`Net::http`], written once; what differs are the types of the arguments.
macro_rules! http {
    ($stream:expr, $executor:expr, $timer:expr, $all:expr) => {{
        let mut server = hyper_util::server::conn::auto::Builder::new($executor);
        server.http1().timer($timer);
        server.http2().timer($timer);
        let service = hyper::service::service_fn($crate::serve::greet);
        let connection = $all.watch(server.serve_connection($stream, service).into_owned());
        async move {
            // A client that leaves, in whatever way, is no failure.
            let _ = connection.await;
        }
    }};
}
pub(crate) use http;

pub(crate) async fn greet<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"Hello, World!"))))
}
