//! The caller: says what each packet of a stream carries, by its script and by what it hears.

use std::sync::Arc;
use std::time::Duration;

use super::awaited::{Awaited, Reply};
use super::dtmf::{Dialled, Dialler, Pace};
use super::spoken::{Log, Plan};
use super::{END_OF_REPLY, ENDLESS, Event, Script, Spoken, Turn, UtteranceKind, Wait, time_of};
use crate::speech::{Live, Uttered};
use crate::stamp::Stamp;

/// Age of the last voiced sample up to which the service counts as talking. The detector ends a segment after
/// 200 ms; a sender that stops in silence leaves it without packets to do so.
const TALKING_WITHIN: Duration = Duration::from_millis(300);
/// Age of the last voiced sample up to which the caller speaks over the service: not in a pause, and not just
/// after its end, where an interruption would prove nothing. Speech has gaps of 100 ms before its stops.
const AUDIBLE_WITHIN: Duration = Duration::from_millis(100);
/// Most changes of state within one packet; then the packet is silent, so that no script can spin.
const MAX_STEPS: u32 = 16;

/// Contents of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Audio of a prompt.
    Audio,
    /// Nothing is said: the samples are zero.
    Silence,
    /// A telephone event goes out instead of the audio.
    Event(Event),
}

/// The caller of one call. Driven once a packet time; allocates nothing then, up to an hour's utterances.
#[derive(Debug)]
pub struct Caller {
    script: Arc<Script>,
    starts_after: Duration,
    pace: Pace,
    entry: usize,
    doing: Doing,
    /// Onset and end of the last speech to which a reply may come.
    asked: (Stamp, Stamp),
    /// End of the last speech of any kind.
    said_until: Stamp,
    ear: Ear,
    awaited: Awaited,
    uttered: Option<Uttered>,
    log: Log,
}

#[derive(Debug, Clone, Copy)]
enum Doing {
    /// No packet was sent yet.
    Nothing,
    /// Hears the service out. It has until `patience` to begin.
    Listening { patience: Stamp, greeting: bool },
    /// Lets the service talk for `after`, to speak over it.
    Lurking { after: Duration, patience: Stamp, backchannel: bool },
    /// Silent until then.
    Pausing { until: Stamp },
    /// Amid a prompt, at that sample.
    Saying { prompt: usize, at: usize, kind: UtteranceKind },
    /// Amid digits.
    Dialling { dialler: Dialler, kind: UtteranceKind },
}

impl Caller {
    /// A caller that begins its script `starts_after` its first packet, or the end of the service's greeting.
    ///
    /// `clock_hz` is the rate of the stream's RTP time stamps, in which events last: 8000 also for G.722.
    pub fn new(script: Arc<Script>, starts_after: Duration, ptime: Duration, clock_hz: u32) -> Self {
        Caller {
            script,
            starts_after,
            pace: Pace::new(ptime, clock_hz),
            entry: 0,
            doing: Doing::Nothing,
            asked: (Stamp::ZERO, Stamp::ZERO),
            said_until: Stamp::ZERO,
            ear: Ear::default(),
            awaited: Awaited::default(),
            uttered: None,
            log: Log::new(),
        }
    }

    /// The next packet's audio, sent at `now`: fills `out`, one packet time of samples, and says what it is.
    /// `heard` is the live view of the service's side.
    pub fn next(&mut self, now: Stamp, heard: Live, out: &mut [i16]) -> Frame {
        out.fill(0);
        self.ear.hear(heard);
        self.awaited.hear(now, heard);
        for _ in 0..MAX_STEPS {
            if let Some(frame) = self.step(now, out) {
                return frame;
            }
        }
        Frame::Silence
    }

    /// The fate of a turn, once, as soon as it is known.
    pub fn reply(&mut self) -> Option<Reply> {
        self.awaited.take()
    }

    /// The prompt whose last voiced sample was in the last packet, once.
    pub fn uttered(&mut self) -> Option<Uttered> {
        self.uttered.take()
    }

    /// All that was said, with the send stamps of first and last voiced samples.
    pub fn finish(self) -> Spoken {
        self.log.finish()
    }

    /// The packet's frame, or none and another state.
    fn step(&mut self, now: Stamp, out: &mut [i16]) -> Option<Frame> {
        match self.doing {
            Doing::Nothing => self.start(now),
            Doing::Pausing { until } if now < until => return Some(Frame::Silence),
            Doing::Pausing { .. } => self.speak(now, UtteranceKind::Say),
            Doing::Listening { patience, greeting } => {
                if !self.has_heard_out(now, patience) {
                    return Some(Frame::Silence);
                }
                self.asked = (now, now);
                if greeting { self.enter(now, self.starts_after) } else { self.next_entry(now) }
            }
            Doing::Lurking { after, patience, backchannel } => {
                let is_due = self.ear.talk_since(now, self.said_until).is_some_and(|talk| talk >= after);
                if !is_due && !self.has_heard_out(now, patience) {
                    return Some(Frame::Silence);
                }
                self.speak_over(now, is_due, backchannel);
            }
            Doing::Saying { prompt, at, kind } => return Some(self.say(now, (prompt, at, kind), out)),
            Doing::Dialling { dialler, kind } => return self.dial(now, dialler, kind),
        }
        None
    }

    fn start(&mut self, now: Stamp) {
        // An entry that speaks over the service is there to interrupt the greeting.
        if self.script.greeting() && self.script.turn(0).over().is_none() {
            self.doing = Doing::Listening { patience: now + self.script.reply_within(), greeting: true };
        } else {
            self.enter(now, self.starts_after);
        }
    }

    /// The reply is over, or does not come, or does not end.
    fn has_heard_out(&self, now: Stamp, patience: Stamp) -> bool {
        let is_answered = self.ear.has_answered(self.asked);
        let is_over = is_answered && self.ear.silence(now).is_some_and(|silence| silence >= END_OF_REPLY);
        let is_missing = now >= patience && !is_answered && !self.ear.is_talking(now);
        is_over || is_missing || now >= patience + ENDLESS
    }

    /// Begins the current entry, not before `after` has passed.
    fn enter(&mut self, now: Stamp, after: Duration) {
        let turn = self.script.turn(self.entry);
        self.doing = match turn.over() {
            Some(talk) => {
                let patience = now + after.saturating_add(self.script.reply_within());
                Doing::Lurking { after: talk.saturating_add(after), patience, backchannel: !turn.speaks() }
            }
            // Silence counts from the end of the speech, which may lie within the packet.
            None => Doing::Pausing { until: now.max(self.said_until) + after.saturating_add(turn.pause) },
        };
    }

    fn next_entry(&mut self, now: Stamp) {
        self.entry = (self.entry + 1) % self.script.turns().len();
        self.enter(now, Duration::ZERO);
    }

    fn speak(&mut self, now: Stamp, kind: UtteranceKind) {
        match (self.turn().say, self.turn().dtmf.is_some()) {
            (Some(prompt), _) => self.doing = Doing::Saying { prompt, at: 0, kind },
            (None, true) => self.start_dialling(false, kind),
            (None, false) => self.wait(now),
        }
    }

    fn speak_over(&mut self, now: Stamp, is_due: bool, backchannel: bool) {
        self.log.missed = self.log.missed.saturating_add(u32::from(!is_due));
        match (backchannel, self.turn().backchannel) {
            (true, Some(prompt)) if is_due => {
                self.doing = Doing::Saying { prompt, at: 0, kind: UtteranceKind::Backchannel };
            }
            // The reply has been heard out without a chance: nothing is left to wait for.
            (true, _) => {
                self.asked = (now, now);
                self.next_entry(now);
            }
            (false, _) if is_due => self.speak(now, UtteranceKind::Interruption),
            (false, _) => self.speak(now, UtteranceKind::Say),
        }
    }

    fn start_dialling(&mut self, follows_speech: bool, kind: UtteranceKind) {
        let kind = if kind == UtteranceKind::Say { UtteranceKind::Dtmf } else { kind };
        self.doing = Doing::Dialling { dialler: Dialler::new(self.pace, follows_speech), kind };
    }

    fn say(
        &mut self,
        now: Stamp,
        (place, at, kind): (usize, usize, UtteranceKind),
        out: &mut [i16],
    ) -> Frame {
        let script = Arc::clone(&self.script);
        let Some(prompt) = script.prompt(place) else { return Frame::Silence };
        let left = prompt.clip.samples.get(at..).unwrap_or_default();
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        let stamp = |sample: usize| now + time_of(sample.saturating_sub(at), script.rate_hz());
        let sent = at..at + count;
        if sent.contains(&prompt.voiced.start) {
            let is_last = kind == UtteranceKind::Backchannel || self.turn().dtmf.is_none();
            let plan = self.plan(kind, is_last);
            self.log.begin(plan, stamp(prompt.voiced.start));
        }
        for pause in &prompt.pauses {
            if sent.contains(&pause.start) {
                self.log.pause_from(stamp(pause.start));
            }
            if sent.contains(&pause.end) {
                self.log.pause_to(stamp(pause.end));
            }
        }
        self.log.sent_until(stamp(sent.end));
        // The last voiced sample is in this packet; its end may be the packet's.
        if sent.contains(&(prompt.voiced.end.saturating_sub(1))) {
            let to = stamp(prompt.voiced.end);
            self.uttered = Some(Uttered { clip: prompt.clip.clone(), voiced: prompt.voiced.clone(), to });
            self.has_said(to, kind);
        }
        self.doing = Doing::Saying { prompt: place, at: sent.end, kind };
        if sent.end >= prompt.clip.samples.len() {
            self.after_prompt(now, kind);
        }
        Frame::Audio
    }

    fn dial(&mut self, now: Stamp, mut dialler: Dialler, kind: UtteranceKind) -> Option<Frame> {
        let script = Arc::clone(&self.script);
        let digits = script.turn(self.entry).dtmf.as_ref();
        let Some(dialled) = digits.and_then(|digits| dialler.next(digits, self.pace)) else {
            self.after_speech(now);
            return None;
        };
        self.doing = Doing::Dialling { dialler, kind };
        let Dialled::Event { event, begins, ends_after } = dialled else { return Some(Frame::Silence) };
        if begins {
            let plan = self.plan(kind, true);
            self.log.begin(plan, now);
        }
        self.log.sent_until(now);
        if let Some(after) = ends_after {
            self.has_said(now + after, kind);
        }
        Some(Frame::Event(event))
    }

    fn has_said(&mut self, until: Stamp, kind: UtteranceKind) {
        self.said_until = until;
        if let Some((from, expects_reply)) = self.log.end(until)
            && kind != UtteranceKind::Backchannel
        {
            self.asked = (from, until);
            if expects_reply {
                self.awaited.ask(until, self.script.reply_within());
            }
        }
    }

    fn after_prompt(&mut self, now: Stamp, kind: UtteranceKind) {
        match kind {
            UtteranceKind::Backchannel => self.wait(now),
            _ if self.turn().dtmf.is_some() => self.start_dialling(true, UtteranceKind::Dtmf),
            _ => self.after_speech(now),
        }
    }

    fn after_speech(&mut self, now: Stamp) {
        let turn = self.turn();
        if turn.backchannel.is_none() {
            return self.wait(now);
        }
        let patience = self.asked.1 + self.script.reply_within();
        self.doing = Doing::Lurking { after: turn.backchannel_after(), patience, backchannel: true };
    }

    fn wait(&mut self, now: Stamp) {
        let is_handed_on = self.script.turn(self.entry + 1).over().is_some();
        if self.turn().wait == Wait::Reply && !is_handed_on {
            let patience = self.asked.1 + self.script.reply_within();
            self.doing = Doing::Listening { patience, greeting: false };
        } else {
            self.next_entry(now);
        }
    }

    fn turn(&self) -> &Turn {
        self.script.turn(self.entry)
    }

    fn plan(&self, kind: UtteranceKind, is_last: bool) -> Plan {
        let expects_reply =
            is_last && kind != UtteranceKind::Backchannel && self.script.expects_reply(self.entry);
        Plan { entry: self.entry, kind, expects_reply }
    }
}

/// The caller's view of the service's talk: segments with less than 700 ms between them are one.
#[derive(Debug, Default)]
struct Ear {
    heard: Live,
    talk_began: Option<Stamp>,
}

impl Ear {
    fn hear(&mut self, heard: Live) {
        if let Some(began) = heard.began_at
            && self.heard.began_at != Some(began)
            && self.heard.voiced_until.is_none_or(|until| began.since(until) >= END_OF_REPLY)
        {
            self.talk_began = Some(began);
        }
        self.heard = heard;
    }

    /// Time since the last voiced sample; `None` before the first.
    fn silence(&self, now: Stamp) -> Option<Duration> {
        Some(now.since(self.heard.voiced_until?))
    }

    fn is_talking(&self, now: Stamp) -> bool {
        self.heard.speaking && self.silence(now).is_some_and(|silence| silence <= TALKING_WITHIN)
    }

    /// Time for which the service has been talking, since `earliest` or later; `None` if it does not talk right now.
    fn talk_since(&self, now: Stamp, earliest: Stamp) -> Option<Duration> {
        let is_audible = self.heard.speaking && self.silence(now)? <= AUDIBLE_WITHIN;
        self.talk_began.filter(|_| is_audible).map(|began| now.since(began.max(earliest)))
    }

    /// The service began to talk after the onset of the caller's speech, and talked on after its end.
    fn has_answered(&self, (from, to): (Stamp, Stamp)) -> bool {
        self.heard.began_at.is_some_and(|began| began >= from)
            && self.heard.voiced_until.is_some_and(|until| until > to)
    }
}
