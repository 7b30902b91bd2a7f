//! What an object can be ready for, as bits.

/// There is something to read, or the end of it.
pub(crate) const READABLE: u8 = 1;
/// There is room to write.
pub(crate) const WRITABLE: u8 = 2;
/// The peer writes no more.
pub(crate) const READ_CLOSED: u8 = 4;
/// Nothing that is written will arrive.
pub(crate) const WRITE_CLOSED: u8 = 8;
/// There is an error to fetch.
pub(crate) const ERROR: u8 = 16;
/// There is urgent data, as far as readers know: a read that finds nothing takes it away.
pub(crate) const PRIORITY: u8 = 32;
/// There is urgent data, for those who wait for that alone, whoever reads.
pub(crate) const URGENT: u8 = 64;
/// The reactor is gone.
pub(crate) const SHUTDOWN: u8 = 128;

/// What wakes a reader.
pub(crate) const READ: u8 = READABLE;
/// What wakes a writer.
pub(crate) const WRITE: u8 = WRITABLE;
