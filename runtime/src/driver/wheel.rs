//! A hierarchical timer wheel: which waker is due when. No clock, no lock.
//!
//! # Shape
//! Time is in nanoseconds since some base. Eleven levels of 64 slots each cover all times that 64 bits have, so nothing
//! ever wraps around and there is no list for what is too far away. An entry lies at the level of the highest group of
//! six bits in which its deadline differs from the wheel's own time; it moves down as the wheel comes closer, at most
//! once for each level. Levels that are in use have memory, a kilobyte each.
//!
//! # Invariants
//! - **W1** All deadlines in the wheel are at or after its time. The slot of level 0 that stands for that time holds
//!   what is due.
//! - **W2** A slot that the wheel's time lies in has been emptied into the levels below. So everything at one level is
//!   earlier than everything above it, the first occupied slot of the lowest occupied level is the earliest one, and
//!   entries of one deadline meet in the order in which they were inserted.
//! - **W3** A slot's `min` is at or before all of its entries, and exact while none was removed. So a worker sleeps
//!   until something is due, and not until an entry has to be moved.

use std::mem;
use std::task::Waker;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(SLOT_BITS) as usize;

/// The deadline of what never fires.
const NEVER: u64 = u64::MAX;
/// No entry.
const NONE: u32 = u32::MAX;
/// The place of an entry that is in no slot: it never fires, or is free.
const NOWHERE: u16 = u16::MAX;
/// More entries than this are not kept when the wheel becomes empty.
const KEPT: usize = 1024;

/// Timers by deadline.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The time that the wheel has come to (W1).
    now: u64,
    len: usize,
    /// The levels that are not empty.
    occupied: u16,
    levels: [Option<Box<Level>>; LEVELS],
    entries: Vec<Entry>,
    /// The first free entry; each one's `next` is the next one.
    free: u32,
    /// Counts the insertions, so that a key does not fit what came later to the same place.
    generation: u32,
}

#[derive(Debug)]
struct Level {
    /// The slots that are not empty.
    occupied: u64,
    slots: [Slot; SLOTS],
}

/// The ends of a list of entries, and a time that none of them comes before (W3).
#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u32,
    tail: u32,
    min: u64,
}

#[derive(Debug)]
struct Entry {
    /// None: the entry is free.
    waker: Option<Waker>,
    deadline: u64,
    prev: u32,
    next: u32,
    generation: u32,
    /// Level and slot.
    place: u16,
}

/// Names an entry for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Fits no entry.
    pub(super) const DEAD: Key = Key { index: NONE, generation: 0 };
}

const EMPTY: Slot = Slot { head: NONE, tail: NONE, min: NEVER };

const _: () = {
    assert!(size_of::<Entry>() <= 48);
    assert!(LEVELS == 11 && LEVELS * SLOTS <= NOWHERE as usize);
};

impl Wheel {
    pub(super) const fn new() -> Self {
        Wheel {
            now: 0,
            len: 0,
            occupied: 0,
            levels: [const { None }; LEVELS],
            entries: Vec::new(),
            free: NONE,
            generation: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Everything with a deadline until then has been taken out.
    pub(super) fn elapsed(&self) -> u64 {
        let due = self.level(0).is_some_and(|level| level.occupied & 1 << slot_of(self.now, 0) != 0);
        if due { self.now.saturating_sub(1) } else { self.now }
    }

    /// Takes a waker in for `deadline`. One that is past is due at once, and `u64::MAX` never is.
    pub(super) fn insert(&mut self, deadline: u64, waker: Waker) -> Key {
        let deadline = deadline.max(self.now);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let entry =
            Entry { waker: Some(waker), deadline, prev: NONE, next: NONE, generation, place: NOWHERE };
        let index = self.store(entry);
        self.len += 1;
        self.link(index);
        Key { index, generation }
    }

    /// Takes a waker out before it is due; `None` if it is out already.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        let index = self.find(key)?;
        self.unlink(index);
        let waker = self.release(index);
        self.trim();
        waker
    }

    /// The waker of an entry that is not out yet.
    pub(super) fn waker(&self, key: Key) -> Option<&Waker> {
        self.entries[self.find(key)? as usize].waker.as_ref()
    }

    /// Puts another waker in the place of one, which is given back.
    ///
    /// # Errors
    /// Gives the new one back if the entry is out already.
    pub(super) fn replace(&mut self, key: Key, waker: Waker) -> Result<Waker, Waker> {
        let Some(index) = self.find(key) else { return Err(waker) };
        match &mut self.entries[index as usize].waker {
            Some(known) => Ok(mem::replace(known, waker)),
            None => Err(waker),
        }
    }

    /// The earliest deadline, or a time before it if something was removed; `u64::MAX` if there is none.
    pub(super) fn next(&self) -> u64 {
        self.first().map_or(u64::MAX, |(level, slot)| self.slot(level, slot).min)
    }

    /// Comes as far as `now`, unless something is due or has to be moved before that. Takes constant time.
    pub(super) fn catch_up(&mut self, now: u64) {
        let free = self.first().is_none_or(|(level, slot)| self.start(level, slot) > now);
        if free && now > self.now {
            self.now = now;
        }
    }

    /// Takes at most `most` wakers out that are due at `now`, the earliest first; true if more are.
    pub(super) fn expire(&mut self, now: u64, due: &mut impl Extend<Waker>, most: usize) -> bool {
        let mut left = most;
        while let Some((level, slot)) = self.first() {
            let start = self.start(level, slot);
            if start > now {
                break;
            }
            if level > 0 {
                // Straight to the earliest entry: it need not go through the levels in between.
                self.now = self.slot(level, slot).min.clamp(start, now).max(self.now);
                self.cascade(level, slot);
            } else {
                self.now = start;
                if !self.drain(slot, due, &mut left) {
                    return true;
                }
            }
        }
        self.now = self.now.max(now);
        self.trim();
        false
    }

    /// Takes all wakers out. No key fits any more, now or later.
    pub(super) fn clear(&mut self, out: &mut Vec<Waker>) {
        out.extend(self.entries.drain(..).filter_map(|entry| entry.waker));
        let generation = self.generation;
        *self = Wheel { generation, ..Wheel::new() };
    }

    // --- slots ---

    fn level(&self, level: usize) -> Option<&Level> {
        self.levels[level].as_deref()
    }

    fn slot(&self, level: usize, slot: usize) -> Slot {
        self.level(level).map_or(EMPTY, |level| level.slots[slot])
    }

    /// The slot with the earliest entries (W2).
    fn first(&self) -> Option<(usize, usize)> {
        if self.occupied == 0 {
            return None;
        }
        let level = self.occupied.trailing_zeros() as usize;
        let slot = self.level(level)?.occupied.trailing_zeros() as usize;
        Some((level, slot))
    }

    /// Where an occupied slot begins: all bits above its own are those of the wheel's time.
    fn start(&self, level: usize, slot: usize) -> u64 {
        let shift = level as u32 * SLOT_BITS;
        let above = self.now >> shift >> SLOT_BITS << SLOT_BITS;
        (above | slot as u64) << shift
    }

    /// Puts an entry into the slot of its deadline, behind those that are there.
    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        if deadline == NEVER {
            return;
        }
        let level = level_of(self.now, deadline);
        let slot = slot_of(deadline, level);
        let there = self.levels[level].get_or_insert_with(Level::new);
        let list = &mut there.slots[slot];
        let tail = mem::replace(&mut list.tail, index);
        list.min = list.min.min(deadline);
        if tail == NONE {
            list.head = index;
            there.occupied |= 1 << slot;
            self.occupied |= 1 << level;
        } else {
            self.entries[tail as usize].next = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.prev = tail;
        entry.next = NONE;
        entry.place = (level * SLOTS + slot) as u16;
    }

    /// Takes an entry out of its slot.
    fn unlink(&mut self, index: u32) {
        let Entry { prev, next, place, .. } = self.entries[index as usize];
        if place == NOWHERE {
            return;
        }
        let (level, slot) = (usize::from(place) / SLOTS, usize::from(place) % SLOTS);
        if prev != NONE {
            self.entries[prev as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        let Some(there) = &mut self.levels[level] else { return };
        let list = &mut there.slots[slot];
        if prev == NONE {
            list.head = next;
        }
        if next == NONE {
            list.tail = prev;
        }
        if list.head == NONE {
            self.vacate(level, slot);
        }
    }

    /// Marks a slot as empty.
    fn vacate(&mut self, level: usize, slot: usize) {
        let Some(there) = &mut self.levels[level] else { return };
        there.slots[slot] = EMPTY;
        there.occupied &= !(1 << slot);
        if there.occupied == 0 {
            self.occupied &= !(1 << level);
        }
    }

    /// Moves the entries of a slot, in order, to where they belong now.
    fn cascade(&mut self, level: usize, slot: usize) {
        let mut index = self.slot(level, slot).head;
        self.vacate(level, slot);
        while index != NONE {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    /// Takes wakers out of a slot of level 0, from the front; false if `left` ran out before the slot did.
    fn drain(&mut self, slot: usize, due: &mut impl Extend<Waker>, left: &mut usize) -> bool {
        let mut index = self.slot(0, slot).head;
        while index != NONE && *left > 0 {
            let next = self.entries[index as usize].next;
            due.extend(self.release(index));
            *left -= 1;
            index = next;
        }
        if index == NONE {
            self.vacate(0, slot);
            return true;
        }
        self.entries[index as usize].prev = NONE;
        if let Some(there) = &mut self.levels[0] {
            there.slots[slot].head = index;
        }
        false
    }

    // --- entries ---

    fn find(&self, key: Key) -> Option<u32> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.waker.is_some()).then_some(key.index)
    }

    fn store(&mut self, entry: Entry) -> u32 {
        let index = self.free;
        if index != NONE {
            let place = &mut self.entries[index as usize];
            self.free = place.next;
            *place = entry;
            return index;
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
        assert!(index != NONE, "more than four thousand million timers");
        self.entries.push(entry);
        index
    }

    /// Gives an entry that is in no slot to the next who needs one.
    fn release(&mut self, index: u32) -> Option<Waker> {
        let entry = &mut self.entries[index as usize];
        entry.next = mem::replace(&mut self.free, index);
        entry.place = NOWHERE;
        self.len -= 1;
        entry.waker.take()
    }

    /// Gives the memory of a crowd back when the last of it has gone.
    fn trim(&mut self) {
        if self.len == 0 && self.entries.capacity() > KEPT {
            self.entries = Vec::new();
            self.free = NONE;
        }
    }
}

impl Level {
    fn new() -> Box<Self> {
        Box::new(Level { occupied: 0, slots: [EMPTY; SLOTS] })
    }
}

/// The level of an entry: that of the highest group of bits in which its deadline differs.
fn level_of(now: u64, deadline: u64) -> usize {
    // The lowest bit changes nothing, and makes equal times level 0.
    let highest = u64::BITS - 1 - ((now ^ deadline) | 1).leading_zeros();
    (highest / SLOT_BITS) as usize
}

fn slot_of(time: u64, level: usize) -> usize {
    (time >> (level as u32 * SLOT_BITS)) as usize % SLOTS
}

#[cfg(all(test, not(runtime_loom)))]
mod tests;
