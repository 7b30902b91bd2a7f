//! How long the system goes on to deliver after a close: a length of time that it counts in seconds.

use std::io;
use std::time::Duration;

use socket2::SockRef;

/// As long as the system takes, and no shorter than asked for: cut down to seconds, less than one would be none, and the close
/// a reset.
fn in_seconds(linger: Duration) -> Duration {
    const MOST: u64 = i32::MAX as u64;
    let up = u64::from(linger.subsec_nanos() > 0);
    Duration::from_secs(linger.as_secs().saturating_add(up).min(MOST))
}

/// Sets `SO_LINGER`.
pub(super) fn set(socket: &SockRef<'_>, linger: Option<Duration>) -> io::Result<()> {
    socket.set_linger(linger.map(in_seconds))
}
