//! Wakers that do what a waker should not: use the thing they wait for, drop it, panic, or block, in any operation.
#![expect(unsafe_code, reason = "only a raw waker sees that it is cloned")]

use std::any::Any;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::thread;

use parking_lot::Mutex;

use crate::PATIENCE;

/// An operation of a waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `wake` and `wake_by_ref`.
    Wake,
    /// `clone`.
    Clone,
    /// The destructor.
    Drop,
}

/// What a waker does in one of its operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Drops its clones of the thing.
    DropClones,
    /// Uses the thing.
    Meddle,
    /// Panics.
    Panic,
    /// Blocks until another thread has used the thing.
    Block,
}

/// Something harmless that is done to the thing that is waited for; on any thread and at any time.
pub type Meddle = Arc<dyn Fn() + Send + Sync>;

/// What clones of one hostile waker share. It does its deed while it is armed.
pub struct Hostile {
    op: Op,
    deed: Deed,
    meddle: Meddle,
    clones: Mutex<Vec<Box<dyn Any + Send>>>,
    armed: AtomicBool,
    blocked: AtomicBool,
    wakes: AtomicUsize,
    deeds: AtomicUsize,
}

impl Hostile {
    /// A waker that does `deed` in `op`, and what it shares with its clones.
    #[must_use]
    pub fn new(op: Op, deed: Deed, meddle: Meddle, clones: Vec<Box<dyn Any + Send>>) -> (Arc<Self>, Waker) {
        let hostile = Arc::new(Hostile {
            op,
            deed,
            meddle,
            clones: Mutex::new(clones),
            armed: AtomicBool::new(true),
            blocked: AtomicBool::new(false),
            wakes: AtomicUsize::new(0),
            deeds: AtomicUsize::new(0),
        });
        let waker = waker(hostile.clone());
        (hostile, waker)
    }

    /// Wakes so far.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }

    /// How often it has done its deed.
    #[must_use]
    pub fn deeds(&self) -> usize {
        self.deeds.load(Ordering::SeqCst)
    }

    /// It is a waker like any other from here on.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }

    fn operation(&self, op: Op) {
        if op == Op::Wake {
            self.wakes.fetch_add(1, Ordering::SeqCst);
        }
        if op != self.op || !self.armed.load(Ordering::SeqCst) {
            return;
        }
        self.deeds.fetch_add(1, Ordering::SeqCst);
        match self.deed {
            Deed::DropClones => drop(std::mem::take(&mut *self.clones.lock())),
            Deed::Meddle => (self.meddle)(),
            // Two at a time end any program.
            Deed::Panic if thread::panicking() => {}
            Deed::Panic => std::panic::resume_unwind(Box::new("a hostile waker")),
            Deed::Block => self.block(),
        }
    }

    /// Once: the other thread may come here as well, and would wait for itself.
    fn block(&self) {
        if self.blocked.swap(true, Ordering::SeqCst) {
            return;
        }
        let (sender, done) = mpsc::channel();
        let meddle = self.meddle.clone();
        let job: Job = Box::new(move || {
            meddle();
            let _ = sender.send(());
        });
        other_thread(job);
        assert!(done.recv_timeout(PATIENCE).is_ok(), "hangs: the other thread cannot use what is waited for");
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Runs `job`, which uses what is waited for while a waker blocks, on another thread.
fn other_thread(job: Job) {
    // Not std's OnceLock: what that publishes the race detector does not see.
    static THREAD: Mutex<Option<Sender<Job>>> = Mutex::new(None);
    let start = || {
        let (sender, jobs) = mpsc::channel::<Job>();
        // Each on a thread of its own, so that one that hangs is nobody else's hang.
        let serve = move || jobs.into_iter().for_each(|job| drop(thread::spawn(job)));
        thread::Builder::new().name("other".to_owned()).spawn(serve).expect("a thread for the tests");
        sender
    };
    let sent = THREAD.lock().get_or_insert_with(start).send(job);
    sent.expect("the other thread lives as long as the process");
}

// --- the waker itself ---

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn waker(hostile: Arc<Hostile>) -> Waker {
    // SAFETY: the four functions keep one count of the `Arc` for each waker, and `Hostile` is `Send` and `Sync`.
    unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(hostile).cast(), &VTABLE)) }
}

/// # Safety
/// `data` is that of a live waker, whose count the caller gives away.
unsafe fn taken(data: *const ()) -> Arc<Hostile> {
    // SAFETY: `waker` made the pointer from an `Arc` of this type.
    unsafe { Arc::from_raw(data.cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the caller has a live waker; its count is not given away, because the value is never dropped.
    let hostile = ManuallyDrop::new(unsafe { taken(data) });
    hostile.operation(Op::Clone);
    RawWaker::new(Arc::into_raw(Arc::clone(&hostile)).cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the caller gives a live waker away.
    unsafe { taken(data) }.operation(Op::Wake);
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: as in `clone`.
    ManuallyDrop::new(unsafe { taken(data) }).operation(Op::Wake);
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the caller gives a live waker away.
    unsafe { taken(data) }.operation(Op::Drop);
}
