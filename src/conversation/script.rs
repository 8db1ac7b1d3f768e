//! Scripts of callers: entries in order, checked once, shared by all calls.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{Digits, time_of};
use crate::speech::Clip;

/// Talk of the service after which the caller puts in a backchannel, where the entry sets no time.
const BACKCHANNEL_AFTER: Duration = Duration::from_secs(1);

/// One entry of a script. It speaks first (`say`, then `dtmf`), then puts in its backchannel, then waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// Prompt to say, by its place in the script's list.
    pub say: Option<usize>,
    /// Condition for going on to the next entry.
    pub wait: Wait,
    /// Speaks over the service, once that has talked for so long; the entry before does not hear it out then.
    pub interrupt_after: Option<Duration>,
    /// Silence before the entry speaks.
    pub pause: Duration,
    /// Prompt put in while the service talks, for which it should not stop. Without anything else to say it is due
    /// after `interrupt_after`, else after 1 s of talk.
    pub backchannel: Option<usize>,
    /// Digits to dial.
    pub dtmf: Option<Digits>,
}

/// Condition for going on to the next entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The service has answered and been silent for 700 ms, or has not answered within `reply_within`.
    #[default]
    Reply,
    /// None.
    Nothing,
}

impl Turn {
    /// Says or dials something of its own.
    pub(super) fn speaks(&self) -> bool {
        self.say.is_some() || self.dtmf.is_some()
    }

    /// Talk of the service over which the entry begins, if it begins over it.
    pub(super) fn over(&self) -> Option<Duration> {
        match (self.speaks(), self.backchannel) {
            (true, _) => self.interrupt_after,
            (false, Some(_)) => Some(self.backchannel_after()),
            (false, None) => None,
        }
    }

    /// Talk of the service after which the backchannel is due.
    pub(super) fn backchannel_after(&self) -> Duration {
        self.interrupt_after.filter(|_| !self.speaks()).unwrap_or(BACKCHANNEL_AFTER)
    }
}

/// A prompt, and the parts of it in which somebody speaks, in samples.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) clip: Arc<Clip>,
    pub(super) voiced: Range<usize>,
    pub(super) pauses: Vec<Range<usize>>,
}

/// A script that can be played: every prompt is there, and every entry takes time.
#[derive(Debug)]
pub struct Script {
    turns: Vec<Turn>,
    greeting: bool,
    reply_within: Duration,
    prompts: Vec<Prompt>,
    rate_hz: u32,
}

/// A script that cannot be played. Entries and prompts count from 1 in the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// No entries.
    #[error("the script has no turns: give it at least one, or use media that echo")]
    NoTurns,
    /// A caller that neither speaks nor has anything to hear first.
    #[error(
        "no turn says or dials anything, so that nothing can be measured: give one of them `say` or `dtmf`"
    )]
    Mute,
    /// An entry that does nothing.
    #[error("turn {} does nothing: give it `say`, `dtmf`, `backchannel`, `pause` or `wait = \"reply\"`", turn + 1)]
    Idle {
        /// Place of the entry, from 0.
        turn: usize,
    },
    /// A prompt that the list does not have.
    #[error("turn {} says prompt {}, and there are only {prompts}", turn + 1, prompt + 1)]
    NoPrompt {
        /// Place of the entry, from 0.
        turn: usize,
        /// Place of the prompt, from 0.
        prompt: usize,
        /// Prompts that there are.
        prompts: usize,
    },
    /// A prompt in which nobody speaks.
    #[error("prompt {} is silent: nobody speaks in it for as long as 60 ms", prompt + 1)]
    Silent {
        /// Place of the prompt, from 0.
        prompt: usize,
    },
    /// A prompt at another rate than the codec's.
    #[error("prompt {} has {found_hz} Hz, and the codec {rate_hz} Hz", prompt + 1)]
    Rate {
        /// Place of the prompt, from 0.
        prompt: usize,
        /// Its samples a second.
        found_hz: u32,
        /// The script's samples a second.
        rate_hz: u32,
    },
    /// `interrupt_after` on an entry that says nothing.
    #[error("turn {} has `interrupt_after` and says nothing: give it `say`, `dtmf` or `backchannel`", turn + 1)]
    MuteInterruption {
        /// Place of the entry, from 0.
        turn: usize,
    },
    /// `pause` on an entry whose begin the service's talk decides.
    #[error("turn {} begins while the service talks and cannot have a `pause`: lengthen `interrupt_after`", turn + 1)]
    PausedInterruption {
        /// Place of the entry, from 0.
        turn: usize,
    },
    /// No time for a reply.
    #[error("`reply_within` is zero: the service needs time to answer, such as 15s")]
    NoTime,
}

impl Script {
    /// True if a caller dials digits.
    pub fn dials(&self) -> bool {
        self.turns.iter().any(|turn| turn.dtmf.is_some())
    }

    /// True if the entry at this place interrupts by digits, and not by speech.
    pub fn interrupts_by_digits(&self, entry: u32) -> bool {
        let is_digits = |turn: &Turn| turn.dtmf.is_some() && turn.say.is_none();
        self.turns.get(entry as usize).is_some_and(is_digits)
    }

    /// Checks a script. `greeting`: the service speaks first, and is given `reply_within` for it. `prompts` are at
    /// the codec's rate already, `rate_hz`.
    ///
    /// # Errors
    /// A script that cannot be played, by its first fault.
    pub fn new(
        turns: Vec<Turn>,
        greeting: bool,
        reply_within: Duration,
        prompts: Vec<Arc<Clip>>,
        rate_hz: u32,
    ) -> Result<Script, ScriptError> {
        if turns.is_empty() {
            return Err(ScriptError::NoTurns);
        }
        if reply_within.is_zero() {
            return Err(ScriptError::NoTime);
        }
        (0..).zip(&turns).try_for_each(|(at, turn)| check(at, turn, prompts.len()))?;
        if !greeting && !turns.iter().any(|turn| turn.speaks() || turn.backchannel.is_some()) {
            return Err(ScriptError::Mute);
        }
        let prompts = (0..).zip(prompts).map(|(at, clip)| measured(at, clip, rate_hz));
        let prompts = prompts.collect::<Result<_, _>>()?;
        Ok(Script { turns, greeting, reply_within, prompts, rate_hz })
    }

    /// The service speaks first.
    pub fn greeting(&self) -> bool {
        self.greeting
    }

    /// Time for the service's answer to begin.
    pub fn reply_within(&self) -> Duration {
        self.reply_within
    }

    /// Samples a second of the prompts.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Entries, in order.
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The caller's own share of a round through the script: what it says and its pauses, without any reply.
    pub fn own_time(&self) -> Duration {
        let one = |turn: &Turn| {
            let said = turn.say.into_iter().chain(turn.backchannel).filter_map(|at| self.prompts.get(at));
            let said = said.map(|prompt| time_of(prompt.clip.samples.len(), self.rate_hz));
            let dialled = turn.dtmf.as_ref().map(Digits::time);
            said.chain(dialled).fold(turn.pause, Duration::saturating_add)
        };
        self.turns.iter().map(one).fold(Duration::ZERO, Duration::saturating_add)
    }

    pub(super) fn prompt(&self, at: usize) -> Option<&Prompt> {
        self.prompts.get(at)
    }

    /// The entry in the place `at`, counted on from the end to the start.
    pub(super) fn turn(&self, at: usize) -> &Turn {
        // Invariant: `new` refuses a script without turns.
        &self.turns[at % self.turns.len()]
    }

    /// A reply follows the speech of the entry at `at`: it waits for one, or a mute entry after it does.
    pub(super) fn expects_reply(&self, at: usize) -> bool {
        let later = (at + 1..at + self.turns.len()).map(|at| self.turn(at)).take_while(|turn| !turn.speaks());
        self.turn(at).wait == Wait::Reply || later.into_iter().any(|turn| turn.wait == Wait::Reply)
    }
}

fn check(at: usize, turn: &Turn, prompts: usize) -> Result<(), ScriptError> {
    if let Some(prompt) = turn.say.into_iter().chain(turn.backchannel).find(|prompt| *prompt >= prompts) {
        return Err(ScriptError::NoPrompt { turn: at, prompt, prompts });
    }
    let is_mute = !turn.speaks() && turn.backchannel.is_none();
    if is_mute && turn.interrupt_after.is_some() {
        return Err(ScriptError::MuteInterruption { turn: at });
    }
    if is_mute && turn.wait == Wait::Nothing && turn.pause.is_zero() {
        return Err(ScriptError::Idle { turn: at });
    }
    if turn.over().is_some() && !turn.pause.is_zero() {
        return Err(ScriptError::PausedInterruption { turn: at });
    }
    Ok(())
}

fn measured(at: usize, clip: Arc<Clip>, rate_hz: u32) -> Result<Prompt, ScriptError> {
    if clip.rate_hz != rate_hz {
        return Err(ScriptError::Rate { prompt: at, found_hz: clip.rate_hz, rate_hz });
    }
    let voiced = clip.voiced().ok_or(ScriptError::Silent { prompt: at })?;
    let pauses = clip.pauses();
    Ok(Prompt { clip, voiced, pauses })
}

/// Start of a call's script within `span`, out of step with the calls before it.
///
/// Multiples of the golden ratio: however many calls there are, their starts lie about evenly.
pub fn out_of_step(call: u32, span: Duration) -> Duration {
    /// 2^32 divided by the golden ratio.
    const STEP: u32 = 2_654_435_769;
    let share = u128::from(call.wrapping_mul(STEP));
    let ns = (span.as_nanos() * share) >> 32;
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}
