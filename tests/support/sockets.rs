//! Connections for tests, and tests that need the process's descriptors, limits or signals for themselves.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::{fs, io};

use runtime::Task;
use runtime::net::{TcpListener, TcpStream};

use crate::{assert_passed, child, is_child, settle};

/// Both ends of a TCP connection over the loopback: the one that connected, and the one that was accepted.
///
/// # Errors
/// Those of the system.
pub async fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    Ok((client, server))
}

/// An address at which nobody listens. Whoever has the socket keeps it from others, and a process that is just being started
/// and has a copy of it does not listen either.
///
/// # Panics
/// If the system has no socket.
pub fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// Runs two futures as tasks, until both are ready.
///
/// # Panics
/// With the panic of either.
pub async fn both<A: Send + 'static, B: Send + 'static>(
    one: impl Future<Output = A> + Send + 'static,
    other: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    let (one, other) = (runtime::spawn(one), runtime::spawn(other));
    (one.await.expect("the first one ends"), other.await.expect("the second one ends"))
}

/// True if the task is still waiting after everything else had its turn.
pub async fn waits<T>(task: &Task<T>) -> bool {
    settle().await;
    !task.is_finished()
}

/// Polls once: what waits afterwards has left its waker, here and now and whatever other threads do.
pub async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Runs `body` in a process of its own, in which nothing else opens files or takes signals; `test` is its full name.
///
/// # Panics
/// If it fails there.
#[track_caller]
pub fn alone(test: &str, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    assert_passed(&child(test, &[]));
}

/// How many descriptors epoll watches in this process.
///
/// # Panics
/// If the system does not say.
pub fn watched() -> usize {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(Result::ok);
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    texts.map(|text| text.lines().filter(|line| line.starts_with("tfd:")).count()).sum()
}
