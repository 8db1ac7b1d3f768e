//! `[signal]`: callers that play bursts, by which the delay of changed audio is measured; and the service's own codec.

use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::{AsteriskMode, MediaMode, Scenario, ServiceMode};
use crate::rtp::coder;
use crate::values::{BridgeKind, MediaWay, Span};

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
    own_work_of_asterisk(s, found);
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
    let as_it_comes = "bursts are heard as they come, and nothing of them is held back on purpose";
    heard_as_it_comes(s, ["play bursts", as_it_comes, "a burst"], found);
}

/// Rules of callers whose audio is played, heard and kept: `words` say their doing, why
/// nothing is held back, and a piece of it.
pub(super) fn heard_as_it_comes(s: &Scenario, words: [&str; 3], found: &mut Problems) {
    let [play, as_it_comes, piece] = words;
    found.refuse_if(
        !coder::speaks(s.media.codec),
        "media.codec",
        format!("callers cannot {play} in {}: there is no coder for it here", s.media.codec),
        "set it to \"PCMU\", \"PCMA\", \"G722\" or \"opus\"",
    );
    found.refuse_if(
        s.impair.back.is_some(),
        "impair.back",
        as_it_comes,
        "leave it out; impair.out worsens the way there",
    );
    found.refuse_if(
        s.measure.lost_after > LONGEST_DELAY,
        "measure.lost_after",
        format!("{piece} is looked for in the audio of {}", s.measure.lost_after),
        format!("choose at most {LONGEST_DELAY}"),
    );
}

fn service_codec(s: &Scenario, found: &mut Problems) {
    let Some(codec) = s.service.codec else { return };
    found.refuse_if(
        (s.service.mode != ServiceMode::Builtin || s.service.media != MediaWay::Rtp)
            && codec != s.media.codec,
        "service.codec",
        "only the built-in service (service.mode) has a codec of its own, and over RTP (service.media)",
        "leave it out, or set it to the callers' own media.codec, which changes nothing",
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

/// Rules of the mixer and of the jitter buffer.
fn own_work_of_asterisk(s: &Scenario, found: &mut Problems) {
    let (mixes, buffers) = (s.asterisk.bridge == BridgeKind::Softmix, s.asterisk.jitter_buffer.is_some());
    let is_external = s.asterisk.mode == AsteriskMode::External;
    for (key, is_set, cure) in [
        (
            "asterisk.bridge",
            mixes,
            "leave it out: its own modules and the application's bridges decide there",
        ),
        (
            "asterisk.jitter_buffer",
            buffers,
            "leave it out, and set JITTERBUFFER(adaptive)=default in its dialplan",
        ),
    ] {
        found.refuse_if(is_external && is_set, key, "an external Asterisk keeps its own configuration", cure);
    }
    found.refuse_if(
        mixes && s.media.mode == MediaMode::Echo,
        "asterisk.bridge",
        "no probe survives being mixed",
        "set media.mode = \"signal\", which measures the delay of the audio, or leave asterisk.bridge out",
    );
}
