//! `[conversation]` and `[[turn]]`: callers that talk to the service instead of hearing their own probes.

use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::{Scenario, ServiceMode};
use crate::values::Span;

/// More than anybody reads in one script.
pub const MOST_TURNS: usize = 100;
/// Longest path of a prompt.
const LONGEST: usize = 4096;
/// Shortest wait for an answer.
const SHORTEST_WAIT: Span = Span(std::time::Duration::from_millis(100));
/// Longest time of anything in a turn.
const LONGEST_SPAN: Span = Span(std::time::Duration::from_secs(600));

/// Contents of the calls' media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MediaMode {
    /// Probes, which the far end sends back: every packet is measured.
    #[default]
    Echo,
    /// Speech by the script of `[[turn]]`: turns are measured.
    Conversation,
    /// Bursts, which are looked for in the audio that comes back: the delay of a path that changes it is measured.
    Signal,
    /// Speech, read aloud, which the far end sends back: its quality is scored against what was said.
    Speech,
}

/// `[conversation]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Conversation {
    /// True if the service speaks first: the caller hears its greeting out.
    pub greeting: bool,
    /// Longest wait for an answer.
    pub reply_within: Span,
}

impl Default for Conversation {
    fn default() -> Self {
        Conversation { greeting: false, reply_within: super::defaults::secs(15) }
    }
}

/// One entry of the callers' script, which begins anew after the last until the call ends.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TurnSettings {
    /// Prompt to say: a WAV file (8 or 16 kHz, mono, 16 bit), or a built-in one: `hello`, `order`, `question`, `number`,
    /// `pause` (with a pause of 600 ms inside), `mhm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["question"])))]
    pub say: Option<String>,
    /// Condition for going on. `"reply"`: the service has answered and fallen silent; `"nothing"`: none.
    pub wait: TurnWait,
    /// Speak over the service, once it has talked for so long. Absent: not over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["800ms"])))]
    pub interrupt_after: Option<Span>,
    /// Silence before the turn. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["1s"])))]
    pub pause: Option<Span>,
    /// Prompt put in while the service talks, for which it should not stop. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["mhm"])))]
    pub backchannel: Option<String>,
    /// Digits to dial (RFC 4733). Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("examples" = ["1#"])))]
    pub dtmf: Option<String>,
}

/// Condition for going on to the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TurnWait {
    /// The service has answered and fallen silent, or has not answered in time.
    #[default]
    Reply,
    /// None.
    Nothing,
}

/// Everything wrong with them.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    let talks = s.media.mode == MediaMode::Conversation;
    found.refuse_if(
        !talks && !s.turn.is_empty(),
        "turn",
        "the callers say nothing by a script",
        "set media.mode = \"conversation\", or leave [[turn]] out",
    );
    found.refuse_if(
        !talks && s.service.talk.is_some(),
        "service.talk",
        "a bot sends nothing back of what it hears, and the calls' media are to come back",
        "set media.mode = \"conversation\", or leave [service.talk] out",
    );
    if !talks {
        return;
    }
    found.refuse_if(
        s.impair.back.is_some(),
        "impair.back",
        "speech is heard as it comes, and nothing of it is held back on purpose",
        "leave it out; impair.out worsens the callers' speech",
    );
    let reply_within = s.conversation.reply_within;
    found.refuse_if(
        !(SHORTEST_WAIT..=LONGEST_SPAN).contains(&reply_within),
        "conversation.reply_within",
        format!("{reply_within} is no time that a caller waits"),
        format!("choose between {SHORTEST_WAIT} and {LONGEST_SPAN}"),
    );
    found.refuse_if(
        !s.media.codec.is_g711(),
        "media.mode",
        format!("callers speak G.711, not {}", s.media.codec),
        "set media.codec = \"PCMU\" or \"PCMA\"",
    );
    found.refuse_if(
        s.turn.len() > MOST_TURNS,
        "turn",
        format!("{} turns are planned", s.turn.len()),
        format!("plan {MOST_TURNS} at the most: they begin anew after the last"),
    );
    found.refuse_if(
        s.service.mode == ServiceMode::Builtin && s.service.talk.is_none(),
        "media.mode",
        "the built-in service would send the callers' own voices back",
        "add a table [service.talk], with which it answers, or set another service.mode",
    );
    for (n, turn) in s.turn.iter().take(MOST_TURNS).enumerate() {
        let texts = [("say", &turn.say), ("backchannel", &turn.backchannel), ("dtmf", &turn.dtmf)];
        for (key, text) in texts {
            found.refuse_if(
                text.as_ref().is_some_and(|text| text.is_empty() || text.len() > LONGEST),
                &format!("turn.{n}.{key}"),
                "there is nothing, or too much, in it",
                "leave it out, or fill it in",
            );
        }
        for (key, span) in [("interrupt_after", turn.interrupt_after), ("pause", turn.pause)] {
            found.refuse_if(
                span.is_some_and(|span| span > LONGEST_SPAN),
                &format!("turn.{n}.{key}"),
                "nobody waits that long",
                format!("choose at most {LONGEST_SPAN}"),
            );
        }
    }
}
