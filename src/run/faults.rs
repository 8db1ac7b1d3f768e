//! Planned faults: carry them out on the testbed, and watch it meanwhile. A process that ends by plan is
//! started again; one that ends by itself breaks the run.

use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::testbed::{Broken, Testbed, tested};
use super::{Observer, RunError};
use crate::clock::{self, Timeline};
use crate::driver::{Stop, Watched};
use crate::record::{Breakage, FaultRecord};
use crate::scenario::fault::{Action, Target};
use crate::scenario::{Fault, Scenario};
use crate::stamp::Stamp;

/// A fault that has been carried out, or was under way when the run ended.
pub struct Done {
    fault: Fault,
    planned_at: Stamp,
    done_at: Stamp,
    down_at: Stamp,
    back_at: Option<Stamp>,
    trouble: String,
}

impl Done {
    /// True once its target is back.
    pub fn is_over(&self) -> bool {
        self.back_at.is_some()
    }

    /// Its record, in seconds since `epoch`.
    pub fn record(&self, epoch: Stamp) -> FaultRecord {
        let since = |at: Stamp| at.since(epoch).as_secs_f64();
        let target = match self.fault.target {
            Target::Asterisk => "asterisk",
            Target::Service => "service",
        };
        FaultRecord {
            target: target.into(),
            action: self.fault.action.to_string(),
            planned_s: since(self.planned_at),
            done_s: since(self.done_at),
            down_s: since(self.down_at),
            back_s: self.back_at.map(since),
            trouble: self.trouble.clone(),
        }
    }
}

/// Inputs and outputs of the faults of a run, besides the testbed.
pub struct Faults<'a> {
    /// The plan of faults.
    pub scenario: &'a Scenario,
    /// Start of the hold phase, once the driver knows it.
    pub hold_from: watch::Receiver<Option<Stamp>>,
    /// Receives the testbed's processes after each fault.
    pub watched: watch::Sender<Watched>,
    /// Hears of each fault.
    pub observer: &'a dyn Observer,
    /// The faults carried out so far.
    pub done: &'a mut Vec<Done>,
}

impl Faults<'_> {
    /// Runs until the testbed is broken. Dropped, it leaves a fault that is under way as it is.
    pub async fn attend(mut self, testbed: &mut Testbed) -> Broken {
        let mut planned = self.scenario.fault.iter();
        loop {
            let next = planned.as_slice().first().copied();
            let planned_at = tokio::select! {
                broken = testbed.broken() => return broken,
                at = due(next, &mut self.hold_from) => at,
            };
            let Some(fault) = planned.next() else { continue };
            self.observer.remark(&format!("fault: {} of {}", fault.action, fault.target));
            let carried_out = self.carry_out(*fault, planned_at, testbed).await;
            self.watched.send_replace(testbed.watched());
            if let Err(why) = carried_out {
                let by = Breakage::NotBack { process: tested(fault.target), reason: why.to_string() };
                let stop = if fault.target == Target::Asterisk { Stop::Now } else { Stop::Soon };
                if let Some(done) = self.done.last_mut() {
                    done.trouble = by.to_string().lines().next().unwrap_or_default().into();
                }
                return Broken { by, stop };
            }
            self.observer.remark(&format!("fault: {} is back", fault.target));
        }
    }

    async fn carry_out(
        &mut self,
        fault: Fault,
        planned_at: Stamp,
        testbed: &mut Testbed,
    ) -> Result<(), RunError> {
        let now = clock::now();
        let (back_at, trouble) = (None, String::new());
        self.done.push(Done { fault, planned_at, done_at: now, down_at: now, back_at, trouble });
        match fault.action {
            Action::Stop => {
                let signal = |signal| testbed.process(fault.target).iter().for_each(|p| p.signal(signal));
                signal(Signal::SIGSTOP);
                tokio::time::sleep(fault.lasts.0).await;
                signal(Signal::SIGCONT);
            }
            Action::Kill | Action::Restart => {
                let kills = fault.action == Action::Kill;
                testbed.end(fault.target, kills).await;
                self.note(|done| done.down_at = clock::now());
                tokio::time::sleep(fault.lasts.0).await;
                testbed.start_again(fault.target).await?;
            }
        }
        self.note(|done| done.back_at = Some(clock::now()));
        Ok(())
    }

    fn note(&mut self, note: impl FnOnce(&mut Done)) {
        if let Some(done) = self.done.last_mut() {
            note(done);
        }
    }
}

/// Waits until the fault is due, and returns that time; for ever if there is no fault.
async fn due(fault: Option<Fault>, hold_from: &mut watch::Receiver<Option<Stamp>>) -> Stamp {
    let Some(fault) = fault else { return std::future::pending().await };
    let hold_from = match hold_from.wait_for(Option::is_some).await {
        Ok(from) => from.unwrap_or_default(),
        // The driver has gone, and the run is over.
        Err(_) => return std::future::pending().await,
    };
    let at = hold_from + fault.at.0;
    tokio::time::sleep_until(Timeline::start().tokio_deadline(at)).await;
    at
}
