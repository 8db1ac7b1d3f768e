//! Ctrl-C and SIGTERM as a run's wish to end.

use tokio::sync::watch;

use super::Failure;
use crate::driver::Stop;
use crate::net::signals::Signals;

/// Begins to listen: the first signal hangs up in order, the second ends at once.
///
/// # Errors
/// When the kernel refuses.
pub fn listen() -> Result<watch::Receiver<Stop>, Failure> {
    let mut signals = Signals::listen()?;
    let (wish, wishes) = watch::channel(Stop::No);
    tokio::spawn(async move {
        loop {
            let again = signals.came();
            signals.next().await;
            wish.send_replace(if again { Stop::Now } else { Stop::Soon });
        }
    });
    Ok(wishes)
}
