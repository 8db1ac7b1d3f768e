//! Sets the stage for a run: Asterisk and the service under test, started or found, and stopped again.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;

use super::Failure;
use super::resolve::resolve;
use crate::asterisk::{Asterisk, Managed, Places, StartConfig, find};
use crate::child::Keeper;
use crate::driver::{Stop, Watched};
use crate::net::http::{HttpClient, HttpError, Limits};
use crate::scenario::fault::Target;
use crate::scenario::{AsteriskMode, Hangup, Scenario, ServiceMode};
use crate::sip::digest::Credentials;

/// How long a service may take until Asterisk lists its application.
const SERVICE_READY_WITHIN: Duration = Duration::from_secs(15);
/// How long Asterisk and the service may take to end when asked.
const GRACE: Duration = Duration::from_secs(5);

/// The service's last /metrics, which it leaves in the folder of logs.
const SERVICE_METRICS: &str = "service.json";

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
}

/// Asterisk's REST interface and who may use it.
pub struct Ari {
    pub url: String,
    pub user: String,
    pub password: String,
}

/// Everything that calls are placed against.
pub struct Stage {
    asterisk: Option<Managed>,
    service: Option<Keeper>,
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
            service: None,
            target,
            asterisk_is,
            service_is: "the target itself".into(),
            logs: logs.into(),
        };
        if scenario.service.mode == ServiceMode::Builtin {
            stage.start_service(scenario, logs).await?;
        }
        Ok(stage)
    }

    async fn start_service(&mut self, scenario: &Scenario, logs: &Path) -> Result<(), Failure> {
        let ari = match self.managed_ari() {
            Some(ari) => ari,
            None => external_ari(scenario)?,
        };
        let log = logs.join("service.log");
        let keeper = Keeper::start(service_command(scenario, &ari, &log)?).await;
        let keeper = keeper.context("cannot start the service under test")?;
        wait_for_application(&keeper, &ari, &scenario.service.app, &log).await?;
        self.service_is = format!("loadtest {} (built in)", env!("CARGO_PKG_VERSION"));
        self.service = Some(keeper);
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
        self.managed_ari().or_else(|| self.service.as_ref().and_then(|_| external_ari(scenario).ok()))
    }

    /// Sends a signal to what a fault is aimed at.
    pub fn signal(&self, target: Target, signal: Signal) {
        match target {
            Target::Asterisk => self.asterisk.iter().for_each(|managed| managed.signal(signal)),
            Target::Service => self.service.iter().for_each(|keeper| keeper.signal(signal)),
        }
    }

    /// Ends what a fault is aimed at, in order or not, and returns when it is gone.
    pub async fn end(&self, target: Target, kills: bool) {
        if !kills {
            self.signal(target, Signal::SIGTERM);
            let gone = tokio::time::timeout(GRACE, self.gone(target)).await;
            if gone.is_ok() {
                return;
            }
        }
        self.signal(target, Signal::SIGKILL);
        self.gone(target).await;
    }

    async fn gone(&self, target: Target) {
        match (target, &self.asterisk, &self.service) {
            (Target::Asterisk, Some(managed), _) => drop(managed.wait().await),
            (Target::Service, _, Some(keeper)) => drop(keeper.ended().await),
            _ => {}
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
            (Target::Service, _) => {
                let logs = self.logs.clone();
                self.start_service(scenario, &logs).await
            }
        }
    }

    /// The processes whose CPU and memory are of interest.
    pub fn watched(&self) -> Watched {
        Watched {
            asterisk: self.asterisk.as_ref().map(Managed::pid),
            service: self.service.as_ref().map(Keeper::pid),
        }
    }

    /// Completes when something that was started has ended by itself; says what, and how the run is
    /// to end: without Asterisk there is nobody left to hang up to.
    pub async fn broken(&self) -> (String, Stop) {
        let asterisk = async {
            match &self.asterisk {
                Some(managed) => managed.wait().await,
                None => std::future::pending().await,
            }
        };
        let service = async {
            match &self.service {
                Some(keeper) => keeper.ended().await,
                None => std::future::pending().await,
            }
        };
        let how = |status: Option<std::process::ExitStatus>| status.map_or("?".into(), |s| s.to_string());
        tokio::select! {
            status = asterisk => {
                let log = self.logs.join("asterisk.log");
                (format!("Asterisk ended during the run ({}); see {}", how(status), log.display()), Stop::Now)
            }
            status = service => {
                let log = self.logs.join("service.log");
                (format!("the service ended during the run ({}); see {}", how(status), log.display()), Stop::Soon)
            }
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
        if let Some(service) = self.service.take() {
            service.stop(GRACE).await;
        }
        let remarks = self.remarks();
        if let Some(asterisk) = self.asterisk.take() {
            asterisk.stop(GRACE).await;
        }
        let service_drops = service_drops(&self.logs.join(SERVICE_METRICS));
        Struck { asterisk_is: self.asterisk_is, service_is: self.service_is, remarks, service_drops }
    }
}

async fn start_asterisk(scenario: &Scenario, logs: &Path) -> Result<Managed, Failure> {
    let install = find::find(&Places::from_environment(None)).map_err(anyhow::Error::from)?;
    let mut config = StartConfig::new(install, logs);
    config.ports.rtp = scenario.asterisk.rtp_ports.from..=scenario.asterisk.rtp_ports.to;
    config.keep_clear = [scenario.media.ports, scenario.service.ports].map(|r| r.from..=r.to).into();
    config.app.clone_from(&scenario.service.app);
    config.driver = scenario.sip.local;
    if let Some(credentials) = sip_credentials()? {
        config.digest.user.clone_from(&credentials.username);
        config.digest.password = crate::asterisk::config::Secret::new(credentials.password);
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

fn external_ari(scenario: &Scenario) -> Result<Ari, Failure> {
    let needed = "the built-in service needs ARI_USER and ARI_PASS, as in Asterisk's ari.conf, in the \
                  environment or in a .env file";
    let (user, password) =
        variable("ARI_USER").zip(variable("ARI_PASS")).ok_or_else(|| Failure::usage(needed))?;
    Ok(Ari { url: scenario.asterisk.ari.clone().unwrap_or_default(), user, password })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn service_command(scenario: &Scenario, ari: &Ari, log: &PathBuf) -> Result<Command, Failure> {
    let program = std::env::current_exe().context("cannot find this program to start the service with")?;
    let output = File::options().create(true).append(true).open(log);
    let output = output.with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone().context("cannot share the service's log")?;
    let mut command = Command::new(program);
    command.arg("service");
    let load = &scenario.load;
    if let Some(after) = load.call_duration.filter(|_| load.hangup != Hangup::Caller) {
        let every = if load.hangup == Hangup::Both { "2" } else { "1" };
        command.args(["--hangup-after", &after.to_string(), "--hangup-every", every]);
    }
    command
        .args(["--http", &scenario.service.http.to_string()])
        .args(["--codec", &scenario.media.codec.to_string()])
        .arg("--metrics-file")
        .arg(log.with_file_name(SERVICE_METRICS))
        .args(["--media-ip", &scenario.sip.local.to_string()])
        .env("PORT_RANGE", scenario.service.ports.to_string())
        .env("ARI_URL", &ari.url)
        .env("ARI_USER", &ari.user)
        .env("ARI_PASS", &ari.password)
        .env("APP_NAME", &scenario.service.app)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    Ok(command)
}

/// Waits until Asterisk lists the application: from then on calls are given to it.
async fn wait_for_application(keeper: &Keeper, ari: &Ari, app: &str, log: &Path) -> Result<(), Failure> {
    let client = HttpClient::new(&ari.url, Some((&ari.user, &ari.password)));
    let client = client.context("asterisk.ari")?;
    let limits = Limits { timeout: Duration::from_secs(2), body: 1 << 20 };
    let path = format!("/ari/applications/{app}");
    let listed = async {
        loop {
            match client.send(hyper::Method::GET, &path, limits).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Err(e @ (HttpError::BadUrl(_) | HttpError::BadRequest(_))) => return Err(e),
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::select! {
        listed = tokio::time::timeout(SERVICE_READY_WITHIN, listed) => match listed {
            Ok(listed) => Ok(listed.context("asterisk.ari")?),
            Err(_) => Err(Failure::broke(format!(
                "Asterisk did not list the application `{app}` within {} s; the service's last words:\n{}",
                SERVICE_READY_WITHIN.as_secs(), last_words(log)
            ))),
        },
        _ = keeper.ended() => Err(Failure::broke(format!(
            "the service under test did not start:\n{}", last_words(log)
        ))),
    }
}

/// `media.drops` of the service's last metrics; none where it did not live to write them.
fn service_drops(path: &Path) -> u64 {
    let metrics: Option<serde_json::Value> =
        fs::read(path).ok().and_then(|b| serde_json::from_slice(&b).ok());
    metrics.and_then(|m| m["media"]["drops"].as_u64()).unwrap_or(0)
}

/// The last lines of a log.
fn last_words(log: &Path) -> String {
    const LINES: usize = 5;
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned();
    let lines: Vec<_> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].iter().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n")
}

impl Keeper {
    /// Asks the child to end, and kills it after `grace`.
    async fn stop(self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        // One that was held still hears of it only now.
        self.signal(Signal::SIGCONT);
        if tokio::time::timeout(grace, self.ended()).await.is_err() {
            self.signal(Signal::SIGKILL);
            self.ended().await;
        }
    }
}
