//! The testbed of a run: Asterisk and the service under test, started or found. It outlives a trial.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::RunError;
use super::application::{self, Application, describe, external_ari};
use super::neighbours::{self, Neighbour};
use super::plan::RunPlan;
use crate::asterisk::config::Secret;
use crate::asterisk::log::LogKind;
use crate::asterisk::{Ari, LogCounts, Managed, SearchPlaces, StartConfig, find};
use crate::child::{self, Keeper};
use crate::clock::Timeline;
use crate::driver::{Stop, Watched};
use crate::files;
use crate::net::resolve::resolve;
use crate::record::{Environment, ServiceRecord};
use crate::scenario::fault::Target;
use crate::scenario::{AsteriskMode, Hangup, Scenario, ServiceMode};
use crate::service::{COUNT_ANEW, WRITE_COUNTS};
use crate::values::PortRange;

/// Time for Asterisk and the service to end when asked.
const GRACE: Duration = Duration::from_secs(5);

/// Time for the service to write its counts.
const COUNTS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Largest file of counts that is read.
const COUNTS_MOST: u64 = 16 << 20;

/// Asterisk and the service under test, ready for calls.
///
/// It is brought up once and serves one trial after another. Dropped, it kills what it has started.
pub struct Testbed {
    program: PathBuf,
    scenario: Scenario,
    asterisk: Option<Managed>,
    ari: Option<Ari>,
    application: Option<Application>,
    /// Number of times that an application was started.
    starts: u32,
    /// Trials that have begun.
    trials: u32,
    target: SocketAddr,
    logs: PathBuf,
    /// Asterisk and service where the run has not started them.
    neighbours: [Neighbour; 2],
}

/// A process of the testbed that has ended by itself.
pub struct Broken {
    /// The process and its end, in a sentence.
    pub why: String,
    /// The way to end the run: without Asterisk there is nobody left to hang up to.
    pub stop: Stop,
}

impl Testbed {
    /// Starts Asterisk and the service as the scenario wants, and returns when calls can be answered.
    /// Logs go into `logs`.
    ///
    /// # Errors
    /// Whatever cannot be had, with the reason and the cure. Nothing is left running then.
    pub async fn up(plan: &RunPlan, logs: &Path) -> Result<Testbed, RunError> {
        let scenario = plan.scenario();
        let asterisk = match scenario.asterisk.mode {
            AsteriskMode::Managed => Some(start_asterisk(plan, logs).await?),
            AsteriskMode::External => None,
        };
        let target = match (&asterisk, &scenario.asterisk.sip) {
            (Some(managed), _) => managed.sip_addr(),
            (None, Some(sip)) => resolve(sip, "asterisk.sip").await?,
            (None, None) => return Err(RunError::Unusable("an external Asterisk needs asterisk.sip".into())),
        };
        let ari = asterisk.as_ref().map(|managed| managed.ari().clone());
        let mut testbed = Testbed {
            program: plan.program.clone(),
            scenario: scenario.clone(),
            asterisk,
            ari,
            application: None,
            starts: 0,
            trials: 0,
            target,
            logs: logs.into(),
            neighbours: [Neighbour::Elsewhere; 2],
        };
        if scenario.service.mode.is_application() {
            testbed.start_application().await?;
        }
        testbed.neighbours = testbed.look_around();
        Ok(testbed)
    }

    async fn start_application(&mut self) -> Result<(), RunError> {
        self.starts += 1;
        // The old one's group is killed before the new one begins, and its counts are not this one's.
        if self.application.take().is_some() {
            let _ = fs::remove_file(self.counts_file());
        }
        let ari = match &self.asterisk {
            Some(managed) => managed.ari().clone(),
            None => external_ari(self.scenario.asterisk.ari.as_deref().unwrap_or_default())?,
        };
        let application = Application::start(&self.program, &self.scenario, &ari, &self.logs).await?;
        (self.application, self.ari) = (Some(application), Some(ari));
        Ok(())
    }

    /// The address that SIP is sent to.
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// Asterisk's ARI, as far as the run has an account for it.
    pub fn ari(&self) -> Option<&Ari> {
        self.ari.as_ref()
    }

    /// The media ports of a service that the run has started.
    pub fn service_ports(&self) -> Option<PortRange> {
        self.scenario.service.mode.is_started().then_some(self.scenario.service.ports)
    }

    /// The process that a fault is aimed at, where the run has started it.
    pub fn process(&self, target: Target) -> Option<&Keeper> {
        match target {
            Target::Asterisk => self.asterisk.as_ref().map(Managed::process),
            Target::Service => self.application.as_ref().and_then(Application::process),
        }
    }

    /// Ends the process that a fault is aimed at, with SIGTERM first unless `kills`, and returns when it
    /// is gone.
    pub async fn end(&self, target: Target, kills: bool) {
        match self.process(target) {
            Some(process) if kills => drop(process.kill().await),
            Some(process) => drop(process.stop(GRACE).await),
            None => {}
        }
    }

    /// Starts the target of a fault again, and returns when calls can be answered.
    ///
    /// # Errors
    /// Those of the first start.
    pub async fn start_again(&mut self, target: Target) -> Result<(), RunError> {
        match (target, &mut self.asterisk) {
            (Target::Asterisk, Some(managed)) => Ok(managed.start_again().await?),
            (Target::Asterisk, None) => Ok(()),
            (Target::Service, _) => self.start_application().await,
        }
    }

    /// Looks for Asterisk and the service on this machine, as far as the run has not started them.
    fn look_around(&self) -> [Neighbour; 2] {
        let asterisk = match self.asterisk {
            Some(_) => Neighbour::Elsewhere,
            None => neighbours::bound_to(self.target),
        };
        let ari = self.ari().filter(|_| self.scenario.service.mode == ServiceMode::External);
        let service = ari.map(|ari| neighbours::connected_to(&ari.addresses()));
        [asterisk, service.unwrap_or(Neighbour::Elsewhere)]
    }

    /// The processes that the run has started.
    pub fn started(&self) -> Watched {
        Watched {
            asterisk: self.process(Target::Asterisk).map(Keeper::pid),
            service: self.process(Target::Service).map(Keeper::pid),
        }
    }

    /// The processes whose CPU and memory are recorded: those that the run has started, or found on this
    /// machine.
    pub fn watched(&self) -> Watched {
        let [asterisk, service] = self.neighbours.map(Neighbour::pid);
        let started = self.started();
        Watched { asterisk: started.asterisk.or(asterisk), service: started.service.or(service) }
    }

    fn unseen_remark(&self) -> Option<String> {
        let unseen = self.unseen();
        (!unseen.is_empty()).then(|| {
            format!(
                "the CPU of {unseen} cannot be told from that of other programs: run loadtest as the same user or \
                 as root, and in the same network and PID namespaces (in containers: host network, `pid: host`)"
            )
        })
    }

    /// Asterisk or the service, where it runs on this machine and its process is not known.
    fn unseen(&self) -> String {
        let hidden = self.neighbours.iter().zip(["Asterisk", "the service"]);
        let hidden = hidden.filter(|(neighbour, _)| **neighbour == Neighbour::Hidden).map(|(_, name)| name);
        hidden.collect::<Vec<_>>().join(" and ")
    }

    /// Completes when a process of the testbed has ended by itself.
    pub async fn broken(&self) -> Broken {
        let service = async {
            match &self.application {
                Some(application) => application.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child::ended(self.process(Target::Asterisk)) => {
                let (how, log) = (child::describe(status), self.logs.join("asterisk.log"));
                let why = format!("Asterisk ended during the run ({how}); see {}", log.display());
                Broken { why, stop: Stop::Now }
            }
            why = service => Broken { why, stop: Stop::Soon },
        }
    }

    /// Begins a trial: everything counted from here on is that trial's. Returns the number of times that an
    /// application was started so far.
    ///
    /// # Errors
    /// When the plan wants what only another start of Asterisk or the service can give.
    pub fn begin_trial(&mut self, plan: &RunPlan) -> Result<u32, RunError> {
        let (ours, wanted) = (&self.scenario, plan.scenario());
        let hangs_up = |s: &Scenario| s.load.call_duration.filter(|_| s.load.hangup != Hangup::Caller);
        let service = |s: &Scenario| (s.media.codec, s.load.hangup, hangs_up(s));
        let differs = [
            ("[asterisk]", ours.asterisk != wanted.asterisk),
            ("[service]", ours.service != wanted.service),
            ("sip.local", ours.sip.local != wanted.sip.local),
            ("media.codec, load.hangup or load.call_duration", service(ours) != service(wanted)),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(RunError::Unusable(format!(
                "the testbed was brought up for another {what}: bring up one for this scenario"
            )));
        }
        self.trials += 1;
        // The start of Asterisk and of the service is counted with the first.
        if self.trials > 1 {
            self.take_log_counts();
            if self.has_builtin_service() {
                self.signal_service(COUNT_ANEW);
            }
        }
        Ok(self.starts)
    }

    /// Adds Asterisk and the service to the environment of the trial that began after so many `starts` of an
    /// application, with what Asterisk's log and the service say of it.
    pub async fn describe(&self, starts: u32, environment: Environment) -> Environment {
        let counted = if self.has_builtin_service() { self.service_counts().await } else { None };
        Environment {
            asterisk: match &self.asterisk {
                Some(managed) => managed.install().version.clone(),
                None => format!("external at {}", self.target),
            },
            service: describe(&self.scenario.service),
            service_drops: counted.as_ref().map_or(0, |counted| counted.media.drops),
            // The figures of one life of several would pass for those of the run.
            service_record: counted.filter(|_| self.starts <= starts),
            remarks: self.unseen_remark().into_iter().chain(log_remarks(&self.take_log_counts())).collect(),
            unseen: self.unseen(),
            ..environment
        }
    }

    fn take_log_counts(&self) -> LogCounts {
        self.asterisk.as_ref().map(Managed::take_log_counts).unwrap_or_default()
    }

    fn has_builtin_service(&self) -> bool {
        self.scenario.service.mode == ServiceMode::Builtin
    }

    fn signal_service(&self, signal: Signal) {
        self.process(Target::Service).iter().for_each(|process| process.signal(signal));
    }

    fn counts_file(&self) -> PathBuf {
        self.logs.join(application::COUNTS)
    }

    /// Has the built-in service write down its counts, and reads them.
    async fn service_counts(&self) -> Option<ServiceRecord> {
        let file = self.counts_file();
        let _ = fs::remove_file(&file);
        self.signal_service(WRITE_COUNTS);
        let timeline = Timeline::start();
        let give_up = timeline.now() + COUNTS_WITHIN;
        loop {
            match files::read(&file, COUNTS_MOST) {
                Ok(bytes) => return serde_json::from_slice(&bytes).ok(),
                Err(_) if timeline.now() >= give_up => return None,
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Stops what was started, the service first, so that it can take its channels away.
    pub async fn down(mut self) {
        if let Some(service) = self.process(Target::Service) {
            service.stop(GRACE).await;
        }
        if let Some(asterisk) = self.asterisk.take() {
            asterisk.stop(GRACE).await;
        }
    }
}

/// Remarks on what Asterisk has logged.
fn log_remarks(counts: &LogCounts) -> Vec<String> {
    let remarks = [
        (LogKind::Overload, "task processor overloads: Asterisk ignored SIP requests meanwhile"),
        (LogKind::RtpExhausted, "times no RTP port was free"),
        (LogKind::DescriptorsExhausted, "times no file descriptor was free"),
        (LogKind::Error, "errors (logs/asterisk.log)"),
        (LogKind::Warning, "warnings (logs/asterisk.log)"),
    ];
    let counted = remarks.into_iter().filter_map(|(kind, what)| Some((counts.get(&kind)?, what)));
    counted.map(|(count, what)| format!("Asterisk's log: {count} {what}")).collect()
}

async fn start_asterisk(plan: &RunPlan, logs: &Path) -> Result<Managed, RunError> {
    let scenario = plan.scenario();
    let install = find::find(&SearchPlaces::from_environment(None))?;
    let mut config = StartConfig::new(install, logs);
    config.ports.rtp = scenario.asterisk.rtp_ports.from..=scenario.asterisk.rtp_ports.to;
    config.keep_clear = [scenario.media.ports, scenario.service.ports].map(|r| r.from..=r.to).into();
    config.app.clone_from(&scenario.service.app);
    config.driver = scenario.sip.local;
    config.ports.http = scenario.asterisk.ari_port.unwrap_or(0);
    if scenario.service.mode == ServiceMode::External {
        config.ari = application::account()?;
    }
    if let Some(credentials) = &plan.credentials {
        config.digest.user.clone_from(&credentials.username);
        config.digest.password = Secret::new(credentials.password.clone());
    }
    Ok(Managed::start(config).await?)
}
