//! The plan of a run: a valid scenario, its gates and baseline, the accounts and the scheduling.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::application;
use super::environment::beforehand;
use super::folder::Claim;
use super::prompts;
use super::scheduling::{self, Shares};
use super::wire::wire;
use super::{Folder, RunError};
use crate::accounts::{self, Account, Accounts, Template};
use crate::asterisk::{self, config::Secret};
use crate::clock;
use crate::compare::baseline::Baseline;
use crate::conversation::Script;
use crate::files::read_text;
use crate::gate::{Gate, GateError, Subject, Verdict, Watch, hold_against, judge};
use crate::metrics::Summary;
use crate::quality::Passages;
use crate::scenario::{AsteriskMode, Gates, MOST_SHOWN, Override, Problem, Resolved, Scenario, ServiceMode};
use crate::sip::digest::Credentials;
use crate::values::{HostPort, Realtime, Span, counted, visible};

/// Largest scenario file that is read.
const MOST_BYTES: u64 = 1 << 20;
/// Most gates of a scenario: every report has a line for each.
const MOST_GATES: usize = 1000;

/// A run that can be made: nothing in it is looked up again later.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The scenario.
    pub resolved: Resolved,
    /// Its gates.
    pub gates: Vec<Gate>,
    /// Those of them that may end it early.
    pub enders: Vec<Gate>,
    /// Stored runs that the run is held against.
    pub baseline: Option<Baseline>,
    /// SIP_USER and SIP_PASS, for a target that asks.
    pub credentials: Option<Credentials>,
    /// The callers of `sip.accounts`.
    pub accounts: Option<Arc<Accounts>>,
    /// Script of callers that talk.
    pub script: Option<Arc<Script>>,
    /// What callers read aloud, where they do.
    pub passages: Option<Arc<Passages>>,
    /// Scheduling of what is the run's own.
    pub granted: Shares,
    /// The command line that makes this run.
    pub command: Vec<String>,
    /// The program with the built-in service: this one.
    pub program: PathBuf,
}

impl RunPlan {
    /// Reads a scenario with `--set` overrides.
    ///
    /// # Errors
    /// Mistakes in the scenario, its gates or the accounts in the environment.
    pub fn read(path: &Path, set: &[String]) -> Result<RunPlan, RunError> {
        let plan = RunPlan::without_account(path, set)?;
        plan.account()?;
        Ok(plan)
    }

    /// As [`RunPlan::read`], but for ARI's account, which a run would need.
    ///
    /// # Errors
    /// Those of [`RunPlan::read`], without those of [`RunPlan::account`].
    pub fn without_account(path: &Path, set: &[String]) -> Result<RunPlan, RunError> {
        let resolved = read_scenario(path, set)?;
        let gates = parse_gates(&resolved)?;
        let credentials = sip_credentials()?;
        let accounts = read_accounts(&resolved)?;
        let script = prompts::script(&resolved)?;
        let passages = prompts::passages(&resolved)?;
        look_at_tls(&resolved)?;
        let granted = schedule(&resolved)?;
        let program = std::env::current_exe().map_err(|error| {
            RunError::Obstacle(format!("cannot find this program to start the service with: {error}"))
        })?;
        let command = std::env::args().collect();
        let enders = gates.clone();
        let baseline = None;
        Ok(RunPlan {
            resolved,
            gates,
            enders,
            baseline,
            credentials,
            accounts,
            script,
            passages,
            granted,
            command,
            program,
        })
    }

    /// Looks for ARI's account where the run needs it.
    ///
    /// # Errors
    /// It is not in the environment.
    pub fn account(&self) -> Result<(), RunError> {
        if needs_account(self.scenario()) { application::account().map(drop) } else { Ok(()) }
    }

    /// Adds the stored runs that the run is to be held against.
    ///
    /// # Errors
    /// When none of them is comparable: better said now than after the run.
    pub fn hold_against(mut self, baseline: Option<Baseline>) -> Result<RunPlan, RunError> {
        let run = beforehand(&self.resolved);
        if let Some(useless) = baseline.as_ref().filter(|baseline| !baseline.is_of_use(&run)) {
            let why = useless.left_out(&run, "").unwrap_or_default();
            return Err(RunError::Unusable(format!("nothing to hold the run against: {why}")));
        }
        self.baseline = baseline;
        Ok(self)
    }

    /// Claims the run's folder by the scenario in it.
    ///
    /// # Errors
    /// It cannot be made or written, or holds a run already.
    pub fn folder(&self, out: Option<&Path>) -> Result<Folder, RunError> {
        let scenario = self.resolved.to_toml();
        Folder::claim(
            out,
            &self.scenario().name,
            clock::now(),
            Claim::Run("scenario.toml", scenario.as_bytes()),
        )
    }

    /// A remark on the gates that end the run once they are broken, where they do.
    pub fn early_end(&self) -> Option<String> {
        let Gates { abort_on_fail, abort_after, .. } = &self.scenario().gates;
        let (count, all) = (Watch::new(&self.enders, abort_after.0).count(), self.gates.len());
        abort_on_fail.then(|| {
            format!(
                "abort_on_fail: a gate broken for {abort_after} ends the run; {count} of {all} can be judged before \
                 its end"
            )
        })
    }

    /// Name in the credentials of call number `call`, where it has any.
    pub fn user_of(&self, call: u32) -> Option<&str> {
        let seed = self.scenario().load.seed.into();
        let account = self.accounts.as_ref().and_then(|all| all.get(all.index_of(call, seed)));
        let login = account.and_then(Account::login).map(|(user, _)| user);
        login.or(self.credentials.as_ref().map(|credentials| credentials.username.as_str()))
    }

    /// Name in the credentials of the first caller of `sip.accounts`.
    pub fn first_account(&self) -> Option<&str> {
        let first = self.accounts.as_ref().and_then(|accounts| accounts.all().first());
        first.and_then(Account::login).map(|(user, _)| user)
    }

    /// The callers of `sip.accounts` that have a password, each with its login, for an Asterisk that is to know them.
    pub fn logins(&self) -> Vec<(String, asterisk::Account)> {
        let all = self.accounts.iter().flat_map(|accounts| accounts.all());
        let login = |caller: &Account| {
            let (user, password) = caller.login()?;
            let login = asterisk::Account { user: user.into(), password: Secret::new(password) };
            Some((caller.user.clone(), login))
        };
        all.filter_map(login).collect()
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.resolved.scenario
    }
}

/// Judges a run by a scenario's gates and limits, and holds it against stored runs.
pub fn verdict(
    resolved: &Resolved,
    gates: &[Gate],
    summary: &Summary,
    baseline: Option<&Baseline>,
) -> Verdict {
    let mut verdict = judge(summary, gates, &resolved.scenario.limits);
    if let Some(baseline) = baseline {
        hold_against(&mut verdict, summary, gates, baseline);
    }
    verdict
}

/// Reads a scenario with `--set` overrides.
///
/// # Errors
/// When the file cannot be read, or is no valid scenario.
pub fn read_scenario(path: &Path, set: &[String]) -> Result<Resolved, RunError> {
    let unreadable = |reason: String| {
        let shown = path.display();
        RunError::Unusable(format!("cannot read the scenario {shown}: {reason}; see scenarios/ for examples"))
    };
    let text = read_text(path, MOST_BYTES).map_err(|e| unreadable(e.to_string()))?;
    resolve(&text, path, set)
}

/// Reads a scenario's text, from the file `path`, with `--set` overrides.
///
/// # Errors
/// It is no valid scenario.
pub fn resolve(text: &str, path: &Path, set: &[String]) -> Result<Resolved, RunError> {
    // Command line before environment before file: later overrides win.
    let mut overrides = Vec::new();
    if let Some(range) = variable("PORT_RANGE") {
        overrides.push(Override::variable("PORT_RANGE", "service.ports", &range));
    }
    overrides.extend(set.iter().map(|setting| Override::set(setting)));
    // An external Asterisk's addresses, where nobody else gives them.
    for (name, key) in [("SIP_ADDRESS", "asterisk.sip"), ("ARI_URL", "asterisk.ari")] {
        if let Some(address) = variable(name)
            && Resolved::is_external_without(text, &overrides, key)
        {
            overrides.insert(0, Override::variable(name, key, &address));
        }
    }
    let mut resolved = Resolved::read(text, &path.display().to_string(), &overrides)?;
    if resolved.scenario.sip.local.is_unspecified() {
        resolved.scenario.sip.local = source_address(&resolved)?;
    }
    Ok(resolved)
}

/// Address that this machine reaches the targets from: `sip.local = "auto"`.
fn source_address(resolved: &Resolved) -> Result<IpAddr, RunError> {
    let unknown = |why: String| -> RunError {
        let cure = "write the address that the target reaches this host under";
        resolved
            .error(&[Problem::new("sip.local", format!("the address is not known: {why}"), cure)], 0)
            .into()
    };
    let (hops, _) = resolved.scenario.next_hops();
    let mut found: Option<(&HostPort, IpAddr)> = None;
    for hop in hops {
        let local = source_towards(hop).map_err(unknown)?;
        match found {
            Some((first, other)) if other != local => {
                let why = format!("{first} is reached from {other}, and {hop} from {local}");
                return Err(unknown(why));
            }
            Some(_) => {}
            None => found = Some((hop, local)),
        }
    }
    found.map(|(_, local)| local).ok_or_else(|| unknown("there is no target".into()))
}

/// Address that this machine reaches a host from; else why it is not known.
fn source_towards(target: &HostPort) -> Result<IpAddr, String> {
    let from = |to: SocketAddr| {
        let any: IpAddr =
            if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        // Nothing is sent: the kernel chooses its address by its routes.
        socket.connect(to)?;
        socket.local_addr().map(|address| address.ip())
    };
    let named = target.to_string().to_socket_addrs();
    let addresses = named.map_err(|error| format!("{target} is not found: {error}; is that its name?"))?;
    let mut last = format!("the name {target} has no address");
    for to in addresses {
        match from(to) {
            Ok(address) => return Ok(address),
            Err(error) => last = format!("{target} is not reached from here: {error}"),
        }
    }
    Err(last)
}

/// Parses the scenario's gates.
///
/// # Errors
/// Every gate that is none, at its place in the scenario.
pub fn parse_gates(resolved: &Resolved) -> Result<Vec<Gate>, RunError> {
    let texts = &resolved.scenario.gates.require;
    let (mut gates, mut wrong) = (Vec::new(), Vec::new());
    for (n, text) in texts.iter().enumerate() {
        match Gate::read(text) {
            Ok(gate) => gates.push(gate),
            Err(mistake) => wrong.push((n, mistake)),
        }
    }
    let told = wrong.iter().take(MOST_SHOWN).map(|(n, mistake)| {
        let GateError { reason, cure } = mistake.told();
        Problem::new(&format!("gates.require.{n}"), reason, cure)
    });
    let mut problems: Vec<_> = told.collect();
    if problems.is_empty() && texts.len() > MOST_GATES {
        let message = format!("{} gates are more than anybody reads", texts.len());
        problems.push(Problem::new("gates.require", message, format!("name {MOST_GATES} at the most")));
    }
    if problems.is_empty() {
        problems = without_stage(&resolved.scenario, &gates);
    }
    let more = wrong.len().saturating_sub(problems.len());
    if problems.is_empty() { Ok(gates) } else { Err(resolved.error(&problems, more).into()) }
}

/// Gates of stages that the scenario does not have; the gates are all that it names.
fn without_stage(scenario: &Scenario, gates: &[Gate]) -> Vec<Problem> {
    let stages = scenario.stage.len();
    let problem = |(n, gate): (usize, &Gate)| match gate.subject {
        Subject::Stage(number, _) if number > stages => {
            let message =
                format!("there is no stage {number}: the scenario has {}", counted(stages as u64, "stage"));
            let cure = match stages {
                0 => "add [[stage]] with its load and its hold, or leave `stage.N:` out".to_string(),
                _ => format!("name a stage from 1 to {stages}"),
            };
            Some(Problem::new(&format!("gates.require.{n}"), message, cure))
        }
        _ => None,
    };
    gates.iter().enumerate().filter_map(problem).take(MOST_SHOWN).collect()
}

/// Describes the load in a line.
pub fn headline(s: &Scenario) -> String {
    let load = &s.load;
    if s.calls() == 0 {
        return format!("{}: registrations alone, {}", s.name, s.sip.register_rate);
    }
    let churn = load.call_duration.as_ref().map_or(String::new(), |d| format!(" of {d} each"));
    if !s.stage.is_empty() {
        let (stages, hold) = (counted(s.stage.len() as u64, "stage"), Span(s.hold()));
        let most = s.calls();
        return format!(
            "{}: {stages} of up to {most} calls{churn}, held for {hold} in all, {} every {}",
            s.name, s.media.codec, s.media.ptime
        );
    }
    let calls = match load.rate {
        Some(rate) => format!(
            "{rate} ({}) attempts{churn}, {:.1} erlang for up to {} at once,",
            load.arrivals,
            load.erlang(rate.0),
            counted(load.calls.into(), "call")
        ),
        None => format!("{} calls{churn}", load.calls),
    };
    format!(
        "{}: {calls} held for {}, {} every {}, ramp {}",
        s.name, load.duration, s.media.codec, s.media.ptime, load.ramp
    )
}

/// True if the account of ARI_USER and ARI_PASS is used: only an Asterisk and a service that are both
/// started by the run get a random one.
fn needs_account(s: &Scenario) -> bool {
    let external = s.asterisk.mode == AsteriskMode::External;
    s.service.mode == ServiceMode::External || external && s.service.mode.is_application()
}

/// Asks the kernel for the scheduling of driver, service and Asterisk.
fn schedule(resolved: &Resolved) -> Result<Shares, RunError> {
    let Scenario { driver, service, asterisk, .. } = &resolved.scenario;
    let ask = |key, realtime, cpus: &[usize]| {
        scheduling::grant(realtime, cpus, |refused| -> RunError {
            let cure = "name CPUs that this process may use, or leave the key out";
            resolved.error(&[Problem::new(key, refused.to_string(), cure)], 0).into()
        })
    };
    let builtin = service.mode == ServiceMode::Builtin;
    Ok(Shares {
        driver: ask("driver.cpus", driver.realtime, &driver.cpus)?,
        service: ask("service.cpus", if builtin { service.realtime } else { Realtime::Off }, &service.cpus)?,
        asterisk: ask("asterisk.cpus", Realtime::Off, &asterisk.cpus)?,
    })
}

/// The callers of `sip.accounts`, held against the words of the templates.
fn read_accounts(resolved: &Resolved) -> Result<Option<Arc<Accounts>>, RunError> {
    let sip = &resolved.scenario.sip;
    let Some(path) = &sip.accounts else { return Ok(None) };
    let refused = |key: &str, message: String, cure: &str| -> RunError {
        resolved.error(&[Problem::new(key, message, cure)], 0).into()
    };
    let text = read_text(Path::new(path), accounts::MOST_BYTES).map_err(|error| {
        let cure = match error.kind() {
            ErrorKind::InvalidData => "mend the file, or name another",
            _ => "name a file that this process may read, from the folder that loadtest is started in",
        };
        refused("sip.accounts", format!("{} cannot be read: {error}", visible(path)), cure)
    })?;
    let accounts = accounts::parse(&text).map_err(|error| {
        let cure = "mend that line: the first row names the columns, or is SEQUENTIAL, RANDOM or USER as in SIPp's -inf";
        refused("sip.accounts", format!("{}, {error}", visible(path)), cure)
    })?;
    let texts =
        [("sip.to", Some(&sip.to)), ("sip.from", Some(&sip.from)), ("sip.display", sip.display.as_ref())];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key.to_string(), text?)));
    let headers = sip.headers.iter().map(|(name, value)| (format!("sip.headers.{name}"), value));
    for (key, text) in texts.chain(headers) {
        // Invariant: the scenario's rules have read each template.
        let unfilled = Template::parse(text).unwrap_or_default().unfilled_by(Some(&accounts));
        if let Some(word) = unfilled {
            let message = format!("no column of {} is {word}, or it is a password", visible(path));
            return Err(refused(&key, message, "name a column of its first row, or {field0} for the first"));
        }
    }
    Ok(Some(Arc::new(accounts)))
}

/// Tells of a file of `[sip.tls]` that cannot be used at its key, before anybody is called.
fn look_at_tls(resolved: &Resolved) -> Result<(), RunError> {
    if resolved.scenario.asterisk.mode != AsteriskMode::External {
        return Ok(());
    }
    let Err(RunError::Unusable(why)) = wire(&resolved.scenario, None) else { return Ok(()) };
    let fault_of = |key: &'static str| Some((key, why.strip_prefix(key)?.strip_prefix(": ")?));
    // Other faults stand with the connection.
    let keys = ["sip.tls.ca", "sip.tls.certificate", "sip.tls.key"];
    let Some((key, fault)) = keys.into_iter().find_map(fault_of) else { return Ok(()) };
    let cure = match fault.contains("is not the key of") {
        true => {
            "name the key that this certificate was made with; the caller's own certificate stands first in its file"
        }
        false => "name a file in PEM that this process may read, from the folder that loadtest is started in",
    };
    Err(resolved.error(&[Problem::new(key, fault, cure)], 0).into())
}

/// The account of SIP_USER and SIP_PASS.
fn sip_credentials() -> Result<Option<Credentials>, RunError> {
    match (variable("SIP_USER"), variable("SIP_PASS")) {
        (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
        (None, None) => Ok(None),
        _ => {
            let why = "SIP_USER and SIP_PASS go together; only one of them is set";
            Err(RunError::Unusable(why.into()))
        }
    }
}

/// An environment variable that is set to something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
