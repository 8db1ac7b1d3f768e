//! A call that talks: the caller's packets on the pacer thread, its ear on the receiver thread, and the judgement of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::bursts::{Hearer, Player};
use crate::conversation::{
    Caller, Discard, Frame, Reply, Script, Spoken, Talk, TalkRules, TurnRecord, UtteranceKind, judge,
    out_of_step,
};
use crate::excerpt::{SpeechRing, Talk as Heard};
use crate::measure::{Listened, Listener};
use crate::record::{TurnKind, TurnRow};
use crate::rtp::packet::StreamSender;
use crate::rtp::{Codec, Format, g711};
use crate::speech::{Live, Uttered};
use crate::stamp::Stamp;

/// Utterances between the two threads of a call: the receiver thread takes them ten times a second.
const UTTERED: usize = 16;

/// The far end's speech, as the receiver thread tells the pacer: single words, since neither waits for the other. One that
/// is read half old and half new is right again with the next packet.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    speaking: AtomicBool,
    /// Nanoseconds; 0 is never.
    began_at: AtomicU64,
    voiced_until: AtomicU64,
    segments: AtomicU32,
}

impl Hearing {
    fn tell(&self, live: &Live) {
        let ns = |at: Option<Stamp>| at.map_or(0, Stamp::as_ns);
        self.began_at.store(ns(live.began_at), Ordering::Relaxed);
        self.voiced_until.store(ns(live.voiced_until), Ordering::Relaxed);
        self.segments.store(live.segments, Ordering::Relaxed);
        self.speaking.store(live.speaking, Ordering::Release);
    }

    fn live(&self) -> Live {
        let at = |ns: u64| (ns > 0).then(|| Stamp::from_ns(ns));
        Live {
            speaking: self.speaking.load(Ordering::Acquire),
            began_at: at(self.began_at.load(Ordering::Relaxed)),
            voiced_until: at(self.voiced_until.load(Ordering::Relaxed)),
            segments: self.segments.load(Ordering::Relaxed),
        }
    }
}

/// Mouth of a call, on the pacer thread.
pub(super) struct Talker {
    caller: Caller,
    hearing: Arc<Hearing>,
    codec: Codec,
    event_type: Option<u8>,
    samples: Vec<i16>,
    ring: Option<SpeechRing>,
    said: SyncSender<Uttered>,
}

impl Talker {
    /// The next packet, sent at `sent_at`.
    pub fn packet<'s>(&mut self, sender: &'s mut StreamSender, sent_at: Stamp) -> &'s [u8] {
        let frame = self.caller.next(sent_at, self.hearing.live(), &mut self.samples);
        if let Some(uttered) = self.caller.uttered() {
            let _ = self.said.try_send(uttered);
        }
        match (frame, self.event_type) {
            (Frame::Event(event), Some(payload_type)) => {
                sender.event(payload_type, event.is_first, event.payload())
            }
            (Frame::Audio | Frame::Silence | Frame::Event(_), _) => {
                let (codec, samples) = (self.codec, &self.samples);
                let mut ring = self.ring.as_mut().filter(|_| frame == Frame::Audio);
                sender.speech(|payload| {
                    g711::write(codec, samples, payload);
                    if let Some(ring) = &mut ring {
                        ring.put(sent_at, payload);
                    }
                })
            }
        }
    }

    /// The fate of a turn, once, as soon as it is known.
    pub fn reply(&mut self) -> Option<Reply> {
        self.caller.reply()
    }

    /// Everything that it has said, and its audio where that is kept.
    pub fn finish(self) -> (Spoken, Option<SpeechRing>) {
        (self.caller.finish(), self.ring)
    }
}

/// Ear of a call, on the receiver thread.
pub(super) struct Ear {
    listener: Listener,
    hearing: Arc<Hearing>,
    ring: Option<SpeechRing>,
    said: Receiver<Uttered>,
}

impl Ear {
    /// Takes a datagram that the kernel received at `at`.
    pub fn take(&mut self, datagram: &[u8], at: Stamp) {
        if let Some(payload) = self.listener.take(datagram, at) {
            if let Some(ring) = &mut self.ring {
                ring.put(at, payload);
            }
            self.hearing.tell(&self.listener.live(at));
        }
    }

    /// Tells the pacer of a silence, of which no packet tells, and looks for echoes.
    pub fn look(&mut self, now: Stamp) {
        self.said.try_iter().for_each(|uttered| self.listener.note_uttered(uttered));
        self.listener.look(now);
        self.hearing.tell(&self.listener.live(now));
    }

    /// Everything heard up to `at`, and its audio where that is kept.
    pub fn finish(mut self, at: Stamp) -> (Listened, Option<SpeechRing>) {
        self.look(at);
        (self.listener.finish(at), self.ring)
    }
}

/// Mouth of a call that sends no probes.
#[expect(clippy::large_enum_variant, reason = "each is kept in a box of its own")]
pub(super) enum Voice {
    Talks(Talker),
    Bursts(Player),
}

impl Voice {
    /// The next packet, sent at `sent_at`.
    pub fn packet<'s>(&mut self, sender: &'s mut StreamSender, sent_at: Stamp) -> &'s [u8] {
        match self {
            Voice::Talks(talker) => talker.packet(sender, sent_at),
            Voice::Bursts(player) => player.packet(sender, sent_at),
        }
    }

    /// The fate of a turn, once, as soon as it is known.
    pub fn reply(&mut self) -> Option<Reply> {
        match self {
            Voice::Talks(talker) => talker.reply(),
            Voice::Bursts(_) => None,
        }
    }

    /// Everything that it has said, if it talks.
    pub fn finish(self) -> Option<(Spoken, Option<SpeechRing>)> {
        match self {
            Voice::Talks(talker) => Some(talker.finish()),
            Voice::Bursts(_) => None,
        }
    }
}

/// Ear of a call that sends no probes.
#[expect(clippy::large_enum_variant, reason = "each is kept in a box of its own")]
pub(super) enum Hears {
    Talk(Ear),
    Bursts(Hearer),
}

impl Hears {
    /// Takes a datagram that the kernel received at `at`.
    pub fn take(&mut self, datagram: &[u8], at: Stamp) {
        match self {
            Hears::Talk(ear) => ear.take(datagram, at),
            Hears::Bursts(hearer) => hearer.take(datagram, at),
        }
    }

    /// Does what time alone makes due.
    pub fn look(&mut self, now: Stamp) {
        match self {
            Hears::Talk(ear) => ear.look(now),
            Hears::Bursts(hearer) => hearer.look(now),
        }
    }

    /// Everything heard up to `at`, and its audio where that is kept.
    pub fn finish(self, at: Stamp) -> (Listened, Option<SpeechRing>) {
        match self {
            Hears::Talk(ear) => ear.finish(at),
            Hears::Bursts(hearer) => (hearer.finish(at), None),
        }
    }
}

/// Mouth and ear of call number `call`, which was answered at `at`; each keeps `ring_bytes` of its side's audio, where that is
/// wanted.
pub(super) fn pair(
    script: &Arc<Script>,
    call: u32,
    format: &Format,
    at: Stamp,
    ring_bytes: Option<usize>,
) -> (Voice, Hears) {
    let hearing = Arc::new(Hearing::default());
    let starts_after = out_of_step(call, script.own_time());
    let caller = Caller::new(script.clone(), starts_after, format.ptime, format.codec.clock_hz());
    let samples = vec![0; format.payload_len()];
    let (codec, event_type) = (format.codec, format.event_type);
    let ring = || ring_bytes.map(|bytes| SpeechRing::new(codec, bytes));
    let (says, said) = sync_channel(UTTERED);
    let talker =
        Talker { caller, hearing: hearing.clone(), codec, event_type, samples, ring: ring(), said: says };
    let ear = Ear { listener: Listener::new(*format, at), hearing, ring: ring(), said };
    (Voice::Talks(talker), Hears::Talk(ear))
}

/// Discard of digits that the far end did not agree to hear.
const NOT_SENT: &str = "not_agreed";

/// A call's talk, as it ended.
pub(super) struct Talked<'a> {
    pub script: &'a Script,
    pub spoken: &'a Spoken,
    pub listened: &'a Listened,
    pub answered_at: Stamp,
    pub ended_at: Stamp,
    /// Telephone events were agreed on: digits were sent.
    pub has_events: bool,
    /// Audio of the caller, and of the service, where it is kept.
    pub rings: [Option<&'a SpeechRing>; 2],
}

impl Talked<'_> {
    /// The rows of call number `call` of a run that began at `epoch`.
    pub fn rows(&self, call: u32, epoch: Stamp) -> Vec<TurnRow> {
        let Talked { script, spoken, listened, answered_at, ended_at, has_events, .. } = self;
        let rules = TalkRules {
            answered_at: *answered_at,
            ended_at: *ended_at,
            reply_within: script.reply_within(),
            wants_greeting: script.greeting(),
            echoes: listened.echoes.clone(),
        };
        let talk = judge(spoken, &listened.segments, &listened.gaps, &rules);
        let since = |at: Stamp| at.since(epoch).as_secs_f64();
        let mut rows: Vec<TurnRow> = talk.turns.iter().map(|turn| row(call, turn, &since)).collect();
        let is_dialled = |row: &&mut TurnRow| match row.kind {
            TurnKind::Dtmf => true,
            TurnKind::Interruption => script.interrupts_by_digits(row.entry),
            _ => false,
        };
        rows.iter_mut().filter(|row| !has_events && is_dialled(row)).for_each(not_sent);
        if script.greeting() {
            rows.insert(0, greeting(call, &talk, since(*answered_at)));
        }
        let whole = (*answered_at, *ended_at);
        let endless = talk.endless.map(|span| (TurnKind::Endless, span));
        let mute = talk.never_speaks.then_some((TurnKind::Mute, whole));
        let own_voice = talk.echoes_caller.then_some((TurnKind::OwnVoice, whole));
        let dead_air = talk.dead_air.iter().map(|span| (TurnKind::DeadAir, *span));
        rows.extend(dead_air.chain(endless).chain(mute).chain(own_voice).map(|(kind, (from, to))| TurnRow {
            call,
            kind,
            said_from_s: since(from),
            said_to_s: since(to),
            ..TurnRow::default()
        }));
        rows
    }

    /// Shows the call, and its turns that count, to `take`.
    pub fn show(&self, call: u32, turns: &[TurnRow], take: impl FnOnce(&Heard<'_>)) {
        let said = &self.spoken.utterances;
        let caller: Vec<_> = said.iter().flat_map(|said| said.voiced()).collect();
        let service: Vec<_> = self.listened.segments.iter().map(|part| (part.from, part.to)).collect();
        take(&Heard {
            call,
            turns,
            caller: &caller,
            service: &service,
            lost: &self.listened.gaps,
            answered_at: self.answered_at,
            ended_at: self.ended_at,
            rings: self.rings,
        });
    }
}

/// Takes back what was judged of digits that the far end did not agree to.
fn not_sent(row: &mut TurnRow) {
    (row.response_ms, row.content_ms, row.no_reply) = (None, None, false);
    row.discarded = NOT_SENT.into();
    if row.kind == TurnKind::Interruption {
        (row.stop_ms, row.talk_over_ms) = (None, Default::default());
        row.stop_discarded = NOT_SENT.into();
    }
}

fn greeting(call: u32, talk: &Talk, answered_s: f64) -> TurnRow {
    TurnRow {
        call,
        kind: TurnKind::Greeting,
        said_from_s: answered_s,
        said_to_s: answered_s,
        response_ms: talk.greeting.map(Into::into),
        no_reply: talk.no_greeting,
        reply_from_s: talk.greeting.map(|after: Duration| answered_s + after.as_secs_f64()),
        ..TurnRow::default()
    }
}

fn row(call: u32, turn: &TurnRecord, since: &dyn Fn(Stamp) -> f64) -> TurnRow {
    let word = |reason: Option<Discard>| reason.map_or_else(String::new, |reason| reason.name().into());
    TurnRow {
        call,
        turn: turn.turn,
        entry: turn.entry,
        kind: match turn.kind {
            UtteranceKind::Say => TurnKind::Say,
            UtteranceKind::Interruption => TurnKind::Interruption,
            UtteranceKind::Backchannel => TurnKind::Backchannel,
            UtteranceKind::Dtmf => TurnKind::Dtmf,
        },
        said_from_s: since(turn.said_from),
        said_to_s: since(turn.said_to),
        response_ms: turn.response.map(Into::into),
        content_ms: turn.content.map(Into::into),
        stop_ms: turn.stop.map(Into::into),
        talk_over_ms: turn.talk_over.into(),
        premature: turn.premature,
        no_reply: turn.no_reply,
        false_stop: turn.false_stop,
        discarded: word(turn.discarded),
        stop_discarded: word(turn.stop_discarded),
        reply_from_s: turn.reply.map(|(from, _)| since(from)),
        reply_to_s: turn.reply.map(|(_, to)| since(to)),
    }
}
