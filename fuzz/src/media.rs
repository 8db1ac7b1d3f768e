//! Datagrams on a media port, and streams of probes whose every field is a lie under a valid checksum.

use std::time::Duration;

use loadtest::measure::{Class, MediaSecond, ReceiveTally, Rules, StreamReceiver, Window};
use loadtest::record::{Intervals, Series};
use loadtest::rtp::packet::{HEADER_LEN, Incoming, read};
use loadtest::rtp::probe::{PROBE_LEN, Probe, Reflection, RunKey};
use loadtest::rtp::reflector::{Reflected, StreamReflector};
use loadtest::rtp::srtp::{Keys, MASTER_LEN, SrtpReceiver, SrtpSender, Suite};
use loadtest::rtp::{Codec, Format};
use loadtest::stamp::Stamp;

const KEY: RunKey = RunKey::new(1, [1; 16]);
const FORMAT: Format = Format::of(Codec::Pcmu, Duration::from_millis(20));
const EPOCH: Stamp = Stamp::from_ns(1_795_370_298_000_000_000);

/// One datagram, as the driver reads it and as the service sends it back; and the same with a signed probe in it,
/// whose checksums no mutation would ever get.
pub fn datagram(input: &[u8]) {
    there_and_back(input);
    // Nobody makes a packet for keys that he does not know.
    let keys = Keys::new(Suite::Sha1With80, [7; MASTER_LEN]);
    let mut plain = Vec::new();
    assert!(!SrtpReceiver::new(&keys).open(input, &mut plain) && plain.is_empty());
    protected(input, &keys);
    if input.len() >= FIELDS && input.len() >= HEADER_LEN + PROBE_LEN {
        let mut probed = input.to_vec();
        probe(input).write(&mut probed[HEADER_LEN..], &KEY);
        there_and_back(&probed);
    }
}

/// What is protected by keys is opened by them, and by nothing that has changed on the way.
fn protected(input: &[u8], keys: &Keys) {
    let packet = [&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9][..], &input[..input.len().min(1200)]].concat();
    let mut sender = SrtpSender::new(keys);
    let Some(sent) = sender.protect(&packet).map(<[u8]>::to_vec) else { return };
    let (mut receiver, mut plain) = (SrtpReceiver::new(keys), Vec::new());
    let at = input.len() % sent.len();
    let mut changed = sent.clone();
    changed[at] ^= 1;
    assert!(!receiver.open(&changed, &mut plain), "byte {at} was changed");
    assert!(receiver.open(&sent, &mut plain) && plain == packet);
}

fn there_and_back(input: &[u8]) {
    let incoming = read(input, &FORMAT, &KEY, 1);
    if let Incoming::Probe { probe, .. } = incoming {
        let mut payload = [0; PROBE_LEN];
        probe.write(&mut payload, &KEY);
        assert_eq!(Probe::read(&payload), Ok(probe), "what is written reads back");
    }
    let mut answer = [0; 1500];
    let mut reflector = StreamReflector::new(9);
    let in_at = EPOCH;
    let reflected = reflector.reflect(input, in_at, || EPOCH, &mut answer);
    if let Some((len, kind)) = reflected {
        assert!(HEADER_LEN <= len && len <= input.len(), "never longer than the question");
        let back = read(&answer[..len], &FORMAT, &KEY, 1);
        match (incoming, back) {
            (Incoming::Probe { probe, .. }, Incoming::Probe { probe: back, .. }) => {
                let reflection = back.reflection.expect("it was added");
                assert_eq!(Probe { reflection: None, ..back }, Probe { reflection: None, ..probe });
                assert_eq!((reflection.in_at, reflection.received), (in_at, 1));
                assert_eq!(kind, Reflected::Probe);
            }
            (before, back) => assert_eq!(before, back, "what it is does not change on the way"),
        }
    }
}

/// Bytes of the input that make one packet: a number, four times, what the reflector says.
const FIELDS: usize = 4 + 4 * 8 + 4 + 8;

/// One call's receiver, fed with probes that are valid in form and arbitrary in substance.
pub fn stream(input: &[u8]) {
    let second = Duration::from_secs(1);
    let rules = Rules {
        key: KEY,
        epoch: EPOCH,
        ptime: second / 50,
        late_after: second / 16,
        lost_after: 2 * second,
        shared_clock: true,
    };
    let window = Window::default();
    window.set(EPOCH + second, EPOCH + 5 * second);
    let mut stream = StreamReceiver::new(rules, 1, Class::Call, FORMAT, EPOCH);
    let mut tally = ReceiveTally::new(rules);
    let (mut packets, mut rows, mut echoes) = (0, 0, 0);
    let mut intervals = Intervals::default();
    let mut settled = |second: Box<MediaSecond>| {
        rows += 1;
        intervals.add_second(second.record.second, &second.latencies);
    };
    for fields in input.chunks_exact(FIELDS) {
        let (bytes, received_at) = packet(fields);
        let echo = stream.receive(&bytes, received_at, received_at + rules.ptime, &window, &mut tally);
        echoes += u64::from(echo.is_some());
        packets += 1;
        // As the receiver thread does, with its own clock, which does not lie.
        tally.close_seconds(EPOCH + rules.ptime * packets, &mut settled);
    }
    let _ = stream.is_settled(packets.into());
    let report = stream.finish(&mut tally);
    let negative = tally.finish(settled);
    let totals = intervals.totals_among(|_| true);
    let packets = u64::from(packets);
    assert!(report.total_received + report.duplicates <= packets && report.received <= report.total_received);
    assert!(report.reordered <= report.received && negative <= packets && echoes <= packets);
    assert!(report.lateness.late() <= report.received);
    assert!(report.jitter <= report.jitter_max);
    assert_eq!(
        report.strangers + report.damaged + report.audio,
        0,
        "every one is a whole probe of this call"
    );
    assert!(totals.values().all(|h| h.len() <= packets), "one value a packet");
    let rtts = totals.get(&Series::Rtt).map_or(0, |rtt| rtt.len());
    assert!(
        (report.received.saturating_sub(negative)..=report.received).contains(&rtts),
        "{rtts} in the log"
    );
    // Two minutes of seconds are open at the most, however far ahead a stamp lies.
    assert!(rows <= 130 + packets, "{rows} rows of {packets} packets");
    assert!(report.medians.len() as u64 <= packets);
}

/// A packet with a signed probe, and when it is received.
fn packet(fields: &[u8]) -> (Vec<u8>, Stamp) {
    let probe = probe(fields);
    let mut bytes = vec![0x80, 0, fields[2], fields[3], 0, 0, fields[1], fields[2], 0, 0, 0, fields[3] % 4];
    bytes.resize(HEADER_LEN + 160, 0xff);
    probe.write(&mut bytes[HEADER_LEN..], &KEY);
    let received_at = match fields[41] % 4 {
        0 => time(fields, 12),
        _ => probe.sent_at + Duration::from_nanos(number(fields, 40) % 3_000_000_000),
    };
    (bytes, received_at)
}

fn probe(fields: &[u8]) -> Probe {
    let half = |at: usize| u32::from_be_bytes(fields[at..at + 4].try_into().expect("four bytes"));
    let seq = if fields[0] & 1 == 1 { half(0) } else { half(0) % 400 };
    let reflection = (fields[20] & 2 == 0).then(|| Reflection {
        in_at: time(fields, 20),
        out_at: time(fields, 28),
        received: half(36),
        window: number(fields, 40),
    });
    let (intended_at, sent_at) = (time(fields, 4), time(fields, 12));
    Probe { run_id: 1, call_id: 1, seq, intended_at, sent_at, reflection }
}

fn number(fields: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(fields[at..at + 8].try_into().expect("eight bytes"))
}

/// A time whose first byte says whether it is near the run's or anywhere.
fn time(fields: &[u8], at: usize) -> Stamp {
    match number(fields, at) {
        anywhere if fields[at] & 1 == 1 => Stamp::from_ns(anywhere),
        near => EPOCH + Duration::from_nanos(near % 8_000_000_000),
    }
}
