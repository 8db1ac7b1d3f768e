//! What a call is placed with: names, ways and media of its own.

use std::net::SocketAddr;

use siphasher::sip::SipHasher24;

use super::lane::LaneConfig;
use super::repertoire::Repertoire;
use super::{DriverConfig, DriverError, Wire};
use crate::capture;
use crate::clock::Timeline;
use crate::load::{Named, Names};
use crate::measure::{Rules, Share};
use crate::net::resolve::listed;
use crate::rtp::probe::RunKey;
use crate::scenario::{Phasing, Scenario, ServiceMode};
use crate::sip::call::{CallConfig, Habits};
use crate::sip::sdp::LocalMedia;
use crate::stamp::Stamp;
use crate::values::PortRange;

/// The step of a clock that is further from none.
pub(super) fn largest(a: i64, b: i64) -> i64 {
    if a.abs() >= b.abs() { a } else { b }
}

/// RTP ports of this driver.
pub(super) fn ports(config: &DriverConfig<'_>) -> PortRange {
    let all = config.scenario.media.ports;
    config.shard().ports(all).unwrap_or(all)
}

/// SIP's wire.
pub(super) async fn open_wire(config: &DriverConfig<'_>) -> Result<Wire, DriverError> {
    let local = config.scenario.sip.local;
    let opened = Wire::open(&config.wire, SocketAddr::new(local, 0), &config.targets).await;
    opened.map_err(|error| {
        let (transport, targets) = (config.wire.transport, listed(&config.targets));
        DriverError::Start(format!("speak SIP over {transport} from {local} to {targets}"), error)
    })
}

/// Names of the calls to each target.
pub(super) fn names(config: &DriverConfig<'_>) -> Vec<Names> {
    let names = |(n, target): (usize, &SocketAddr)| {
        Names::new(config.scenario, (n, *target), config.credentials.clone(), config.accounts.clone())
    };
    config.targets.iter().enumerate().map(names).collect()
}

/// Seeds a call's tags and branches: who does not hear the call cannot guess them, and so neither answer it nor end it.
fn seed(secret: &[u8; 16], call: u32) -> u64 {
    SipHasher24::new_with_key(secret).hash(&call.to_be_bytes())
}

/// The Call-ID of a call from `local`.
pub(super) fn call_id(run_id: u32, call: u32, local: SocketAddr) -> String {
    format!("{run_id:08x}{call:08x}@{}", local.ip())
}

/// True for the Call-ID of a call that the run `run_id` has placed.
pub fn owns_call_id(run_id: u32, call_id: &str) -> bool {
    capture::number_of(run_id, call_id).is_some()
}

/// The rules of a run that begins at `epoch`.
fn rules(config: &DriverConfig<'_>, epoch: Stamp) -> Rules {
    let Scenario { measure, media, service, .. } = config.scenario;
    let is_here =
        service.mode == ServiceMode::Builtin || config.targets.iter().all(|to| to.ip().is_loopback());
    Rules {
        key: RunKey::new(config.run_id, rand::random()),
        epoch,
        ptime: media.ptime.0,
        late_after: measure.late_after.0,
        lost_after: measure.lost_after.0,
        shared_clock: measure.shared_clock.unwrap_or(is_here),
    }
}

/// The lanes of a run that begins at `epoch`: their number, and the settings of each.
pub(super) fn lanes(config: &DriverConfig<'_>, epoch: Stamp, timeline: Timeline) -> (u32, LaneConfig) {
    let scenario = config.scenario;
    let streams = config.shard().share(scenario.calls());
    let cpus = config.scheduling.usable(config.environment.cpus);
    let lane = LaneConfig {
        rules: rules(config, epoch),
        spread: scenario.media.phase == Phasing::Staggered,
        share: Share::default(),
        timeline,
        impair: scenario.impair.clone(),
        scheduling: config.scheduling.clone(),
        streams,
        dead_after: scenario.load.dead_after.0,
        plays: Repertoire::of(scenario, config.passages.clone()),
    };
    (scenario.driver.lanes.count(cpus, streams), lane)
}

/// Everything that call number `call` on a line is placed with, over `wire` and with its media on `port`.
pub(super) fn call_config(
    config: &DriverConfig<'_>,
    names: &[Names],
    (call, line): (u32, u32),
    (wire, port): (&Wire, u16),
    secret: &[u8; 16],
) -> CallConfig {
    let (sip, media) = (&config.scenario.sip, &config.scenario.media);
    let (target, remote) = config.target_of(call);
    let local = wire.local(target);
    // Invariant: each target has its names.
    let Named { uri, identity, credentials, .. } = names[target].of_call(call, line, local);
    let seed = seed(secret, call);
    CallConfig {
        target: uri,
        remote,
        local,
        transport: config.wire.transport,
        identity,
        habits: Habits { follow_redirects: sip.follow_redirects, ignore_contact: sip.ignore_contact },
        call_id: call_id(config.run_id, call, local),
        from_tag: format!("{seed:016x}"),
        seed,
        credentials,
        media: LocalMedia {
            ip: local.ip(),
            rtp_port: port,
            codec: media.codec,
            ptime_ms: media.ptime.0.as_millis() as u32,
            // RFC 8866 5.2: a number that is read everywhere.
            session_id: seed >> 1,
            srtp: None,
            events: config.script.as_ref().is_some_and(|script| script.dials()),
        },
        setup_timeout: sip.setup_timeout.0,
        session_expires: sip.session_expires.map(|interval| interval.0.as_secs() as u32),
    }
}
