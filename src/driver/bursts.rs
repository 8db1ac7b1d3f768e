//! A call whose path is judged by its audio: bursts or passages on the pacer thread, the ear on the receiver thread, and the
//! thread that compares the ones with the other.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rtp_rs::RtpReader;
use tokio::sync::mpsc::UnboundedSender;

use super::lane::LaneEvent;
use super::repertoire::{Mouth, Repertoire};
use crate::measure::{Listened, TalkCounts, Window};
use crate::rtp::Format;
use crate::rtp::coder::{self, Decoder, Encoder};
use crate::rtp::kind::Kind;
use crate::rtp::packet::StreamSender;
use crate::signal::{Ear, Excerpt, Sent};
use crate::stamp::Stamp;

/// Pieces of audio between the two threads of a call: the receiver thread takes them with each packet.
const BEGUN: usize = 16;
/// Excerpts that wait to be judged, some 10 MB of bursts at a time, or 50 MB of passages, where `lost_after` is 2 s, and three
/// times that where it is 10 s; what comes on top is not judged, and told of.
const WAITING: usize = 256;

/// Way to the thread that judges.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    excerpts: SyncSender<Excerpt>,
    events: UnboundedSender<LaneEvent>,
    plays: Repertoire,
    epoch: Stamp,
}

impl Judge {
    /// A judge of what callers play in a run that began at `epoch`, and the work of its thread, which ends when no call and no copy of the judge
    /// is left.
    pub fn new(
        events: UnboundedSender<LaneEvent>,
        plays: Repertoire,
        epoch: Stamp,
        window: Arc<Window>,
    ) -> (Judge, impl FnOnce() + Send + 'static) {
        let (excerpts, waiting) = sync_channel::<Excerpt>(WAITING);
        let mut bench = plays.bench(epoch, window);
        let ours = Judge { excerpts, events: events.clone(), plays, epoch };
        let work = move || {
            for excerpt in waiting {
                let _ = events.send(bench.judge(&excerpt));
            }
            bench.finish().for_each(|audio| drop(events.send(audio)));
        };
        (ours, work)
    }

    fn submit(&self, excerpt: Excerpt) {
        let Err(refused) = self.excerpts.try_send(excerpt) else { return };
        let (std::sync::mpsc::TrySendError::Full(excerpt)
        | std::sync::mpsc::TrySendError::Disconnected(excerpt)) = refused;
        let _ = self.events.send(self.plays.not_judged(&excerpt, self.epoch));
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
            // Before the packet: its echo finds the piece awaited.
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

    /// Hands over the pieces whose time is over.
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

/// Mouth and ear of call number `call`, which waits `longest` for each piece that it plays. None for a codec that is not
/// spoken here, see [`coder::speaks`].
pub(super) fn pair(judge: Judge, call: u32, format: &Format, longest: Duration) -> Option<(Player, Hearer)> {
    let (begins, begun) = sync_channel(BEGUN);
    let samples = vec![0; coder::samples_in(format.ptime)];
    let coder = Encoder::new(format.codec)?;
    let player = Player { mouth: judge.plays.mouth(call), coder, samples, begun: begins };
    let hearer = Hearer {
        ear: Ear::new(longest, judge.plays.longest(), format.codec.clock_hz()),
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
