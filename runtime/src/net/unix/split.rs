//! The halves of a [`UnixStream`].

use std::os::unix::net::SocketAddr;

use super::UnixStream;

crate::net::split::halves!(UnixStream, SocketAddr);
