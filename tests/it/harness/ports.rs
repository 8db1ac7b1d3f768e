//! Ports for tests that run at the same time, also for those of another test program on this machine.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::Duration;

use loadtest::clock::Timeline;

const ASTERISK: u16 = 320;
const SERVICE: u16 = 120;
const MEDIA: u16 = 160;
const SPARE: u16 = 8;
const SIZE: u16 = ASTERISK + SERVICE + MEDIA + SPARE;

/// Below these are ports of well-known services.
const FIRST: u16 = 10_000;

/// Longer than the tests before this one take.
const WAIT: Duration = Duration::from_secs(300);

/// A block of UDP ports that no other test uses.
///
/// It is claimed by listening on the TCP port of the same number as its first: a claim holds between
/// programs, ends with the process, and takes no UDP port away. The blocks lie outside of the kernel's
/// ephemeral range, so that no socket bound to port 0 falls into one.
#[derive(Debug)]
pub struct Lane {
    first: u16,
    _claim: TcpListener,
}

impl Lane {
    /// Claims a block whose ports are all free; waits for one while there is none.
    pub fn claim() -> Lane {
        let starts = starts(ephemeral());
        // One search at a time, since a search binds ports that another one would take for held.
        static SEARCH: Mutex<usize> = Mutex::new(0);
        let timeline = Timeline::start();
        let until = timeline.now() + WAIT;
        loop {
            {
                let mut next = SEARCH.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                for _ in 0..starts.len() {
                    let first = starts[*next % starts.len()];
                    *next += 1;
                    if let Some(lane) = Lane::at(first) {
                        return lane;
                    }
                }
            }
            assert!(timeline.now() < until, "all {} blocks of ports are in use", starts.len());
            timeline.sleep_until(timeline.now() + Duration::from_millis(100), Duration::ZERO);
        }
    }

    fn at(first: u16) -> Option<Lane> {
        let claim = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?;
        let is_free = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (first..first + SIZE).all(is_free).then_some(Lane { first, _claim: claim })
    }

    /// Asterisk's RTP ports: two for each of two legs of 80 calls.
    pub fn asterisk(&self) -> RangeInclusive<u16> {
        self.first..=self.first + ASTERISK - 1
    }

    /// The service's ports: one for each of 120 calls.
    pub fn service(&self) -> RangeInclusive<u16> {
        let first = self.first + ASTERISK;
        first..=first + SERVICE - 1
    }

    /// The driver's ports: an even one for each of 80 calls.
    pub fn media(&self) -> RangeInclusive<u16> {
        let first = self.first + ASTERISK + SERVICE;
        first..=first + MEDIA - 1
    }

    /// A port where nobody is unless the test puts somebody there, with seven more behind it.
    pub fn spare(&self) -> u16 {
        self.first + ASTERISK + SERVICE + MEDIA
    }
}

/// The range of which the kernel takes ports for sockets bound to port 0.
fn ephemeral() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().map_while(|n| n.parse().ok());
    bounds.next().zip(bounds.next()).map_or(32_768..=60_999, |(from, to)| from..=to)
}

/// First ports of the blocks outside of `ephemeral`; of all blocks where it leaves no room.
fn starts(ephemeral: RangeInclusive<u16>) -> Vec<u16> {
    let all = (FIRST..=u16::MAX - SIZE).step_by(SIZE.into());
    let outside = |first: &u16| first + SIZE <= *ephemeral.start() || first > ephemeral.end();
    let found: Vec<u16> = all.clone().filter(outside).collect();
    if found.is_empty() { all.collect() } else { found }
}

#[test]
fn blocks_lie_outside_of_the_ephemeral_range() {
    assert_eq!(starts(32_768..=60_999).len(), 44);
    assert!(starts(1024..=65_535).len() > 80);
    let (a, b) = (Lane::claim(), Lane::claim());
    assert_ne!(a.first, b.first);
    assert!(Lane::at(a.first).is_none(), "claimed");
}
