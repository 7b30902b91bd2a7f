//! What hyper is given: our clock, our tasks, and our streams as they are.

use std::future::poll_fn;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::{Duration, Instant};

use hyper::rt::{Executor as _, Read, ReadBuf, Timer as _, Write};
use runtime::Promise;
use runtime::compat::hyper::{Executor, Timer};
use runtime::net::unix::UnixStream;
use runtime::time::now;
use runtime_tests::{on_each, on_each_paused, tcp_pair};

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn the_timer_goes_by_the_clock_of_the_runtime() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (timer, begin) = (Timer::new(), now());
            assert_eq!(timer.now(), begin);
            timer.sleep(HOUR).await;
            assert_eq!(now() - begin, HOUR);
            timer.sleep_until(begin + 3 * HOUR).await;
            assert_eq!(timer.now() - begin, 3 * HOUR);
        });
    });
}

#[test]
fn a_sleep_that_hyper_resets_ends_then() {
    /// A sleep that is not ours, as another timer makes it.
    struct Foreign;
    impl Future for Foreign {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            std::task::Poll::Pending
        }
    }
    impl hyper::rt::Sleep for Foreign {}

    on_each_paused(|rt| {
        rt.block_on(async {
            let (timer, begin) = (Timer::new(), now());
            let sleeps: [Pin<Box<dyn hyper::rt::Sleep>>; 3] =
                [timer.sleep(HOUR), timer.sleep(10 * HOUR), Box::pin(Foreign)];
            for (mut sleep, hours) in sleeps.into_iter().zip([5, 6, 7]) {
                let deadline: Instant = begin + hours * HOUR;
                timer.reset(&mut sleep, deadline);
                sleep.await;
                assert_eq!(now(), deadline);
            }
        });
    });
}

#[test]
fn the_executor_runs_futures_as_tasks() {
    on_each(|rt| {
        rt.block_on(async {
            let (promise, future) = Promise::new();
            Executor::new().execute(async move { promise.set_result(7).unwrap() });
            assert_eq!(future.await.unwrap(), 7);
        });
    });
}

/// Reads into memory that was never written to, until the end.
async fn read_to_end(mut stream: Pin<&mut impl Read>) -> Vec<u8> {
    let mut seen = Vec::new();
    loop {
        let mut room = [MaybeUninit::uninit(); 5];
        let mut buf = ReadBuf::uninit(&mut room);
        poll_fn(|cx| stream.as_mut().poll_read(cx, buf.unfilled())).await.unwrap();
        if buf.filled().is_empty() {
            return seen;
        }
        seen.extend_from_slice(buf.filled());
    }
}

async fn write_and_end(mut stream: Pin<&mut impl Write>) {
    assert!(stream.is_write_vectored());
    let pieces = [IoSlice::new(b"hello, "), IoSlice::new(b"world")];
    let count = poll_fn(|cx| stream.as_mut().poll_write_vectored(cx, &pieces)).await.unwrap();
    assert_eq!(count, 12, "one call takes both");
    assert_eq!(poll_fn(|cx| stream.as_mut().poll_write(cx, b"!")).await.unwrap(), 1);
    poll_fn(|cx| stream.as_mut().poll_flush(cx)).await.unwrap();
    poll_fn(|cx| stream.as_mut().poll_shutdown(cx)).await.unwrap();
}

async fn exchange(mut one: impl Read + Write + Unpin, mut other: impl Read + Write + Unpin) {
    write_and_end(Pin::new(&mut one)).await;
    assert_eq!(read_to_end(Pin::new(&mut other)).await, b"hello, world!");
    // The other direction is still open.
    write_and_end(Pin::new(&mut other)).await;
    assert_eq!(read_to_end(Pin::new(&mut one)).await, b"hello, world!");
}

#[test]
fn streams_are_hyper_s_as_they_are() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            exchange(one, other).await;
            let (one, other) = tcp_pair().await.unwrap();
            exchange(one, other).await;
        });
    });
}
