//! Bursts through paths of known delay and damage, in virtual time.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rtp::coder::{Decoder, Encoder};
use crate::rtp::{Codec, Format, g711};
use crate::stamp::Stamp;

const PACKET: usize = 160;
const LONGEST: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_millis(700);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Seeded noise of a root mean square.
fn noise(seed: u64, rms: f64) -> impl FnMut() -> f64 {
    let mut state = seed | 1;
    move || {
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        };
        // Four uniform values are near enough to a Gaussian: their variance is a third.
        (0..4).map(|_| uniform()).sum::<f64>() * 3f64.sqrt() * rms
    }
}

/// A far end that gives the audio back after `delay` samples.
struct Path {
    delay: usize,
    gain: f64,
    noise: f64,
    /// Numbers of the packets that are lost.
    lost: fn(usize) -> bool,
    /// Time by which each packet is later than the last word says.
    late: fn(usize) -> Duration,
    packet: usize,
}

const CLEAN: Path =
    Path { delay: 0, gain: 1.0, noise: 0.0, lost: |_| false, late: |_| Duration::ZERO, packet: PACKET };

fn begin() -> Stamp {
    Stamp::ZERO + Duration::from_secs(1000)
}

/// Plays a call of so many packets through the path; the fate of each burst, in order.
fn play(call: u32, packets: usize, path: &Path) -> Vec<(Outcome, bool)> {
    let (mut mouth, mut ear, mut correlator) =
        (Mouth::new(call, EVERY), Ear::new(LONGEST, BURST_LEN, RATE_HZ), Correlator::default());
    let mut hiss = noise(7, path.noise);
    let mut line: Vec<f64> = vec![0.0; path.delay];
    let (mut fates, mut heard) = (Vec::new(), 0);
    for n in 0..packets {
        let at = begin() + time_of((n * PACKET) as u64);
        let mut packet = [0; PACKET];
        mouth.play(at, &mut packet).into_iter().for_each(|sent| ear.awaits(sent));
        line.extend(packet.iter().map(|sample| f64::from(*sample)));
        // A packet comes once its last sample has gone in, with the time that its first one went in and the delay.
        while line.len() >= (heard + 1) * path.packet {
            let first = heard * path.packet;
            let out: Vec<i16> = line[first..first + path.packet]
                .iter()
                .map(|sample| {
                    let clipped = (sample * path.gain + hiss()).round().clamp(-32_768.0, 32_767.0);
                    g711::ulaw_decode(g711::ulaw_encode(clipped as i16))
                })
                .collect();
            let at = begin() + time_of(first as u64) + (path.late)(heard);
            if !(path.lost)(heard) {
                ear.take(1, (first as u32).wrapping_sub(1000), &out, at);
            }
            heard += 1;
        }
        while let Some(due) = ear.due(at) {
            fates.push((correlator.judge(due.burst, &due), due.is_cut));
        }
    }
    while let Some(rest) = ear.rest() {
        fates.push((correlator.judge(rest.burst, &rest), rest.is_cut));
    }
    fates
}

/// Delays of all bursts but those that the end of the call cut; every one of them is found.
#[track_caller]
fn delays(call: u32, path: &Path) -> Vec<Duration> {
    let fates = play(call, 500, path);
    let whole: Vec<_> = fates.iter().filter(|(_, is_cut)| !is_cut).collect();
    assert!(whole.len() >= 8, "{fates:?}");
    let delay = |fate: &(Outcome, bool)| match fate.0 {
        Outcome::Found { delay, .. } => delay,
        other => panic!("{other:?}"),
    };
    whole.into_iter().map(delay).collect()
}

/// Greatest difference of the delays to the truth.
#[track_caller]
fn error(call: u32, path: &Path) -> Duration {
    let truth = time_of(path.delay as u64);
    delays(call, path).into_iter().map(|delay| delay.abs_diff(truth)).max().unwrap_or_default()
}

const SAMPLE: Duration = Duration::from_micros(125);

#[test]
fn a_delay_is_found_to_the_sample() {
    for (call, delay) in (0..).zip([0, 1, 159, 160, 161, 4_000, 4_999, 5_000, 12_345, 15_900]) {
        assert_eq!(error(call, &Path { delay, ..CLEAN }), Duration::ZERO, "{delay} samples");
    }
}

#[test]
fn level_clipping_noise_and_sign_move_nothing() {
    for (gain, noise) in [(0.1, 0.0), (10.0, 0.0), (1.0, 3000.0), (0.1, 300.0), (-1.0, 0.0), (-0.1, 100.0)] {
        let path = Path { delay: 777, gain, noise, ..CLEAN };
        assert!(error(5, &path) <= SAMPLE, "gain {gain}, noise {noise}");
        let inverted = play(5, 500, &path).iter().all(|(fate, is_cut)| {
            *is_cut || matches!(fate, Outcome::Found { inverted, .. } if *inverted == (gain < 0.0))
        });
        assert!(inverted, "gain {gain}");
    }
}

#[test]
fn packets_of_other_lengths_and_lost_ones_move_nothing() {
    for packet in [80, 240, 480] {
        assert_eq!(error(1, &Path { delay: 500, packet, ..CLEAN }), Duration::ZERO, "packets of {packet}");
    }
    let lossy = Path { delay: 500, lost: |n| n % 10 == 3, ..CLEAN };
    assert_eq!(error(1, &lossy), Duration::ZERO);
}

#[test]
fn the_receipt_is_that_of_the_packet_with_the_first_sample() {
    let late = Path { delay: 320, late: |n| if n % 2 == 0 { ms(7) } else { Duration::ZERO }, ..CLEAN };
    for delay in delays(2, &late) {
        assert!(delay == ms(40) || delay == ms(47), "{delay:?}");
    }
}

#[test]
fn what_does_not_come_back_in_time_is_not_found() {
    let slow = Path { delay: 17_500, ..CLEAN };
    let fates = play(3, 700, &slow);
    assert!(fates.iter().filter(|(_, is_cut)| !is_cut).count() >= 8);
    for (fate, _) in fates.into_iter().filter(|(_, is_cut)| !is_cut) {
        assert!(!matches!(fate, Outcome::Found { .. }), "{fate:?}");
    }
    for (fate, _) in play(3, 300, &Path { lost: |_| true, ..CLEAN }) {
        assert_eq!(fate, Outcome::Silence);
    }
}

/// Likeness of a burst with audio in which it is not.
fn likeness(wanted: Burst, heard: &[i16]) -> f32 {
    Correlator::default().find(wanted, heard).map_or(0.0, |found| found.correlation.abs())
}

#[test]
fn neither_noise_nor_another_burst_passes_for_one() {
    let mut hiss = noise(3, 4000.0);
    let heard: Vec<i16> = (0..20_000).map(|_| hiss() as i16).collect();
    let mut greatest: f32 = 0.0;
    for number in 0..50 {
        greatest = greatest.max(likeness(Burst { call: 9, number }, &heard));
    }
    let others: Vec<i16> = (0..6).flat_map(|call| burst(Burst { call, number: 1 })).collect();
    for number in 0..200 {
        greatest = greatest.max(likeness(Burst { call: number % 7, number: number + 2 }, &others));
    }
    assert!(greatest < 0.55, "{greatest}");
}

#[test]
fn a_burst_is_like_itself_at_no_other_delay() {
    for number in 0..40 {
        let wanted = Burst { call: 4, number };
        let mut heard = vec![0; 4000];
        heard.extend(burst(wanted));
        heard.resize(12_000, 0);
        let mut correlator = Correlator::default();
        assert_eq!(correlator.find(wanted, &heard).map(|found| found.at), Some(4000));
        // A whole period of any pitch and more away from its place.
        let near = heard.clone();
        let beside = [0..BURST_LEN + 3960, 4040..12_000]
            .map(|range| correlator.find(wanted, &near[range]).map_or(0.0, |found| found.correlation.abs()));
        assert!(beside.iter().all(|likeness| *likeness < LEAST_PEAK), "{number}: {beside:?}");
    }
}

#[test]
fn bursts_are_at_home_in_the_telephone_band_and_loud_as_speech() {
    for call in 0..20 {
        let samples = burst(Burst { call, number: call * 7 });
        let rms = (samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt();
        assert!((2500.0..6000.0).contains(&rms), "{rms}");
        let mut spectrum = vec![fft::Complex::default(); 4096];
        spectrum.iter_mut().zip(&samples).for_each(|(place, sample)| place.re = f32::from(*sample));
        fft::Fft::new(4096).forward(&mut spectrum);
        let power = |from: f32, to: f32| {
            let hz = RATE_HZ as f32 / 4096.0;
            let bins =
                spectrum[..2048].iter().enumerate().filter(|(n, _)| (from..to).contains(&(*n as f32 * hz)));
            bins.map(|(_, bin)| bin.re.powi(2) + bin.im.powi(2)).sum::<f32>()
        };
        assert!(power(300.0, 3400.0) > 0.98 * power(0.0, 4000.0));
    }
}

/// Through the coders of callers: the delay that was injected is the difference of two runs, to a sample.
#[test]
fn an_injected_delay_comes_back_through_every_coder() {
    let delays = |codec: Codec, delay: Duration| -> Vec<Duration> {
        let (mut mouth, mut correlator) = (Mouth::new(2, EVERY), Correlator::default());
        let mut ear = Ear::new(LONGEST, BURST_LEN, codec.clock_hz());
        let (mut encoder, mut decoder) = (Encoder::new(codec).unwrap(), Decoder::new(codec).unwrap());
        let (mut packet, mut heard, mut found) = ([0; PACKET], Vec::new(), Vec::new());
        let ticks = Format::of(codec, Duration::from_millis(20)).ticks();
        for n in 0..400u32 {
            let at = begin() + time_of(u64::from(n) * PACKET as u64);
            mouth.play(at, &mut packet).into_iter().for_each(|sent| ear.awaits(sent));
            let mut payload = [0; PACKET];
            encoder.write(&packet, &mut payload);
            heard.clear();
            decoder.decode_into(&payload, &mut heard);
            ear.take(1, n.wrapping_mul(ticks).wrapping_sub(9 * ticks), &heard, at + delay);
            while let Some(excerpt) = ear.due(at) {
                match correlator.judge(excerpt.burst, &excerpt) {
                    Outcome::Found { delay, .. } => found.push(delay),
                    other => panic!("{codec}: {other:?}"),
                }
            }
        }
        found
    };
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
        let (plain, delayed) = (delays(codec, Duration::ZERO), delays(codec, Duration::from_millis(80)));
        assert!(plain.len() >= 4 && plain.len() == delayed.len(), "{codec}: {plain:?} {delayed:?}");
        for (plain, delayed) in plain.iter().zip(&delayed) {
            let off = (delayed.saturating_sub(*plain)).abs_diff(Duration::from_millis(80));
            assert!(off <= time_of(1), "{codec}: {plain:?}, {delayed:?}");
        }
    }
}

#[test]
fn a_clock_that_jumps_costs_the_bursts_under_way_alone() {
    let (mut mouth, mut ear, mut correlator) =
        (Mouth::new(1, EVERY), Ear::new(LONGEST, BURST_LEN, RATE_HZ), Correlator::default());
    let (mut found, mut all) = (0, 0);
    for n in 0..1000u32 {
        let at = begin() + time_of(u64::from(n) * 160);
        let mut packet = [0; PACKET];
        mouth.play(at, &mut packet).into_iter().for_each(|sent| ear.awaits(sent));
        // Another source with another clock every five seconds.
        let (source, jump) = (n / 250, (n / 250).wrapping_mul(0x4000_1234));
        ear.take(source, jump.wrapping_add(n * 160), &packet, at + ms(30));
        while let Some(due) = ear.due(at) {
            all += 1;
            let fate = correlator.judge(due.burst, &due);
            found += usize::from(matches!(fate, Outcome::Found { delay, .. } if delay == ms(30)));
        }
    }
    assert!(all >= 20 && found >= all - 3, "{found} of {all}");
}

proptest! {
    // Each case is a call of ten seconds.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_delay_and_level_is_recovered(
        delay in 0usize..15_900, call in any::<u32>(), gain in 0.1f64..6.0, hiss in 0.0f64..400.0,
    ) {
        let path = Path { delay, gain, noise: hiss, ..CLEAN };
        prop_assert!(error(call, &path) <= SAMPLE);
    }

    #[test]
    fn no_packet_is_too_strange(
        packets in proptest::collection::vec(
            (0u32..2, any::<u32>(), 0usize..1600, any::<u32>(), any::<bool>()), 0..60,
        ),
    ) {
        let (mut ear, mut correlator) = (Ear::new(LONGEST, BURST_LEN, RATE_HZ), Correlator::default());
        for (number, (source, timestamp, len, at, awaits)) in packets.into_iter().enumerate() {
            let at = Stamp::from_ns(u64::from(at) * 7);
            if awaits {
                ear.awaits(Sent { burst: Burst { call: 0, number: number as u32 }, at, len: BURST_LEN });
            }
            ear.take(source, timestamp, &vec![timestamp as i16; len], at);
            if let Some(due) = ear.due(at) {
                correlator.judge(due.burst, &due);
            }
        }
        while let Some(rest) = ear.rest() {
            prop_assert!(rest.samples.len() <= 40_000 && rest.packets.len() <= 1000);
            correlator.judge(rest.burst, &rest);
        }
    }
}
