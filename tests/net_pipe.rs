//! Pipes carry bytes in one direction: within this process, and from and to its children.

use std::fs::File;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::process::{Child, Command, Stdio};

use runtime::io::Interest;
use runtime::net::unix::pipe::{Receiver, Sender, pipe};
use runtime_tests::{on_each, poll_once, single, waits};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, mknodat, open};
use rustix::pipe::{PipeFlags, pipe_with};

fn is_nonblocking(fd: &impl AsFd) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

/// Writes until there is no room; how much it was.
fn fill(sender: &Sender) -> usize {
    let mut written = 0;
    loop {
        match sender.try_write(&[1; 4_096]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return written;
            }
        }
    }
}

async fn read_to_end(receiver: &Receiver) -> Vec<u8> {
    let mut all = Vec::new();
    receiver.read_to_end(&mut all).await.unwrap();
    all
}

/// Bytes of which each place has its own, nearly.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 + n / 256) as u8).collect()
}

// --- within the process ---

#[test]
fn bytes_go_from_end_to_end_and_then_comes_the_end() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let reading = runtime::spawn(async move { read_to_end(&receiver).await });
            assert!(waits(&reading).await);
            sender.write_all(b"one ").await.unwrap();
            let parts = [IoSlice::new(b"two "), IoSlice::new(b""), IoSlice::new(b"three")];
            assert_eq!(sender.write_vectored(&parts).await.unwrap(), 9);
            assert!(waits(&reading).await);
            drop(sender);
            assert_eq!(reading.await.unwrap(), b"one two three");
        });
    });
}

#[test]
fn a_receiver_waits_for_bytes_and_for_the_end() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let mut buf = [0; 8];
            {
                let mut reading = pin!(receiver.read(&mut buf));
                assert!(poll_once(reading.as_mut()).await.is_pending());
                assert_eq!(sender.write(b"abc").await.unwrap(), 3);
                assert_eq!(reading.await.unwrap(), 3);
            }
            assert_eq!(&buf[..3], b"abc");
            let mut reading = pin!(receiver.read_exact(&mut buf));
            assert!(poll_once(reading.as_mut()).await.is_pending());
            drop(sender);
            assert_eq!(reading.await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        });
    });
}

#[test]
fn trying_without_bytes_or_room_would_block() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            assert_eq!(receiver.try_read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
            sender.writable().await.unwrap();
            assert_eq!(sender.try_write(b"a").unwrap(), 1);
            assert_eq!(sender.try_write_vectored(&[IoSlice::new(b"b"), IoSlice::new(b"c")]).unwrap(), 2);
            receiver.readable().await.unwrap();
            let (mut first, mut second) = ([0; 2], [0; 2]);
            let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            assert_eq!(receiver.try_read_vectored(&mut parts).unwrap(), 3);
            assert_eq!((&first, &second), (b"ab", b"c\0"));
            assert!(fill(&sender) > 0);
            assert_eq!(sender.try_write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
        });
    });
}

#[test]
fn a_sender_waits_while_the_pipe_is_full_and_goes_on_after_a_read() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let filled = fill(&sender);
            let writing = runtime::spawn(async move { sender.write_all(b"last").await });
            assert!(waits(&writing).await);
            receiver.read_exact(&mut vec![0; filled]).await.unwrap();
            writing.await.unwrap().unwrap();
            assert_eq!(read_to_end(&receiver).await, b"last");
        });
    });
}

#[test]
fn a_sender_is_told_that_nobody_reads_any_more() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            fill(&sender);
            let ready = runtime::spawn(async move { sender.ready(Interest::WRITABLE).await.unwrap() });
            assert!(waits(&ready).await);
            drop(receiver);
            assert!(ready.await.unwrap().is_write_closed());
        });
    });
}

#[test]
fn what_is_more_than_a_pipe_holds_arrives_whole_and_in_order() {
    const BYTES: usize = 4 * 1024 * 1024;
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let writing = runtime::spawn(async move {
                let bytes = pattern(BYTES);
                let (some, rest) = bytes.split_at(BYTES / 3);
                for part in some.chunks(4_099) {
                    sender.write_all(part).await.unwrap();
                }
                sender.write_all(rest).await.unwrap();
            });
            let (mut all, mut buf) = (Vec::new(), vec![0; 100_000]);
            for odd in (1..).step_by(1_234) {
                let len = 1 + odd % buf.len();
                match receiver.read(&mut buf[..len]).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&buf[..count]),
                }
            }
            writing.await.unwrap();
            // Not assert_eq, which would print them.
            assert!(all == pattern(BYTES), "other bytes than those written, or {} of them", all.len());
        });
    });
}

#[test]
fn a_write_that_nobody_will_read_is_an_error() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            drop(receiver);
            // A process that another test has begun to start holds the receiver for a moment.
            let error = loop {
                if let Err(error) = sender.write(b"x").await {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);

            let (sender, receiver) = pipe().unwrap();
            fill(&sender);
            let writing = runtime::spawn(async move { sender.write_all(b"x").await });
            assert!(waits(&writing).await);
            drop(receiver);
            assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_pipe_that_keeps_messages_apart_is_read_to_its_last_message() {
    on_each(|rt| {
        rt.block_on(async {
            let (read, write) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).unwrap();
            let (receiver, sender) = (Receiver::try_from(read).unwrap(), Sender::try_from(write).unwrap());
            let reading = runtime::spawn(async move {
                let (mut all, mut buf) = (Vec::new(), [0; 64]);
                while all.len() < 2 {
                    let count = receiver.read(&mut buf).await.unwrap();
                    all.extend_from_slice(&buf[..count]);
                }
                all
            });
            assert!(waits(&reading).await);
            sender.try_write(b"a").unwrap();
            sender.try_write(b"b").unwrap();
            assert_eq!(reading.await.unwrap(), b"ab");
        });
    });
}

// --- descriptors ---

#[test]
fn an_end_in_blocking_mode_is_made_one_that_does_not_block() {
    on_each(|rt| {
        rt.block_on(async {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
            let (receiver, sender) = (Receiver::try_from(read).unwrap(), Sender::try_from(write).unwrap());
            assert!(is_nonblocking(&receiver) && is_nonblocking(&sender));
            let mut buf = [0; 1];
            assert!(poll_once(pin!(receiver.read(&mut buf))).await.is_pending());
            fill(&sender);
            assert!(poll_once(pin!(sender.write(b"x"))).await.is_pending());
        });
    });
}

#[test]
fn an_end_becomes_a_descriptor_in_the_mode_that_was_asked_for() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            // Watched before it leaves.
            sender.writable().await.unwrap();
            let fd = sender.into_blocking_fd().unwrap();
            assert!(!is_nonblocking(&fd));
            File::from(fd).write_all(b"file").unwrap();
            let fd = receiver.into_nonblocking_fd().unwrap();
            assert!(is_nonblocking(&fd));
            let fd = OwnedFd::from(Receiver::try_from(fd).unwrap());
            assert!(is_nonblocking(&fd));
            assert_eq!(read_to_end(&Receiver::try_from(fd).unwrap()).await, b"file");
        });
    });
}

#[test]
fn what_is_no_pipe_or_its_other_end_is_refused() {
    let file = || OwnedFd::from(File::open("/proc/self/exe").unwrap());
    let socket = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let (sender, receiver) = pipe().unwrap();
    let refusals = [
        Sender::try_from(file()).map(drop),
        Receiver::try_from(file()).map(drop),
        Sender::try_from(socket()).map(drop),
        Receiver::try_from(socket()).map(drop),
        Receiver::try_from(OwnedFd::from(sender)).map(drop),
        Sender::try_from(OwnedFd::from(receiver)).map(drop),
    ];
    for refusal in refusals {
        assert_eq!(refusal.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_named_pipe_that_was_opened_for_both_directions_is_both_ends() {
    let rt = single();
    rt.block_on(async {
        let path = std::env::temp_dir().join(format!("runtime-pipe-{}", std::process::id()));
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let both = open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        std::fs::remove_file(&path).unwrap();
        let both = both.unwrap();
        let sender = Sender::try_from(both.try_clone().unwrap()).unwrap();
        let receiver = Receiver::try_from(both).unwrap();
        let mut buf = [0; 8];
        let mut reading = pin!(receiver.read(&mut buf));
        assert!(poll_once(reading.as_mut()).await.is_pending());
        sender.write_all(b"named").await.unwrap();
        assert_eq!(reading.await.unwrap(), 5);
    });
}

// --- children ---

/// Waits for the end of a child that is not to fail.
async fn succeeds(mut child: Child) {
    let status = runtime::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn a_childs_output_is_read_to_its_end() {
    on_each(|rt| {
        rt.block_on(async {
            let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn().unwrap();
            let output = Receiver::try_from(child.stdout.take().unwrap()).unwrap();
            assert_eq!(read_to_end(&output).await, b"hello\n");
            succeeds(child).await;
        });
    });
}

#[test]
fn a_childs_errors_are_read_to_their_end() {
    on_each(|rt| {
        rt.block_on(async {
            let mut command = Command::new("sh");
            let mut child = command.args(["-c", "echo hello >&2"]).stderr(Stdio::piped()).spawn().unwrap();
            let errors = Receiver::try_from(child.stderr.take().unwrap()).unwrap();
            assert_eq!(read_to_end(&errors).await, b"hello\n");
            succeeds(child).await;
        });
    });
}

#[test]
fn a_child_is_fed_and_read_at_the_same_time() {
    const BYTES: usize = 1024 * 1024;
    on_each(|rt| {
        rt.block_on(async {
            let mut command = Command::new("cat");
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let input = Sender::try_from(child.stdin.take().unwrap()).unwrap();
            let output = Receiver::try_from(child.stdout.take().unwrap()).unwrap();
            let feeding = runtime::spawn(async move { input.write_all(&pattern(BYTES)).await });
            let copy = read_to_end(&output).await;
            feeding.await.unwrap().unwrap();
            assert!(copy == pattern(BYTES), "the child has another copy, of {} bytes", copy.len());
            succeeds(child).await;
        });
    });
}

#[test]
fn a_child_reads_from_an_end_that_was_made_here() {
    on_each(|rt| {
        rt.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let input = receiver.into_blocking_fd().unwrap();
            let mut child = Command::new("cat").stdin(input).stdout(Stdio::piped()).spawn().unwrap();
            let output = Receiver::try_from(child.stdout.take().unwrap()).unwrap();
            sender.write_all(b"hello").await.unwrap();
            drop(sender);
            assert_eq!(read_to_end(&output).await, b"hello");
            succeeds(child).await;
        });
    });
}

// --- traits ---

#[test]
fn the_ends_have_the_traits_of_tokio_and_of_futures_io() {
    on_each(|rt| {
        rt.block_on(async {
            let (mut sender, mut receiver) = pipe().unwrap();
            let parts = [IoSlice::new(b"one "), IoSlice::new(b"two ")];
            let write =
                poll_fn(|cx| tokio::io::AsyncWrite::poll_write_vectored(Pin::new(&mut sender), cx, &parts));
            assert_eq!(write.await.unwrap(), 8);
            let write =
                poll_fn(|cx| futures_io::AsyncWrite::poll_write(Pin::new(&mut &sender), cx, b"three"));
            assert_eq!(write.await.unwrap(), 5);
            // Only the drop ends a pipe.
            poll_fn(|cx| tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut sender), cx)).await.unwrap();
            poll_fn(|cx| futures_io::AsyncWrite::poll_close(Pin::new(&mut sender), cx)).await.unwrap();
            sender.write_all(b"!").await.unwrap();
            drop(sender);

            let mut room = [MaybeUninit::uninit(); 4];
            let mut buf = tokio::io::ReadBuf::uninit(&mut room);
            poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut receiver), cx, &mut buf))
                .await
                .unwrap();
            assert_eq!(buf.filled(), b"one ");
            let mut buf = [0; 64];
            for rest in [b"two three!".as_slice(), b""] {
                let read =
                    poll_fn(|cx| futures_io::AsyncRead::poll_read(Pin::new(&mut &receiver), cx, &mut buf));
                let count = read.await.unwrap();
                assert_eq!(&buf[..count], rest);
            }
        });
    });
}

#[test]
fn the_ends_have_the_traits_of_hyper() {
    use hyper::rt::{Read, ReadBuf, Write};
    on_each(|rt| {
        rt.block_on(async {
            let (mut sender, mut receiver) = pipe().unwrap();
            assert!(sender.is_write_vectored());
            let written = poll_fn(|cx| Write::poll_write(Pin::new(&mut sender), cx, b"hello")).await;
            assert_eq!(written.unwrap(), 5);
            let mut room = [MaybeUninit::uninit(); 8];
            let mut buf = ReadBuf::uninit(&mut room);
            poll_fn(|cx| Read::poll_read(Pin::new(&mut receiver), cx, buf.unfilled())).await.unwrap();
            assert_eq!(buf.filled(), b"hello");
        });
    });
}
