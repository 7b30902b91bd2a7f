//! Where systems differ: sockets and pipes that are born in non-blocking mode.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// How many connections may wait to be accepted; the system cuts it to what it allows.
pub(super) const BACKLOG: i32 = 1024;

/// A socket in non-blocking mode, closed on exec.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn socket(domain: Domain, ty: Type) -> io::Result<Socket> {
    Socket::new(domain, ty.nonblocking(), None)
}

/// A socket in non-blocking mode, closed on exec.
#[cfg(target_vendor = "apple")]
pub(super) fn socket(domain: Domain, ty: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain, ty, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Takes a connection that waits, in non-blocking mode, with the other side's address: one system call.
#[cfg(not(target_vendor = "apple"))]
fn accept_once(listener: &impl AsFd) -> io::Result<(Socket, SockAddr)> {
    SockRef::from(listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
}

/// Takes a connection that waits, in non-blocking mode, with the other side's address.
#[cfg(target_vendor = "apple")]
fn accept_once(listener: &impl AsFd) -> io::Result<(Socket, SockAddr)> {
    let (socket, addr) = SockRef::from(listener).accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket, addr))
}

/// Takes the next connection that its client has not given up already.
pub(super) fn accept(listener: &impl AsFd) -> io::Result<(Socket, SockAddr)> {
    loop {
        match accept_once(listener) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            result => return result,
        }
    }
}

/// True for the refusals that a loop around `accept` meets again at once, until somebody closes something.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    // ENOSPC is epoll's: the user may watch no more.
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC)
    )
}

/// True if a connection has begun and its outcome is not known yet.
pub(super) fn is_in_progress(error: &io::Error) -> bool {
    // An interrupted connect goes on in the background, and calling it again would fail.
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::Interrupted
}

/// Whether a connection that was in progress is there; `WouldBlock` if it still is in progress.
pub(super) fn connected(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(socket.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
        }
        Err(error) => Err(error),
    }
}

/// A new pipe in non-blocking mode, closed on exec: where it is read, and where it is written.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    Ok(pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?)
}

/// A new pipe in non-blocking mode, closed on exec: where it is read, and where it is written.
#[cfg(target_vendor = "apple")]
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe()?;
    for end in [&read, &write] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok((read, write))
}

/// Two Unix sockets in non-blocking mode that are connected with each other.
pub(super) fn pair(ty: Type) -> io::Result<(Socket, Socket)> {
    #[cfg(not(target_vendor = "apple"))]
    let ty = ty.nonblocking();
    let (one, other) = Socket::pair(Domain::UNIX, ty, None)?;
    #[cfg(target_vendor = "apple")]
    for socket in [&one, &other] {
        socket.set_nonblocking(true)?;
    }
    Ok((one, other))
}
