//! Scheduling of threads and of child processes: their priority, and the CPUs that they keep to.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Above every ordinary thread, below the kernel's own (its interrupt threads have 50).
const REALTIME_PRIORITY: i32 = 10;
/// Of a raised priority: near the most, which is -20.
const RAISED_NICE: i32 = -15;

/// Priority of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// As everybody's.
    #[default]
    Ordinary,
    /// A larger share of the CPU than others, and sooner (nice -15).
    Raised,
    /// Before every ordinary thread, whatever becomes of them (SCHED_FIFO, sched(7)).
    Realtime,
}

/// Wishes to the kernel for a thread, or for a process that is yet to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Priority.
    pub priority: Priority,
    /// CPUs to keep to, by number; none is any.
    pub cpus: Vec<usize>,
}

/// A refusal by the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No permission for a raised priority.
    #[error(
        "the kernel refuses a raised priority ({0}); permit it with `sudo setcap cap_sys_nice+ep` on this program, \
         `ulimit -e {most}`, or --cap-add SYS_NICE in a container",
        most = 20 - RAISED_NICE
    )]
    Raised(io::Error),
    /// No permission for a real-time policy.
    #[error(
        "the kernel refuses a real-time priority ({0}); permit it with `sudo setcap cap_sys_nice+ep` on this \
         program, `ulimit -r {REALTIME_PRIORITY}`, or --cap-add SYS_NICE in a container"
    )]
    Realtime(io::Error),
    /// None of the CPUs may be used.
    #[error("the kernel refuses CPUs {cpus} ({source}); this process may use {allowed}")]
    Cpus {
        /// Those asked for.
        cpus: String,
        /// Those that this process may use.
        allowed: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl Scheduling {
    /// Applies this to the calling thread, as far as the kernel permits.
    ///
    /// # Errors
    /// The first refusal; what else was asked for is in force all the same.
    pub fn apply(&self) -> Result<(), Refused> {
        let pinned = self.pin();
        match self.priority {
            Priority::Ordinary => {}
            Priority::Raised => raised().map_err(Refused::Raised)?,
            Priority::Realtime => realtime().map_err(Refused::Realtime)?,
        }
        pinned
    }

    /// CPUs that this leaves, of `allowed` that the process may use.
    pub fn usable(&self, allowed: u32) -> u32 {
        if self.cpus.is_empty() { allowed } else { self.cpus.len() as u32 }
    }

    /// Makes the process that `command` starts keep to the CPUs. The priority is no matter of a whole process: most
    /// of its threads do nothing urgent.
    pub fn pin_process(&self, command: &mut Command) {
        // CPUs that cannot be named have been refused when they were tried.
        let Ok(set) = self.set() else { return };
        if self.cpus.is_empty() {
            return;
        }
        // SAFETY: between fork and exec one system call is made, on a set that is there already.
        unsafe {
            command.pre_exec(move || Ok(sched_setaffinity(Pid::from_raw(0), &set)?));
        }
    }

    /// A CPU beyond what a set can name is refused like one that does not exist.
    fn set(&self) -> Result<CpuSet, Errno> {
        let mut set = CpuSet::new();
        self.cpus.iter().try_for_each(|cpu| set.set(*cpu))?;
        Ok(set)
    }

    fn pin(&self) -> Result<(), Refused> {
        if self.cpus.is_empty() {
            return Ok(());
        }
        let this = Pid::from_raw(0);
        let before = allowed();
        // The kernel leaves out the CPUs that are not there, and says nothing as long as one is.
        let there = |()| self.cpus.iter().all(|cpu| before.contains(cpu)).then_some(()).ok_or(Errno::EINVAL);
        let pinned = self.set().and_then(|set| there(()).and_then(|()| sched_setaffinity(this, &set)));
        pinned.map_err(|error| Refused::Cpus {
            cpus: list(&self.cpus),
            allowed: list(&before),
            source: error.into(),
        })
    }

    /// Splits into what the kernel permits and what it refuses, tried on a thread that ends at once.
    ///
    /// # Errors
    /// When there can be no thread at all.
    pub fn permitted(&self) -> io::Result<(Scheduling, Vec<Refused>)> {
        let asked = self.clone();
        let probe = thread::Builder::new().name("scheduling".into()).spawn(move || {
            let parts = [
                Scheduling { cpus: asked.cpus, ..Scheduling::default() },
                Scheduling { priority: asked.priority, cpus: Vec::new() },
            ];
            let (mut granted, mut refused) = (Scheduling::default(), Vec::new());
            for part in parts {
                match part.apply() {
                    Ok(()) => {
                        granted.cpus.extend(part.cpus);
                        granted.priority = part.priority;
                    }
                    Err(error) => refused.push(error),
                }
            }
            (granted, refused)
        })?;
        probe.join().map_err(|_| io::Error::other("the thread that tries scheduling panicked"))
    }
}

impl fmt::Display for Scheduling {
    /// `real-time priority (SCHED_FIFO 10), CPU 1`; `ordinary priority, any CPU`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.priority {
            Priority::Ordinary => f.write_str("ordinary priority")?,
            Priority::Raised => write!(f, "raised priority (nice {RAISED_NICE})")?,
            Priority::Realtime => write!(f, "real-time priority (SCHED_FIFO {REALTIME_PRIORITY})")?,
        }
        match self.cpus.as_slice() {
            [] => f.write_str(", any CPU"),
            [cpu] => write!(f, ", CPU {cpu}"),
            cpus => write!(f, ", CPUs {}", list(cpus)),
        }
    }
}

/// Of the calling thread alone: on Linux each has a nice value of its own (setpriority(2)).
fn raised() -> io::Result<()> {
    // SAFETY: no pointers; 0 is the calling thread.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, RAISED_NICE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn realtime() -> io::Result<()> {
    // SAFETY: all-zero is a valid value of this C struct.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = REALTIME_PRIORITY;
    // Children of the thread go back to the ordinary policy: nothing but media is urgent.
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the pointer is valid for the call.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// CPUs that the calling thread may use.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

fn list(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_may_be_used_is_granted_and_the_thread_keeps_to_it() {
        let cpu = *allowed().last().unwrap();
        let asked = Scheduling { cpus: vec![cpu], ..Scheduling::default() };
        let (granted, refused) = asked.permitted().unwrap();
        assert_eq!(granted, asked);
        assert!(refused.is_empty());
        let inside = thread::spawn(move || asked.apply().map(|()| allowed())).join().unwrap();
        assert_eq!(inside.unwrap(), [cpu]);
        assert!(allowed().len() >= inside_count());
    }

    /// CPUs of a fresh thread: those of this one, for trying has not touched it.
    fn inside_count() -> usize {
        thread::spawn(|| allowed().len()).join().unwrap()
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_refused_with_those_that_do() {
        for cpus in [vec![1023], vec![1_000_000], vec![allowed()[0], 1023]] {
            let (granted, refused) = Scheduling { cpus, ..Scheduling::default() }.permitted().unwrap();
            assert_eq!(granted, Scheduling::default());
            assert!(refused[0].to_string().contains(&format!("may use {}", list(&allowed()))), "{refused:?}");
        }
    }

    #[test]
    fn a_real_time_priority_is_in_force_or_refused() {
        let asked = Scheduling { priority: Priority::Realtime, cpus: Vec::new() };
        let policy = thread::spawn(move || {
            let applied = asked.apply().is_ok();
            // SAFETY: no pointers; 0 is the calling thread.
            (applied, unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK)
        });
        let (applied, policy) = policy.join().unwrap();
        assert_eq!(policy, if applied { libc::SCHED_FIFO } else { libc::SCHED_OTHER });
    }

    #[test]
    fn a_raised_priority_is_that_of_its_thread_alone_or_refused() {
        // SAFETY: no pointers; 0 is the calling thread.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        let asked = Scheduling { priority: Priority::Raised, cpus: Vec::new() };
        let (applied, inside) = thread::spawn(move || (asked.apply().is_ok(), nice())).join().unwrap();
        assert_eq!(inside, if applied { RAISED_NICE } else { before });
        assert_eq!(nice(), before);
    }

    #[test]
    fn it_is_shown_in_words() {
        let said = |priority, cpus| Scheduling { priority, cpus }.to_string();
        assert_eq!(said(Priority::Ordinary, vec![]), "ordinary priority, any CPU");
        assert_eq!(said(Priority::Realtime, vec![1]), "real-time priority (SCHED_FIFO 10), CPU 1");
        assert_eq!(said(Priority::Raised, vec![2, 3]), "raised priority (nice -15), CPUs 2, 3");
    }
}
