//! Tests of what a receiver counts.

use super::*;
use crate::measure::StallWatch;
use crate::rtp::Codec;
use crate::rtp::packet::StreamSender;
use crate::rtp::probe::RunKey;

const PTIME: Duration = Duration::from_millis(20);
const KEY: RunKey = RunKey::new(1, [5; 16]);

/// Sends `sent` packets and returns those of `arrivals` in their order, 1 ms after each was due.
fn play(sent: u32, arrivals: &[usize]) -> (StreamReceiver, ReceiveTally, Stamp) {
    let rules = Rules {
        key: KEY,
        epoch: Stamp::from_ns(1_000_000_000),
        ptime: PTIME,
        late_after: 3 * PTIME,
        shared_clock: true,
        lost_after: Duration::from_secs(2),
    };
    let mut sender = StreamSender::new(KEY, 0, 9, Format::of(Codec::Pcmu, PTIME));
    let packets: Vec<_> =
        (0..sent).map(|n| sender.packet(rules.epoch + PTIME * n, rules.epoch + PTIME * n).to_vec()).collect();
    let (mut stream, mut tally) = (
        StreamReceiver::new(rules, 0, Class::Call, Format::of(Codec::Pcmu, PTIME), rules.epoch),
        ReceiveTally::new(rules),
    );
    let now = rules.epoch + PTIME * sent;
    for n in arrivals {
        stream.receive(&packets[*n], now, now, &Window::default(), &mut tally);
    }
    (stream, tally, now)
}

#[test]
fn an_overtaken_packet_at_the_beginning_is_not_clipped() {
    let (stream, mut tally, _) = play(8, &[3, 2, 4, 5, 6]);
    assert!(!stream.is_settled(8), "packet 7 is still out");
    let mut rows = Vec::new();
    tally.seconds.close_all(|second| rows.push(second.record));
    assert_eq!((rows[0].received, rows[0].clipped), (5, 2));
    assert_eq!(stream.finish(&mut tally).total_clipped, 2);
}

#[test]
fn silences_are_noted_and_only_what_was_heard_can_die() {
    let (mut stream, mut tally, now) = play(0, &[]);
    assert!(!stream.is_dead(now + Duration::from_secs(60), Duration::from_secs(5), now), "never heard");
    let mut sender = StreamSender::new(KEY, 0, 9, Format::of(Codec::Pcmu, PTIME));
    for ms in [0, 20, 40, 1040, 1060, 1540, 1560] {
        let at = now + Duration::from_millis(ms);
        let packet = sender.packet(at, at).to_vec();
        stream.receive(&packet, at, at, &Window::default(), &mut tally);
    }
    let at = |ms| now + Duration::from_millis(ms);
    let dead = |ms, awake_since| stream.is_dead(at(ms), Duration::from_secs(5), awake_since);
    assert_eq!((dead(6559, now), dead(6560, now)), (false, true));
    let mut watch = StallWatch::new(now, Duration::from_millis(200));
    assert!((0..2000).step_by(20).all(|ms| !watch.look(at(ms))));
    assert!(watch.look(at(60_000)), "it slept");
    assert!(!watch.look(at(60_200)));
    assert_eq!((dead(64_999, watch.awake_since()), dead(65_000, watch.awake_since())), (false, true));
    let report = stream.finish(&mut tally);
    assert_eq!(report.silences, [Silence { call: 0, from_s: 0.04, to_s: 1.04 }], "480 ms are none");
    assert_eq!(report.last_echo_at, Some(at(1560)));
}

#[test]
fn on_hold_no_call_is_dead_or_silent_and_nothing_is_awaited() {
    let (mut stream, mut tally, now) = play(5, &[0, 1, 2]);
    let (at, window) = (|ms| now + Duration::from_millis(ms), Window::default());
    let is_dead = |stream: &StreamReceiver, ms| stream.is_dead(at(ms), Duration::from_secs(5), now);
    stream.hold();
    stream.paused(5, now - PTIME, &window, &mut tally);
    assert!(stream.is_settled(5), "two are excused");
    assert!(!is_dead(&stream, 60_000));
    assert!(stream.resume(at(60_000)) && !stream.resume(at(61_000)));
    assert_eq!((is_dead(&stream, 64_999), is_dead(&stream, 65_000)), (false, true));
    let mut sender = StreamSender::new(KEY, 0, 9, Format::of(Codec::Pcmu, PTIME));
    let packets: Vec<_> =
        (0..6).map(|n| sender.packet(at(60_000 - 100 + 20 * n), at(60_020)).to_vec()).collect();
    stream.receive(&packets[5], at(60_030), at(60_030), &window, &mut tally);
    let mut rows = Vec::new();
    tally.seconds.close_all(|second| rows.push(second.record));
    assert_eq!(
        rows.iter().map(|row| (row.excused, row.clipped)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (2, 0)
    );
    let report = stream.finish(&mut tally);
    assert_eq!((report.total_received, report.total_excused, report.silences), (4, 2, vec![]));
}

#[test]
fn a_stream_is_settled_when_all_that_can_come_are_back() {
    let (stream, ..) = play(4, &[1, 2, 3]);
    assert!(stream.is_settled(4), "packet 0 was clipped");
    let (stream, ..) = play(4, &[0, 1, 2]);
    assert!(!stream.is_settled(4) && stream.is_settled(3));
}
