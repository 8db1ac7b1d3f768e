//! A simulated service in virtual time, and the calls that it takes.

mod caller;
mod hostile;
mod injected;
mod judged;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::speech::{Clip, Live, Segment};
use crate::stamp::Stamp;

const START: Stamp = Stamp::from_ns(1_000_000_000_000);
const PTIME: Duration = Duration::from_millis(20);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(after_ms: u64) -> Stamp {
    START + ms(after_ms)
}

/// A clip of voiced parts (odd places) and silent ones (even places), in samples.
fn clip(rate_hz: u32, parts: &[usize]) -> Arc<Clip> {
    let mut samples = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        samples.extend(std::iter::repeat_n(if n % 2 == 0 { 0 } else { 1000 }, *part));
    }
    Arc::new(Clip { rate_hz, samples })
}

/// Prompts: 0 an order with odd margins, 1 a question, 2 "mhm", 3 two phrases with a pause of 600 ms, 4 a long one.
fn prompts(rate_hz: u32) -> Vec<Arc<Clip>> {
    let ms = |ms: usize| ms * rate_hz as usize / 1000;
    vec![
        clip(rate_hz, &[37, ms(1200) + 11, 301]),
        clip(rate_hz, &[0, ms(900) + 53]),
        clip(rate_hz, &[0, ms(350)]),
        clip(rate_hz, &[3, ms(700), ms(600), ms(800) + 5, 7]),
        clip(rate_hz, &[0, ms(3000)]),
    ]
}

fn say(prompt: usize) -> Turn {
    Turn { say: Some(prompt), ..Turn::default() }
}

fn script(turns: Vec<Turn>, greeting: bool) -> Arc<Script> {
    Arc::new(Script::new(turns, greeting, ms(15_000), prompts(8000), 8000).unwrap())
}

/// Behaviour of the service.
#[derive(Clone)]
struct Manners {
    greeting: Option<(u64, u64)>,
    /// End of the caller's speech to answer, in ms, by the answer's number; none: silent.
    delay: fn(u32) -> Option<u64>,
    /// Pieces of an answer: silence before it (the delay comes on top of the first), length.
    answer: Vec<(u64, u64)>,
    yields_after: Option<u64>,
    /// Silence after which a service that has yielded talks on for 300 ms, in ms.
    resumes_after: Option<u64>,
    echo: Option<u64>,
}

impl Default for Manners {
    fn default() -> Self {
        Manners {
            greeting: None,
            delay: |_| Some(700),
            answer: vec![(0, 2500)],
            yields_after: None,
            resumes_after: None,
            echo: None,
        }
    }
}

/// The service: hears packets, and plans its talk to the nanosecond.
struct Service {
    manners: Manners,
    talk: Vec<Segment>,
    caller_onset: Option<Stamp>,
    caller_until: Stamp,
    turns: u32,
    /// Delays as they were injected; `None` for turns without an answer.
    injected: Vec<Option<u64>>,
    yielded: u32,
}

impl Service {
    fn new(manners: Manners) -> Self {
        let greeting =
            manners.greeting.map(|(after, long)| Segment { from: at(after), to: at(after + long) });
        Service {
            manners,
            talk: greeting.into_iter().collect(),
            caller_onset: None,
            caller_until: Stamp::ZERO,
            turns: 0,
            injected: Vec::new(),
            yielded: 0,
        }
    }

    fn hear(&mut self, sent_at: Stamp, samples: &[i16], rate_hz: u32) {
        let stamp = |sample: usize| sent_at + time_of(sample, rate_hz);
        let first = samples.iter().position(|sample| *sample != 0);
        let last = samples.iter().rposition(|sample| *sample != 0);
        if let (Some(first), Some(last)) = (first, last) {
            let onset = *self.caller_onset.get_or_insert(stamp(first));
            self.caller_until = stamp(last + 1);
            if let Some(delay) = self.manners.echo {
                self.talk.push(Segment { from: stamp(first) + ms(delay), to: stamp(last + 1) + ms(delay) });
            }
            self.yield_to(onset);
        } else if let Some(onset) = self.caller_onset
            && sent_at.since(self.caller_until) >= ms(160)
        {
            self.caller_onset = None;
            let talked_on = self.talk.iter().any(|part| part.from < onset && part.to > self.caller_until);
            if self.manners.echo.is_none() && !talked_on {
                self.answer();
            }
        }
    }

    fn yield_to(&mut self, onset: Stamp) {
        let Some(after) = self.manners.yields_after.map(ms) else { return };
        let stops_at = onset + after;
        let talks = self.talk.last().is_some_and(|part| part.to > stops_at);
        if talks && self.caller_until >= stops_at {
            self.talk.retain(|part| part.from < stops_at);
            if let Some(part) = self.talk.last_mut() {
                part.to = part.to.min(stops_at);
            }
            if let Some(resumes_at) = self.manners.resumes_after.map(|after| stops_at + ms(after)) {
                self.talk.push(Segment { from: resumes_at, to: resumes_at + ms(300) });
            }
            self.yielded += 1;
        }
    }

    fn answer(&mut self) {
        let delay = (self.manners.delay)(self.turns);
        self.turns += 1;
        self.injected.push(delay);
        let Some(delay) = delay else { return };
        let mut from = self.caller_until + ms(delay);
        for (gap, long) in &self.manners.answer {
            from += ms(*gap);
            self.talk.push(Segment { from, to: from + ms(*long) });
            from += ms(*long);
        }
    }

    /// The detector's view: a segment is known 60 ms after its onset, and over 200 ms after its end.
    fn live(&self, now: Stamp) -> Live {
        let joined = self.segments();
        let known: Vec<_> = joined.iter().filter(|part| part.from + ms(60) <= now).collect();
        let Some(last) = known.last() else { return Live::default() };
        let voiced = self.talk.iter().rfind(|part| part.from < now);
        Live {
            speaking: now < last.to + ms(200),
            began_at: Some(last.from),
            voiced_until: voiced.map(|part| part.to.min(now).min(last.to)),
            segments: known.len() as u32,
        }
    }

    /// Segments as the detector gives them: gaps under 200 ms are closed.
    fn segments(&self) -> Vec<Segment> {
        let mut joined: Vec<Segment> = Vec::new();
        for part in &self.talk {
            match joined.last_mut() {
                Some(last) if part.from.since(last.to) < ms(200) => last.to = last.to.max(part.to),
                _ => joined.push(*part),
            }
        }
        joined
    }
}

/// A call that has taken place.
struct Held {
    talk: Talk,
    spoken: Spoken,
    service: Service,
    frames: Vec<(Stamp, Frame)>,
    /// Fates of turns, as the caller told them in mid-call.
    replies: Vec<Reply>,
    ended_at: Stamp,
}

fn call_at(script: &Arc<Script>, manners: Manners, seconds: u64, (ptime, rate_hz): (Duration, u32)) -> Held {
    let mut caller = Caller::new(Arc::clone(script), Duration::ZERO, ptime, 8000);
    let mut service = Service::new(manners);
    let mut out = vec![0; (rate_hz as u128 * ptime.as_millis() / 1000) as usize];
    let (mut frames, mut replies) = (Vec::new(), Vec::new());
    let (mut slot, mut seed) = (START, 1u64);
    let ended_at = START + Duration::from_secs(seconds);
    while slot + ptime <= ended_at {
        // The sender is up to half a millisecond late, as real ones are.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let now = slot + Duration::from_nanos((seed >> 33) % 500_000);
        let frame = caller.next(now, service.live(now), &mut out);
        service.hear(now, &out, rate_hz);
        frames.push((now, frame));
        replies.extend(caller.reply());
        slot += ptime;
    }
    let spoken = caller.finish();
    let rules = TalkRules {
        answered_at: START,
        ended_at,
        reply_within: script.reply_within(),
        wants_greeting: script.greeting(),
        echoes: Vec::new(),
    };
    let talk = judge(&spoken, &service.segments(), &[], &rules);
    Held { talk, spoken, service, frames, replies, ended_at }
}

fn call(script: &Arc<Script>, manners: Manners, seconds: u64) -> Held {
    call_at(script, manners, seconds, (PTIME, 8000))
}

/// Nothing is wrong with the call but, perhaps, its last turn, which the call's end cut.
fn assert_all_but_last_fit(held: &Held) {
    let judged = held.talk.turns.len().saturating_sub(1);
    for turn in &held.talk.turns[..judged] {
        assert_eq!((turn.discarded, turn.stop_discarded), (None, None), "{turn:?}");
    }
}
