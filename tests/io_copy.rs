//! Copying moves every byte, passes ends and errors on, and lets others run.

use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use runtime::io::{copy, copy_bidirectional};
use runtime::net::TcpStream;
use runtime_tests::{CountingWaker, Gate, both, on_each, settle, single, tcp_pair, waits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many bytes that look random; the same ones each time for the same seed.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Gives its bytes, a piece at a time, and then ends as it was told to.
struct Source {
    bytes: Vec<u8>,
    given: usize,
    piece: usize,
    end: End,
}

enum End {
    Eof,
    Fails,
    Waits,
    /// Begins again.
    Never,
}

impl Source {
    fn new(bytes: &[u8], end: End) -> Self {
        Source { bytes: bytes.to_vec(), given: 0, piece: 5, end }
    }
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given == self.bytes.len() {
            match self.end {
                End::Eof => return Poll::Ready(Ok(())),
                End::Fails => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
                End::Waits => return Poll::Pending,
                End::Never => self.given = 0,
            }
        }
        let rest = &self.bytes[self.given..];
        let count = rest.len().min(self.piece).min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

/// Takes so many bytes a call, and counts what else is asked of it.
struct Sink {
    bytes: Vec<u8>,
    piece: usize,
    /// It says that it took so many bytes more than it did.
    boast: usize,
    /// After so many bytes it fails.
    room: usize,
    flushed: usize,
    shutdowns: usize,
}

impl Sink {
    fn new(piece: usize) -> Self {
        Sink { bytes: Vec::new(), piece, boast: 0, room: usize::MAX, flushed: 0, shutdowns: 0 }
    }
}

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.len() >= self.room {
            return Poll::Ready(Err(ErrorKind::StorageFull.into()));
        }
        let count = buf.len().min(self.piece);
        self.bytes.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count + self.boast))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = self.bytes.len();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdowns += 1;
        Poll::Ready(Ok(()))
    }
}

/// A stream whose every second operation is interrupted before it has done anything.
struct Interrupted<S> {
    stream: S,
    now: bool,
}

impl<S: Unpin> Interrupted<S> {
    fn new(stream: S) -> Self {
        Interrupted { stream, now: false }
    }

    fn or<T>(&mut self, op: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.now = !self.now;
        if self.now {
            Poll::Ready(Err(ErrorKind::Interrupted.into()))
        } else {
            op(Pin::new(&mut self.stream))
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Interrupted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.or(|stream| stream.poll_read(cx, buf))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Interrupted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.or(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.or(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.or(|stream| stream.poll_shutdown(cx))
    }
}

#[test]
fn what_was_interrupted_is_done_again() {
    let bytes = noise(1_000, 3);
    single().block_on(async {
        let mut reader = Interrupted::new(Source::new(&bytes, End::Eof));
        let mut writer = Interrupted::new(Sink::new(7));
        assert_eq!(copy(&mut reader, &mut writer).await.unwrap(), 1_000);
        assert_eq!((&writer.stream.bytes, writer.stream.flushed), (&bytes, 1_000));

        let stream = |end| Interrupted::new(Duplex(Source::new(&bytes, end), Sink::new(7)));
        let (mut one, mut other) = (stream(End::Eof), stream(End::Eof));
        assert_eq!(copy_bidirectional(&mut one, &mut other).await.unwrap(), (1_000, 1_000));
        assert_eq!((one.stream.1.shutdowns, other.stream.1.shutdowns), (1, 1));
    });
}

/// Takes everything at once and keeps nothing.
struct Void(Arc<AtomicUsize>);

impl AsyncWrite for Void {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.fetch_add(buf.len(), Ordering::Relaxed);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Two streams as one.
struct Duplex<R, W>(R, W);

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for Duplex<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for Duplex<R, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.1).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.1).poll_shutdown(cx)
    }
}

async fn read_all(stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

/// A client, a server, and a task that copies between their connections.
async fn proxied() -> (TcpStream, TcpStream, runtime::Task<io::Result<(u64, u64)>>) {
    let (client, mut a) = tcp_pair().await.unwrap();
    let (mut b, server) = tcp_pair().await.unwrap();
    (client, server, runtime::spawn(async move { copy_bidirectional(&mut a, &mut b).await }))
}

// --- one direction ---

#[test]
fn a_copy_takes_every_byte_in_order_and_counts_them() {
    let rt = single();
    rt.block_on(async {
        let bytes = noise(100_000, 1);
        for piece in [1, 7, usize::MAX] {
            let (mut source, mut sink) = (Source::new(&bytes, End::Eof), Sink::new(piece));
            assert_eq!(copy(&mut source, &mut sink).await.unwrap(), 100_000);
            assert!(sink.bytes == bytes);
        }
    });
}

#[test]
fn a_copy_of_nothing_is_zero_bytes() {
    let rt = single();
    let (mut source, mut sink) = (Source::new(b"", End::Eof), Sink::new(1));
    assert_eq!(rt.block_on(copy(&mut source, &mut sink)).unwrap(), 0);
}

#[test]
fn a_copy_flushes_its_writer_and_leaves_it_open() {
    let rt = single();
    let (mut source, mut sink) = (Source::new(b"abc", End::Eof), Sink::new(2));
    rt.block_on(copy(&mut source, &mut sink)).unwrap();
    assert_eq!((sink.flushed, sink.shutdowns), (3, 0));
}

#[test]
fn a_copy_flushes_its_writer_before_it_waits_for_the_reader() {
    let (mut source, mut sink) = (Source::new(b"abc", End::Waits), Sink::new(2));
    let (_, waker) = CountingWaker::new();
    assert!(pin!(copy(&mut source, &mut sink)).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!((sink.bytes.as_slice(), sink.flushed), (&b"abc"[..], 3));
}

#[test]
fn what_was_read_before_an_error_of_the_reader_is_written() {
    let rt = single();
    let (mut source, mut sink) = (Source::new(b"abc", End::Fails), Sink::new(2));
    let error = rt.block_on(copy(&mut source, &mut sink)).unwrap_err();
    assert_eq!((error.kind(), sink.bytes.as_slice()), (ErrorKind::ConnectionReset, &b"abc"[..]));
}

#[test]
fn an_error_of_the_writer_ends_a_copy() {
    let rt = single();
    let (mut source, mut sink) = (Source::new(&[1; 100], End::Never), Sink::new(2));
    sink.room = 30;
    let error = rt.block_on(copy(&mut source, &mut sink)).unwrap_err();
    assert_eq!((error.kind(), sink.bytes.len()), (ErrorKind::StorageFull, 30));
}

#[test]
fn a_writer_that_takes_nothing_is_an_error() {
    let rt = single();
    let (mut source, mut sink) = (Source::new(b"abc", End::Eof), Sink::new(0));
    let error = rt.block_on(copy(&mut source, &mut sink)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn a_writer_that_says_that_it_took_more_than_there_was_is_an_error() {
    let rt = single();
    let (mut source, mut sink) = (Source::new(b"abc", End::Eof), Sink::new(usize::MAX));
    sink.boast = 1;
    let error = rt.block_on(copy(&mut source, &mut sink)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn a_copy_between_streams_that_are_always_ready_lets_others_run() {
    let rt = single();
    rt.block_on(async {
        let copied = Arc::new(AtomicUsize::new(0));
        let mut void = Void(copied.clone());
        let mut source = Source::new(&[1; 100], End::Never);
        let copying = runtime::spawn(async move { copy(&mut source, &mut void).await });
        // Would hang if the copy kept the only thread.
        assert!(waits(&copying).await);
        assert!(copied.load(Ordering::Relaxed) > 0);
        assert!(copying.cancel_and_wait().await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_copy_between_sockets_carries_megabytes() {
    const LEN: usize = 4 << 20;
    on_each(|rt| {
        rt.block_on(async {
            let (client, mut from) = tcp_pair().await.unwrap();
            let (mut to, server) = tcp_pair().await.unwrap();
            let copying = runtime::spawn(async move { copy(&mut from, &mut to).await });
            let bytes = Arc::new(noise(LEN, 2));
            let sent = bytes.clone();
            let ((), received) = both(async move { client.write_all(&sent).await.unwrap() }, async move {
                read_all(&server).await
            })
            .await;
            assert_eq!(copying.await.unwrap().unwrap(), LEN as u64);
            assert!(received == *bytes);
        });
    });
}

// --- both directions ---

#[test]
fn both_directions_are_counted() {
    let rt = single();
    let mut a = Duplex(Source::new(b"there", End::Eof), Sink::new(1));
    let mut b = Duplex(Source::new(b"and back", End::Eof), Sink::new(3));
    assert_eq!(rt.block_on(copy_bidirectional(&mut a, &mut b)).unwrap(), (5, 8));
    assert_eq!((a.1.bytes.as_slice(), b.1.bytes.as_slice()), (&b"and back"[..], &b"there"[..]));
    assert_eq!((a.1.shutdowns, b.1.shutdowns), (1, 1));
}

#[test]
fn a_half_close_passes_through_from_either_side() {
    on_each(|rt| {
        rt.block_on(async {
            for swapped in [false, true] {
                let (client, server, proxy) = proxied().await;
                let (first, second) = if swapped { (server, client) } else { (client, server) };
                first.write_all(b"question").await.unwrap();
                first.shutdown().await.unwrap();
                assert_eq!(read_all(&second).await, b"question");
                assert!(waits(&proxy).await);
                second.write_all(b"answer").await.unwrap();
                second.shutdown().await.unwrap();
                assert_eq!(read_all(&first).await, b"answer");
                let counts = if swapped { (6, 8) } else { (8, 6) };
                assert_eq!(proxy.await.unwrap().unwrap(), counts);
            }
        });
    });
}

#[test]
fn bytes_go_both_ways_before_either_side_ends() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server, proxy) = proxied().await;
            let mut buf = [0; 1];
            for byte in 0..50 {
                client.write_all(&[byte]).await.unwrap();
                server.read_exact(&mut buf).await.unwrap();
                assert_eq!(buf, [byte]);
                server.write_all(&[!byte]).await.unwrap();
                client.read_exact(&mut buf).await.unwrap();
                assert_eq!(buf, [!byte]);
            }
            drop((client, server));
            assert_eq!(proxy.await.unwrap().unwrap(), (50, 50));
        });
    });
}

#[test]
fn megabytes_go_both_ways_at_a_time() {
    const LEN: usize = 2 << 20;
    on_each(|rt| {
        rt.block_on(async {
            let (client, server, proxy) = proxied().await;
            let end = |stream: TcpStream, seed: u64| async move {
                let (read, write) = stream.into_split();
                let writing = runtime::spawn(async move { write.write_all(&noise(LEN, seed)).await });
                let mut all = Vec::new();
                read.read_to_end(&mut all).await.unwrap();
                writing.await.unwrap().unwrap();
                all
            };
            let (at_client, at_server) = both(end(client, 3), end(server, 4)).await;
            assert!(at_client == noise(LEN, 4) && at_server == noise(LEN, 3));
            assert_eq!(proxy.await.unwrap().unwrap(), (LEN as u64, LEN as u64));
        });
    });
}

#[test]
fn an_error_of_one_side_ends_both_directions_and_shuts_nothing_down() {
    let rt = single();
    rt.block_on(async {
        let mut waiting = Duplex(Source::new(b"x", End::Waits), Sink::new(9));
        let mut failing = Duplex(Source::new(b"y", End::Fails), Sink::new(9));
        let error = copy_bidirectional(&mut waiting, &mut failing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!((waiting.1.bytes.as_slice(), waiting.1.shutdowns), (&b"y"[..], 0));
        assert_eq!((failing.1.bytes.as_slice(), failing.1.shutdowns), (&b"x"[..], 0));
    });
}

#[test]
fn a_direction_that_is_always_ready_does_not_starve_the_other_or_other_tasks() {
    let rt = single();
    rt.block_on(async {
        let (there, back) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut a = Duplex(Source::new(&[1; 100], End::Never), Void(back.clone()));
        let mut b = Duplex(Source::new(&[2; 100], End::Never), Void(there.clone()));
        let copying = runtime::spawn(async move { copy_bidirectional(&mut a, &mut b).await });
        let gate = Gate::new();
        let passing = gate.clone();
        let other = runtime::spawn(async move { passing.pass().await });
        assert!(waits(&copying).await);
        gate.open();
        other.await.unwrap();
        for _ in 0..100 {
            settle().await;
        }
        let (there, back) = (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed));
        assert!(there > 0 && back > 0, "{there} there, {back} back");
    });
}
