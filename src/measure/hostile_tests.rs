//! A far end that lies in virtual time: every figure is that of the packets that truly came back, and each
//! lie is counted as what it is.

use std::time::Duration;

use super::{
    Class, ReceiveTally, Rules, SourceLatch, StreamReceiver, StreamReport, StreamSent, Verdict, Window,
};
use crate::record::CallRecord;
use crate::rtp::packet::{HEADER_LEN, StreamSender};
use crate::rtp::probe::{Probe, Reflection, RunKey};
use crate::rtp::reflector::StreamReflector;
use crate::rtp::{Codec, Format, MediaSource};
use crate::stamp::Stamp;

const MS: Duration = Duration::from_millis(1);
const PTIME: Duration = Duration::from_millis(20);
const KEY: RunKey = RunKey::new(9, [9; 16]);
const FORMAT: Format = Format::of(Codec::Pcmu, PTIME);
const SENT: u32 = 200;
/// Round trip of an honest packet: 30 ms up, 10 ms down.
const RTT: Duration = Duration::from_millis(40);

/// A packet back: when, and its bytes.
type Back = (Stamp, Vec<u8>);

fn rules() -> Rules {
    Rules {
        key: KEY,
        epoch: Stamp::ZERO + 1000 * MS,
        ptime: PTIME,
        late_after: 60 * MS,
        lost_after: 2000 * MS,
        shared_clock: true,
    }
}

/// Sends [`SENT`] packets, of which all count, through a reflector and then through `far`, which is given the
/// number, the sending and the honest answer of each.
fn play(mut far: impl FnMut(u32, Stamp, Back) -> Vec<Back>) -> (StreamReport, CallRecord, u64) {
    let rules = rules();
    let window = Window::default();
    window.set(rules.epoch, rules.epoch + PTIME * SENT);
    let mut sender = StreamSender::new(KEY, 0, 9, FORMAT);
    let mut reflector = StreamReflector::new(4);
    let mut back = Vec::new();
    for n in 0..SENT {
        let at = rules.epoch + PTIME * n;
        let packet = sender.packet(at, at).to_vec();
        let mut answer = packet.clone();
        let out_at = at + 30 * MS;
        reflector.reflect(&packet, out_at, || out_at, &mut answer).expect("a probe");
        back.extend(far(n, at, (at + RTT, answer)));
    }
    back.sort_by_key(|(at, _)| *at);
    let (mut stream, mut tally) =
        (StreamReceiver::new(rules, 0, Class::Call, FORMAT, rules.epoch), ReceiveTally::new(rules));
    for (at, bytes) in back {
        stream.receive(&bytes, at, at, &window, &mut tally);
    }
    let report = stream.finish(&mut tally);
    let mut record = CallRecord::default();
    let sent = StreamSent { total: SENT.into(), measured: SENT.into() };
    report.enter(&sent, &mut record);
    let (mut duplicates, mut received) = (0, 0);
    let negative = tally.finish(|second| {
        duplicates += second.record.duplicates;
        received += second.record.received;
    });
    assert_eq!((duplicates, received), (record.duplicates, record.received), "rows and calls agree");
    (report, record, negative)
}

/// The probe of a packet under another key, changed by `change`: as good as a far end can make it.
fn forged(bytes: &[u8], change: impl FnOnce(&mut Probe)) -> Vec<u8> {
    let mut probe = Probe::read(&bytes[HEADER_LEN..]).expect("a probe");
    change(&mut probe);
    let mut bytes = bytes.to_vec();
    probe.write(&mut bytes[HEADER_LEN..], &RunKey::new(KEY.run_id, [0; 16]));
    bytes
}

/// A packet whose reflection is another.
fn with_reflection(bytes: &[u8], change: impl FnOnce(&mut Reflection)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut reflection =
        Probe::read(&bytes[HEADER_LEN..]).expect("a probe").reflection.expect("it was reflected");
    change(&mut reflection);
    reflection.add_to(&mut bytes[HEADER_LEN..]);
    bytes
}

/// Counts of a record: received, lost, duplicates, forged, unbelieved, late echoes.
fn counts(record: &CallRecord) -> [u64; 6] {
    let CallRecord { received, lost, duplicates, forged, unbelieved, late_echoes, .. } = *record;
    [received, lost, duplicates, forged, unbelieved, late_echoes]
}

fn assert_rtt_is_true(record: &CallRecord) {
    let rtt_ms = RTT.as_secs_f64() * 1000.0;
    assert_eq!(record.rtt_min_ms.map(|ns| ns.as_ms()), Some(rtt_ms));
    assert!(record.rtt_max_ms.is_some_and(|ns| (ns.as_ms() - rtt_ms).abs() < rtt_ms / 500.0));
}

#[test]
fn a_round_trip_cannot_be_shortened_by_another_send_stamp() {
    let all = u64::from(SENT);
    let (_, record, negative) =
        play(|_, _, (at, bytes)| vec![(at, forged(&bytes, |probe| probe.sent_at = at - MS)), (at, bytes)]);
    assert_eq!((counts(&record), negative), ([all, 0, 0, all, 0, 0], 0));
    assert_rtt_is_true(&record);
    let (report, record, negative) =
        play(|_, _, (at, bytes)| vec![(at, forged(&bytes, |probe| probe.sent_at = at + 500 * MS))]);
    assert_eq!((counts(&record), negative), ([0, all, 0, all, 0, 0], 0), "the clock was not set");
    assert!(report.first_echo_at.is_none() && record.rtt_min_ms.is_none());
}

#[test]
fn loss_cannot_be_filled_with_invented_or_renumbered_packets() {
    let half = u64::from(SENT) / 2;
    let (_, record, _) = play(|n, _, (at, bytes)| match n % 2 {
        0 => vec![(at, bytes.clone()), (at, forged(&bytes, |probe| probe.seq += 1))],
        _ => Vec::new(),
    });
    assert_eq!(counts(&record), [half, half, 0, half, 0, 0]);
    assert_eq!((record.lost_up, record.lost_down), (Some(0), Some(half - 1)));
    let (_, record, _) = play(|_, _, (at, bytes)| {
        vec![(at, forged(&bytes, |probe| probe.seq = probe.seq.wrapping_sub(1000))), (at, bytes)]
    });
    assert_eq!(counts(&record)[0], u64::from(SENT));
    assert_eq!(record.total_clipped, 0, "no number beyond those sent is believed");
}

#[test]
fn a_packet_that_is_played_again_is_a_duplicate_however_often_and_late() {
    let all = u64::from(SENT);
    let (_, record, _) = play(|_, _, (at, bytes)| {
        [0, 1, 700, 1900, 5000].into_iter().map(|ms| (at + ms * MS, bytes.clone())).collect()
    });
    assert_eq!(counts(&record), [all, 0, 4 * all, 0, 0, 0]);
    assert_rtt_is_true(&record);
}

#[test]
fn what_comes_after_its_time_is_lost_and_not_silence() {
    let all = u64::from(SENT);
    let (report, record, _) = play(|n, _, (at, bytes)| match n % 2 {
        0 => vec![(at + 3000 * MS, bytes)],
        _ => Vec::new(),
    });
    assert_eq!(counts(&record), [0, all, 0, 0, 0, all / 2]);
    assert!(report.first_echo_at.is_none() && report.last_echo_at.is_none());
    let (_, record, _) = play(|_, _, (at, bytes)| vec![(at, bytes.clone()), (at + 3000 * MS, bytes)]);
    assert_eq!(counts(&record), [all, 0, all, 0, 0, 0]);
}

#[test]
fn a_far_end_that_is_heard_late_is_not_dead() {
    let rules = rules();
    let (mut stream, mut tally) =
        (StreamReceiver::new(rules, 0, Class::Call, FORMAT, rules.epoch), ReceiveTally::new(rules));
    let mut sender = StreamSender::new(KEY, 0, 9, FORMAT);
    let first = sender.packet(rules.epoch, rules.epoch).to_vec();
    let second = sender.packet(rules.epoch + PTIME, rules.epoch + PTIME).to_vec();
    for (packet, after) in [(first, 40), (second, 4000)] {
        let at = rules.epoch + after * MS;
        stream.receive(&packet, at, at, &Window::default(), &mut tally);
    }
    let is_dead = |ms| stream.is_dead(rules.epoch + ms * MS, 5000 * MS, rules.epoch);
    assert_eq!((is_dead(5100), is_dead(8999), is_dead(9000)), (false, false, true));
}

#[test]
fn what_the_far_end_says_of_itself_bends_nothing_but_its_own_figures() {
    let all = u64::from(SENT);
    let lies: [fn(&mut Reflection); 6] = [
        |r| r.in_at = r.in_at - 35 * MS,
        |r| r.out_at += 15 * MS,
        |r| (r.in_at, r.out_at) = (r.out_at + MS, r.in_at - MS),
        |r| r.received = u32::MAX,
        |r| r.window = 0,
        |r| r.received = 0,
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        let (report, record, negative) = play(|_, _, (at, bytes)| vec![(at, with_reflection(&bytes, lie))]);
        assert_eq!((counts(&record), negative), ([all, 0, 0, 0, all, 0], 0), "lie {n}");
        assert_rtt_is_true(&record);
        assert!(!report.stamps, "lie {n}: nothing is known of the way");
    }
    // Bits of packets below number 0.
    let (_, record, _) =
        play(|_, _, (at, bytes)| vec![(at, with_reflection(&bytes, |r| r.window = u64::MAX))]);
    assert_eq!(record.unbelieved, 63);
}

/// A packet under another source, whose clock is ahead by so many ticks.
fn under(bytes: &[u8], ssrc: u32, ticks: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let stamp = u32::from_be_bytes(bytes[4..8].try_into().expect("four bytes"));
    bytes[4..8].copy_from_slice(&stamp.wrapping_add(ticks).to_be_bytes());
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    bytes
}

#[test]
fn another_source_has_a_jitter_of_its_own() {
    // From the middle on, and late packets of the old source among the new one's first.
    let (_, record, _) = play(|n, _, (at, bytes)| match n {
        ..98 => vec![(at, under(&bytes, 1, 0))],
        98 | 99 => vec![(at + 110 * MS, under(&bytes, 1, 0))],
        _ => vec![(at, under(&bytes, 2, 807_813_896))],
    });
    assert_eq!((record.jitter_ms.map(|ns| ns.0), record.jitter_max_ms.map(|ns| ns.0)), (Some(0), Some(0)));
    assert_eq!(counts(&record), [u64::from(SENT), 0, 0, 0, 0, 0]);
    // Six milliseconds of the first one are not forgotten.
    let (_, record, _) = play(|n, _, (at, bytes)| match n {
        ..100 => vec![(at + MS * (n % 2 * 6), under(&bytes, 1, 0))],
        _ => vec![(at, under(&bytes, 2, 5))],
    });
    assert_eq!(record.jitter_ms.map(|ns| ns.0), Some(0));
    assert!(record.jitter_max_ms.is_some_and(|ns| (5.9..6.0).contains(&ns.as_ms())), "{record:?}");
}

#[test]
fn what_is_no_audio_is_counted_by_kind_and_measured_nowhere() {
    let rtp =
        |kind: u8, payload: &[u8]| [&[0x80, kind, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9][..], payload].concat();
    let extra = |n: u32| match n % 8 {
        0 => vec![0x80, 201, 0, 1, 0, 0, 0, 9],
        1 => rtp(13, &[0x40]),
        2 => rtp(101, &[5, 10, 0, 160]),
        3 => [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat(),
        4 => rtp(0, &[]),
        5 => rtp(18, &[0; 20]),
        6 => vec![22; 60],
        _ => rtp(0, &[0xFF; 160]),
    };
    let (_, record, negative) = play(|n, _, (at, bytes)| vec![(at, extra(n)), (at, bytes), (at, extra(n))]);
    let each = u64::from(SENT / 4);
    let CallRecord { rtcp, comfort_noise, telephone_events, stun, empty_rtp, .. } = record;
    assert_eq!([rtcp, comfort_noise, telephone_events, stun, empty_rtp], [each; 5]);
    assert_eq!((record.other_payload, record.other_payload_type), (each, Some(18)));
    // Every packet is back besides: it is nothing that was changed.
    assert_eq!((record.own_audio, record.corrupted), (each, 0));
    assert_eq!((record.other_datagrams, record.strangers), (each, 0));
    assert_eq!((counts(&record), negative), ([u64::from(SENT), 0, 0, 0, 0, 0], 0));
    assert_rtt_is_true(&record);
}

/// Packets of call 7 beside its own: of the run they are crossed audio, forged they are not, and one that was under way when
/// the port was taken over is left over.
#[test]
fn another_calls_packets_are_crossed_audio_and_cannot_be_forged() {
    let of_call_7 = |key, at| StreamSender::new(key, 7, 9, FORMAT).packet(at, at).to_vec();
    let all = u64::from(SENT);
    let (_, record, _) = play(|_, at, (back_at, bytes)| {
        vec![
            (back_at, bytes),
            (back_at + MS, of_call_7(KEY, at + RTT)),
            (back_at, of_call_7(KEY, Stamp::ZERO)),
        ]
    });
    assert_eq!((record.crossed, record.crossed_call, record.strangers), (all, Some(7), 2 * all));
    assert_eq!(counts(&record), [all, 0, 0, 0, 0, 0]);
    let other = RunKey::new(KEY.run_id, [0; 16]);
    let (_, record, _) = play(|_, at, (_, bytes)| {
        let late = at + 2 * RTT;
        vec![
            (at + RTT, bytes),
            (late, of_call_7(other, late)),
            (late, of_call_7(RunKey::new(8, [9; 16]), late)),
        ]
    });
    assert_eq!((record.crossed, record.crossed_call, record.forged, record.strangers), (0, None, all, all));
}

#[test]
fn only_a_signed_packet_of_the_call_opens_the_way_for_its_source() {
    let rules = rules();
    let stream = StreamReceiver::new(rules, 0, Class::Call, FORMAT, rules.epoch);
    let at = |port: u16| ([192, 0, 2, 7], port).into();
    let packet =
        |key, call| StreamSender::new(key, call, 9, FORMAT).packet(rules.epoch, rules.epoch).to_vec();
    let own = packet(KEY, 0);
    let mut damaged = own.clone();
    damaged[HEADER_LEN + 100] ^= 1;
    let mut renumbered = own.clone();
    renumbered[HEADER_LEN + 15] ^= 1;
    let others = [
        forged(&own, |probe| probe.seq += 1),
        packet(RunKey::new(KEY.run_id + 1, [9; 16]), 0),
        packet(KEY, 1),
        damaged,
        renumbered,
        own[..HEADER_LEN + 71].to_vec(),
        Vec::new(),
    ];
    let mut latch = SourceLatch::new(MediaSource::Any, at(9), at(1));
    for other in &others {
        assert_eq!(latch.judge(at(3), rules.epoch, || stream.is_own(other)), Verdict::Stranger, "{other:?}");
        assert_eq!(latch.judge(at(1), rules.epoch, || stream.is_own(other)), Verdict::Take, "{other:?}");
    }
    assert!(!latch.has_proof());
    assert_eq!(latch.judge(at(3), rules.epoch, || stream.is_own(&own)), Verdict::TakeAndConnect);
    let mut record = CallRecord::default();
    latch.heard().enter(&mut record);
    assert_eq!((record.heard_from, record.media_address), (Some(at(3)), Some(at(1))));
    assert_eq!((record.elsewhere, record.refused), (1, 0));
}
