//! Record of what a caller has said, by the send stamps of its packets.

use serde::{Deserialize, Serialize};

use crate::stamp::Stamp;

/// Most utterances that one call records.
pub(super) const MAX_UTTERANCES: usize = 10_000;
/// Pauses after which a call records no further utterance.
const MAX_PAUSES: usize = 40_000;
/// Utterances for which memory is held from the start: more than an hour of them.
const EXPECTED: usize = 1024;

/// Everything that the caller of one call has said, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spoken {
    /// Utterances, at most 10,000.
    pub utterances: Vec<Utterance>,
    /// Utterances beyond those.
    pub unrecorded: u32,
    /// Interruptions and backchannels for which the service left no chance: it did not talk for long enough. The
    /// interruption was said as a turn of its own then, the backchannel not at all.
    pub missed: u32,
}

/// A prompt, or a row of digits, that the caller has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Utterance {
    /// Running number over the call, from 0.
    pub turn: u32,
    /// Entry of the script, from 0.
    pub entry: u32,
    /// Part that it plays.
    pub kind: UtteranceKind,
    /// First voiced sample: its packet's send stamp and its offset in it. For digits the first one's onset.
    pub from: Stamp,
    /// End of the last voiced sample, likewise. For digits the end of the last tone.
    pub to: Stamp,
    /// Pauses of 200 ms and longer inside, in order.
    pub pauses: Vec<Pause>,
    /// A reply is waited for.
    pub expects_reply: bool,
    /// The call ended within it.
    pub cut: bool,
}

impl Utterance {
    /// Voiced parts: the utterance without its pauses.
    pub fn voiced(&self) -> impl Iterator<Item = (Stamp, Stamp)> {
        let froms = [self.from].into_iter().chain(self.pauses.iter().map(|pause| pause.to));
        let tos = self.pauses.iter().map(|pause| pause.from).chain([self.to]);
        froms.zip(tos).filter(|(from, to)| from < to)
    }
}

/// A pause inside an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// End of the last voiced sample before it.
    pub from: Stamp,
    /// First voiced sample after it.
    pub to: Stamp,
}

/// Part that an utterance plays in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UtteranceKind {
    /// A prompt in the caller's own turn.
    Say,
    /// A prompt, or digits, over the talking service, for which it should stop.
    Interruption,
    /// A prompt over the talking service, for which it should not stop.
    Backchannel,
    /// Digits in the caller's own turn.
    Dtmf,
}

/// An utterance as it goes into the record: its facts that are known before it is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) entry: usize,
    pub(super) kind: UtteranceKind,
    pub(super) expects_reply: bool,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    turn: u32,
    plan: Plan,
    from: Stamp,
    to: Stamp,
    /// Place of its first pause in the list of all.
    first_pause: usize,
}

/// The record while it grows. Pauses of all utterances lie in one list, so that an utterance allocates nothing.
#[derive(Debug)]
pub(super) struct Log {
    said: Vec<Said>,
    pauses: Vec<Pause>,
    open: Option<Said>,
    pause_from: Option<Stamp>,
    turns: u32,
    unrecorded: u32,
    pub(super) missed: u32,
}

impl Log {
    pub(super) fn new() -> Self {
        Log {
            said: Vec::with_capacity(EXPECTED),
            pauses: Vec::with_capacity(EXPECTED),
            open: None,
            pause_from: None,
            turns: 0,
            unrecorded: 0,
            missed: 0,
        }
    }

    /// First voiced sample of an utterance.
    pub(super) fn begin(&mut self, plan: Plan, at: Stamp) {
        self.end(at);
        self.open = Some(Said { turn: self.turns, plan, from: at, to: at, first_pause: self.pauses.len() });
        self.turns = self.turns.saturating_add(1);
    }

    /// The open utterance has been sent up to `at`.
    pub(super) fn sent_until(&mut self, at: Stamp) {
        if let Some(open) = &mut self.open {
            open.to = at;
        }
    }

    pub(super) fn pause_from(&mut self, at: Stamp) {
        self.pause_from = self.open.is_some().then_some(at);
    }

    pub(super) fn pause_to(&mut self, at: Stamp) {
        if let Some(from) = self.pause_from.take() {
            self.pauses.push(Pause { from, to: at });
        }
    }

    /// End of the open utterance's last voiced sample. If one is open: its first one's stamp, and whether it expects a reply.
    pub(super) fn end(&mut self, at: Stamp) -> Option<(Stamp, bool)> {
        let said = Said { to: at, ..self.open.take()? };
        self.pause_from = None;
        if self.said.len() >= MAX_UTTERANCES || self.pauses.len() >= MAX_PAUSES {
            self.pauses.truncate(said.first_pause);
            self.unrecorded = self.unrecorded.saturating_add(1);
        } else {
            self.said.push(said);
        }
        Some((said.from, said.plan.expects_reply))
    }

    /// The whole record; an utterance that is still open was cut by the call's end.
    pub(super) fn finish(mut self) -> Spoken {
        let cut = self.open.map(|open| (open.turn, self.pause_from.unwrap_or(open.to)));
        if let Some((_, at)) = cut {
            self.end(at);
        }
        let ends = self.said.iter().skip(1).map(|said| said.first_pause).chain([self.pauses.len()]);
        let utterances = self.said.iter().zip(ends).map(|(said, end)| Utterance {
            turn: said.turn,
            entry: u32::try_from(said.plan.entry).unwrap_or(u32::MAX),
            kind: said.plan.kind,
            from: said.from,
            to: said.to,
            pauses: self.pauses.get(said.first_pause..end).unwrap_or_default().to_vec(),
            expects_reply: said.plan.expects_reply,
            cut: cut.is_some_and(|(turn, _)| turn == said.turn),
        });
        Spoken { utterances: utterances.collect(), unrecorded: self.unrecorded, missed: self.missed }
    }
}
