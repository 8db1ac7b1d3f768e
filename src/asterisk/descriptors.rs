//! Limits of open file descriptors, of this process and of Asterisk.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The highest limit that Asterisk is given: it walks all of them when it forks.
const DESCRIPTORS_MAX: u64 = 65_536;

/// The descriptor limit that a managed Asterisk gets: the hard limit (`ulimit -Hn`), within reason.
pub fn for_asterisk() -> u64 {
    // Invariant of the kernel: reading a resource limit that exists does not fail; 1024 is the usual one.
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
    hard.min(DESCRIPTORS_MAX)
}

/// Raises this process's own descriptor limit to its hard limit and returns what it is then.
///
/// # Errors
/// The kernel's refusal; the limit is then what it was.
pub fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(DESCRIPTORS_MAX).max(soft);
    if wanted > soft {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(wanted)
}
