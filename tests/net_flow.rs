//! Bytes arrive whole, in order and with their end, however they are cut and however slow the other side is.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::net::{TcpListener, TcpSocket, TcpStream};
use runtime_tests::{on_each, poll_once, settle, tcp_pair};
use socket2::SockRef;

/// A stream of bytes without end, of which everybody knows the byte at each place.
///
/// The period is a prime: a part that is lost, doubled or moved shows.
#[derive(Clone)]
struct Pattern(Arc<[u8]>);

const PERIOD: usize = 65_521;
/// The longest part that is asked for at a time.
const LONGEST: usize = 4 * PERIOD;

impl Pattern {
    fn new() -> Self {
        let period: Vec<u8> = (0..PERIOD).map(|n| (n * 31 + n / 256) as u8).collect();
        Pattern(period.repeat(5).into())
    }

    /// The `len` bytes from `position` on.
    fn at(&self, position: usize, len: usize) -> &[u8] {
        assert!(len <= LONGEST);
        &self.0[position % PERIOD..][..len]
    }

    #[track_caller]
    fn check(&self, position: usize, bytes: &[u8]) {
        // Not assert_eq, which would print them.
        assert!(self.at(position, bytes.len()) == bytes, "other bytes than those written at {position}");
    }
}

/// A connection whose buffers hold little on both sides.
async fn narrow_pair() -> (TcpStream, TcpStream) {
    const BYTES: u32 = 16 * 1024;
    let narrow = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(BYTES).unwrap();
        socket.set_recv_buffer_size(BYTES).unwrap();
        // Segments of the loopback's size would not fit, and the kernel would wait with them.
        SockRef::from(&socket).set_tcp_mss(1_400).unwrap();
        socket
    };
    let listener = narrow();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let client = narrow().connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// What is written from here on leaves together with the end of the stream.
fn cork(stream: &TcpStream) {
    SockRef::from(stream).set_tcp_cork(true).unwrap();
}

#[test]
fn data_and_the_end_in_one_segment_are_seen_by_a_first_look_afterwards() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            cork(&client);
            client.write_all(b"last").await.unwrap();
            drop(client);
            let mut buf = [0; 64];
            assert_eq!(server.read(&mut buf).await.unwrap(), 4);
            assert_eq!(&buf[..4], b"last");
            assert_eq!(server.read(&mut buf).await.unwrap(), 0);
        });
    });
}

#[test]
fn data_and_the_end_in_one_segment_are_seen_by_a_reader_that_waits() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            cork(&client);
            let mut buf = [0; 64];
            let mut reading = Box::pin(async move {
                let count = server.read(&mut buf).await.unwrap();
                (buf[..count].to_vec(), server.read(&mut buf).await.unwrap())
            });
            assert!(poll_once(reading.as_mut()).await.is_pending());
            let reading = runtime::spawn(reading);
            client.write_all(b"last").await.unwrap();
            drop(client);
            assert_eq!(reading.await.unwrap(), (b"last".to_vec(), 0));
        });
    });
}

#[test]
fn data_and_the_end_in_one_segment_are_seen_on_a_connection_that_has_waited_before() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let mut buf = [0; 64];
            {
                let mut first = std::pin::pin!(server.read(&mut buf));
                assert!(poll_once(first.as_mut()).await.is_pending());
                client.write_all(b"first").await.unwrap();
                assert_eq!(first.await.unwrap(), 5);
            }
            cork(&client);
            client.write_all(b"last").await.unwrap();
            drop(client);
            // The event is dispatched before anybody looks.
            settle().await;
            assert_eq!(server.read(&mut buf).await.unwrap(), 4);
            assert_eq!(&buf[..4], b"last");
            assert_eq!(server.read(&mut buf).await.unwrap(), 0);
        });
    });
}

#[test]
fn the_end_right_behind_data_is_never_lost_in_a_short_read() {
    const CONNECTIONS: usize = 200;
    on_each(|rt| {
        rt.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let clients = runtime::spawn(async move {
                for n in 0..CONNECTIONS {
                    let client = TcpStream::connect(addr).await.unwrap();
                    // On two threads the end comes at any moment of the other side's read.
                    client.write_all(&[n as u8; 3]).await.unwrap();
                    if n % 2 == 0 {
                        runtime::task::yield_now().await;
                    }
                }
            });
            for n in 0..CONNECTIONS {
                let (server, _) = listener.accept().await.unwrap();
                server.readable().await.unwrap();
                let mut all = Vec::new();
                let mut buf = [0; 64];
                loop {
                    match server.read(&mut buf).await.unwrap() {
                        0 => break,
                        count => all.extend_from_slice(&buf[..count]),
                    }
                }
                assert_eq!(all, [n as u8; 3]);
            }
            clients.await.unwrap();
        });
    });
}

#[test]
fn what_is_written_into_a_full_buffer_arrives_whole() {
    const BYTES: usize = 24 * 1024 * 1024;
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = narrow_pair().await;
            let pattern = Pattern::new();
            let source = pattern.clone();
            let writing = runtime::spawn(async move {
                let mut position = 0;
                while position < BYTES {
                    let len = (LONGEST - position % 977).min(BYTES - position);
                    client.write_all(source.at(position, len)).await.unwrap();
                    position += len;
                }
            });
            let mut buf = vec![0; 32 * 1024];
            let mut position = 0;
            for odd in (1..).step_by(1_234) {
                let len = 1 + odd % buf.len();
                let count = server.read(&mut buf[..len]).await.unwrap();
                pattern.check(position, &buf[..count]);
                position += count;
                if count == 0 {
                    break;
                }
            }
            assert_eq!(position, BYTES);
            writing.await.unwrap();
        });
    });
}

#[test]
fn what_is_written_from_many_buffers_into_a_full_one_arrives_in_order() {
    const BYTES: usize = 4 * 1024 * 1024;
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = narrow_pair().await;
            let pattern = Pattern::new();
            let source = pattern.clone();
            let writing = runtime::spawn(async move {
                let mut position = 0;
                while position < BYTES {
                    let all = source.at(position, (LONGEST / 3).min(BYTES - position));
                    let parts: Vec<_> = all.chunks(1_021).map(IoSlice::new).collect();
                    position += client.write_vectored(&parts).await.unwrap();
                }
            });
            let (mut first, mut second) = (vec![0; 777], vec![0; 7_777]);
            let mut position = 0;
            loop {
                server.readable().await.unwrap();
                let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                let count = match server.try_read_vectored(&mut parts) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                        continue;
                    }
                };
                let begin = count.min(first.len());
                pattern.check(position, &first[..begin]);
                pattern.check(position + begin, &second[..count - begin]);
                position += count;
            }
            assert_eq!(position, BYTES);
            writing.await.unwrap();
        });
    });
}

/// Sends and gets back so many small messages.
async fn exchange(rounds: usize) {
    let (client, server) = tcp_pair().await.unwrap();
    let echo = runtime::spawn(async move {
        let mut buf = [0; 8];
        for _ in 0..rounds {
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
        }
    });
    let mut buf = [0; 8];
    for n in 0..rounds as u64 {
        client.write_all(&n.to_be_bytes()).await.unwrap();
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(u64::from_be_bytes(buf), n);
    }
    echo.await.unwrap();
}

#[test]
fn a_slow_reader_holds_up_its_writer_and_nobody_else() {
    const BYTES: usize = 8 * 1024 * 1024;
    // What the buffers of both sides hold, generously.
    const HELD: usize = 512 * 1024;
    on_each(|rt| {
        rt.block_on(async {
            let (client, slow) = narrow_pair().await;
            let pattern = Pattern::new();
            let written = Arc::new(AtomicUsize::new(0));
            let (source, count) = (pattern.clone(), written.clone());
            let writing = runtime::spawn(async move {
                let mut position = 0;
                while position < BYTES {
                    let part = source.at(position, LONGEST.min(BYTES - position));
                    position += client.write(part).await.unwrap();
                    count.store(position, Ordering::SeqCst);
                }
            });
            let fast: Vec<_> = (0..8).map(|_| runtime::spawn(exchange(50))).collect();
            for task in fast {
                task.await.unwrap();
            }
            assert!(!writing.is_finished());
            let held = written.load(Ordering::SeqCst);
            assert!(held <= HELD, "{held} bytes are on the way to somebody who reads nothing");

            let mut buf = vec![0; 64 * 1024];
            let mut position = 0;
            loop {
                match slow.read(&mut buf).await.unwrap() {
                    0 => break,
                    count => {
                        pattern.check(position, &buf[..count]);
                        position += count;
                    }
                }
            }
            assert_eq!(position, BYTES);
            writing.await.unwrap();
        });
    });
}

#[test]
fn bytes_are_written_and_read_one_by_one() {
    const BYTES: usize = 3_000;
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            client.set_nodelay(true).unwrap();
            let writing = runtime::spawn(async move {
                for n in 0..BYTES {
                    assert_eq!(client.write(&[n as u8]).await.unwrap(), 1);
                }
            });
            let mut byte = [0];
            for n in 0..BYTES {
                assert_eq!(server.read(&mut byte).await.unwrap(), 1);
                assert_eq!(byte, [n as u8]);
            }
            writing.await.unwrap();
            assert_eq!(server.read(&mut byte).await.unwrap(), 0);
        });
    });
}
