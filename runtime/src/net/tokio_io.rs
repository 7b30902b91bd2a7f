//! The traits of tokio on every stream and end of a pipe, on shared references to them, and on halves of streams.

use super::{tcp, unix};
use crate::io::traits::{tokio_io_read, vectored_write};

tokio_io_read!(
    tcp::TcpStream,
    &tcp::TcpStream,
    tcp::ReadHalf<'_>,
    tcp::OwnedReadHalf,
    unix::UnixStream,
    &unix::UnixStream,
    unix::ReadHalf<'_>,
    unix::OwnedReadHalf,
    unix::pipe::Receiver,
    &unix::pipe::Receiver,
);

vectored_write!(tokio::io::AsyncWrite:
    tcp::TcpStream,
    &tcp::TcpStream,
    tcp::WriteHalf<'_>,
    tcp::OwnedWriteHalf,
    unix::UnixStream,
    &unix::UnixStream,
    unix::WriteHalf<'_>,
    unix::OwnedWriteHalf,
    unix::pipe::Sender,
    &unix::pipe::Sender,
);
