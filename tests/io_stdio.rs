//! The standard streams, in processes of their own.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, mpsc};
use std::task::Context;
use std::time::{Duration, Instant};

use runtime::Runtime;
use runtime::io::{stderr, stdin, stdout};
use runtime_tests::{CountingWaker, child_command, is_child, multi, on_each, promptly, single, waits};

/// What a child says on its standard output when it wants to be heard.
const READY: &str = "ready";

/// A test of this file that runs again, with its standard streams in our hands.
struct Peer {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Peer {
    fn new(test: &str) -> Self {
        let mut command = child_command(&format!("io_stdio::{test}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the test starts again");
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().map(BufReader::new);
        Peer { process, stdin, stdout }
    }

    /// Reads lines until one ends with `end`.
    fn hear(&mut self, end: &str) {
        let mut line = String::new();
        while !line.trim_end().ends_with(end) {
            line.clear();
            let count = self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
            assert!(count > 0, "the child does not say {end}");
        }
    }

    fn say(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// How it ends, and what it says until then. Its input stays open, unless it was closed before.
    fn end(mut self) -> (Option<i32>, String, String) {
        let held = self.stdin.take();
        let mut out = Vec::new();
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_end(&mut out).unwrap();
        }
        let mut err = Vec::new();
        self.process.stderr.take().unwrap().read_to_end(&mut err).unwrap();
        let code = self.process.wait().unwrap().code();
        drop(held);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (code, text(&out), text(&err))
    }

    #[track_caller]
    fn succeeds(self) -> (String, String) {
        let (code, out, err) = self.end();
        assert_eq!(code, Some(0), "{out}\n{err}");
        assert!(out.contains("1 passed"), "no such test\n{out}\n{err}");
        (out, err)
    }
}

async fn line() -> String {
    let mut line = String::new();
    stdin().read_line(&mut line).await.unwrap();
    line
}

// --- input ---

#[test]
fn lines_of_the_input_arrive_whole_and_in_order() {
    if is_child() {
        return single().block_on(async {
            for expected in ["one\n", "\n", "two\n", "last", "", ""] {
                assert_eq!(line().await, expected);
            }
        });
    }
    let mut peer = Peer::new("lines_of_the_input_arrive_whole_and_in_order");
    for part in ["o", "ne\n\nt", "wo\nla", "st"] {
        peer.say(part);
    }
    peer.stdin = None;
    peer.succeeds();
}

#[test]
fn a_line_arrives_before_the_next_one_is_written() {
    if is_child() {
        return multi(2).block_on(async {
            for number in 0..20 {
                println!("\n{READY} {number}");
                assert_eq!(runtime::spawn(line()).await.unwrap(), format!("{number}\n"));
            }
        });
    }
    let mut peer = Peer::new("a_line_arrives_before_the_next_one_is_written");
    for number in 0..20 {
        peer.hear(&format!("{READY} {number}"));
        peer.say(&format!("{number}\n"));
    }
    peer.succeeds();
}

#[test]
fn an_input_that_is_not_text_is_read_as_bytes_and_refused_as_a_line() {
    if is_child() {
        return single().block_on(async {
            let error = stdin().read_line(&mut String::new()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let mut rest = Vec::new();
            assert_eq!(stdin().read_to_end(&mut rest).await.unwrap(), 3);
            assert_eq!(rest, b"\xff\n\xfe");
        });
    }
    let mut peer = Peer::new("an_input_that_is_not_text_is_read_as_bytes_and_refused_as_a_line");
    peer.stdin.as_mut().unwrap().write_all(b"\xff\n\xff\n\xfe").unwrap();
    peer.stdin = None;
    peer.succeeds();
}

#[test]
fn megabytes_of_input_arrive_whole() {
    const LEN: usize = 3 << 20;
    let bytes = || (0..LEN).map(|n| (n % 251) as u8).collect::<Vec<_>>();
    if is_child() {
        return single().block_on(async {
            let mut all = Vec::new();
            assert_eq!(stdin().read_to_end(&mut all).await.unwrap(), LEN);
            assert!(all == bytes());
        });
    }
    let mut peer = Peer::new("megabytes_of_input_arrive_whole");
    peer.stdin.as_mut().unwrap().write_all(&bytes()).unwrap();
    peer.stdin = None;
    peer.succeeds();
}

#[test]
fn a_pending_read_of_the_input_does_not_hold_up_the_end_of_the_process() {
    if is_child() {
        return single().block_on(async {
            let reading = runtime::spawn(line());
            assert!(waits(&reading).await);
        });
    }
    // Its input stays open until it has ended.
    Peer::new("a_pending_read_of_the_input_does_not_hold_up_the_end_of_the_process").succeeds();
}

/// Leaves a write behind that ends only when somebody reads.
fn write_what_nobody_takes(rt: &Runtime) {
    rt.block_on(async {
        let mut out = stdout();
        // More than a pipe holds: one of the two is stuck.
        for _ in 0..2 {
            let _ = runtime::time::timeout(Duration::from_millis(1), out.write(&[b'x'; 64 << 10])).await;
        }
    });
}

/// Ends a child that says when it is ready, without the harness, which would print behind that.
fn exit_unread() -> ! {
    eprintln!("{READY}");
    std::process::exit(0);
}

/// The child is ready although nobody reads its output until it has ended.
#[track_caller]
fn ends_unread(test: &str) {
    let mut peer = Peer::new(test);
    let mut err = String::new();
    peer.process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains(READY), "{err}");
    assert_eq!(peer.process.wait().unwrap().code(), Some(0));
}

#[test]
fn an_output_that_nobody_takes_does_not_hold_up_the_end_of_the_process() {
    if is_child() {
        let rt = multi(1);
        write_what_nobody_takes(&rt);
        promptly(|| drop(rt));
        exit_unread();
    }
    ends_unread("an_output_that_nobody_takes_does_not_hold_up_the_end_of_the_process");
}

#[test]
fn an_output_that_nobody_takes_is_waited_for_as_long_as_the_grace() {
    // Longer than what there is without a grace.
    const GRACE: Duration = Duration::from_millis(150);
    if is_child() {
        let runtimes: Vec<_> = (0..6).map(|_| multi(1)).collect();
        runtimes.iter().for_each(write_what_nobody_takes);
        let shutdown = |rt: Runtime| {
            let begin = Instant::now();
            rt.shutdown(GRACE);
            begin.elapsed()
        };
        // A job of the user's would be waited for a second longer. A busy machine does not draw all of them out.
        let shortest = runtimes.into_iter().map(shutdown).min().unwrap();
        assert!((GRACE..GRACE + Duration::from_secs(1)).contains(&shortest), "{shortest:?}");
        exit_unread();
    }
    ends_unread("an_output_that_nobody_takes_is_waited_for_as_long_as_the_grace");
}

#[test]
fn reads_that_are_given_up_leave_no_waker_behind() {
    if is_child() {
        multi(1).block_on(async {
            let (count, waker) = CountingWaker::new();
            for _ in 0..100 {
                let mut buf = [0; 1];
                let input = stdin();
                let mut read = std::pin::pin!(input.read(&mut buf));
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            drop(waker);
            assert_eq!((Arc::strong_count(&count), count.wakes()), (1, 0));
        });
        return;
    }
    Peer::new("reads_that_are_given_up_leave_no_waker_behind").succeeds();
}

#[test]
fn what_a_cancelled_reader_asked_for_goes_to_the_next_one() {
    if is_child() {
        return single().block_on(async {
            let reading = runtime::spawn(line());
            assert!(waits(&reading).await);
            assert!(reading.cancel_and_wait().await.unwrap_err().is_cancelled());
            println!("\n{READY}");
            assert_eq!(line().await, "first\n");
            assert_eq!(line().await, "second\n");
        });
    }
    let mut peer = Peer::new("what_a_cancelled_reader_asked_for_goes_to_the_next_one");
    peer.hear(READY);
    peer.say("first\nsecond\n");
    peer.succeeds();
}

#[test]
fn a_reader_that_waits_does_not_hold_up_other_tasks() {
    if is_child() {
        return single().block_on(async {
            let reading = runtime::spawn(line());
            assert!(waits(&reading).await);
            assert_eq!(runtime::spawn_blocking(|| 1).await.unwrap(), 1);
            println!("\n{READY}");
            assert_eq!(reading.await.unwrap(), "x\n");
        });
    }
    let mut peer = Peer::new("a_reader_that_waits_does_not_hold_up_other_tasks");
    peer.hear(READY);
    peer.say("x\n");
    peer.succeeds();
}

// --- output ---

/// The lines between the marks.
fn between(text: &str) -> Vec<&str> {
    text.lines().skip_while(|line| !line.ends_with("<<")).skip(1).take_while(|line| *line != ">>").collect()
}

#[test]
fn writes_come_out_in_order_and_are_there_after_a_flush() {
    if is_child() {
        on_each(|rt| {
            rt.block_on(async {
                let (mut out, mut err) = (stdout(), stderr());
                out.write_all(b"<<\n").await.unwrap();
                err.write_all(b"<<\n").await.unwrap();
                for number in 0..500 {
                    let text = format!("{number}\n");
                    assert_eq!(out.write(text.as_bytes()).await.unwrap(), text.len());
                    assert_eq!(err.write(text.as_bytes()).await.unwrap(), text.len());
                }
                out.flush().await.unwrap();
                err.flush().await.unwrap();
            });
        });
        println!(">>");
        // Not through anything that could keep it back.
        eprintln!(">>");
        std::process::exit(0);
    }
    let (code, out, err) = Peer::new("writes_come_out_in_order_and_are_there_after_a_flush").end();
    assert_eq!(code, Some(0), "{err}");
    for text in [out, err] {
        let mut expected = Vec::new();
        for round in 0..3 {
            expected.extend((0..500).map(|number: u32| number.to_string()));
            if round < 2 {
                expected.push("<<".to_owned());
            }
        }
        assert_eq!(between(&text), expected);
    }
}

#[test]
fn writes_that_were_not_flushed_come_out_at_the_end_of_the_runtime() {
    const RUNTIMES: usize = 50;
    if is_child() {
        println!("<<");
        for number in 0..RUNTIMES {
            let rt = if number % 2 == 0 { multi(1) } else { single() };
            let text = format!("{number}\n");
            let count = rt.block_on(async { stdout().write(text.as_bytes()).await.unwrap() });
            assert_eq!(count, text.len());
        }
        println!(">>");
        return;
    }
    let (out, _) = Peer::new("writes_that_were_not_flushed_come_out_at_the_end_of_the_runtime").succeeds();
    let numbers: Vec<usize> = between(&out).iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.is_sorted());
    // A thread that gets no processor for a tenth of a second is too late.
    assert!(numbers.len() > RUNTIMES * 9 / 10, "{numbers:?}");
}

#[test]
fn a_write_behind_a_job_comes_out_at_the_end_of_the_runtime_and_other_jobs_do_not_begin() {
    if is_child() {
        println!("<<");
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let handle = rt.handle().clone();
        let (begins, begun) = mpsc::channel();
        let job = rt.spawn_blocking(move || {
            begins.send(()).unwrap();
            handle.spawn_blocking(|| println!("begun")).wait()
        });
        begun.recv().unwrap();
        rt.block_on(async { stdout().write(b"written\n").await.unwrap() });
        drop(rt);
        assert!(job.wait().unwrap().unwrap_err().is_shutdown());
        println!(">>");
        return;
    }
    let test = "a_write_behind_a_job_comes_out_at_the_end_of_the_runtime_and_other_jobs_do_not_begin";
    let (out, _) = Peer::new(test).succeeds();
    assert_eq!(between(&out), ["written"]);
}

#[test]
fn a_large_write_comes_out_whole() {
    let text = || "0123456789abcde\n".repeat(50_000);
    if is_child() {
        single().block_on(async {
            let mut out = stdout();
            out.write_all(b"<<\n").await.unwrap();
            out.write_all(text().as_bytes()).await.unwrap();
            out.write_all(b">>\n").await.unwrap();
        });
        return;
    }
    let (out, _) = Peer::new("a_large_write_comes_out_whole").succeeds();
    assert!(between(&out) == text().lines().collect::<Vec<_>>());
}

#[test]
fn lines_of_several_handles_are_not_mixed() {
    if is_child() {
        println!("<<");
        multi(2).block_on(async {
            let write = |name: char| async move {
                let mut out = stdout();
                let text = format!("{}\n", name.to_string().repeat(200));
                for _ in 0..100 {
                    out.write_all(text.as_bytes()).await.unwrap();
                }
            };
            let tasks = ['a', 'b', 'c'].map(|name| runtime::spawn(write(name)));
            for task in tasks {
                task.await.unwrap();
            }
        });
        println!(">>");
        return;
    }
    let (out, _) = Peer::new("lines_of_several_handles_are_not_mixed").succeeds();
    let lines = between(&out);
    assert_eq!(lines.len(), 300);
    for line in lines {
        let first = line.chars().next().unwrap();
        assert_eq!(line, first.to_string().repeat(200));
    }
}

#[test]
fn an_output_that_nobody_reads_any_more_is_an_error() {
    const BROKEN: i32 = 42;
    if is_child() {
        let errors = single().block_on(async {
            println!("\n{READY}");
            assert_eq!(line().await, "go\n");
            let mut out = stdout();
            [out.write_all(b"lost\n").await, out.write_all(b"again\n").await].map(Result::unwrap_err)
        });
        let broken = errors.iter().all(|error| error.kind() == ErrorKind::BrokenPipe);
        // The test's own report would meet the same end.
        std::process::exit(if broken { BROKEN } else { 1 });
    }
    let mut peer = Peer::new("an_output_that_nobody_reads_any_more_is_an_error");
    peer.hear(READY);
    peer.stdout = None;
    peer.say("go\n");
    let (code, _, err) = peer.end();
    assert_eq!(code, Some(BROKEN), "{err}");
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn the_traits_of_both_families_reach_the_standard_streams() {
    use std::future::poll_fn;
    use std::pin::Pin;
    if is_child() {
        single().block_on(async {
            let mut buf = [0; 3];
            let mut input = stdin();
            let count = poll_fn(|cx| futures_io::AsyncRead::poll_read(Pin::new(&mut input), cx, &mut buf))
                .await
                .unwrap();
            assert_eq!(&buf[..count], b"abc");
            let mut room = tokio::io::ReadBuf::new(&mut buf);
            poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut input), cx, &mut room)).await.unwrap();
            assert_eq!(room.filled(), b"def");

            let mut out = stdout();
            let text = b"<<\nfutures\n";
            let count = poll_fn(|cx| futures_io::AsyncWrite::poll_write(Pin::new(&mut out), cx, text)).await;
            assert_eq!(count.unwrap(), text.len());
            poll_fn(|cx| futures_io::AsyncWrite::poll_close(Pin::new(&mut out), cx)).await.unwrap();
            let text = b"tokio\n>>\n";
            let count = poll_fn(|cx| tokio::io::AsyncWrite::poll_write(Pin::new(&mut out), cx, text)).await;
            assert_eq!(count.unwrap(), text.len());
            poll_fn(|cx| tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut out), cx)).await.unwrap();
        });
        return;
    }
    let mut peer = Peer::new("the_traits_of_both_families_reach_the_standard_streams");
    peer.say("abcdef");
    let (out, _) = peer.succeeds();
    assert_eq!(between(&out), ["futures", "tokio"]);
}
