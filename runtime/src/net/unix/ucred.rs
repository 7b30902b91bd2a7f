//! Who is at the other side.

use std::io;
use std::os::fd::AsFd;

/// The process at the other side, as the kernel noted it when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    pid: i32,
    uid: u32,
    gid: u32,
}

impl UCred {
    /// Its number; `None` if it is in a namespace that this one cannot see.
    pub fn pid(&self) -> Option<i32> {
        (self.pid > 0).then_some(self.pid)
    }

    /// Its effective user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its effective group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    pub(super) fn of(socket: impl AsFd) -> io::Result<UCred> {
        let peer = rustix::net::sockopt::socket_peercred(socket)?;
        Ok(UCred { pid: peer.pid.as_raw_pid(), uid: peer.uid.as_raw(), gid: peer.gid.as_raw() })
    }
}
