//! A child process that cannot outlive this one, held by a thread that starts it and reaps it.
//!
//! The kernel sends a parent-death signal when the *thread* that forked ends, not the process. A
//! thread of an async runtime may end at any time, so the child gets one that ends only after it.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid, getppid};
use tokio::sync::{oneshot, watch};

/// A running child, or one that has ended and whose status is known.
#[derive(Debug)]
pub(super) struct Keeper {
    pid: Pid,
    /// Locked around the reaping and around every signal, so that no signal reaches a reused pid.
    reaped: Arc<Mutex<bool>>,
    status: watch::Receiver<Option<ExitStatus>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts `command` in a process group of its own. The child gets SIGKILL when this process dies.
    pub(super) async fn start(mut command: Command) -> std::io::Result<Keeper> {
        let (started, start) = oneshot::channel();
        let (ended, status) = watch::channel(None);
        let reaped = Arc::new(Mutex::new(false));
        let gate = Arc::clone(&reaped);
        die_with_parent(&mut command);
        let thread = thread::Builder::new().name("asterisk-keeper".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(e) => return drop(started.send(Err(e))),
            };
            // It holds this side's copies of the child's output; a reader shall see the end of it.
            drop(command);
            let pid = Pid::from_raw(child.id().cast_signed());
            // Nobody waits any more: the start was given up, and with it the child.
            if started.send(Ok(pid)).is_err() {
                let _ = child.kill();
            }
            // Invariant: the child is ours and not reaped, so waiting fails only when interrupted.
            while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
                == Err(nix::errno::Errno::EINTR)
            {}
            let mut reaped = gate.lock().unwrap_or_else(PoisonError::into_inner);
            *reaped = true;
            ended.send_replace(child.wait().ok());
        })?;
        let pid = start.await.map_err(std::io::Error::other)??;
        Ok(Keeper { pid, reaped, status, thread: Some(thread) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// How the child ended; `None` while it runs.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Waits until the child has ended.
    pub(super) async fn ended(&self) -> Option<ExitStatus> {
        let mut status = self.status.clone();
        // The sender goes without a status only if the child could not be waited for.
        status.wait_for(Option::is_some).await.ok().and_then(|s| *s)
    }

    /// Sends a signal to the child's process group, if the child still runs.
    pub(super) fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            // A group that has just ended needs no signal.
            let _ = kill(Pid::from_raw(-self.pid.as_raw()), signal);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(thread) = self.thread.take() {
            // It ends as soon as the killed child is reaped.
            let _ = thread.join();
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
