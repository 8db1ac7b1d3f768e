//! Sets the stage for a run: Asterisk and the service under test, started or found, and stopped again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::application::{self, Application, Ari, describe};
use super::resolve::resolve;
use crate::asterisk::config::Secret;
use crate::asterisk::{Account, Asterisk, Managed, Places, StartConfig, find};
use crate::child::{self, Keeper};
use crate::cli::Failure;
use crate::driver::{Stop, Watched};
use crate::record::ServiceRecord;
use crate::scenario::fault::Target;
use crate::scenario::{AsteriskMode, Scenario, ServiceMode};
use crate::sip::digest::Credentials;

/// How long Asterisk and the service may take to end when asked.
const GRACE: Duration = Duration::from_secs(5);

/// What is known once everything has been stopped.
pub struct Struck {
    /// What Asterisk was, in words.
    pub asterisk_is: String,
    /// What answered the calls, in words.
    pub service_is: String,
    /// What the report should mention of Asterisk's log.
    pub remarks: Vec<String>,
    /// Media datagrams that the service's full socket buffers dropped.
    pub service_drops: u64,
    /// What the built-in service has counted.
    pub service_record: Option<ServiceRecord>,
}

/// Everything that calls are placed against.
pub struct Stage {
    asterisk: Option<Managed>,
    application: Option<Application>,
    /// How often an application was started.
    lives: u32,
    /// Where SIP is sent.
    pub target: SocketAddr,
    asterisk_is: String,
    service_is: String,
    logs: PathBuf,
}

impl Stage {
    /// Starts what the scenario wants started, and returns when calls can be answered.
    ///
    /// # Errors
    /// Whatever cannot be had, with the reason and the cure. Nothing is left running then.
    pub async fn set(scenario: &Scenario, logs: &Path) -> Result<Stage, Failure> {
        let asterisk = match scenario.asterisk.mode {
            AsteriskMode::Managed => Some(start_asterisk(scenario, logs).await?),
            AsteriskMode::External => None,
        };
        let target = match (&asterisk, &scenario.asterisk.sip) {
            (Some(managed), _) => managed.sip_addr(),
            (None, Some(sip)) => resolve(sip, "asterisk.sip").await?,
            (None, None) => return Err(Failure::usage("an external Asterisk needs asterisk.sip")),
        };
        let asterisk_is = match &asterisk {
            Some(managed) => managed.install().version.clone(),
            None => format!("external at {target}"),
        };
        let mut stage = Stage {
            asterisk,
            application: None,
            lives: 0,
            target,
            asterisk_is,
            service_is: describe(&scenario.service),
            logs: logs.into(),
        };
        if scenario.service.mode.is_application() {
            stage.start_application(scenario).await?;
        }
        Ok(stage)
    }

    async fn start_application(&mut self, scenario: &Scenario) -> Result<(), Failure> {
        // The old one's group is killed before the new one begins, and its last words are not this one's.
        self.lives += 1;
        if self.application.take().is_some() {
            let _ = fs::remove_file(self.logs.join(application::METRICS));
        }
        let ari = match self.managed_ari() {
            Some(ari) => ari,
            None => external_ari(scenario)?,
        };
        self.application = Some(Application::start(scenario, &ari, &self.logs).await?);
        Ok(())
    }

    fn managed_ari(&self) -> Option<Ari> {
        let managed = self.asterisk.as_ref()?;
        let account = managed.account();
        let (user, password) = (account.user.clone(), account.password.expose().to_string());
        Some(Ari { url: managed.ari_url(), user, password })
    }

    /// Asterisk's ARI, where the run has any business with it.
    pub fn ari(&self, scenario: &Scenario) -> Option<Ari> {
        self.managed_ari().or_else(|| self.application.as_ref().and_then(|_| external_ari(scenario).ok()))
    }

    /// The process that a fault is aimed at, where the run has started it.
    pub fn process(&self, target: Target) -> Option<&Keeper> {
        match target {
            Target::Asterisk => self.asterisk.as_ref().map(Managed::process),
            Target::Service => self.application.as_ref().and_then(Application::process),
        }
    }

    /// Ends the process that a fault is aimed at, in order or not, and returns when it is gone.
    pub async fn end(&self, target: Target, kills: bool) {
        match self.process(target) {
            Some(process) if kills => drop(process.kill().await),
            Some(process) => drop(process.stop(GRACE).await),
            None => {}
        }
    }

    /// Starts again what a fault has ended, and returns when calls can be answered.
    ///
    /// # Errors
    /// Those of the first start.
    pub async fn start_again(&mut self, target: Target, scenario: &Scenario) -> Result<(), Failure> {
        match (target, &mut self.asterisk) {
            (Target::Asterisk, Some(managed)) => {
                Ok(managed.start_again().await.map_err(anyhow::Error::from)?)
            }
            (Target::Asterisk, None) => Ok(()),
            (Target::Service, _) => self.start_application(scenario).await,
        }
    }

    /// The processes whose CPU and memory are of interest.
    pub fn watched(&self) -> Watched {
        Watched {
            asterisk: self.process(Target::Asterisk).map(Keeper::pid),
            service: self.process(Target::Service).map(Keeper::pid),
        }
    }

    /// Completes when something that was started has ended by itself; says what, and how the run is
    /// to end: without Asterisk there is nobody left to hang up to.
    pub async fn broken(&self) -> (String, Stop) {
        let asterisk = async {
            match &self.asterisk {
                Some(managed) => managed.process().ended().await,
                None => std::future::pending().await,
            }
        };
        let service = async {
            match &self.application {
                Some(application) => application.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = asterisk => {
                let log = self.logs.join("asterisk.log");
                (format!("Asterisk ended during the run ({}); see {}", child::describe(status), log.display()), Stop::Now)
            }
            how = service => (how, Stop::Soon),
        }
    }

    /// What the report should mention of Asterisk's log.
    fn remarks(&self) -> Vec<String> {
        let Some(managed) = &self.asterisk else { return Vec::new() };
        let counts = managed.log_counts();
        let mut remarks = Vec::new();
        let mut remark = |count: u64, what: &str| {
            if count > 0 {
                remarks.push(format!("Asterisk's log: {count} {what}"));
            }
        };
        remark(counts.overloads, "task processor overloads: Asterisk ignored SIP requests meanwhile");
        remark(counts.rtp_exhausted, "times no RTP port was free");
        remark(counts.descriptors_exhausted, "times no file descriptor was free");
        remark(counts.errors, "errors (logs/asterisk.log)");
        remark(counts.warnings, "warnings (logs/asterisk.log)");
        remarks
    }

    /// Stops what was started, the service first, so that it can take its channels away.
    pub async fn strike(mut self) -> Struck {
        if let Some(service) = self.process(Target::Service) {
            service.stop(GRACE).await;
        }
        let remarks = self.remarks();
        if let Some(asterisk) = self.asterisk.take() {
            asterisk.stop(GRACE).await;
        }
        let last_words = fs::read(self.logs.join(application::METRICS)).unwrap_or_default();
        let counted: Option<ServiceRecord> = serde_json::from_slice(&last_words).ok();
        Struck {
            asterisk_is: self.asterisk_is,
            service_is: self.service_is,
            remarks,
            service_drops: counted.as_ref().map_or(0, |counted| counted.media.drops),
            // The figures of one life of several would pass for those of the run.
            service_record: counted.filter(|_| self.lives == 1),
        }
    }
}

fn external_ari(scenario: &Scenario) -> Result<Ari, Failure> {
    Ari::from_environment(scenario.asterisk.ari.clone().unwrap_or_default())
}

async fn start_asterisk(scenario: &Scenario, logs: &Path) -> Result<Managed, Failure> {
    let install = find::find(&Places::from_environment(None)).map_err(anyhow::Error::from)?;
    let mut config = StartConfig::new(install, logs);
    config.ports.rtp = scenario.asterisk.rtp_ports.from..=scenario.asterisk.rtp_ports.to;
    config.keep_clear = [scenario.media.ports, scenario.service.ports].map(|r| r.from..=r.to).into();
    config.app.clone_from(&scenario.service.app);
    config.driver = scenario.sip.local;
    config.ports.http = scenario.asterisk.ari_port.unwrap_or(0);
    if scenario.service.mode == ServiceMode::External {
        let Ari { user, password, .. } = Ari::from_environment(String::new())?;
        config.ari = Account { user, password: Secret::new(password) };
    }
    if let Some(credentials) = sip_credentials()? {
        config.digest.user.clone_from(&credentials.username);
        config.digest.password = Secret::new(credentials.password);
    }
    Ok(Asterisk::start(config).await.map_err(anyhow::Error::from)?)
}

/// SIP_USER and SIP_PASS, for targets that ask for them.
///
/// # Errors
/// When only one of the two is set.
pub fn sip_credentials() -> Result<Option<Credentials>, Failure> {
    match (variable("SIP_USER"), variable("SIP_PASS")) {
        (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
        (None, None) => Ok(None),
        _ => Err(Failure::usage("SIP_USER and SIP_PASS go together; only one of them is set")),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
