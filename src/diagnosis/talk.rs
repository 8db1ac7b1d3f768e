//! Conversations that were none: a service that never speaks, never stops, or sends the caller's voice back.

use super::{Finding, Seen};
use crate::record::{TurnKind, TurnRow};

/// Services that the caller waited for in vain.
pub(super) fn mute(seen: &Seen<'_>) -> Vec<Finding> {
    // Calls without any packet have a finding of their own.
    let is_heard =
        |turn: &&TurnRow| seen.calls.iter().any(|call| call.call == turn.call && !call.is_silent());
    let calls = of_kind(seen, TurnKind::Mute).filter(is_heard).count();
    told(
        calls,
        Finding {
            seen: in_turns(TurnKind::Mute),
            cause: "audio comes, and no speech in it: the bot does not hear the caller (its detector, its language, a prompt \
                    without words), waits for a greeting or a digit, or sends silence while a step behind it hangs"
                .into(),
            cure: "see its log for the first turn. Built-in prompts say no words: set say to a WAV that the bot understands, or \
                   conversation.greeting = true if the bot speaks first"
                .into(),
            ..seen.over("never_speaks", calls, "were answered, and the service never spoke in them")
        },
    )
}

/// Services that do not let the caller speak.
pub(super) fn endless(seen: &Seen<'_>) -> Vec<Finding> {
    let calls = of_kind(seen, TurnKind::Endless).count();
    let longest =
        of_kind(seen, TurnKind::Endless).map(|turn| turn.said_to_s - turn.said_from_s).fold(0.0, f64::max);
    let what = format!("heard the service talk without end: {longest:.0} s without 700 ms of silence");
    told(
        calls,
        Finding {
            seen: in_turns(TurnKind::Endless),
            cause: "music on hold, ringback or noise in the place of speech; or a bot that neither ends its answer nor stops \
                    for the caller"
                .into(),
            cure: "listen to a call (audio/, or the capture of [capture] calls = [0]); take the caller out of hold and music, \
                   or have the bot stop when the caller speaks. Noise above the detector's threshold counts as speech"
                .into(),
            ..seen.over("speaks_without_end", calls, &what)
        },
    )
}

/// Services that echo.
pub(super) fn own_voice(seen: &Seen<'_>) -> Vec<Finding> {
    let calls = of_kind(seen, TurnKind::OwnVoice).count();
    told(
        calls,
        Finding {
            seen: format!("{}; discarded own_echo", in_turns(TurnKind::OwnVoice)),
            cause: "the caller's own voice comes back: an echo service answers, the bot's media are bridged twice, or there \
                    is no echo cancellation before it"
                .into(),
            cure: "have sip.to lead to the bot; for a service that echoes leave media.mode = \"echo\". A bot must not be fed \
                   what it sends, and not send what it is fed"
                .into(),
            ..seen.over("own_voice", calls, "heard the caller's own voice in the place of answers")
        },
    )
}

fn of_kind<'a>(seen: &Seen<'a>, kind: TurnKind) -> impl Iterator<Item = &'a TurnRow> {
    seen.turns.iter().filter(move |turn| turn.kind == kind)
}

fn in_turns(kind: TurnKind) -> String {
    format!("turns.csv, kind {}", kind.name())
}

fn told(calls: usize, finding: Finding) -> Vec<Finding> {
    if calls > 0 { vec![finding] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, healthy};
    use super::*;

    #[test]
    fn calls_that_are_no_conversation_are_told_apart() {
        let row = |call: u32, kind: TurnKind| TurnRow { call, kind, said_to_s: 30.0, ..TurnRow::default() };
        for (kind, name, words) in [
            (
                TurnKind::Mute,
                "never_speaks",
                "all 10 calls were answered, and the service never spoke in them",
            ),
            (TurnKind::Endless, "speaks_without_end", "talk without end: 30 s"),
            (TurnKind::OwnVoice, "own_voice", "the caller's own voice"),
        ] {
            let mut run = healthy();
            run.turns = (0..10).map(|call| row(call, kind)).collect();
            let found = found(run);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].name, name);
            assert!(found[0].what.contains(words), "{}", found[0].what);
        }
    }

    #[test]
    fn a_call_without_a_packet_is_silent_and_not_mute_and_asks_for_no_echo() {
        let mut run = healthy();
        run.turns =
            (0..10).map(|call| TurnRow { call, kind: TurnKind::Mute, ..TurnRow::default() }).collect();
        run.calls.iter_mut().for_each(|call| call.total_received = 0);
        let found = found(run);
        assert_eq!(found.iter().map(|finding| finding.name).collect::<Vec<_>>(), ["silent"]);
        assert!(
            !found[0].cure.contains("Echo()") && !found[0].cure.contains("each payload"),
            "{}",
            found[0].cure
        );
    }
}
