//! The testbed of a run: Asterisk and the service under test, started or found. It outlives a trial.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::RunError;
use super::application::{self, Application, ServiceLog, describe, external_aris};
use super::logs;
use super::managed::start_asterisk;
use super::neighbours::{self, Neighbour};
use super::plan::RunPlan;
use super::targets::{resolve_all, versions};
use super::wire::wire;
use crate::asterisk::{Account, Ari, LogCounts, Managed};
use crate::child::{ChildOutput, Keeper, LogDigest, LogReader};
use crate::clock::Timeline;
use crate::driver::{Stop, Watched, WireConfig};
use crate::files;
use crate::net::resolve::listed;
use crate::record::{Breakage, Environment, LogLine, Observed, ServiceRecord, Setup, TestedProcess};
use crate::scenario::fault::Target;
use crate::scenario::{AsteriskMode, Scenario, ServiceMode};
use crate::scheduling::Scheduling;
use crate::service::{COUNT_ANEW, WRITE_COUNTS};
use crate::sip::digest::Credentials;
use crate::values::{PortRange, cut};

/// Time for Asterisk and the service to end when asked.
const GRACE: Duration = Duration::from_secs(5);

/// Time for the service to write its counts.
const COUNTS_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of a service's last line that are kept.
const LINE_MAX: usize = 280;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Largest file of counts that is read.
const COUNTS_MOST: u64 = 16 << 20;

/// Asterisk and the service under test, ready for calls.
///
/// It is brought up once and serves one trial after another. Dropped, it kills what it has started.
pub struct Testbed {
    program: PathBuf,
    scenario: Scenario,
    service_scheduling: Scheduling,
    asterisk: Option<Managed>,
    /// ARI of each Asterisk, in the order of the targets, as far as the run has an account for it.
    aris: Vec<Ari>,
    application: Option<Application>,
    /// Number of times that an application was started.
    starts: u32,
    /// Trials that have begun.
    trials: u32,
    /// Addresses that SIP is sent to, in the order of the scenario; there is at least one.
    targets: Vec<SocketAddr>,
    wire: WireConfig,
    logs: PathBuf,
    /// Asterisk and service where the run has not started them.
    neighbours: [Neighbour; 2],
    /// Processes that a planned fault has ended and not started again.
    ended_by_plan: Vec<Target>,
    /// Set while a trial ends: what the logs say meanwhile is counted apart.
    is_ending: Arc<AtomicBool>,
    service_log: ServiceLog,
}

/// A process of the testbed that has ended by itself.
pub struct Broken {
    /// The process and its end.
    pub by: Breakage,
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
        let is_ending = Arc::default();
        let asterisk = match scenario.asterisk.mode {
            AsteriskMode::Managed => Some(start_asterisk(plan, logs, &is_ending).await?),
            AsteriskMode::External => None,
        };
        let targets = match &asterisk {
            Some(managed) => vec![managed.sip_addr()],
            None => resolve_all(scenario).await?,
        };
        let wire = wire(scenario, asterisk.as_ref().and_then(Managed::issuer))?;
        let aris = match &asterisk {
            Some(managed) => vec![managed.ari().clone()],
            // Without a service it is there for counting alone, and an account that is not given costs that alone.
            None => external_aris(scenario).unwrap_or_default(),
        };
        let mut testbed = Testbed {
            program: plan.program.clone(),
            scenario: scenario.clone(),
            service_scheduling: plan.granted.service.scheduling.clone(),
            asterisk,
            aris,
            application: None,
            starts: 0,
            trials: 0,
            targets,
            wire,
            logs: logs.into(),
            neighbours: [Neighbour::Elsewhere; 2],
            ended_by_plan: Vec::new(),
            service_log: Arc::new(Mutex::new(LogReader::new(Arc::clone(&is_ending)))),
            is_ending,
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
        self.aris = match &self.asterisk {
            Some(managed) => vec![managed.ari().clone()],
            None => external_aris(&self.scenario)?,
        };
        // Of several Asterisks each has to list its own; none of those is the run's.
        for ari in &self.aris {
            let application = Application::start(
                &self.program,
                &self.scenario,
                &self.service_scheduling,
                ari,
                &self.logs,
                &self.service_log,
            )
            .await?;
            self.application.get_or_insert(application);
        }
        Ok(())
    }

    /// The addresses that SIP is sent to, in the order of the scenario.
    pub fn targets(&self) -> &[SocketAddr] {
        &self.targets
    }

    /// Transport of that SIP.
    pub fn wire(&self) -> &WireConfig {
        &self.wire
    }

    /// The account that calls need: that of the Asterisk which the run has started, or SIP_USER and SIP_PASS.
    pub fn credentials(&self, plan: &RunPlan) -> Option<Credentials> {
        let managed = self.asterisk.as_ref().map(|managed| {
            let Account { user, password } = managed.sip_account();
            Credentials { username: user.clone(), password: password.expose().into() }
        });
        managed.or_else(|| plan.credentials.clone())
    }

    /// ARI of each Asterisk, as far as the run has an account for it.
    pub fn aris(&self) -> &[Ari] {
        &self.aris
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
    pub async fn end(&mut self, target: Target, kills: bool) {
        self.ended_by_plan.push(target);
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
            (Target::Asterisk, Some(managed)) => managed.start_again().await?,
            (Target::Asterisk, None) => {}
            (Target::Service, _) => self.start_application().await?,
        }
        self.ended_by_plan.retain(|ended| *ended != target);
        Ok(())
    }

    /// Looks for Asterisk and the service on this machine, as far as the run has not started them.
    fn look_around(&self) -> [Neighbour; 2] {
        // The figures of one of several would pass for those of all.
        let asterisk = match (&self.asterisk, self.targets.as_slice()) {
            (None, [target]) => neighbours::bound_to(*target, self.scenario.asterisk.transport),
            _ => Neighbour::Elsewhere,
        };
        let is_external = self.scenario.service.mode == ServiceMode::External;
        let ari = match self.aris.as_slice() {
            [ari] if is_external => Some(ari),
            _ => None,
        };
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
        let [asterisk, service] = self.neighbours().map(Neighbour::pid);
        Watched { asterisk: self.started().asterisk.or(asterisk), service }
    }

    /// Asterisk and the service on this machine, as far as the run has not started them itself, or not by its own hand.
    fn neighbours(&self) -> [Neighbour; 2] {
        let [asterisk, service] = self.neighbours;
        [asterisk, self.application.as_ref().and_then(Application::watched).unwrap_or(service)]
    }

    fn unseen_remark(&self) -> Option<String> {
        if self.application.as_ref().and_then(Application::watched) == Some(Neighbour::Hidden) {
            let who = match self.has_builtin_service() {
                true => "the built-in service holds no connection to ARI that can be seen",
                false => {
                    "none of the processes that service.command has started holds a connection to ARI (docker run, sudo, a \
                     relay)"
                }
            };
            return Some(format!(
                "{who}: the service's CPU and memory cannot be watched, and are not in the figures"
            ));
        }
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
        let hidden = self.neighbours().into_iter().zip(["Asterisk", "the service"]);
        let hidden = hidden.filter(|(neighbour, _)| *neighbour == Neighbour::Hidden).map(|(_, name)| name);
        hidden.collect::<Vec<_>>().join(" and ")
    }

    /// Completes when a process of the testbed has ended by itself.
    pub async fn broken(&self) -> Broken {
        tokio::select! {
            biased;
            by = self.ended(Target::Asterisk) => Broken { by, stop: Stop::Now },
            by = self.ended(Target::Service) => Broken { by, stop: Stop::Soon },
        }
    }

    /// Says how a process has ended by itself, if it has.
    async fn has_ended(&self, target: Target) -> Option<Breakage> {
        self.process(target)?.status()?;
        let is_planned = self.ended_by_plan.contains(&target);
        if is_planned { None } else { Some(self.ended(target).await) }
    }

    /// The first process that has ended by itself, and how.
    pub async fn has_broken(&self) -> Option<Breakage> {
        match self.has_ended(Target::Asterisk).await {
            Some(why) => Some(why),
            None => self.has_ended(Target::Service).await,
        }
    }

    /// Completes when a process has ended by itself.
    async fn ended(&self, target: Target) -> Breakage {
        let output = match target {
            Target::Asterisk => self.asterisk.as_ref().map(Managed::output),
            Target::Service => self.application.as_ref().and_then(Application::output),
        };
        let process = self.process(target).filter(|_| !self.ended_by_plan.contains(&target));
        let (Some(process), Some(output)) = (process, output) else { return std::future::pending().await };
        application::ended_by_itself(tested(target), process, output).await
    }

    /// The flag to set when the calls begin to end: what the logs say from there on is counted apart.
    pub fn ending(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_ending)
    }

    /// Begins a trial: everything counted from here on is that trial's. Returns the number of times that an
    /// application was started so far.
    ///
    /// # Errors
    /// When the plan wants what only another start of Asterisk or the service can give.
    pub fn begin_trial(&mut self, plan: &RunPlan) -> Result<u32, RunError> {
        let (ours, wanted) = (&self.scenario, plan.scenario());
        let hangs_up = |s: &Scenario| s.load.far_end_hangs_up_after();
        let service = |s: &Scenario| (s.media.codec, s.load.hangup, hangs_up(s));
        let differs = [
            ("[asterisk]", ours.asterisk != wanted.asterisk),
            ("[service]", ours.service != wanted.service),
            ("sip.local", ours.sip.local != wanted.sip.local),
            ("[sip.tls]", ours.sip.tls != wanted.sip.tls),
            ("media.codec, load.hangup or load.call_duration", service(ours) != service(wanted)),
            ("media.srtp", ours.media.srtp != wanted.media.srtp),
            ("service.media", ours.service.media != wanted.service.media),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(RunError::Unusable(format!(
                "the testbed was brought up for another {what}: bring up one for this scenario"
            )));
        }
        self.trials += 1;
        self.is_ending.store(false, Relaxed);
        // The start of Asterisk and of the service is counted with the first.
        if self.trials > 1 {
            self.take_log_counts();
            self.take_logs();
            if self.has_builtin_service() {
                self.signal_service(COUNT_ANEW);
            }
        }
        Ok(self.starts)
    }

    /// Adds Asterisk and the service to the environment of the trial that began after so many `starts` of an
    /// application, with what Asterisk's log and the service say of it.
    pub async fn describe(&self, plan: &RunPlan, starts: u32, environment: Environment) -> Environment {
        let counted = if self.has_builtin_service() { self.service_counts().await } else { None };
        let logs = self.take_logs();
        let remarks = self.unseen_remark().into_iter().chain(logs::remarks(&self.take_log_counts(), &logs));
        Environment {
            asterisk: self.asterisk_version().await,
            service: describe(&self.scenario.service),
            service_scheduling: words(
                self.application.as_ref().and_then(Application::process),
                &self.service_scheduling,
            ),
            asterisk_scheduling: words(self.asterisk.as_ref(), &plan.granted.asterisk.scheduling),
            service_drops: counted.as_ref().map_or(0, |counted| counted.media.drops),
            // The figures of one life of several would pass for those of the run.
            service_record: counted.filter(|_| self.starts <= starts),
            remarks: remarks.collect(),
            observed: self.observed(plan, &logs, environment.observed),
            unseen: self.unseen(),
            ..environment
        }
    }

    /// Asterisk's version: what was started, or what an external one says over ARI.
    async fn asterisk_version(&self) -> String {
        let external = format!("external at {}", listed(&self.targets));
        if let Some(managed) = &self.asterisk {
            return managed.install().version.clone();
        }
        match versions(&self.aris).await.as_str() {
            "" => external,
            versions => format!("Asterisk {versions}, {external}"),
        }
    }

    /// Whom `plan` calls and as whom, and what the logs say.
    fn observed(
        &self,
        plan: &RunPlan,
        [asterisk, service]: &[LogDigest; 2],
        by_driver: Observed,
    ) -> Observed {
        let s = plan.scenario();
        let last = service.last.last().map(|text| LogLine { text: cut(text, LINE_MAX), count: 1 });
        let of_all = || self.credentials(plan).map(|credentials| credentials.username);
        let user = plan.first_account().map(String::from).or_else(of_all);
        Observed {
            setup: Setup {
                managed: self.asterisk.is_some(),
                service: application::word(s.service.mode).into(),
                target: listed(&self.targets),
                to: s.sip.to.clone(),
                from: s.sip.caller(user.as_deref()).into(),
                user: user.unwrap_or_default(),
                accounts: s.sip.accounts.clone().unwrap_or_default(),
                app: s.service.app.clone(),
                setup_timeout: s.sip.setup_timeout.to_string(),
            },
            asterisk_log: asterisk.lines.iter().map(LogLine::from).collect(),
            service_log: service.lines.iter().map(LogLine::from).chain(last).collect(),
            ..by_driver
        }
    }

    /// The troubles in the logs of Asterisk and of the service since the last call of this.
    fn take_logs(&self) -> [LogDigest; 2] {
        let service = self.service_log.lock().unwrap_or_else(PoisonError::into_inner).take();
        let output = self.application.as_ref().and_then(Application::output);
        let service = LogDigest {
            last: output.map(ChildOutput::tail).unwrap_or_default(),
            cut_bytes: output.map_or(0, ChildOutput::cut_bytes),
            ..service
        };
        [self.asterisk.as_ref().map(Managed::take_log_digest).unwrap_or_default(), service]
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

    /// Stops what was started, the service first, so that it can take its channels away. Says what has ended by
    /// itself before it was to be stopped.
    pub async fn down(mut self) -> Option<Breakage> {
        let mut broken = self.has_ended(Target::Service).await;
        if let Some(service) = self.process(Target::Service) {
            service.stop(GRACE).await;
        }
        broken = broken.or(self.has_ended(Target::Asterisk).await);
        if let Some(asterisk) = self.asterisk.take() {
            asterisk.stop(GRACE).await;
        }
        broken
    }
}

/// Scheduling of a part that the run has started, in words; empty for another.
fn words<T>(part: Option<&T>, scheduling: &Scheduling) -> String {
    part.map_or(String::new(), |_| scheduling.to_string())
}

/// The process that a fault's target is.
pub fn tested(target: Target) -> TestedProcess {
    match target {
        Target::Asterisk => TestedProcess::Asterisk,
        Target::Service => TestedProcess::Service,
    }
}
