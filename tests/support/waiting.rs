//! Everything of ours that one can wait for, in one table, for tests that hold for all of it.

use std::any::Any;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use runtime::io::AsyncFd;
use runtime::net::{TcpListener, UdpSocket};
use runtime::task::LocalSet;
use runtime::{CapacityLimiter, Future as OurFuture, Promise, Runtime, Task, time};

use crate::hostile::Meddle;
use crate::{CountingWaker, Gate, tcp_pair, until};

/// One kind of wait.
#[derive(Clone, Copy, Debug)]
pub struct Primitive {
    /// What a failure calls it.
    pub name: &'static str,
    /// Several may wait for one thing at a time; if not, the last one to poll counts.
    pub shared: bool,
    /// It has a thread of the runtime's until it ends, and the end of the runtime waits for that.
    pub blocks: bool,
    make: fn(&Runtime) -> Scene,
}

impl Primitive {
    /// One thing to wait for, on `rt`, in which the thread stands.
    #[must_use]
    pub fn scene(&self, rt: &Runtime) -> Scene {
        (self.make)(rt)
    }
}

/// One thing that can be waited for.
pub struct Scene {
    begin: Box<dyn FnMut() -> Poller>,
    /// Uses the thing, and changes nothing that somebody waits for.
    pub meddle: Meddle,
    /// Handles of the thing, to be dropped anywhere.
    pub clones: Vec<Box<dyn Any + Send>>,
    finish: Finish,
}

type Finish = Box<dyn FnOnce() + Send>;
type Poller = Box<dyn FnMut(&mut Context<'_>) -> Poll<()>>;

impl Scene {
    /// One more wait, or another one for a thing that only one may wait for.
    pub fn begin(&mut self) -> Wait {
        Wait { poller: (self.begin)(), ready: false, seen: None }
    }

    /// What ends all waits, once, on whichever thread.
    pub fn take_finish(&mut self) -> Box<dyn FnOnce() + Send> {
        std::mem::replace(&mut self.finish, Box::new(|| {}))
    }
}

/// One wait. Dropping it abandons it.
pub struct Wait {
    poller: Poller,
    ready: bool,
    /// The wakes of the counting waker that it was polled with, before the poll.
    seen: Option<usize>,
}

impl Wait {
    /// Polls with `waker`, unless it was ready already; true if it is ready.
    pub fn poll(&mut self, waker: &Waker) -> bool {
        self.seen = None;
        self.ready = self.ready || (self.poller)(&mut Context::from_waker(waker)).is_ready();
        self.ready
    }

    /// As [`poll`](Self::poll), for [`drive`](Self::drive) to go on from.
    pub fn poll_counted(&mut self, (count, waker): &(Arc<CountingWaker>, Waker)) -> bool {
        let seen = count.wakes();
        let ready = self.poll(waker);
        self.seen = Some(seen);
        ready
    }

    /// As [`poll`](Self::poll), for wakers that may panic.
    ///
    /// # Errors
    /// The panic.
    pub fn try_poll(&mut self, waker: &Waker) -> thread::Result<bool> {
        catch_unwind(AssertUnwindSafe(|| self.poll(waker)))
    }

    /// Polls when it was woken, and only then, until it is ready.
    ///
    /// # Panics
    /// If it is not woken.
    #[track_caller]
    pub fn drive(&mut self, friend: &(Arc<CountingWaker>, Waker)) {
        while !self.ready {
            if let Some(seen) = self.seen {
                until(|| friend.0.wakes() > seen);
            }
            self.poll_counted(friend);
        }
    }
}

/// All of them.
#[must_use]
pub fn primitives() -> Vec<Primitive> {
    let shared = |name, make| Primitive { name, shared: true, blocks: false, make };
    let single = |name, make| Primitive { name, shared: false, blocks: false, make };
    vec![
        single("a task", task),
        single("Task::done", task_done),
        Primitive { blocks: true, ..single("a blocking job", blocking) },
        shared("Task::shared", task_shared),
        shared("a future by value", future_by_value),
        shared("a future by reference", future_by_reference),
        shared("Promise::closed", closed),
        single("Promise::poll_closed", poll_closed),
        shared("a sleep", sleep),
        shared("a timeout", timeout),
        single("an interval", interval),
        shared("AsyncFd::readable", readable),
        single("AsyncFd::poll_read_ready", poll_read_ready),
        shared("TcpStream::read", tcp_read),
        shared("TcpStream::write", tcp_write),
        shared("TcpListener::accept", accept),
        single("TcpListener::poll_accept", poll_accept),
        shared("UdpSocket::recv_from", recv_from),
        shared("LocalSet::run_until", run_until),
        single("a local set", local_set),
        single("gather_all", gathered),
        shared("CapacityLimiter::acquire", acquire),
    ]
}

/// A new wait each time: what `make` gives is polled, and dropped with the wait.
fn anew<F: Future + 'static>(mut make: impl FnMut() -> F + 'static) -> Box<dyn FnMut() -> Poller> {
    Box::new(move || {
        let mut future = Box::pin(make());
        Box::new(move |cx| future.as_mut().poll(cx).map(drop))
    })
}

/// The same thing each time: a wait that is dropped leaves it as it is.
fn again<T: 'static>(
    thing: T,
    poll: impl Fn(&mut T, &mut Context<'_>) -> Poll<()> + Copy + 'static,
) -> Box<dyn FnMut() -> Poller> {
    let thing = Rc::new(RefCell::new(thing));
    Box::new(move || {
        let thing = thing.clone();
        Box::new(move |cx| poll(&mut thing.borrow_mut(), cx))
    })
}

fn boxed<T: Send + 'static>(clone: T) -> Box<dyn Any + Send> {
    Box::new(clone)
}

/// Polls once with a waker that does nothing, and gives up.
fn glance<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = std::pin::pin!(future);
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

// --- tasks ---

fn gated(rt: &Runtime) -> (Task<()>, Gate) {
    let gate = Gate::new();
    let passing = gate.clone();
    (rt.spawn(async move { passing.pass().await }), gate)
}

fn meddle_with_task<T>(task: &Task<T>) -> (Meddle, Vec<Box<dyn Any + Send>>) {
    let abort = task.abort_handle();
    let clones = vec![boxed(abort.clone()), boxed(abort.clone())];
    (Arc::new(move || _ = (abort.clone().is_finished(), abort.id())), clones)
}

fn task(rt: &Runtime) -> Scene {
    let (task, gate) = gated(rt);
    let (meddle, clones) = meddle_with_task(&task);
    let begin = again(task, |task, cx| Pin::new(task).poll(cx).map(drop));
    Scene { begin, meddle, clones, finish: Box::new(move || gate.open()) }
}

fn task_done(rt: &Runtime) -> Scene {
    let (task, gate) = gated(rt);
    let (meddle, clones) = meddle_with_task(&task);
    let task = Arc::new(Mutex::new(Some(task)));
    // The wait borrows the task: it takes it along, and gives it back when it is dropped.
    struct Lent(Arc<Mutex<Option<Task<()>>>>, Option<Task<()>>);
    impl Drop for Lent {
        fn drop(&mut self) {
            *self.0.lock() = self.1.take();
        }
    }
    let begin = anew(move || {
        let lent = task.lock().take();
        let mut lent = Lent(task.clone(), lent);
        async move { lent.1.as_mut().expect("one wait at a time").done().await }
    });
    Scene { begin, meddle, clones, finish: Box::new(move || gate.open()) }
}

fn blocking(rt: &Runtime) -> Scene {
    let (sender, receiver) = mpsc::channel::<()>();
    let task = rt.spawn_blocking(move || _ = receiver.recv());
    let (meddle, clones) = meddle_with_task(&task);
    let begin = again(task, |task, cx| Pin::new(task).poll(cx).map(drop));
    Scene { begin, meddle, clones, finish: Box::new(move || drop(sender)) }
}

// --- futures and promises ---

fn meddle_with_future(future: &OurFuture<()>) -> (Meddle, Vec<Box<dyn Any + Send>>) {
    let kept = future.clone();
    let clones = vec![boxed(future.clone()), boxed(future.clone())];
    let meddle = move || {
        let clone = kept.clone();
        let _ = (glance(std::future::IntoFuture::into_future(&kept)), glance(clone.clone()));
        let id = clone.add_done_callback(|_| {});
        clone.remove_done_callback(id);
    };
    (Arc::new(meddle), clones)
}

fn scene_of_future(future: &OurFuture<()>, by_value: bool, finish: impl FnOnce() + Send + 'static) -> Scene {
    let (meddle, clones) = meddle_with_future(future);
    let future = future.clone();
    let begin = match by_value {
        true => anew(move || future.clone()),
        false => {
            let future = Arc::new(future);
            anew(move || {
                let future = future.clone();
                async move { _ = (&*future).await }
            })
        }
    };
    Scene { begin, meddle, clones, finish: Box::new(finish) }
}

fn task_shared(rt: &Runtime) -> Scene {
    let (task, gate) = gated(rt);
    scene_of_future(&task.shared(), true, move || gate.open())
}

fn future_by_value(_: &Runtime) -> Scene {
    let (promise, future) = Promise::new();
    scene_of_future(&future, true, move || promise.set_result(()).expect("nobody else sets it"))
}

fn future_by_reference(_: &Runtime) -> Scene {
    let (promise, future) = Promise::new();
    scene_of_future(&future, false, move || promise.set_result(()).expect("nobody else sets it"))
}

fn meddle_with_promise(promise: &Arc<Promise<()>>) -> (Meddle, Vec<Box<dyn Any + Send>>) {
    let kept = promise.clone();
    let meddle = move || {
        let _ = (glance(kept.closed()), kept.is_closed(), kept.is_done());
    };
    (Arc::new(meddle), vec![boxed(promise.clone()), boxed(promise.clone())])
}

fn closed(_: &Runtime) -> Scene {
    let (promise, future) = Promise::new();
    let promise = Arc::new(promise);
    let (meddle, clones) = meddle_with_promise(&promise);
    let begin = anew(move || {
        let promise = promise.clone();
        async move { promise.closed().await }
    });
    Scene { begin, meddle, clones, finish: Box::new(move || drop(future)) }
}

fn poll_closed(_: &Runtime) -> Scene {
    let (promise, future) = Promise::new();
    let promise = Arc::new(promise);
    let (meddle, clones) = meddle_with_promise(&promise);
    let begin = again(promise, |promise, cx| promise.poll_closed(cx));
    Scene { begin, meddle, clones, finish: Box::new(move || drop(future)) }
}

// --- time ---

/// Long enough that several polls come before it, as a rule.
const SOON: Duration = Duration::from_millis(10);

fn meddle_with_timers(rt: &Runtime) -> Meddle {
    let handle = rt.handle();
    Arc::new(move || {
        let _entered = handle.enter();
        let mut sleep = time::sleep(SOON);
        let _ = glance(&mut sleep);
        Pin::new(&mut sleep).reset(time::now() + SOON / 2);
        let _ = glance(&mut sleep);
    })
}

fn sleep(rt: &Runtime) -> Scene {
    let begin = anew(|| time::sleep(SOON));
    Scene { begin, meddle: meddle_with_timers(rt), clones: Vec::new(), finish: Box::new(|| {}) }
}

fn timeout(rt: &Runtime) -> Scene {
    let begin = anew(|| time::timeout(SOON, std::future::pending::<()>()));
    Scene { begin, meddle: meddle_with_timers(rt), clones: Vec::new(), finish: Box::new(|| {}) }
}

fn interval(rt: &Runtime) -> Scene {
    let ticks = time::interval_at(time::now() + SOON, Duration::from_secs(3600));
    let begin = again(ticks, |ticks, cx| ticks.poll_tick(cx).map(drop));
    Scene { begin, meddle: meddle_with_timers(rt), clones: Vec::new(), finish: Box::new(|| {}) }
}

// --- descriptors ---

/// More than all that meddles takes.
const PLENTY: usize = 64;

type Watched = Arc<AsyncFd<UnixStream>>;

fn watched() -> (Watched, UnixStream, Meddle, Vec<Box<dyn Any + Send>>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    ours.set_nonblocking(true).expect("it does not block");
    let fd = Arc::new(AsyncFd::new(ours).expect("a watched socket"));
    let kept = fd.clone();
    let meddle: Meddle = Arc::new(move || {
        let writable = glance(poll_fn(|cx| kept.poll_write_ready(cx).map(drop)));
        drop((glance(kept.readable()), writable));
    });
    let clones = vec![boxed(fd.clone()), boxed(fd.clone())];
    (fd, theirs, meddle, clones)
}

fn finish_with_bytes(mut to: impl Write + Send + 'static) -> Finish {
    Box::new(move || to.write_all(&[7; PLENTY]).expect("the other end is open"))
}

fn readable(_: &Runtime) -> Scene {
    let (fd, theirs, meddle, clones) = watched();
    let begin = anew(move || {
        let fd = fd.clone();
        async move { drop(fd.readable().await) }
    });
    Scene { begin, meddle, clones, finish: finish_with_bytes(theirs) }
}

fn poll_read_ready(_: &Runtime) -> Scene {
    let (fd, theirs, meddle, clones) = watched();
    let begin = again(fd, |fd, cx| fd.poll_read_ready(cx).map(drop));
    Scene { begin, meddle, clones, finish: finish_with_bytes(theirs) }
}

fn tcp_read(rt: &Runtime) -> Scene {
    let (ours, theirs) = rt.block_on(tcp_pair()).expect("a connection");
    let ours = Arc::new(ours);
    let clones = vec![boxed(ours.clone()), boxed(ours.clone())];
    let kept = ours.clone();
    let meddle = move || drop((glance(kept.readable()), glance(kept.read(&mut [0]))));
    let begin = anew(move || {
        let stream = ours.clone();
        async move { stream.read(&mut [0]).await }
    });
    let finish = finish_with_bytes(blocking_half(theirs));
    Scene { begin, meddle: Arc::new(meddle), clones, finish }
}

fn blocking_half(stream: runtime::net::TcpStream) -> net::TcpStream {
    let stream = stream.into_std().expect("a socket of std");
    stream.set_nonblocking(false).expect("it blocks");
    stream
}

fn tcp_write(rt: &Runtime) -> Scene {
    let (ours, theirs) = rt.block_on(tcp_pair()).expect("a connection");
    let ours = Arc::new(ours);
    let chunk = [7; 1 << 16];
    // Until a wait for room has to wait: the receiver's buffer fills behind our back.
    while glance(ours.write(&chunk)).is_ready() {}
    let clones = vec![boxed(ours.clone()), boxed(ours.clone())];
    let kept = ours.clone();
    let meddle = move || drop((glance(kept.writable()), glance(kept.write(&[7]))));
    let begin = anew(move || {
        let stream = ours.clone();
        async move { stream.write(&[7]).await }
    });
    let mut theirs = blocking_half(theirs);
    let drain = move || drop(thread::spawn(move || drop(io::copy(&mut theirs, &mut io::sink()))));
    Scene { begin, meddle: Arc::new(meddle), clones, finish: Box::new(drain) }
}

fn listening(rt: &Runtime) -> (Arc<TcpListener>, Meddle, Finish) {
    let listener = Arc::new(rt.block_on(TcpListener::bind("127.0.0.1:0")).expect("a listener"));
    let address = listener.local_addr().expect("its address");
    let kept = listener.clone();
    let meddle = move || drop(glance(kept.accept()));
    let connect = move || {
        for _ in 0..8 {
            drop(net::TcpStream::connect(address));
        }
    };
    (listener, Arc::new(meddle), Box::new(connect))
}

fn accept(rt: &Runtime) -> Scene {
    let (listener, meddle, finish) = listening(rt);
    let clones = vec![boxed(listener.clone()), boxed(listener.clone())];
    let begin = anew(move || {
        let listener = listener.clone();
        async move { listener.accept().await.map(drop) }
    });
    Scene { begin, meddle, clones, finish }
}

fn poll_accept(rt: &Runtime) -> Scene {
    let (listener, meddle, finish) = listening(rt);
    let clones = vec![boxed(listener.clone()), boxed(listener.clone())];
    let begin = again(listener, |listener, cx| listener.poll_accept(cx).map(drop));
    Scene { begin, meddle, clones, finish }
}

fn recv_from(rt: &Runtime) -> Scene {
    let socket = Arc::new(rt.block_on(UdpSocket::bind("127.0.0.1:0")).expect("a socket"));
    let address = socket.local_addr().expect("its address");
    let clones = vec![boxed(socket.clone()), boxed(socket.clone())];
    let kept = socket.clone();
    let meddle = move || drop((glance(kept.readable()), glance(kept.recv_from(&mut [0]))));
    let begin = anew(move || {
        let socket = socket.clone();
        async move { socket.recv_from(&mut [0]).await.map(drop) }
    });
    let send = move || {
        let sender = net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for _ in 0..PLENTY {
            sender.send_to(b"x", address).expect("the loopback takes it");
        }
    };
    Scene { begin, meddle: Arc::new(meddle), clones, finish: Box::new(send) }
}

// --- local sets ---

/// A waker of a task of `set`, which wakes it from any thread.
fn restless(set: &LocalSet) -> Meddle {
    let place: Arc<Mutex<Option<Waker>>> = Arc::default();
    let left = place.clone();
    let restless = poll_fn(move |cx| {
        let former = left.lock().replace(cx.waker().clone());
        drop(former);
        Poll::<()>::Pending
    });
    drop(set.spawn_local(restless));
    Arc::new(move || {
        let waker = place.lock().clone();
        waker.iter().for_each(Waker::wake_by_ref);
    })
}

fn run_until(_: &Runtime) -> Scene {
    let set = Rc::new(LocalSet::new());
    let meddle = restless(&set);
    let (promise, future) = Promise::new();
    let ended = set.spawn_local(async move { drop::<Result<(), _>>(future.await) }).shared();
    let begin = anew(move || {
        let (set, ended) = (set.clone(), ended.clone());
        async move { set.run_until(ended).await }
    });
    let finish = move || promise.set_result(()).expect("nobody else sets it");
    Scene { begin, meddle, clones: Vec::new(), finish: Box::new(finish) }
}

fn local_set(_: &Runtime) -> Scene {
    let set = LocalSet::new();
    let (promise, future) = Promise::<()>::new();
    let kept = future.clone();
    drop(set.spawn_local(async move { drop(future.await) }));
    let begin = again(set, |set, cx| Pin::new(set).poll(cx));
    let meddle = move || _ = glance(kept.clone());
    let finish = move || promise.set_result(()).expect("nobody else sets it");
    Scene { begin, meddle: Arc::new(meddle), clones: Vec::new(), finish: Box::new(finish) }
}

// --- several tasks, and limits ---

fn gathered(rt: &Runtime) -> Scene {
    let (task, gate) = gated(rt);
    let (meddle, clones) = meddle_with_task(&task);
    let begin = again(runtime::gather_all([task]), |all, cx| Pin::new(all).poll(cx).map(drop));
    Scene { begin, meddle, clones, finish: Box::new(move || gate.open()) }
}

fn acquire(_: &Runtime) -> Scene {
    let limiter = CapacityLimiter::new(1);
    let taken = limiter.try_acquire().expect("nobody else has it");
    let clones = vec![boxed(limiter.clone()), boxed(limiter.clone())];
    let kept = limiter.clone();
    let meddle = move || {
        let _ = (glance(kept.acquire()), kept.try_acquire(), kept.stats());
    };
    let waited_for = limiter.clone();
    let begin = anew(move || waited_for.acquire());
    // One for each: a waiter that was served keeps its token until it looks.
    let finish = move || {
        limiter.set_total(PLENTY);
        drop(taken);
    };
    Scene { begin, meddle: Arc::new(meddle), clones, finish: Box::new(finish) }
}
