//! `[signal]`: callers that play bursts, by which the delay of changed audio is measured; and the service's own codec.

use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::{MediaMode, Scenario, ServiceMode};
use crate::values::{MediaWay, Span};

/// Twice the time of a burst, about.
const SHORTEST: Span = Span(std::time::Duration::from_millis(600));
const LONGEST: Span = Span(std::time::Duration::from_secs(60));
/// Longest delay that is looked for: its audio is kept in memory, call by call.
const LONGEST_DELAY: Span = Span(std::time::Duration::from_secs(10));

/// `[signal]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Signal {
    /// Interval between a call's bursts, of 400 ms each.
    pub every: Span,
}

impl Default for Signal {
    fn default() -> Self {
        Signal { every: super::defaults::secs(1) }
    }
}

/// Everything wrong with it.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    let bursts = s.media.mode == MediaMode::Signal;
    service_codec(s, found);
    if !bursts {
        return;
    }
    let every = s.signal.every;
    found.refuse_if(
        !(SHORTEST..=LONGEST).contains(&every),
        "signal.every",
        format!("{every} is no interval of bursts, which take 400 ms each"),
        format!("choose between {SHORTEST} and {LONGEST}"),
    );
    found.refuse_if(
        !s.media.codec.is_g711(),
        "media.mode",
        format!("callers play bursts in G.711: there is no coder for {} here", s.media.codec),
        "set media.codec = \"PCMU\" or \"PCMA\"; service.codec = \"G722\" has Asterisk transcode behind it",
    );
    found.refuse_if(
        s.impair.back.is_some(),
        "impair.back",
        "bursts are heard as they come, and nothing of them is held back on purpose",
        "leave it out; impair.out worsens the way there",
    );
    found.refuse_if(
        s.measure.lost_after > LONGEST_DELAY,
        "measure.lost_after",
        format!("a burst is looked for in the audio of {}", s.measure.lost_after),
        format!("choose at most {LONGEST_DELAY}"),
    );
}

fn service_codec(s: &Scenario, found: &mut Problems) {
    let Some(codec) = s.service.codec else { return };
    found.refuse_if(
        s.service.mode != ServiceMode::Builtin || s.service.media != MediaWay::Rtp,
        "service.codec",
        "only the built-in service has a codec of its own, and over RTP",
        "leave it out, or set service.mode = \"builtin\" and service.media = \"rtp\"",
    );
    found.refuse_if(
        !codec.is_via_external_media(),
        "service.codec",
        format!("Asterisk drops what the service returns in {codec}"),
        "set it to \"PCMU\", \"PCMA\" or \"G722\"",
    );
    found.refuse_if(
        !matches!(s.media.mode, MediaMode::Signal | MediaMode::Speech) && codec != s.media.codec,
        "service.codec",
        "no probe survives being transcoded",
        "set media.mode = \"signal\" or \"speech\", which measure the audio, or leave service.codec out",
    );
}
