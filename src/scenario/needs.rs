//! Ports and descriptors that a scenario takes from the machine.

use super::{AsteriskMode, Scenario};
use crate::values::PortRange;

/// Asterisk's two RTP instances per call, the caller's leg and the externalMedia leg. It must never
/// run out of them: on an externalMedia leg it crashes then (asterisk/asterisk#1757).
const ASTERISK_PAIRS_PER_CALL: u32 = 2;
/// Descriptors of Asterisk for one call (RTP, RTCP and alert pipes of two channels, its timer:
/// measured) and for itself, ARI's connections included.
const ASTERISK_DESCRIPTORS: (u64, u64) = (9, 100);
/// Descriptors of the driver and of the service for one call and for themselves.
const OWN_DESCRIPTORS: (u64, u64) = (2, 100);

/// Resources that a scenario takes from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Ports of the driver and the service each: with churn a call's port rests while its
    /// replacement is already up.
    pub pool: u32,
    /// File descriptors that the hungriest of the processes needs.
    pub descriptors: u64,
}

impl Needs {
    /// Of `scenario`.
    pub fn of(scenario: &Scenario) -> Needs {
        let calls = u64::from(scenario.calls());
        let (per_call, base) = match scenario.asterisk.mode {
            AsteriskMode::Managed => ASTERISK_DESCRIPTORS,
            AsteriskMode::External => OWN_DESCRIPTORS,
        };
        Needs {
            pool: scenario.calls().saturating_mul(Needs::churn(scenario)),
            descriptors: calls * per_call + base,
        }
    }

    /// Slots of a pool that each call held takes.
    fn churn(scenario: &Scenario) -> u32 {
        // A call that a fault has cut off keeps its port while nobody answers its BYE.
        // Between stages one call may still be hung up while another comes.
        let churns =
            scenario.load.call_duration.is_some() || !scenario.fault.is_empty() || scenario.stage.len() > 2;
        if churns { 2 } else { 1 }
    }
}

/// A range of ports from which the processes of a run take a slot, or two, for each call.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Key of the range.
    pub key: &'static str,
    /// Its slots in words.
    pub name: &'static str,
    /// The ports.
    pub range: PortRange,
    /// Number of slots.
    pub slots: u32,
    /// Ports of a slot.
    pub ports_per_slot: u16,
    /// Slots of a call.
    pub slots_per_call: u32,
}

impl Pool {
    /// Calls that it carries at once.
    pub fn carries(&self, scenario: &Scenario) -> u32 {
        self.slots / self.slots_per_call / Needs::churn(scenario)
    }

    /// Those of `scenario`.
    pub fn all(s: &Scenario) -> Vec<Pool> {
        let pool = |key, name, range, slots, ports_per_slot, slots_per_call| Pool {
            key,
            name,
            range,
            slots,
            ports_per_slot,
            slots_per_call,
        };
        let (media, service, rtp) = (s.media.ports, s.service.ports, s.asterisk.rtp_ports);
        let mut pools = vec![pool("media.ports", "driver's ports", media, media.even_ports(), 2, 1)];
        if s.service.mode.is_started() {
            pools.push(pool("service.ports", "service's ports", service, service.count(), 1, 1));
        }
        if s.asterisk.mode == AsteriskMode::Managed {
            let (pairs, each) = (rtp.rtp_pairs(), ASTERISK_PAIRS_PER_CALL);
            pools.push(pool("asterisk.rtp_ports", "Asterisk's port pairs", rtp, pairs, 2, each));
        }
        pools
    }
}
