//! A child process that cannot outlive this one, held by a thread that starts it and reaps it.
//!
//! The kernel sends a parent-death signal when the *thread* that forked ends, not the process. A
//! thread of an async runtime may end at any time, so the child gets one that ends only after it.

mod digest;
mod output;
mod strays;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid, getppid};
use procfs::process::Process;
use tokio::sync::{oneshot, watch};

pub use digest::{DistinctLine, Level, LogDigest, LogReader};
pub use output::ChildOutput;

use strays::Mark;

/// Interval at which a group whose leader has ended is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running child, or one that has ended and whose status is known.
#[derive(Debug)]
pub struct Keeper {
    pid: Pid,
    status: watch::Receiver<Option<ExitStatus>>,
    mark: Mark,
    _holder: Holder,
}

/// The thread that holds a child. Dropped, also while the child is being started, it kills what is left of
/// the child's group and of what has left it, and waits until the child is reaped.
#[derive(Debug)]
struct Holder {
    pid: Arc<OnceLock<Pid>>,
    mark: Mark,
    /// Dropped, it lets the thread reap the child. Until then nobody else gets the child's number or
    /// its group's, so that no signal reaches a stranger.
    hold: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts `command` in a process group of its own. The child gets SIGKILL when this process dies;
    /// what is left of its group gets it when the Keeper is dropped.
    pub async fn start(mut command: Command) -> std::io::Result<Keeper> {
        let (started, start) = oneshot::channel();
        let (ended, status) = watch::channel(None);
        let (hold, released) = mpsc::channel();
        let known = Arc::new(OnceLock::new());
        die_with_parent(&mut command);
        let mark = Mark::put_on(&mut command);
        let (number, hold) = (known.clone(), Some(hold));
        let thread = thread::Builder::new().name("keeper".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(e) => return drop(started.send(Err(e))),
            };
            // It holds this side's copies of the child's output; a reader shall see the end of it.
            drop(command);
            let pid = Pid::from_raw(child.id().cast_signed());
            let _ = number.set(pid);
            // Nobody waits any more: the start was given up, and with it the child.
            if started.send(Ok(pid)).is_err() {
                let _ = child.kill();
            }
            ended.send_replace(wait(pid));
            drop(ended);
            // Nothing is ever sent: this waits for the other end to go.
            let _ = released.recv();
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = child.wait();
        })?;
        let holder = Holder { pid: known, mark: mark.clone(), hold, thread: Some(thread) };
        let pid = start.await.map_err(std::io::Error::other)??;
        Ok(Keeper { pid, status, mark, _holder: holder })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// The child's exit status; `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// The running processes that it has started, or that these have, and that are no longer in its group.
    pub fn strays(&self) -> Vec<Process> {
        self.mark.processes(self.pid).into_iter().map(|(process, _)| process).collect()
    }

    /// Waits until the child has ended.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let mut status = self.status.clone();
        // The sender goes without a status only if the child could not be waited for.
        status.wait_for(Option::is_some).await.ok().and_then(|s| *s)
    }

    /// Sends a signal to the child's process group: to the child, and to what it has started.
    pub fn signal(&self, signal: Signal) {
        // A group that has just ended needs no signal.
        let _ = killpg(self.pid, signal);
    }

    /// Kills the group, and what has left it, and waits for the child's end.
    pub async fn kill(&self) -> Option<ExitStatus> {
        // While the child lives, what it has started is found by it.
        self.mark.signal(self.pid, Signal::SIGKILL);
        self.signal(Signal::SIGKILL);
        self.ended().await
    }

    /// Asks the group, and what has left it, to end, and kills what is left after `grace`.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        // A stopped process receives SIGTERM only once it continues.
        for signal in [Signal::SIGTERM, Signal::SIGCONT] {
            self.mark.signal(self.pid, signal);
            self.signal(signal);
        }
        let all_gone = async {
            let status = self.ended().await;
            while group(self.pid()).next().is_some() || self.mark.count(self.pid) > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            status
        };
        match tokio::time::timeout(grace, all_gone).await {
            Ok(status) => Stopped { status, killed: false },
            Err(_) => Stopped { status: self.kill().await, killed: true },
        }
    }
}

/// Waits until a child has ended; for ever where there is none.
pub async fn ended(child: Option<&Keeper>) -> Option<ExitStatus> {
    match child {
        Some(child) => child.ended().await,
        None => std::future::pending().await,
    }
}

/// The end of a child that was stopped.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Its status; `None` if the kernel did not tell.
    pub status: Option<ExitStatus>,
    /// True if it, or something it had started, had to be killed.
    pub killed: bool,
}

/// An exit status for people, as in `exit status: 1`; `?` if the kernel did not tell.
pub fn describe(status: Option<ExitStatus>) -> String {
    status.map_or("?".into(), |status| status.to_string())
}

/// True for a file that somebody may execute.
pub fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.get() {
            self.mark.signal(*pid, Signal::SIGKILL);
            let _ = killpg(*pid, Signal::SIGKILL);
        }
        self.hold = None;
        if let Some(thread) = self.thread.take() {
            // It ends as soon as the killed child is reaped.
            let _ = thread.join();
        }
    }
}

/// The running processes of a group, which a [`Keeper`]'s child leads under its own number. Zombies do
/// not run.
pub fn group(leader: u32) -> impl Iterator<Item = Process> {
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    all.filter(move |process| {
        process.stat().is_ok_and(|s| u32::try_from(s.pgrp) == Ok(leader) && s.state != 'Z')
    })
}

/// The running processes of such a group, and those that its members have started, in whatever group they are.
pub fn tree(leader: u32) -> Vec<Process> {
    strays::tree(leader.cast_signed())
}

/// Waits for the child's end without reaping it; `None` if the kernel does not tell how it ended.
fn wait(pid: Pid) -> Option<ExitStatus> {
    loop {
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(nix::errno::Errno::EINTR) => {}
            // As wait(2) encodes them.
            Ok(WaitStatus::Exited(_, code)) => return Some(ExitStatus::from_raw((code & 0xff) << 8)),
            Ok(WaitStatus::Signaled(_, signal, core)) => {
                return Some(ExitStatus::from_raw(signal as i32 | if core { 0x80 } else { 0 }));
            }
            Ok(_) | Err(_) => return None,
        }
    }
}

fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl and getppid.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the call above, and then nothing would be sent.
            if getppid() == parent { Ok(()) } else { Err(nix::errno::Errno::ESRCH.into()) }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whatever_a_child_has_started_is_stopped_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "(trap '' TERM; echo ready; exec sleep 600) & wait"]);
        let output = ChildOutput::capture(&mut command, dir.path().join("log"), |_| {}).unwrap();
        let child = Keeper::start(command).await.unwrap();
        while output.tail().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let stopped = child.stop(Duration::from_millis(300)).await;
        assert!(stopped.killed && stopped.status.is_some(), "{stopped:?}");
        output.drained().await;
        // A killed process lets go of its output a moment before it counts as dead.
        let gone = async {
            while group(child.pid()).next().is_some() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("all of the group are killed");
    }

    #[tokio::test]
    async fn what_has_left_the_group_is_stopped_with_the_child_and_strangers_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut stranger = Command::new("setsid").args(["sleep", "600"]).spawn().unwrap();
        for is_stopped in [true, false] {
            let mut command = Command::new("sh");
            // In a session of its own; a daemon whose parent has gone; one without the mark whose parent is there.
            let script = "setsid sleep 600 & setsid sh -c 'sleep 600 & exit' & env -i setsid sleep 600 &                           sleep 0.3; echo ready; wait; sleep 600";
            command.args(["-c", script]);
            let output = ChildOutput::capture(&mut command, dir.path().join("log"), |_| {}).unwrap();
            let child = Keeper::start(command).await.unwrap();
            while output.tail().is_empty() || child.mark.count(child.pid) < 3 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let (mark, pid) = (child.mark.clone(), child.pid);
            if is_stopped {
                child.stop(Duration::from_secs(60)).await;
            } else {
                drop(child);
            }
            while mark.count(pid) > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        assert!(stranger.try_wait().unwrap().is_none(), "nobody else's process gets a signal");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[tokio::test]
    async fn a_held_child_still_ends_in_order() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let child = Keeper::start(command).await.unwrap();
        child.signal(Signal::SIGSTOP);
        let stopped = child.stop(Duration::from_secs(60)).await;
        assert!(!stopped.killed, "{stopped:?}");
        assert_eq!(describe(stopped.status), "signal: 15 (SIGTERM)");
    }
    #[tokio::test]
    async fn a_start_that_is_given_up_leaves_no_child() {
        let mark = format!("{}-given-up", std::process::id());
        for n in 0..40 {
            let mut command = Command::new("sleep");
            command.arg("600").env("MARK_OF_THIS_TEST", &mark);
            // From before the thread runs to after the child does.
            let given_up = tokio::time::sleep(Duration::from_micros(100 * n));
            tokio::select! {
                biased;
                () = given_up => {}
                started = Keeper::start(command) => drop(started.unwrap()),
            }
            let all = procfs::process::all_processes().unwrap().flatten();
            let is_ours = |process: &Process| {
                let variables = process.environ().unwrap_or_default();
                variables.get(std::ffi::OsStr::new("MARK_OF_THIS_TEST")).is_some_and(|v| *v == *mark)
            };
            assert_eq!(all.filter(is_ours).count(), 0, "attempt {n}");
        }
    }
}
