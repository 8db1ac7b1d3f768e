//! Captures on their way: rings that the media threads fill and give back, and what is recorded of SIP.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::capture::{Captured, PacketRing, Recorder, Settings, Way, slots};
use crate::record::CallRecord;
use crate::rtp::Format;
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::srtp::Keys;
use crate::scenario::Scenario;
use crate::sip::{SipDatagram, Transport};
use crate::stamp::Stamp;

/// Bytes of a packet that are kept beyond its payload and plain header: contributing sources, an extension, a tag.
const BEYOND: usize = 36;

/// A ring that is full, or as full as it got.
struct Spent {
    call: u32,
    way: Way,
    local: SocketAddr,
    ring: Box<PacketRing>,
}

/// A ring in the hands of a media thread. Dropped, it goes back.
pub(super) struct Tape {
    spent: Option<Spent>,
    back: Sender<Spent>,
    /// It holds what SRTP hides.
    pub shows_plain: bool,
}

impl Tape {
    /// Records a packet: a copy into memory that is there already.
    pub fn put(&mut self, at: Stamp, peer: SocketAddr, packet: &[u8]) {
        if let Some(spent) = &mut self.spent {
            spent.ring.put(at, peer, packet);
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(spent) = self.spent.take() {
            // Nobody wants it any more.
            let _ = self.back.send(spent);
        }
    }
}

/// Tapes of one stream, out and back; none where nothing is recorded.
#[derive(Default)]
pub(super) struct StreamTapes {
    pub sent: Option<Tape>,
    pub received: Option<Tape>,
}

/// Makes the tapes of streams.
pub(super) struct Tapes {
    back: Sender<Spent>,
    /// Slots of each ring.
    slots: usize,
    snap: usize,
    shows_plain: bool,
}

impl Tapes {
    /// Tapes of a call whose media socket is at `local`.
    pub fn of_call(&self, call: u32, local: SocketAddr) -> StreamTapes {
        let tape = |way| {
            let ring = Box::new(PacketRing::new(self.slots, self.snap));
            let spent = Some(Spent { call, way, local, ring });
            Some(Tape { spent, back: self.back.clone(), shows_plain: self.shows_plain })
        };
        StreamTapes { sent: tape(Way::Sent), received: tape(Way::Received) }
    }
}

/// The recorder of a run with what comes back to it.
pub(super) struct Taping {
    recorder: Recorder,
    spent: Receiver<Spent>,
}

impl Taping {
    /// For a run whose SIP socket is at `local`; the second part is for the media, where they are recorded.
    pub fn start(
        scenario: &Scenario,
        run_id: u32,
        epoch: Stamp,
        local: SocketAddr,
    ) -> (Taping, Option<Tapes>) {
        let (back, spent) = channel();
        let capture = &scenario.capture;
        let files = if capture.is_on() { capture.files as usize } else { 0 };
        let ptime = scenario.media.ptime.0;
        let format = Format::of(scenario.media.codec, ptime);
        let snap = (HEADER_LEN + format.payload_len() + BEYOND).next_multiple_of(16);
        // Those of calls that are kept share the memory with those of calls that are up.
        let streams = 2 * (scenario.calls() as usize + files);
        let slots = slots(capture.seconds.0, ptime, snap, streams, (capture.most_mib as usize) << 20);
        let slots = slots.filter(|_| files > 0);
        // From the first packet of a full ring to its last.
        let held = |slots: usize| ptime.saturating_mul(u32::try_from(slots.max(2) - 1).unwrap_or(u32::MAX));
        let media = slots.map_or(Duration::ZERO, held);
        let tapes = slots.map(|slots| Tapes { back, slots, snap, shows_plain: capture.plaintext });
        let named = capture.calls.clone();
        let (plaintext, is_srtp) = (capture.plaintext, scenario.media.srtp);
        let is_tls = scenario.asterisk.transport == Transport::Tls;
        let settings = Settings { run_id, epoch, local, named, files, media, plaintext, is_srtp, is_tls };
        (Taping { recorder: Recorder::new(settings), spent }, tapes)
    }

    /// Begins to record a call, whose own keys of SRTP are not to be shown.
    pub fn open(&mut self, call: u32, keys: Option<&Keys>) {
        self.recorder.open(call, keys.map(Keys::inline).unwrap_or_default());
    }

    /// Takes a message that is about to be sent.
    pub fn sent(&mut self, at: Stamp, datagram: &SipDatagram) {
        self.recorder.message(at, Way::Sent, datagram.destination, &datagram.bytes);
    }

    /// Takes a message that has come, whether it can be read or not.
    pub fn heard(&mut self, at: Stamp, from: SocketAddr, bytes: &[u8]) {
        self.recorder.message(at, Way::Received, from, bytes);
    }

    /// Takes the end of a call.
    pub fn close(&mut self, record: &CallRecord) {
        self.collect();
        self.recorder.close(record);
    }

    fn collect(&mut self) {
        for Spent { call, way, local, ring } in self.spent.try_iter() {
            self.recorder.ring(call, way, local, ring);
        }
    }

    /// What is kept of the run, once the media threads have ended.
    pub fn finish(mut self) -> Captured {
        self.collect();
        self.recorder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Ending;

    #[test]
    fn rings_come_back_when_their_stream_ends_and_memory_is_bounded_by_the_scenario() {
        let local: SocketAddr = "127.0.0.1:5060".parse().unwrap();
        let mut scenario = Scenario::default();
        let (mut taping, tapes) = Taping::start(&scenario, 1, Stamp::ZERO, local);
        let mut of_call = tapes.unwrap().of_call(3, local);
        taping.open(3, None);
        for n in 0..1000 {
            of_call.sent.as_mut().unwrap().put(Stamp::from_ns(n), local, &[0; 172]);
        }
        taping.close(&CallRecord { call: 3, ending: Ending::MediaLost, ..CallRecord::default() });
        // The thread lets go of it after the call is closed.
        drop(of_call);
        let captured = taping.finish();
        assert_eq!(captured.files.len(), 1);
        let packets = captured.files[0].1.windows(4).filter(|word| *word == [0x45, 0, 0, 200]).count();
        assert_eq!(packets, 501, "ten seconds of them");
        assert_eq!(captured.media, Duration::from_secs(10));

        scenario.capture.most_mib = 2;
        scenario.load.calls = 10_000;
        let (taping, tapes) = Taping::start(&scenario, 1, Stamp::ZERO, local);
        assert!(tapes.is_none() && taping.finish().media.is_zero(), "no room");
        scenario.load.calls = 100;
        let (taping, tapes) = Taping::start(&scenario, 1, Stamp::ZERO, local);
        let tapes = tapes.unwrap();
        assert!(tapes.slots * tapes.snap * 2 * 150 <= 2 << 20 && tapes.slots > 10, "{}", tapes.slots);
        assert_eq!(taping.finish().media, Duration::from_millis(20) * (tapes.slots as u32 - 1));
        scenario.capture.seconds = "0s".parse().unwrap();
        assert!(Taping::start(&scenario, 1, Stamp::ZERO, local).1.is_none(), "switched off");
    }
}
