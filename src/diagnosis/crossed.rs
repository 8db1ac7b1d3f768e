//! Packets that came to another call than their own, or came again and again.

use super::{Finding, Seen};
use crate::record::CallRecord;
use crate::values::counted;

/// Share of the packets back that may come again: networks double single ones.
const FEW_DUPLICATES: f64 = 0.05;
/// Most calls that are named.
const MOST_NAMED: usize = 3;

/// Calls that hear what other calls of the run have sent. A probe is signed, so that nobody else can have made it.
pub(super) fn crossed(seen: &Seen<'_>) -> Vec<Finding> {
    let crossed: Vec<&CallRecord> = seen.calls.iter().filter(|call| call.crossed > 0).collect();
    if crossed.is_empty() {
        return Vec::new();
    }
    let named = crossed.iter().take(MOST_NAMED).filter_map(|call| {
        Some(format!("call {} hears packets of call {} ({})", call.call, call.crossed_call?, call.crossed))
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match crossed.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let alone = match crossed.iter().filter(|call| call.is_silent()).count() {
        0 => String::new(),
        alone => format!("; {alone} of them heard nothing else"),
    };
    let said = format!("heard other calls of this run: {named}{more}{alone}");
    vec![Finding {
        seen: seen.shown("columns crossed and crossed_call", "echo"),
        cause: "crossed audio in the PBX or the service: two calls share a bridge or a port there, or a packet goes back to \
                another address than the one that it came from"
            .into(),
        cure: "see that the service keeps a socket and a bridge for each call, and sends each payload back to the address \
               that it came from; where it answers nothing, look for RTP ports that the PBX gives to two calls at once. A gate \
               `crossed.count == 0` fails such a run"
            .into(),
        ..seen.over("crossed_audio", crossed.len(), &said)
    }]
}

/// Packets that came again, more than a network doubles by itself.
pub(super) fn repeated(seen: &Seen<'_>) -> Vec<Finding> {
    let sum = |of: fn(&CallRecord) -> u64| seen.calls.iter().map(of).sum::<u64>();
    let (duplicates, received) = (sum(|call| call.duplicates), sum(|call| call.received));
    let share = duplicates as f64 / received.max(1) as f64;
    // Doubled on purpose is no finding.
    if share <= FEW_DUPLICATES || seen.environment.impaired {
        return Vec::new();
    }
    let calls = seen.calls.iter().filter(|call| call.duplicates > 0).count();
    let what = format!(
        "{} of {} came back again: {:.0} for each 100 received",
        counted(duplicates, "packet"),
        seen.of_calls(calls),
        share * 100.0
    );
    vec![Finding {
        what,
        seen: seen.shown("column duplicates", "echo"),
        cause: "the audio is sent back twice: a caller in a bridge with two echoes, a service that sends each packet again, a \
                port that is mirrored, or a loop on the way"
            .into(),
        cure: "see who sends them (`tcpdump udp`, or the call's capture): from one address it is the service or its bridge, from \
               two a second path; a gate on `duplicate.count` fails such a run"
            .into(),
        ..seen.over("duplicated", calls, "")
    }]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, healthy};

    #[test]
    fn crossed_audio_is_named_beside_own_and_in_its_place() {
        let mut run = healthy();
        run.calls[4].crossed = 480;
        run.calls[4].crossed_call = Some(7);
        let beside = found(run.clone()).remove(0);
        assert_eq!(beside.name, "crossed_audio");
        assert_eq!(
            beside.what,
            "1 of 10 calls heard other calls of this run: call 4 hears packets of call 7 (480)"
        );
        assert!(beside.cause.starts_with("crossed audio in the PBX or the service"));
        run.calls[4].total_received = 0;
        let alone = found(run);
        assert_eq!(alone.iter().map(|finding| finding.name).collect::<Vec<_>>(), ["crossed_audio"]);
        assert!(alone[0].what.ends_with("; 1 of them heard nothing else"), "{}", alone[0].what);
    }

    #[test]
    fn duplicates_are_told_of_where_they_are_many_and_nobody_asked_for_them() {
        let mut run = healthy();
        run.calls.iter_mut().for_each(|call| call.duplicates = 20);
        assert_eq!(found(run.clone()), [], "one in twenty");
        run.calls[0].duplicates = 21;
        assert_eq!(found(run.clone())[0].name, "duplicated");
        run.calls[0].duplicates = 400;
        let what = found(run.clone()).remove(0).what;
        assert_eq!(what, "580 packets of all 10 calls came back again: 14 for each 100 received");
        run.environment.impaired = true;
        assert_eq!(found(run), []);
    }
}
