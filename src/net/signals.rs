//! Ctrl-C and SIGTERM, each a request to end in order.

use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

/// Both signals; from its making on neither ends the program by itself.
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    came: bool,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn listen() -> io::Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|e| io::Error::other(format!("cannot watch for signals: {e}")));
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Signals { interrupt, terminate, came: false })
    }

    /// Waits for the next of the two; cancel-safe.
    pub async fn next(&mut self) -> Signal {
        let signal = tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
        };
        self.came = true;
        signal
    }

    /// True once [`Signals::next`] has returned one.
    pub fn came(&self) -> bool {
        self.came
    }
}
