//! Judgement of one call: METRICS "Conversation", from what was said and when the service spoke.

mod echo;
mod line;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::awaited::EDGE;
use super::{END_OF_REPLY, ENDLESS, Spoken, Utterance, UtteranceKind};
use crate::speech::Segment;
use crate::stamp::Stamp;
use echo::Echoes;
use line::Line;

/// Shortest segment that is content, not filler (METRICS).
const CONTENT: Duration = Duration::from_millis(400);
/// Silence after which an interrupted service has stopped (METRICS).
const STOPPED: Duration = Duration::from_millis(300);
/// Silence of both beyond which the air is dead (METRICS).
const DEAD_AIR: Duration = Duration::from_secs(2);
/// Earliest stop that a backchannel can have caused; before it the service was about to end anyway.
const REACTION: Duration = Duration::from_millis(50);
/// Loss in which a whole segment can hide: the shortest that the detector reports.
const HIDING: Duration = Duration::from_millis(60);
/// Distance from an edge at which a lost packet may have held it: a packet time.
const NEAR: Duration = Duration::from_millis(20);
/// Earliness of the caller's next speech that its packet times explain.
const SLACK: Duration = Duration::from_millis(100);
/// Silence in a call after which the service counts as one that never speaks, where `reply_within` is longer.
const MUTE: Duration = Duration::from_secs(5);
/// Shortest talk up to the call's end that counts as endless, if it also is most of the call.
const LONG_TALK: Duration = Duration::from_secs(10);

/// Terms of the judgement of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalkRules {
    /// Reception of the 200 OK.
    pub answered_at: Stamp,
    /// End of the call.
    pub ended_at: Stamp,
    /// Time for an answer to begin.
    pub reply_within: Duration,
    /// The script waits for a greeting.
    pub wants_greeting: bool,
    /// Stretches in which the service's side is the caller's own audio at more than -12 dB, found in the signal.
    /// Echoes that repeat an utterance part by part are found without it.
    pub echoes: Vec<(Stamp, Stamp)>,
}

/// One call's conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Talk {
    /// 200 OK to first voiced sample, if the service spoke before the caller.
    pub greeting: Option<Duration>,
    /// A greeting was wanted, and none came before the caller's patience was over.
    pub no_greeting: bool,
    /// A record for each utterance, in order.
    pub turns: Vec<TurnRecord>,
    /// Stretches within the service's turn in which nobody spoke for longer than 2 s.
    pub dead_air: Vec<(Stamp, Stamp)>,
    /// Time in which both spoke.
    pub talk_over: Duration,
    /// The first talk of the service that lasted a minute, or most of a call of 10 s and more up to its end, without
    /// 700 ms of silence.
    pub endless: Option<(Stamp, Stamp)>,
    /// The service was given 5 s (or `reply_within`) and did not speak in the whole call.
    pub never_speaks: bool,
    /// The caller's own voice comes back: half of its utterances and more are repeated.
    pub echoes_caller: bool,
}

/// One utterance of the caller, and the service's reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRecord {
    /// Running number over the call, from 0.
    pub turn: u32,
    /// Entry of the script, from 0.
    pub entry: u32,
    /// Part that the utterance plays.
    pub kind: UtteranceKind,
    /// The caller's first voiced sample.
    pub said_from: Stamp,
    /// The end of its last voiced sample.
    pub said_to: Stamp,
    /// A reply was waited for.
    pub expects_reply: bool,
    /// `said_to` to the first voiced sample of the answer.
    pub response: Option<Duration>,
    /// `said_to` to the begin of the first segment of at least 400 ms.
    pub content: Option<Duration>,
    /// An answer began in a pause of the caller's sentence. Holds for discarded turns, too.
    pub premature: bool,
    /// No answer began within `reply_within`.
    pub no_reply: bool,
    /// An interruption's onset to the service's last voiced sample before 300 ms of silence.
    pub stop: Option<Duration>,
    /// Time in which both spoke during the utterance; zero for digits that interrupt nobody.
    pub talk_over: Duration,
    /// The service fell silent for a backchannel; `None` where that cannot be judged, and for other kinds.
    pub false_stop: Option<bool>,
    /// The turn says nothing about responses, content and missing replies, for this reason.
    pub discarded: Option<Discard>,
    /// An interruption or backchannel says nothing about stops, for this reason.
    pub stop_discarded: Option<Discard>,
    /// The reply from its first to its last voiced sample, also of a discarded turn.
    pub reply: Option<(Stamp, Stamp)>,
}

/// Reason for which a turn cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Discard {
    /// Both spoke within 300 ms before the end of the caller's speech.
    DoubleTalk,
    /// The answer began in a pause of the caller's sentence, and no other one followed its end.
    Premature,
    /// The caller's own voice came back.
    OwnEcho,
    /// Packets of the service were lost at an edge, or enough to hide one.
    LostAtEdge,
    /// The call ended before it was decided.
    CallEnded,
    /// The caller spoke again before `reply_within` was over.
    SpokeAgain,
    /// The service did not talk (any more) when the caller spoke over it.
    NotTalking,
}

impl Discard {
    /// The word in CSV.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Judges a call: `service` are the segments of its side, `gaps` the stretches of its packets that were lost.
///
/// Order and overlaps do not matter; everything outside the call is cut off.
pub fn judge(spoken: &Spoken, service: &[Segment], gaps: &[(Stamp, Stamp)], rules: &TalkRules) -> Talk {
    let call = Call::new(spoken, service, gaps, rules);
    let turns: Vec<_> = (0..call.said.len()).map(|at| call.turn(at)).collect();
    Talk {
        greeting: call.greeting(),
        no_greeting: call.lacks_greeting(),
        dead_air: call.dead_air(&turns),
        talk_over: turns.iter().map(|turn| turn.talk_over).fold(Duration::ZERO, Duration::saturating_add),
        endless: call.endless(),
        never_speaks: call.never_speaks(),
        echoes_caller: call.echoes.are_the_rule(),
        turns,
    }
}

/// A call with its parts in order.
struct Call<'a> {
    rules: &'a TalkRules,
    said: Vec<&'a Utterance>,
    /// Onset of the caller's next speech that is no backchannel, or the call's end.
    next: Vec<Stamp>,
    /// The service's own speech, without echoes.
    voice: Line,
    lost: Line,
    echoes: Echoes,
    is_mute: bool,
}

impl<'a> Call<'a> {
    fn new(spoken: &'a Spoken, service: &[Segment], gaps: &[(Stamp, Stamp)], rules: &'a TalkRules) -> Self {
        let span = (rules.answered_at, rules.ended_at);
        let mut said: Vec<_> = spoken.utterances.iter().collect();
        said.sort_by_key(|utterance| utterance.from);
        let mut onset = rules.ended_at;
        let mut next = Vec::with_capacity(said.len());
        for utterance in said.iter().rev() {
            next.push(onset);
            if utterance.kind != UtteranceKind::Backchannel {
                onset = utterance.from;
            }
        }
        next.reverse();
        let heard = Line::new(service.iter().map(|part| (part.from, part.to)), span);
        let echoes = Echoes::find(&said, &heard, &rules.echoes);
        let lost = Line::new(gaps.iter().copied(), span);
        let is_mute = heard.is_empty();
        Call { rules, said, next, voice: echoes.taken_from(&heard), lost, echoes, is_mute }
    }

    fn turn(&self, at: usize) -> TurnRecord {
        let (said, next) = (self.said[at], self.next[at]);
        let mut record = TurnRecord {
            turn: said.turn,
            entry: said.entry,
            kind: said.kind,
            said_from: said.from,
            said_to: said.to,
            expects_reply: said.expects_reply,
            response: None,
            content: None,
            premature: said.pauses.iter().any(|pause| self.voice.begun(pause.from, pause.to).is_some()),
            no_reply: false,
            stop: None,
            talk_over: self.talk_over(said),
            false_stop: None,
            discarded: None,
            stop_discarded: None,
            reply: self.reply(said, next),
        };
        match said.kind {
            UtteranceKind::Interruption => match self.stop(said) {
                Ok(stop) => record.stop = Some(stop),
                Err(reason) => record.stop_discarded = Some(reason),
            },
            UtteranceKind::Backchannel => match self.is_false_stop(said) {
                Ok(is_false) => record.false_stop = Some(is_false),
                Err(reason) => record.stop_discarded = Some(reason),
            },
            UtteranceKind::Say | UtteranceKind::Dtmf => {}
        }
        if said.expects_reply {
            match self.response(at, record.premature) {
                Ok(Some(response)) => {
                    record.response = Some(response);
                    record.content = self.content(said, next);
                }
                Ok(None) => record.no_reply = true,
                Err(reason) => record.discarded = Some(reason),
            }
        }
        record
    }

    /// Time to the answer; `None` if there is none.
    fn response(&self, at: usize, is_premature: bool) -> Result<Option<Duration>, Discard> {
        let (said, next) = (self.said[at], self.next[at]);
        let deadline = said.to + self.rules.reply_within;
        let until = next.min(deadline);
        if said.cut || said.to >= self.rules.ended_at {
            return Err(Discard::CallEnded);
        }
        if self.echoes.hit(at) {
            return Err(Discard::OwnEcho);
        }
        let edge = (said.to - EDGE).max(said.from);
        if !self.voice.shared(edge, said.to).is_zero() {
            return Err(if is_premature { Discard::Premature } else { Discard::DoubleTalk });
        }
        if let Some(answer) = self.voice.begun(said.to, until) {
            let is_sure = !self.lost.is_near(answer.from, NEAR) && !self.may_hide(said.to, answer.from);
            return if is_sure { Ok(Some(answer.from.since(said.to))) } else { Err(Discard::LostAtEdge) };
        }
        if is_premature {
            Err(Discard::Premature)
        } else if self.may_hide(said.to, until) {
            Err(Discard::LostAtEdge)
        } else if self.rules.ended_at < deadline && next >= self.rules.ended_at {
            Err(Discard::CallEnded)
        } else if next + SLACK < deadline {
            Err(Discard::SpokeAgain)
        } else {
            Ok(None)
        }
    }

    /// Lost packets between the two can have held a segment.
    fn may_hide(&self, from: Stamp, to: Stamp) -> bool {
        self.lost.within(from, to).iter().any(|gap| gap.to.min(to).since(gap.from.max(from)) >= HIDING)
    }

    fn content(&self, said: &Utterance, next: Stamp) -> Option<Duration> {
        let mut segments = self.voice.within(said.to, next).iter().filter(|part| part.from >= said.to);
        let first = segments.find(|part| part.to.since(part.from) >= CONTENT)?;
        Some(first.from.since(said.to))
    }

    /// All that the service says until the caller's next speech, from the answer on; a premature answer counts.
    fn reply(&self, said: &Utterance, next: Stamp) -> Option<(Stamp, Stamp)> {
        if !said.expects_reply {
            return None;
        }
        let parts = self.voice.within(said.from, next);
        let is_late = |part: &&Segment| part.from > said.to + self.rules.reply_within;
        let begun = |part: &&Segment| part.from >= said.from && part.from < next;
        let first =
            parts.iter().filter(begun).find(|part| part.to > said.to).filter(|part| !is_late(part))?;
        let last = parts.iter().rev().find(|part| part.from < next)?;
        Some((first.from, last.to))
    }

    fn stop(&self, said: &Utterance) -> Result<Duration, Discard> {
        let end = self.end_of_talk(said, STOPPED)?;
        Ok(end.since(said.from))
    }

    /// The talk over which the backchannel was said ends soon after it. Silence as long as after a reply is asked
    /// for: pauses between sentences are no stops.
    fn is_false_stop(&self, said: &Utterance) -> Result<bool, Discard> {
        let decided_at = said.to + END_OF_REPLY;
        let end = self.voice.talk_end(said.from, END_OF_REPLY)?;
        if end < said.from + REACTION {
            return Err(Discard::NotTalking);
        }
        if end >= decided_at { Ok(false) } else { self.end_of_talk(said, END_OF_REPLY).map(|_| true) }
    }

    /// End of the service's talk that goes on at the onset of `said`, after which it is silent for `silence`.
    fn end_of_talk(&self, said: &Utterance, silence: Duration) -> Result<Stamp, Discard> {
        let end = self.voice.talk_end(said.from, silence)?;
        if end + silence > self.rules.ended_at {
            Err(Discard::CallEnded)
        } else if self.echoes.hide(end) {
            Err(Discard::OwnEcho)
        } else if self.lost.is_near(end, NEAR) || self.may_hide(end, end + silence) {
            Err(Discard::LostAtEdge)
        } else {
            Ok(end)
        }
    }

    fn talk_over(&self, said: &Utterance) -> Duration {
        if said.kind == UtteranceKind::Dtmf {
            return Duration::ZERO;
        }
        let shared = said.voiced().map(|(from, to)| self.voice.shared(from, to));
        shared.fold(Duration::ZERO, Duration::saturating_add)
    }

    fn first_said(&self) -> Stamp {
        self.said.first().map_or(self.rules.ended_at, |said| said.from.min(self.rules.ended_at))
    }

    fn greeting(&self) -> Option<Duration> {
        let first = self.voice.begun(self.rules.answered_at, self.first_said())?;
        Some(first.from.since(self.rules.answered_at))
    }

    fn lacks_greeting(&self) -> bool {
        let is_waited_for =
            !self.said.is_empty() || self.rules.ended_at >= self.rules.answered_at + self.rules.reply_within;
        self.rules.wants_greeting && self.greeting().is_none() && is_waited_for
    }

    fn never_speaks(&self) -> bool {
        let greeted_from = self.rules.wants_greeting.then_some(self.rules.answered_at);
        let asked_at = self.said.iter().find(|said| said.expects_reply && !said.cut).map(|said| said.to);
        let given = greeted_from.or(asked_at).map(|from| self.rules.ended_at.since(from));
        self.is_mute && given.is_some_and(|given| given >= MUTE.min(self.rules.reply_within))
    }

    fn endless(&self) -> Option<(Stamp, Stamp)> {
        let whole = self.rules.ended_at.since(self.rules.answered_at);
        self.voice.talks(END_OF_REPLY).find(|(from, to)| {
            let talk = to.since(*from);
            let is_to_the_end = *to + END_OF_REPLY > self.rules.ended_at;
            talk >= ENDLESS || (is_to_the_end && talk >= LONG_TALK && talk >= whole / 5 * 4)
        })
    }

    fn dead_air(&self, turns: &[TurnRecord]) -> Vec<(Stamp, Stamp)> {
        let span = (self.rules.answered_at, self.rules.ended_at);
        let greeted_from = self.rules.answered_at;
        let first =
            self.voice.begun(greeted_from, self.rules.ended_at).map_or(self.rules.ended_at, |s| s.from);
        let until = first.min(self.first_said()).min(greeted_from + self.rules.reply_within);
        let greeting = self.rules.wants_greeting.then_some((greeted_from, until));
        let is_fit = |(_, turn): &(&Stamp, &TurnRecord)| {
            turn.expects_reply && !matches!(turn.discarded, Some(Discard::OwnEcho))
        };
        let replies = self.next.iter().zip(turns).filter(is_fit).map(|(next, turn)| {
            let unanswered = (*next).min(turn.said_to + self.rules.reply_within);
            (turn.said_to, turn.reply.map_or(unanswered, |(_, to)| to))
        });
        let due = Line::new(greeting.into_iter().chain(replies), span);
        let long_gaps = self.lost.iter().filter(|gap| gap.to.since(gap.from) >= HIDING);
        let own = self.said.iter().flat_map(|said| said.voiced());
        let heard = self.voice.iter().chain(long_gaps).map(|part| (part.from, part.to));
        let busy = Line::new(own.chain(heard), span);
        due.without(&busy).filter(|(from, to)| to.since(*from) > DEAD_AIR).collect()
    }
}
