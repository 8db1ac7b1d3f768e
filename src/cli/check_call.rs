//! `loadtest check --call`: one call of a few seconds, told step by step.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::Flock;

use super::progress::Display;
use super::{Exit, Failure, interrupt, say};
use crate::diagnosis::{findings_of_call, steps};
use crate::files::owned;
use crate::report::terminal;
use crate::run::{RunError, RunPlan, Testbed, execute};
use crate::scenario::Gates;
use crate::values::Span;

/// Time that the call is held, and time for its media to settle.
const HELD: Duration = Duration::from_secs(3);
const SETTLES: Duration = Duration::from_millis(500);

/// Brings the testbed up as a run would, places one call, and says what happened at each step.
///
/// # Errors
/// Whatever keeps the testbed from coming up.
pub async fn place(mut plan: RunPlan) -> Result<Exit, Failure> {
    reduce(&mut plan);
    let logs = Scratch::create()?;
    let interrupt = interrupt::listen()?;
    let mut testbed = match Testbed::up(&plan, &logs.path).await {
        Ok(testbed) => testbed,
        Err(error) => return Err(Failure::from(error).with_logs(logs.keep())),
    };
    let finished = execute(&plan, &mut testbed, interrupt, &Display::nothing()).await;
    let broken = testbed.down().await;
    let finished = finished?.broken_since(&plan, broken)?;
    let (summary, verdict) = (&finished.summary, &finished.verdict);
    if summary.environment.interrupted {
        say::err("interrupted before the call was over");
        return Ok(Exit::Interrupted);
    }
    say::out("One call");
    let steps = steps(summary);
    for step in &steps {
        let mark = match step.good {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "?",
        };
        say::out(format_args!("  {mark} {:12} {}", step.name, step.said));
    }
    let found = findings_of_call(summary, verdict);
    if !found.is_empty() {
        say::out(terminal::findings(&found).trim_end());
    }
    let broken = summary.environment.broken_sentence();
    let failed: Vec<_> = steps.iter().filter(|step| step.good == Some(false)).map(|step| step.name).collect();
    if broken.is_empty() && failed.is_empty() {
        say::out("The call went through and was heard.");
        return Ok(Exit::Pass);
    }
    if let Some(logs) = logs.keep() {
        say::out(format_args!("Logs of what was started are in {}", logs.display()));
    }
    Err(match failed[..] {
        _ if !broken.is_empty() => Failure::broke(broken),
        // The call is placed all the same, and may have been heard.
        ["register"] => Failure::broke("the registration failed"),
        _ => Failure::broke("the call did not go through"),
    })
}

/// Makes one short call of a scenario's load, for one account; nothing is judged.
fn reduce(plan: &mut RunPlan) {
    plan.accounts = plan.accounts.take().map(|accounts| Arc::new(accounts.first()));
    let scenario = &mut plan.resolved.scenario;
    let load = &mut scenario.load;
    (load.calls, load.duration, load.call_duration) = (1, Span(HELD), None);
    load.rate = None;
    scenario.stage.clear();
    load.hangup = crate::scenario::Hangup::Caller;
    scenario.measure.warmup = Span(SETTLES);
    scenario.fault.clear();
    scenario.impair = Default::default();
    scenario.gates = Gates::default();
    plan.gates.clear();
}

/// A folder for the logs, removed unless it is kept.
struct Scratch {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Scratch {
    fn create() -> Result<Scratch, RunError> {
        let base = std::env::temp_dir();
        owned::sweep(&base);
        let path = base.join(format!("{}{:08x}", owned::CHECK, rand::random::<u32>()));
        // Logs may hold what is nobody else's business.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path).and_then(|()| owned::lock(&path));
        let lock = made.map_err(|error| RunError::unwritable(&path, error, "; set TMPDIR to another"))?;
        Ok(Scratch { path, _lock: lock })
    }

    /// Keeps the folder, if there is something in it.
    fn keep(mut self) -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(&self.path).ok()?;
        let says_something =
            entries.any(|entry| entry.and_then(|e| e.metadata()).is_ok_and(|log| log.len() > 0));
        says_something.then(|| {
            // They are not swept: whoever reads them removes them.
            let _ = owned::release(&self.path);
            std::mem::take(&mut self.path)
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Empty once it is kept.
        if self.path != Path::new("") {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
