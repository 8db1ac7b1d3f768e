//! Calls whose connection for SIP was not to be had, or ended before they were answered.

use super::{Finding, Seen};
use crate::record::Ending;
use crate::values::cut;

/// Most bytes of a reason that are quoted.
const MOST_QUOTED: usize = 400;

/// Words of a connection that was ended here, for what came over it.
const WE_ENDED_IT: &str = ": it sent ";

/// INVITEs whose connection could not be opened, or ended.
pub(super) fn unreachable(seen: &Seen<'_>) -> Vec<Finding> {
    let ended = seen.ended(Ending::Unreachable);
    let Some(first) = ended.first() else { return Vec::new() };
    let whose = if ended.len() == 1 { "its" } else { "their" };
    let what = format!("were lost with {whose} connection to {}", seen.target());
    let (cause, cure) = match first.reason.contains(WE_ENDED_IT) {
        true => (
            "what takes connections there sends no SIP, or SIP of which nobody can tell where a message ends: its \
             Content-Length is missing, is no number or does not fit",
            "see that asterisk.sip names the port for SIP over asterisk.transport; mend there what the reason names, or \
             call it over udp, which needs no Content-Length",
        ),
        false => (
            "what takes SIP there was stopped or started anew, closes connections by itself (idle ones, or too many), or \
             something between does",
            "look in its log for that moment; that a connection can be had at all, `loadtest check` tells; Asterisk keeps \
             no more than five waiting to be taken, so let one run alone connect at a time",
        ),
    };
    vec![Finding {
        seen: format!("{}: {}", seen.shown("ending unreachable", "answer"), cut(&first.reason, MOST_QUOTED)),
        cause: cause.into(),
        cure: cure.into(),
        ..seen.over("sip_unreachable", ended.len(), &what)
    }]
}
