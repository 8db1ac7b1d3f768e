//! The last seconds of a call's audio as it came, with the times of its packets, in bounded memory.

use std::collections::VecDeque;
use std::time::Duration;

use super::burst::{BURST_LEN, Burst};
use super::mouth::Sent;
use super::{RATE_HZ, samples_in, time_of};
use crate::stamp::Stamp;

/// Samples of the shortest packet, 10 ms: the times of so many packets are kept as may be in the audio that is.
const SHORTEST_PACKET: usize = RATE_HZ as usize / 100;
/// Bursts, or other pieces of audio, that are waited for: more are not under way at once.
const MOST_AWAITED: usize = 64;
/// Silence that time stamps may tell of; a longer one is believed by the packets' times alone.
const LONGEST_GAP: u64 = 2 * RATE_HZ as u64;
/// Audio after the longest delay: the packet that holds a piece's end may be a long one, and late.
const MARGIN: Duration = Duration::from_millis(100);

/// Audio in which one burst, or another piece of audio, is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Excerpt {
    /// Its name.
    pub burst: Burst,
    /// Sending of its first sample.
    pub sent_at: Stamp,
    /// Audio from then on.
    pub samples: Vec<i16>,
    /// Packets: first sample, and receipt of it. In the order of samples.
    pub packets: Vec<(usize, Stamp)>,
    /// The call ended while it might still have come back.
    pub is_cut: bool,
}

impl Excerpt {
    /// Receipt of the sample at `index`: that of its packet and its offset therein. Of one that never came, as if it had
    /// been before the next that did.
    pub fn received_at(&self, index: usize) -> Stamp {
        let next = self.packets.partition_point(|(first, _)| *first <= index);
        let after = |first: usize, at: Stamp| at + time_of((index - first) as u64);
        match (next.checked_sub(1).map(|n| self.packets[n]), self.packets.get(next)) {
            (Some((first, at)), Some((second, _))) if self.is_within(first, *second, index) => {
                after(first, at)
            }
            (_, Some((second, at))) => *at - time_of((second - index) as u64),
            (Some((first, at)), None) => after(first, at),
            (None, None) => self.sent_at,
        }
    }

    /// True if the sample is in the packet that begins with `first`: packets are of one length, so one that begins more
    /// than that before the next has a gap behind it.
    fn is_within(&self, first: usize, second: usize, index: usize) -> bool {
        index - first < self.packet_len().unwrap_or(second - first).max(1)
    }

    /// Samples of a packet; `None` of fewer than two. A quarter of the packets may be followed by less, as where a stream
    /// begins anew in mid-air, and three quarters by a gap.
    pub fn packet_len(&self) -> Option<usize> {
        let steps = self.packets.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let mut steps: Vec<usize> = steps.filter(|step| *step > 0).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 4).copied()
    }
}

/// Ear of one call.
#[derive(Debug)]
pub struct Ear {
    samples: VecDeque<i16>,
    /// Samples that were forgotten before the first one that is kept.
    begin: u64,
    packets: VecDeque<(u64, Stamp)>,
    /// Source, RTP time stamp, and place of the last packet.
    last: Option<(u32, u32, u64)>,
    awaited: VecDeque<Sent>,
    longest: Duration,
    kept: usize,
    clock_hz: u32,
}

impl Ear {
    /// An ear that waits `longest` for each piece, none of which has more than `most` samples, in packets whose time stamps
    /// count `clock_hz`.
    pub fn new(longest: Duration, most: usize, clock_hz: u32) -> Self {
        let kept = (longest + 3 * MARGIN).as_millis() as usize * (RATE_HZ as usize / 1000) + most + BURST_LEN;
        Ear {
            samples: VecDeque::new(),
            begin: 0,
            packets: VecDeque::new(),
            last: None,
            awaited: VecDeque::new(),
            longest,
            kept,
            clock_hz,
        }
    }

    /// Notes a piece that was sent.
    pub fn awaits(&mut self, sent: Sent) {
        if self.awaited.len() < MOST_AWAITED {
            self.awaited.push_back(sent);
        }
    }

    /// Takes a packet that was received at `at`. `timestamp` counts its clock's ticks and wraps.
    pub fn take(&mut self, source: u32, timestamp: u32, samples: &[i16], at: Stamp) {
        let end = self.begin + self.samples.len() as u64;
        let place = self.place(source, timestamp, end, at);
        if place < self.begin || samples.is_empty() {
            return;
        }
        if place >= end {
            self.samples.extend(std::iter::repeat_n(0, (place - end) as usize));
            self.last = Some((source, timestamp, place));
        }
        for (n, sample) in samples.iter().enumerate() {
            let index = (place - self.begin) as usize + n;
            match self.samples.get_mut(index) {
                Some(kept) => *kept = *sample,
                None => self.samples.push_back(*sample),
            }
        }
        let n = self.packets.partition_point(|(first, _)| *first < place);
        if self.packets.get(n).is_none_or(|(first, _)| *first != place) {
            self.packets.insert(n, (place, at));
        }
        self.forget();
    }

    /// Place of a packet among all samples: where its time stamp says, if that follows on the last. One that begins a
    /// stretch of its own comes as long after the last as it was received later.
    fn place(&self, source: u32, timestamp: u32, end: u64, at: Stamp) -> u64 {
        let Some((last_source, last_timestamp, last_place)) = self.last else { return end };
        let ticks = i64::from(timestamp.wrapping_sub(last_timestamp) as i32);
        let step = ticks * i64::from(RATE_HZ) / i64::from(self.clock_hz.max(1));
        let place = last_place.checked_add_signed(step);
        match place {
            Some(place)
                if source == last_source && place < end + LONGEST_GAP && place + LONGEST_GAP > end =>
            {
                place
            }
            _ => end + self.silence(end, at).min(self.kept as u64),
        }
    }

    /// Samples of silence between the last packet, which ended at `end`, and one that was received at `at`.
    fn silence(&self, end: u64, at: Stamp) -> u64 {
        let Some((first, received_at)) = self.packets.back() else { return 0 };
        samples_in(at.since(*received_at)).saturating_sub(end.saturating_sub(*first))
    }

    fn forget(&mut self) {
        let surplus = self.samples.len().saturating_sub(self.kept);
        self.samples.drain(..surplus);
        self.begin += surplus as u64;
        while self.packets.front().is_some_and(|(first, _)| *first < self.begin)
            || self.packets.len() > self.kept / SHORTEST_PACKET
        {
            self.packets.pop_front();
        }
    }

    /// The audio after the next piece whose time is over at `now`.
    pub fn due(&mut self, now: Stamp) -> Option<Excerpt> {
        let over = |sent: &Sent| sent.at + self.longest + time_of(sent.len as u64) + MARGIN;
        let sent = self.awaited.front().copied().filter(|sent| over(sent) <= now)?;
        self.awaited.pop_front();
        Some(self.excerpt(sent, false))
    }

    /// The audio after the next piece of a call that has ended.
    pub fn rest(&mut self) -> Option<Excerpt> {
        let sent = self.awaited.pop_front()?;
        Some(self.excerpt(sent, true))
    }

    fn excerpt(&self, sent: Sent, is_cut: bool) -> Excerpt {
        let latest = sent.at + self.longest + time_of(sent.len as u64) + MARGIN;
        // A sample is sent its offset later than its packet, which may be back by then. Packets are in the order of their
        // samples, and a few of them may have overtaken others.
        let from = self.packets.iter().position(|(_, at)| *at + MARGIN >= sent.at);
        let heard =
            from.map_or(0, |from| self.packets.range(from..).take_while(|(_, at)| *at <= latest).count());
        let of = |n: usize| self.packets[n].0 - self.begin;
        let (mut samples, mut packets) = (Vec::new(), Vec::new());
        if let Some(from) = from.filter(|_| heard > 0) {
            let first = of(from);
            let end =
                if from + heard < self.packets.len() { of(from + heard) } else { self.samples.len() as u64 };
            samples.extend(self.samples.range(first as usize..end as usize));
            packets.extend((from..from + heard).map(|n| ((of(n) - first) as usize, self.packets[n].1)));
        }
        Excerpt { burst: sent.burst, sent_at: sent.at, samples, packets, is_cut }
    }
}
