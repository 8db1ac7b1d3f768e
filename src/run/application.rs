//! The ARI application under test: started or found, waited for, stopped; and its last words.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};
use serde::de::IgnoredAny;

use crate::ari::request::encoded;
use crate::child::{self, Keeper, Output};
use crate::cli::Failure;
use crate::net::http::{HttpClient, HttpError, Limits};
use crate::record::{CallRecord, Ending};
use crate::scenario::{AsteriskMode, Hangup, Scenario, Service, ServiceMode};

/// The service's last /metrics, which the built-in one leaves in the folder of logs.
pub const METRICS: &str = "service.json";

/// Last lines of its output that are shown, and bytes of each.
const LAST_LINES: usize = 5;
const LAST_LINE_MAX: usize = 1000;
/// Interval at which Asterisk is asked whether it lists the application.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Asterisk's REST interface and who may use it.
#[derive(Clone)]
pub struct Ari {
    /// `http://host:port`, without the path `/ari`.
    pub url: String,
    /// The ARI user.
    pub user: String,
    /// That user's password.
    pub password: String,
}

impl Ari {
    /// The account of ARI_USER and ARI_PASS at `url`.
    ///
    /// # Errors
    /// When one of the two is not set.
    pub fn from_environment(url: String) -> Result<Ari, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let needed = "the application's account is not known: set ARI_USER and ARI_PASS, as in Asterisk's \
                      ari.conf, in the environment or in a .env file";
        let account = variable("ARI_USER").zip(variable("ARI_PASS"));
        let (user, password) = account.ok_or_else(|| Failure::usage(needed))?;
        Ok(Ari { url, user, password })
    }

    /// The TCP port of ARI.
    fn port(&self) -> Option<u16> {
        let url: hyper::Uri = self.url.parse().ok()?;
        url.port_u16().or(match url.scheme_str() {
            Some("https") => Some(443),
            _ => Some(80),
        })
    }

    /// Asks Asterisk about the application `app`.
    ///
    /// # Errors
    /// An address or a password that will not do later either.
    pub async fn lists(&self, app: &str) -> Result<AppStatus, Failure> {
        const LIMITS: Limits = Limits { timeout: Duration::from_secs(2), body: 1 << 20 };
        let client = HttpClient::new(&self.url, Some((&self.user, &self.password)));
        let client = client.context("asterisk.ari")?;
        match client.get(&format!("/ari/applications/{}", encoded(app)), LIMITS).await {
            Ok(IgnoredAny) => Ok(AppStatus::Listed),
            Err(HttpError::Status { status: 404, .. }) => Ok(AppStatus::Absent),
            Err(HttpError::Status { status: 401 | 403, .. }) => Err(Failure::broke(format!(
                "Asterisk at {} refuses user `{}`: check ARI_USER and ARI_PASS against its ari.conf",
                self.url, self.user
            ))),
            Err(e @ (HttpError::BadUrl(_) | HttpError::BadRequest(_))) => {
                Err(anyhow::Error::from(e).context("asterisk.ari").into())
            }
            Err(e) => Ok(AppStatus::Unknown(e.to_string())),
        }
    }
}

/// An application in Asterisk's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppStatus {
    /// It is there: calls are given to it.
    Listed,
    /// It is not, or not yet.
    Absent,
    /// Asterisk did not say, and why.
    Unknown(String),
}

/// Before what a service has said last.
const LAST_WORDS: &str = "; its last words:";

/// Why a run broke, without a service's last words: for whom they have been told already.
pub fn without_last_words(why: &str) -> &str {
    why.split(LAST_WORDS).next().unwrap_or(why)
}

/// The application that answers the calls.
pub struct Application {
    /// Its process, where the run has started it.
    process: Option<(Keeper, Output)>,
}

impl Application {
    /// Starts it where the scenario wants that, and returns when Asterisk lists it.
    ///
    /// # Errors
    /// What keeps it from being started or listed, with its last words. Nothing is left running then.
    pub async fn start(scenario: &Scenario, ari: &Ari, logs: &Path) -> Result<Application, Failure> {
        let service = &scenario.service;
        let command = match service.mode {
            ServiceMode::Builtin => Some(builtin(scenario, logs)?),
            ServiceMode::Command => own(&service.command),
            ServiceMode::External | ServiceMode::None => None,
        };
        let process = match command {
            Some(command) => Some(spawn(command, scenario, ari, logs).await?),
            None => None,
        };
        let application = Application { process };
        if service.mode.is_application() {
            application.appears(scenario, ari).await?;
        }
        Ok(application)
    }

    /// Its process, where the run has started it.
    pub fn process(&self) -> Option<&Keeper> {
        self.process.as_ref().map(|(keeper, _)| keeper)
    }

    /// Completes when it has ended by itself; says how, in one line.
    pub async fn ended(&self) -> String {
        let Some((keeper, output)) = &self.process else { return std::future::pending().await };
        let status = keeper.ended().await;
        let last = last_words(output).await.join(" | ");
        format!("the service ended by itself during the run ({}){LAST_WORDS} {last}", child::describe(status))
    }

    /// Waits until Asterisk lists it.
    async fn appears(&self, scenario: &Scenario, ari: &Ari) -> Result<(), Failure> {
        let (app, within) = (&scenario.service.app, scenario.service.ready_within);
        let listed = async {
            loop {
                match ari.lists(app).await {
                    Ok(AppStatus::Listed) if self.is_connected(ari) => return Ok(()),
                    Ok(_) => tokio::time::sleep(ASK_EVERY).await,
                    Err(failure) => return Err(failure),
                }
            }
        };
        let ended = async {
            match &self.process {
                Some((keeper, _)) => keeper.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            listed = tokio::time::timeout(within.0, listed) => match listed {
                Ok(listed) => listed,
                Err(_) => Err(Failure::broke(self.absence(scenario, ari).await)),
            },
            status = ended => Err(Failure::broke(format!(
                "the service under test ended by itself ({}) before Asterisk listed the application `{app}`{}",
                child::describe(status), self.said().await
            ))),
        }
    }

    /// Whether one of its processes has a connection to ARI: Asterisk goes on listing an application
    /// that has gone, as long as its channels are there. True for one that is not ours.
    fn is_connected(&self, ari: &Ari) -> bool {
        let Some((keeper, _)) = &self.process else { return true };
        let Some(port) = ari.port() else { return true };
        child::group(keeper.pid()).any(|process| is_connected(&process, port).unwrap_or(false))
    }

    /// Why nobody waits for it any more.
    async fn absence(&self, scenario: &Scenario, ari: &Ari) -> String {
        let (app, within) = (&scenario.service.app, scenario.service.ready_within);
        if let Ok(AppStatus::Unknown(why)) = ari.lists(app).await {
            return format!("ARI does not answer at {} within {within}: {why}", ari.url);
        }
        let cure = match (self.process.is_some(), scenario.asterisk.mode) {
            (true, _) => {
                "does it connect to ARI_URL as ARI_APP? If it needs longer, raise service.ready_within"
            }
            (false, AsteriskMode::Managed) => {
                "the service has to be running, and to try again until the run's Asterisk is there"
            }
            (false, AsteriskMode::External) => "is the service running, and is service.app its application?",
        };
        let said = self.said().await;
        format!("the application `{app}` did not appear at {} within {within}: {cure}{said}", ari.url)
    }

    /// Its last words, to put behind what happened; nothing for a process that is not ours.
    async fn said(&self) -> String {
        match &self.process {
            Some((_, output)) => format!("{LAST_WORDS}\n  {}", last_words(output).await.join("\n  ")),
            None => String::new(),
        }
    }
}

/// Whether a process has a TCP connection to `port` of whatever host.
fn is_connected(process: &Process, port: u16) -> procfs::ProcResult<bool> {
    let targets: Vec<FDTarget> = process.fd()?.flatten().map(|fd| fd.target).collect();
    let owns = |inode: u64| targets.iter().any(|t| matches!(t, FDTarget::Socket(own) if *own == inode));
    let mut all = process.tcp()?.into_iter().chain(process.tcp6().unwrap_or_default());
    Ok(all.any(|t| t.state == TcpState::Established && t.remote_address.port() == port && owns(t.inode)))
}

/// What answers the calls, in words.
pub fn describe(service: &Service) -> String {
    match service.mode {
        ServiceMode::Builtin => format!("loadtest {} (built in)", env!("CARGO_PKG_VERSION")),
        ServiceMode::Command => service.command.join(" "),
        ServiceMode::External => format!("application `{}`, run by somebody else", service.app),
        ServiceMode::None => "the target itself".into(),
    }
}

/// What the calls tell of a service that does not do its part, for people.
pub fn symptoms(scenario: &Scenario, calls: &[CallRecord]) -> Vec<String> {
    let who = if scenario.service.mode.is_application() { "application" } else { "target" };
    let answered: Vec<_> = calls.iter().filter(|c| c.ending.was_answered() && c.total_sent > 0).collect();
    let silent: Vec<_> = answered.iter().filter(|c| c.is_silent()).collect();
    let corrupted: u64 = silent.iter().map(|c| c.corrupted).sum();
    let mut symptoms = Vec::new();
    if !silent.is_empty() {
        let heard = match corrupted {
            0 => format!("no packet came back: does the {who} echo the media?"),
            n => format!(
                "{n} packets came back, none as it was sent: does the {who} echo the payload unchanged, in {}?",
                scenario.media.codec
            ),
        };
        symptoms.push(format!("{} of {} calls answered, {heard}", silent.len(), answered.len()));
    }
    let waited = calls.iter().filter(|c| c.ending == Ending::Timeout).count();
    if waited > 0 && scenario.service.mode.is_application() && !calls.iter().any(|c| c.ending.was_answered())
    {
        let within = scenario.sip.setup_timeout;
        symptoms.push(format!("no call was answered within {within}: does the application answer them?"));
    }
    symptoms
}

/// This program's own service.
fn builtin(scenario: &Scenario, logs: &Path) -> Result<Command, Failure> {
    let program = std::env::current_exe().context("cannot find this program to start the service with")?;
    let mut command = Command::new(program);
    command
        .arg("service")
        .args(["--http", &scenario.service.http.to_string()])
        .args(["--codec", &scenario.media.codec.to_string()])
        .arg("--metrics-file")
        .arg(logs.join(METRICS))
        .args(["--media-ip", &scenario.sip.local.to_string()])
        .args(hangup(scenario))
        .args(scenario.service.echo.iter().flat_map(|echo| ["--echo".into(), echo.to_string()]))
        .args(scenario.service.delay.iter().flat_map(|delay| ["--delay".into(), delay.to_string()]));
    Ok(command)
}

/// Which calls the built-in service hangs up.
fn hangup(scenario: &Scenario) -> Vec<String> {
    let load = &scenario.load;
    let Some(after) = load.call_duration.filter(|_| load.hangup != Hangup::Caller) else { return Vec::new() };
    let every = if load.hangup == Hangup::Both { "2" } else { "1" };
    ["--hangup-after", &after.to_string(), "--hangup-every", every].map(String::from).into()
}

/// The user's own; the scenario's rules see to it that there is a first word.
fn own(words: &[String]) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments);
    Some(command)
}

/// Starts `command` with all that an application needs to know in its environment.
async fn spawn(
    mut command: Command,
    scenario: &Scenario,
    ari: &Ari,
    logs: &Path,
) -> Result<(Keeper, Output), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let app = &scenario.service.app;
    command
        .env("ARI_URL", &ari.url)
        .env("ARI_WS_URL", format!("{}/ari/events", ari.url.trim_end_matches('/').replacen("http", "ws", 1)))
        .env("ARI_USER", &ari.user)
        .env("ARI_PASS", &ari.password)
        .env("ARI_APP", app)
        .env("APP_NAME", app)
        .env("PORT_RANGE", scenario.service.ports.to_string())
        .env("MEDIA_IP", scenario.sip.local.to_string())
        .env("MEDIA_FORMAT", scenario.media.codec.asterisk_name());
    // A process that is started again appends to what the one before it wrote.
    let log = logs.join("service.log");
    let output = Output::capture(&mut command, log.clone(), |_| {});
    let output = output.with_context(|| format!("cannot write {}", log.display()))?;
    let keeper = Keeper::start(command).await;
    let keeper = keeper.with_context(|| format!("cannot start the service under test, `{program}`"))?;
    Ok((keeper, output))
}

/// The last lines of a process's output, the oldest first; never none.
async fn last_words(output: &Output) -> Vec<String> {
    output.drained().await;
    let tail = output.tail();
    let cut =
        |line: &String| String::from_utf8_lossy(&line.as_bytes()[..line.len().min(LAST_LINE_MAX)]).into();
    match tail.len() {
        0 => vec!["none: it wrote nothing".into()],
        n => tail[n.saturating_sub(LAST_LINES)..].iter().map(cut).collect(),
    }
}
