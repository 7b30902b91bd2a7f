//! What is waited for, and what has come: two small sets of bits.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// What a wait for readiness waits for; never empty.
///
/// ```
/// use runtime::io::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

/// The bit of `Interest::PRIORITY`, also where there is no such thing.
const URGENT: u8 = 4;

impl Interest {
    /// That there is something to read, or that nothing more will come.
    pub const READABLE: Interest = Interest(1);
    /// That there is room to write, or that nothing more can be written.
    pub const WRITABLE: Interest = Interest(2);
    /// That there is urgent data: the byte that TCP calls so, or a condition of a device. Other data does not end a wait
    /// for it; on Linux the end of the stream does. Only Linux and Android have it.
    ///
    /// Until a guard of such a wait is cleared, or a try for this alone would block, the next wait ends at once, whoever
    /// has read meanwhile. A wait for [`READABLE`](Self::READABLE) ends with urgent data, too. Once the stream has ended each wait
    /// ends at once: a loop of waits and tries has to look for [`is_read_closed`](Ready::is_read_closed). To read
    /// urgent data where there is none is `InvalidInput` for TCP, and no would-block.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub const PRIORITY: Interest = Interest(URGENT);

    /// True if it contains [`READABLE`](Self::READABLE).
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// True if it contains [`WRITABLE`](Self::WRITABLE).
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// True if it contains `PRIORITY`, which not every system has.
    pub const fn is_priority(self) -> bool {
        self.0 & URGENT != 0
    }

    /// Both together; a `|` for constants.
    #[must_use]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// This without the other; `None` if nothing is left.
    #[must_use]
    pub const fn remove(self, other: Interest) -> Option<Interest> {
        match self.0 & !other.0 {
            0 => None,
            rest => Some(Interest(rest)),
        }
    }

    /// Everything that ends a wait for this.
    pub(crate) const fn mask(self) -> Ready {
        let mut bits = Ready::ERROR.0;
        if self.is_readable() {
            bits |= Ready::READABLE.0 | Ready::READ_CLOSED.0;
        }
        if self.is_writable() {
            bits |= Ready::WRITABLE.0 | Ready::WRITE_CLOSED.0;
        }
        if self.is_priority() {
            bits |= Ready::PRIORITY.0 | Ready::READ_CLOSED.0;
        }
        Ready(bits)
    }

    /// What is told of after a wait for this: urgent data beside what ends it.
    pub(crate) const fn told(self) -> Ready {
        let urgent = if self.is_readable() { Ready::PRIORITY.0 } else { 0 };
        Ready(self.mask().0 | urgent)
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        *self = self.add(other);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names(f, self.0, &[(1, "READABLE"), (2, "WRITABLE"), (URGENT, "PRIORITY")])
    }
}

/// What an object of the system is ready for, as far as the last event says.
///
/// Readiness is a hint: another task may have been quicker, so the operation may still find nothing.
///
/// ```
/// use runtime::io::Ready;
///
/// let ready = Ready::READABLE | Ready::WRITE_CLOSED;
/// assert!(ready.is_readable() && ready.is_writable());
/// assert!(!ready.is_read_closed());
/// assert_eq!(ready - Ready::READABLE, Ready::WRITE_CLOSED);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const EMPTY: Ready = Ready(0);
    /// There is something to read.
    pub const READABLE: Ready = Ready(1);
    /// There is room to write.
    pub const WRITABLE: Ready = Ready(2);
    /// The other side writes no more.
    pub const READ_CLOSED: Ready = Ready(4);
    /// Nothing can be written any more.
    pub const WRITE_CLOSED: Ready = Ready(8);
    /// The object has failed; the next operation says how.
    pub const ERROR: Ready = Ready(16);
    /// There is urgent data.
    pub const PRIORITY: Ready = Ready(32);
    /// Everything.
    pub const ALL: Ready = Ready(63);

    /// The set with these bits; those that mean nothing are left out.
    pub(crate) const fn from_bits(bits: u8) -> Ready {
        Ready(bits & Ready::ALL.0)
    }

    /// The bits of the set.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// True if there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if a read will not wait: there is data, or the end.
    pub const fn is_readable(self) -> bool {
        self.0 & (Ready::READABLE.0 | Ready::READ_CLOSED.0) != 0
    }

    /// True if a write will not wait: there is room, or no use.
    pub const fn is_writable(self) -> bool {
        self.0 & (Ready::WRITABLE.0 | Ready::WRITE_CLOSED.0) != 0
    }

    /// True if the other side writes no more.
    pub const fn is_read_closed(self) -> bool {
        self.0 & Ready::READ_CLOSED.0 != 0
    }

    /// True if nothing can be written any more.
    pub const fn is_write_closed(self) -> bool {
        self.0 & Ready::WRITE_CLOSED.0 != 0
    }

    /// True if the object has failed.
    pub const fn is_error(self) -> bool {
        self.0 & Ready::ERROR.0 != 0
    }

    /// True if there is urgent data.
    pub const fn is_priority(self) -> bool {
        self.0 & Ready::PRIORITY.0 != 0
    }

    /// True if all of `other` is in it.
    pub const fn contains(self, other: Ready) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

impl BitAnd for Ready {
    type Output = Ready;

    fn bitand(self, other: Ready) -> Ready {
        Ready(self.0 & other.0)
    }
}

impl Sub for Ready {
    type Output = Ready;

    fn sub(self, other: Ready) -> Ready {
        Ready(self.0 & !other.0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u8, &str); 6] = [
            (1, "READABLE"),
            (2, "WRITABLE"),
            (4, "READ_CLOSED"),
            (8, "WRITE_CLOSED"),
            (16, "ERROR"),
            (32, "PRIORITY"),
        ];
        names(f, self.0, &NAMES)
    }
}

/// The names of the bits that are set, with `|` between them.
fn names(f: &mut fmt::Formatter<'_>, bits: u8, names: &[(u8, &str)]) -> fmt::Result {
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    f.write_str(if set.is_empty() { "EMPTY" } else { "" })?;
    f.write_str(&set.join(" | "))
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_on_what_closes_its_direction() {
        assert!(Interest::READABLE.mask().contains(Ready::READ_CLOSED | Ready::ERROR));
        assert!(!Interest::READABLE.mask().contains(Ready::WRITE_CLOSED));
        assert!(Interest::WRITABLE.mask().contains(Ready::WRITE_CLOSED | Ready::ERROR));
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_wait_for_urgent_data_is_none_for_other_data() {
        let mask = Interest::PRIORITY.mask();
        assert!(mask.contains(Ready::PRIORITY | Ready::READ_CLOSED | Ready::ERROR));
        assert!(!mask.contains(Ready::READABLE) && !Interest::PRIORITY.is_readable());
        assert_eq!(format!("{:?}", Interest::PRIORITY | Interest::READABLE), "READABLE | PRIORITY");
    }

    #[test]
    fn an_interest_never_becomes_empty() {
        let both = Interest::READABLE | Interest::WRITABLE;
        assert_eq!(both.remove(Interest::READABLE), Some(Interest::WRITABLE));
        assert_eq!(Interest::READABLE.remove(both), None);
    }

    #[test]
    fn sets_print_the_names_of_their_bits() {
        assert_eq!(format!("{:?}", Ready::READABLE | Ready::ERROR), "READABLE | ERROR");
        assert_eq!(format!("{:?}", Ready::EMPTY), "EMPTY");
        assert_eq!(format!("{:?}", Interest::READABLE | Interest::WRITABLE), "READABLE | WRITABLE");
    }
}
