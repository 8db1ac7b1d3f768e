//! `[speech]`: callers that read aloud, by which the quality of speech over a path is scored.

use serde::{Deserialize, Serialize};

use super::error::Problems;
use super::signal::heard_as_it_comes;
use super::{MediaMode, Scenario};

/// More than anybody lists.
const MOST_PROMPTS: usize = 100;
/// Longest path of a prompt.
const LONGEST: usize = 4096;
/// `[speech]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Speech {
    /// Prompts to read aloud in turn, joined with pauses of 300 ms to passages of 8 s and more, each of which has a score:
    /// WAV files (8 or 16 kHz, mono, 16 bit, 20 s at the most), or built-in ones, as in `[[turn]]`. Absent: `hello`,
    /// `order`, `question` and `number`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(extend("examples" = [["one.wav", "two.wav"]])))]
    pub say: Vec<String>,
}

impl Speech {
    /// True if nothing is set.
    pub fn is_default(&self) -> bool {
        self.say.is_empty()
    }

    /// The prompts, in turn.
    pub fn prompts(&self) -> Vec<&str> {
        match &self.say[..] {
            [] => vec!["hello", "order", "question", "number"],
            say => say.iter().map(String::as_str).collect(),
        }
    }
}

/// Everything wrong with it.
pub(super) fn problems(s: &Scenario, found: &mut Problems) {
    if s.media.mode != MediaMode::Speech {
        return;
    }
    let say = &s.speech.say;
    found.refuse_if(
        say.len() > MOST_PROMPTS,
        "speech.say",
        format!("{} prompts are listed", say.len()),
        format!("list {MOST_PROMPTS} at the most: they begin anew after the last"),
    );
    found.refuse_if(
        say.iter().any(|name| name.is_empty() || name.len() > LONGEST),
        "speech.say",
        "there is nothing, or too much, in the name of a prompt",
        "name WAV files, or built-in prompts",
    );
    let as_it_comes = "speech is heard as it comes, and nothing of it is held back on purpose";
    heard_as_it_comes(s, ["read aloud", as_it_comes, "a passage"], found);
}
