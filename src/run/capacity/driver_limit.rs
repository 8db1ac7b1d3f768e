//! The load that the driver manages against its own echo on this machine: the largest that a search can judge
//! (RFC 9971 section 4.9.1).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

use crate::driver::{DriverError, PingConfig, Stop, ping};
use crate::echo::EchoServer;
use crate::gate::{Extent, doubt};
use crate::metrics::{Summary, summarize};
use crate::run::environment::beforehand;
use crate::run::{RunError, RunPlan};
use crate::values::counted;

/// Length of a trial: long enough for a second that the scheduler takes away to show, short beside the search.
const TRIAL: Duration = Duration::from_secs(5);
/// The limit is known when the streams that were managed and those that were not differ by no more than this ratio.
const CLOSE: f64 = 1.15;
/// Tries at one number of streams: a disturbance by others is no limit of the driver.
const TRIES: u32 = 2;

/// The driver's own limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverLimit {
    /// Streams managed on time.
    pub streams: u32,
    /// The limit that more of them broke; `None` where all that were asked for were managed.
    pub broke: Option<String>,
}

impl DriverLimit {
    /// `the driver manages 812 streams against its own echo; with more …`
    pub fn told(&self) -> String {
        let streams = counted(self.streams.into(), "stream");
        match &self.broke {
            None => format!("the driver manages all {streams} against its own echo"),
            Some(why) => format!("the driver manages {streams} against its own echo; with more, {why}"),
        }
    }
}

/// Looks for the largest number of streams, up to `most`, that the driver paces and reads on time, with the packet
/// time, the limits and the scheduling of `plan`. `None` when the user ends it.
///
/// `told` hears of each trial in a line.
///
/// # Errors
/// Sockets or threads that cannot be had.
pub async fn driver_limit(
    plan: &RunPlan,
    most: u32,
    interrupt: watch::Receiver<Stop>,
    told: &mut dyn FnMut(&str),
) -> Result<Option<DriverLimit>, RunError> {
    let (mut managed, mut broken) = (0, None);
    let mut next = most.max(1);
    loop {
        told(&format!("the driver against its own echo: {next} streams for {} s", TRIAL.as_secs()));
        let found = attempt(plan, next, &interrupt).await?;
        if *interrupt.borrow() != Stop::No {
            return Ok(None);
        }
        match found {
            None => managed = next,
            Some(why) => broken = Some((next, why)),
        }
        let Some((above, why)) = &broken else {
            return Ok(Some(DriverLimit { streams: managed, broke: None }));
        };
        // A single stream is the least that there is.
        if f64::from(*above) <= f64::from(managed.max(1)) * CLOSE || above - managed <= 1 {
            return Ok(Some(DriverLimit { streams: managed, broke: Some(why.clone()) }));
        }
        next = between(managed, *above);
    }
}

/// The number to try next: half of what was too much until one was managed, then the geometric middle.
fn between(managed: u32, above: u32) -> u32 {
    match managed {
        0 => above / 2,
        _ => ((u64::from(managed) * u64::from(above)).isqrt() as u32).clamp(managed + 1, above - 1),
    }
}

/// The limit that so many streams break, in words.
async fn attempt(
    plan: &RunPlan,
    streams: u32,
    interrupt: &watch::Receiver<Stop>,
) -> Result<Option<String>, RunError> {
    let mut broken = None;
    for _ in 0..TRIES {
        broken = doubtful(plan, &against_echo(plan, streams, interrupt.clone()).await?);
        if broken.is_none() {
            break;
        }
    }
    Ok(broken)
}

fn doubtful(plan: &RunPlan, summary: &Summary) -> Option<String> {
    let doubt = doubt(summary, &plan.scenario().limits);
    let lost = summary.calls.iter().any(|call| call.received < call.sent);
    match doubt.extent {
        Extent::Nothing if lost => Some("packets of its own echo were lost".into()),
        Extent::Nothing => None,
        _ => doubt.reasons.into_iter().next(),
    }
}

async fn against_echo(
    plan: &RunPlan,
    streams: u32,
    stop: watch::Receiver<Stop>,
) -> Result<Summary, RunError> {
    let scenario = plan.scenario();
    let unstarted = |error| DriverError::Start("start an echo of its own".into(), error);
    let mut environment = beforehand(&plan.resolved);
    // As many as the driver has: it is not to be the limit.
    let lanes = scenario.driver.lanes.count(environment.cpus, streams);
    let any = SocketAddr::new(scenario.sip.local, 0);
    let echo = EchoServer::with_lanes(any, lanes).map_err(unstarted)?;
    environment.calls = streams;
    let run = ping(PingConfig {
        environment,
        target: echo.local_addr(),
        streams,
        lanes: scenario.driver.lanes,
        duration: TRIAL,
        interval: scenario.media.ptime.0,
        late_after: scenario.measure.late_after.0,
        lost_after: scenario.measure.lost_after.0,
        run_id: rand::random(),
        scheduling: plan.granted.driver.scheduling.clone(),
        stop,
        echoes: None,
    })
    .await?;
    Ok(summarize(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_is_new_and_closes_in() {
        for (managed, above) in [(0, 2500), (1, 3), (78, 156), (1000, 1002), (1, 20_000)] {
            let next = between(managed, above);
            assert!(managed < next && next < above, "{managed} {next} {above}");
        }
    }
}
