//! Halves of a stream work by themselves, and closing one direction leaves the other open.

use runtime::net::unix::UnixStream;
use runtime::net::{OwnedWriteHalf, TcpStream};
use runtime_tests::{both, on_each, tcp_pair, waits};

async fn read_all(stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

#[test]
fn a_half_close_ends_one_direction_only() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            client.write_all(b"request").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(read_all(&server).await, b"request");
            server.write_all(b"response").await.unwrap();
            drop(server);
            assert_eq!(read_all(&client).await, b"response");
        });
    });
}

#[test]
fn both_directions_are_closed_one_after_the_other() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(read_all(&server).await, b"");
            server.shutdown().await.unwrap();
            assert_eq!(read_all(&client).await, b"");
        });
    });
}

#[test]
fn a_reader_that_waits_sees_the_half_close() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let reading = runtime::spawn(async move { server.read(&mut [0; 8]).await });
            assert!(waits(&reading).await);
            client.shutdown().await.unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), 0);
        });
    });
}

#[test]
fn a_second_shutdown_and_one_after_the_other_side_went_are_no_errors() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            client.shutdown().await.unwrap();
            client.shutdown().await.unwrap();
            server.set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(server);
            assert!(client.read(&mut [0; 1]).await.is_err());
            client.shutdown().await.unwrap();
        });
    });
}

#[test]
fn a_dropped_writing_half_ends_the_writing() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let (reader, writer) = client.into_split();
            writer.write_all(b"last").await.unwrap();
            drop(writer);
            assert_eq!(read_all(&server).await, b"last");
            server.write_all(b"still open").await.unwrap();
            let mut buf = [0; 10];
            reader.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"still open");
        });
    });
}

#[test]
fn a_forgotten_writing_half_leaves_the_writing_open() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let (reader, writer) = client.into_split();
            writer.forget();
            let end = runtime::spawn(async move { server.read(&mut [0; 1]).await });
            assert!(waits(&end).await);
            drop(reader);
            assert_eq!(end.await.unwrap().unwrap(), 0);
        });
    });
}

#[test]
fn a_dropped_reading_half_closes_nothing() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let (reader, writer) = client.into_split();
            drop(reader);
            writer.write_all(b"alone").await.unwrap();
            drop(writer);
            assert_eq!(read_all(&server).await, b"alone");
        });
    });
}

#[test]
fn halves_of_one_stream_become_that_stream_again() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let addr = client.local_addr().unwrap();
            let (reader, writer) = client.into_split();
            assert_eq!((reader.local_addr().unwrap(), writer.local_addr().unwrap()), (addr, addr));
            let client = writer.reunite(reader).unwrap();
            client.write_all(b"whole").await.unwrap();
            let mut buf = [0; 5];
            server.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"whole");
        });
    });
}

#[test]
fn halves_of_two_streams_come_back_unharmed() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let (reader, writer) = client.into_split();
            let (other_reader, other_writer): (_, OwnedWriteHalf) = server.into_split();
            let error = reader.reunite(other_writer).unwrap_err();
            assert!(error.to_string().contains("not of the same stream"));
            let (reader, other_writer) = (error.0, error.1);
            other_writer.write_all(b"there").await.unwrap();
            let mut buf = [0; 5];
            reader.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"there");
            assert!(reader.reunite(writer).is_ok());
            assert!(other_reader.reunite(other_writer).is_ok());
        });
    });
}

#[test]
fn borrowed_halves_read_and_write_at_the_same_time() {
    on_each(|rt| {
        rt.block_on(async {
            let (mut one, other) = UnixStream::pair().unwrap();
            let echo = runtime::spawn(async move {
                let mut buf = [0; 4];
                other.read_exact(&mut buf).await.unwrap();
                other.write_all(&buf).await.unwrap();
            });
            let (reader, writer) = one.split();
            writer.write_all(b"echo").await.unwrap();
            let mut buf = [0; 4];
            reader.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"echo");
            echo.await.unwrap();
        });
    });
}

#[test]
fn owned_halves_read_and_write_in_two_tasks() {
    const ROUNDS: usize = 500;
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = tcp_pair().await.unwrap();
            let echo = runtime::spawn(async move {
                let (reader, writer) = server.into_split();
                let mut buf = [0; 64];
                loop {
                    match reader.read(&mut buf).await.unwrap() {
                        0 => return,
                        n => writer.write_all(&buf[..n]).await.unwrap(),
                    }
                }
            });
            let (reader, writer) = client.into_split();
            let write = async move {
                for n in 0..ROUNDS {
                    writer.write_all(&n.to_be_bytes()).await.unwrap();
                }
            };
            let read = async move {
                let mut buf = [0; size_of::<usize>()];
                for n in 0..ROUNDS {
                    reader.read_exact(&mut buf).await.unwrap();
                    assert_eq!(usize::from_be_bytes(buf), n);
                }
                assert_eq!(reader.read(&mut buf).await.unwrap(), 0);
            };
            both(write, read).await;
            echo.await.unwrap();
        });
    });
}
