//! The record of one attempted call: a row of `calls.csv`.

use std::cmp::Reverse;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Quantile, cell};
use crate::values::Ns;

/// The playout depths, in milliseconds, that every report sweeps over besides the scenario's own.
pub const PLAYOUT_DEPTHS_MS: [u64; 5] = [20, 40, 60, 100, 200];

/// End of an attempt.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Ending {
    /// Answered, held as long as planned, hung up by the driver.
    Completed,
    /// Answered, then hung up by the far end before its time.
    RemoteHangup,
    /// Answered and held as planned, but the far end did not agree to the BYE.
    HangupFailed,
    /// Answered and heard, then not heard any more, and given up by the driver.
    MediaLost,
    /// Answered, then hung up by the driver because the far end did not keep to the session timer (RFC 4028).
    SessionExpired,
    /// Answered, then cut short by the end of a run that ended early.
    Interrupted,
    /// A final answer of 3xx to 6xx.
    Rejected,
    /// The far end hung up before it had answered.
    HungUpEarly,
    /// No final answer within the set-up time.
    Timeout,
    /// No final answer within the set-up time that could be read: the far end answered, and not in SIP as it is defined.
    Unreadable,
    /// The connection for SIP could not be opened, or ended before there was a final answer.
    Unreachable,
    /// The credentials were not accepted.
    AuthFailed,
    /// Answered with a session description that no media can be sent to.
    BadAnswer,
    /// Given up by the driver before there was an answer.
    #[default]
    Cancelled,
}

impl Ending {
    /// True if the call had been answered.
    pub fn was_answered(self) -> bool {
        matches!(
            self,
            Ending::Completed
                | Ending::RemoteHangup
                | Ending::HangupFailed
                | Ending::MediaLost
                | Ending::SessionExpired
                | Ending::Interrupted
        )
    }

    /// The word in CSV and reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One attempted call. Durations are milliseconds in the file. Packet counts are of the measured
/// window unless their name says `total`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CallRecord {
    /// Number of the attempt, from 0.
    pub call: u32,
    /// Number of the concurrently held line that placed it, from 0.
    pub line: u32,
    /// SIP Call-ID.
    #[serde(serialize_with = "cell::serialize")]
    pub call_id: String,
    /// The driver's RTP port.
    pub rtp_port: u16,
    /// Seconds from the run's start to the time the schedule wanted the INVITE sent.
    pub intended_s: f64,
    /// Milliseconds by which the INVITE left later than that.
    pub invite_late_ms: Ns,
    /// Its end.
    pub ending: Ending,
    /// SIP status code of the final answer to the INVITE, if any.
    pub status: Option<u16>,
    /// Reason phrase or cause in words, for what did not go as planned.
    #[serde(serialize_with = "cell::serialize")]
    pub reason: String,
    /// INVITE → first provisional answer, 100 Trying included; of the place that a redirection names, where one was followed.
    #[serde(default)]
    pub trying_ms: Option<Ns>,
    /// Session request delay: INVITE → first 18x or 2xx (RFC 6076 section 4.3).
    pub srd_ms: Option<Ns>,
    /// INVITE → 200.
    pub answer_delay_ms: Option<Ns>,
    /// Session disconnect delay: BYE → its final answer (RFC 6076 section 4.4).
    pub sdd_ms: Option<Ns>,
    /// 200 received → first own probe back.
    pub first_echo_ms: Option<Ns>,
    /// Answer → end, as the driver saw it.
    pub held_ms: Option<Ns>,
    /// Seconds from the run's start to the last own probe back.
    pub last_echo_s: Option<f64>,
    /// Times that the far end put it on hold.
    #[serde(default)]
    pub holds: u32,
    /// Time on hold, in which nothing was sent.
    #[serde(default)]
    pub on_hold_ms: Option<Ns>,
    /// SIP requests sent again.
    pub retransmissions: u32,
    /// Packets sent over the whole call.
    pub total_sent: u64,
    /// Packets that came back in time over the whole call.
    pub total_received: u64,
    /// Packets sent before the first one that came back: the words a caller's greeting loses.
    pub total_clipped: u64,
    /// Packets that were under way when the far end put the call on hold, and did not come back, over the whole call:
    /// they are neither sent nor lost.
    #[serde(default)]
    pub excused: u64,
    /// Packets sent.
    pub sent: u64,
    /// Distinct packets back within `lost_after`.
    pub received: u64,
    /// Sent, and not back within `lost_after`.
    pub lost: u64,
    /// Of the lost, those lost on the way to the service; empty where it does not stamp.
    pub lost_up: Option<u64>,
    /// Of the lost, those lost on the way back.
    pub lost_down: Option<u64>,
    /// Uninterrupted runs of lost packets.
    #[serde(default)]
    pub lost_runs: u64,
    /// Back, but later than the call's minimum RTT + `late_after`.
    pub late: u64,
    /// Late for a playout depth of 20 ms.
    pub late_20ms: u64,
    /// Late for a playout depth of 40 ms.
    pub late_40ms: u64,
    /// Late for a playout depth of 60 ms.
    pub late_60ms: u64,
    /// Late for a playout depth of 100 ms.
    pub late_100ms: u64,
    /// Late for a playout depth of 200 ms.
    pub late_200ms: u64,
    /// Came back again.
    pub duplicates: u64,
    /// Came back below the next expected number (RFC 4737).
    pub reordered: u64,
    /// RTP whose payload is not a whole probe, over the whole call.
    pub corrupted: u64,
    /// Probes under the run's name that it has not signed, over the whole call: made or changed by the far end.
    #[serde(default)]
    pub forged: u64,
    /// Packets whose stamps or counts of the far end cannot be true, over the whole call: these are left out.
    #[serde(default)]
    pub unbelieved: u64,
    /// Distinct probes that came back after `lost_after`, over the whole call; they are lost.
    #[serde(default)]
    pub late_echoes: u64,
    /// Datagrams that belong to no packet of this call, over the whole call.
    pub strangers: u64,
    /// Of the strangers, packets that other calls of this run have sent meanwhile, over the whole call: crossed audio.
    #[serde(default)]
    pub crossed: u64,
    /// Number of the call that sent the first of these.
    #[serde(default)]
    pub crossed_call: Option<u32>,
    /// RTCP on the port of RTP, over the whole call.
    #[serde(default)]
    pub rtcp: u64,
    /// Comfort noise (RFC 3389), over the whole call.
    #[serde(default)]
    pub comfort_noise: u64,
    /// Telephone events (RFC 4733), over the whole call.
    #[serde(default)]
    pub telephone_events: u64,
    /// STUN on the media port, over the whole call.
    #[serde(default)]
    pub stun: u64,
    /// RTP without payload, over the whole call.
    #[serde(default)]
    pub empty_rtp: u64,
    /// Audio of the far end's own, before its first echo, on hold, and beside packets that came back, over the whole call:
    /// ringback, announcements, music, silence.
    #[serde(default)]
    pub own_audio: u64,
    /// Datagrams of the far end's that are no RTP and nothing known, over the whole call: keep-alives, DTLS, ZRTP.
    #[serde(default)]
    pub other_datagrams: u64,
    /// RTP of a payload type that was not agreed, over the whole call.
    #[serde(default)]
    pub other_payload: u64,
    /// Payload type of the first of these.
    #[serde(default)]
    pub other_payload_type: Option<u8>,
    /// Address that the far end's SDP names for media.
    #[serde(default)]
    pub media_address: Option<SocketAddr>,
    /// Address that the call's packets came from: the first elsewhere than the SDP said then, where there was one.
    #[serde(default)]
    pub heard_from: Option<SocketAddr>,
    /// Datagrams of the far end's from elsewhere than its SDP says, over the whole call; they are measured.
    #[serde(default)]
    pub elsewhere: u64,
    /// Packets of this call from elsewhere than the SDP says, refused by `media.source = "sdp"`.
    #[serde(default)]
    pub refused: u64,
    /// RTP of the far end's that SRTP protected, over the whole call; empty where the media are plain.
    #[serde(default)]
    pub srtp_received: Option<u64>,
    /// Of these, packets that its keys opened.
    #[serde(default)]
    pub srtp_decrypted: Option<u64>,
    /// Smallest RTT of the whole call; lateness is anchored on it.
    pub rtt_min_ms: Option<Ns>,
    /// Median RTT, to 3 digits; `lost` where it falls among the lost, empty where nothing was sent.
    pub rtt_p50_ms: Quantile,
    /// 95th percentile of RTT, likewise.
    pub rtt_p95_ms: Quantile,
    /// 99th percentile of RTT, likewise.
    pub rtt_p99_ms: Quantile,
    /// Largest RTT.
    pub rtt_max_ms: Option<Ns>,
    /// Interarrival jitter at the call's end (RFC 3550 A.8).
    pub jitter_ms: Option<Ns>,
    /// The largest that it was during the call.
    #[serde(default)]
    pub jitter_max_ms: Option<Ns>,
    /// Slope of the per-second median RTT over the call (Theil–Sen), in ms per minute.
    pub drift_ms_per_min: Option<f64>,
    /// Median RTT of the last minute less that of the first, in ms.
    pub last_minus_first_ms: Option<f64>,
}

impl CallRecord {
    /// Seconds from the run's start to the 200.
    pub fn answered_s(&self) -> Option<f64> {
        let delay = self.answer_delay_ms.filter(|_| self.ending.was_answered())?;
        Some(self.intended_s + (self.invite_late_ms.as_ms() + delay.as_ms()) / 1000.0)
    }

    /// The cells that others have written.
    pub(super) fn words(&mut self) -> [&mut String; 2] {
        [&mut self.call_id, &mut self.reason]
    }

    /// Ended as planned, and was heard.
    pub fn is_good(&self) -> bool {
        self.ending == Ending::Completed && !self.is_silent()
    }

    /// Failed, was dropped, or heard nothing. One that a run's end has cut short did not.
    pub fn went_wrong(&self) -> bool {
        !matches!(self.ending, Ending::Completed | Ending::Interrupted | Ending::Cancelled)
            || self.is_silent()
    }

    /// Rank among the calls to look at first: those that did not end as planned, then the slowest by their 99th
    /// percentile of round trip. A percentile among the lost is slower than any number.
    pub fn rank(&self) -> (bool, Reverse<u64>, u32) {
        let slowness = match self.rtt_p99_ms {
            Quantile::At(ns) => ns,
            Quantile::Above | Quantile::Lost => u64::MAX,
            Quantile::NoData => 0,
        };
        (self.is_good(), Reverse(slowness), self.call)
    }

    /// Answered, and over before its time.
    pub fn is_dropped(&self) -> bool {
        matches!(self.ending, Ending::RemoteHangup | Ending::MediaLost | Ending::SessionExpired)
    }

    /// Answered, but not one of its packets ever came back.
    pub fn is_silent(&self) -> bool {
        self.ending.was_answered() && self.total_sent > 0 && self.total_received == 0
    }
}
