//! `loadtest asterisk`: a private Asterisk in the foreground.

use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::{Exit, Failure, say};
use crate::asterisk::config::Secret;
use crate::asterisk::{Ari, Managed, SearchPlaces, StartConfig, find};
use crate::child;
use crate::files::{read_text, write_named};
use crate::net::signals::Signals;
use crate::run::preflight::raise_descriptors;
use crate::scenario::Transport;
use crate::values::{MediaWay, PortRange};

/// Largest file that is looked into before it is written anew.
const MOST_BYTES: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    loadtest asterisk --write-env .env\n  \
    ARI_PASS=secret loadtest asterisk --sip-port 5070 --http-port 0\n\n\
    With .env in the same folder, `loadtest service` finds it, and runs with asterisk.mode=\"external\"\n\
    have its addresses and accounts. It ends with Ctrl-C, and nothing is left of it but its log and\n\
    .env.")]
pub struct Args {
    /// The Asterisk to run: a program or an unpacked tree [default: the one that is found].
    #[arg(long, env = "LOADTEST_ASTERISK", value_name = "PATH")]
    asterisk: Option<PathBuf>,
    /// Address that SIP, media and ARI are bound to, for drivers and services on other machines.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    listen: IpAddr,
    /// SIP port; 0 takes any free one.
    #[arg(long, default_value_t = 5060)]
    sip_port: u16,
    /// Transport of SIP: udp, tcp or tls. For TLS a certificate is made.
    #[arg(long, default_value = "udp", value_parser = transport)]
    transport: Transport,
    /// Take only media that SRTP protects, with keys in SDP (SDES).
    #[arg(long)]
    srtp: bool,
    /// Way of an application's media, whose modules are loaded.
    #[arg(long, value_name = "WAY", default_value = "rtp")]
    media: MediaWay,
    /// HTTP and ARI port; 0 takes any free one.
    #[arg(long, default_value_t = 8088)]
    http_port: u16,
    /// RTP ports.
    #[arg(long, default_value = "10000-20000", value_name = "FIRST-LAST")]
    rtp_ports: PortRange,
    /// Folder for asterisk.log.
    #[arg(long, default_value = "logs", value_name = "DIR")]
    logs: PathBuf,
    /// The ARI user.
    #[arg(long, env = "ARI_USER", default_value = "loadtest")]
    user: String,
    /// The ARI user's password [default: a new one].
    ///
    /// Better given in the environment, where `ps` does not show it.
    #[arg(long, env = "ARI_PASS", hide_env_values = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// The user whose calls are taken, after a challenge [default: one of a name of its own].
    #[arg(long, env = "SIP_USER", value_name = "USER")]
    sip_user: Option<String>,
    /// That user's password [default: a new one].
    ///
    /// Better given in the environment, where `ps` does not show it.
    #[arg(long, env = "SIP_PASS", hide_env_values = true, value_name = "PASSWORD")]
    sip_password: Option<String>,
    /// Once calls are taken, write its addresses and accounts into this file, as `.env` has them: SIP_ADDRESS,
    /// SIP_USER, SIP_PASS, ARI_URL, ARI_USER and ARI_PASS.
    ///
    /// Its owner and its group may read it.
    #[arg(long, value_name = "FILE")]
    write_env: Option<PathBuf>,
}

/// A transport by the word of a scenario.
fn transport(word: &str) -> Result<Transport, String> {
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
    let named = all.into_iter().find(|transport| transport.name().eq_ignore_ascii_case(word));
    named.ok_or_else(|| "use udp, tcp or tls".into())
}

/// Runs the subcommand until SIGTERM or Ctrl-C, or until Asterisk ends.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    let mut signals = Signals::to_end()?;
    listens_at(args.listen)?;
    raise_descriptors()?;
    let install = find::find(&SearchPlaces::from_environment(args.asterisk))?;
    let mut config = StartConfig::new(install, args.logs);
    config.address = args.listen;
    (config.ports.sip, config.ports.http) = (args.sip_port, args.http_port);
    config.ports.rtp = args.rtp_ports.from..=args.rtp_ports.to;
    (config.transport, config.srtp, config.media) = (args.transport, args.srtp, args.media);
    config.ari.user = args.user;
    // An empty variable is one that is not set: compose files cannot tell the two apart.
    if let Some(password) = args.password.filter(|password| !password.is_empty()) {
        config.ari.password = Secret::new(password);
    }
    if let Some(user) = args.sip_user.filter(|user| !user.is_empty()) {
        config.digest.user = user;
    }
    if let Some(password) = args.sip_password.filter(|password| !password.is_empty()) {
        config.digest.password = Secret::new(password);
    }
    let (app, digest) = (config.app.clone(), config.digest.clone());
    let managed = Managed::start(config).await?;
    if let Some(path) = &args.write_env {
        write_env(path, &managed).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let Ari { url, account, .. } = managed.ari();
    say::out(format_args!("{} takes calls", managed.install().version));
    say::out(format_args!("  SIP       {}", managed.sip_addr()));
    say::out(format_args!("  transport {}", args.transport.name().to_ascii_lowercase()));
    let needed = needed(args.transport, args.srtp, managed.issuer().as_deref());
    if !needed.is_empty() {
        say::out(format_args!("  runs need {needed}"));
    }
    say::out(format_args!("  ARI_URL   {url}"));
    say::out(format_args!("  ARI_USER  {}", account.user));
    // Output ends up in logs: passwords that are in the file are not printed.
    let is_kept = args.write_env.is_some();
    let password = if is_kept { "(in the file of --write-env)" } else { account.password.expose() };
    say::out(format_args!("  ARI_PASS  {password}"));
    say::out(format_args!("  app       {}", app));
    say::out(format_args!("  SIP_USER  {}", digest.user));
    if !is_kept {
        say::out(format_args!("  SIP_PASS  {}", digest.password.expose()));
    }
    say::out(format_args!("  log       {}", managed.output().path().display()));
    say::out(format_args!("  console   {:?} -r", managed.console()));
    say::out("Ctrl-C stops it.");
    tokio::select! {
        _ = signals.next() => {
            managed.stop(Duration::from_secs(5)).await;
            Ok(Exit::Pass)
        }
        status = managed.process().ended() => Err(Failure::broke(format!(
            "Asterisk ended by itself ({})", child::describe(status)
        ))),
    }
}

/// Refuses an address that nobody can be told to call, and warns of one that others reach.
fn listens_at(address: IpAddr) -> Result<(), Failure> {
    if address.is_unspecified() || address.is_multicast() {
        return Err(Failure::usage(format!(
            "--listen {address}: name the address of this machine that callers reach (`ip -brief address` lists them); it \
             stands in SDP and in ARI_URL"
        )));
    }
    // Asterisk says it in a log, and not that it is no address of this machine.
    if let Err(error) = UdpSocket::bind((address, 0)) {
        return Err(Failure::usage(format!(
            "--listen {address}: {error}; `ip -brief address` lists the addresses of this machine"
        )));
    }
    if !address.to_canonical().is_loopback() {
        say::err(format_args!(
            "warning: whoever reaches {address} reaches SIP and ARI there, behind their passwords alone and unencrypted; a \
             firewall should let in the machines of the test only"
        ));
    }
    Ok(())
}

/// Settings of a run that calls it, for which no variable stands.
fn needed(transport: Transport, srtp: bool, issuer: Option<&Path>) -> String {
    let mut settings = Vec::new();
    if transport != Transport::Udp {
        settings.push(format!("--set asterisk.transport={}", transport.name().to_ascii_lowercase()));
    }
    settings.extend(issuer.map(|issuer| format!("--set sip.tls.ca={}", issuer.display())));
    if srtp {
        settings.push("--set media.srtp=true".into());
    }
    settings.join(" ")
}

/// Leaves addresses and accounts in a file, which is there whole or not at all.
fn write_env(path: &Path, managed: &Managed) -> std::io::Result<()> {
    let (Ari { url, account, .. }, sip) = (managed.ari(), managed.sip_account());
    let address = managed.sip_addr().to_string();
    let values =
        [address.as_str(), &sip.user, sip.password.expose(), url, &account.user, account.password.expose()];
    keeps_nothing_else(path)?;
    let lines = KEYS.iter().zip(values);
    let text: String = lines.map(|(name, value)| format!("{name}={}\n", quoted(value))).collect();
    write_named(path, text.as_bytes(), 0o640)
}

/// Names in the file of `--write-env`.
const KEYS: [&str; 6] = ["SIP_ADDRESS", "SIP_USER", "SIP_PASS", "ARI_URL", "ARI_USER", "ARI_PASS"];

/// Refuses a file in which anything else is kept: it is written anew as a whole.
fn keeps_nothing_else(path: &Path) -> std::io::Result<()> {
    let text = match read_text(path, MOST_BYTES) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let is_key = |(key, _): (&str, &str)| KEYS.contains(&key);
    let ours = |line: &str| line.split_once('=').is_some_and(is_key);
    match text.lines().find(|line| !line.trim().is_empty() && !ours(line)) {
        Some(_) => Err(std::io::Error::other(
            "it holds more than the addresses and accounts of an Asterisk, which would be lost; name another file",
        )),
        None => Ok(()),
    }
}

/// In single quotes, as a shell and a `.env` file take it literally.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_has_to_set_is_named() {
        assert_eq!(needed(Transport::Udp, false, None), "");
        let tls = needed(Transport::Tls, true, Some(Path::new("/tmp/ca.pem")));
        let all = "--set asterisk.transport=tls --set sip.tls.ca=/tmp/ca.pem --set media.srtp=true";
        assert_eq!(tls, all);
    }

    #[test]
    fn a_shell_and_a_dot_env_file_read_the_same() {
        for password in ["plain", "it's", "'", "a'b'c\"$HOME`x`#&=!~*?{}()|<"] {
            let line = format!("ARI_PASS={}\n", quoted(password));
            let read: Vec<_> = dotenvy::from_read_iter(line.as_bytes()).map(|pair| pair.unwrap()).collect();
            assert_eq!(read, [("ARI_PASS".into(), password.into())]);
            let script = format!("{line}printf %s \"$ARI_PASS\"");
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), password);
        }
    }
}
