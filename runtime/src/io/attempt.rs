//! Operations of the user's own on an object: as many tries as it takes, for one direction, for both, or for urgent data.

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
    match interest {
        Interest::READABLE => return io.io(Direction::Read, op).await,
        Interest::WRITABLE => return io.io(Direction::Write, op).await,
        _ => {}
    }
    loop {
        let seen = io.look();
        match io.try_for_others(interest, &mut op) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
        // One direction may be ready all the time, and stay so for others, and a try for urgent data says nothing of the
        // end of the stream: only an event says that another try may help.
        io.news(interest, seen).await?;
    }
}
