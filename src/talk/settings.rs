//! Settings of the bot, as `[service.talk]` and the flags of `loadtest service --talk` have them.

use serde::{Deserialize, Serialize};

use super::manners::{Between, Delay, Manners};
use crate::values::{Percent, Span};

/// The built-in service as a bot that talks: ground truth for measurements of conversations.
// The doc comments of the fields are the help of the flags too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, clap::Args)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TalkSettings {
    /// Time from the caller's last voiced sample to the bot's first; at least 160ms, until which the caller may go on.
    #[arg(id = "talk-delay", long = "talk-delay", value_name = "DURATION", default_value = "700ms")]
    pub delay: Span,
    /// The delay is drawn anew for each turn, from `delay` to this. Absent: it is the same for all.
    #[arg(id = "talk-delay-to", long = "talk-delay-to", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_to: Option<Span>,
    /// Added to the delay for each call that is up when a call begins: a bot whose capacity is known. Absent: nothing.
    #[arg(id = "talk-delay-per-call", long = "talk-delay-per-call", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_per_call: Option<Span>,
    /// Time from the caller's onset over the bot's speech until it falls silent. Absent: it speaks on.
    #[arg(id = "talk-yields-after", long = "talk-yields-after", value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yields_after: Option<Span>,
    /// Share of turns that get no answer.
    #[arg(
        id = "talk-silent-share",
        long = "talk-silent-share",
        value_name = "PERCENT",
        default_value = "0%"
    )]
    pub silent_share: Percent,
    /// True to say a filler first, and the answer half a second after it.
    #[arg(id = "talk-filler", long = "talk-filler")]
    pub filler: bool,
    /// Media sent while the bot does not speak.
    #[arg(id = "talk-between", long = "talk-between", value_name = "MEDIA", default_value = "nothing")]
    pub between: Between,
    /// True to speak first, as soon as the call is there.
    #[arg(id = "talk-greeting", long = "talk-greeting")]
    pub greeting: bool,
    /// False to say its answer again and again, until it yields.
    #[arg(
        id = "talk-ends",
        long = "talk-ends",
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        default_value_t = true
    )]
    pub ends: bool,
}

impl Default for TalkSettings {
    fn default() -> Self {
        TalkSettings {
            delay: Span(std::time::Duration::from_millis(700)),
            delay_to: None,
            delay_per_call: None,
            yields_after: None,
            silent_share: Percent(0.0),
            filler: false,
            between: Between::Nothing,
            greeting: false,
            ends: true,
        }
    }
}

impl TalkSettings {
    /// The bot's manners.
    pub fn manners(&self) -> Manners {
        let delay = match (self.delay_per_call, self.delay_to) {
            (Some(each), _) => Delay::PerCall { base: self.delay.0, each: each.0 },
            (None, Some(to)) => Delay::Random { from: self.delay.0, to: to.0 },
            (None, None) => Delay::Fixed(self.delay.0),
        };
        Manners {
            delay,
            yields_after: self.yields_after.map(|span| span.0),
            silent_share: self.silent_share.0,
            filler: self.filler,
            between: self.between,
            greeting: self.greeting,
            ends: self.ends,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_ends_its_answers_unless_it_is_told_not_to() {
        let of = |text: &str| toml::from_str::<TalkSettings>(text).unwrap().manners();
        assert!(of("").ends && of("ends = true").ends && !of("ends = false").ends);
    }
}
