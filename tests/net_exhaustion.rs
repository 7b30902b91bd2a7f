//! A process that has no descriptors left gets errors at a bounded rate, goes on with what it has, and recovers.

use std::fs::File;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use runtime::net::unix::UnixStream;
use runtime::net::{TcpListener, TcpSocket, TcpStream};
use runtime_tests::{PATIENCE, alone, multi, on_each, open_files_but_timers, poll_once, tcp_pair, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `EMFILE`, what the system says when the process may open no more files.
const EMFILE: i32 = 24;

/// All the descriptors that the process may still open; given back on drop.
struct Hoard(Vec<File>);

impl Hoard {
    /// Leaves the process no descriptor but `spare` of them.
    fn all_but(spare: usize) -> Self {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: limit.maximum }).unwrap();
        let mut files = Vec::new();
        let error = loop {
            match File::open("/dev/null") {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(EMFILE));
        files.truncate(files.len() - spare);
        Hoard(files)
    }
}

/// Accepts, whatever happens, until so many connections are there; counts the errors.
async fn accept_all(listener: Arc<TcpListener>, errors: Arc<AtomicUsize>, count: usize) -> Vec<TcpStream> {
    let mut accepted = Vec::new();
    while accepted.len() < count {
        match listener.accept().await {
            Ok((stream, _)) => accepted.push(stream),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EMFILE), "{error}");
                errors.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    accepted
}

/// Lets the runtime make its reactor, which takes descriptors.
async fn make_reactor(stream: &TcpStream) {
    let mut buf = [0; 1];
    let mut reading = pin!(stream.read(&mut buf));
    assert!(poll_once(reading.as_mut()).await.is_pending());
}

/// One message there and back.
async fn echo(client: &TcpStream, server: &TcpStream) {
    let mut buf = [0; 4];
    client.write_all(b"ping").await.unwrap();
    server.read_exact(&mut buf).await.unwrap();
    server.write_all(&buf).await.unwrap();
    client.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"ping");
}

/// The facts are rates, so there has to be a time.
const WINDOW: Duration = Duration::from_millis(400);

/// True until the window is over and a second attempt has failed, which on a busy machine may come later.
fn goes_on(begin: Instant, errors: &AtomicUsize) -> bool {
    let tried_again = errors.load(Ordering::SeqCst) > 1;
    assert!(tried_again || begin.elapsed() < PATIENCE / 2, "nobody was told, or it was not tried again");
    !tried_again || begin.elapsed() < WINDOW
}

/// How many attempts have failed in how long, once that [is enough](goes_on).
async fn failures(begin: Instant, errors: &AtomicUsize) -> (usize, Duration) {
    while goes_on(begin, errors) {
        // A whole window: nothing else is to wake the runtime meanwhile.
        runtime::time::sleep(WINDOW).await;
    }
    (errors.load(Ordering::SeqCst), begin.elapsed())
}

#[test]
fn accepting_without_descriptors_fails_at_most_a_hundred_times_a_second_and_recovers() {
    const CLIENTS: usize = 20;
    alone(
        "net_exhaustion::accepting_without_descriptors_fails_at_most_a_hundred_times_a_second_and_recovers",
        || {
            on_each(|rt| {
                rt.block_on(async {
                    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
                    let addr = listener.local_addr().unwrap();
                    let (client, server) = tcp_pair().await.unwrap();
                    make_reactor(&client).await;
                    echo(&client, &server).await;
                    // They have their descriptors already, and connect one after the other: each is an event.
                    let mut sockets: Vec<_> = (0..CLIENTS).map(|_| TcpSocket::new_v4().unwrap()).collect();
                    let first = sockets.pop().unwrap().connect(addr).await.unwrap();
                    let hoard = Hoard::all_but(0);

                    let errors = Arc::new(AtomicUsize::new(0));
                    let begin = Instant::now();
                    let accepting = runtime::spawn(accept_all(listener, errors.clone(), CLIENTS));
                    let mut clients = vec![first];
                    // Once at least: what it has goes on.
                    loop {
                        if let Some(socket) = sockets.pop() {
                            clients.push(socket.connect(addr).await.unwrap());
                        }
                        echo(&client, &server).await;
                        runtime::time::sleep(Duration::from_millis(5)).await;
                        if !goes_on(begin, &errors) {
                            break;
                        }
                    }
                    let (errors, window) = failures(begin, &errors).await;
                    // One at once, and one after each rest.
                    let most = 1 + window.as_millis() as usize / 10;
                    assert!(errors <= most, "{errors} attempts in {window:?}");

                    drop(hoard);
                    for socket in sockets {
                        clients.push(socket.connect(addr).await.unwrap());
                    }
                    assert_eq!(accepting.await.unwrap().len(), clients.len());
                });
            });
        },
    );
}

#[test]
fn several_who_accept_without_descriptors_share_the_rate() {
    const TASKS: usize = 4;
    alone("net_exhaustion::several_who_accept_without_descriptors_share_the_rate", || {
        on_each(|rt| {
            rt.block_on(async {
                let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
                let addr = listener.local_addr().unwrap();
                let (one, _other) = tcp_pair().await.unwrap();
                make_reactor(&one).await;
                let mut clients = Vec::new();
                for _ in 0..TASKS {
                    clients.push(TcpStream::connect(addr).await.unwrap());
                }
                let hoard = Hoard::all_but(0);
                let errors = Arc::new(AtomicUsize::new(0));
                let begin = Instant::now();
                let accept = || runtime::spawn(accept_all(listener.clone(), errors.clone(), 1));
                let tasks: Vec<_> = (0..TASKS).map(|_| accept()).collect();
                let (errors, window) = failures(begin, &errors).await;
                // Each may have begun its first attempt before the first one failed.
                let most = TASKS + window.as_millis() as usize / 10;
                assert!(errors <= most, "{errors} attempts in {window:?}");
                drop(hoard);
                for task in tasks {
                    task.await.unwrap();
                }
            });
        });
    });
}

#[test]
fn accepting_without_descriptors_is_no_spin_if_there_is_no_reactor_yet_either() {
    alone(
        "net_exhaustion::accepting_without_descriptors_is_no_spin_if_there_is_no_reactor_yet_either",
        || {
            on_each(|rt| {
                rt.block_on(async {
                    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
                    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                    let hoard = Hoard::all_but(0);
                    let errors = Arc::new(AtomicUsize::new(0));
                    let begin = Instant::now();
                    let accepting = runtime::spawn(accept_all(listener, errors.clone(), 1));
                    let (errors, window) = failures(begin, &errors).await;
                    drop(hoard);
                    assert_eq!(
                        accepting.await.unwrap()[0].peer_addr().unwrap(),
                        client.local_addr().unwrap()
                    );
                    let most = 1 + window.as_millis() as usize / 10;
                    assert!(errors <= most, "{errors} attempts in {window:?}");
                });
            });
        },
    );
}

#[test]
fn a_wait_without_descriptors_for_the_reactor_is_an_error_until_there_are_some() {
    alone(
        "net_exhaustion::a_wait_without_descriptors_for_the_reactor_is_an_error_until_there_are_some",
        || {
            on_each(|rt| {
                rt.block_on(async {
                    let (one, other) = UnixStream::pair().unwrap();
                    // What needs no wait goes on.
                    one.write_all(b"x").await.unwrap();
                    let mut buf = [0; 8];
                    assert_eq!(other.read(&mut buf).await.unwrap(), 1);

                    let mut hoard = Hoard::all_but(0);
                    let wait = async |buf: &mut [u8]| -> Option<io::Result<usize>> {
                        let mut reading = pin!(other.read(buf));
                        match poll_once(reading.as_mut()).await {
                            std::task::Poll::Ready(result) => Some(result),
                            std::task::Poll::Pending => None,
                        }
                    };
                    let mut refusals = 0;
                    // Each descriptor that is needed is refused in its turn, and none of the others is kept.
                    while let Some(result) = wait(&mut buf).await {
                        assert_eq!(result.unwrap_err().raw_os_error(), Some(EMFILE));
                        refusals += 1;
                        hoard.0.pop().expect("a reactor does not need hundreds");
                        let spare = File::open("/dev/null").expect("one more than there was");
                        drop(spare);
                        let mut spares = Vec::new();
                        while let Ok(file) = File::open("/dev/null") {
                            spares.push(file);
                        }
                        assert_eq!(spares.len(), refusals, "a refused reactor keeps some of its descriptors");
                    }
                    assert!(refusals > 0);
                    drop(hoard);
                    let mut reading = pin!(other.read(&mut buf));
                    assert!(poll_once(reading.as_mut()).await.is_pending());
                    one.write_all(b"later").await.unwrap();
                    assert_eq!(reading.await.unwrap(), 5);
                });
            });
        },
    );
}

#[test]
fn a_task_that_cannot_wait_for_want_of_a_reactor_ends_with_the_error() {
    alone("net_exhaustion::a_task_that_cannot_wait_for_want_of_a_reactor_ends_with_the_error", || {
        on_each(|rt| {
            let ended = Arc::new(AtomicBool::new(false));
            let end = ended.clone();
            let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
            one.set_nonblocking(true).unwrap();
            rt.block_on(async move {
                let hoard = Hoard::all_but(0);
                let one = UnixStream::from_std(one).unwrap();
                let task = runtime::spawn(async move { (one.read(&mut [0; 8]).await, one) });
                let (result, one) = task.await.unwrap();
                assert_eq!(result.unwrap_err().raw_os_error(), Some(EMFILE));
                drop(hoard);
                let task = runtime::spawn(async move { one.read(&mut [0; 8]).await });
                drop(other);
                assert_eq!(task.await.unwrap().unwrap(), 0);
                end.store(true, Ordering::SeqCst);
            });
            assert!(ended.load(Ordering::SeqCst));
        });
    });
}

#[test]
fn sockets_without_descriptors_are_errors_and_leave_nothing() {
    alone("net_exhaustion::sockets_without_descriptors_are_errors_and_leave_nothing", || {
        on_each(|rt| {
            rt.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let addr = listener.local_addr().unwrap();
                let before = open_files_but_timers();
                let hoard = Hoard::all_but(0);
                let is_refusal = |error: io::Error| error.raw_os_error() == Some(EMFILE);
                assert!(is_refusal(TcpStream::connect(addr).await.unwrap_err()));
                assert!(is_refusal(TcpListener::bind("127.0.0.1:0").await.unwrap_err()));
                assert!(is_refusal(UnixStream::pair().unwrap_err()));
                drop(hoard);
                assert_eq!(open_files_but_timers(), before);
                assert!(TcpStream::connect(addr).await.is_ok());
            });
        });
    });
}

#[test]
fn the_monitor_helps_without_a_descriptor_for_its_timer() {
    alone("net_exhaustion::the_monitor_helps_without_a_descriptor_for_its_timer", || {
        within(PATIENCE, || {
            let _hoard = Hoard::all_but(0);
            let rt = multi(2);
            for _ in 0..5 {
                // A rest, in which the monitor goes to sleep: who is not woken from that is missed by the parent.
                std::thread::sleep(Duration::from_millis(20));
                let parent = rt.spawn(async {
                    let (sender, receiver) = mpsc::channel();
                    drop(runtime::spawn(async move { sender.send(5).unwrap() }));
                    receiver.recv().unwrap()
                });
                assert_eq!(parent.wait().unwrap(), 5);
            }
        });
    });
}
