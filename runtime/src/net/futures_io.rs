//! The traits of futures-io on every stream and end of a pipe, on shared references to them, and on halves of streams.

use super::{tcp, unix};
use crate::io::traits::{futures_io_read, futures_io_write};

futures_io_read!(
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

futures_io_write!(
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
