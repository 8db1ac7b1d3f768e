//! A call whose path is measured by its audio: bursts on the pacer thread, the ear on the receiver thread, and the thread
//! that looks for the ones in the other.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rtp_rs::RtpReader;
use tokio::sync::mpsc::UnboundedSender;

use super::lane::LaneEvent;
use crate::measure::{Listened, TalkCounts};
use crate::record::{SignalRejection, SignalRow};
use crate::rtp::Format;
use crate::rtp::coder::{self, Decoder, Encoder};
use crate::rtp::kind::Kind;
use crate::rtp::packet::StreamSender;
use crate::signal::{Correlator, Ear, Excerpt, Mouth, Outcome, Sent};
use crate::stamp::Stamp;

/// Bursts between the two threads of a call: the receiver thread takes them with each packet.
const BEGUN: usize = 16;
/// Excerpts that wait to be judged, some 10 MB at a time; what comes on top is not judged, and told of.
const WAITING: usize = 256;

/// Way to the thread that judges.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    excerpts: SyncSender<Excerpt>,
    events: UnboundedSender<LaneEvent>,
    epoch: Stamp,
}

impl Judge {
    /// A judge of a run that began at `epoch`, and the work of its thread, which ends when no call and no copy of the judge
    /// is left.
    pub fn new(events: UnboundedSender<LaneEvent>, epoch: Stamp) -> (Judge, impl FnOnce() + Send + 'static) {
        let (excerpts, waiting) = sync_channel::<Excerpt>(WAITING);
        let judge = Judge { excerpts, events: events.clone(), epoch };
        let work = move || {
            let mut correlator = Correlator::default();
            for excerpt in waiting {
                let outcome = correlator.judge(excerpt.burst, &excerpt);
                let _ = events.send(LaneEvent::Judged(row(&excerpt, outcome, epoch)));
            }
        };
        (judge, work)
    }

    fn submit(&self, excerpt: Excerpt) {
        let Err(refused) = self.excerpts.try_send(excerpt) else { return };
        let (std::sync::mpsc::TrySendError::Full(excerpt)
        | std::sync::mpsc::TrySendError::Disconnected(excerpt)) = refused;
        let rejected = Some(SignalRejection::NotJudged);
        let row = SignalRow { rejected, ..row(&excerpt, Outcome::Silence, self.epoch) };
        let _ = self.events.send(LaneEvent::Judged(row));
    }
}

fn row(excerpt: &Excerpt, outcome: Outcome, epoch: Stamp) -> SignalRow {
    let Excerpt { burst, sent_at, is_cut, .. } = excerpt;
    let row = SignalRow {
        call: burst.call,
        number: burst.number,
        sent_s: sent_at.since(epoch).as_secs_f64(),
        ..SignalRow::default()
    };
    let because = |why| Some(if *is_cut { SignalRejection::CutOff } else { why });
    match outcome {
        Outcome::Found { delay, peak, inverted } => {
            SignalRow { delay_ms: Some(delay.into()), peak: Some(peak.into()), inverted, ..row }
        }
        Outcome::Unlike(peak) => {
            SignalRow { peak: Some(peak.into()), rejected: because(SignalRejection::Unlike), ..row }
        }
        Outcome::Silence => SignalRow { rejected: because(SignalRejection::Silence), ..row },
    }
}

/// Mouth of a call, on the pacer thread.
pub(super) struct Player {
    mouth: Mouth,
    coder: Encoder,
    samples: Vec<i16>,
    begun: SyncSender<Sent>,
}

impl Player {
    /// The next packet, sent at `sent_at`.
    pub fn packet<'s>(&mut self, sender: &'s mut StreamSender, sent_at: Stamp) -> &'s [u8] {
        if let Some(sent) = self.mouth.play(sent_at, &mut self.samples) {
            // Before the packet: its echo finds the burst awaited.
            let _ = self.begun.try_send(sent);
        }
        let (coder, samples) = (&mut self.coder, &self.samples);
        sender.speech(|payload| coder.write(samples, payload))
    }
}

/// Ear of a call, on the receiver thread.
pub(super) struct Hearer {
    ear: Ear,
    format: Format,
    decoder: Decoder,
    samples: Vec<i16>,
    begun: Receiver<Sent>,
    judge: Judge,
    counts: TalkCounts,
    first_at: Option<Stamp>,
}

impl Hearer {
    /// Takes a datagram that the kernel received at `at`.
    pub fn take(&mut self, datagram: &[u8], at: Stamp) {
        self.begun.try_iter().for_each(|sent| self.ear.awaits(sent));
        let Ok(rtp) = RtpReader::new(datagram) else { return };
        if Kind::of(datagram, &self.format) != Kind::Media {
            return;
        }
        self.counts.audio += 1;
        self.first_at.get_or_insert(at);
        self.samples.clear();
        self.decoder.decode_into(rtp.payload(), &mut self.samples);
        self.ear.take(rtp.ssrc(), rtp.timestamp(), &self.samples, at);
    }

    /// Hands over the bursts whose time is over.
    pub fn look(&mut self, now: Stamp) {
        self.begun.try_iter().for_each(|sent| self.ear.awaits(sent));
        while let Some(excerpt) = self.ear.due(now) {
            self.judge.submit(excerpt);
        }
    }

    /// Hands over the rest; the counts.
    pub fn finish(mut self, at: Stamp) -> Listened {
        self.look(at);
        while let Some(excerpt) = self.ear.rest() {
            self.judge.submit(excerpt);
        }
        Listened { counts: self.counts, first_at: self.first_at, ..Listened::default() }
    }
}

/// Mouth and ear of call number `call`, which begins a burst every so often and waits `longest` for each. None for a codec
/// that is not spoken here, see [`coder::speaks`].
pub(super) fn pair(
    judge: Judge,
    call: u32,
    format: &Format,
    every: Duration,
    longest: Duration,
) -> Option<(Player, Hearer)> {
    let (begins, begun) = sync_channel(BEGUN);
    let samples = vec![0; coder::samples_in(format.ptime)];
    let coder = Encoder::new(format.codec)?;
    let player = Player { mouth: Mouth::new(call, every), coder, samples, begun: begins };
    let hearer = Hearer {
        ear: Ear::new(longest, format.codec.clock_hz()),
        format: *format,
        decoder: Decoder::new(format.codec)?,
        samples: Vec::new(),
        begun,
        judge,
        counts: TalkCounts::default(),
        first_at: None,
    };
    Some((player, hearer))
}
