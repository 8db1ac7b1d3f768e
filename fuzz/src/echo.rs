//! A hostile echo: real packets of a call go out, and what comes back, when, and how often is the far end's choice.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use loadtest::measure::{Class, MediaSecond, ReceiveTally, Rules, StreamReceiver, StreamReport, Window};
use loadtest::record::{Intervals, Series};
use loadtest::rtp::packet::{HEADER_LEN, StreamSender};
use loadtest::rtp::probe::{Reflection, RunKey};
use loadtest::rtp::{Codec, Format};
use loadtest::stamp::Stamp;

use super::far::steps;

const KEY: RunKey = RunKey::new(1, [7; 16]);
/// The secret of another run of the same name.
const OTHER: RunKey = RunKey::new(1, [8; 16]);
const CALL: u32 = 3;
const EPOCH: Stamp = Stamp::from_ns(1_795_370_298_000_000_000);
const PTIME: Duration = Duration::from_millis(20);
/// Packets that one execution sends: fewer than a duplicate is recognised among.
const MOST_SENT: usize = 900;
/// First byte of a probe after its magic, the driver's mark included: what a far end cannot change unseen.
const SIGNED: std::ops::Range<usize> = 4..40;

#[derive(Debug)]
enum Step {
    /// The driver sends so many packets, one each packet time.
    Send(u8),
    /// Time passes: milliseconds, tens of them.
    Wait(u8),
    /// A packet comes back, counted back from the last: as it is, or with stamps and counts in it.
    Return { which: u16, reflection: Option<Said>, header: [u8; 8] },
    /// Likewise, with a changed byte, and the checksum made right again or not.
    Change { which: u16, at: u8, by: u8, sealed: bool },
    /// A probe that the driver never sent, under a secret that is not the run's.
    Invent { seq: u32, back_ms: u16 },
    /// Anything else.
    Noise(Vec<u8>),
}

/// A reflection, by its distance from what would be true.
#[derive(Debug, Clone, Copy)]
struct Said {
    in_after_us: i32,
    out_after_us: i32,
    received: i8,
    window: u64,
}

impl Step {
    fn any(bytes: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match bytes.int_in_range(0..=8)? {
            0 | 1 => Step::Send(bytes.arbitrary()?),
            2 => Step::Wait(bytes.arbitrary()?),
            3 | 4 => Step::Return { which: bytes.arbitrary()?, reflection: None, header: bytes.arbitrary()? },
            5 => {
                let (in_after_us, out_after_us, received, window) = bytes.arbitrary()?;
                let said = Said { in_after_us, out_after_us, received, window };
                Step::Return { which: bytes.arbitrary()?, reflection: Some(said), header: bytes.arbitrary()? }
            }
            6 => {
                let (which, at, by, sealed) = bytes.arbitrary()?;
                Step::Change { which, at, by, sealed }
            }
            7 => Step::Invent { seq: bytes.arbitrary()?, back_ms: bytes.arbitrary()? },
            _ => {
                let len = bytes.int_in_range(0..=255)?;
                Step::Noise(bytes.bytes(len.min(bytes.len()))?.to_vec())
            }
        })
    }
}

/// The truth about a call, kept beside its bookkeeping.
#[derive(Debug, Default)]
struct Truth {
    in_time: BTreeSet<u32>,
    late: BTreeSet<u32>,
    again: u64,
    forged: u64,
    /// Round trips of packets that were back in time, in nanoseconds.
    rtts: Vec<u64>,
}

struct World {
    now: Stamp,
    sender: StreamSender,
    /// Packets as they were sent, and when.
    sent: Vec<(Vec<u8>, Stamp)>,
    rules: Rules,
    window: Window,
    stream: StreamReceiver,
    tally: ReceiveTally,
    intervals: Intervals,
    truth: Truth,
}

/// Whatever comes back, the counts are the truth: each packet that was sent is back in time, late or lost, what
/// was not sent is measured nowhere, and every round trip is the one that was.
pub fn echo(input: &[u8]) {
    let mut world = World::new();
    for step in steps(Unstructured::new(input), 96, Step::any) {
        world.play(step);
    }
    world.assert_true();
}

impl World {
    fn new() -> Self {
        let second = Duration::from_secs(1);
        let rules = Rules {
            key: KEY,
            epoch: EPOCH,
            ptime: PTIME,
            late_after: second / 16,
            lost_after: 2 * second,
            shared_clock: true,
        };
        let window = Window::default();
        window.set(EPOCH, EPOCH + 3600 * second);
        World {
            now: EPOCH,
            sender: StreamSender::new(KEY, CALL, 9, Format::of(Codec::Pcmu, PTIME)),
            sent: Vec::new(),
            rules,
            window,
            stream: StreamReceiver::new(rules, CALL, Class::Call, Format::of(Codec::Pcmu, PTIME), EPOCH),
            tally: ReceiveTally::new(rules),
            intervals: Intervals::default(),
            truth: Truth::default(),
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Send(packets) => {
                for _ in 0..packets % 32 {
                    if self.sent.len() < MOST_SENT {
                        let bytes = self.sender.packet(self.now, self.now).to_vec();
                        self.sent.push((bytes, self.now));
                    }
                    self.pass(PTIME);
                }
            }
            Step::Wait(tens) => self.pass(Duration::from_millis(10 * u64::from(tens))),
            Step::Return { which, reflection, header } => {
                let Some((seq, mut bytes)) = self.one_sent(which) else { return };
                // Number, timestamp and source are rewritten on the way.
                bytes[2..HEADER_LEN - 2].copy_from_slice(&header);
                if let Some(said) = reflection {
                    self.reflection(seq, said).add_to(&mut bytes[HEADER_LEN..]);
                }
                self.back(seq);
                self.receive(&bytes);
            }
            Step::Change { which, at, by, sealed } => {
                let Some((_, mut bytes)) = self.one_sent(which).filter(|_| by != 0) else { return };
                let at = SIGNED.start + usize::from(at) % SIGNED.len();
                bytes[HEADER_LEN + at] ^= by;
                // Of another run it is a stranger, whatever else it says.
                self.truth.forged += u64::from(sealed && at >= 8);
                if sealed {
                    let none = Reflection { in_at: Stamp::ZERO, out_at: Stamp::ZERO, received: 0, window: 0 };
                    none.add_to(&mut bytes[HEADER_LEN..]);
                }
                self.receive(&bytes);
            }
            Step::Invent { seq, back_ms } => {
                let mut sender = StreamSender::new(OTHER, CALL, 9, Format::of(Codec::Pcmu, PTIME));
                let sent_at = Stamp::from_ns(self.now.as_ns() - 1_000_000 * u64::from(back_ms));
                let mut bytes = sender.packet(sent_at, sent_at).to_vec();
                bytes[HEADER_LEN + 12..HEADER_LEN + 16].copy_from_slice(&seq.to_be_bytes());
                let none = Reflection { in_at: Stamp::ZERO, out_at: Stamp::ZERO, received: 0, window: 0 };
                none.add_to(&mut bytes[HEADER_LEN..]);
                self.truth.forged += 1;
                self.receive(&bytes);
            }
            Step::Noise(bytes) => self.receive(&bytes),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let intervals = &mut self.intervals;
        let keep = |second: Box<MediaSecond>| intervals.add_second(second.record.second, &second.latencies);
        self.tally.close_seconds(self.now, keep);
    }

    fn one_sent(&self, which: u16) -> Option<(u32, Vec<u8>)> {
        let back = usize::from(which) % self.sent.len().max(1);
        let seq = self.sent.len().checked_sub(1 + back)?;
        Some((seq as u32, self.sent[seq].0.clone()))
    }

    fn reflection(&self, seq: u32, said: Said) -> Reflection {
        let sent_at = self.sent[seq as usize].1;
        let after = |us: i32| Stamp::from_ns(sent_at.as_ns().wrapping_add_signed(1000 * i64::from(us)));
        let received = (self.sent.len() as u32).wrapping_add_signed(said.received.into());
        Reflection {
            in_at: after(said.in_after_us),
            out_at: after(said.out_after_us),
            received,
            window: said.window,
        }
    }

    /// Notes that packet `seq` is back now.
    fn back(&mut self, seq: u32) {
        let rtt = self.now.since(self.sent[seq as usize].1);
        let Truth { in_time, late, again, rtts, .. } = &mut self.truth;
        if in_time.contains(&seq) || late.contains(&seq) {
            *again += 1;
        } else if rtt > self.rules.lost_after {
            late.insert(seq);
        } else {
            in_time.insert(seq);
            rtts.push(rtt.as_nanos() as u64);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.stream.receive(bytes, self.now, self.now, &self.window, &mut self.tally);
    }

    fn assert_true(self) {
        let World { sent, stream, mut tally, mut intervals, truth, .. } = self;
        let report: StreamReport = stream.finish(&mut tally);
        let keep = |second: Box<MediaSecond>| intervals.add_second(second.record.second, &second.latencies);
        assert_eq!(tally.finish(keep), 0, "a clock that never was set");
        let (received, late) = (truth.in_time.len() as u64, truth.late.len() as u64);
        assert!(received + late <= sent.len() as u64);
        assert_eq!((report.total_received, report.received), (received, received));
        assert_eq!((report.late_echoes, report.duplicates), (late, truth.again));
        assert_eq!(report.forged, truth.forged);
        assert!(report.total_clipped <= sent.len() as u64 && report.reordered <= received);
        let lost = report.losses.up + report.losses.down + report.losses.unknown;
        assert!(lost + received <= sent.len() as u64, "{lost} lost and {received} back of {}", sent.len());
        let totals = intervals.totals_among(|_| true);
        assert_eq!(totals.get(&Series::Rtt).map_or(0, |rtt| rtt.len()), received);
        for (series, latencies) in &totals {
            assert!(latencies.len() <= received, "{}: {}", series.name(), latencies.len());
        }
        let of = |least: bool| match least {
            true => truth.rtts.iter().min().copied(),
            false => truth.rtts.iter().max().copied(),
        };
        let near = |told: Option<u64>, truth: Option<u64>| match (told, truth) {
            // Three digits.
            (Some(told), Some(truth)) => told.abs_diff(truth) <= truth / 500 + 1000,
            (told, truth) => told == truth,
        };
        assert!(near(report.lateness.smallest_ns(), of(true)), "{:?}", report.lateness.smallest_ns());
        assert!(near(report.lateness.largest_ns(), of(false)), "{:?}", report.lateness.largest_ns());
        // Behind `late_after`, counted from the smallest.
        assert!(report.lateness.late() <= received);
    }
}
