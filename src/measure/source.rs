//! Symmetric RTP: the address that a call's packets come from, which need not be the one that its SDP names.

use std::net::SocketAddr;

use crate::record::CallRecord;
use crate::rtp::MediaSource;
use crate::stamp::Stamp;

/// Times that a far end's move may go back.
const MOST_RETURNS: u8 = 2;

/// Sources of one call's packets. It begins open to everybody, and is closed on the source from which a probe of
/// the call's own has come back: nobody else can have one.
///
/// The caller knows the sockets; this says whose datagrams count, and when to connect.
#[derive(Debug)]
pub struct SourceLatch {
    rule: MediaSource,
    /// The driver's own socket, which is no far end.
    own: SocketAddr,
    /// Address that the far end's SDP names.
    named: SocketAddr,
    /// Source that has proved itself.
    proven: Option<SocketAddr>,
    /// Others are refused.
    is_closed: bool,
    /// Not to be closed before: packets of the source before may be under way.
    open_until: Stamp,
    /// That source.
    former: Option<SocketAddr>,
    /// Source of the last packet of the call's own while it was open, and the one before that.
    last: [Option<SocketAddr>; 2],
    /// Times that such packets went back to the one before.
    returns: u8,
    heard: Sources,
}

/// What is to become of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the far end's.
    Take,
    /// It is the far end's, and so is its source from now on: refuse all others.
    TakeAndConnect,
    /// It is a packet of this call, from a source that is not to count.
    Refuse,
    /// It is nothing of this call.
    Stranger,
}

/// Where a call's packets came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sources {
    /// Source of its packets; where one was elsewhere than the SDP said, the first such.
    pub from: Option<SocketAddr>,
    /// Address that the SDP named then.
    pub named: Option<SocketAddr>,
    /// Datagrams from elsewhere that were taken.
    pub elsewhere: u64,
    /// Packets from elsewhere that were refused.
    pub refused: u64,
}

impl Sources {
    /// Enters it into the call's record.
    pub fn enter(&self, record: &mut CallRecord) {
        record.heard_from = self.from;
        record.media_address = self.named;
        record.elsewhere = self.elsewhere;
        record.refused = self.refused;
    }
}

impl SourceLatch {
    /// For a call on the socket `own`, whose SDP says `named`.
    pub fn new(rule: MediaSource, own: SocketAddr, named: SocketAddr) -> Self {
        let named = plain(named);
        let heard = Sources { named: Some(named), ..Sources::default() };
        let (own, open_until) = (plain(own), Stamp::ZERO);
        let (proven, former, last) = (None, None, [None; 2]);
        SourceLatch {
            rule,
            own,
            named,
            proven,
            is_closed: false,
            open_until,
            former,
            last,
            returns: 0,
            heard,
        }
    }

    /// Stays open until then: a far end may speak from two places from its beginning.
    pub fn stay_open(&mut self, until: Stamp) {
        self.open_until = until;
    }

    /// For a stream whose socket is connected to `peer` from the beginning.
    pub fn closed(own: SocketAddr, peer: SocketAddr) -> Self {
        let open = SourceLatch::new(MediaSource::Sdp, own, peer);
        SourceLatch { proven: Some(open.named), is_closed: true, ..open }
    }

    /// Judges a datagram received `at`; `is_own` says whether it holds a probe of this call, signed.
    pub fn judge(&mut self, from: SocketAddr, at: Stamp, is_own: impl FnOnce() -> bool) -> Verdict {
        let from = plain(from);
        let is_proven = self.proven == Some(from);
        if self.is_closed && is_proven {
            return self.take(from);
        }
        if self.former == Some(from) && from != self.named && at < self.open_until {
            if is_own() {
                self.note_turn(from);
            }
            return Verdict::Take;
        }
        if !is_own() {
            let is_known = from == self.named || is_proven;
            return if is_known { self.take(from) } else { Verdict::Stranger };
        }
        if from == self.own {
            return Verdict::Stranger;
        }
        if from != self.named && self.rule == MediaSource::Sdp {
            self.note_elsewhere(from);
            self.heard.refused += 1;
            return Verdict::Refuse;
        }
        self.note_turn(from);
        // Once the address in the SDP has proved itself, no other takes its place.
        if !self.is_closed && self.proven != Some(self.named) {
            self.proven = Some(from);
        }
        self.take(from);
        if self.is_closed || self.is_split() || self.proven != Some(from) || at < self.open_until {
            return Verdict::Take;
        }
        self.is_closed = true;
        Verdict::TakeAndConnect
    }

    /// The far end names another address, and the socket is open again. Packets from where it was heard before are under
    /// way until `open_until`.
    pub fn moved(&mut self, named: SocketAddr, open_until: Stamp) {
        self.former = self.proven.or(Some(self.named));
        self.named = plain(named);
        (self.proven, self.is_closed, self.open_until) = (None, false, open_until);
        (self.last, self.returns) = ([None; 2], 0);
        if self.heard.elsewhere + self.heard.refused == 0 {
            self.heard.named = Some(self.named);
        }
    }

    /// Nothing more comes from where the far end was heard: it may send from another address by now, without having said
    /// so. Packets from before are under way until `open_until`.
    pub fn reopen(&mut self, open_until: Stamp) {
        self.moved(self.named, open_until);
    }

    /// True if only one source is heard.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// True if this is the address that the far end names.
    pub fn names(&self, address: SocketAddr) -> bool {
        self.named == plain(address)
    }

    /// True once the socket is closed, or a packet of the call's own has come: until then it may be full of anybody's
    /// datagrams.
    pub fn has_proof(&self) -> bool {
        self.is_closed || self.heard.from.is_some()
    }

    /// The sources so far.
    pub fn heard(&self) -> Sources {
        self.heard
    }

    fn note_turn(&mut self, from: SocketAddr) {
        let [last, before] = self.last;
        if self.is_closed || last == Some(from) {
            return;
        }
        self.returns = self.returns.saturating_add(u8::from(before == Some(from)));
        self.last = [Some(from), last];
    }

    /// True for a far end that speaks from two places in turn, as one behind a balancer does: a move goes back, at the most,
    /// where its packets overtake each other.
    fn is_split(&self) -> bool {
        self.returns > MOST_RETURNS
    }

    fn take(&mut self, from: SocketAddr) -> Verdict {
        if from != self.named {
            self.note_elsewhere(from);
            self.heard.elsewhere += 1;
        } else if self.proven == Some(from) && self.heard.elsewhere + self.heard.refused == 0 {
            self.heard.from = Some(from);
        }
        Verdict::Take
    }

    /// Keeps the first source elsewhere, and what the SDP said then.
    fn note_elsewhere(&mut self, from: SocketAddr) {
        if self.heard.elsewhere + self.heard.refused == 0 {
            (self.heard.from, self.heard.named) = (Some(from), Some(self.named));
        }
    }
}

/// An address without what only one side knows of it: the scope of a link-local one.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Refuse, Stranger, Take, TakeAndConnect};
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::time::Duration;

    fn port(port: u16) -> SocketAddr {
        ([192, 0, 2, 7], port).into()
    }

    fn at(ms: u64) -> Stamp {
        Stamp::ZERO + Duration::from_millis(ms)
    }

    const OWN: u16 = 9;

    /// Datagrams, each with port, time, whether it is a probe of the call's own, and the verdict.
    fn play(latch: &mut SourceLatch, datagrams: &[(u16, u64, bool, Verdict)]) {
        for (n, (from, ms, is_own, verdict)) in datagrams.iter().enumerate() {
            assert_eq!(latch.judge(port(*from), at(*ms), || *is_own), *verdict, "{n}: {latch:?}");
        }
    }

    fn latch(rule: MediaSource) -> SourceLatch {
        SourceLatch::new(rule, port(OWN), port(1))
    }

    #[test]
    fn the_first_probe_of_the_calls_own_closes_on_its_source_wherever_that_is() {
        for rule in [MediaSource::Any, MediaSource::Sdp] {
            let mut latch = latch(rule);
            // RTCP of the far end's, and a stranger; then the far end itself.
            play(&mut latch, &[(1, 0, false, Take), (2, 0, false, Stranger)]);
            assert!(!latch.has_proof());
            play(&mut latch, &[(1, 1, true, TakeAndConnect), (1, 2, false, Take), (2, 3, false, Stranger)]);
            let heard = Sources { from: Some(port(1)), named: Some(port(1)), ..Sources::default() };
            assert_eq!((latch.heard(), latch.has_proof()), (heard, true));
        }
        let mut latch = latch(MediaSource::Any);
        play(
            &mut latch,
            &[
                (5, 0, false, Stranger),
                (2, 0, true, TakeAndConnect),
                (2, 1, false, Take),
                (2, 1, true, Take),
                // They lay in the socket when it was connected.
                (5, 2, false, Stranger),
                (1, 2, true, Take),
                (3, 2, true, Take),
                (2, 3, true, Take),
            ],
        );
        let heard = Sources { from: Some(port(2)), named: Some(port(1)), elsewhere: 5, refused: 0 };
        assert_eq!(latch.heard(), heard);
    }

    #[test]
    fn elsewhere_is_refused_and_counted_where_the_sdp_is_to_hold() {
        let mut latch = latch(MediaSource::Sdp);
        play(&mut latch, &[(2, 0, true, Refuse), (3, 1, true, Refuse), (2, 2, false, Stranger)]);
        assert!(latch.has_proof(), "it is not silent");
        play(&mut latch, &[(1, 3, true, TakeAndConnect), (1, 4, true, Take)]);
        let heard = Sources { from: Some(port(2)), named: Some(port(1)), elsewhere: 0, refused: 2 };
        assert_eq!(latch.heard(), heard);
    }

    #[test]
    fn nobody_is_heard_who_is_the_driver_itself_and_nothing_unsigned_closes_it() {
        let mut latch = latch(MediaSource::Any);
        play(&mut latch, &[(OWN, 0, true, Stranger), (OWN, 0, false, Stranger), (7, 1, false, Stranger)]);
        assert_eq!(latch.heard().from, None);
        play(&mut latch, &[(1, 2, true, TakeAndConnect)]);
    }

    #[test]
    fn a_far_end_that_speaks_from_two_places_in_turn_is_heard_from_both() {
        for (places, elsewhere) in [([1, 2], 50), ([2, 1], 50), ([2, 3], 100)] {
            let mut latch = latch(MediaSource::Any);
            latch.stay_open(at(200));
            for n in 0..100 {
                play(&mut latch, &[(places[n as usize % 2], 20 * n, true, Take)]);
            }
            assert_eq!((latch.is_closed(), latch.heard().elsewhere), (false, elsewhere), "{places:?}");
            play(&mut latch, &[(9, 2001, false, Stranger)]);
        }
        // One that moves a moment after its beginning is closed on.
        let mut latch = latch(MediaSource::Any);
        latch.stay_open(at(200));
        let moving = [(2, 0), (2, 20), (1, 40), (2, 60), (1, 80), (1, 199)];
        play(&mut latch, &moving.map(|(from, ms)| (from, ms, true, Take)));
        play(&mut latch, &[(1, 200, true, TakeAndConnect), (2, 201, false, Stranger)]);
        // Behind a reopening, from where it was heard before and elsewhere.
        latch.reopen(at(3000));
        for n in 0..100 {
            play(&mut latch, &[(if n % 2 == 0 { 1 } else { 7 }, 1000 + 20 * n, true, Take)]);
        }
        assert!(!latch.is_closed());
    }

    #[test]
    fn media_that_moves_is_taken_from_both_places_until_nothing_can_be_under_way() {
        for rule in [MediaSource::Any, MediaSource::Sdp] {
            let mut latch = latch(rule);
            play(&mut latch, &[(1, 0, true, TakeAndConnect)]);
            latch.moved(port(3), at(2100));
            play(
                &mut latch,
                &[
                    (1, 100, true, Take),
                    (1, 101, false, Take),
                    (4, 102, false, Stranger),
                    (3, 110, true, Take),
                    (1, 120, true, Take),
                    (3, 130, true, Take),
                    (3, 2100, true, TakeAndConnect),
                    (3, 2120, false, Take),
                    (1, 2121, false, Stranger),
                ],
            );
            let heard = Sources { from: Some(port(3)), named: Some(port(3)), ..Sources::default() };
            assert_eq!(latch.heard(), heard, "{rule:?}");
        }
    }

    #[test]
    fn a_far_end_that_moves_behind_its_nat_is_heard_from_there() {
        let mut latch = latch(MediaSource::Any);
        play(&mut latch, &[(20, 0, true, TakeAndConnect)]);
        latch.moved(port(3), at(2100));
        // Echoes of before, then the new mapping, and the address in the SDP last of all.
        play(&mut latch, &[(20, 100, true, Take), (30, 110, true, Take), (31, 111, true, Take)]);
        play(&mut latch, &[(3, 112, true, Take), (30, 2200, true, Take), (3, 2201, true, TakeAndConnect)]);
        assert_eq!((latch.heard().from, latch.heard().named), (Some(port(20)), Some(port(1))));
        // It moves once more, and is heard through its first mapping alone.
        latch.moved(port(1), at(5000));
        play(&mut latch, &[(20, 4000, true, Take), (20, 6000, true, TakeAndConnect)]);
        // With the rule, a place that the SDP does not name counts only while packets are under way.
        let mut strict = self::latch(MediaSource::Sdp);
        play(&mut strict, &[(1, 0, true, TakeAndConnect)]);
        strict.moved(port(3), at(2000));
        play(&mut strict, &[(1, 1999, true, Take), (1, 2000, true, Refuse), (3, 2001, true, TakeAndConnect)]);
    }

    proptest! {
        /// Whoever sends what, and however often the media move: only a source of the call's own packets is connected
        /// to, and nothing else is taken but what comes from where the SDP said.
        #[test]
        fn nothing_is_taken_without_proof(
            is_any: bool,
            steps in proptest::collection::vec((1u16..5, 0u64..900, any::<bool>(), 0u8..12), 1..80),
        ) {
            let rule = if is_any { MediaSource::Any } else { MediaSource::Sdp };
            let (mut latch, mut ms, mut proven) = (latch(rule), 0, HashSet::new());
            let (mut named, mut before) = (1, None);
            for (from, pause, is_own, kind) in steps {
                ms += pause;
                if kind == 0 {
                    latch.moved(port(from), at(ms + 2000));
                    (named, before) = (from, Some(ms + 2000));
                    continue;
                }
                let verdict = latch.judge(port(from), at(ms), || is_own);
                let may_be_under_way = before.is_some_and(|until| ms < until);
                proven.extend(is_own.then_some(from));
                match verdict {
                    TakeAndConnect => {
                        prop_assert!(is_own && !may_be_under_way && (is_any || from == named));
                    }
                    Take => prop_assert!(
                        from == named || may_be_under_way || (is_any && proven.contains(&from)),
                        "{latch:?}"
                    ),
                    Refuse => prop_assert!(is_own && !is_any && from != named),
                    Stranger => prop_assert!(!is_own && from != named),
                }
                prop_assert_eq!(latch.heard().refused > 0 && is_any, false);
            }
        }
    }

    #[test]
    fn a_stream_that_is_connected_from_the_beginning_hears_its_peer_alone() {
        let mut latch = SourceLatch::closed(port(OWN), port(1));
        play(&mut latch, &[(1, 0, false, Take), (2, 0, true, Refuse), (2, 0, false, Stranger)]);
        assert!(latch.has_proof());
    }
}
