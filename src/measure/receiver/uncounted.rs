//! Echoes that are no packet of a call back in time: too late, repeated, or of the control stream.

use super::{Arrived, ReceiveTally, StreamReceiver};
use crate::measure::Class;
use crate::record::{Scope, Series};
use crate::rtp::sequence::Arrival;
use crate::stamp::Stamp;

impl StreamReceiver {
    /// A packet that is back after `lost_after`: lost all the same, and not in silence.
    pub(super) fn too_late(&mut self, packet: &Arrived, tally: &mut ReceiveTally) {
        let again = matches!(self.sequence.arrive(packet.probe.seq), Arrival::Duplicate | Arrival::Stale);
        self.heard_at = self.heard_at.max(Some(packet.received_at));
        if !again {
            self.report.late_echoes += 1;
        } else if self.class == Class::Call {
            self.duplicate(packet, tally);
        }
    }

    /// A packet of another call of this run. One that was sent before this call heard anything is left over from an earlier
    /// call that had its port.
    pub(super) fn crossed(&mut self, call: u32, sent_at: Stamp) {
        self.stranger();
        if self.listens_since.is_some_and(|since| sent_at >= since) {
            let (count, first) = &mut self.report.crossed;
            *count += 1;
            first.get_or_insert(call);
        }
    }

    pub(super) fn duplicate(&mut self, packet: &Arrived, tally: &mut ReceiveTally) {
        tally.seconds.nearest(packet.probe.intended_at).record.duplicates += 1;
        self.report.duplicates += u64::from(packet.scope == Scope::Measured);
    }

    /// A packet of the control stream: its RTT is all that matters.
    pub(super) fn control(&mut self, packet: &Arrived, tally: &mut ReceiveTally) {
        let arrival = self.sequence.arrive(packet.probe.seq);
        let Ok(rtt) = u64::try_from(packet.rtt) else { return };
        if matches!(arrival, Arrival::Duplicate | Arrival::Stale) {
            return;
        }
        self.report.total_received += 1;
        let second = tally.seconds.nearest(packet.probe.intended_at);
        second.record.control_received += 1;
        second.latencies.record(Series::Control, packet.scope, rtt);
    }
}
