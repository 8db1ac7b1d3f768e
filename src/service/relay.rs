//! A call's packets on their way to the echo server and back.

use crate::net::udp::Datagram;
use crate::record::ServiceEcho;
use crate::stamp::Stamp;

/// Packets of one call that are waited for at once: 5 s of 20 ms packets, more than anybody waits.
const WAITED_FOR: usize = 256;

/// Packets to the echo server and back, counted.
pub type RelayCounts = ServiceEcho;

#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    /// The RTP sequence number, which the echo keeps; `None` when nothing is waited for.
    number: Option<u16>,
    in_at: Stamp,
    sent_at: Stamp,
}

/// The packets of a call that the echo server has not sent back yet.
#[derive(Debug)]
pub struct InFlight(Box<[Waiting; WAITED_FOR]>);

impl Default for InFlight {
    fn default() -> Self {
        InFlight(Box::new([Waiting::default(); WAITED_FOR]))
    }
}

impl InFlight {
    /// Adds packet `number`, which came from the call at `in_at` and was sent on just after `sent_at`, or
    /// could not be.
    pub fn add(
        &mut self,
        number: u16,
        in_at: Stamp,
        sent_at: Stamp,
        is_sent: bool,
        counts: &mut RelayCounts,
    ) {
        counts.relayed += 1;
        let place = &mut self.0[usize::from(number) % WAITED_FOR];
        counts.lost += u64::from(place.number.is_some()) + u64::from(!is_sent);
        *place = Waiting { number: is_sent.then_some(number), in_at, sent_at };
    }

    /// Takes a datagram from the echo server. Returns the time at which its packet had come from the call;
    /// `None` for one that is not waited for.
    pub fn take(&mut self, datagram: &Datagram<'_>, counts: &mut RelayCounts) -> Option<Stamp> {
        let number = datagram.bytes.get(2..4).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))?;
        let place = &mut self.0[usize::from(number) % WAITED_FOR];
        if place.number != Some(number) {
            return None;
        }
        place.number = None;
        counts.returned += 1;
        counts.round_trip.record(datagram.received_at.since(place.sent_at));
        Some(place.in_at)
    }

    /// Gives up on everything that is not back yet.
    pub fn give_up(&mut self, counts: &mut RelayCounts) {
        for place in self.0.iter_mut() {
            counts.lost += u64::from(place.number.take().is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_back_or_lost_once() {
        let (mut in_flight, mut counts) = (InFlight::default(), RelayCounts::default());
        let stamp = |number: u16| Stamp::from_ns(number.into());
        for number in 0..300 {
            in_flight.add(number, stamp(number), stamp(number), true, &mut counts);
        }
        // The first 44 have been pushed out.
        assert_eq!((counts.relayed, counts.lost), (300, 44));
        let packet = |number: u16| {
            let mut packet = [0x80; 40];
            packet[2..4].copy_from_slice(&number.to_be_bytes());
            packet
        };
        let from = ([127, 0, 0, 1], 4000).into();
        let back = |bytes| Datagram { bytes, truncated: false, from, received_at: stamp(1000), drops: None };
        let last = packet(299);
        assert_eq!(in_flight.take(&back(&last), &mut counts), Some(stamp(299)));
        for unexpected in [&last[..], &packet(43), &packet(900), &[0x80, 0]] {
            assert_eq!(in_flight.take(&back(unexpected), &mut counts), None);
        }
        assert_eq!((counts.returned, counts.round_trip.count()), (1, 1));
        in_flight.give_up(&mut counts);
        in_flight.give_up(&mut counts);
        assert_eq!((counts.relayed, counts.returned + counts.lost), (300, 300));
        assert_eq!(counts.loss_ratio(), Some(299.0 / 300.0));
    }

    #[test]
    fn a_packet_that_cannot_be_sent_is_lost_and_not_waited_for() {
        let (mut in_flight, mut counts) = (InFlight::default(), RelayCounts::default());
        (0..10).for_each(|n| in_flight.add(n, Stamp::ZERO, Stamp::ZERO, false, &mut counts));
        in_flight.give_up(&mut counts);
        assert_eq!((counts.relayed, counts.returned, counts.lost), (10, 0, 10));
    }
}
