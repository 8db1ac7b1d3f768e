//! RTP of a service that talks: one socket, paced by the speaker instead of by what comes.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use rtp_rs::{RtpPacketBuilder, RtpReader};

use super::Carried;
use crate::rtp::Codec;
use crate::rtp::kind::is_rtcp;
use crate::stamp::Stamp;

/// Longest datagram that is read.
const DATAGRAM: usize = 1500;
/// Payload type of comfort noise, and the level of its noise: -66 dB (RFC 3389).
const COMFORT_NOISE: (u8, [u8; 1]) = (13, [66]);
/// Payload types whose meaning SDP gives, and the length of an event in one (RFC 4733 section 2.3).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
const EVENT_LEN: usize = 4;
/// Ticks a second of G.711 and G.722.
const CLOCK_HZ: u128 = 8000;

/// Media of one call over RTP.
pub struct Rtp {
    socket: tokio::net::UdpSocket,
    /// Asterisk's address.
    peer: SocketAddr,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Time of the stream's begin, where its clock stands at 0.
    began_at: Option<Stamp>,
    /// Time stamp of the last digit that ended: its end comes three times.
    last_digit: Option<u32>,
    buffer: Box<[u8; DATAGRAM]>,
}

impl Rtp {
    /// Media between `socket` and `peer`.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn new(socket: UdpSocket, peer: SocketAddr, ssrc: u32) -> io::Result<Self> {
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let (sequence, timestamp, began_at, last_digit) = (0, 0, None, None);
        let buffer = Box::new([0; DATAGRAM]);
        Ok(Rtp { socket, peer, ssrc, sequence, timestamp, began_at, last_digit, buffer })
    }

    /// The next news; audio goes into `audio`.
    pub async fn receive(&mut self, codec: Codec, audio: &mut Vec<u8>) -> io::Result<Carried> {
        let (len, from) = match self.socket.recv_from(&mut self.buffer[..]).await {
            Ok(received) => received,
            // Of an earlier packet that met a closed port.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Carried::Nothing),
            Err(error) => return Err(error),
        };
        let bytes = &self.buffer[..len];
        let Ok(rtp) = RtpReader::new(bytes) else { return Ok(Carried::Nothing) };
        if from.ip() != self.peer.ip() || is_rtcp(bytes) {
            return Ok(Carried::Nothing);
        }
        let payload = rtp.payload();
        if rtp.payload_type() == codec.payload_type() {
            audio.clear();
            audio.extend_from_slice(payload);
            return Ok(Carried::Audio);
        }
        let is_end = payload.len() == EVENT_LEN && payload[1] & 0x80 != 0;
        if DYNAMIC.contains(&rtp.payload_type()) && is_end && self.last_digit != Some(rtp.timestamp()) {
            self.last_digit = Some(rtp.timestamp());
            let digit = b"0123456789*#ABCD".get(usize::from(payload[0])).copied();
            return Ok(digit.map_or(Carried::Nothing, |digit| Carried::Digit(digit.into())));
        }
        Ok(Carried::Nothing)
    }

    /// Sends a frame at `now`. One that `restarts` follows on no other: its time stamp is that of the wall clock.
    pub async fn send(&mut self, codec: Codec, audio: &[u8], restarts: bool, now: Stamp) -> io::Result<()> {
        let timestamp = match restarts {
            true => self.wall_clock(now),
            false => self.timestamp,
        };
        self.timestamp = timestamp.wrapping_add(audio.len() as u32);
        self.packet(codec.payload_type(), restarts, timestamp, audio).await
    }

    /// Sends comfort noise.
    pub async fn send_noise(&mut self, now: Stamp) -> io::Result<()> {
        let timestamp = self.wall_clock(now);
        self.packet(COMFORT_NOISE.0, false, timestamp, &COMFORT_NOISE.1).await
    }

    fn wall_clock(&mut self, now: Stamp) -> u32 {
        let began_at = *self.began_at.get_or_insert(now);
        (now.since(began_at).as_nanos() * CLOCK_HZ / 1_000_000_000) as u32
    }

    async fn packet(
        &mut self,
        payload_type: u8,
        marked: bool,
        timestamp: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let built = RtpPacketBuilder::new()
            .payload_type(payload_type)
            .marked(marked)
            .sequence(self.sequence.into())
            .timestamp(timestamp)
            .ssrc(self.ssrc)
            .payload(payload)
            .build();
        let packet = built.map_err(|error| io::Error::other(format!("{error:?}")))?;
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send_to(&packet, self.peer).await.map(drop)
    }
}
