//! Conversations with a service that talks: the caller's script, the caller that plays it, the judgement of a call.
//!
//! Pure: stamps, samples and the live view of the service's side in, packets' contents and figures out. The caller's
//! side is exact, by send stamps; the service's side comes as the segments of `speech`.

mod awaited;
mod caller;
mod dtmf;
mod judge;
mod script;
mod spoken;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use awaited::Reply;
pub use caller::{Caller, Frame};
pub use dtmf::{Digits, DigitsError, Event};
pub use judge::{Discard, Talk, TalkRules, TurnRecord, judge};
pub use script::{Script, ScriptError, Turn, Wait, out_of_step};
pub use spoken::{Pause, Spoken, Utterance, UtteranceKind};

/// Silence of the service after which the caller takes its reply for ended.
pub const END_OF_REPLY: Duration = Duration::from_millis(700);

/// Talk of the service that counts as endless. A caller speaks over it once it has gone on for so long after the
/// time for the answer to begin.
pub const ENDLESS: Duration = Duration::from_secs(60);

/// The time that `samples` last, at `rate_hz` samples a second; zero without a rate.
fn time_of(samples: usize, rate_hz: u32) -> Duration {
    let ns = samples as u128 * 1_000_000_000 / u128::from(rate_hz.max(1));
    if rate_hz == 0 { Duration::ZERO } else { Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)) }
}
