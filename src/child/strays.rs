//! Processes that a child has started and let go of, in a session of their own (`setsid`, daemons): found and ended
//! with it.
//!
//! Every child gets a mark of its own in its environment, which whatever it starts inherits; what takes the mark off is
//! found as a descendant for as long as its parents live. A signal goes through a descriptor of the very process that
//! was looked at, so that none reaches a stranger who has got its number meanwhile.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use procfs::process::{Process, Stat};

/// The variable that holds the mark.
const VARIABLE: &str = "LOADTEST_KEEPER";

/// The mark of one child and of what comes from it.
#[derive(Debug, Clone)]
pub(super) struct Mark(String);

impl Mark {
    /// Draws a mark and gives it to `command`.
    pub(super) fn put_on(command: &mut Command) -> Mark {
        let mark = Mark(format!("{:032x}", rand::random::<u128>()));
        command.env(VARIABLE, &mark.0);
        mark
    }

    /// Sends a signal to what the child `leader` has started and is no longer in its group; returns the number of
    /// those that run.
    pub(super) fn signal(&self, leader: Pid, signal: Signal) -> usize {
        let strays = self.strays(leader);
        strays.iter().for_each(|stray| send(stray, signal));
        strays.len()
    }

    /// Number of those that run.
    pub(super) fn count(&self, leader: Pid) -> usize {
        self.strays(leader).len()
    }

    fn strays(&self, leader: Pid) -> Vec<OwnedFd> {
        self.processes(leader).iter().filter_map(|(_, stat)| open(stat)).collect()
    }

    /// Those that run, as they were seen.
    pub(super) fn processes(&self, leader: Pid) -> Vec<(Process, Stat)> {
        let mut all = everybody();
        let descendants = descendants(leader.as_raw(), &all);
        all.retain(|(process, stat)| {
            stat.state != 'Z'
                && stat.pgrp != leader.as_raw()
                && (descendants.contains(&stat.pid) || self.is_on(process))
        });
        all
    }

    fn is_on(&self, process: &Process) -> bool {
        let variables = process.environ().unwrap_or_default();
        variables.get(OsStr::new(VARIABLE)).is_some_and(|value| *value == *self.0)
    }
}

/// All processes.
fn everybody() -> Vec<(Process, Stat)> {
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    all.filter_map(|process| process.stat().ok().map(|stat| (process, stat))).collect()
}

/// The running processes of the group of `leader`, and those that it or its children have started.
pub(super) fn tree(leader: i32) -> Vec<Process> {
    let all = everybody();
    let below = descendants(leader, &all);
    let is_its =
        |(_, stat): &(Process, Stat)| stat.state != 'Z' && (stat.pgrp == leader || below.contains(&stat.pid));
    all.into_iter().filter(is_its).map(|(process, _)| process).collect()
}

/// The processes whose parents, or theirs, are `leader`.
fn descendants(leader: i32, all: &[(Process, Stat)]) -> HashSet<i32> {
    let mut found = HashSet::from([leader]);
    loop {
        let before = found.len();
        for (_, stat) in all {
            if found.contains(&stat.ppid) {
                found.insert(stat.pid);
            }
        }
        if found.len() == before {
            found.remove(&leader);
            return found;
        }
    }
}

/// A descriptor of the process that was looked at, if it is still there.
fn open(seen: &Stat) -> Option<OwnedFd> {
    // SAFETY: the call takes two numbers, and a descriptor that it returns belongs to nobody else.
    let descriptor = unsafe {
        let number = libc::syscall(libc::SYS_pidfd_open, seen.pid, 0);
        i32::try_from(number).ok().filter(|number| *number >= 0).map(|number| OwnedFd::from_raw_fd(number))
    }?;
    // Another process that has got its number meanwhile has started later.
    let now = Process::new(seen.pid).and_then(|process| process.stat()).ok()?;
    (now.starttime == seen.starttime).then_some(descriptor)
}

fn send(process: &OwnedFd, signal: Signal) {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and no further information is given. One that has just ended needs no signal.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal as i32, none, 0) };
}
