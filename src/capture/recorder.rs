//! What is kept of each call until its end, and of which calls beyond it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::ladder;
use super::message::{SipMessage, call_of};
use super::pcapng::{self, Frame};
use super::plain::named_plain;
use super::{PacketRing, Way};
use crate::record::{CallRecord, Ladder, LadderMessage, MOST_LADDERS};
use crate::stamp::Stamp;

/// Messages of one call that are kept: a call with two challenges, a re-INVITE and a BYE has some twenty.
const MOST_MESSAGES: usize = 64;
/// Those of its beginning, which later ones do not push out: how it came about, and how it ended, are what one looks for.
const FIRST_MESSAGES: usize = 24;
/// Bytes of all messages that are kept at once.
const MOST_BYTES: usize = 64 << 20;
/// Bytes of a ladder: each may have six in JSON, and a run's document with all of its ladders is read up to 16 MiB.
const MOST_OF_LADDER: usize = 64 << 10;

/// Settings of a recorder.
#[derive(Debug, Clone)]
pub struct Settings {
    /// In the Call-ID of every call of the run.
    pub run_id: u32,
    /// Start of the run.
    pub epoch: Stamp,
    /// The driver's SIP address.
    pub local: SocketAddr,
    /// Calls whose capture is kept however they end.
    pub named: Vec<u32>,
    /// Most captures.
    pub files: usize,
    /// Time of a stream's packets that its ring holds; none without rings.
    pub media: Duration,
    /// True if captures are to hold what TLS and SRTP hide, keys included.
    pub plaintext: bool,
    /// SRTP protects the media.
    pub is_srtp: bool,
    /// SIP goes over TLS.
    pub is_tls: bool,
}

/// In the place of a key's characters: it is one of base64, or Wireshark takes the whole description for broken.
const NO_KEY: u8 = b'A';

/// Calls under way, and those that are kept.
#[derive(Debug)]
pub struct Recorder {
    settings: Settings,
    calls: HashMap<u32, CallTape>,
    /// Closed calls that have a ladder, the first to look at first.
    worst: BTreeSet<(bool, Reverse<u64>, u32)>,
    /// Bytes of messages.
    bytes: usize,
    /// Captures that are kept of calls that nobody has named.
    files: usize,
    /// Calls that went wrong and found no room among them.
    left_out: u64,
    /// Messages that found no room beside those of all calls.
    unkept: u64,
}

/// What was recorded of a call.
#[derive(Debug, Default)]
struct CallTape {
    messages: Vec<SipMessage>,
    left_out: u64,
    /// Its own key of SRTP, as SDP has it; empty without one.
    own_key: String,
    rings: Vec<(Way, SocketAddr, Box<PacketRing>)>,
    is_closed: bool,
    /// Its capture is to be written.
    is_file: bool,
    /// It has a ladder.
    is_ladder: bool,
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct Captured {
    /// SIP of the calls to look at first, in their order.
    pub ladders: Vec<Ladder>,
    /// Captures by their path in the run's folder.
    pub files: Vec<(String, Vec<u8>)>,
    /// Calls that went wrong and have no capture, for there are too many.
    pub left_out: u64,
    /// Time of a stream's packets that a capture can hold; none where there was no room for them.
    pub media: Duration,
    /// SIP messages that are in no capture and no ladder, for want of room.
    pub unkept: u64,
}

impl Recorder {
    /// A recorder without calls.
    pub fn new(settings: Settings) -> Self {
        let (calls, worst) = (HashMap::new(), BTreeSet::new());
        Recorder { settings, calls, worst, bytes: 0, files: 0, left_out: 0, unkept: 0 }
    }

    /// Begins to record a call. `own_key` is its key of SRTP as SDP has it, empty without one: it is crossed out wherever
    /// it comes back.
    pub fn open(&mut self, call: u32, own_key: String) {
        self.calls.insert(call, CallTape { own_key, ..CallTape::default() });
    }

    /// Takes a SIP message, of whatever call or of none.
    pub fn message(&mut self, at: Stamp, way: Way, peer: SocketAddr, bytes: &[u8]) {
        let call = call_of(self.settings.run_id, bytes);
        let Some(tape) = call.and_then(|call| self.calls.get_mut(&call)) else { return };
        let message = SipMessage::new(at, way, peer, bytes);
        let has_room = self.bytes + message.bytes.len() <= MOST_BYTES;
        if !has_room {
            tape.left_out += 1;
            self.unkept += 1;
            return;
        }
        if tape.messages.len() == MOST_MESSAGES {
            tape.left_out += 1;
            self.bytes -= tape.messages.remove(FIRST_MESSAGES).bytes.len();
        }
        self.bytes += message.bytes.len();
        tape.messages.push(message);
    }

    /// Takes the packets of a call's stream, which ran between `local` and the far end.
    pub fn ring(&mut self, call: u32, way: Way, local: SocketAddr, ring: Box<PacketRing>) {
        // It may come after the call's end.
        if let Some(tape) = self.calls.get_mut(&call).filter(|tape| !tape.is_closed || tape.is_file) {
            tape.rings.push((way, local, ring));
        }
    }

    /// Decides what is kept of a call that is over.
    pub fn close(&mut self, record: &CallRecord) {
        let Some(tape) = self.calls.get_mut(&record.call) else { return };
        tape.is_closed = true;
        let Settings { named, files, .. } = &self.settings;
        if named.contains(&record.call) {
            tape.is_file = *files > 0;
        } else if record.went_wrong() {
            tape.is_file = self.files + named.len() < *files;
            self.files += usize::from(tape.is_file);
            self.left_out += u64::from(!tape.is_file && *files > 0);
        }
        if !tape.is_file {
            tape.rings.clear();
        }
        tape.is_ladder = true;
        self.worst.insert(record.rank());
        if self.worst.len() > MOST_LADDERS
            && let Some((.., call)) = self.worst.pop_last()
            && let Some(tape) = self.calls.get_mut(&call)
        {
            tape.is_ladder = false;
            if !tape.is_file {
                self.forget(call);
            }
        }
    }

    fn forget(&mut self, call: u32) {
        let messages = self.calls.remove(&call).map(|tape| tape.messages).unwrap_or_default();
        self.bytes -= messages.iter().map(|message| message.bytes.len()).sum::<usize>();
    }

    /// The ladders and files of the calls that are kept.
    pub fn finish(self) -> Captured {
        let Recorder { settings, calls, worst, left_out, unkept, .. } = self;
        let ladder = |(.., call): &(bool, Reverse<u64>, u32)| {
            let tape = calls.get(call).filter(|tape| tape.is_ladder && !tape.messages.is_empty())?;
            let messages = tape.ladder(settings.epoch);
            let left_out = tape.left_out + (tape.messages.len() - messages.len()) as u64;
            let capture = if tape.is_file { name(*call) } else { String::new() };
            Some(Ladder { call: *call, capture, messages, left_out })
        };
        let ladders = worst.iter().filter_map(ladder).collect();
        let mut files: Vec<_> = calls.into_iter().filter(|(_, tape)| tape.is_file).collect();
        files.sort_by_key(|(call, _)| *call);
        let files = files.into_iter().map(|(call, tape)| (name(call), tape.file(call, &settings))).collect();
        Captured { ladders, files, left_out, media: settings.media, unkept }
    }
}

/// The file of a call's capture.
fn name(call: u32) -> String {
    format!("pcap/call-{call:05}.pcapng")
}

impl CallTape {
    /// The messages of its ladder: half of its room for the first ones, and what is left of it for the last.
    fn ladder(&self, epoch: Stamp) -> Vec<LadderMessage> {
        let size = |message: &LadderMessage| message.line.len() + message.headers.len() + message.body.len();
        let fits = |room: &mut usize, message: LadderMessage| {
            *room = room.checked_sub(size(&message))?;
            Some(message)
        };
        let mut messages = self.messages.iter().map(|message| ladder::message(message, &self.own_key, epoch));
        let mut room = MOST_OF_LADDER / 2;
        let mut first = Vec::new();
        let mut over = None;
        for message in messages.by_ref() {
            match room.checked_sub(size(&message)) {
                Some(less) => room = less,
                None => {
                    over = Some(message);
                    break;
                }
            }
            first.push(message);
        }
        room += MOST_OF_LADDER / 2;
        let rest: Vec<LadderMessage> = over.into_iter().chain(messages).collect();
        let mut last: Vec<_> = rest.into_iter().rev().map_while(|message| fits(&mut room, message)).collect();
        last.reverse();
        first.append(&mut last);
        first
    }

    /// The capture, in the order of time.
    fn file(&self, call: u32, settings: &Settings) -> Vec<u8> {
        let is_decrypted = settings.plaintext && settings.is_srtp;
        let shown = |message: &SipMessage| match settings.plaintext {
            true if is_decrypted => named_plain(&message.bytes),
            true => message.bytes.to_vec(),
            false => message.without_keys(&self.own_key, NO_KEY),
        };
        let hides_sip = settings.is_tls && !settings.plaintext;
        let messages = if hides_sip { &[][..] } else { &self.messages[..] };
        let texts: Vec<Vec<u8>> = messages.iter().map(shown).collect();
        let local = settings.local;
        let sip = messages.iter().zip(&texts).map(|(message, bytes)| {
            let SipMessage { at, way, peer, length, .. } = *message;
            Frame { at, way, local, peer, bytes, length }
        });
        let rtp = self.rings.iter().flat_map(|(way, local, ring)| {
            ring.packets().map(|packet| Frame {
                at: packet.at,
                way: *way,
                local: *local,
                peer: packet.peer,
                bytes: packet.bytes,
                length: packet.original,
            })
        });
        let mut frames: Vec<Frame<'_>> = sip.chain(rtp).collect();
        frames.sort_by_key(|frame| frame.at);
        let sip = match (hides_sip, self.left_out) {
            (true, _) => "without its SIP over TLS (capture.plaintext = true)".into(),
            (false, 0) => "its SIP".to_string(),
            (false, left_out) => format!("its SIP but {left_out} messages after the first {FIRST_MESSAGES}"),
        };
        let media = match settings.media.is_zero() {
            true => "without its RTP (capture.most_mib is too little for so many calls)".into(),
            false => format!("and the last {} s of its RTP", settings.media.as_secs_f64()),
        };
        let named = if is_decrypted { "; decrypted, and so RTP/SAVP is written RTP/AVP" } else { "" };
        let comment = format!("call {call} of a run of loadtest: {sip}, {media}{named}");
        pcapng::file(&comment, frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Ending, Quantile};

    const RUN: u32 = 7;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn recorder(files: usize, named: &[u32]) -> Recorder {
        let epoch = Stamp::from_ns(1_000_000);
        let (local, named) = (address(5060), named.to_vec());
        let (media, plaintext, is_srtp, is_tls) = (Duration::from_millis(1300), false, false, false);
        Recorder::new(Settings { run_id: RUN, epoch, local, named, files, media, plaintext, is_srtp, is_tls })
    }

    fn invite(call: u32) -> Vec<u8> {
        format!("INVITE x SIP/2.0\r\nCall-ID: {RUN:08x}{call:08x}@h\r\n\r\na=crypto:1 X inline:KEY\r\n")
            .into_bytes()
    }

    /// A call with a message and a ring each way.
    fn play(recorder: &mut Recorder, call: u32, ending: Ending, rtt_ms: u64) {
        recorder.open(call, "OWNKEY".into());
        recorder.message(Stamp::from_ns(2_000_000), Way::Sent, address(1), &invite(call));
        for way in [Way::Sent, Way::Received] {
            let mut ring = Box::new(PacketRing::new(4, 64));
            (0..9).for_each(|n| ring.put(Stamp::from_ns(3_000_000 + n), address(2), &[n as u8; 20]));
            recorder.ring(call, way, address(4000), ring);
        }
        let rtt_p99_ms = Quantile::At(rtt_ms * 1_000_000);
        let (sent, back) = (10, if rtt_ms > 0 { 10 } else { 0 });
        let record = CallRecord {
            call,
            ending,
            rtt_p99_ms,
            total_sent: sent,
            total_received: back,
            ..Default::default()
        };
        recorder.close(&record);
    }

    fn names(captured: &Captured) -> Vec<&str> {
        captured.files.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn calls_that_went_wrong_and_named_ones_have_files_and_the_worst_ladders() {
        let mut recorder = recorder(3, &[1]);
        for call in 0..40 {
            play(&mut recorder, call, Ending::Completed, 10 + u64::from(call));
        }
        // Failed, silent, cut short by the run's end, dropped; then one too many.
        play(&mut recorder, 40, Ending::Rejected, 1);
        play(&mut recorder, 41, Ending::Completed, 0);
        play(&mut recorder, 42, Ending::Interrupted, 1);
        play(&mut recorder, 43, Ending::RemoteHangup, 1);
        assert!(recorder.calls.len() <= MOST_LADDERS + 3, "{} calls are held", recorder.calls.len());
        let captured = recorder.finish();
        assert_eq!(
            names(&captured),
            ["pcap/call-00001.pcapng", "pcap/call-00040.pcapng", "pcap/call-00041.pcapng"]
        );
        assert_eq!(captured.left_out, 1);
        let ladders: Vec<u32> = captured.ladders.iter().map(|ladder| ladder.call).collect();
        assert_eq!(ladders, [40, 42, 43, 41, 39, 38, 37, 36, 35, 34]);
        assert_eq!(captured.ladders[0].capture, "pcap/call-00040.pcapng");
        assert_eq!(captured.ladders[0].messages[0].at_ms, 1.0);
        assert_eq!(captured.ladders[4].capture, "");
        assert!(captured.ladders.iter().all(|ladder| ladder.messages[0].body == "a=crypto:1 X inline:***"));
        for (_, bytes) in &captured.files {
            // One message, and the last four packets each way.
            assert_eq!(bytes.windows(4).filter(|word| *word == [0x45, 0, 0, 48]).count(), 8);
            assert!(bytes.windows(11).any(|word| word == b"inline:AAA\r"));
            let comment = b"its SIP, and the last 1.3 s of its RTP";
            assert!(bytes.windows(comment.len()).any(|word| word == comment));
        }
    }

    #[test]
    fn what_comes_after_the_end_is_kept_where_the_call_is() {
        let mut recorder = recorder(50, &[]);
        play(&mut recorder, 0, Ending::Timeout, 1);
        for _ in 0..100 {
            recorder.message(Stamp::from_ns(9_000_000), Way::Received, address(1), &invite(0));
            recorder.message(Stamp::from_ns(9_000_000), Way::Received, address(1), &invite(7));
        }
        recorder.ring(0, Way::Sent, address(1), Box::new(PacketRing::new(1, 1)));
        assert_eq!((recorder.calls.len(), recorder.calls[&0].rings.len()), (1, 3));
        let captured = recorder.finish();
        let ladder = &captured.ladders[0];
        assert_eq!((ladder.messages.len(), ladder.left_out), (MOST_MESSAGES, 37));
        assert_eq!(captured.unkept, 0, "there was room for others'");
    }

    #[test]
    fn a_ladder_is_bounded_and_nothing_shows_the_calls_own_key() {
        let mut recorder = recorder(1, &[]);
        recorder.open(0, "OWNKEY".into());
        let back = [invite(0), b"X: OWNKEY\r\n".to_vec(), vec![7; 5000]].concat();
        for _ in 0..MOST_MESSAGES {
            recorder.message(Stamp::from_ns(2_000_000), Way::Received, address(1), &back);
        }
        recorder.close(&CallRecord { ending: Ending::Timeout, ..Default::default() });
        let captured = recorder.finish();
        let ladder = &captured.ladders[0];
        assert_eq!((ladder.messages.len(), ladder.left_out), (15, 49));
        let json = serde_json::to_string(&captured.ladders).unwrap();
        assert!(json.len() < 7 * MOST_OF_LADDER && !json.contains("OWNKEY"), "{} bytes", json.len());
        let (_, file) = &captured.files[0];
        assert!(!file.windows(6).any(|word| word == b"OWNKEY"));
        assert!(file.windows(9).any(|word| word == b"X: AAAAAA"));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut recorder = recorder(0, &[0]);
        let long = [invite(0), vec![b'x'; 10_000]].concat();
        for call in 0..1000 {
            play(&mut recorder, call, Ending::Completed, 5);
        }
        assert!(recorder.bytes < 20 * 200, "{}", recorder.bytes);
        recorder.open(5000, String::new());
        recorder.bytes = MOST_BYTES - 10;
        recorder.message(Stamp::ZERO, Way::Sent, address(1), &[invite(5000), long].concat());
        assert_eq!((recorder.calls[&5000].messages.len(), recorder.calls[&5000].left_out), (0, 1));
        let captured = recorder.finish();
        assert_eq!(captured.unkept, 1);
        assert!(captured.files.is_empty() && captured.left_out == 0, "no captures are wanted");
    }
}
