//! Holds: packets under way at their start are excused, and nothing is awaited until their end.

use super::{ReceiveTally, StreamReceiver};
use crate::measure::Window;
use crate::rtp::Format;
use crate::stamp::Stamp;

impl StreamReceiver {
    /// Notes that the far end wants the call on hold.
    pub fn hold(&mut self) {
        self.is_on_hold = true;
    }

    /// Notes that it wants the call back, at `at`; says whether it was on hold.
    pub fn resume(&mut self, at: Stamp) -> bool {
        let was_on_hold = std::mem::take(&mut self.is_on_hold);
        if was_on_hold {
            self.resumed_at = at;
            self.jitter.pause();
        }
        was_on_hold
    }

    /// True for audio of the far end's own that is no damage: on hold it may play music, the last of which is under way
    /// when the call is resumed.
    pub(super) fn is_music(&self, received_at: Stamp) -> bool {
        let was_on_hold = self.resumed_at != Stamp::ZERO;
        self.is_on_hold || (was_on_hold && received_at < self.resumed_at + self.rules.lost_after)
    }

    /// Notes the format that the far end has changed to; it is one of the same codec.
    pub fn change_format(&mut self, format: Format) {
        self.format = format;
    }

    /// Notes that sending has paused for a hold, after `sent` packets, the last of which was intended at `last_at`.
    /// Those that have not come back are excused: the far end did not return them.
    pub fn paused(&mut self, sent: u32, last_at: Stamp, window: &Window, tally: &mut ReceiveTally) {
        self.spans.pause(sent, last_at, self.rules.ptime);
        let fresh = self.excused.excuse(self.sequence.next_expected(), sent, self.rules.ptime);
        for seq in fresh {
            self.count_excused(seq, window, tally, |count| *count += 1);
        }
    }

    /// A packet has come back. If it was excused, it is not any more, nor are those before it: lost, or where nothing
    /// had come back by then, clipped.
    pub(super) fn not_excused(&mut self, seq: u32, window: &Window, tally: &mut ReceiveTally) {
        for seq in self.excused.returned(seq) {
            self.count_excused(seq, window, tally, |count| *count = count.saturating_sub(1));
            let is_clipped = self.report.first_echo_at.is_some() && seq < self.first_echo_seq;
            if let Some(at) = self.spans.at(seq, self.rules.ptime).filter(|_| is_clipped) {
                self.report.total_clipped += 1;
                tally.seconds.nearest(at).record.clipped += 1;
            }
        }
    }

    fn count_excused(
        &mut self,
        seq: u32,
        window: &Window,
        tally: &mut ReceiveTally,
        change: impl Fn(&mut u64),
    ) {
        let Some(at) = self.spans.at(seq, self.rules.ptime) else { return };
        let second = tally.seconds.nearest(at);
        change(&mut self.report.total_excused);
        change(&mut second.record.excused);
        if window.holds(at, self.counts_from) {
            change(&mut self.report.excused);
            change(&mut second.record.measured_excused);
        }
    }
}
