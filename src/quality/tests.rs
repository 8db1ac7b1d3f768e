//! Passages over paths of known damage, in virtual time: what was read, what came back, and the score.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rtp::g711;
use crate::signal::{Burst, Ear, Sent, time_of};
use crate::speech::builtin;
use crate::stamp::Stamp;

const PACKET: usize = 160;
const LONGEST: Duration = Duration::from_secs(2);

fn begin() -> Stamp {
    Stamp::ZERO + Duration::from_secs(1000)
}

fn passages() -> Arc<Passages> {
    let prompts = ["hello", "order", "question", "number", "greeting", "answer"];
    let clips: Vec<_> = prompts.iter().map(|name| builtin(name).unwrap()).collect();
    Arc::new(Passages::join(&clips).unwrap())
}

/// A far end that gives the audio back in G.711.
struct Path {
    /// Samples later.
    delay: usize,
    gain: f64,
    /// Numbers of the packets that are lost.
    lost: fn(usize) -> bool,
    /// Source and first time stamp of a packet.
    clock: fn(usize) -> (u32, u32),
    /// Packets of the call.
    packets: usize,
}

const CLEAN: Path = Path { delay: 0, gain: 1.0, lost: |_| false, clock: |_| (1, 77), packets: 3 * 500 + 250 };

/// Fates of the passages that a caller reads, in order.
fn play(path: &Path) -> Vec<Fate> {
    let passages = passages();
    let (mut reader, mut ear) =
        (Reader::new(7, passages.clone()), Ear::new(LONGEST, passages.longest(), RATE_HZ));
    let mut line = vec![0; path.delay];
    let mut fates = Vec::new();
    for n in 0..path.packets {
        let at = begin() + time_of((n * PACKET) as u64);
        let mut packet = [0; PACKET];
        reader.play(at, &mut packet).into_iter().for_each(|sent| ear.awaits(sent));
        line.extend(packet);
        let back: Vec<i16> = line[n * PACKET..(n + 1) * PACKET]
            .iter()
            .map(|sample| g711::ulaw_decode(g711::ulaw_encode((f64::from(*sample) * path.gain) as i16)))
            .collect();
        if !(path.lost)(n) {
            let (source, first) = (path.clock)(n);
            ear.take(source, first.wrapping_add((n * PACKET) as u32), &back, at + Duration::from_millis(1));
        }
        fates.extend(std::iter::from_fn(|| ear.due(at)).map(|due| judge(&passages, &due).0));
    }
    fates.extend(std::iter::from_fn(|| ear.rest()).map(|rest| judge(&passages, &rest).0));
    fates
}

/// The scores of all passages but the last, which the end of the call cuts.
#[track_caller]
fn scores(path: &Path) -> Vec<(f64, f64)> {
    let mut fates = play(path);
    assert_eq!(fates.pop(), Some(Fate::CutOff));
    assert!(fates.len() >= 2, "{fates:?}");
    let scored = |fate: &Fate| match fate {
        Fate::Scored { mos_lqo, missing } => (*mos_lqo, *missing),
        other => panic!("{other:?}"),
    };
    fates.iter().map(scored).collect()
}

#[test]
fn a_clean_echo_scores_as_g711_does_at_any_delay_and_level() {
    for (delay, gain) in [(0, 1.0), (161, 1.0), (4000, 0.3), (15_000, 1.0)] {
        for (mos, missing) in scores(&Path { delay, gain, ..CLEAN }) {
            assert!(mos > 4.2 && missing == 0.0, "{mos}, {missing} after {delay} samples");
        }
    }
}

/// One packet in so many, not in step with anything.
fn one_in(n: usize, every: usize) -> bool {
    n.wrapping_mul(0x9E37_79B9).wrapping_shr(7).is_multiple_of(every)
}

#[test]
fn more_loss_scores_less_and_is_told() {
    let paths = [
        CLEAN,
        Path { lost: |n| one_in(n, 50), ..CLEAN },
        Path { lost: |n| one_in(n, 12), ..CLEAN },
        Path { lost: |n| one_in(n, 5), ..CLEAN },
    ];
    let mut worse = Vec::new();
    for (path, share) in paths.iter().zip([0.0, 0.02, 0.083, 0.2]) {
        let scores = scores(path);
        let mean = |of: fn(&(f64, f64)) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
        worse.push(mean(|score| score.0));
        let missing = mean(|score| score.1);
        assert!((missing - share).abs() < 0.01 + share / 3.0, "{missing} is missing, {share} was lost");
    }
    assert!(worse.is_sorted_by(|more, less| more > less), "{worse:?}");
    assert!(worse[0] - worse[3] > 1.5, "{worse:?}");
}

#[test]
fn a_far_end_with_a_new_clock_is_heard_on_as_it_was() {
    // Another source with another clock in the middle of each passage.
    let moved = Path { clock: |n| (n as u32 / 250, (n as u32 / 250).wrapping_mul(0x4000_1234)), ..CLEAN };
    for (mos, missing) in scores(&moved) {
        assert!(mos > 4.2 && missing == 0.0, "{mos}, {missing}");
    }
    // The same behind three seconds of silence, which cost what they are.
    let gap = |n: usize| (200..350).contains(&n);
    let scored = scores(&Path { lost: gap, ..moved });
    assert!(scored[0].0 < 3.0 && (0.25..0.35).contains(&scored[0].1), "{scored:?}");
    assert!(scored[1].0 > 4.2 && scored[1].1 == 0.0, "{scored:?}");
}

#[test]
fn silence_and_a_call_that_ends_have_no_score() {
    let silent = play(&Path { gain: 0.0, ..CLEAN });
    assert_eq!(silent[..2], [Fate::Unscored(Unscorable::NothingHeard); 2]);
    let nothing = play(&Path { lost: |_| true, ..CLEAN });
    assert_eq!(nothing[..2], [Fate::Unscored(Unscorable::NothingHeard); 2]);
    assert_eq!(play(&Path { packets: 300, ..CLEAN }), [Fate::CutOff]);
}

#[test]
fn a_passage_that_was_back_when_the_call_ended_is_scored() {
    let whole = 50 + passages().of(0).len() / PACKET + 10;
    let fates = play(&Path { packets: whole, ..CLEAN });
    assert!(matches!(fates[..], [Fate::Scored { mos_lqo, .. }, Fate::CutOff] if mos_lqo > 4.2), "{fates:?}");
}

#[test]
fn passages_are_read_one_after_another_from_the_first_second_on() {
    let passages = passages();
    let mut reader = Reader::new(3, passages.clone());
    let mut all = vec![0; 50 * 8000];
    let mut begun = Vec::new();
    // Packets of no round length: a passage begins anywhere in them.
    for (n, packet) in all.chunks_mut(77).enumerate() {
        begun.extend(reader.play(begin() + time_of(77 * n as u64), packet));
    }
    let mut place = 8000;
    for (number, sent) in (0..).zip(&begun) {
        assert_eq!((sent.burst, sent.at), (Burst { call: 3, number }, begin() + time_of(place as u64)));
        let said = passages.of(number);
        assert_eq!(sent.len, said.len());
        let read = &all[place..all.len().min(place + said.len())];
        assert_eq!(read, &said[..read.len()]);
        place += said.len();
    }
    assert!(begun.len() >= 4 && passages.of(0) != passages.of(1), "{begun:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_packet_is_too_strange(
        packets in proptest::collection::vec(
            (0u32..2, any::<u32>(), 0usize..1600, any::<u32>(), any::<bool>()), 0..60,
        ),
    ) {
        let passages = passages();
        let mut ear = Ear::new(LONGEST, passages.longest(), RATE_HZ);
        for (number, (source, timestamp, len, at, awaits)) in (0u32..).zip(packets) {
            let at = Stamp::from_ns(u64::from(at) * 7);
            if awaits {
                ear.awaits(Sent { burst: Burst { call: 0, number }, at, len: passages.of(number).len() });
            }
            ear.take(source, timestamp, &vec![timestamp as i16; len], at);
            if let Some(due) = ear.due(at) {
                judge(&passages, &due);
            }
        }
        while let Some(rest) = ear.rest() {
            prop_assert!(rest.samples.len() <= 110_000 && rest.packets.len() <= 1400);
            judge(&passages, &rest);
        }
    }
}
