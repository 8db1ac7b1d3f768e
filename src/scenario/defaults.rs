//! Every default of a scenario, each with its reason.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{
    Arrivals, Asterisk, AsteriskMode, Gates, Hangup, Impair, Load, Measure, Media, MediaMode, Phasing,
    Service, ServiceMode, Sip, SipTls, Transport,
};
use crate::gate::Limits;
use crate::rtp::srtp::Suite;
use crate::rtp::{Codec, MediaSource};
use crate::search::{Kind, Settings};
use crate::values::{BridgeKind, Lanes, MediaWay, Percent, PortRange, Ramp, Rate, Realtime, Span};

pub(super) const fn ms(ms: u64) -> Span {
    Span(Duration::from_millis(ms))
}

pub(super) const fn secs(s: u64) -> Span {
    Span(Duration::from_secs(s))
}

pub(super) fn name() -> String {
    "unnamed".into()
}

impl Default for Asterisk {
    fn default() -> Self {
        Asterisk {
            mode: AsteriskMode::Managed,
            // Asterisk's own sample range; about 2,500 bridged calls.
            rtp_ports: PortRange { from: 10_000, to: 20_000 },
            sip: Default::default(),
            // As most PBXes are called by most phones.
            transport: Transport::Udp,
            ari: Default::default(),
            ari_port: None,
            cpus: Vec::new(),
            bridge: BridgeKind::Simple,
            jitter_buffer: None,
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Service {
            mode: ServiceMode::Builtin,
            command: Vec::new(),
            // Loading an interpreter and its libraries takes seconds on a busy machine.
            ready_within: secs(15),
            // Apart from Asterisk's range and from the driver's.
            ports: PortRange { from: 21_000, to: 31_000 },
            // Prometheus itself sits on 9090, and so does a run beside this one.
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            app: "loadtest".into(),
            // Measured then are Asterisk and the service, and no other path.
            echo: None,
            delay: None,
            delay_per_call: None,
            media: MediaWay::Rtp,
            codec: None,
            talk: None,
            lanes: Lanes::Auto,
            realtime: Realtime::Auto,
            cpus: Vec::new(),
        }
    }
}

impl Default for Sip {
    fn default() -> Self {
        Sip {
            to: "loadtest".into(),
            // Empty: the account's name, by which most registrars find their endpoint.
            from: String::new(),
            local: IpAddr::V4(Ipv4Addr::LOCALHOST),
            // A caller who hears nothing for ten seconds has hung up; timer B would wait 32 s.
            setup_timeout: secs(10),
            tls: SipTls::default(),
            // As most phones: the far end may ask for one.
            session_expires: None,
            domain: None,
            display: None,
            proxy: None,
            // As RFC 3261 wants it.
            ignore_contact: false,
            // Who is measured is the one that was named.
            follow_redirects: false,
            accounts: None,
            register: false,
            // A registrar writes each into its database.
            register_rate: Rate(50.0),
            // What phones ask for; no run is refreshed by it unless it is long.
            register_expires: secs(3600),
            headers: BTreeMap::new(),
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Load {
            calls: 1,
            duration: secs(10),
            // Five seconds to fifty calls, far below what makes Asterisk queue tasks.
            ramp: Ramp::At(Rate(10.0)),
            rate: None,
            // The gentlest, and what most load tools do; whoever wants callers asks for Poisson.
            arrivals: Arrivals::Even,
            // Fixed, so that two runs place the same calls unless others are asked for.
            seed: 1,
            call_duration: None,
            // As people do: who called to say something has said it.
            hangup: Hangup::Caller,
            // Long enough that a refusing target is not hammered, short enough to notice its return.
            retry_after: secs(1),
            // Longer than any hiccup that a caller waits out, shorter than the ten seconds after
            // which one who hears nothing has hung up.
            dead_after: secs(5),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Media {
            mode: MediaMode::Echo,
            codec: Codec::Pcmu,
            // The packet time that nearly all phones use.
            ptime: ms(20),
            phase: Phasing::Staggered,
            // 5,000 even ports above the service's; they lie in the kernel's usual ephemeral range,
            // so ports that others hold are passed over.
            ports: PortRange { from: 40_000, to: 49_998 },
            // As phones and gateways do: nobody but the far end can have the call's own packets.
            source: MediaSource::Any,
            // As most Asterisks are.
            srtp: false,
            // What everybody speaks.
            srtp_suite: Suite::Sha1With80,
        }
    }
}

impl Default for Impair {
    fn default() -> Self {
        Impair {
            // Fixed, so that two runs meet the same network unless another one is asked for.
            seed: 1,
            // The path is measured as it is, unless somebody asks for a worse one.
            out: None,
            back: None,
        }
    }
}

impl Default for Measure {
    fn default() -> Self {
        Measure {
            // strictrtp learns its source from the first packets, the bridge settles: 100 packets.
            warmup: secs(2),
            // A common playout buffer depth.
            late_after: ms(60),
            // Nobody plays a packet two seconds old.
            lost_after: secs(2),
            shared_clock: None,
            control_streams: None,
        }
    }
}

impl Default for Gates {
    fn default() -> Self {
        Gates {
            require: Vec::new(),
            // A failed run is worth most when it shows how it went on.
            abort_on_fail: false,
            // Longer than any stall that a percentile of a whole run outlives.
            abort_after: secs(10),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // A tenth of the packet time: beyond that the generator itself bends the stream.
            send_lateness_p99: ms(2),
            missed_slots: Percent(0.001),
            socket_drops: 0,
            // A thread this busy queues packets of its own.
            thread_cpu: Percent(0.9),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            kind: Kind::Calls,
            min: None,
            max: None,
            // Two searches of one machine differ by about that much.
            width: Percent(0.05),
            // A fresh load that is far too high shows within seconds.
            initial_trial: secs(15),
            // Half of what RFC 2544 section 24 has: four in the duration sum see a machine whose speed drifts at more times
            // than two, and two searches of it differ half as often.
            final_trial: secs(30),
            // Four final trials.
            duration_sum: secs(120),
            // Long enough to see a shared machine at more than one time, and short enough for a break.
            revisit: secs(25 * 60),
            // One bad trial of five carries, one good of five rejects, more of either wavers.
            exceed: Percent(0.2),
            strict: false,
            // RFC 2544 section 23: 2 s for what is under way, 5 s to come to rest.
            rest: secs(7),
            time_limit: None,
            goals: BTreeMap::new(),
        }
    }
}
