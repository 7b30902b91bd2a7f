//! Where waiting tasks are found at shutdown: a slot for each task that has returned `Pending` once.
//!
//! Tasks that finish in their first poll never come here: until then their queue entry finds them.
//!
//! # Shape
//! [`Owned`] is a list of chunks of slots, shared. [`Binder`] is the writing end, owned by the one thread that binds:
//! it hands out slots without an atomic read-modify-write. A slot is given back by whichever thread completes the task.
//!
//! # Protocol
//! A slot's word is null, a task, a task with LOCKED, or the next free slot with FREE. Binding is a Release store by
//! the owner. Forgetting is a CAS from the task, which fails while LOCKED: the walker holds a slot that way for the few
//! instructions in which it needs the task to stay alive. The walker only ever marks tasks; what it has to run comes out
//! in a list.
#![expect(unsafe_code, reason = "links between slots and tasks are raw pointers")]

use std::mem::size_of;
use std::ptr::{self, NonNull};

use super::raw::{Header, Runnable, SlotRef};
use crate::loom::atomic::{AtomicPtr, Ordering};
use crate::loom::lock::Mutex;
use crate::loom::{Arc, hint, mutant};

/// Tags in the low bits of a slot's word; headers and slots are aligned to eight at least.
const LOCKED: usize = 1;
const FREE: usize = 2;

/// A chunk is aligned to its size, so that a slot finds its chunk, and with it the list it belongs to.
const CHUNK_BYTES: usize = 4096;
const SLOTS: usize =
    if cfg!(runtime_loom) { 2 } else { (CHUNK_BYTES - size_of::<usize>()) / size_of::<usize>() };

/// One task, or a link of a free list.
#[derive(Debug)]
pub(crate) struct Slot(AtomicPtr<Header>);

#[repr(C, align(4096))]
struct Chunk {
    owner: *const Owned,
    slots: [Slot; SLOTS],
}

#[cfg(not(runtime_loom))]
const _: () = assert!(size_of::<Chunk>() == CHUNK_BYTES);

/// The waiting tasks of one binder.
#[derive(Debug)]
pub(crate) struct Owned {
    chunks: Mutex<Vec<NonNull<Chunk>>>,
    /// Slots that other threads gave back: a Treiber stack that is only ever emptied as a whole (so there is no ABA).
    returned: AtomicPtr<Slot>,
}

// SAFETY: chunks are reached through atomics and a lock only, and freed when nobody has the list any more.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

/// The right to bind tasks to one [`Owned`] list.
#[derive(Debug)]
pub(crate) struct Binder {
    owned: Arc<Owned>,
    free: *mut Slot,
    fresh: std::ops::Range<usize>,
    chunk: *mut Chunk,
}

// SAFETY: the pointers lead into the chunks of `owned`, which the binder keeps alive; they may change threads with it.
unsafe impl Send for Binder {}

impl Owned {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Owned { chunks: Mutex::new(Vec::new()), returned: AtomicPtr::new(ptr::null_mut()) })
    }

    /// Asks every task in the list to stop; those that have to be queued for that are the caller's to queue.
    pub(crate) fn cancel_all(&self) -> Vec<Runnable> {
        let chunks: Vec<NonNull<Chunk>> = self.chunks.lock().clone();
        let mut runnables = Vec::new();
        for chunk in chunks {
            // SAFETY: chunks live as long as the list.
            for slot in unsafe { &(*chunk.as_ptr()).slots } {
                runnables.extend(slot.cancel());
            }
        }
        runnables
    }

    /// How many slots hold a task.
    #[cfg(all(test, runtime_loom))]
    pub(super) fn tasks(&self) -> usize {
        let chunks = self.chunks.lock();
        // SAFETY: chunks live as long as the list.
        let slots = chunks.iter().flat_map(|chunk| unsafe { &(*chunk.as_ptr()).slots });
        slots.filter(|slot| slot.task().is_some()).count()
    }

    /// Takes a slot back from a thread that is not the binder's.
    fn give_back(&self, slot: NonNull<Slot>) {
        let mut head = self.returned.load(Ordering::Relaxed);
        loop {
            // SAFETY: the slot is nobody's but ours between `forget` and the exchange below.
            unsafe { slot.as_ref() }.link(head);
            // ORDERING: Release publishes the link to the binder's swap.
            match self.returned.compare_exchange_weak(
                head,
                slot.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        for chunk in self.chunks.lock().drain(..) {
            // SAFETY: the chunk came from a box, and tasks that are alive keep their scheduler and so this list alive.
            drop(unsafe { Box::from_raw(chunk.as_ptr()) });
        }
    }
}

impl Slot {
    /// The task in the slot, if there is one and no walker is at it.
    fn task(&self) -> Option<NonNull<Header>> {
        let word = self.0.load(Ordering::Acquire);
        if word.addr() & (LOCKED | FREE) == 0 { NonNull::new(word) } else { None }
    }

    /// Empties the slot; waits for a walker that holds it.
    fn forget(&self) {
        loop {
            let word = self.0.load(Ordering::Relaxed);
            let task = word.map_addr(|addr| addr & !LOCKED);
            if mutant!("unbind_ignores_lock") {
                return self.0.store(ptr::null_mut(), Ordering::Relaxed);
            }
            // ORDERING: Acquire, pairs with the walker's Release: its last access to the task came before.
            let emptied =
                self.0.compare_exchange(task, ptr::null_mut(), Ordering::Acquire, Ordering::Relaxed).is_ok();
            if emptied {
                return;
            }
            #[cfg(runtime_loom)]
            crate::loom::thread::yield_now();
            hint::spin_loop();
        }
    }

    /// Marks the task in the slot cancelled.
    fn cancel(&self) -> Option<Runnable> {
        let task = self.task()?;
        let locked = task.as_ptr().map_addr(|addr| addr | LOCKED);
        // ORDERING: Acquire, pairs with the binder's Release store. On failure the task has just gone.
        self.0.compare_exchange(task.as_ptr(), locked, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: a task in a slot is not complete, and cannot become so while the slot is locked.
        let runnable = unsafe { Header::cancel_quietly(task) };
        // ORDERING: Release, pairs with `forget`.
        self.0.store(task.as_ptr(), Ordering::Release);
        runnable
    }

    fn link(&self, next: *mut Slot) {
        // ORDERING: Relaxed, published by whoever publishes the list.
        self.0.store(next.cast::<Header>().map_addr(|addr| addr | FREE), Ordering::Relaxed);
    }

    fn next(&self) -> *mut Slot {
        self.0.load(Ordering::Relaxed).map_addr(|addr| addr & !FREE).cast()
    }
}

impl Binder {
    pub(crate) fn new(owned: Arc<Owned>) -> Self {
        Binder { owned, free: ptr::null_mut(), fresh: 0..0, chunk: ptr::null_mut() }
    }

    /// Records a task that is about to wait. The caller polls it, so nobody else touches it now.
    #[inline]
    pub(crate) fn bind(&mut self, runnable: &Runnable) -> SlotRef {
        let slot = self.take_slot();
        // ORDERING: Release publishes the task to the walker.
        // SAFETY: the slot is in a chunk of the list and, being free, ours.
        unsafe { slot.as_ref() }.0.store(runnable.header().as_ptr(), Ordering::Release);
        SlotRef(slot)
    }

    #[inline]
    fn take_slot(&mut self) -> NonNull<Slot> {
        if let Some(slot) = NonNull::new(self.free) {
            // SAFETY: free slots are in chunks of the list.
            self.free = unsafe { slot.as_ref() }.next();
            return slot;
        }
        self.refill()
    }

    #[cold]
    fn refill(&mut self) -> NonNull<Slot> {
        if !self.owned.returned.load(Ordering::Relaxed).is_null() {
            // ORDERING: Acquire, pairs with the Release of `give_back`.
            self.free = self.owned.returned.swap(ptr::null_mut(), Ordering::Acquire);
            return self.take_slot();
        }
        if self.fresh.is_empty() {
            self.grow();
        }
        let index = self.fresh.next().expect("a new chunk has slots");
        // SAFETY: the chunk is alive; the pointer keeps the whole chunk's provenance, which `owner_of` needs.
        let slots = unsafe { &raw mut (*self.chunk).slots };
        // SAFETY: the index is within the array.
        let slot = unsafe { slots.cast::<Slot>().add(index) };
        NonNull::new(slot).expect("a place in a chunk is not null")
    }

    fn grow(&mut self) {
        let slots = std::array::from_fn(|_| Slot(AtomicPtr::new(ptr::null_mut())));
        let chunk = Box::into_raw(Box::new(Chunk { owner: Arc::as_ptr(&self.owned), slots }));
        // SAFETY: a box's pointer is not null.
        self.owned.chunks.lock().push(unsafe { NonNull::new_unchecked(chunk) });
        self.chunk = chunk;
        self.fresh = 0..SLOTS;
    }

    /// Takes the slot of a task that completes on the binder's own thread; gives back one that is another binder's.
    #[inline]
    pub(crate) fn unbind(&mut self, slot: SlotRef) {
        let SlotRef(slot) = slot;
        // SAFETY: a bound slot is in a live chunk.
        unsafe { slot.as_ref() }.forget();
        if ptr::eq(owner_of(slot), Arc::as_ptr(&self.owned)) {
            // SAFETY: as above; the slot is free, and ours.
            unsafe { slot.as_ref() }.link(self.free);
            self.free = slot.as_ptr();
        } else {
            return_to_owner(slot);
        }
    }
}

/// Takes the slot of a task that completes on a thread without a binder.
pub(crate) fn unbind(slot: SlotRef) {
    let SlotRef(slot) = slot;
    // SAFETY: a bound slot is in a live chunk.
    unsafe { slot.as_ref() }.forget();
    return_to_owner(slot);
}

fn return_to_owner(slot: NonNull<Slot>) {
    // SAFETY: the list outlives its tasks, and the slot's task is only about to complete.
    unsafe { &*owner_of(slot) }.give_back(slot);
}

fn owner_of(slot: NonNull<Slot>) -> *const Owned {
    let chunk = slot.as_ptr().map_addr(|addr| addr & !(CHUNK_BYTES - 1)).cast::<Chunk>();
    // SAFETY: chunks are aligned to their size and slots lie within, reached through the chunk's own pointer.
    unsafe { (*chunk).owner }
}
