//! Counts of an echo.

use std::fmt;
use std::ops::AddAssign;

/// An echo's counts. Every datagram that was received is in one of the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EchoCounts {
    /// Datagrams received.
    pub received: u64,
    /// Probes sent back with the reflection added.
    pub probes: u64,
    /// RTP without a probe, sent back unchanged but for the header.
    pub plain: u64,
    /// Datagrams that are not RTP, RTCP among them, or longer than 1,500 bytes: not answered.
    pub not_rtp: u64,
    /// Answers of an echo: not answered again.
    pub echoed: u64,
    /// RTP without a probe whose number came before, or is too old to say: not answered.
    pub repeated: u64,
    /// Datagrams of new streams while the table was full, or their sender's share of it: not answered.
    pub no_room: u64,
    /// Packets of senders that asked faster than streams do: not answered.
    pub too_fast: u64,
    /// Datagrams from port 0, a multicast or broadcast address, or the server's own: not answered.
    pub unanswerable: u64,
    /// Answers that could not be sent.
    pub send_errors: u64,
    /// Datagrams that the kernel dropped for lack of buffer space; not among those received.
    pub drops: u64,
    /// Bytes sent back, RTP headers included.
    pub bytes: u64,
}

impl AddAssign for EchoCounts {
    fn add_assign(&mut self, more: EchoCounts) {
        self.received += more.received;
        self.probes += more.probes;
        self.plain += more.plain;
        self.not_rtp += more.not_rtp;
        self.echoed += more.echoed;
        self.repeated += more.repeated;
        self.no_room += more.no_room;
        self.too_fast += more.too_fast;
        self.unanswerable += more.unanswerable;
        self.send_errors += more.send_errors;
        self.drops += more.drops;
        self.bytes += more.bytes;
    }
}

impl fmt::Display for EchoCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EchoCounts { received, probes, plain, .. } = self;
        write!(f, "received {received}, sent back {probes} probes and {plain} other RTP packets")?;
        let rare = [
            (self.not_rtp, "not RTP"),
            (self.echoed, "echoed before"),
            (self.repeated, "repeated"),
            (self.no_room, "without room for their stream"),
            (self.too_fast, "faster than streams are"),
            (self.unanswerable, "from addresses that cannot be answered"),
            (self.send_errors, "send errors"),
            (self.drops, "dropped by the kernel"),
        ];
        for (count, what) in rare.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}
