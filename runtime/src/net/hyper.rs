//! The traits of `hyper::rt` on every stream, on shared references to it, and on its halves.

use super::{tcp, unix};
use crate::io::traits::{hyper_read, vectored_write};

hyper_read!(
    tcp::TcpStream,
    &tcp::TcpStream,
    tcp::ReadHalf<'_>,
    tcp::OwnedReadHalf,
    unix::UnixStream,
    &unix::UnixStream,
    unix::ReadHalf<'_>,
    unix::OwnedReadHalf,
);

vectored_write!(hyper::rt::Write:
    tcp::TcpStream,
    &tcp::TcpStream,
    tcp::WriteHalf<'_>,
    tcp::OwnedWriteHalf,
    unix::UnixStream,
    &unix::UnixStream,
    unix::WriteHalf<'_>,
    unix::OwnedWriteHalf,
);
