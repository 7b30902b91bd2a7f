//! Operations of the user's own on an object: as many tries as it takes, for one direction or for both.

use std::io;
use std::os::fd::AsFd;

use super::evented::{Direction, Evented};
use super::interest::Interest;

/// Calls `op` whenever the object may be ready for `interest`, until it does not answer that it would block.
pub(crate) async fn async_io<T: AsFd, R>(
    io: &Evented<T>,
    interest: Interest,
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let both = interest.is_readable() && interest.is_writable();
    if !both {
        let direction = if interest.is_readable() { Direction::Read } else { Direction::Write };
        return io.io(direction, op).await;
    }
    loop {
        let seen = io.look();
        match io.try_for_others(interest, &mut op) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
        // One direction may be ready all the time, and stay so for others: only an event says that another try may help.
        io.news(interest, seen).await?;
    }
}
