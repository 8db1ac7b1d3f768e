//! The least that paces streams: what the kernel alone asks for a packet sent.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use loadtest::clock::Timeline;
use loadtest::rtp::packet::StreamSender;
use loadtest::rtp::probe::RunKey;
use loadtest::rtp::{Codec, Format};

use crate::Outcome;

const INTERVAL: Duration = Duration::from_millis(20);
const SLOT: Duration = Duration::from_millis(1);

/// Sends `streams` streams to `to` for `seconds` from one thread, spread over slots of 1 ms. Each has
/// one packet, made beforehand, of which only the sequence number changes: no stamp, no checksum, no
/// books, and nothing is read.
pub fn send(to: SocketAddr, streams: usize, seconds: u64) -> Outcome<()> {
    let mut all = Vec::with_capacity(streams);
    for ssrc in 1..=streams as u32 {
        let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0))?;
        socket.connect(to)?;
        let timeline = Timeline::start();
        let mut sender =
            StreamSender::new(RunKey::new(0, [0; 16]), ssrc, ssrc, Format::of(Codec::Pcmu, INTERVAL));
        all.push((socket, sender.packet(timeline.now(), timeline.now()).to_vec()));
    }
    let _ = nix::sys::prctl::set_timerslack(1);
    let slots = (INTERVAL.as_millis() / SLOT.as_millis()) as usize;
    let timeline = Timeline::start();
    let mut due = timeline.now();
    for turn in 0..seconds * 1000 {
        due += SLOT;
        timeline.sleep_until(due, Duration::ZERO);
        for (socket, packet) in all.iter_mut().skip(turn as usize % slots).step_by(slots) {
            let number = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(1);
            packet[2..4].copy_from_slice(&number.to_be_bytes());
            // Nobody listens once the receiver has seen enough.
            let _ = socket.send(packet);
        }
    }
    Ok(())
}
