//! Signals as requests: each waits to be taken and does no harm by itself.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use nix::sys::signal::Signal;
use procfs::process::Process;
use tokio::signal::unix::{self, SignalKind, signal};

/// Ctrl-C, SIGTERM and a terminal that goes, each a request to end in order.
const TO_END: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Some signals; from its making on none of them ends the program.
pub struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Begins to listen for requests to end: Ctrl-C, SIGTERM, and SIGHUP unless it is ignored, as under `nohup`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn to_end() -> io::Result<Self> {
        let ignored = Process::myself().and_then(|this| this.status()).map_or(0, |status| status.sigign);
        let is_ignored = |signal: Signal| ignored >> (signal as u32 - 1) & 1 == 1;
        Signals::listen(if is_ignored(Signal::SIGHUP) { &TO_END[..2] } else { &TO_END })
    }

    /// Begins to listen for `wanted`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn listen(wanted: &[Signal]) -> io::Result<Self> {
        let watched =
            wanted.iter().map(|wanted| Ok((*wanted, signal(SignalKind::from_raw(*wanted as i32))?)));
        let watched: io::Result<Vec<_>> = watched.collect();
        watched.map(Signals).map_err(|error| io::Error::other(format!("cannot watch for signals: {error}")))
    }

    /// Waits for the next of them; cancel-safe.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let mut each = self.0.iter_mut();
            let came = each.find_map(|(name, signal)| signal.poll_recv(context).is_ready().then_some(*name));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
