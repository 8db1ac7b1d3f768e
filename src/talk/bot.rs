//! The bot in one call: it hears the caller's audio, decides when a turn has ended, and says when which frame goes out.
//!
//! Sans-IO: feed it with [`Bot::hear`], drain [`Bot::poll`] until it gives nothing, come back at [`Bot::poll_timeout`].

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::ear::{Ear, TURN_END, Voiced};
use super::manners::{Between, BotCounts, BotVoice, FILLER_GAP, Manners, span};
use crate::stamp::Stamp;

/// Time in a frame.
pub const FRAME: Duration = Duration::from_millis(20);
/// Time between two comfort noise packets; RFC 3389 section 4 leaves it to the sender.
pub const COMFORT_NOISE_EVERY: Duration = Duration::from_millis(400);

/// Shortest utterance, as in METRICS.md ("shorter than 60 ms is dropped").
const SHORTEST: Duration = Duration::from_millis(60);
/// Time after a digit in which the next may come: callers of this program send one every 200 ms.
const DIGITS_END: Duration = Duration::from_millis(300);
/// Time without voiced samples through which the caller counts as speaking when the bot is about to yield: a gap
/// between syllables of up to 100 ms, and a packet that is still on its way.
const BREATH: Duration = Duration::from_millis(120);
/// Lateness of a poll from which frames are sent late rather than in a burst: over a WebSocket a burst of ten frames
/// stays as delay for good (asterisk#2115).
const STALL: Duration = Duration::from_millis(100);
/// Peak of comfort noise where a way has no packets for it: -66 dB of full scale, under any detector's threshold.
const NOISE_PEAK: i16 = 27;

/// A frame that goes out now. `restarts`: it does not follow on the frame before, so that over RTP it has the marker
/// and its time stamp has moved on by wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BotFrame {
    /// Speech, with silence before its first and after its last sample.
    Audio {
        /// Begins a new run of frames.
        restarts: bool,
    },
    /// Digital silence.
    Silence {
        /// Begins a new run of frames.
        restarts: bool,
    },
    /// A comfort noise packet; the samples hold noise for ways without such packets.
    ComfortNoise,
}

/// A stretch of the caller's speech, or digits.
#[derive(Debug, Clone, Copy)]
struct Utterance {
    voiced: Voiced,
    has_digits: bool,
    ends_in_digit: bool,
    /// The bot has fallen silent for it, so that it is a turn.
    is_yielded_to: bool,
}

impl Utterance {
    /// Time after its last sample at which it has ended.
    fn turn_end(&self) -> Duration {
        if self.ends_in_digit { DIGITS_END } else { TURN_END }
    }

    fn ends_at(&self) -> Stamp {
        self.voiced.until + self.turn_end()
    }

    fn is_speech(&self) -> bool {
        self.has_digits || self.voiced.until.since(self.voiced.from) >= SHORTEST
    }
}

/// Something to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Greeting,
    /// The answer to a turn, or silence.
    Turn,
    /// The answer after a filler.
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Greeting,
    Filler,
    Answer,
}

#[derive(Debug, Clone, Copy)]
struct Playing {
    part: Part,
    /// Samples said.
    said: usize,
    /// Its first sample.
    from: Stamp,
}

/// The bot of one call.
#[derive(Debug)]
pub struct Bot {
    manners: Arc<Manners>,
    voice: Arc<BotVoice>,
    delays: Xoshiro256PlusPlus,
    noise: Xoshiro256PlusPlus,
    calls_up: u32,
    ear: Ear,
    utterance: Option<Utterance>,
    pending: Option<(Stamp, Due)>,
    playing: Option<Playing>,
    /// End of its last sample said.
    spoke_until: Stamp,
    /// Start of the next frame or comfort noise packet.
    frame_at: Stamp,
    restarts: bool,
    /// Turns that it owes silence, 0–1 between turns.
    silence_owed: f64,
    counts: BotCounts,
}

impl Bot {
    /// The bot of a call that began at `started_at`, with so many calls up, itself included. The same seed and input
    /// give the same frames.
    pub fn new(
        manners: Arc<Manners>,
        voice: Arc<BotVoice>,
        seed: u64,
        started_at: Stamp,
        calls_up: u32,
    ) -> Self {
        let mut delays = Xoshiro256PlusPlus::seed_from_u64(seed);
        Bot {
            // A phase of its own for each call: the first turns of many calls are silent in the set share too.
            silence_owed: delays.random(),
            ear: Ear::new(voice.rate_hz),
            pending: manners.greeting.then_some((started_at, Due::Greeting)),
            manners,
            voice,
            delays,
            noise: Xoshiro256PlusPlus::seed_from_u64(!seed),
            calls_up,
            utterance: None,
            playing: None,
            spoke_until: Stamp::ZERO,
            frame_at: started_at,
            restarts: true,
            counts: BotCounts::default(),
        }
    }

    /// Samples in a frame.
    pub fn frame_len(&self) -> usize {
        // Invariant: a voice has 8000 or 16000 Hz.
        (self.voice.rate_hz / 50) as usize
    }

    /// The caller's audio, in its order; its first sample was heard at `at`, the receive stamp of its packet.
    pub fn hear(&mut self, at: Stamp, samples: &[i16]) {
        let mut start = at;
        // A message of AudioSocket may hold seconds, and more than one utterance.
        for part in samples.chunks(self.frame_len().max(1)) {
            if let Some(voiced) = self.ear.hear(start, part) {
                self.heard(voiced, false);
            }
            start += span(part.len(), self.voice.rate_hz);
        }
    }

    /// A digit of the caller (RFC 4733, AudioSocket or DTMF_END) that ended at `at`. A turn ends with digits as with
    /// speech, but 300 ms after the last at the earliest.
    pub fn hear_digit(&mut self, at: Stamp) {
        self.counts.digits = self.counts.digits.saturating_add(1);
        self.heard(Voiced { from: at, until: at }, true);
    }

    fn heard(&mut self, voiced: Voiced, is_digit: bool) {
        if self.utterance.is_some_and(|u| voiced.from >= u.ends_at()) {
            self.end_utterance();
        }
        let new = Utterance { voiced, has_digits: false, ends_in_digit: false, is_yielded_to: false };
        let utterance = self.utterance.get_or_insert(new);
        if voiced.until >= utterance.voiced.until {
            utterance.voiced.until = voiced.until;
            utterance.ends_in_digit = is_digit;
        }
        utterance.has_digits |= is_digit;
        let spoke_on = utterance.is_speech();
        if let Some((due, Due::Turn)) = self.pending
            && spoke_on
            && utterance.voiced.from < due
        {
            self.pending = None;
            self.counts.resumed = self.counts.resumed.saturating_add(1);
        }
    }

    /// Judges the caller's utterance, which has ended: a turn, spoken over the bot, or noise.
    fn end_utterance(&mut self) {
        let Some(utterance) = self.utterance.take().filter(Utterance::is_speech) else { return };
        let until = utterance.voiced.until;
        let has_the_floor = self.playing.is_some()
            || matches!(self.pending, Some((_, Due::Greeting | Due::Rest)))
            || until <= self.spoke_until;
        if has_the_floor && !utterance.is_yielded_to {
            self.counts.talked_through = self.counts.talked_through.saturating_add(1);
            return;
        }
        if self.pending.is_some() {
            self.counts.resumed = self.counts.resumed.saturating_add(1);
        }
        let delay = self.manners.delay.draw(&mut self.delays, self.calls_up).max(utterance.turn_end());
        self.pending = Some((until + delay, Due::Turn));
    }

    /// Fills `out` with the frame that goes out at `now`, if one is due. `out` should hold [`Bot::frame_len`] samples:
    /// of a longer one the rest is silence. Call it until it gives nothing.
    pub fn poll(&mut self, now: Stamp, out: &mut [i16]) -> Option<BotFrame> {
        if self.utterance.is_some_and(|u| now >= u.ends_at()) {
            self.end_utterance();
        }
        self.begin(now);
        out.fill(0);
        if let Some(playing) = self.playing {
            if now < self.frame_at {
                return None;
            }
            self.skip_stall(now);
            if self.speak(playing, out) {
                return Some(BotFrame::Audio { restarts: self.frame_sent() });
            }
        }
        self.idle(now, out)
    }

    /// Begins the utterance that is due.
    fn begin(&mut self, now: Stamp) {
        let Some((due, what)) = self.pending.filter(|_| self.playing.is_none()) else { return };
        // Continuous frames keep their clock: the first sample stands inside the frame that covers its time. A frame
        // more than time has passed would stay as delay behind Asterisk's timer.
        let is_grid = self.manners.between == Between::Silence;
        let is_due = if is_grid { now >= self.frame_at && due < self.frame_at + FRAME } else { now >= due };
        if !is_due {
            return;
        }
        self.pending = None;
        let Some(part) = self.part(what) else { return };
        if !is_grid {
            self.frame_at = due;
            self.restarts = true;
        }
        self.skip_stall(now);
        self.playing = Some(Playing { part, said: 0, from: due.max(self.frame_at) });
    }

    /// The part with which it begins, counted; none if this turn gets no answer.
    fn part(&mut self, what: Due) -> Option<Part> {
        let add = |count: &mut u32| *count = count.saturating_add(1);
        match what {
            Due::Rest => Some(Part::Answer),
            Due::Greeting => {
                add(&mut self.counts.greeted);
                Some(Part::Greeting)
            }
            Due::Turn => {
                add(&mut self.counts.heard);
                let share = self.manners.silent_share;
                self.silence_owed += if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
                if self.silence_owed >= 1.0 {
                    self.silence_owed -= 1.0;
                    add(&mut self.counts.kept_silent);
                    return None;
                }
                add(&mut self.counts.answered);
                Some(if self.manners.filler { Part::Filler } else { Part::Answer })
            }
        }
    }

    /// Says the next frame's part of its utterance; false if it fell silent before the frame's first sample.
    fn speak(&mut self, playing: Playing, out: &mut [i16]) -> bool {
        let Playing { part, mut said, from } = playing;
        let clip = match part {
            Part::Greeting => &self.voice.greeting,
            Part::Filler => &self.voice.filler,
            Part::Answer => &self.voice.answer,
        };
        let repeats = part == Part::Answer && !self.manners.ends;
        let frame = self.frame_at;
        let len = out.len().min(self.frame_len());
        let first = self.samples_until(from).min(len);
        let stop = self.stop_at(from).filter(|stop| *stop < frame + FRAME);
        let room = stop.map_or(len, |stop| self.samples_until(stop).min(len));
        let mut end = first;
        for sample in out.iter_mut().take(room).skip(first) {
            if said >= clip.len() && repeats {
                said = 0;
            }
            let Some(next) = clip.get(said) else { break };
            *sample = *next;
            said += 1;
            end += 1;
        }
        let is_said = said >= clip.len() && !repeats;
        if end > first {
            self.spoke_until = frame + span(end, self.voice.rate_hz);
        }
        self.playing = (!is_said && stop.is_none()).then_some(Playing { said, ..playing });
        if is_said && part == Part::Filler {
            self.pending = Some((self.spoke_until + FILLER_GAP, Due::Rest));
        }
        if stop.is_some() && !is_said {
            self.counts.yielded = self.counts.yielded.saturating_add(1);
            if let Some(utterance) = &mut self.utterance {
                utterance.is_yielded_to = true;
            }
        }
        end > first || self.playing.is_some()
    }

    /// The instant at which it falls silent for a caller who speaks over it, if it does.
    fn stop_at(&self, from: Stamp) -> Option<Stamp> {
        let utterance = self.utterance.filter(Utterance::is_speech)?;
        let stop = utterance.voiced.from.max(from) + self.manners.yields_after?;
        let is_speaking = utterance.voiced.until + BREATH >= stop.max(self.frame_at);
        is_speaking.then_some(stop)
    }

    /// Samples from the frame's start to a stamp, rounded up; none if it is past.
    fn samples_until(&self, stamp: Stamp) -> usize {
        let ns = stamp.since(self.frame_at).as_nanos();
        let samples = (ns * u128::from(self.voice.rate_hz)).div_ceil(1_000_000_000);
        usize::try_from(samples).unwrap_or(usize::MAX)
    }

    /// A frame of the media between utterances.
    fn idle(&mut self, now: Stamp, out: &mut [i16]) -> Option<BotFrame> {
        if now < self.frame_at {
            return None;
        }
        match self.manners.between {
            Between::Nothing => None,
            Between::Silence => {
                self.skip_stall(now);
                Some(BotFrame::Silence { restarts: self.frame_sent() })
            }
            Between::ComfortNoise => {
                out.fill_with(|| self.noise.random_range(-NOISE_PEAK..=NOISE_PEAK));
                self.frame_at = now + COMFORT_NOISE_EVERY;
                Some(BotFrame::ComfortNoise)
            }
        }
    }

    /// Moves the clock of frames to `now` if frames were not fetched for long.
    fn skip_stall(&mut self, now: Stamp) {
        if now.since(self.frame_at) > STALL {
            self.frame_at = now;
            self.restarts = true;
        }
    }

    /// Moves on by a frame; true if it was the first of a run.
    fn frame_sent(&mut self) -> bool {
        self.frame_at += FRAME;
        std::mem::take(&mut self.restarts)
    }

    /// The next time at which [`Bot::poll`] may give a frame or decide on a turn; none until the caller is heard.
    pub fn poll_timeout(&self) -> Option<Stamp> {
        let turn_end = self.utterance.map(|u| u.ends_at());
        let has_frames = self.playing.is_some() || self.manners.between != Between::Nothing;
        let frame = has_frames.then_some(self.frame_at);
        let is_grid = self.manners.between == Between::Silence;
        let due = self.pending.filter(|_| self.playing.is_none() && !is_grid).map(|(due, _)| due);
        [turn_end, frame, due].into_iter().flatten().min()
    }

    /// The call so far. A turn that ended less than the delay ago is in none of the counts.
    pub fn told(&self) -> BotCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests;
