//! What the operating system lets a process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the number of files that this process may open as far as it can without being privileged.
///
/// The usual limit is 1,024, which a thousand connections and everything else just fit into. Where it cannot
/// be raised, a workload that needs more says so when a socket fails to open.
pub fn allow_many_files() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    let _ = setrlimit(Resource::Nofile, files);
}
