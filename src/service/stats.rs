//! Counts into the service's record.

use std::time::Duration;

use super::media::MediaCounts;
use crate::ari::outcome::{ServiceCall, ServiceOutcome};
use crate::ari::request::Operation;
use crate::record::{OutcomeCount, RestOperation, ServiceRecord};
use crate::stamp::Stamp;

/// The record while it is counted.
pub type Counts = ServiceRecord;

impl ServiceRecord {
    /// Counts a call that is over, with its media.
    pub fn add_call(&mut self, call: &ServiceCall, media: &MediaCounts) {
        self.add_outcome(call.outcome);
        self.calls.left_behind += u64::from(call.left_behind.any());
        // The other stages are counted at the moment itself, so that /metrics has them at once.
        self.stages.released.record(call.released_at.since(call.ended_at));
        self.calls.silent += u64::from(call.bridged_at.is_some() && media.received == 0);
        self.media.received += media.received;
        self.media.sent += media.sent;
        self.media.lost += media.lost();
        self.media.drops += media.drops;
        self.media.not_rtp += media.not_rtp;
        self.media.strangers += media.strangers;
        self.media.send_errors += media.send_errors;
    }

    /// Counts a call that ended with `outcome`.
    pub fn add_outcome(&mut self, outcome: ServiceOutcome) {
        let (operation, status) = match outcome {
            ServiceOutcome::Refused { operation, status } => (Some(operation.key().to_string()), status),
            _ => (None, None),
        };
        let new = OutcomeCount { outcome: outcome.key().to_string(), operation, status, calls: 1 };
        let is_same = |known: &&mut OutcomeCount| OutcomeCount { calls: 1, ..(*known).clone() } == new;
        match self.outcomes.iter_mut().find(is_same) {
            Some(known) => known.calls += 1,
            None => self.outcomes.push(new),
        }
    }

    /// Counts an event that Asterisk made at `made_at` and that was read and dealt with.
    pub fn add_event(&mut self, kind: &str, made_at: Option<Stamp>, read_at: Stamp, dealt_at: Stamp) {
        self.events.total += 1;
        *self.events.by_type.entry(kind.to_string()).or_default() += 1;
        match made_at {
            Some(made_at) if made_at > read_at => self.events.ahead += 1,
            Some(made_at) => self.events.lag.record(dealt_at.since(made_at)),
            None => {}
        }
    }

    /// Counts a request that is sent for the `attempt`th time.
    pub fn add_attempt(&mut self, operation: Operation, attempt: u8) {
        if attempt > 1 {
            self.retries += 1;
            self.operation(operation).retries += 1;
        }
    }

    /// Counts an answer to a request, or its absence.
    pub fn add_answer(&mut self, operation: Operation, status: Option<u16>, took: Duration) {
        let counts = self.operation(operation);
        match status {
            Some(status) => {
                counts.latency.record(took);
                *counts.statuses.entry(status).or_default() += 1;
            }
            None => counts.unanswered += 1,
        }
    }

    fn operation(&mut self, operation: Operation) -> &mut RestOperation {
        self.operations.entry(operation.key().to_string()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_apart_by_operation_and_status() {
        let mut counts = Counts::default();
        let refused = |status| ServiceOutcome::Refused { operation: Operation::AddChannels, status };
        for outcome in [refused(Some(422)), ServiceOutcome::Completed, refused(None), refused(Some(422))] {
            counts.add_outcome(outcome);
        }
        let written = serde_json::to_value(&counts.outcomes).unwrap();
        let refused = |status: Option<u16>, calls: u64| serde_json::json!({"outcome": "refused", "operation": "add_channels", "status": status, "calls": calls});
        assert_eq!((&written[0], &written[2]), (&refused(Some(422), 2), &refused(None, 1)));
        assert_eq!((&written[1]["outcome"], &written[1]["calls"]), (&"completed".into(), &1.into()));
    }

    #[test]
    fn a_repeated_request_counts_for_its_operation_and_for_all() {
        let mut counts = Counts::default();
        counts.add_attempt(Operation::Answer, 1);
        counts.add_attempt(Operation::Answer, 2);
        counts.add_answer(Operation::Answer, Some(204), Duration::from_millis(2));
        counts.add_answer(Operation::Answer, None, Duration::ZERO);
        let answer = &counts.operations["answer"];
        assert_eq!((counts.retries, answer.retries, answer.unanswered, answer.statuses[&204]), (1, 1, 1, 1));
        assert_eq!(answer.latency.count(), 1);
    }
}
