//! Counts of what a far end sends beside the audio.

use crate::record::CallRecord;
use crate::rtp::kind::Extra;

/// Datagrams of one call that are no audio, and nothing wrong, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    rtcp: u64,
    comfort_noise: u64,
    telephone_events: u64,
    stun: u64,
    empty_rtp: u64,
    own_audio: u64,
    other_datagrams: u64,
    other_payload: u64,
    /// Payload type of the first of these.
    other_type: Option<u8>,
}

impl Extras {
    /// Counts one.
    pub(super) fn count(&mut self, extra: Extra) {
        let count = match extra {
            Extra::Rtcp => &mut self.rtcp,
            Extra::ComfortNoise => &mut self.comfort_noise,
            Extra::TelephoneEvent => &mut self.telephone_events,
            Extra::Stun => &mut self.stun,
            Extra::EmptyRtp => &mut self.empty_rtp,
            Extra::OtherPayload(payload_type) => {
                self.other_type.get_or_insert(payload_type);
                &mut self.other_payload
            }
        };
        *count += 1;
    }

    /// Counts packets of audio of the far end's own.
    pub(super) fn count_own_audio(&mut self, packets: u64) {
        self.own_audio += packets;
    }

    /// Counts a datagram that is no RTP and nothing known.
    pub(super) fn count_other(&mut self) {
        self.other_datagrams += 1;
    }

    /// Enters the counts into the call's record.
    pub(super) fn enter(&self, record: &mut CallRecord) {
        record.rtcp = self.rtcp;
        record.comfort_noise = self.comfort_noise;
        record.telephone_events = self.telephone_events;
        record.stun = self.stun;
        record.empty_rtp = self.empty_rtp;
        record.own_audio = self.own_audio;
        record.other_datagrams = self.other_datagrams;
        record.other_payload = self.other_payload;
        record.other_payload_type = self.other_type;
    }
}
