//! Answers as the caller itself notices them: figures of a call under way. Its turns are judged at its end.

use std::time::Duration;

use crate::speech::Live;
use crate::stamp::Stamp;

/// Speech of both within this time before the end of the caller's makes the turn unfit (METRICS).
pub(super) const EDGE: Duration = Duration::from_millis(300);

/// Fate of a turn that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The answer began so long after the end of the caller's speech.
    After(Duration),
    /// None began in time.
    Missing,
}

/// The answer to the last speech, as long as it is awaited.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// End of the speech, and of the caller's patience.
    asked: Option<(Stamp, Stamp)>,
    noticed: Option<Reply>,
}

impl Awaited {
    /// Awaits the answer to speech that ends at `until`. One that was awaited before is none any more.
    pub fn ask(&mut self, until: Stamp, reply_within: Duration) {
        self.asked = Some((until, until + reply_within));
    }

    /// Takes what is heard at `now`.
    pub fn hear(&mut self, now: Stamp, heard: Live) {
        let Some((until, patience)) = self.asked.filter(|(until, _)| now >= *until) else { return };
        let voiced_until = heard.voiced_until.unwrap_or(Stamp::ZERO);
        let reply = match heard.began_at {
            Some(began) if began >= until => Some(Reply::After(began.since(until))),
            // Both spoke: the turn will be discarded.
            Some(_) if voiced_until + EDGE > until => None,
            _ if now >= patience => Some(Reply::Missing),
            _ => return,
        };
        (self.asked, self.noticed) = (None, reply);
    }

    /// The fate of a turn that has become known since it was asked for last.
    pub fn take(&mut self) -> Option<Reply> {
        self.noticed.take()
    }
}
