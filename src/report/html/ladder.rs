//! SIP ladders of calls, as the page shows them.

use crate::metrics::Summary;
use crate::record::{Ladder, LadderMessage};
use crate::report::words;
use crate::values::counted;

/// A call's messages.
pub(super) struct CallLadder {
    /// Their number, and where its capture is, in words.
    pub title: String,
    pub rungs: Vec<Rung>,
}

/// One message.
pub(super) struct Rung {
    /// Time since the call's first message, as `+12.3 ms`; of that one since the run's start, as `2:05`.
    pub when: String,
    /// Its way, as the driver sees it.
    pub arrow: &'static str,
    /// The same in a word, for who does not see arrows.
    pub way: &'static str,
    pub peer: String,
    pub line: String,
    /// Headers and body.
    pub text: String,
}

/// The ladder of a call, where it has one.
pub(super) fn of_call(summary: &Summary, call: u32) -> Option<CallLadder> {
    let ladder = summary.environment.observed.ladders.iter().find(|ladder| ladder.call == call)?;
    let first = ladder.messages.first()?;
    let rungs =
        ladder.messages.iter().enumerate().map(|(n, message)| rung(n, message, first.at_ms)).collect();
    Some(CallLadder { title: title(ladder), rungs })
}

fn title(ladder: &Ladder) -> String {
    let mut title = format!("SIP: {}", counted(ladder.messages.len() as u64, "message"));
    if ladder.left_out > 0 {
        title.push_str(&format!(", {} in between left out", ladder.left_out));
    }
    if !ladder.capture.is_empty() {
        title.push_str(&format!("; with its media in {}", words::one_line(&ladder.capture)));
    }
    title
}

fn rung(n: usize, message: &LadderMessage, first_ms: f64) -> Rung {
    let LadderMessage { at_ms, sent, peer, line, headers, body } = message;
    let when = match n {
        0 => words::clock(at_ms / 1e3, 1.0),
        _ => format!("{:+.1} ms", at_ms - first_ms),
    };
    let (arrow, way) = if *sent { ("→", "sent to") } else { ("←", "received from") };
    let between = if headers.is_empty() || body.is_empty() { "" } else { "\n\n" };
    let text = format!("{headers}{between}{body}");
    Rung { when, arrow, way, peer: words::one_line(peer), line: words::one_line(line), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_ladder_tells_times_ways_and_bodies() {
        let (summary, _) = fixture::typical();
        let CallLadder { title, rungs } = of_call(&summary, 23).unwrap();
        assert_eq!(title, "SIP: 4 messages; with its media in pcap/call-00023.pcapng");
        let told: Vec<_> =
            rungs.iter().map(|r| format!("{} {} {} {}", r.when, r.arrow, r.peer, r.line)).collect();
        insta::assert_snapshot!("ladder", told.join("\n"));
        assert!(rungs[0].text.contains("Call-ID:") && rungs[0].text.contains("\n\nv=0"), "{}", rungs[0].text);
        assert!(of_call(&summary, 22).is_none());
    }

    #[test]
    fn the_page_folds_each_message_and_shows_no_markup_of_others() {
        let (summary, verdict) = fixture::hostile();
        let page = String::from_utf8(super::super::page(&summary, &verdict, "").unwrap()).unwrap();
        let ladder = page.split("<details class=\"ladder\">").nth(1).expect("a ladder");
        let ladder = ladder.split("</ol>").next().unwrap();
        assert_eq!(ladder.matches("<details>").count(), 4);
        assert!(ladder.contains("SIP/2.0 503 &#60;script&#62;") && !ladder.contains("<script>"), "{ladder}");
    }
}
