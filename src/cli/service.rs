//! `loadtest service`: the ARI service under test by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::ArgMatches;
use clap::parser::ValueSource;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{Exit, Failure};
use crate::asterisk::descriptors;
use crate::files::{read_text, write_named};
use crate::net::signals::Signals;
use crate::service::http::SharedCounts;
use crate::service::metrics::MetricsFile;
use crate::service::{AriService, COUNT_ANEW, ServiceConfig, WRITE_COUNTS};

/// Largest file of settings that is read.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  ARI_PASS=secret loadtest service --ari-url http://127.0.0.1:8088 --user loadtest\n\n\
    RUST_LOG=debug says more."
)]
pub struct Args {
    /// Read settings from this file (TOML): the flags below without their dashes, as in `media_ip`.
    ///
    /// Flags and the environment come first. The password is not one of the keys: set ARI_PASS.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: ServiceConfig,
}

impl Args {
    /// The settings: flags and environment, then the file, then defaults. `matches` say which of them the command
    /// line or the environment has given.
    fn settings(self, matches: &ArgMatches) -> anyhow::Result<ServiceConfig> {
        let Some(path) = self.config else { return Ok(self.settings) };
        let name = || path.display().to_string();
        let text = read_text(&path, MOST_BYTES).with_context(name)?;
        let file: ServiceConfig = toml::from_str(&text).with_context(name)?;
        let mut merged = toml::Table::try_from(file)?;
        let is_given = |id: &str| matches.value_source(id).is_some_and(|s| s != ValueSource::DefaultValue);
        let mut settings = toml::Table::try_from(&self.settings)?;
        // The bot's flags stand in a table of their own.
        let manners = settings.remove("manners");
        merged.extend(settings.into_iter().filter(|(key, _)| is_given(key)));
        if let Some((toml::Value::Table(given), toml::Value::Table(manners))) =
            manners.zip(merged.get_mut("manners"))
        {
            let is_flag = |(key, _): &(String, _)| is_given(&format!("talk-{}", key.replace('_', "-")));
            manners.extend(given.into_iter().filter(is_flag));
        }
        Ok(ServiceConfig { password: self.settings.password, ..merged.try_into()? })
    }
}

/// The levels that RUST_LOG asks for, `info` without it.
fn log_filter() -> Result<Targets, Failure> {
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()).unwrap_or("info".into());
    let refused = |e| format!("RUST_LOG is `{asked}`: {e}; give it a level, as debug, or loadtest=debug");
    asked.parse().map_err(|e: tracing_subscriber::filter::ParseError| Failure::usage(refused(e)))
}

/// Runs the subcommand until SIGTERM or Ctrl-C.
pub async fn run(args: Args, matches: &ArgMatches) -> Result<Exit, Failure> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(log_filter()?).init();
    let config = args.settings(matches).map_err(|e| Failure::usage(format!("{e:#}")))?;
    config.check().map_err(Failure::usage)?;
    // A socket per call. Without more, as many calls as there are descriptors are served.
    let _ = descriptors::raise();
    let mut signals = Signals::to_end()?;
    let shutdown = async move {
        signals.next().await;
    };
    // Before Asterisk lists the application: from then on a run may send them.
    let requests = Signals::listen(&[WRITE_COUNTS, COUNT_ANEW])?;
    let metrics_file = config.metrics_file.clone();
    let service = AriService::start(config).await?;
    if let Some(path) = metrics_file.clone() {
        tokio::spawn(on_request(requests, path, service.counts()));
    }
    let finished = service.run(shutdown).await;
    let written = metrics_file.map_or(Ok(()), |path| write(&path, &finished.counted));
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

/// Writes the counts, or counts from zero, as a run asks for it: one file for each of several trials.
async fn on_request(mut requests: Signals, path: PathBuf, counts: Arc<SharedCounts>) {
    loop {
        if requests.next().await == COUNT_ANEW {
            counts.reset();
        } else if let Err(error) = write(&path, &MetricsFile::of(counts.snapshot())) {
            tracing::error!("{error:#}");
        }
    }
}

fn write(path: &Path, counted: &MetricsFile) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec_pretty(counted).context("the metrics")?;
    write_named(path, &bytes, 0o666).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn settings(arguments: &[&str], file: &str) -> anyhow::Result<ServiceConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.toml");
        std::fs::write(&path, file).unwrap();
        let arguments = [&["service", "--config", path.to_str().unwrap()], arguments].concat();
        let matches = Args::augment_args(clap::Command::new("service")).get_matches_from(arguments);
        Args::from_arg_matches(&matches).unwrap().settings(&matches)
    }

    #[test]
    fn a_flag_comes_before_the_file_and_the_file_before_defaults() {
        let file = "app = \"file\"\nport_range = \"2000-2010\"\ndelay = \"1ms\"";
        let read = settings(&["--app", "flag", "--hangup-after", "2s", "--password", "x"], file).unwrap();
        let expected = ServiceConfig {
            app: "flag".into(),
            port_range: "2000-2010".parse().unwrap(),
            delay: "1ms".parse().ok(),
            hangup_after: "2s".parse().ok(),
            password: "x".into(),
            ..Default::default()
        };
        assert_eq!(read, expected);
        let written = toml::to_string(&expected).unwrap();
        assert_eq!(settings(&["--password", "x"], &written).unwrap(), expected);
        assert!(!written.contains("password"), "{written}");
    }

    #[test]
    fn a_file_with_an_unknown_key_or_a_bad_value_is_refused_with_its_place() {
        for (file, word) in
            [("apps = 1", "apps"), ("port_range = \"9-1\"", "port_range"), ("password = \"x\"", "password")]
        {
            let why = format!("{:#}", settings(&[], file).unwrap_err());
            assert!(why.contains("service.toml") && why.contains("line 1") && why.contains(word), "{why}");
        }
    }
}
