//! The caller's own voice on the far end's side of a call, found in the signal.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::signal::{Burst, Ear, EchoFinder, LEAST_SAID, LONGEST_ECHO, MOST_SAID, RATE_HZ, Sent, time_of};
use crate::speech::Uttered;
use crate::stamp::Stamp;

/// Utterances that wait for their echo: more are not under way at once.
const MOST_AWAITED: usize = 32;
/// Stretches of one call that are kept.
const MOST_FOUND: usize = 10_000;

thread_local! {
    /// Shared by the calls of a thread: it has memory that none of them needs for itself.
    static FINDER: RefCell<EchoFinder> = RefCell::default();
}

/// Seeker of one call's echoes. The last second of each utterance is looked for: by that an answer is judged.
#[derive(Debug)]
pub(super) struct OwnVoice {
    ear: Ear,
    awaited: VecDeque<(Burst, Uttered)>,
    number: u32,
    found: Vec<(Stamp, Stamp)>,
}

impl OwnVoice {
    pub fn new() -> Self {
        OwnVoice {
            ear: Ear::new(LONGEST_ECHO, MOST_SAID, RATE_HZ),
            awaited: VecDeque::new(),
            number: 0,
            found: Vec::new(),
        }
    }

    /// Notes an utterance whose last sample has been sent.
    pub fn awaits(&mut self, uttered: Uttered) {
        let len = uttered.voiced.len().min(MOST_SAID);
        if len < LEAST_SAID || self.awaited.len() >= MOST_AWAITED {
            return;
        }
        let burst = Burst { call: 0, number: self.number };
        self.number = self.number.wrapping_add(1);
        self.ear.awaits(Sent { burst, at: uttered.to - time_of(len as u64), len });
        self.awaited.push_back((burst, uttered));
    }

    /// Takes the audio of a packet that was received at `at`.
    pub fn take(&mut self, source: u32, timestamp: u32, samples: &[i16], at: Stamp) {
        self.ear.take(source, timestamp, samples, at);
    }

    /// Looks for the echoes whose time is over at `now`.
    pub fn look(&mut self, now: Stamp) {
        while let Some(heard) = self.ear.due(now) {
            self.seek(&heard);
        }
    }

    /// Stretches in which the far end's side has the caller's voice at more than -12 dB.
    pub fn finish(mut self) -> Vec<(Stamp, Stamp)> {
        while let Some(heard) = self.ear.rest() {
            self.seek(&heard);
        }
        self.found
    }

    fn seek(&mut self, heard: &crate::signal::Excerpt) {
        while let Some((burst, uttered)) = self.awaited.pop_front() {
            if burst != heard.burst {
                continue;
            }
            let Uttered { clip, voiced, to } = uttered;
            let said = clip.samples.get(voiced.clone()).unwrap_or_default();
            let last = &said[said.len().saturating_sub(MOST_SAID)..];
            let echo = FINDER.with_borrow_mut(|finder| finder.find(last, heard));
            if let Some(echo) = echo.filter(|_| self.found.len() < MOST_FOUND) {
                let ended_at = to + echo.delay;
                self.found.push((ended_at - time_of(voiced.len() as u64), ended_at));
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::rtp::g711;
    use crate::speech::{Clip, builtin};

    const PACKET: usize = 160;

    /// Far end's side of a call in which a caller says a clip at 1 s.
    #[derive(Clone)]
    struct Line {
        /// Delay in samples, and share of the amplitude, of what comes back.
        echo: Option<(usize, f64)>,
        /// Clip that the far end says over it, and the factor of its amplitude.
        beside: Option<(&'static str, f64)>,
        /// Packets that never come.
        lost: fn(usize) -> bool,
    }

    const CLEAR: Line = Line { echo: None, beside: None, lost: |_| false };

    fn begin() -> Stamp {
        Stamp::ZERO + Duration::from_secs(100)
    }

    fn clip(name: &str) -> Clip {
        builtin(name).expect("a clip")
    }

    /// Samples of a far end's side over 6 s.
    fn heard(said: &Clip, line: &Line) -> Vec<i16> {
        let mut sums = vec![0.0; 6 * 8000];
        let mut add = |from: usize, clip: &Clip, gain: f64| {
            for (sum, sample) in sums[from..].iter_mut().zip(&clip.samples) {
                *sum += f64::from(*sample) * gain;
            }
        };
        line.echo.iter().for_each(|(delay, gain)| add(8000 + delay, said, *gain));
        line.beside.iter().for_each(|(name, gain)| add(8000, &clip(name), *gain));
        let coded =
            |sum: f64| g711::ulaw_decode(g711::ulaw_encode(sum.round().clamp(-32_768.0, 32_767.0) as i16));
        sums.into_iter().map(coded).collect()
    }

    /// Echoes found, as milliseconds after the caller's begin and end.
    fn found(name: &str, line: &Line) -> Vec<(f64, f64)> {
        let said = clip(name);
        let mut own = OwnVoice::new();
        let voiced = said.voiced().expect("speech");
        let span =
            (begin() + time_of(8000 + voiced.start as u64), begin() + time_of(8000 + voiced.end as u64));
        let mut uttered = Some(Uttered { clip: Arc::new(said.clone()), voiced, to: span.1 });
        for (n, packet) in heard(&said, line).chunks_exact(PACKET).enumerate() {
            let at = begin() + time_of((n * PACKET) as u64);
            if !(line.lost)(n) {
                own.take(1, (n * PACKET) as u32, packet, at);
            }
            uttered.take_if(|uttered| uttered.to <= at).into_iter().for_each(|uttered| own.awaits(uttered));
            own.look(at);
        }
        let ms = |at: Stamp, from: Stamp| at.since(from).as_secs_f64() * 1e3;
        own.finish().into_iter().map(|(from, to)| (ms(from, span.0), ms(to, span.1))).collect()
    }

    #[test]
    fn an_echo_is_found_where_it_is_beside_whoever_speaks() {
        for said in ["hello", "order", "question", "number", "pause"] {
            for beside in [None, Some(("answer", 1.0)), Some(("order", 0.5)), Some(("number", 1.0))] {
                for (delay, gain) in [(0, 1.0), (13, 0.4), (800, -0.5), (4000, 0.4), (7000, 0.4)] {
                    let line = Line {
                        echo: Some((delay, gain)),
                        beside: beside.filter(|(name, _)| *name != said),
                        ..CLEAR
                    };
                    let found = found(said, &line);
                    let truth = delay as f64 / 8.0;
                    let is_right =
                        |(from, to): &(f64, f64)| (from - truth).abs() < 1.0 && (to - truth).abs() < 1.0;
                    assert!(
                        matches!(&found[..], [echo] if is_right(echo)),
                        "{said} {delay} {gain} {beside:?}: {found:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn well_below_twelve_decibels_and_without_an_echo_nothing_is_found() {
        for said in ["hello", "order", "question", "number", "pause", "mhm"] {
            for beside in ["answer", "greeting", "filler", "order", "number", "question", "hello"] {
                for echo in [None, Some((800, 0.15)), Some((4000, -0.12))] {
                    let line = Line { echo, beside: Some((beside, 1.0)).filter(|_| beside != said), ..CLEAR };
                    assert_eq!(found(said, &line), [], "{said} {beside} {echo:?}");
                }
            }
        }
    }

    /// It is a repetition, as of a bot that says what it has heard; or it takes longer than any echo.
    #[test]
    fn what_comes_later_is_no_echo() {
        for (said, delay) in [("mhm", 3000), ("order", 7500), ("order", 30_000)] {
            assert_eq!(found(said, &Line { echo: Some((delay, 1.0)), ..CLEAR }), [], "{said} {delay}");
        }
    }

    #[test]
    fn packets_that_never_came_hide_nothing() {
        let lossy = Line { echo: Some((1000, 0.5)), beside: Some(("answer", 1.0)), lost: |n| n % 10 == 3 };
        assert_eq!(found("order", &lossy).len(), 1);
        assert_eq!(found("order", &Line { lost: |_| true, ..lossy }), []);
    }
}
