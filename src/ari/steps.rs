//! The tables behind a call's state machine: operations, what exists, timers, jitter.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use strum::VariantArray as _;

use super::request::Operation;
use crate::stamp::Stamp;

/// Most attempts at one operation.
pub const MAX_ATTEMPTS: u8 = 5;
/// Pause before the second attempt; each further pause is twice as long, so all take 0.75 s at most.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// State of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OperationStep {
    #[default]
    Idle,
    InFlight,
    /// Until the next attempt.
    Waiting(Stamp),
    Done,
    Failed,
}

const OPERATIONS: usize = Operation::VARIANTS.len();

/// State of each operation of a call, and the attempts at it.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: [OperationStep; OPERATIONS],
    attempts: [u8; OPERATIONS],
}

impl Steps {
    pub fn of(&self, operation: Operation) -> OperationStep {
        self.steps[operation as usize]
    }

    pub fn is(&self, operation: Operation, step: OperationStep) -> bool {
        self.of(operation) == step
    }

    pub fn attempts(&self, operation: Operation) -> u8 {
        self.attempts[operation as usize]
    }

    pub fn set(&mut self, operation: Operation, step: OperationStep) {
        self.steps[operation as usize] = step;
    }

    pub fn begin(&mut self, operation: Operation) {
        self.set(operation, OperationStep::InFlight);
        let attempts = &mut self.attempts[operation as usize];
        *attempts = attempts.saturating_add(1);
    }

    /// Lets an operation that is through be asked for again.
    pub fn rearm(&mut self, operation: Operation) {
        if matches!(self.of(operation), OperationStep::Done | OperationStep::Failed) {
            self.set(operation, OperationStep::Idle);
            self.attempts[operation as usize] = 0;
        }
    }

    /// Nothing that waits for its next attempt is tried again.
    pub fn give_up_waiting(&mut self) {
        for step in &mut self.steps {
            if matches!(step, OperationStep::Waiting(_)) {
                *step = OperationStep::Failed;
            }
        }
    }

    pub fn any_under_way(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, OperationStep::InFlight | OperationStep::Waiting(_)))
    }

    pub fn next_wait(&self) -> Option<Stamp> {
        let until = |step: &OperationStep| match step {
            OperationStep::Waiting(until) => Some(*until),
            _ => None,
        };
        self.steps.iter().filter_map(until).min()
    }
}

/// Knowledge of something's existence in Asterisk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Never,
    /// Asked for, and the answer is open or was lost.
    Maybe,
    Here,
    Gone,
    /// Given up on.
    Left,
}

impl Presence {
    pub fn may_exist(self) -> bool {
        matches!(self, Presence::Maybe | Presence::Here)
    }
}

/// A time that a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Setup,
    Unbridged,
    CallerGone,
    MediaGone,
    Teardown,
}

/// Keeps calls that fail together from retrying together.
#[derive(Debug)]
pub(super) struct RetryJitter(Xoshiro256PlusPlus);

impl RetryJitter {
    pub fn new(seed: u64) -> Self {
        RetryJitter(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The pause after `attempts` failed attempts: between half of the backoff and all of it.
    pub fn pause(&mut self, attempts: u8) -> Duration {
        let backoff = FIRST_BACKOFF * (1 << attempts.saturating_sub(1).min(10));
        self.0.random_range(backoff / 2..=backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ_between_calls() {
        let (mut a, mut b) = (RetryJitter::new(1), RetryJitter::new(2));
        assert_ne!(a.pause(1), b.pause(1));
        for attempts in 1..=MAX_ATTEMPTS {
            let most = FIRST_BACKOFF * (1 << (attempts - 1));
            let pause = a.pause(attempts);
            assert!(pause >= most / 2 && pause <= most, "{attempts}: {pause:?}");
        }
    }
}
