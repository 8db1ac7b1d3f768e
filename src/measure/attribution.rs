//! On which way packets were lost, from what the reflector says it has received.

use super::window::Place;
use crate::rtp::probe::Reflection;

/// Packets lost on each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// On the way to the reflector.
    pub up: u64,
    /// On the way back.
    pub down: u64,
}

/// Where a call's lost packets of the measured window were lost.
///
/// A packet that comes back with number n says how many distinct packets the reflector had received
/// by then: the rest of the n + 1 were lost on the way up, and what the reflector had received and
/// did not come back was lost on the way down. Both are running totals, so a packet that reached the
/// reflector late corrects them by itself. What was lost after the last packet that came back cannot
/// be attributed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attribution {
    totals: Losses,
    /// Totals when the measured window began.
    before: Losses,
    /// Totals at the first packet behind the window, which tells of the window's last ones.
    after: Option<Losses>,
    returned: u64,
    highest: Option<u32>,
}

impl Attribution {
    /// Notes the first arrival of packet `seq`. Without a `reflection` the far end does not stamp,
    /// and nothing can be attributed.
    pub fn arrive(&mut self, seq: u32, reflection: Option<&Reflection>, place: Place) {
        self.returned += 1;
        let Some(reflection) = reflection else { return };
        // A packet that was overtaken knows less than the one that overtook it.
        if self.highest.is_some_and(|highest| seq < highest) {
            return;
        }
        self.highest = Some(seq);
        let received = u64::from(reflection.received);
        self.totals.up = (u64::from(seq) + 1).saturating_sub(received);
        self.totals.down = received.saturating_sub(self.returned);
        match place {
            Place::Before => self.before = self.totals,
            Place::Inside => {}
            Place::After => self.after = self.after.or(Some(self.totals)),
        }
    }

    /// Losses of the measured window; `None` where the far end does not stamp.
    pub fn losses(&self) -> Option<Losses> {
        self.highest?;
        let end = self.after.unwrap_or(self.totals);
        Some(Losses {
            up: end.up.saturating_sub(self.before.up),
            down: end.down.saturating_sub(self.before.down),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    /// Plays packets 0, 1, 2, … of which each is lost up (`u`), lost down (`d`) or comes back (`.`);
    /// those in brackets are measured.
    fn play(packets: &str) -> Option<Losses> {
        let mut attribution = Attribution::default();
        let (mut seq, mut received, mut place) = (0, 0, Place::Before);
        for packet in packets.chars() {
            match packet {
                '[' | ']' => {
                    place = if packet == '[' { Place::Inside } else { Place::After };
                    continue;
                }
                'u' => {}
                'd' => received += 1,
                _ => {
                    received += 1;
                    let reflection =
                        Reflection { in_at: Stamp::ZERO, out_at: Stamp::ZERO, received, window: 0 };
                    attribution.arrive(seq, Some(&reflection), place);
                }
            }
            seq += 1;
        }
        attribution.losses()
    }

    #[test]
    fn losses_are_told_apart_and_only_those_of_the_window_count() {
        assert_eq!(play("uuu..[..u.d..dd..].u.d"), Some(Losses { up: 1, down: 3 }));
        assert_eq!(play("[....]"), Some(Losses::default()));
        assert_eq!(play("..[uu].."), Some(Losses { up: 2, down: 0 }), "not one of the window came back");
        assert_eq!(play("..[.uu]."), Some(Losses { up: 2, down: 0 }), "the next packet tells");
        assert_eq!(play("uuu"), None);
    }

    #[test]
    fn a_far_end_that_does_not_stamp_tells_nothing() {
        let mut attribution = Attribution::default();
        attribution.arrive(5, None, Place::Inside);
        assert_eq!(attribution.losses(), None);
    }
}
