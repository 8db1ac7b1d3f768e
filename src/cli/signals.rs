//! Ctrl-C and SIGTERM, each a request to end in order.

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

use super::Failure;

/// Both signals, listened for from its making on.
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Begins to listen: from now on neither ends the program by itself.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn listen() -> Result<Self, Failure> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?,
        })
    }

    /// Waits for the next of the two.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
        }
    }
}
