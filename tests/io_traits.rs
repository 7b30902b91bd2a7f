//! The streams have the traits of futures-io and of tokio, on themselves, on references and on halves.

use std::future::poll_fn;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use runtime::net::TcpStream;
use runtime::net::unix::UnixStream;
use runtime_tests::{CountingWaker, on_each, single, tcp_pair, waits};
use tokio::io::ReadBuf;

const PARTS: [&[u8]; 4] = [b"one ", b"", b"two ", b"three"];
const WHOLE: &[u8] = b"one two three";

/// What every reader and writer of tokio's family does; the writer's other side is the reader.
async fn tokio_family<R, W>(mut reader: R, mut writer: W)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    assert!(writer.is_write_vectored());
    let slices = PARTS.map(IoSlice::new);
    let count = poll_fn(|cx| Pin::new(&mut writer).poll_write_vectored(cx, &slices)).await.unwrap();
    assert_eq!(count, WHOLE.len());
    let count = poll_fn(|cx| Pin::new(&mut writer).poll_write(cx, WHOLE)).await.unwrap();
    assert_eq!(count, WHOLE.len());
    poll_fn(|cx| Pin::new(&mut writer).poll_flush(cx)).await.unwrap();
    poll_fn(|cx| Pin::new(&mut writer).poll_shutdown(cx)).await.unwrap();

    let mut room = [MaybeUninit::uninit(); 64];
    let mut buf = ReadBuf::uninit(&mut room);
    buf.put_slice(b"> ");
    loop {
        let before = buf.filled().len();
        poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, &mut buf)).await.unwrap();
        if buf.filled().len() == before {
            break;
        }
    }
    assert_eq!(buf.filled(), [b"> ", WHOLE, WHOLE].concat());
}

/// The same for futures-io.
async fn futures_family<R, W>(mut reader: R, mut writer: W)
where
    R: futures_io::AsyncRead + Unpin,
    W: futures_io::AsyncWrite + Unpin,
{
    let slices = PARTS.map(IoSlice::new);
    let count = poll_fn(|cx| Pin::new(&mut writer).poll_write_vectored(cx, &slices)).await.unwrap();
    assert_eq!(count, WHOLE.len());
    let count = poll_fn(|cx| Pin::new(&mut writer).poll_write(cx, WHOLE)).await.unwrap();
    assert_eq!(count, WHOLE.len());
    poll_fn(|cx| Pin::new(&mut writer).poll_flush(cx)).await.unwrap();
    poll_fn(|cx| Pin::new(&mut writer).poll_close(cx)).await.unwrap();

    let mut all = Vec::new();
    let mut buf = [0; 64];
    loop {
        match poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, &mut buf)).await.unwrap() {
            0 => break,
            count => all.extend_from_slice(&buf[..count]),
        }
    }
    assert_eq!(all, [WHOLE, WHOLE].concat());
}

/// A test for each kind of stream: whole, shared, in borrowed halves and in owned ones.
macro_rules! family {
    ($family:ident, $pair:expr; $whole:ident, $shared:ident, $borrowed:ident, $owned:ident) => {
        #[test]
        fn $whole() {
            on_each(|rt| {
                rt.block_on(async {
                    let (one, other) = $pair;
                    $family(one, other).await;
                });
            });
        }

        #[test]
        fn $shared() {
            on_each(|rt| {
                rt.block_on(async {
                    let (one, other) = $pair;
                    // Each direction through a reference of its own, at the same stream.
                    $family(&one, &other).await;
                    $family(&other, &one).await;
                });
            });
        }

        #[test]
        fn $borrowed() {
            on_each(|rt| {
                rt.block_on(async {
                    let (mut one, mut other) = $pair;
                    let ((one_reads, one_writes), (other_reads, other_writes)) = (one.split(), other.split());
                    $family(one_reads, other_writes).await;
                    $family(other_reads, one_writes).await;
                });
            });
        }

        #[test]
        fn $owned() {
            on_each(|rt| {
                rt.block_on(async {
                    let (one, other) = $pair;
                    let ((one_reads, one_writes), (other_reads, other_writes)) =
                        (one.into_split(), other.into_split());
                    $family(one_reads, other_writes).await;
                    $family(other_reads, one_writes).await;
                });
            });
        }
    };
}

family!(tokio_family, tcp_pair().await.unwrap();
    tcp_streams_have_tokios_traits,
    references_to_tcp_streams_have_tokios_traits,
    borrowed_halves_of_tcp_streams_have_tokios_traits,
    owned_halves_of_tcp_streams_have_tokios_traits
);

family!(tokio_family, UnixStream::pair().unwrap();
    unix_streams_have_tokios_traits,
    references_to_unix_streams_have_tokios_traits,
    borrowed_halves_of_unix_streams_have_tokios_traits,
    owned_halves_of_unix_streams_have_tokios_traits
);

family!(futures_family, tcp_pair().await.unwrap();
    tcp_streams_have_the_traits_of_futures_io,
    references_to_tcp_streams_have_the_traits_of_futures_io,
    borrowed_halves_of_tcp_streams_have_the_traits_of_futures_io,
    owned_halves_of_tcp_streams_have_the_traits_of_futures_io
);

family!(futures_family, UnixStream::pair().unwrap();
    unix_streams_have_the_traits_of_futures_io,
    references_to_unix_streams_have_the_traits_of_futures_io,
    borrowed_halves_of_unix_streams_have_the_traits_of_futures_io,
    owned_halves_of_unix_streams_have_the_traits_of_futures_io
);

#[test]
fn a_read_through_either_family_waits_for_bytes() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let reading = runtime::spawn(async move {
                let (mut stream, mut buf) = (&server, [0; 8]);
                let first =
                    poll_fn(|cx| futures_io::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut buf)).await;
                server.write_all(b"!").await.unwrap();
                let mut room = ReadBuf::new(&mut buf);
                poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut room))
                    .await
                    .unwrap();
                (first.unwrap(), room.filled().to_vec())
            });
            assert!(waits(&reading).await);
            client.write_all(b"a").await.unwrap();
            client.read_exact(&mut [0; 1]).await.unwrap();
            assert!(waits(&reading).await);
            client.write_all(b"bc").await.unwrap();
            assert_eq!(reading.await.unwrap(), (1, b"bc".to_vec()));
        });
    });
}

#[test]
fn a_read_initialises_no_more_than_it_fills() {
    let rt = single();
    rt.block_on(async {
        let (client, mut server) = tcp_pair().await.unwrap();
        client.write_all(b"abc").await.unwrap();
        let mut room = [MaybeUninit::uninit(); 64];
        let mut buf = ReadBuf::uninit(&mut room);
        poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut server), cx, &mut buf)).await.unwrap();
        assert_eq!((buf.filled(), buf.initialized().len()), (&b"abc"[..], 3));
    });
}

#[test]
fn a_read_takes_no_more_than_there_is_room_for() {
    let rt = single();
    rt.block_on(async {
        let (client, mut server) = tcp_pair().await.unwrap();
        client.write_all(b"abcdef").await.unwrap();
        let mut room = [0; 4];
        let mut buf = ReadBuf::new(&mut room);
        buf.put_slice(b"> ");
        poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut server), cx, &mut buf)).await.unwrap();
        assert_eq!(buf.filled(), b"> ab");
        // A full buffer is never waited for, and takes nothing.
        poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut server), cx, &mut buf)).await.unwrap();
        let mut rest = [0; 4];
        server.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"cdef");
    });
}

#[test]
fn empty_buffers_are_never_waited_for() {
    let rt = single();
    rt.block_on(async {
        let (mut client, _server) = tcp_pair().await.unwrap();
        let (_, waker) = CountingWaker::new();
        let cx = &mut Context::from_waker(&waker);
        assert!(futures_io::AsyncRead::poll_read(Pin::new(&mut client), cx, &mut []).is_ready());
        assert!(futures_io::AsyncWrite::poll_write(Pin::new(&mut client), cx, &[]).is_ready());
        assert!(tokio::io::AsyncWrite::poll_write_vectored(Pin::new(&mut client), cx, &[]).is_ready());
        assert!(
            tokio::io::AsyncRead::poll_read(Pin::new(&mut client), cx, &mut ReadBuf::new(&mut [])).is_ready()
        );
    });
}

/// Writes until there is no room, and leaves the waker; how much it was.
fn fill(stream: &mut TcpStream, waker: &Waker) -> usize {
    let cx = &mut Context::from_waker(waker);
    let mut written = 0;
    while let Poll::Ready(count) = tokio::io::AsyncWrite::poll_write(Pin::new(&mut *stream), cx, &[1; 65_536])
    {
        written += count.unwrap();
    }
    written
}

#[test]
fn a_write_through_the_traits_waits_for_room_and_wakes_the_last_caller() {
    let rt = single();
    rt.block_on(async {
        let (mut client, server) = tcp_pair().await.unwrap();
        let ((first, first_waker), (last, last_waker)) = (CountingWaker::new(), CountingWaker::new());
        let written = fill(&mut client, &first_waker) + fill(&mut client, &last_waker);
        let mut buf = vec![0; 65_536];
        let mut read = 0;
        while read < written {
            read += server.read(&mut buf).await.unwrap();
        }
        client.writable().await.unwrap();
        assert_eq!((first.wakes(), last.wakes()), (0, 1));
    });
}

#[test]
fn closing_ends_the_writing_and_not_the_reading() {
    on_each(|rt| {
        rt.block_on(async {
            let (mut client, server) = tcp_pair().await.unwrap();
            poll_fn(|cx| futures_io::AsyncWrite::poll_close(Pin::new(&mut client), cx)).await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
            server.write_all(b"still").await.unwrap();
            let mut buf = [0; 5];
            client.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"still");
            // Again, and by the other name.
            poll_fn(|cx| futures_io::AsyncWrite::poll_close(Pin::new(&mut client), cx)).await.unwrap();
            poll_fn(|cx| tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut client), cx)).await.unwrap();
        });
    });
}
