//! Who is at the other side.
#![expect(unsafe_code, reason = "a number of a process that may be zero, which rustix cannot express")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

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
        let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the descriptor is borrowed for the call, and `len` is how much room `peer` has, which is made of numbers.
        let result = unsafe {
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(UCred { pid: peer.pid, uid: peer.uid, gid: peer.gid })
    }
}
