//! The halves of a [`TcpStream`].

use std::net::SocketAddr;

use super::TcpStream;

crate::net::split::halves!(TcpStream, SocketAddr);
