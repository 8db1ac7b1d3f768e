//! The ARI application under test: start it or find it, wait until Asterisk lists it, stop it.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::RunError;
use super::connections::Connections;
use super::logs;
use super::neighbours::Neighbour;
use super::plan::variable;
use crate::ari::request::read_only;
use crate::asterisk::config::Secret;
use crate::asterisk::{Account, Ari};
use crate::child::{self, ChildOutput, Keeper, LogReader};
use crate::files;
use crate::net::http::HttpError;
use crate::record::{Breakage, Death, TestedProcess};
use crate::scenario::{AsteriskMode, Hangup, Scenario, Service, ServiceMode};
use crate::scheduling::{Priority, Scheduling};
use crate::service::ServiceConfig;
use crate::values::cut;
use nix::sys::signal::Signal;

/// The built-in service's counts, in the folder of logs.
pub const COUNTS: &str = "service.json";
/// The built-in service's settings, in the same folder.
pub const SETTINGS: &str = "service.toml";
/// The output of the service under test, in the same folder.
pub const SERVICE_LOG: &str = "service.log";

/// Last lines of its output that are shown, and bytes of each.
const LAST_LINES: usize = 5;
const LAST_LINE_MAX: usize = 1000;
/// Interval at which Asterisk is asked whether it lists the application.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The account of ARI_USER and ARI_PASS.
///
/// # Errors
/// One of the two is not set.
pub fn account() -> Result<Account, RunError> {
    let Some((user, password)) = variable("ARI_USER").zip(variable("ARI_PASS")) else {
        let why = "the application's account is not known: set ARI_USER and ARI_PASS, as in Asterisk's \
                   ari.conf, in the environment or in a .env file";
        return Err(RunError::Unusable(why.into()));
    };
    Ok(Account { user, password: Secret::new(password) })
}

/// ARI of an Asterisk at `url` that the run has not started.
///
/// # Errors
/// It has no account, or `url` is no address.
pub fn external_ari(url: &str) -> Result<Ari, RunError> {
    let ari = Ari::new(url.to_string(), account()?);
    ari.map_err(|error| RunError::Obstacle(format!("asterisk.ari: {error}")))
}

/// ARI of all external Asterisks, in the order of the scenario.
///
/// # Errors
/// An address or an account that cannot be used.
pub fn external_aris(scenario: &Scenario) -> Result<Vec<Ari>, RunError> {
    scenario.asterisk.ari.iter().map(|url| external_ari(&url.0)).collect()
}

/// The error of an Asterisk that does not take the account, which no waiting will cure.
pub fn refusal(ari: &Ari, error: &HttpError) -> Option<RunError> {
    let HttpError::Status { status: 401 | 403, .. } = error else { return None };
    let (url, user) = (ari.shown(), &ari.account.user);
    Some(RunError::Unusable(format!(
        "Asterisk at {url} refuses user `{user}`: check ARI_USER and ARI_PASS against its ari.conf"
    )))
}

/// The error of an ARI that gives no list: where, and perhaps for how long, it did not answer.
pub fn silent(place: &str, error: &HttpError) -> RunError {
    RunError::Obstacle(format!(
        "ARI does not answer {place}: {error}; is asterisk.ari its address, has http.conf there enabled = yes, a bindaddr \
         that is reached from here and this bindport, and ari.conf enabled = yes?"
    ))
}

/// The application that answers the calls.
pub struct Application {
    /// Its process, where the run has started it.
    process: Option<(Keeper, ChildOutput)>,
    /// State of ARI before that.
    before: Before,
    /// Process whose connection to ARI was found, of one that the run has started.
    watched: Option<Neighbour>,
}

/// State of ARI before a service was started: Asterisk goes on listing an application that has gone, as long as its
/// channels are there.
#[derive(Debug, Default)]
struct Before {
    was_listed: bool,
    connections: Connections,
}

impl Before {
    async fn of(ari: &Ari, app: &str) -> Before {
        // One that does not answer yet may list anything.
        let was_listed = ari.lists(app).await.unwrap_or(true);
        Before { was_listed, connections: Connections::to_port(ari.port()) }
    }
}

/// The distinct troubles of a service's output; its processes, one after another, share it.
pub type ServiceLog = Arc<Mutex<LogReader>>;

impl Application {
    /// Starts it where the scenario wants that, and returns when Asterisk lists it. The built-in one is
    /// `program`'s.
    ///
    /// # Errors
    /// It cannot be started, or does not appear. Nothing is left running then.
    pub async fn start(
        program: &Path,
        scenario: &Scenario,
        scheduling: &Scheduling,
        ari: &Ari,
        logs: &Path,
        log: &ServiceLog,
    ) -> Result<Application, RunError> {
        let command = match scenario.service.mode {
            ServiceMode::Builtin => Some(builtin(program, scenario, scheduling.priority, ari, logs)?),
            ServiceMode::Command => own(&scenario.service.command),
            ServiceMode::External | ServiceMode::None => None,
        };
        let mut application = Application { process: None, before: Before::default(), watched: None };
        if let Some(mut command) = command {
            may_write(ari).await?;
            application.before = Before::of(ari, &scenario.service.app).await;
            scheduling.pin_process(&mut command);
            application.process = Some(spawn(command, scenario, ari, logs, log).await?);
        }
        application.appears(scenario, ari).await?;
        application.watched = application.look(ari);
        Ok(application)
    }

    /// The process to watch, of a service that the run has started: its own, or one that has left it.
    /// Hidden if none of them holds a connection to ARI, as with `docker run`.
    pub fn watched(&self) -> Option<Neighbour> {
        self.watched
    }

    /// Its process, where the run has started it.
    pub fn process(&self) -> Option<&Keeper> {
        self.process.as_ref().map(|(keeper, _)| keeper)
    }

    /// Its output, where the run has started it.
    pub fn output(&self) -> Option<&ChildOutput> {
        self.process.as_ref().map(|(_, output)| output)
    }

    /// Waits until Asterisk lists it.
    async fn appears(&self, scenario: &Scenario, ari: &Ari) -> Result<(), RunError> {
        let (app, within) = (&scenario.service.app, scenario.service.ready_within);
        let mut silence = None;
        let listed = async {
            loop {
                match ari.lists(app).await {
                    Ok(true) if self.is_connected(ari) => return Ok(()),
                    Ok(_) => silence = None,
                    Err(error) => match refusal(ari, &error) {
                        Some(refused) => return Err(refused),
                        None => silence = Some(error),
                    },
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        tokio::select! {
            listed = tokio::time::timeout(within.0, listed) => match listed {
                Ok(listed) => listed,
                Err(_) => Err(self.absence(scenario, ari, silence).await),
            },
            status = child::ended(self.process()) => {
                let launcher = match status.is_some_and(|status| status.success()) {
                    true => {
                        "; what starts it has to stay for as long as it does (no `docker run -d`, no daemon), or start it \
                         yourself and set service.mode = \"external\""
                    }
                    false => "",
                };
                let (status, last_output) = (child::describe(status), self.last_output().await);
                Err(RunError::Obstacle(format!(
                    "the service under test ended by itself ({status}) before Asterisk listed the application \
                     `{app}`{launcher}{last_output}"
                )))
            }
        }
    }

    /// True if the listing is this service's. It need not hold the connection itself: `docker run`, `sudo` and relays
    /// have others do it, and these may be in another network namespace. True for one that is not ours.
    fn is_connected(&self, ari: &Ari) -> bool {
        self.process.is_none() || !self.before.was_listed || !self.new_connections(ari).is_empty()
    }

    fn new_connections(&self, ari: &Ari) -> Connections {
        Connections::to_port(ari.port()).since(&self.before.connections)
    }

    /// Looks for the process that holds its connection.
    fn look(&self, ari: &Ari) -> Option<Neighbour> {
        let (keeper, _) = self.process.as_ref()?;
        let new = self.new_connections(ari);
        if child::tree(keeper.pid()).iter().any(|process| new.is_of(process)) {
            return Some(Neighbour::Process(keeper.pid()));
        }
        let stray = keeper.strays().into_iter().find(|process| new.is_of(process));
        let pid = stray.and_then(|process| u32::try_from(process.pid).ok());
        Some(pid.map_or(Neighbour::Hidden, Neighbour::Process))
    }

    /// The reason for giving up waiting, with what came last instead of a list.
    async fn absence(&self, scenario: &Scenario, ari: &Ari, silence: Option<HttpError>) -> RunError {
        let (app, within, url) = (&scenario.service.app, scenario.service.ready_within, ari.shown());
        if let Some(reason) = silence {
            let place = format!("at {url} within {within}");
            return match scenario.asterisk.mode {
                AsteriskMode::External => silent(&place, &reason),
                AsteriskMode::Managed => RunError::Obstacle(format!("ARI does not answer {place}: {reason}")),
            };
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
        let last_output = self.last_output().await;
        RunError::Obstacle(format!(
            "the application `{app}` did not appear at {url} within {within}: {cure}{last_output}"
        ))
    }

    /// The end of its output, to append to a message; empty for a process that is not ours.
    async fn last_output(&self) -> String {
        match &self.process {
            Some((_, output)) => format!("; its last output:\n  {}", last_output(output).await.join("\n  ")),
            None => String::new(),
        }
    }
}

/// The end of a process of the testbed by itself, once it has come.
pub async fn ended_by_itself(process: TestedProcess, keeper: &Keeper, output: &ChildOutput) -> Breakage {
    let status = keeper.ended().await;
    let last_output = last_output(output).await.join(" | ");
    Breakage::Ended { process, death: death(status), status: child::describe(status), last_output }
}

fn death(status: Option<ExitStatus>) -> Death {
    let signal = status.and_then(|status| status.signal()).and_then(|n| Signal::try_from(n).ok());
    match signal {
        Some(Signal::SIGKILL) => Death::Killed,
        Some(Signal::SIGSEGV | Signal::SIGABRT | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE) => {
            Death::Crashed
        }
        _ => Death::Exited,
    }
}

/// Finds out whether the account may write.
async fn may_write(ari: &Ari) -> Result<(), RunError> {
    match ari.may_write().await {
        Ok(false) => Err(RunError::Unusable(read_only(&ari.shown(), &ari.account.user))),
        // What does not answer, or answers oddly, is told of by whoever asks it next.
        Ok(true) | Err(_) => Ok(()),
    }
}

/// A mode's word, as in a scenario.
pub fn word(mode: ServiceMode) -> &'static str {
    match mode {
        ServiceMode::Builtin => "builtin",
        ServiceMode::Command => "command",
        ServiceMode::External => "external",
        ServiceMode::None => "none",
    }
}

/// The service that answers the calls, in words.
pub fn describe(service: &Service) -> String {
    match service.mode {
        ServiceMode::Builtin => format!("loadtest {} (built in)", env!("CARGO_PKG_VERSION")),
        ServiceMode::Command => service.command.join(" "),
        ServiceMode::External => format!("application `{}`, run by somebody else", service.app),
        ServiceMode::None => "the target itself".into(),
    }
}

/// The built-in service of `program`, with its settings in a file.
fn builtin(
    program: &Path,
    scenario: &Scenario,
    priority: Priority,
    ari: &Ari,
    logs: &Path,
) -> Result<Command, RunError> {
    let (service, load) = (&scenario.service, &scenario.load);
    let config = ServiceConfig {
        ari_url: ari.url.clone(),
        user: ari.account.user.clone(),
        app: service.app.clone(),
        media_ip: scenario.sip.local,
        port_range: service.ports,
        media: service.media,
        talk: service.talk.is_some(),
        manners: service.talk.unwrap_or_default(),
        http: service.http,
        echo: service.echo.clone(),
        delay: service.delay,
        delay_per_call: service.delay_per_call,
        lanes: service.lanes,
        priority,
        metrics_file: Some(logs.join(COUNTS)),
        codec: scenario.service.codec.unwrap_or(scenario.media.codec),
        hangup_after: load.far_end_hangs_up_after(),
        hangup_every: if load.hangup == Hangup::Both { 2 } else { 1 },
        // It goes through the environment.
        password: String::new(),
    };
    let path = logs.join(SETTINGS);
    let text = toml::to_string(&config).map_err(io::Error::other);
    text.and_then(|text| files::write_whole(&path, text.as_bytes(), 0o666)).map_err(|error| {
        RunError::Obstacle(format!("cannot write the service's settings to {}: {error}", path.display()))
    })?;
    let mut command = Command::new(program);
    command.args(["service", "--config"]).arg(path);
    Ok(command)
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
    log: &ServiceLog,
) -> Result<(Keeper, ChildOutput), RunError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let app = &scenario.service.app;
    command
        .env("ARI_URL", &ari.url)
        .env("ARI_WS_URL", format!("{}/ari/events", ari.url.trim_end_matches('/').replacen("http", "ws", 1)))
        .env("ARI_USER", &ari.account.user)
        .env("ARI_PASS", ari.account.password.expose())
        .env("ARI_APP", app)
        .env("APP_NAME", app)
        .env("PORT_RANGE", scenario.service.ports.to_string())
        .env("MEDIA_IP", scenario.sip.local.to_string())
        .env("MEDIA_FORMAT", scenario.media.codec.asterisk_name())
        .env("MEDIA_WAY", scenario.service.media.to_string());
    // A process that is started again appends to what the one before it wrote.
    let path = logs.join(SERVICE_LOG);
    let log = Arc::clone(log);
    let each =
        move |line: &str| logs::read_service(&mut log.lock().unwrap_or_else(PoisonError::into_inner), line);
    let output = ChildOutput::capture(&mut command, path.clone(), each).map_err(|error| {
        RunError::Obstacle(format!("cannot keep the service's output in {}: {error}", path.display()))
    })?;
    let keeper = Keeper::start(command).await.map_err(|error| {
        RunError::Obstacle(format!("cannot start the service under test, `{program}`: {error}"))
    })?;
    Ok((keeper, output))
}

/// The last lines of a process's output, the oldest first; never none.
async fn last_output(output: &ChildOutput) -> Vec<String> {
    output.drained().await;
    let tail = output.tail();
    let cut = |line: &String| cut(line, LAST_LINE_MAX);
    match tail.len() {
        0 => vec!["none: it wrote nothing".into()],
        n => tail[n.saturating_sub(LAST_LINES)..].iter().map(cut).collect(),
    }
}
