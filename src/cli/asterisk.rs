//! `loadtest asterisk`: a private Asterisk in the foreground.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::{Exit, Failure, say};
use crate::asterisk::{Asterisk, Places, StartConfig, descriptors, find};
use crate::scenario::values::PortRange;
use crate::service::termination;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The Asterisk to run: a program or an unpacked tree [default: the one that is found].
    #[arg(long, env = "LOADTEST_ASTERISK", value_name = "PATH")]
    asterisk: Option<PathBuf>,
    /// SIP port; 0 takes any free one.
    #[arg(long, default_value_t = 5060)]
    sip_port: u16,
    /// HTTP and ARI port; 0 takes any free one.
    #[arg(long, default_value_t = 8088)]
    http_port: u16,
    /// RTP ports.
    #[arg(long, default_value = "10000-20000", value_name = "FIRST-LAST")]
    rtp_ports: PortRange,
    /// Folder for asterisk.log.
    #[arg(long, default_value = "logs", value_name = "DIR")]
    logs: PathBuf,
}

/// Runs the subcommand until SIGTERM or Ctrl-C, or until Asterisk ends.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let shutdown = termination().context("cannot watch for signals")?;
    descriptors::raise().context("cannot raise the limit of file descriptors")?;
    let install = find::find(&Places::from_environment(args.asterisk)).map_err(anyhow::Error::from)?;
    let mut config = StartConfig::new(install, args.logs);
    (config.ports.sip, config.ports.http) = (args.sip_port, args.http_port);
    config.ports.rtp = args.rtp_ports.from..=args.rtp_ports.to;
    let (app, digest) = (config.app.clone(), config.digest.clone());
    let managed = Asterisk::start(config).await.map_err(anyhow::Error::from)?;
    let account = managed.account();
    say::out(format_args!("{} takes calls", managed.install().version));
    say::out(format_args!("  SIP       {}", managed.sip_addr()));
    say::out(format_args!("  ARI_URL   {}", managed.ari_url()));
    say::out(format_args!("  ARI_USER  {}", account.user));
    say::out(format_args!("  ARI_PASS  {}", account.password.expose()));
    say::out(format_args!("  app       {}", app));
    say::out(format_args!("  SIP_USER  {}  (From user that is asked for a password)", digest.user));
    say::out(format_args!("  SIP_PASS  {}", digest.password.expose()));
    say::out(format_args!("  log       {}", managed.log().path().display()));
    say::out(format_args!("  console   {:?} -r", managed.console()));
    say::out("Ctrl-C stops it.");
    tokio::select! {
        () = shutdown => {
            managed.stop(Duration::from_secs(5)).await;
            Ok(Exit::Pass)
        }
        status = managed.wait() => Err(Failure::broke(format!(
            "Asterisk ended by itself ({})", status.map_or("?".into(), |s| s.to_string())
        ))),
    }
}
