//! `loadtest service`: the ARI service under test by itself.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Exit, Failure};
use crate::asterisk::descriptors;
use crate::net::signals::Signals;
use crate::rtp::Codec;
use crate::run::resolve::resolve;
use crate::service::http::Shared;
use crate::service::metrics::MetricsFile;
use crate::service::{Hangup, Service, ServiceConfig};
use crate::values::{HostPort, PortRange, Span};

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  ARI_PASS=secret loadtest service --ari-url http://127.0.0.1:8088 --user loadtest\n\n\
    RUST_LOG=debug says more."
)]
pub struct Args {
    /// Asterisk's HTTP server.
    #[arg(long, env = "ARI_URL", default_value = "http://127.0.0.1:8088", value_name = "URL")]
    ari_url: String,
    /// The ARI user.
    #[arg(long, env = "ARI_USER", default_value = "loadtest")]
    user: String,
    /// The ARI user's password.
    ///
    /// Better given in the environment, where `ps` does not show it.
    #[arg(long, env = "ARI_PASS", hide_env_values = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// The Stasis application.
    #[arg(long, env = "APP_NAME", default_value = "loadtest")]
    app: String,
    /// Address that Asterisk sends the media to.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    media_ip: IpAddr,
    /// Ports that Asterisk sends the media to, one per call.
    #[arg(long, env = "PORT_RANGE", default_value = "21000-31000", value_name = "FIRST-LAST")]
    port_range: PortRange,
    /// Address of /health and /metrics; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    http: SocketAddr,
    /// Send the calls' media through this echo server.
    ///
    /// `loadtest echo` is one. The way there and back is measured. Without, the service itself sends it back at once.
    #[arg(long, value_name = "HOST:PORT")]
    echo: Option<HostPort>,
    /// Hold every packet for this long before it goes back, as in 1ms, at most 1s: a service slow on
    /// purpose, to try gates and comparisons on.
    #[arg(long, value_name = "DURATION", conflicts_with = "echo", value_parser = parse_delay)]
    delay: Option<Span>,
    /// Write all that was counted into this file at the end, as JSON.
    ///
    /// SIGUSR1 writes it at once, and SIGUSR2 counts from zero.
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    /// Codec of the media channel.
    ///
    /// It has to be the callers', or no probe survives.
    #[arg(long, default_value = "PCMU", value_parser = parse_codec, value_name = "PCMU|PCMA")]
    codec: Codec,
    /// Hang up calls by itself once they have been bridged this long, as in 2s.
    #[arg(long, value_name = "DURATION")]
    hangup_after: Option<Span>,
    /// Hang up every Nth call only; the others are left to their callers.
    #[arg(long, value_name = "N", default_value = "1", requires = "hangup_after",
          value_parser = clap::value_parser!(u32).range(1..))]
    hangup_every: u32,
}

fn parse_codec(text: &str) -> Result<Codec, String> {
    [Codec::Pcmu, Codec::Pcma]
        .into_iter()
        .find(|c| c.name().eq_ignore_ascii_case(text) || c.asterisk_name() == text)
        .ok_or_else(|| format!("`{text}` is not PCMU or PCMA"))
}

/// Longer than a second, and callers would be waiting for the far end to speak.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

fn parse_delay(text: &str) -> Result<Span, String> {
    let delay: Span = text.parse()?;
    if delay.0 > LONGEST_DELAY { Err("at most 1s".into()) } else { Ok(delay) }
}

/// Runs the subcommand until SIGTERM or Ctrl-C.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    // An empty variable is one that is not set: compose files cannot tell the two apart.
    let password = args.password.filter(|password| !password.is_empty()).ok_or_else(|| {
        Failure::usage(
            "there is no password for ARI: set ARI_PASS, in the environment or in a .env file, to that of the \
             user in Asterisk's ari.conf; `loadtest asterisk --write-env .env` writes it by itself",
        )
    })?;
    // A socket per call. Without more, as many calls as there are descriptors are served.
    let _ = descriptors::raise();
    let mut signals = Signals::listen()?;
    let echo = match &args.echo {
        Some(echo) => Some(resolve(echo, "--echo").await?),
        None => None,
    };
    let config = ServiceConfig {
        ari_url: args.ari_url,
        user: args.user,
        password,
        app: args.app,
        media_ip: args.media_ip,
        ports: args.port_range,
        http: Some(args.http),
        codec: args.codec,
        echo,
        delay: args.delay.map(|delay| delay.0).filter(|delay| !delay.is_zero()),
        hangup: args.hangup_after.map(|after| Hangup { after: after.0, every: args.hangup_every }),
    };
    let shutdown = async move {
        signals.next().await;
    };
    // Before Asterisk lists the application: from then on a run may send them.
    let requests = [SignalKind::user_defined1(), SignalKind::user_defined2()].map(signal);
    let service = Service::start(config).await?;
    if let (Some(path), [Ok(write), Ok(reset)]) = (args.metrics_file.clone(), requests) {
        tokio::spawn(on_request(write, reset, path, service.counts()));
    }
    let finished = service.run(shutdown).await;
    let written = args.metrics_file.map_or(Ok(()), |path| write(&path, &finished.counted));
    match finished.failure {
        // The reason to end is the one to tell; the other is not to be lost.
        Some(failure) => {
            if let Err(error) = written {
                tracing::error!("{error:#}");
            }
            Err(failure.into())
        }
        None => Ok(written.map(|()| Exit::Pass)?),
    }
}

/// Writes the counts on SIGUSR1, and counts from zero on SIGUSR2: one file for each of several trials.
async fn on_request(mut write_now: Signal, mut reset: Signal, path: PathBuf, counts: Arc<Shared>) {
    loop {
        tokio::select! {
            Some(()) = write_now.recv() => {
                // Whoever waits for the file is to find it whole.
                let partial = path.with_extension("partial");
                let written = write(&partial, &MetricsFile::of(counts.snapshot()));
                if let Err(error) = written.and_then(|()| Ok(std::fs::rename(&partial, &path)?)) {
                    tracing::error!("{error:#}");
                }
            }
            Some(()) = reset.recv() => counts.reset(),
            else => return,
        }
    }
}

fn write(path: &Path, counted: &MetricsFile) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec_pretty(counted).context("the metrics")?;
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
