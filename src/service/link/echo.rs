//! The echo on a link: audio in the call's codec goes back, with the reflection in its probe, at once or after a while.

use std::collections::VecDeque;

use crate::rtp::reflector::PayloadReflector;
use crate::service::delay::Hold;
use crate::stamp::Stamp;

/// Frames held at once by one call: a second of the shortest packets, and some.
const MOST_HELD: usize = 128;
/// Longest frame that is echoed.
const LONGEST: usize = 4096;

/// The echo of one call.
pub struct EchoSpeaker {
    hold: Hold,
    reflector: PayloadReflector,
    /// Frames by the time at which they go back, each with its receipt.
    held: VecDeque<(Stamp, Stamp, Vec<u8>)>,
    /// Probes expected and received when they were last counted.
    counted: (u32, u32),
}

impl EchoSpeaker {
    pub fn new(hold: Hold) -> Self {
        EchoSpeaker { hold, reflector: PayloadReflector::default(), held: VecDeque::new(), counted: (0, 0) }
    }

    /// Takes a frame that came at `in_at`, while `up` calls are up; false when there is no room, and it is lost.
    pub fn hear(&mut self, audio: &[u8], in_at: Stamp, up: u32) -> bool {
        if self.held.len() >= MOST_HELD || audio.len() > LONGEST {
            return false;
        }
        let due = in_at + self.hold.each + self.hold.per_call * up;
        // One that is held for a shorter time, since a call has ended, does not overtake.
        let due = self.held.back().map_or(due, |(last, ..)| due.max(*last));
        self.held.push_back((due, in_at, audio.to_vec()));
        true
    }

    /// A frame that goes back now.
    pub fn poll(&mut self, now: Stamp) -> Option<Vec<u8>> {
        self.held.front().filter(|(due, ..)| *due <= now)?;
        let (_, in_at, mut frame) = self.held.pop_front()?;
        self.reflector.reflect(&mut frame, in_at, now);
        Some(frame)
    }

    /// Time of the next one.
    pub fn wake(&self) -> Option<Stamp> {
        self.held.front().map(|(due, ..)| *due)
    }

    /// Probes expected and received since the last time.
    pub fn newly_counted(&mut self) -> (u64, u64) {
        let (expected, received) = self.reflector.expected_and_received();
        // Another call's probes on the same stream start the count anew.
        let known =
            if expected >= self.counted.0 && received >= self.counted.1 { self.counted } else { (0, 0) };
        self.counted = (expected, received);
        ((expected - known.0).into(), (received - known.1).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::probe::{Probe, RunKey};
    use std::time::Duration;

    fn frame(seq: u32) -> Vec<u8> {
        let mut payload = vec![0xFF; 160];
        let at = Stamp::from_ns(9);
        let probe = Probe { run_id: 1, call_id: 2, seq, intended_at: at, sent_at: at, reflection: None };
        probe.write(&mut payload, &RunKey::new(1, [1; 16]));
        payload
    }

    #[test]
    fn a_frame_goes_back_after_its_time_with_the_stamps_of_both_and_is_counted() {
        let ms = |ms: u64| Stamp::ZERO + Duration::from_millis(1000 + ms);
        let hold = Hold { each: Duration::from_millis(5), per_call: Duration::from_millis(1) };
        let mut echo = EchoSpeaker::new(hold);
        assert!(echo.hear(&frame(0), ms(0), 3) && echo.hear(&frame(2), ms(1), 0));
        assert_eq!((echo.poll(ms(7)), echo.wake()), (None, Some(ms(8))));
        let back = Probe::read(&echo.poll(ms(9)).unwrap()).unwrap();
        let reflection = back.reflection.unwrap();
        assert_eq!((reflection.in_at, reflection.out_at, back.seq), (ms(0), ms(9), 0));
        assert!(echo.poll(ms(9)).is_some(), "it does not overtake, and is due with the one before");
        assert_eq!((echo.poll(ms(99)), echo.wake(), echo.newly_counted()), (None, None, (3, 2)));
        assert_eq!(echo.newly_counted(), (0, 0));
    }

    #[test]
    fn whoever_floods_is_bounded() {
        let mut echo = EchoSpeaker::new(Hold { each: Duration::from_secs(1), ..Hold::default() });
        let taken = (0..1000).filter(|_| echo.hear(&[0xFF; 160], Stamp::ZERO, 1)).count();
        assert_eq!(taken, MOST_HELD);
        assert!(!EchoSpeaker::new(Hold::default()).hear(&[0; 5000], Stamp::ZERO, 1));
    }
}
