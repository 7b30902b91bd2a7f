//! Sockets within one machine, found by a path, by an abstract name, or made in pairs; and [pipes](pipe).
//!
//! Addresses are those of [`std::os::unix::net::SocketAddr`]; on Linux its extension trait makes abstract names.
//!
//! ```
//! # #[cfg(target_os = "linux")]
//! # fn main() -> std::io::Result<()> { runtime::block_on(async {
//! use std::os::linux::net::SocketAddrExt;
//! use std::os::unix::net::SocketAddr;
//! use runtime::net::unix::{UnixListener, UnixStream};
//!
//! let name = SocketAddr::from_abstract_name(format!("example-{}", std::process::id()))?;
//! let listener = UnixListener::bind_addr(&name)?;
//! let client = UnixStream::connect_addr(&name).await?;
//! let (server, _) = listener.accept().await?;
//! server.write_all(b"hello").await?;
//! let mut buf = [0; 5];
//! client.read_exact(&mut buf).await?;
//! assert_eq!(&buf, b"hello");
//! # Ok(()) }) }
//! # #[cfg(not(target_os = "linux"))]
//! # fn main() {}
//! ```

mod datagram;
mod listener;
pub mod pipe;
mod split;
mod stream;
#[cfg(target_os = "linux")]
mod ucred;

pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::UnixStream;
#[cfg(target_os = "linux")]
pub use ucred::UCred;

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

/// The address of a socket at a path. One that begins with a zero byte is an abstract name; another zero byte would end
/// the path for the system, and be somebody else's.
fn path_addr(path: impl AsRef<Path>) -> io::Result<SockAddr> {
    let path = path.as_ref();
    let zero = path.as_os_str().as_bytes().iter().position(|byte| *byte == 0);
    if zero.is_some_and(|index| index > 0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path with a zero byte in it"));
    }
    SockAddr::unix(path)
}

/// The same address, as socket2 knows it.
fn sock_addr(addr: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = addr.as_pathname() {
        return SockAddr::unix(path);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = addr.as_abstract_name() {
        // socket2 takes a name that begins with a zero byte for an abstract one.
        let name = [&[0], name].concat();
        return SockAddr::unix(Path::new(std::ffi::OsStr::from_bytes(&name)));
    }
    SockAddr::unix(Path::new(""))
}

/// The same address, as std knows it.
fn std_addr(addr: &SockAddr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = addr.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    // Without a path it is an unnamed one.
    SocketAddr::from_pathname(addr.as_pathname().unwrap_or(Path::new("")))
}
