//! Calls whose packets SRTP protects otherwise than their SDP says, or not at all.

use super::{Finding, Seen};
use crate::record::CallRecord;
use crate::values::counted;

/// Packets of a call that the keys of its far end did not open.
pub(super) fn unopened_of(call: &CallRecord) -> u64 {
    call.srtp_received.unwrap_or(0).saturating_sub(call.srtp_decrypted.unwrap_or(0))
}

/// Calls with packets that could not be opened; where some of them are silent for it, those.
pub(super) fn unopened(seen: &Seen<'_>) -> Vec<Finding> {
    let calls: Vec<&CallRecord> = seen.calls.iter().filter(|call| unopened_of(call) > 0).collect();
    let silent: Vec<&CallRecord> = calls.iter().copied().filter(|call| call.is_silent()).collect();
    let packets = |calls: &[&CallRecord]| calls.iter().map(|call| unopened_of(call)).sum::<u64>();
    let seen_in = seen.shown("columns srtp_received and srtp_decrypted", "echo");
    if !silent.is_empty() {
        let came = counted(packets(&silent), "packet");
        return vec![Finding {
            what: format!(
                "{} answered and silent: {came} came, and the keys of the SDP opened none that counts",
                seen.of_calls(silent.len())
            ),
            seen: seen_in,
            cause: "the far end sends plain RTP although it has answered with keys, or protects it under other keys than \
                    its SDP has: a proxy or a media relay that passes the one on, and not the other"
                .into(),
            cure: "see what it sends (`tcpdump -X udp` shows plain audio as it is), and whether its SDP comes as it was sent; \
                   in Asterisk `media_encryption = sdes` on every leg that is to be protected"
                .into(),
            ..seen.over("srtp_unopened", silent.len(), "")
        }];
    }
    let (lost, all) = (packets(&calls), calls.iter().filter_map(|call| call.srtp_received).sum::<u64>());
    if lost == 0 {
        return Vec::new();
    }
    let what = format!(
        "{lost} of {} under SRTP in {} could not be opened",
        counted(all, "packet"),
        seen.of_calls(calls.len())
    );
    vec![Finding {
        what,
        seen: seen_in,
        cause: "they were damaged on the way, sent plain in between, or under keys that had changed before the SDP said so"
            .into(),
        cure: "see what stands between (`tcpdump -X udp`); srtp.undecrypted_count == 0 is the gate that holds it to this"
            .into(),
        weight: lost as f64 / all.max(1) as f64,
        ..seen.over("srtp_unopened", calls.len(), "")
    }]
}
