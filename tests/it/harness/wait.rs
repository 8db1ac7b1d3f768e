//! Waiting for what a test needs, for as long as the busiest machine takes.

use std::time::Duration;

use loadtest::clock::Timeline;

/// A wait that is not over by then is a failure; one that is over costs no more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// Asks until `holds` does; false after [`PATIENCE`].
pub async fn comes_true(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let line = Timeline::start();
    let until = line.now() + PATIENCE;
    loop {
        if holds().await {
            return true;
        }
        if line.now() >= until {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for a test without a runtime.
pub fn comes_to_be(mut holds: impl FnMut() -> bool) -> bool {
    let line = Timeline::start();
    let until = line.now() + PATIENCE;
    loop {
        if holds() {
            return true;
        }
        if line.now() >= until {
            return false;
        }
        line.sleep_until(line.now() + PAUSE, Duration::ZERO);
    }
}
