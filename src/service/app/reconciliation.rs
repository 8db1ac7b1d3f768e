//! Reconciliation: the calls' state against Asterisk's, after events may have been missed.
//!
//! After every connect, the first included, Asterisk's channels and bridges are listed. Calls get the
//! events that they have missed; channels and bridges of ours that belong to no call are deleted; callers
//! who wait in the application, and whose StasisStart was not read, are taken. A caller behind leftovers of
//! an earlier service has to wait for their end, since its own would get the same names: rounds of listing
//! and deleting follow until nothing of that is left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::events::jittered;
use super::super::listing::{CallSnapshot, Listing};
use super::App;
use super::{shown, tasks};
use crate::ari::CallIds;
use crate::ari::call::AriCall;
use crate::ari::exchange::AriInput;
use crate::ari::outcome::ServiceOutcome;
use crate::ari::request::{AriRequest, Operation, delete_stray};
use crate::clock;
use crate::net::http::{HttpAnswer, HttpError};
use crate::stamp::Stamp;

/// Longest pause between the first two rounds; a deletion takes some milliseconds. Each further pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Callers wait in silence behind leftovers.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Rounds after which leftovers stay, and callers behind them are hung up: 4.5 s at most.
const MOST_ROUNDS: u32 = 8;
/// Longest pause after the first listing that Asterisk does not answer; it doubles up to [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(8);

/// Progress of a reconciliation.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    /// Number of the listing that is awaited; one from before the last reconnection has a lower one.
    number: u64,
    round: u32,
    is_open: bool,
    again_at: Option<Stamp>,
    /// Error of the last attempt.
    failure: Option<String>,
    /// Attempts that have failed one after another.
    failures: u32,
    /// Callers whose calls have ended since the listing was requested: it may still name them.
    ended: HashSet<Arc<str>>,
    /// Paths of the deletions since the last connect, and the attempts at each.
    deleted: HashMap<String, u8>,
    /// Time of Asterisk's start, in its own words.
    started: Option<String>,
}

impl Reconciliation {
    /// Time of the next round.
    pub fn again_at(&self) -> Option<Stamp> {
        self.again_at
    }

    /// The reason for not knowing Asterisk's state; `None` once it is known.
    pub fn pending(&self) -> Option<String> {
        let failure = || self.failure.as_deref().unwrap_or("asking for it");
        self.is_open.then(|| format!("what Asterisk still has is not known yet: {}", failure()))
    }

    pub fn call_ended(&mut self, caller: &Arc<str>) {
        if self.is_open {
            self.ended.insert(caller.clone());
        }
    }
}

impl App {
    /// Starts a reconciliation, after a connection before which events may have been missed.
    pub(super) fn reconcile(&mut self) {
        self.reconciliation.round = 0;
        self.reconciliation.is_open = true;
        self.reconciliation.deleted.clear();
        self.start_round();
    }

    /// Requests a listing, and notes each call's resources of this moment.
    pub(super) fn start_round(&mut self) {
        self.reconciliation.again_at = None;
        self.reconciliation.number += 1;
        self.reconciliation.round += 1;
        self.reconciliation.ended.clear();
        let known = self.calls.iter().map(|(caller, entry)| CallSnapshot {
            caller: caller.clone(),
            serial: entry.serial,
            media: entry.call.has_media(),
            media_in_app: entry.call.has_media_in_app(),
            bridge: entry.call.has_bridge(),
            bridged: entry.call.is_bridged(),
        });
        let known = known.collect();
        self.tasks.spawn(tasks::list(self.client.clone(), self.reconciliation.number, known));
    }

    pub(super) fn on_listing_result(
        &mut self,
        number: u64,
        known: &[CallSnapshot],
        result: Result<Listing, HttpError>,
    ) {
        if number != self.reconciliation.number {
            return;
        }
        match result {
            Ok(listing) => self.on_listing(known, &listing),
            Err(error) => {
                if self.reconciliation.failure.is_none() {
                    self.warn("listing", || format!("cannot list what Asterisk has; asking again: {error}"));
                }
                self.reconciliation.failure = Some(error.to_string());
                // While there is no connection there is no use: the next one begins anew.
                if self.disconnected.is_none() && self.stop_by.is_none() {
                    self.reconciliation.failures += 1;
                    let pause = retry(self.reconciliation.failures, rand::random());
                    self.reconciliation.again_at = Some(clock::now() + pause);
                }
            }
        }
    }

    fn on_listing(&mut self, known: &[CallSnapshot], listing: &Listing) {
        let now = clock::now();
        self.reconciliation.failure = None;
        self.reconciliation.failures = 0;
        self.replay_missed(now, known, listing);
        // Anything that belongs to a call, or did when the listing was requested, is no stray.
        let known: HashSet<&str> = known.iter().map(|known| &*known.caller).collect();
        let strays = self.strays(&known, listing);
        if !strays.is_empty() && self.reconciliation.round == 1 {
            let count = strays.len();
            self.warn("strays", || {
                format!("deleting channels and bridges that an earlier service left count={count}")
            });
        }
        let behind = self.adopt(now, &known, listing);
        let is_last = self.reconciliation.round >= MOST_ROUNDS || self.stop_by.is_some();
        if strays.is_empty() && behind.is_empty() || is_last {
            for caller in behind {
                self.turn_away(now, &caller);
            }
            self.reconciliation.is_open = false;
            self.reconciliation.ended.clear();
        } else {
            self.reconciliation.again_at = Some(now + pause(self.reconciliation.round, rand::random()));
        }
        for (id, operation) in strays {
            self.delete_stray(&id, operation);
        }
    }

    /// Gives the calls the events that they have missed.
    fn replay_missed(&mut self, now: Stamp, known: &[CallSnapshot], listing: &Listing) {
        let before = std::mem::replace(&mut self.reconciliation.started, listing.started.clone());
        let is_another = before.is_some() && listing.started.is_some() && before != listing.started;
        if is_another {
            let calls = known.len();
            self.warn("anew", || format!("Asterisk was started anew; its calls are lost calls={calls}"));
        }
        for known in known {
            let Some(entry) = self.calls.get(&known.caller).filter(|e| e.serial == known.serial) else {
                continue;
            };
            if is_another && !listing.channels.contains_key(&*known.caller) {
                self.drive(&known.caller, now, AriInput::AsteriskRestarted);
                continue;
            }
            for event in listing.missed(&self.config.app, entry.call.ids(), known) {
                self.drive(&known.caller, now, AriInput::Event(&event));
            }
        }
    }

    fn is_taken_care_of(&self, known: &HashSet<&str>, caller: &str) -> bool {
        self.calls.contains_key(caller)
            || self.reconciliation.ended.contains(caller)
            || known.contains(caller)
    }

    /// Ids of the channels and bridges of ours that belong to no call, each with its deletion.
    fn strays(&self, known: &HashSet<&str>, listing: &Listing) -> Vec<(String, Operation)> {
        let app = &self.config.app;
        let media = listing
            .channels
            .keys()
            .filter_map(|id| Some((CallIds::caller_of_media(app, id)?, id, Operation::DeleteMedia)));
        let bridges = listing
            .bridges
            .keys()
            .filter_map(|id| Some((CallIds::caller_of_bridge(app, id)?, id, Operation::DeleteBridge)));
        let unknown = media.chain(bridges).filter(|(caller, ..)| !self.is_taken_care_of(known, caller));
        unknown.map(|(_, id, operation)| (id.clone(), operation)).collect()
    }

    /// Takes the callers who wait in the application; returns those behind leftovers of an earlier service.
    fn adopt(&mut self, now: Stamp, known: &HashSet<&str>, listing: &Listing) -> Vec<String> {
        let app = self.config.app.clone();
        let waiting = listing.channels.iter().filter_map(|(id, place)| Some((id, place.args_in(&app)?)));
        let is_ours = |id: &str| CallIds::caller_of_media(&app, id).is_some();
        let with_media: HashSet<&str> =
            listing.channels.keys().filter_map(|id| CallIds::caller_of_media(&app, id)).collect();
        let mut behind = Vec::new();
        for (caller, args) in waiting.filter(|(id, _)| !is_ours(id)) {
            let ids = self.ids(caller);
            if self.is_taken_care_of(known, caller) {
                continue;
            }
            if with_media.contains(caller.as_str()) || listing.bridges.contains_key(&ids.bridge) {
                behind.push(caller.clone());
                continue;
            }
            if self.repeats.add("waiting", now).is_some() {
                tracing::info!(caller = shown(caller), "found waiting in the application");
            }
            self.shared.record().calls.adopted += 1;
            self.on_call(now, caller, &args);
        }
        behind
    }

    fn turn_away(&mut self, now: Stamp, caller: &str) {
        self.shared.record().calls.total += 1;
        self.serial += 1;
        let ids = self.ids(caller);
        let why = if self.stop_by.is_some() { ServiceOutcome::Shutdown } else { ServiceOutcome::NotCleared };
        self.insert(caller, AriCall::turn_away(now, ids, why, self.seed ^ self.serial), None);
    }

    pub(super) fn delete_stray(&mut self, id: &str, operation: Operation) {
        let request = delete_stray(operation, id);
        // One that takes its time to go is deleted once more in every round.
        let attempts = self.reconciliation.deleted.entry(request.path.clone()).or_default();
        *attempts = attempts.saturating_add(1);
        let mut record = self.shared.record();
        record.calls.strays += u64::from(*attempts == 1);
        record.add_attempt(operation, *attempts);
        self.tasks.spawn(tasks::ask(self.client.clone(), None, request));
    }

    pub(super) fn on_stray_answer(&mut self, request: &AriRequest, result: Result<HttpAnswer, HttpError>) {
        let error = match result {
            Ok(answer) if (200..300).contains(&answer.status) || answer.status == 404 => return,
            Ok(answer) => format!("HTTP status {}", answer.status),
            Err(error) => error.to_string(),
        };
        let (path, attempts) = (shown(&request.path), self.reconciliation.deleted.get(&request.path));
        // Once for each: the repetitions are counted.
        if attempts.is_none_or(|attempts| *attempts == 1) {
            self.warn("stray", || format!("a stray of ours was not deleted path={path}: {error}"));
        } else {
            tracing::debug!(error, path, attempts, "a stray of ours was not deleted");
        }
    }
}

/// The pause after round `round`: between half of its grown length and all of it, as `unit` (0 to 1) says.
fn pause(round: u32, unit: f64) -> Duration {
    jittered(FIRST_PAUSE.saturating_mul(1 << round.saturating_sub(1).min(16)).min(LONGEST_PAUSE), unit)
}

/// The pause after so many failures one after another, likewise.
fn retry(failures: u32, unit: f64) -> Duration {
    jittered(RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_RETRY), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_bound_and_differ() {
        let most = |round| pause(round, 1.0);
        assert_eq!(most(1), FIRST_PAUSE);
        assert_eq!(most(2), 2 * FIRST_PAUSE);
        assert_eq!((most(5), most(u32::MAX)), (LONGEST_PAUSE, LONGEST_PAUSE));
        assert_eq!(pause(3, 0.0), most(3) / 2);
        assert_eq!((retry(1, 1.0), retry(2, 1.0), retry(u32::MAX, 1.0)), (RETRY, 2 * RETRY, LONGEST_RETRY));
        let all: Duration = (1..MOST_ROUNDS).map(most).sum();
        assert!(all <= Duration::from_millis(4500), "{all:?}");
    }
}
