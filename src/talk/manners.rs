//! Manners of the bot as set by its user, its voice, and the counts that a measurement has to give back.

use std::ops::AddAssign;
use std::time::Duration;

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::speech::{Clip, builtin};

/// Silence between a filler and the answer. At 200 ms and more a detector sees two segments, so that the filler counts
/// as response and the answer as content.
pub const FILLER_GAP: Duration = Duration::from_millis(500);

/// Time from the caller's last voiced sample to the bot's first. At least 160 ms, for until then the
/// caller may go on; after digits 300 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// The same for all turns.
    Fixed(Duration),
    /// Uniform, drawn anew for each turn; the bounds may stand in either order.
    Random {
        /// The shortest.
        from: Duration,
        /// The longest.
        to: Duration,
    },
    /// Growing with the load.
    PerCall {
        /// The part that every turn has.
        base: Duration,
        /// Added for each call that is up when this one begins, itself included.
        each: Duration,
    },
}

impl Delay {
    /// The delay of the next turn.
    pub(super) fn draw(self, rng: &mut Xoshiro256PlusPlus, calls_up: u32) -> Duration {
        match self {
            Delay::Fixed(delay) => delay,
            Delay::Random { from, to } => {
                let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
                let (low, high) = (ns(from.min(to)), ns(from.max(to)));
                Duration::from_nanos(rng.random_range(low..=high))
            }
            Delay::PerCall { base, each } => base.saturating_add(each.saturating_mul(calls_up)),
        }
    }
}

/// Media sent while the bot does not speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Between {
    /// Nothing at all, as an external media channel does.
    #[default]
    Nothing,
    /// Frames of digital silence without a break.
    Silence,
    /// A comfort noise packet (RFC 3389) at the end of each utterance and every 400 ms.
    ComfortNoise,
}

/// Behaviour of the bot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manners {
    /// Time until it answers.
    pub delay: Delay,
    /// It falls silent so long after the caller's onset over it; none: it speaks on. Below 80 ms it is late, for
    /// speech is known as such after 60 ms and a packet.
    pub yields_after: Option<Duration>,
    /// Share of turns without an answer, 0–1. Spread evenly: of n turns of a call it is exact to one.
    pub silent_share: f64,
    /// It says a filler first, and the answer [`FILLER_GAP`] after the filler's end.
    pub filler: bool,
    /// Media sent while it does not speak.
    pub between: Between,
    /// It speaks first, as soon as the call begins.
    pub greeting: bool,
    /// An answer ends; otherwise it is repeated without a pause until the bot yields or the call ends.
    pub ends: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Manners {
            delay: Delay::Fixed(Duration::from_millis(700)),
            yields_after: Some(Duration::from_millis(500)),
            silent_share: 0.0,
            filler: false,
            between: Between::Nothing,
            greeting: true,
            ends: true,
        }
    }
}

/// The bot's prompts, at one rate, shared by all calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotVoice {
    pub(super) rate_hz: u32,
    pub(super) greeting: Vec<i16>,
    pub(super) answer: Vec<i16>,
    pub(super) filler: Vec<i16>,
}

/// Reasons for which prompts make no voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VoiceError {
    /// A rate at which no call is.
    #[error("the bot's `{prompt}` has {hz} Hz; 8000 and 16000 are possible")]
    Rate {
        /// The prompt's name.
        prompt: &'static str,
        /// Its rate.
        hz: u32,
    },
    /// Two rates in one voice.
    #[error(
        "the bot's prompts have different rates: greeting {greeting} Hz, answer {answer} Hz, filler {filler} Hz"
    )]
    Rates {
        /// Samples a second.
        greeting: u32,
        /// Samples a second.
        answer: u32,
        /// Samples a second.
        filler: u32,
    },
    /// A prompt without any sample.
    #[error("the bot's `{0}` is empty")]
    Empty(&'static str),
}

impl BotVoice {
    /// The built-in voice, at 8000 Hz.
    pub fn builtin() -> Self {
        // Invariant: the built-in prompts are there, at one rate.
        let samples = |name| builtin(name).map(|clip| clip.samples).unwrap_or_default();
        let [greeting, answer, filler] = ["greeting", "answer", "filler"].map(samples);
        BotVoice { rate_hz: 8_000, greeting, answer, filler }
    }

    /// A voice of prompts that begin and end with their first and last sample voiced: silence at an edge adds to the
    /// bot's delays.
    pub fn new(greeting: Clip, answer: Clip, filler: Clip) -> Result<Self, VoiceError> {
        for (prompt, clip) in [("greeting", &greeting), ("answer", &answer), ("filler", &filler)] {
            if !matches!(clip.rate_hz, 8_000 | 16_000) {
                return Err(VoiceError::Rate { prompt, hz: clip.rate_hz });
            }
            if clip.samples.is_empty() {
                return Err(VoiceError::Empty(prompt));
            }
        }
        let rates = [greeting.rate_hz, answer.rate_hz, filler.rate_hz];
        if rates.iter().any(|rate| *rate != rates[0]) {
            let [greeting, answer, filler] = rates;
            return Err(VoiceError::Rates { greeting, answer, filler });
        }
        Ok(BotVoice {
            rate_hz: rates[0],
            greeting: greeting.samples,
            answer: answer.samples,
            filler: filler.samples,
        })
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Length of the filler: with a filler, content begins delay + this + [`FILLER_GAP`] after the caller's end.
    pub fn filler_len(&self) -> Duration {
        span(self.filler.len(), self.rate_hz)
    }
}

/// Time that so many samples last.
pub(super) fn span(samples: usize, rate_hz: u32) -> Duration {
    let ns = samples as u128 * 1_000_000_000 / u128::from(rate_hz.max(1));
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// Counts of a call, or of several: `heard` is `answered` and `kept_silent` together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BotCounts {
    /// Greetings begun.
    pub greeted: u32,
    /// Turns of the caller that were due for an answer.
    pub heard: u32,
    /// Turns answered, with filler or without.
    pub answered: u32,
    /// Turns left without an answer on purpose.
    pub kept_silent: u32,
    /// Utterances of the bot broken off for the caller.
    pub yielded: u32,
    /// Utterances of the caller over the bot's that it spoke through; they are no turns.
    pub talked_through: u32,
    /// Answers not yet begun that were dropped because the caller spoke on; no turns either.
    pub resumed: u32,
    /// Digits heard.
    pub digits: u32,
}

impl AddAssign for BotCounts {
    fn add_assign(&mut self, other: Self) {
        let pairs = [
            (&mut self.greeted, other.greeted),
            (&mut self.heard, other.heard),
            (&mut self.answered, other.answered),
            (&mut self.kept_silent, other.kept_silent),
            (&mut self.yielded, other.yielded),
            (&mut self.talked_through, other.talked_through),
            (&mut self.resumed, other.resumed),
            (&mut self.digits, other.digits),
        ];
        for (mine, its) in pairs {
            *mine = mine.saturating_add(its);
        }
    }
}
