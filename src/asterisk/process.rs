//! Starts a private Asterisk, waits until it can take calls, and stops it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::ari::Ari;
use super::certificate;
use super::config::{self, Secret};
use super::error::{AsteriskError, Socket};
use super::find::Install;
use super::log::{Log, LogCounts};
use super::ports;
use super::rundir::RunDir;
use crate::child::{ChildOutput, Keeper, LogDigest, LogReader, Stopped, describe};
use crate::net::http::HttpError;
use crate::rtp::Codec;
use crate::scenario::Transport;
use crate::scheduling::Scheduling;
use crate::values::{BridgeKind, JitterBuffer, MediaWay};

/// Starts that are tried when a port that was picked here is taken by somebody else meanwhile.
const TRIES: usize = 3;

/// Between two questions whether ARI answers; a start takes about 0.5 s.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// The log's name in the folder of logs.
pub const LOG_FILE: &str = "asterisk.log";

/// The ports of a private Asterisk.
#[derive(Debug, Clone)]
pub struct Ports {
    /// SIP; 0 picks a free one.
    pub sip: u16,
    /// HTTP and ARI over TCP; 0 picks a free one.
    pub http: u16,
    /// RTP and RTCP, both ends included; nothing is bound here before there are calls.
    pub rtp: RangeInclusive<u16>,
}

/// A name and a password.
#[derive(Debug, Clone)]
pub struct Account {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Account {
    /// An account with a random password of 128 bits.
    pub fn random(user: impl Into<String>) -> Self {
        Account { user: user.into(), password: Secret::new(format!("{:032x}", rand::random::<u128>())) }
    }
}

/// Settings of a private Asterisk.
#[derive(Debug, Clone)]
pub struct StartConfig {
    /// The Asterisk that [`super::find::find`] found.
    pub install: Install,
    /// Address that SIP, media and HTTP are bound to.
    pub address: IpAddr,
    /// Transport of SIP; for TLS a certificate is made.
    pub transport: Transport,
    /// Its ports.
    pub ports: Ports,
    /// Ports that are picked last: somebody else may take them while Asterisk restarts.
    pub keep_clear: Vec<RangeInclusive<u16>>,
    /// The ARI user.
    pub ari: Account,
    /// The Stasis application that calls are given to.
    pub app: String,
    /// The SIP user who may call, with a password.
    pub digest: Account,
    /// Media are protected by SRTP, and plain ones refused.
    pub srtp: bool,
    /// Way of an application's media, for which modules are loaded.
    pub media: MediaWay,
    /// Codecs between which it transcodes; none where callers and application have the same one.
    pub transcodes: Vec<Codec>,
    /// Technology of the application's bridges.
    pub bridge: BridgeKind,
    /// Jitter buffer of callers who go to the application.
    pub jitter_buffer: Option<JitterBuffer>,
    /// Further ones, each the name of an endpoint and its login.
    pub accounts: Vec<(String, Account)>,
    /// The folder that `asterisk.log` is written into; it is created if need be.
    pub logs: PathBuf,
    /// The folder that the private run folder is made in; short, since a socket's path has 107 bytes.
    pub run_base: PathBuf,
    /// CPUs that it keeps to.
    pub scheduling: Scheduling,
    /// Longest time until it is ready.
    pub ready_within: Duration,
    /// Set while the run ends: what its log says meanwhile is counted apart.
    pub is_ending: Arc<AtomicBool>,
}

impl StartConfig {
    /// Everything on loopback, free ports, new passwords, 30 s to get ready: a start takes about 0.5 s, and on a
    /// machine that is full many times that; one that ends is noticed at once.
    pub fn new(install: Install, logs: impl Into<PathBuf>) -> Self {
        StartConfig {
            install,
            address: Ipv4Addr::LOCALHOST.into(),
            transport: Transport::Udp,
            ports: Ports { sip: 0, http: 0, rtp: 10_000..=20_000 },
            keep_clear: Vec::new(),
            ari: Account::random("loadtest"),
            app: "loadtest".into(),
            digest: Account::random(format!("driver-{:08x}", rand::random::<u32>())),
            srtp: false,
            media: MediaWay::Rtp,
            transcodes: Vec::new(),
            bridge: BridgeKind::Simple,
            jitter_buffer: None,
            accounts: Vec::new(),
            logs: logs.into(),
            run_base: std::env::temp_dir(),
            scheduling: Scheduling::default(),
            ready_within: Duration::from_secs(30),
            is_ending: Arc::default(),
        }
    }

    /// The address of a socket, whose port 0 is yet to be picked.
    fn address_of(&self, socket: Socket) -> SocketAddr {
        let port = match socket {
            Socket::Sip | Socket::SipStream => self.ports.sip,
            Socket::Http => self.ports.http,
        };
        SocketAddr::new(self.address, port)
    }

    fn sip_socket(&self) -> Socket {
        if self.transport.is_reliable() { Socket::SipStream } else { Socket::Sip }
    }
}

fn choose_ports(config: &StartConfig) -> Result<Ports, AsteriskError> {
    let choose = |socket| {
        let wanted = config.address_of(socket);
        if wanted.port() != 0 {
            return ports::check(socket, wanted).map(|()| wanted.port());
        }
        let rtp = std::slice::from_ref(&config.ports.rtp);
        let clear = [rtp, &config.keep_clear].concat();
        ports::pick(socket, config.address, &clear).or_else(|_| ports::pick(socket, config.address, rtp))
    };
    Ok(Ports {
        sip: choose(config.sip_socket())?,
        http: choose(Socket::Http)?,
        rtp: config.ports.rtp.clone(),
    })
}

/// Starts one on the ports of `config`, none of which is 0 any more.
async fn start_on(config: StartConfig) -> Result<Managed, AsteriskError> {
    let run_dir = RunDir::create(&config.run_base)?;
    if config.transport == Transport::Tls {
        certificate::write(run_dir.path(), config.address)?;
    }
    let values = config::values(&config, run_dir.path())?;
    config::write(&run_dir.path().join("etc"), &values, &config.install.module_dir)?;
    let log = Log { distinct: LogReader::new(Arc::clone(&config.is_ending)), ..Log::default() };
    let process = AsteriskProcess::launch(&config, run_dir.path(), log).await?;
    let url = format!("http://{}", config.address_of(Socket::Http));
    let ari = Ari::new(url, config.ari.clone()).map_err(|error| AsteriskError::Failed(error.to_string()))?;
    let managed = Managed { process, config, ari, run_dir };
    managed.ready().await?;
    Ok(managed)
}

/// One process of Asterisk, its output and what was read of it.
#[derive(Debug)]
struct AsteriskProcess {
    keeper: Keeper,
    output: ChildOutput,
    log: Arc<Mutex<Log>>,
}

impl AsteriskProcess {
    /// Starts it on the configuration in its run folder; its log goes on from `log`.
    async fn launch(
        config: &StartConfig,
        run_dir: &Path,
        log: Log,
    ) -> Result<AsteriskProcess, AsteriskError> {
        let mut command = asterisk_command(&config.install, run_dir);
        command.arg("-f").current_dir(run_dir);
        config.scheduling.pin_process(&mut command);
        let path = config.logs.join(LOG_FILE);
        let log = Arc::new(Mutex::new(log));
        let reader = Arc::clone(&log);
        let take = move |line: &str| reader.lock().unwrap_or_else(PoisonError::into_inner).take(line);
        let output = ChildOutput::capture(&mut command, path.clone(), take)
            .map_err(|error| AsteriskError::file("cannot create", &path, error))?;
        let unstarted = |error| AsteriskError::file("cannot start", &config.install.program, error);
        let keeper = Keeper::start(command).await.map_err(unstarted)?;
        Ok(AsteriskProcess { keeper, output, log })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // A panic cannot leave these counters half changed, so a poisoned lock is as good as any.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asterisk_command(install: &Install, run_dir: &Path) -> Command {
    let mut command = install.command();
    command.arg("-C").arg(run_dir.join("etc/asterisk.conf"));
    command
}

/// A private Asterisk that runs. Dropped, it is killed, reaped, and its run folder removed.
#[derive(Debug)]
pub struct Managed {
    // Before `run_dir`: fields are dropped in this order, and Asterisk writes until it is gone.
    process: AsteriskProcess,
    config: StartConfig,
    ari: Ari,
    run_dir: RunDir,
}

impl Managed {
    /// Starts an Asterisk and returns when it can take calls.
    ///
    /// # Errors
    /// See [`AsteriskError`]. Nothing is left behind then but the log.
    pub async fn start(config: StartConfig) -> Result<Managed, AsteriskError> {
        let mut tries = 1;
        loop {
            let ports = choose_ports(&config)?;
            match start_on(StartConfig { ports, ..config.clone() }).await {
                Err(AsteriskError::PortTaken { socket, .. })
                    if tries < TRIES && config.address_of(socket).port() == 0 =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// Its address for SIP.
    pub fn sip_addr(&self) -> SocketAddr {
        self.config.address_of(Socket::Sip)
    }

    /// The certificate of the issuer whom its callers have to trust, where it speaks TLS.
    pub fn issuer(&self) -> Option<PathBuf> {
        (self.config.transport == Transport::Tls).then(|| certificate::issuer(self.run_dir()))
    }

    /// The account that its callers need.
    pub fn sip_account(&self) -> &Account {
        &self.config.digest
    }

    /// Its address for HTTP.
    pub fn http_addr(&self) -> SocketAddr {
        self.config.address_of(Socket::Http)
    }

    /// Its REST interface.
    pub fn ari(&self) -> &Ari {
        &self.ari
    }

    /// Its process.
    pub fn process(&self) -> &Keeper {
        &self.process.keeper
    }

    /// Its output, which is its log.
    pub fn output(&self) -> &ChildOutput {
        &self.process.output
    }

    /// Counts of its log since the last call of this, that of the processes before it included.
    pub fn take_log_counts(&self) -> LogCounts {
        std::mem::take(&mut self.process.log().counts)
    }

    /// Warnings and errors of its log since the last call of this, as [`Managed::take_log_counts`].
    pub fn take_log_digest(&self) -> LogDigest {
        let output = &self.process.output;
        LogDigest { last: output.tail(), cut_bytes: output.cut_bytes(), ..self.process.log().distinct.take() }
    }

    /// Starts it again where it was, once it has ended: same ports, same passwords, same folder.
    ///
    /// # Errors
    /// As those of a first start. The process may be running then all the same.
    pub async fn start_again(&mut self) -> Result<(), AsteriskError> {
        self.process.keeper.ended().await;
        self.process.output.drained().await;
        let before = std::mem::take(&mut *self.process.log());
        let log = Log { counts: before.counts, distinct: before.distinct, ..Log::default() };
        self.process = AsteriskProcess::launch(&self.config, self.run_dir.path(), log).await?;
        self.ready().await
    }

    /// The Asterisk that was started.
    pub fn install(&self) -> &Install {
        &self.config.install
    }

    /// Its private folder, which goes with it.
    pub fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// The command that reaches its console; add `-r`, or `-rx` and a console command.
    pub fn console(&self) -> Command {
        asterisk_command(&self.config.install, self.run_dir.path())
    }

    /// Asks it to stop, which hangs up the calls there are, and kills it after `grace`.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        let stopped = self.process.keeper.stop(grace).await;
        self.process.output.drained().await;
        stopped
    }

    async fn ready(&self) -> Result<(), AsteriskError> {
        let config = &self.config;
        let mut problem = "nothing came".to_string();
        let answered = async {
            loop {
                if let Some(socket) = self.process.log().port_taken {
                    return Err(self.taken(socket));
                }
                match self.ari.ping().await {
                    Ok(()) if self.process.log().is_ready => return Ok(()),
                    Ok(()) => problem = "ARI answers, but not everything is loaded".into(),
                    // The password was made for this start: what does not know it was there before.
                    Err(HttpError::Status { status: 401, .. }) => return Err(self.taken(Socket::Http)),
                    Err(error) => problem = error.to_string(),
                }
                sleep(ASK_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            _ = self.process.keeper.ended() => Err(self.early_end().await),
            outcome = timeout(config.ready_within, answered) => outcome.unwrap_or_else(|_| {
                let what = format!(
                    "Asterisk did not answer ARI within {:?} ({problem}); is the machine overloaded? Its last output:",
                    config.ready_within
                );
                Err(AsteriskError::with_lines(&what, &self.process.output.tail()))
            }),
        }
    }

    fn taken(&self, socket: Socket) -> AsteriskError {
        // Its log does not say which of SIP's.
        let socket = if socket == Socket::Sip { self.config.sip_socket() } else { socket };
        AsteriskError::PortTaken { socket, addr: self.config.address_of(socket) }
    }

    async fn early_end(&self) -> AsteriskError {
        self.process.output.drained().await;
        if let Some(socket) = self.process.log().port_taken {
            return self.taken(socket);
        }
        let status = describe(self.process.keeper.status());
        let what = format!("Asterisk ended before it was ready ({status}); its last output:");
        AsteriskError::with_lines(&what, &self.process.output.tail())
    }
}
