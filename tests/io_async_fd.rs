//! Descriptors of any kind are waited for: pipes, named pipes, event descriptors.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use runtime::Runtime;
use runtime::io::{AsyncFd, AsyncFdReadyGuard, Interest, Ready, TryIoError};
use runtime::net::TcpStream;
use runtime_tests::{CountingWaker, alone, multi, on_each, open_files_but_timers, single, tcp_pair, waits};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::{PipeFlags, pipe_with};

/// A pipe in non-blocking mode: where it is read, and where it is written.
fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap()
}

/// The same, with the reading end watched.
fn watched_pipe() -> (AsyncFd<OwnedFd>, OwnedFd) {
    let (read, write) = pipe();
    (AsyncFd::new(read).unwrap(), write)
}

fn take(fd: &impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd, buf)?)
}

fn put(fd: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(fd, bytes)?)
}

/// Reads what there is, and waits if there is nothing.
async fn read(fd: &AsyncFd<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut buf = [0; 64];
    let count = fd.async_io(Interest::READABLE, |fd| take(fd, &mut buf)).await?;
    Ok(buf[..count].to_vec())
}

fn try_take(guard: &mut AsyncFdReadyGuard<'_, OwnedFd>) -> Result<io::Result<usize>, TryIoError> {
    guard.try_io(|fd| take(fd.get_ref(), &mut [0; 64]))
}

/// Fills a pipe.
fn fill(fd: &OwnedFd) {
    while put(fd, &[0; 4096]).is_ok() {}
}

/// Polls once and gives up.
fn poll_once<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

fn registered(rt: &Runtime) -> usize {
    rt.metrics().registered_objects()
}

// --- waiting ---

#[test]
fn a_reader_of_a_pipe_waits_for_bytes() {
    on_each(|rt| {
        rt.block_on(async {
            let (fd, write) = watched_pipe();
            let reading = runtime::spawn(async move {
                let mut guard = fd.readable().await.unwrap();
                assert!(guard.ready().is_readable());
                try_take(&mut guard).unwrap().unwrap()
            });
            assert!(waits(&reading).await);
            put(&write, b"abc").unwrap();
            assert_eq!(reading.await.unwrap(), 3);
        });
    });
}

#[test]
fn a_writer_to_a_full_pipe_waits_for_room() {
    on_each(|rt| {
        rt.block_on(async {
            let (read, write) = pipe();
            fill(&write);
            let fd = AsyncFd::new(write).unwrap();
            let writing = runtime::spawn(async move {
                let mut guard = fd.writable().await.unwrap();
                assert!(guard.ready().is_writable());
                guard.try_io(|fd| put(fd.get_ref(), b"abc")).unwrap().unwrap()
            });
            assert!(waits(&writing).await);
            take(&read, &mut [0; 65_536]).unwrap();
            assert_eq!(writing.await.unwrap(), 3);
        });
    });
}

#[test]
fn an_event_descriptor_hands_its_count_to_who_waits() {
    on_each(|rt| {
        rt.block_on(async {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
            let fd = Arc::new(AsyncFd::with_interest(event, Interest::READABLE).unwrap());
            for count in 1..=3_u64 {
                let waiting = fd.clone();
                let task = runtime::spawn(async move { read(&waiting).await });
                assert!(waits(&task).await);
                put(fd.get_ref(), &count.to_ne_bytes()).unwrap();
                assert_eq!(task.await.unwrap().unwrap(), count.to_ne_bytes());
            }
        });
    });
}

#[test]
fn waiters_for_the_same_direction_are_all_woken() {
    on_each(|rt| {
        rt.block_on(async {
            let (fd, write) = watched_pipe();
            let fd = Arc::new(fd);
            let wait =
                |fd: Arc<AsyncFd<OwnedFd>>| async move { fd.readable().await.map(|guard| guard.ready()) };
            let tasks = [(); 3].map(|()| runtime::spawn(wait(fd.clone())));
            for task in &tasks {
                assert!(waits(task).await);
            }
            put(&write, b"x").unwrap();
            for task in tasks {
                assert!(task.await.unwrap().unwrap().is_readable());
            }
        });
    });
}

#[test]
fn one_object_is_read_and_written_at_a_time() {
    on_each(|rt| {
        rt.block_on(async {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            theirs.set_nonblocking(true).unwrap();
            let ours = OwnedFd::from(ours);
            fill(&ours);
            let fd = Arc::new(AsyncFd::new(ours).unwrap());
            let (reader, writer) = (fd.clone(), fd);
            let reading = runtime::spawn(async move { read(&reader).await });
            let writing =
                runtime::spawn(
                    async move { writer.async_io(Interest::WRITABLE, |fd| put(fd, b"out")).await },
                );
            assert!(waits(&reading).await && waits(&writing).await);
            put(&theirs, b"in").unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), b"in");
            assert!(waits(&writing).await);
            // At the end of what there is, or of the stream: the writer may have gone already.
            while take(&theirs, &mut [0; 65_536]).is_ok_and(|count| count > 0) {}
            assert_eq!(writing.await.unwrap().unwrap(), 3);
        });
    });
}

#[test]
fn a_wait_for_both_directions_ends_with_either() {
    on_each(|rt| {
        rt.block_on(async {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = OwnedFd::from(ours);
            fill(&ours);
            let fd = AsyncFd::new(ours).unwrap();
            let waiting = runtime::spawn(async move {
                let both = Interest::READABLE | Interest::WRITABLE;
                fd.ready(both).await.map(|guard| guard.ready())
            });
            assert!(waits(&waiting).await);
            put(&theirs, b"x").unwrap();
            let ready = waiting.await.unwrap().unwrap();
            assert!(ready.is_readable() && !ready.is_writable(), "{ready:?}");
        });
    });
}

#[test]
fn an_operation_that_waits_for_either_direction_takes_neither_from_others() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            one.set_nonblocking(true).unwrap();
            let fd = Arc::new(AsyncFd::new(one).unwrap());
            let tries = Arc::new(AtomicUsize::new(0));
            let reading = {
                let (fd, tries) = (fd.clone(), tries.clone());
                runtime::spawn(async move {
                    let both = Interest::READABLE | Interest::WRITABLE;
                    fd.async_io(both, |fd| {
                        tries.fetch_add(1, Ordering::Relaxed);
                        take(fd, &mut [0; 64])
                    })
                    .await
                })
            };
            assert!(waits(&reading).await);
            for _ in 0..10 {
                fd.async_io(Interest::WRITABLE, |fd| put(fd, b"request")).await.unwrap();
                runtime::task::yield_now().await;
            }
            let before = tries.load(Ordering::Relaxed);
            // Where an event comes only to who asks for it, a direction that is always ready answers each time.
            assert!(before <= 3 || cfg!(runtime_portable), "{before} tries where nothing came");
            put(&other, b"answer").unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), 6);
        });
    });
}

#[test]
fn an_operation_that_was_interrupted_is_made_again() {
    on_each(|rt| {
        rt.block_on(async {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let fd = AsyncFd::new(ours).unwrap();
            for interest in [Interest::WRITABLE, Interest::READABLE, Interest::READABLE | Interest::WRITABLE]
            {
                let mut tries = 0;
                let op = |_: &_| {
                    tries += 1;
                    if tries < 4 { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
                };
                fd.async_io(interest, op).await.unwrap();
                assert_eq!(tries, 4, "{interest:?}");
            }
        });
    });
}

#[test]
fn a_second_watch_of_a_descriptor_is_refused_and_the_first_goes_on() {
    on_each(|rt| {
        rt.block_on(async {
            let (read, write) = pipe();
            let (first, second) = (AsyncFd::new(read.as_fd()).unwrap(), AsyncFd::new(read.as_fd()).unwrap());
            let mut waiting = pin!(first.readable());
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(second.readable().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
            drop(second);
            put(&write, b"x").unwrap();
            waiting.await.unwrap().clear_ready();
        });
    });
}

#[test]
fn polling_keeps_the_waker_of_the_last_caller() {
    let rt = single();
    rt.block_on(async {
        let (fd, write) = watched_pipe();
        let ((first, first_waker), (last, last_waker)) = (CountingWaker::new(), CountingWaker::new());
        assert!(fd.poll_read_ready(&mut Context::from_waker(&first_waker)).is_pending());
        assert!(fd.poll_read_ready(&mut Context::from_waker(&last_waker)).is_pending());
        put(&write, b"x").unwrap();
        // Another wait, which begins later and so is woken later.
        drop(fd.readable().await.unwrap());
        assert_eq!((first.wakes(), last.wakes()), (0, 1));
        assert!(fd.poll_read_ready(&mut Context::from_waker(&last_waker)).is_ready());
    });
}

// --- readiness ---

#[test]
fn an_attempt_that_would_block_makes_the_next_wait_wait() {
    on_each(|rt| {
        rt.block_on(async {
            let (fd, write) = watched_pipe();
            put(&write, b"x").unwrap();
            let mut guard = fd.readable().await.unwrap();
            assert_eq!(try_take(&mut guard).unwrap().unwrap(), 1);
            assert!(try_take(&mut guard).is_err());
            assert!(!guard.ready().is_readable());
            drop(guard);
            let reading = runtime::spawn(async move { read(&fd).await });
            assert!(waits(&reading).await);
            put(&write, b"y").unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), b"y");
        });
    });
}

#[test]
fn an_error_other_than_would_block_comes_out_of_the_attempt() {
    let rt = single();
    rt.block_on(async {
        let (fd, write) = watched_pipe();
        put(&write, b"x").unwrap();
        let mut guard = fd.readable().await.unwrap();
        let result = guard.try_io(|_| io::Result::<()>::Err(ErrorKind::Other.into()));
        assert_eq!(result.unwrap().unwrap_err().kind(), ErrorKind::Other);
        assert!(guard.ready().is_readable());
    });
}

#[test]
fn a_guard_that_is_dropped_leaves_the_object_ready() {
    let rt = single();
    rt.block_on(async {
        let (fd, write) = watched_pipe();
        put(&write, b"x").unwrap();
        drop(fd.readable().await.unwrap());
        let (_, waker) = CountingWaker::new();
        assert!(poll_once(fd.readable(), &waker).is_ready());
    });
}

#[test]
fn an_object_that_was_cleared_is_not_ready() {
    let rt = single();
    rt.block_on(async {
        let (fd, write) = watched_pipe();
        put(&write, b"x").unwrap();
        let mut guard = fd.readable().await.unwrap();
        guard.clear_ready_matching(Ready::WRITABLE);
        assert!(guard.ready().is_readable());
        guard.clear_ready();
        assert!(guard.ready().is_empty());
        take(fd.get_ref(), &mut [0; 8]).unwrap();
        let (_, waker) = CountingWaker::new();
        assert!(poll_once(fd.readable(), &waker).is_pending());
    });
}

#[test]
fn news_since_the_guard_was_made_survive_that_it_is_cleared() {
    on_each(|rt| {
        rt.block_on(async {
            let (fd, write) = watched_pipe();
            let (later, write_later) = watched_pipe();
            put(&write, b"old").unwrap();
            let mut guard = fd.readable().await.unwrap();
            assert_eq!(try_take(&mut guard).unwrap().unwrap(), 3);
            put(&write, b"news").unwrap();
            // Events come in order: when the later one is here, so is that of the news.
            put(&write_later, b"x").unwrap();
            drop(later.readable().await.unwrap());
            guard.clear_ready();
            drop(guard);
            let mut guard = fd.readable().await.unwrap();
            assert_eq!(try_take(&mut guard).unwrap().unwrap(), 4);
        });
    });
}

#[test]
fn a_try_finds_what_came_after_it_had_found_nothing() {
    on_each(|rt| {
        rt.block_on(async {
            let (fd, write) = watched_pipe();
            put(&write, b"x").unwrap();
            let mut guard = fd.readable().await.unwrap();
            assert_eq!(try_take(&mut guard).unwrap().unwrap(), 1);
            assert!(try_take(&mut guard).is_err());
            drop(guard);
            let try_once = || fd.try_io(Interest::READABLE, |fd| take(fd, &mut [0; 8]));
            assert_eq!(try_once().unwrap_err().kind(), ErrorKind::WouldBlock);
            put(&write, b"yz").unwrap();
            loop {
                match try_once() {
                    Ok(count) => break assert_eq!(count, 2),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                runtime::task::yield_now().await;
            }
        });
    });
}

#[test]
fn a_guard_with_exclusive_access_hands_out_the_owner() {
    let rt = single();
    rt.block_on(async {
        let (mut fd, write) = watched_pipe();
        put(&write, b"x").unwrap();
        let mut guard = fd.readable_mut().await.unwrap();
        let number = guard.get_inner_mut().as_raw_fd();
        assert_eq!(guard.try_io(|fd| take(fd.get_mut(), &mut [0; 8])).unwrap().unwrap(), 1);
        assert!(guard.try_io(|fd| take(fd.get_mut(), &mut [0; 8])).is_err());
        assert_eq!(fd.as_raw_fd(), number);
    });
}

// --- errors ---

#[test]
fn a_wait_for_a_direction_that_was_left_out_is_invalid() {
    let rt = single();
    rt.block_on(async {
        let (read, _write) = pipe();
        let fd = AsyncFd::with_interest(read, Interest::READABLE).unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        let (_, waker) = CountingWaker::new();
        let polled = match fd.poll_write_ready(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => result.map(drop),
            Poll::Pending => Ok(()),
        };
        let results = [
            fd.writable().await.map(drop),
            fd.ready(both).await.map(drop),
            fd.try_io(Interest::WRITABLE, |_| Ok(())),
            fd.async_io(both, |_| Ok(())).await,
            polled,
        ];
        for result in results {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_regular_file_is_refused_by_the_system_and_nothing_is_kept() {
    alone("io_async_fd::a_regular_file_is_refused_by_the_system_and_nothing_is_kept", || {
        let rt = single();
        rt.block_on(async {
            let refused = || async {
                let fd = AsyncFd::new(File::open("/proc/self/exe").unwrap()).unwrap();
                let error = fd.readable().await.unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            };
            refused().await;
            let open = open_files_but_timers();
            for _ in 0..100 {
                refused().await;
            }
            assert_eq!((open_files_but_timers(), registered(&rt)), (open, 0));
        });
    });
}

#[test]
fn a_wait_ends_with_an_error_when_its_runtime_ends() {
    on_each(|rt| {
        let other = multi(1);
        let (fd, _write) = watched_pipe();
        let fd = Arc::new(fd);
        let (_, waker) = CountingWaker::new();
        // Watched by the runtime that the first wait stands in.
        {
            let _context = rt.enter();
            assert!(poll_once(fd.readable(), &waker).is_pending());
        }
        let waiting = other.spawn(async move { fd.readable().await.map(drop) });
        other.block_on(async { assert!(waits(&waiting).await) });
        drop(rt);
        assert!(waiting.wait().unwrap().is_err());
    });
}

// --- ends ---

#[test]
fn a_waiting_reader_sees_that_the_last_writer_went() {
    on_each(|rt| {
        rt.block_on(async {
            let (fd, write) = watched_pipe();
            let reading = runtime::spawn(async move {
                let mut guard = fd.readable().await.unwrap();
                (guard.ready(), try_take(&mut guard).unwrap().unwrap())
            });
            assert!(waits(&reading).await);
            drop(write);
            let (ready, count) = reading.await.unwrap();
            assert!(ready.is_read_closed(), "{ready:?}");
            assert_eq!(count, 0);
        });
    });
}

#[test]
fn a_waiting_writer_sees_that_the_last_reader_went() {
    on_each(|rt| {
        rt.block_on(async {
            let (read, write) = pipe();
            fill(&write);
            let fd = AsyncFd::with_interest(write, Interest::WRITABLE).unwrap();
            let writing =
                runtime::spawn(async move { fd.async_io(Interest::WRITABLE, |fd| put(fd, b"x")).await });
            assert!(waits(&writing).await);
            drop(read);
            assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    });
}

/// A named pipe that is gone at the end.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("runtime-fifo-{}-{name}", std::process::id()));
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        Fifo(path)
    }

    fn open(&self, access: OFlags) -> OwnedFd {
        open(&self.0, access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_named_pipe_goes_on_with_its_next_writer() {
    on_each(|rt| {
        rt.block_on(async {
            let fifo = Fifo::new(&format!("{:?}", rt.handle().id()));
            let fd = Arc::new(AsyncFd::new(fifo.open(OFlags::RDONLY)).unwrap());
            let spawn_read = || {
                let fd = fd.clone();
                runtime::spawn(async move { read(&fd).await })
            };
            for round in 0..3_u8 {
                let writer = fifo.open(OFlags::WRONLY);
                let reading = spawn_read();
                assert!(waits(&reading).await, "round {round}");
                put(&writer, &[round]).unwrap();
                assert_eq!(reading.await.unwrap().unwrap(), [round]);
                let reading = spawn_read();
                assert!(waits(&reading).await, "round {round}");
                drop(writer);
                assert_eq!(reading.await.unwrap().unwrap(), []);
            }
        });
    });
}

// --- the end of a watch ---

#[test]
fn abandoned_waits_leave_nothing_behind() {
    let rt = single();
    rt.block_on(async {
        let (fd, write) = watched_pipe();
        let (count, waker) = CountingWaker::new();
        let owners = Arc::strong_count(&count);
        for _ in 0..2_000 {
            assert!(poll_once(fd.readable(), &waker).is_pending());
            assert!(poll_once(read(&fd), &waker).is_pending());
        }
        assert_eq!(Arc::strong_count(&count), owners);
        put(&write, b"x").unwrap();
        drop(fd.readable().await.unwrap());
        assert_eq!(count.wakes(), 0);
        drop(fd);
        assert_eq!(registered(&rt), 0);
    });
}

#[test]
fn an_abandoned_wait_takes_the_event_from_nobody() {
    on_each(|rt| {
        rt.block_on(async {
            let (fd, write) = watched_pipe();
            let fd = Arc::new(fd);
            let spawn_read = || {
                let fd = fd.clone();
                runtime::spawn(async move { read(&fd).await })
            };
            let (abandoned, kept) = (spawn_read(), spawn_read());
            assert!(waits(&abandoned).await && waits(&kept).await);
            put(&write, b"x").unwrap();
            abandoned.cancel();
            // The one that was cancelled may have been quicker; then there is nothing left for the other.
            if abandoned.await.is_ok() {
                put(&write, b"x").unwrap();
            }
            assert_eq!(kept.await.unwrap().unwrap(), b"x");
        });
    });
}

#[test]
fn an_object_without_a_wait_is_not_watched() {
    let rt = single();
    rt.block_on(async {
        let (fd, write) = watched_pipe();
        put(&write, b"x").unwrap();
        assert_eq!(read(&fd).await.unwrap(), b"x");
        assert_eq!(registered(&rt), 0);
    });
}

#[test]
fn taking_the_owner_out_ends_the_watch() {
    on_each(|rt| {
        rt.block_on(async {
            let (mut fd, write) = watched_pipe();
            let (_, waker) = CountingWaker::new();
            for _ in 0..3 {
                assert!(poll_once(fd.readable(), &waker).is_pending());
                assert_eq!(registered(&rt), 1);
                let inner = fd.into_inner();
                assert_eq!(registered(&rt), 0);
                assert_eq!(take(&inner, &mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
                // The system refuses a descriptor that is watched already.
                fd = AsyncFd::new(inner).unwrap();
            }
            let reading = runtime::spawn(async move { read(&fd).await });
            assert!(waits(&reading).await);
            put(&write, b"x").unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), b"x");
        });
    });
}

#[test]
fn dropping_ends_the_watch_although_a_duplicate_lives() {
    // In a process of its own, in which the second descriptor gets the number of the first.
    alone("io_async_fd::dropping_ends_the_watch_although_a_duplicate_lives", || {
        let rt = single();
        rt.block_on(async {
            let (original, write) = pipe();
            let (_, waker) = CountingWaker::new();
            let mut numbers = Vec::new();
            for _ in 0..3 {
                let fd = AsyncFd::new(original.try_clone().unwrap()).unwrap();
                numbers.push(fd.as_raw_fd());
                assert!(poll_once(fd.readable(), &waker).is_pending());
            }
            numbers.dedup();
            assert_eq!((numbers.len(), registered(&rt)), (1, 0));
            put(&write, b"x").unwrap();
            assert_eq!(read(&AsyncFd::new(original).unwrap()).await.unwrap(), b"x");
        });
    });
}

#[test]
fn a_guard_for_both_directions_does_not_hide_the_end_of_the_stream() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            one.set_nonblocking(true).unwrap();
            // No room to write, and nothing more to read.
            while (&one).write(&[0; 4_096]).is_ok() {}
            other.shutdown(Shutdown::Write).unwrap();
            let one = AsyncFd::new(one).unwrap();
            let mut guard = one.ready(Interest::READABLE | Interest::WRITABLE).await.unwrap();
            let exact = guard.ready().is_read_closed() && !guard.ready().is_writable();
            // The portable poller tells only who waits, and may say more than there is.
            assert!(exact || cfg!(runtime_portable), "{guard:?}");
            let tried = guard.try_io(|one| one.get_ref().write(b"x"));
            assert!(tried.is_err());
            let read = one.async_io(Interest::READABLE, |mut one| one.read(&mut [0])).await;
            assert_eq!(read.unwrap(), 0);
        });
    });
}

// --- urgent data ---

/// Takes the urgent byte of a TCP connection.
fn take_urgent(fd: &impl AsFd) -> io::Result<u8> {
    let mut byte = [0_u8];
    match rustix::net::recv(fd, &mut byte, RecvFlags::OOB) {
        Ok(_) => Ok(byte[0]),
        // That there is none is no would-block for the system.
        Err(rustix::io::Errno::INVAL) => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

fn put_urgent(fd: &impl AsFd, byte: u8) {
    assert_eq!(rustix::net::send(fd, &[byte], SendFlags::OOB).unwrap(), 1);
}

/// A connection, whose second end is watched for urgent data.
async fn urgent_pair() -> (TcpStream, AsyncFd<net::TcpStream>) {
    let (client, server) = tcp_pair().await.unwrap();
    (client, AsyncFd::with_interest(server.into_std().unwrap(), Interest::PRIORITY).unwrap())
}

#[test]
fn a_call_that_takes_urgent_data_is_made_when_there_is_some() {
    on_each(|rt| {
        rt.block_on(async {
            let (client, server) = urgent_pair().await;
            for byte in *b"12" {
                let mut taking = pin!(server.async_io(Interest::PRIORITY, take_urgent));
                assert!(runtime_tests::poll_once(taking.as_mut()).await.is_pending());
                client.write_all(b"other data").await.unwrap();
                assert!(runtime_tests::poll_once(taking.as_mut()).await.is_pending());
                put_urgent(&client, byte);
                assert_eq!(taking.await.unwrap(), byte);
            }
        });
    });
}

#[test]
fn a_wait_for_urgent_data_waits_again_when_its_guard_was_cleared() {
    let rt = single();
    rt.block_on(async {
        let (client, server) = urgent_pair().await;
        assert_eq!(server.readable().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (_, waker) = CountingWaker::new();
        for byte in *b"12" {
            put_urgent(&client, byte);
            let mut guard = server.ready(Interest::PRIORITY).await.unwrap();
            assert!(guard.ready().is_priority(), "{guard:?}");
            assert_eq!(guard.try_io(|server| take_urgent(server.get_ref())).unwrap().unwrap(), byte);
            // Taking it was no would-block.
            assert!(poll_once(server.ready(Interest::PRIORITY), &waker).is_ready());
            guard.clear_ready();
            drop(guard);
            client.write_all(b"other data").await.unwrap();
            assert!(poll_once(server.ready(Interest::PRIORITY), &waker).is_pending());
        }
    });
}
