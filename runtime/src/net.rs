//! TCP, UDP and Unix sockets, pipes, and names turned into addresses.
//!
//! Names and arguments are those of tokio; reading and writing needs no trait and only a shared reference, so that tasks
//! may share a socket in an `Arc`. Sockets are watched by the runtime once they first have to wait (see
//! [`io`](crate::io)), and a write to a connection that is gone is an error, never a signal (for pipes see
//! [there](unix::pipe)).
//!
//! Any number of tasks may be in an inherent `async` method of one socket. The `poll_` methods, and the I/O traits on a socket
//! or on a reference to it, remember one task for each direction, the last that called: of two tasks that read through the
//! traits at a time the first may never be woken.
//!
//! ```
//! use runtime::net::{TcpListener, TcpStream};
//!
//! # fn main() -> std::io::Result<()> { runtime::block_on(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = runtime::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let mut buf = [0; 5];
//!     stream.read_exact(&mut buf).await?;
//!     stream.write_all(&buf).await
//! });
//!
//! let stream = TcpStream::connect(address).await?;
//! stream.write_all(b"hello").await?;
//! let mut echo = Vec::new();
//! stream.read_to_end(&mut echo).await?;
//! assert_eq!(echo, b"hello");
//! server.await?
//! # }) }
//! ```

mod addr;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
mod lookup;
mod methods;
mod split;
mod sys;
mod tcp;
#[cfg(feature = "tokio-io")]
mod tokio_io;
mod udp;
pub mod unix;

pub use addr::ToSocketAddrs;
pub use lookup::lookup_host;
pub use tcp::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpListener, TcpSocket, TcpStream, WriteHalf,
};
pub use udp::UdpSocket;
