//! Ctrl-C, SIGTERM and SIGHUP as a run's wish to end.

use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::Failure;
use crate::driver::Stop;
use crate::net::signals::Signals;

/// Begins to listen: the first signal hangs up in order, the second ends at once.
///
/// # Errors
/// When the kernel refuses.
pub fn listen() -> Result<watch::Receiver<Stop>, Failure> {
    let mut signals = Signals::to_end()?;
    let (wish, wishes) = watch::channel(Stop::No);
    tokio::spawn(async move {
        signals.next().await;
        wish.send_replace(Stop::Soon);
        // The shell and the kernel both tell of a terminal that goes.
        while signals.next().await == Signal::SIGHUP {}
        wish.send_replace(Stop::Now);
        // Kept: without a sender nobody could wait for a wish.
        std::future::pending::<()>().await
    });
    Ok(wishes)
}
