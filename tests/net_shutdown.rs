//! A runtime that goes ends the waits for its sockets, and leaves nothing of them behind.

use std::io::{self, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;
use std::time::Duration;

use runtime::net::TcpStream;
use runtime::{Error, Runtime, Task};
use runtime_tests::{
    Counts, PATIENCE, alone, in_time, multi, on_each, open_files, poll_once, promptly, single, tcp_pair,
    threads, until, waits, within,
};

/// A connection whose other side needs no runtime.
fn half_std_pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from_std(stream).unwrap(), peer)
}

/// Lets `rt` watch the stream.
fn watch(rt: &Runtime, stream: &TcpStream) {
    rt.block_on(async {
        let mut buf = [0; 1];
        let mut reading = pin!(stream.read(&mut buf));
        assert!(poll_once(reading.as_mut()).await.is_pending());
    });
}

/// A task that waits for `future`, which the thread inside `block_on` has begun.
fn waiting<F>(rt: &Runtime, future: F) -> Task<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut future = Box::pin(future);
    let mut waiting = None;
    rt.block_on(async {
        assert!(poll_once(future.as_mut()).await.is_pending());
        let task = runtime::spawn(future);
        assert!(waits(&task).await);
        waiting = Some(task);
    });
    waiting.expect("block_on ran to its end")
}

#[track_caller]
fn tells_of_the_shutdown(error: io::Error) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(inner.is_some_and(Error::is_shutdown), "{error:?}");
}

#[test]
fn tasks_that_wait_for_sockets_are_dropped_at_the_shutdown() {
    for make in [single, || multi(1), || multi(2)] {
        within(PATIENCE, move || {
            let counted = in_time(|| {
                let (rt, counts) = (make(), Counts::new());
                let (stream, _peer) = half_std_pair();
                let task = waiting(&rt, counts.watch(async move { stream.read(&mut [0; 8]).await }));
                // The count of a task that has just ended comes a little later than its output.
                until(|| rt.metrics().live_tasks() == 1);
                let report = promptly(|| rt.shutdown(Duration::ZERO));
                let counted = (report.cancelled, counts.drops());
                assert!(promptly(|| task.wait()).unwrap_err().is_shutdown());
                counted
            });
            assert_eq!(counted, (1, 1));
        });
    }
}

#[test]
fn a_wait_elsewhere_ends_when_the_runtime_that_watches_the_socket_goes() {
    on_each(|goes| {
        let stays = [single(), multi(1), multi(2)];
        let (mut tasks, mut peers) = (Vec::new(), Vec::new());
        for rt in &stays {
            let (stream, peer) = half_std_pair();
            watch(&goes, &stream);
            tasks.push(waiting(rt, async move { stream.read(&mut [0; 8]).await }));
            peers.push(peer);
        }
        promptly(|| drop(goes));
        for (rt, task) in stays.iter().zip(tasks) {
            tells_of_the_shutdown(rt.block_on(task).unwrap().unwrap_err());
        }
    });
}

#[test]
fn a_socket_whose_runtime_is_gone_is_an_error_on_another_one() {
    on_each(|rt| {
        let (stream, mut peer) = half_std_pair();
        watch(&rt, &stream);
        drop(rt);
        let other = single();
        tells_of_the_shutdown(other.block_on(stream.read(&mut [0; 8])).unwrap_err());
        tells_of_the_shutdown(other.block_on(stream.write(b"x")).unwrap_err());
        tells_of_the_shutdown(other.block_on(stream.readable()).unwrap_err());
        tells_of_the_shutdown(stream.try_read(&mut [0; 8]).unwrap_err());
        // Whether there is something or not.
        peer.write_all(b"x").unwrap();
        tells_of_the_shutdown(other.block_on(stream.read(&mut [0; 8])).unwrap_err());
    });
}

#[test]
fn a_socket_that_has_never_waited_works_on_another_runtime() {
    on_each(|rt| {
        let (client, server) = rt.block_on(tcp_pair()).unwrap();
        rt.block_on(async {
            client.write_all(b"here").await.unwrap();
        });
        drop(rt);
        for other in [single(), multi(1)] {
            let (client, server) = (&client, &server);
            other.block_on(async {
                client.write_all(b"there").await.unwrap();
                assert!(server.read(&mut [0; 64]).await.unwrap() > 0);
            });
        }
    });
}

#[test]
fn a_socket_that_has_never_waited_may_wait_on_another_runtime() {
    on_each(|rt| {
        let (stream, mut peer) = half_std_pair();
        rt.block_on(async { stream.write_all(b"here").await.unwrap() });
        drop(rt);
        let other = single();
        other.block_on(async {
            let mut buf = [0; 8];
            let mut reading = pin!(stream.read(&mut buf));
            assert!(poll_once(reading.as_mut()).await.is_pending());
            peer.write_all(b"x").unwrap();
            assert_eq!(reading.await.unwrap(), 1);
        });
    });
}

#[test]
fn a_watched_socket_moves_to_another_runtime_through_std() {
    on_each(|rt| {
        let (goes_first, mut first_peer) = half_std_pair();
        let (goes_later, mut later_peer) = half_std_pair();
        watch(&rt, &goes_first);
        watch(&rt, &goes_later);
        let other = multi(1);
        let works = |stream: TcpStream, peer: &mut StdStream| {
            other.block_on(async {
                let mut reading = Box::pin(async move { stream.read(&mut [0; 8]).await });
                assert!(poll_once(reading.as_mut()).await.is_pending());
                let reading = runtime::spawn(reading);
                peer.write_all(b"moved").unwrap();
                assert_eq!(reading.await.unwrap().unwrap(), 5);
            });
        };
        // While the runtime that watched it lives, and afterwards.
        works(TcpStream::from_std(goes_first.into_std().unwrap()).unwrap(), &mut first_peer);
        assert_eq!(rt.metrics().registered_objects(), 1);
        drop(rt);
        works(TcpStream::from_std(goes_later.into_std().unwrap()).unwrap(), &mut later_peer);
    });
}

#[test]
fn fifty_runtimes_with_sockets_leave_no_descriptor_and_no_thread() {
    alone("net_shutdown::fifty_runtimes_with_sockets_leave_no_descriptor_and_no_thread", || {
        let round = |rt: Runtime| {
            rt.block_on(async {
                let (client, server) = tcp_pair().await.unwrap();
                let echo = runtime::spawn(async move {
                    let mut buf = [0; 4];
                    server.read_exact(&mut buf).await.unwrap();
                    server.write_all(&buf).await.unwrap();
                });
                client.write_all(b"ping").await.unwrap();
                client.read_exact(&mut [0; 4]).await.unwrap();
                echo.await.unwrap();
                // One that still waits at the end.
                let (client, server) = tcp_pair().await.unwrap();
                let mut reading = Box::pin(async move { server.read(&mut [0; 1]).await.map(|_| client) });
                assert!(poll_once(reading.as_mut()).await.is_pending());
                drop(runtime::spawn(reading));
            });
        };
        within(PATIENCE, move || {
            round(single());
            round(multi(2));
            let files = open_files();
            let running = threads();
            for n in 0..50 {
                round(if n % 2 == 0 { single() } else { multi(2) });
            }
            until(|| open_files() == files);
            until(|| threads() == running);
        });
    });
}

#[test]
fn a_task_that_waits_for_a_socket_is_served_after_block_on_has_left() {
    for workers in [1, 2] {
        within(PATIENCE, move || {
            let rt = multi(workers);
            for _ in 0..50 {
                let (stream, mut peer) = half_std_pair();
                // The thread that leaves is the one that has registered the socket, and may have attended it.
                let task = waiting(&rt, async move {
                    let mut buf = [0; 8];
                    for _ in 0..3 {
                        assert_eq!(stream.read(&mut buf).await.unwrap(), 1);
                        stream.write_all(b"y").await.unwrap();
                    }
                });
                for _ in 0..3 {
                    peer.write_all(b"x").unwrap();
                    io::Read::read_exact(&mut peer, &mut [0]).unwrap();
                }
                promptly(|| task.wait()).unwrap();
            }
        });
    }
}

#[test]
fn a_task_that_waits_for_a_socket_is_served_without_any_block_on() {
    for workers in [1, 2] {
        within(PATIENCE, move || {
            let rt = multi(workers);
            let (stream, mut peer) = half_std_pair();
            let task = rt.spawn(async move { stream.read(&mut [0; 8]).await });
            until(|| rt.metrics().registered_objects() == 1);
            peer.write_all(b"x").unwrap();
            assert_eq!(promptly(|| task.wait()).unwrap().unwrap(), 1);
        });
    }
}

#[test]
fn a_task_of_a_current_thread_runtime_is_served_by_the_next_block_on() {
    let rt = single();
    let (stream, mut peer) = half_std_pair();
    let task = waiting(&rt, async move { stream.read(&mut [0; 8]).await });
    peer.write_all(b"x").unwrap();
    assert_eq!(rt.block_on(task).unwrap().unwrap(), 1);
}
