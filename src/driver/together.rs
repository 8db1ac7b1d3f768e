//! A driver's part in a run of several: it begins when all do, and its ramps end when all have ended.

use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::{DriverConfig, DriverError, Stop};
use crate::clock::Timeline;
use crate::shard::Shard;
use crate::stamp::Stamp;

/// Time before the start from which the clock is watched: tokio's timers step by 1 ms.
const AWAKE: Duration = Duration::from_millis(3);
const SPIN: Duration = Duration::from_micros(100);

/// A driver among others.
pub struct Together {
    /// Its number.
    pub shard: Shard,
    /// Told once everything is there for the first call.
    pub ready: Option<oneshot::Sender<()>>,
    /// Start of second 0, once it is known.
    pub start: watch::Receiver<Option<Stamp>>,
    /// Number of the last stage whose ramp is over for all, and when.
    pub ramp_over: watch::Receiver<Option<(u32, Stamp)>>,
}

impl Together {
    /// Says that everything is there, and waits for word of the start.
    pub(super) async fn begins(&mut self, mut stop: watch::Receiver<Stop>) -> Result<Stamp, DriverError> {
        let _ = self.ready.take().map(|ready| ready.send(()));
        tokio::select! {
            at = self.start.wait_for(Option::is_some) => {
                at.ok().and_then(|at| *at).ok_or(DriverError::CalledOff)
            }
            _ = stop.wait_for(|stop| *stop != Stop::No) => Err(DriverError::CalledOff),
        }
    }

    /// Word of the next ramp that is over for all.
    pub(super) async fn next_ramp(part: Option<&mut Together>) -> (u32, Stamp) {
        if let Some(part) = part {
            while part.ramp_over.changed().await.is_ok() {
                let over = *part.ramp_over.borrow_and_update();
                if let Some(over) = over {
                    return over;
                }
            }
        }
        std::future::pending().await
    }
}

/// Start of second 0: at once for a driver alone, else when all have come to it.
pub(super) async fn begin(config: &mut DriverConfig<'_>, timeline: &Timeline) -> Result<Stamp, DriverError> {
    let stop = config.stop.clone();
    match &mut config.together {
        Some(part) => part.begins(stop).await,
        None => Ok(timeline.now()),
    }
}

/// Waits for the start that all have agreed on, and returns the time; a driver alone has begun.
pub(super) async fn wait_for(
    epoch: Stamp,
    config: &DriverConfig<'_>,
    timeline: &Timeline,
) -> Result<Stamp, DriverError> {
    if config.together.is_none() {
        return Ok(epoch);
    }
    let mut stop = config.stop.clone();
    tokio::select! {
        () = tokio::time::sleep_until(timeline.tokio_deadline(epoch - AWAKE)) => {}
        _ = stop.wait_for(|stop| *stop != Stop::No) => return Err(DriverError::CalledOff),
    }
    timeline.sleep_until(epoch, SPIN);
    Ok(timeline.now())
}
