//! `[capture]`: packets and SIP messages of calls that went wrong, kept for Wireshark.

use serde::{Deserialize, Serialize};

use super::defaults::secs;
use super::error::Problems;
use crate::values::Span;

/// More is a disk full of captures that nobody opens.
pub(super) const MOST_FILES: u32 = 1000;
/// More than this the media threads would evict from every cache.
pub(super) const MOST_MIB: u32 = 4096;
/// Longest part of a call that is kept.
pub(super) const LONGEST: Span = secs(3600);

/// `[capture]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Numbers of calls whose capture is written however they end, and of calls that talk the audio of the last minute.
    #[cfg_attr(test, schemars(extend("examples" = [[0, 17]])))]
    pub calls: Vec<u32>,
    /// The last part of a call's media that a capture holds, beside its SIP; `0s` writes no capture.
    pub seconds: Span,
    /// Memory for the packets of all calls. Where it is too little for `seconds`, captures are shorter.
    pub most_mib: u32,
    /// Most captures of a run; the calls that `calls` names go first.
    pub files: u32,
    /// True if captures hold what TLS and SRTP hide, the keys of SRTP included. Without it SIP over TLS is left out, media
    /// are as SRTP protects them, and keys are crossed out.
    pub plaintext: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Capture {
            calls: Vec::new(),
            // The end of a call, where it went wrong: a silence of `load.dead_after` and what was before it.
            seconds: secs(10),
            // Ten seconds of three hundred calls.
            most_mib: 64,
            // More of a kind say nothing new.
            files: 50,
            // A report is passed on.
            plaintext: false,
        }
    }
}

impl Capture {
    /// True if captures may be written.
    pub fn is_on(&self) -> bool {
        !self.seconds.0.is_zero() && self.files > 0
    }
}

/// Refuses bounds that bound nothing.
pub(super) fn problems(capture: &Capture, found: &mut Problems) {
    let (mib, files) = (capture.most_mib, capture.files);
    found.refuse_if(
        !(1..=MOST_MIB).contains(&mib),
        "capture.most_mib",
        format!("{mib} MiB are no memory for captures"),
        format!("choose between 1 and {MOST_MIB}; seconds = \"0s\" makes no captures"),
    );
    found.refuse_if(
        files > MOST_FILES,
        "capture.files",
        format!("{files} captures fill a disk"),
        format!("choose {MOST_FILES} at the most"),
    );
    found.refuse_if(
        capture.calls.len() > files as usize,
        "capture.calls",
        format!("it names {} calls, and capture.files keeps {files}", capture.calls.len()),
        "name fewer, or raise capture.files",
    );
}
