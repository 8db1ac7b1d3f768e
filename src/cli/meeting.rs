//! The drivers of a run, and their way to each other.

use std::path::PathBuf;

use tokio::sync::watch;

use super::progress::Display;
use super::{Failure, say};
use crate::driver::Stop;
use crate::gate::Watch;
use crate::rendezvous::{Hello, RunSecret};
use crate::run::Observer as _;
use crate::run::together::{KEY, Link, Rendezvous, join, secret};
use crate::shard::{Identified, Shard, identify};
use crate::values::{HostPort, Span};

/// The drivers of a run, and where they meet.
#[derive(Debug, clap::Args)]
pub struct Meeting {
    /// Place the share of one driver of several: shard I, from 0, of N [default: what the engine says, as LOADTEST_SHARD and
    /// LOADTEST_SHARDS, or SLURM_PROCID and SLURM_NTASKS].
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Where the drivers meet: the one that owns HOST coordinates and has the report. All need the same LOADTEST_KEY.
    #[arg(long, value_name = "HOST:PORT", env = "LOADTEST_RENDEZVOUS")]
    pub rendezvous: Option<HostPort>,
    /// Longest wait at the rendezvous for the other drivers, and then for all to be ready.
    #[arg(long, value_name = "TIME", default_value = "2m", requires = "rendezvous")]
    wait: Span,
}

/// A rendezvous, its key, and the time for all to come.
pub struct Meet<'a> {
    at: &'a HostPort,
    secret: RunSecret,
    wait: Span,
}

impl Meeting {
    /// The shard that this process is, of those that meet; `None` for an ordinary command.
    ///
    /// # Errors
    /// Nobody says which, or where all meet.
    pub fn wanted(&self) -> Result<Option<Shard>, Failure> {
        match (&self.rendezvous, self.shard) {
            (Some(_), _) => self.identified().map(Some),
            (None, Some(_)) => Err(Failure::usage(
                "--shard makes this one driver of several: say where they meet with --rendezvous HOST:PORT",
            )),
            (None, None) => Ok(None),
        }
    }

    /// The shard that the option says, or the environment.
    ///
    /// # Errors
    /// Nobody says which.
    pub fn identified(&self) -> Result<Shard, Failure> {
        let variable = |name: &'static str| std::env::var(name).ok();
        let Identified { shard, .. } =
            identify(self.shard, variable).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(shard)
    }

    /// Where and how all meet, if they do.
    ///
    /// # Errors
    /// There is no key.
    pub fn meet(&self) -> Result<Option<Meet<'_>>, Failure> {
        let Some(at) = &self.rendezvous else { return Ok(None) };
        Ok(Some(Meet { at, secret: secret(std::env::var(KEY).ok())?, wait: self.wait }))
    }
}

/// A shard's way to the others.
pub struct Joining<'a> {
    pub meet: &'a Meet<'a>,
    pub hello: Hello,
    /// For the coordinator: folder of the shards' files, and what may end the run.
    pub folder: PathBuf,
    pub watch: Option<Watch>,
    pub display: &'a Display,
    pub quiet: bool,
}

impl Joining<'_> {
    /// Joins the others; `None` when the user interrupts that.
    ///
    /// # Errors
    /// Nobody is there, or this shard is refused.
    pub async fn join(self, interrupt: &mut watch::Receiver<Stop>) -> Result<Option<Link>, Failure> {
        let Joining { meet: Meet { at, secret, wait }, hello, folder, watch, display, quiet } = self;
        let (index, count) = (hello.index, hello.count);
        let hint = move |text: &str| {
            if !quiet {
                say::err(text);
            }
        };
        let (at, secret, wait) = ((*at).clone(), secret.clone(), wait.0);
        display
            .remark(&format!("shard {index}/{count}: waiting for the others at {at}, up to {}", Span(wait)));
        let rendezvous = Rendezvous { at, hello, secret, wait, folder, watch, hint: Box::new(hint) };
        let link = tokio::select! {
            link = join(rendezvous) => link?,
            _ = interrupt.wait_for(|stop| *stop != Stop::No) => return Ok(None),
        };
        display.remark(&match link.place {
            Some(_) => format!("this process coordinates all {count} shards"),
            None => "taken in by the coordinator".to_string(),
        });
        Ok(Some(link))
    }
}
