//! The detector against signals whose edges are known.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::rtp::g711::{alaw_decode, alaw_encode, ulaw_decode, ulaw_encode};
use crate::speech::{BUILTIN, Clip, builtin};

/// An arbitrary instant: not a whole number of anything.
const START: Stamp = Stamp::from_ns(1_700_000_000_123_456_789);

/// Uniform numbers of a linear congruential generator.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }

    /// Nearly Gaussian, of unit deviation.
    fn gauss(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

/// A built-in prompt, synthesised once: most of a test's time would be that.
fn prompt(name: &str, rate_hz: u32) -> &'static Clip {
    static NARROW: LazyLock<Vec<Clip>> =
        LazyLock::new(|| BUILTIN.iter().filter_map(|n| builtin(n)).collect());
    static WIDE: LazyLock<Vec<Clip>> =
        LazyLock::new(|| NARROW.iter().map(|clip| clip.at_rate(16_000)).collect());
    let number = BUILTIN.iter().position(|n| *n == name).expect("a prompt");
    if rate_hz == 8000 { &NARROW[number] } else { &WIDE[number] }
}

/// One side of a call as drawn: voices at known places.
struct Side {
    rate_hz: u32,
    samples: Vec<i16>,
    /// In samples.
    drawn: Vec<Range<usize>>,
}

impl Side {
    /// Clips with so many samples of silence before each, and a second at the end.
    fn of(rate_hz: u32, parts: &[(usize, &str)]) -> Side {
        let mut side = Side { rate_hz, samples: Vec::new(), drawn: Vec::new() };
        for (gap, name) in parts {
            side.samples.resize(side.samples.len() + gap, 0);
            let clip = prompt(name, rate_hz);
            let at = side.samples.len();
            let loud = |sample: &i16| sample.unsigned_abs() > 160;
            let edges = (clip.samples.iter().position(loud), clip.samples.iter().rposition(loud));
            side.drawn.push(at + edges.0.expect("a voice")..at + edges.1.expect("a voice") + 1);
            side.samples.extend(&clip.samples);
        }
        side.samples.resize(side.samples.len() + rate_hz as usize, 0);
        side
    }

    fn with_noise(mut self, db: f64, seed: u64) -> Side {
        let (mut chance, deviation) = (Chance(seed), 32_768.0 * 10f64.powf(db / 20.0));
        for sample in &mut self.samples {
            *sample = (f64::from(*sample) + chance.gauss() * deviation).round() as i16;
        }
        self
    }

    fn through(mut self, codec: impl Fn(i16) -> i16) -> Side {
        self.samples.iter_mut().for_each(|sample| *sample = codec(*sample));
        self
    }

    fn at(&self, sample: usize) -> Stamp {
        START + Duration::from_nanos(sample as u64 * 1_000_000_000 / u64::from(self.rate_hz))
    }

    /// Packets of 20 ms with the instants at which they would come without jitter.
    fn packets(&self) -> Vec<(Stamp, &[i16])> {
        let len = self.rate_hz as usize / 50;
        self.samples.chunks(len).enumerate().map(|(n, chunk)| (self.at(n * len), chunk)).collect()
    }

    fn heard(&self) -> Loudness {
        let mut loudness = Loudness::new(self.rate_hz);
        for (at, samples) in self.packets() {
            loudness.push(at, true, samples);
        }
        loudness
    }

    /// Largest error of any edge in ms; the number of segments must be right.
    fn error_ms(&self, loudness: &Loudness) -> f64 {
        let found = loudness.segments();
        assert_eq!(found.len(), self.drawn.len(), "{found:?}");
        let off = |is: Stamp, sample: usize| is.ns_since(self.at(sample)).abs() as f64 / 1e6;
        let errors = found.iter().zip(&self.drawn);
        errors.flat_map(|(is, drawn)| [off(is.from, drawn.start), off(is.to, drawn.end)]).fold(0.0, f64::max)
    }
}

/// Gaps of any number of samples, so that edges lie anywhere in a step, a window and a packet.
fn call(rate_hz: u32, seed: u64) -> Side {
    let mut chance = Chance(seed);
    let mut gap = || (f64::from(rate_hz) * (0.7 + 1.3 * chance.next())) as usize;
    let names = ["greeting", "answer", "hello", "filler", "answer", "order"];
    let parts: Vec<_> = names.iter().map(|name| (gap(), *name)).collect();
    Side::of(rate_hz, &parts)
}

#[test]
fn edges_in_digital_silence_are_exact_to_a_fraction_of_a_millisecond() {
    for rate_hz in [8000, 16_000] {
        for seed in 0..4 {
            let side = call(rate_hz, seed);
            let error = side.error_ms(&side.heard());
            assert!(error < 0.7, "{rate_hz} Hz, call {seed}: {error} ms");
        }
    }
}

#[test]
fn companding_moves_no_edge() {
    for seed in 0..5 {
        for side in [
            call(8000, seed).through(|sample| ulaw_decode(ulaw_encode(sample))),
            call(8000, seed).through(|sample| alaw_decode(alaw_encode(sample))),
        ] {
            let error = side.error_ms(&side.heard());
            assert!(error < 0.7, "call {seed}: {error} ms");
        }
    }
}

#[test]
fn comfort_noise_costs_two_milliseconds_and_is_no_speech() {
    for seed in 0..8 {
        let side = call(8000, seed).with_noise(-50.0, seed).through(|s| ulaw_decode(ulaw_encode(s)));
        let loudness = side.heard();
        let error = side.error_ms(&loudness);
        assert!(error < 2.5, "call {seed}: {error} ms");
        let floor = loudness.floor_db();
        assert!((-52.5..-50.0).contains(&floor), "{floor}");
    }
}

/// Packets only while it speaks, none of them where the last ended; nothing before the first and behind the last.
#[test]
fn a_service_that_sends_nothing_between_has_silence_for_its_floor() {
    for seed in 0..8 {
        let side = call(8000, seed);
        for marks_ends in [true, false] {
            let mut loudness = Loudness::new(8000);
            if marks_ends {
                loudness.push(START, false, &[]);
            }
            for drawn in &side.drawn {
                let packets = drawn.len().div_ceil(160);
                let sent = drawn.start..drawn.start + packets * 160;
                for (n, packet) in side.samples[sent].chunks(160).enumerate() {
                    loudness.push(side.at(drawn.start + n * 160), n > 0, packet);
                }
            }
            if marks_ends {
                loudness.push(side.at(side.samples.len()), false, &[]);
            }
            let error = side.error_ms(&loudness);
            assert!(error < 0.7, "call {seed}: {error} ms");
            assert_eq!(loudness.floor_db(), -66.0);
        }
    }
}

/// METRICS: the stamp of the packet that holds the voiced sample, plus the offset in it.
#[test]
fn jitter_moves_an_edge_by_that_of_its_own_packet() {
    for seed in 0..8 {
        let side = call(8000, seed);
        let mut chance = Chance(seed);
        let late: Vec<_> =
            side.packets().iter().map(|_| Duration::from_micros((chance.next() * 40_000.0) as u64)).collect();
        let mut loudness = Loudness::new(8000);
        for ((at, samples), late) in side.packets().into_iter().zip(&late) {
            loudness.push(at + *late, true, samples);
        }
        let found = loudness.segments();
        assert_eq!(found.len(), side.drawn.len());
        for (is, drawn) in found.iter().zip(&side.drawn) {
            let due = |sample: usize| side.at(sample) + late[sample / 160];
            let last = due(drawn.end - 1) + Duration::from_micros(125);
            let errors = [is.from.ns_since(due(drawn.start)), is.to.ns_since(last)];
            assert!(errors.iter().all(|ns| ns.abs() < 700_000), "call {seed}: {errors:?}");
        }
    }
}

/// The caller's stamps tell loss, so that a packet behind a lost one is not contiguous.
#[test]
fn lost_packets_do_not_tear_a_segment() {
    for seed in 0..8 {
        let side = call(8000, seed);
        let mut chance = Chance(seed);
        let (mut loudness, mut was_lost) = (Loudness::new(8000), false);
        for (n, (at, samples)) in side.packets().into_iter().enumerate() {
            let edges = side.drawn.iter().flat_map(|drawn| [drawn.start / 160, (drawn.end - 1) / 160]);
            let is_lost = chance.next() < 0.05 && !edges.into_iter().any(|edge| edge.abs_diff(n) <= 1);
            if !is_lost {
                let jitter = Duration::from_micros((chance.next() * 900.0) as u64);
                loudness.push(at + jitter, !was_lost, samples);
            }
            was_lost = is_lost;
        }
        let error = side.error_ms(&loudness);
        assert!(error < 1.7, "call {seed}: {error} ms");
    }
}

#[test]
fn reordered_and_doubled_packets_are_cut() {
    let side = call(8000, 3);
    let mut loudness = Loudness::new(8000);
    let packets = side.packets();
    for (n, (at, samples)) in packets.iter().enumerate() {
        loudness.push(*at, n % 7 != 6, samples);
        if n % 7 == 5 {
            loudness.push(*at + Duration::from_millis(2), false, packets[n - 3].1);
        }
    }
    let error = side.error_ms(&loudness);
    assert!(error < 2.7, "{error} ms");
}

/// A stop in the stream whose time stamps do not run on is heard as silence, one of jitter is not.
#[test]
fn a_pause_that_time_stamps_hide_is_a_pause() {
    let clip = prompt("filler", 8000);
    let after_pause_of = |ms: u64| {
        let mut loudness = Loudness::new(8000);
        let again = START + Duration::from_millis(300 + ms);
        for from in [START, again] {
            for (n, packet) in (0..).zip(clip.samples.chunks(160)) {
                loudness.push(from + Duration::from_millis(n * 20), true, packet);
            }
        }
        loudness.segments()
    };
    assert_eq!(after_pause_of(60).len(), 1);
    let found = after_pause_of(700);
    assert_eq!(found.len(), 2);
    assert!(found[1].from.since(START + Duration::from_secs(1)) < Duration::from_micros(700));
}

/// A stalled connection that delivers all at once.
#[test]
fn segments_of_a_burst_are_in_order() {
    let side = call(8000, 1);
    let mut loudness = Loudness::new(8000);
    for (_, samples) in side.packets() {
        loudness.push(START, true, samples);
    }
    let found = loudness.segments();
    assert_eq!(found.len(), side.drawn.len());
    assert!(is_in_order(&found));
}

#[test]
fn a_service_that_never_stops_speaks_without_end() {
    let music: Vec<i16> = (0..80_000).map(|n| if n / 10 % 2 == 0 { 4000 } else { -4000 }).collect();
    let side = Side { rate_hz: 8000, drawn: Vec::from([const { 0..80_000 }]), samples: music };
    let loudness = side.heard();
    assert!(side.error_ms(&loudness) < 0.2);
    assert!(loudness.live(side.at(80_000)).speaking);
}

#[test]
fn noise_alone_is_no_speech_even_if_it_came_late() {
    for db in [-70.0, -60.0, -50.0, -47.0] {
        let side = Side { rate_hz: 8000, drawn: vec![], samples: vec![0; 80_000] }.with_noise(db, 5);
        let mut loudness = Loudness::new(8000);
        // Nothing for a third of the call.
        loudness.push(START - Duration::from_secs(5), false, &[]);
        for (at, samples) in side.packets() {
            loudness.push(at, true, samples);
        }
        assert_eq!(loudness.segments(), [], "{db} dBFS");
        assert_eq!(loudness.live(side.at(80_000)), Live::default(), "{db} dBFS");
    }
}

#[test]
fn the_live_view_agrees_with_the_final_one() {
    for seed in 0..5 {
        let side = call(8000, seed).with_noise(-55.0, seed);
        let mut loudness = Loudness::new(8000);
        let mut wrong_ms = 0;
        for (at, samples) in side.packets() {
            loudness.push(at, true, samples);
            let now = at + Duration::from_millis(20);
            let live = loudness.live(now);
            let is_due = side.drawn.iter().any(|drawn| {
                let (from, to) = (side.at(drawn.start), side.at(drawn.end));
                now > from + Duration::from_millis(80) && now < to + Duration::from_millis(180)
            });
            let may_be = side.drawn.iter().any(|drawn| {
                let (from, to) = (side.at(drawn.start), side.at(drawn.end));
                now >= from && now < to + Duration::from_millis(220)
            });
            wrong_ms += u32::from((is_due && !live.speaking) || (live.speaking && !may_be)) * 20;
        }
        assert_eq!(wrong_ms, 0, "call {seed}");
        let (live, segments) = (loudness.live(side.at(side.samples.len())), loudness.segments());
        let last = segments.last().expect("it spoke");
        assert_eq!(live.segments as usize, segments.len());
        assert!(!live.speaking);
        let off = |a: Option<Stamp>, b: Stamp| a.expect("it spoke").ns_since(b).abs();
        assert!(off(live.began_at, last.from) < 2_000_000 && off(live.voiced_until, last.to) < 4_000_000);
    }
}

/// Nothing comes any more: only the clock says that it is silent.
#[test]
fn silence_without_packets_ends_speech_in_the_live_view() {
    let clip = prompt("greeting", 8000);
    let mut loudness = Loudness::new(8000);
    assert_eq!(loudness.live(START), Live::default());
    for (n, packet) in (0..).zip(clip.samples.chunks(160)) {
        loudness.push(START + Duration::from_millis(n * 20), true, packet);
    }
    let end = START + Duration::from_millis(1500);
    let live = loudness.live(end + Duration::from_millis(150));
    assert!(live.speaking && live.segments == 1);
    assert!(live.began_at.expect("an onset").since(START) < Duration::from_millis(1));
    assert!(!loudness.live(end + Duration::from_millis(200)).speaking);
}

fn is_in_order(segments: &[Segment]) -> bool {
    segments.iter().all(|segment| segment.from <= segment.to)
        && segments.windows(2).all(|pair| pair[0].to <= pair[1].from)
}

/// Stamps from the ends of time, as a broken clock has them.
#[test]
fn the_ends_of_time_are_stamps_like_others() {
    let ends = [Stamp::ZERO, Stamp::from_ns(u64::MAX), START, Stamp::from_ns(1)];
    for first in ends {
        for then in ends {
            for contiguous in [false, true] {
                let mut loudness = Loudness::new(16_000);
                for (n, at) in [first, first, then, first, then].into_iter().enumerate() {
                    loudness.push(at, contiguous, &vec![20_000; n * 777]);
                    loudness.live(at);
                }
                assert!(is_in_order(&loudness.segments()));
            }
        }
    }
}

#[test]
fn an_hour_is_all_it_takes() {
    let mut loudness = Loudness::new(8000);
    loudness.push(START, false, &[1000; 160]);
    loudness.push(START + Duration::from_secs(3590), false, &[1000; 160]);
    assert!(!loudness.is_full());
    loudness.push(START + Duration::from_secs(1_000_000), false, &[1000; 160]);
    assert!(loudness.is_full());
    loudness.push(START + Duration::from_secs(1_000_001), false, &[1000; 160]);
    assert_eq!(loudness.levels.len(), MAX_STEPS);
    assert_eq!(loudness.segments(), []);
}

#[test]
fn a_clips_voice_and_pauses_are_exact() {
    for rate_hz in [8000, 16_000] {
        let side = Side::of(rate_hz, &[(4321, "hello"), (3200 * rate_hz as usize / 8000, "mhm")]);
        let clip = Clip { rate_hz, samples: side.samples.clone() };
        let near = |is: usize, drawn: usize| is.abs_diff(drawn) <= rate_hz as usize / 2000;
        let voiced = clip.voiced().expect("a voice");
        assert!(near(voiced.start, side.drawn[0].start) && near(voiced.end, side.drawn[1].end), "{voiced:?}");
        let pauses = clip.pauses();
        assert_eq!(pauses.len(), 1);
        assert!(near(pauses[0].start, side.drawn[0].end) && near(pauses[0].end, side.drawn[1].start));
    }
    for samples in [vec![], vec![0; 8000], vec![i16::MIN; 7], vec![i16::MIN; 400]] {
        assert_eq!(Clip { rate_hz: 8000, samples }.voiced(), None);
    }
    let whole = Clip { rate_hz: 8000, samples: vec![i16::MIN; 487] };
    assert_eq!(whole.voiced(), Some(0..487));
}

proptest! {
    /// Anything may come from a socket, and stamps from a clock that is set.
    #[test]
    fn nothing_makes_it_panic_or_disorders_segments(
        rate_hz in prop_oneof![Just(0u32), Just(8000), Just(16_000), Just(44_100), any::<u32>()],
        packets in prop::collection::vec(
            (
                prop_oneof![8 => 0i64..400_000_000, 1 => -5_000_000_000i64..30_000_000_000],
                any::<bool>(), 0usize..700, any::<i16>(),
            ),
            0..60,
        ),
    ) {
        let (mut loudness, mut at) = (Loudness::new(rate_hz), START);
        for (step_ns, contiguous, len, sample) in packets {
            at = Stamp::from_ns(at.as_ns().saturating_add_signed(step_ns));
            loudness.push(at, contiguous, &vec![sample; len]);
            let live = loudness.live(at);
            prop_assert!(live.began_at <= live.voiced_until);
        }
        let found = loudness.segments();
        prop_assert!(is_in_order(&found));
        prop_assert!((-66.0..=-45.0).contains(&loudness.floor_db()));
        prop_assert!(loudness.levels.len() <= MAX_STEPS);
    }

    /// The same audio in packets of any length gives the same segments.
    #[test]
    fn lengths_of_packets_do_not_matter(lens in prop::collection::vec(1usize..500, 1..20), seed in 0u64..8) {
        let side = call(8000, seed);
        let mut loudness = Loudness::new(8000);
        let (mut from, mut lens) = (0, lens.into_iter().cycle());
        while from < side.samples.len() {
            let to = (from + lens.next().unwrap_or(160)).min(side.samples.len());
            loudness.push(side.at(from), true, &side.samples[from..to]);
            from = to;
        }
        let error = side.error_ms(&loudness);
        prop_assert!(error < 0.7, "{} ms", error);
    }
}
