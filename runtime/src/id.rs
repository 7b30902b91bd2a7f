//! Task identity: numbers handed to threads in blocks, so that a spawn writes no line that other threads write.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names one task for as long as the process lives; never used twice.
///
/// Ids say nothing about the order in which tasks were spawned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(NonZeroU64);

/// 2^16 ids at a time: one shared addition for 65,536 spawns, and 2^48 blocks before the counter wraps.
const BLOCK: u64 = 1 << 16;

static NEXT_BLOCK: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The next id of this thread and the end of its block.
    static IDS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

impl TaskId {
    /// A number that no task has had.
    pub(crate) fn next() -> Self {
        IDS.with(|ids| {
            let (next, end) = ids.get();
            let (next, end) = if next < end { (next, end) } else { block() };
            ids.set((next + 1, end));
            TaskId(NonZeroU64::new(next).expect("ids start at one"))
        })
    }
}

impl TaskId {
    pub(crate) fn get(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn from_raw(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(TaskId)
    }

    /// Spreads ids over `shards` tables.
    pub(crate) fn shard(self, shards: usize) -> usize {
        (self.0.get() % shards as u64) as usize
    }
}

/// Ids below this are those of tasks of a process that this one was forked off from.
static FIRST: AtomicU64 = AtomicU64::new(0);

impl TaskId {
    /// True for a task that lives on in the parent process only.
    ///
    /// ORDERING: Relaxed, the number changes only while the process has one thread.
    pub(crate) fn is_lost(self) -> bool {
        self.0.get() < FIRST.load(Ordering::Relaxed)
    }
}

/// In a process that was just forked off: whatever was given an id is the parent's.
pub(crate) fn forget_parent() {
    IDS.with(|ids| ids.set((0, 0)));
    FIRST.store(NEXT_BLOCK.load(Ordering::Relaxed), Ordering::Relaxed);
}

#[cold]
fn block() -> (u64, u64) {
    // ORDERING: Relaxed, the number is all that is shared.
    let start = NEXT_BLOCK.fetch_add(BLOCK, Ordering::Relaxed);
    (start.max(1), start + BLOCK)
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
