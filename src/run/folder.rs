//! The run's folder: claimed before the run, so that a bad path fails early and no two runs share one; what stands
//! in it is never overwritten.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::RunError;
use super::application::{COUNTS, SERVICE_LOG, SETTINGS};
use crate::asterisk::LOG_FILE;
use crate::files::{Dir, make_folders};
use crate::stamp::Stamp;

const LOGS: &str = "logs";
/// The scenario of a search, by which its folder is claimed.
pub const SEARCH: &str = "search.toml";
/// The report of a search, of which its other files are made.
pub const CAPACITY: &str = "capacity.json";
/// Runs after a search: a soak, and an overload.
pub const SOAK: &str = "soak";
/// See [`SOAK`].
pub const OVERLOAD: &str = "overload";
/// Shares of a run that several drivers have made, a folder each.
pub const SHARDS: &str = "shards";
/// The trials of a search.
pub const TRIALS: &str = "trials.jsonl";
/// Logs of a start that has failed.
const FAILED: &str = "failed-start";
/// Entries that a run or a comparison writes: where one stands already, it is somebody's.
pub const OUTPUTS: [&str; 30] = [
    SEARCH,
    TRIALS,
    "scenario.toml",
    "environment.json",
    "rtt.hlog",
    "calls.csv",
    "seconds.csv",
    "call_seconds.csv",
    "silences.csv",
    "turns.csv",
    "talk.csv",
    "signals.csv",
    "quality.csv",
    "percentiles.csv",
    "manifest.json",
    "summary.json",
    "summary.md",
    "junit.xml",
    "metrics.prom",
    "report.html",
    "plots",
    "pcap",
    "audio",
    "comparison.json",
    "comparison.md",
    CAPACITY,
    "capacity.csv",
    SOAK,
    OVERLOAD,
    SHARDS,
];
/// Files of a run's logs.
const LOG_FILES: [&str; 4] = [LOG_FILE, SERVICE_LOG, SETTINGS, COUNTS];
/// Of them, the output of processes.
const OUTPUT_LOGS: [&str; 2] = [LOG_FILE, SERVICE_LOG];
/// Tries to find a name that is free: runs may begin in the same second.
const TRIES: u32 = 1000;

/// The entries by which a folder is claimed. Of several that claim the same one, one gets it.
#[derive(Debug, Clone, Copy)]
pub enum Claim<'a> {
    /// A run, by its scenario: the file's name and content.
    Run(&'a str, &'a [u8]),
    /// A comparison, by the folders of its runs.
    Comparison(&'a [&'a str]),
}

/// The folder that a run writes into.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    dir: Dir,
    /// Folders made for it, the uppermost first.
    made: Vec<PathBuf>,
    /// The file that claims it.
    claimed_file: Option<String>,
    /// Folders in it that claim it.
    claimed_folders: Vec<String>,
    /// True if a folder for logs was there already, with files of somebody else.
    had_logs: bool,
    /// Held as long as the folder is: see [`Folder::lock`].
    lock: Option<Flock<fs::File>>,
}

impl Folder {
    /// Claims the folder `out`, or `reports/<name>-<UTC time>`.
    ///
    /// # Errors
    /// When it cannot be made, or is occupied.
    pub fn claim(out: Option<&Path>, name: &str, now: Stamp, claim: Claim<'_>) -> Result<Folder, RunError> {
        let Some(path) = out else {
            let usual = Path::new("reports").join(format!("{name}-{}", compact(now)));
            return Folder::claim_new(&usual, claim);
        };
        let mut folder = Folder::open(path)?;
        match folder.vacant().and_then(|()| folder.take(claim)) {
            Ok(()) => Ok(folder),
            Err(refused) => {
                folder.discard();
                Err(refused)
            }
        }
    }

    /// Claims a folder of this name, or of one with a number behind it, that is not there yet.
    fn claim_new(usual: &Path, claim: Claim<'_>) -> Result<Folder, RunError> {
        let parent = usual.parent().unwrap_or(Path::new("."));
        make_folders(parent).map_err(|e| RunError::unwritable_folder(parent, e))?;
        let numbered = (2..TRIES).map(|n| PathBuf::from(format!("{}-{n}", usual.display())));
        for path in std::iter::once(usual.to_path_buf()).chain(numbered) {
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(RunError::unwritable_folder(&path, error)),
                Ok(()) => {
                    let mut folder = Folder::open(&path)?;
                    folder.made.push(path);
                    folder.take(claim).inspect_err(|_| folder.discard())?;
                    return Ok(folder);
                }
            }
        }
        Err(RunError::unwritable_folder(usual, "all names like it are taken"))
    }

    /// Opens a folder, making it if need be; files in it are replaced by those of the same name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Folder, RunError> {
        let made = make_folders(path).map_err(|e| RunError::unwritable_folder(path, e))?;
        let dir = Dir::open(path).map_err(|e| RunError::unwritable_folder(path, e))?;
        let had_logs = dir.has(LOGS);
        Ok(Folder {
            path: path.to_path_buf(),
            dir,
            made,
            claimed_file: None,
            claimed_folders: Vec::new(),
            had_logs,
            lock: None,
        })
    }

    /// Keeps other searches out of the folder for as long as this one lasts: each writes all of its trials.
    ///
    /// # Errors
    /// Another is in it.
    pub fn lock(&mut self) -> Result<(), RunError> {
        let shown = self.path.display();
        let file = fs::File::open(&self.path).map_err(|e| RunError::unwritable_folder(&self.path, e))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => self.lock = Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(RunError::Unusable(format!(
                    "another search is writing into {shown}: wait for its end, or stop it first"
                )));
            }
            // A file system without locks has other searches kept out by their user.
            Err((_, error)) => tracing::warn!(%error, folder = %shown, "cannot lock the folder"),
        }
        Ok(())
    }

    /// Refuses a folder in which a run would write over something.
    fn vacant(&self) -> Result<(), RunError> {
        let logs = LOG_FILES.iter().map(|name| format!("{LOGS}/{name}"));
        match OUTPUTS.iter().map(ToString::to_string).chain(logs).find(|name| self.dir.has(name)) {
            Some(taken) => Err(self.occupied(&taken)),
            None => self.own_logs(),
        }
    }

    /// Refuses a folder whose logs would be written elsewhere.
    ///
    /// # Errors
    /// They are a link.
    pub fn own_logs(&self) -> Result<(), RunError> {
        if self.path.join(LOGS).is_symlink() { Err(self.occupied("logs, which is a link")) } else { Ok(()) }
    }

    fn occupied(&self, by: &str) -> RunError {
        let shown = self.path.display();
        RunError::Unusable(format!(
            "{shown} holds a run already, or what one would write over: {by}; choose another folder with --out"
        ))
    }

    fn take(&mut self, claim: Claim<'_>) -> Result<(), RunError> {
        let failed = |folder: &Folder, name: &str, error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => folder.occupied(name),
            _ => RunError::unwritable(&folder.path.join(name), error, ""),
        };
        match claim {
            Claim::Run(name, bytes) => {
                self.dir.write_new(name, bytes).map_err(|error| failed(self, name, error))?;
                self.claimed_file = Some(name.into());
            }
            Claim::Comparison(names) => {
                for name in names {
                    self.dir.make_new(name).map_err(|error| failed(self, name, error))?;
                    self.claimed_folders.push((*name).into());
                }
            }
        }
        Ok(())
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// Names the file and the reason; nothing half-written stays behind under its name.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        self.write_with(name, bytes, 0o666)
    }

    /// Likewise, for nobody else to read.
    ///
    /// # Errors
    /// Those of [`Folder::write`].
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        self.write_with(name, bytes, 0o600)
    }

    fn write_with(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), RunError> {
        let wrong = |error: io::Error| RunError::unwritable(&self.path.join(name), error, "");
        self.dir.write(name, bytes, mode).map_err(wrong)
    }

    /// Removes what was made for a run that never began, and nothing that was there before it or that others have
    /// put in: a claim, the logs, the folders if they are empty then.
    pub fn discard(&self) {
        self.remove(&LOG_FILES);
    }

    /// Discards a run whose start failed, but for the logs that may say why. Returns their folder, where there is
    /// something in them: one that keeps no other run out of this one's.
    pub fn discard_failed(&self) -> Option<PathBuf> {
        let says_something =
            |name: &&str| fs::metadata(self.logs().join(name)).is_ok_and(|log| log.len() > 0);
        let (kept, others): (Vec<&str>, Vec<&str>) =
            LOG_FILES.iter().partition(|name| OUTPUT_LOGS.contains(name) && says_something(name));
        self.remove(&others);
        if kept.is_empty() {
            return None;
        }
        let numbered = (2..TRIES).map(|n| format!("{FAILED}-{n}"));
        let mut names = std::iter::once(FAILED.to_string()).chain(numbered).filter(|_| !self.had_logs);
        let name = names.find(|name| self.dir.rename_new(LOGS, name).is_ok());
        Some(name.map_or_else(|| self.logs(), |name| self.path.join(name)))
    }

    /// Removes the claim, these files of the logs, and the folders that were made if they are empty then.
    fn remove(&self, logs: &[&str]) {
        if let Some(claim) = &self.claimed_file {
            logs.iter().for_each(|name| self.dir.remove(&format!("{LOGS}/{name}")));
            if !self.had_logs {
                self.dir.remove_folder(LOGS);
            }
            self.dir.remove(claim);
        }
        self.claimed_folders.iter().for_each(|name| self.dir.remove_folder(name));
        self.made.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }

    /// The folder for logs.
    pub fn logs(&self) -> PathBuf {
        self.path.join(LOGS)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if something of that name is in it: a link that leads nowhere too.
    pub fn has(&self, name: &str) -> bool {
        self.dir.has(name)
    }

    /// True if `path` leads to this folder.
    pub fn is_at(&self, path: &Path) -> bool {
        Dir::open(path).is_ok_and(|dir| dir.is_same(&self.dir))
    }
}

/// UTC in RFC 3339, to the second.
pub fn rfc3339(at: Stamp) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_nanos(at.as_ns());
    humantime::format_rfc3339_seconds(time).to_string()
}

/// UTC as it fits into a file name: `20261122T141008Z`.
fn compact(at: Stamp) -> String {
    rfc3339(at).replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const RUN: Claim<'_> = Claim::Run("scenario.toml", b"1");

    fn claim(out: &Path) -> Result<Folder, RunError> {
        Folder::claim(Some(out), "x", Stamp::ZERO, RUN)
    }

    fn entries(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_with_a_run_or_anything_like_it_is_not_touched() {
        assert_eq!(compact(Stamp::from_ns(1_795_356_608_000_000_000)), "20261122T141008Z");
        let dir = tempfile::tempdir().unwrap();
        for name in OUTPUTS.into_iter().chain(["logs/asterisk.log", "logs/service.log"]) {
            let out = dir.path().join(name.replace('/', "-"));
            fs::create_dir_all(out.join(name).parent().unwrap()).unwrap();
            fs::write(out.join(name), "mine").unwrap();
            let why = claim(&out).unwrap_err().to_string();
            assert!(
                why.contains("holds a run already") && why.contains(name) && why.contains("--out"),
                "{why}"
            );
            assert_eq!(fs::read(out.join(name)).unwrap(), b"mine", "{name}");
            let comparison = Claim::Comparison(&["base", "new"]);
            assert!(Folder::claim(Some(&out), "x", Stamp::ZERO, comparison).is_err());
            assert!(!out.join("base").exists());
        }
        let out = dir.path().join("linked");
        fs::create_dir(&out).unwrap();
        std::os::unix::fs::symlink(dir.path(), out.join("logs")).unwrap();
        assert!(claim(&out).unwrap_err().to_string().contains("a link"));
        assert_eq!(entries(&out), ["logs"]);
    }

    #[test]
    fn of_several_runs_at_once_one_gets_the_folder_and_it_holds_its_scenario() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let out = dir.path().join(format!("{round}/deep"));
            let won = std::thread::scope(|scope| {
                let tries: Vec<_> = (0..6u8)
                    .map(|n| {
                        let out = &out;
                        scope.spawn(move || {
                            let bytes = [n];
                            let claim = Claim::Run("scenario.toml", &bytes);
                            Folder::claim(Some(out), "x", Stamp::ZERO, claim).ok().map(|_| n)
                        })
                    })
                    .collect();
                tries.into_iter().filter_map(|tried| tried.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(won.len(), 1, "{won:?}");
            assert_eq!(fs::read(out.join("scenario.toml")).unwrap(), won);
        }
    }

    #[test]
    fn nobody_else_reads_what_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = claim(dir.path()).unwrap();
        folder.write_private("pcap/call-00001.pcapng", b"1").unwrap();
        let file = fs::metadata(dir.path().join("pcap/call-00001.pcapng")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_discarded_run_takes_what_it_made_with_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let discarded = |out: &Path| {
            let folder = claim(out).unwrap();
            LOG_FILES.iter().for_each(|name| folder.write(&format!("logs/{name}"), b"1").unwrap());
            folder.discard();
        };
        discarded(&dir.path().join("own/deep"));
        assert!(entries(dir.path()).is_empty(), "folders made on the way are gone as well");
        let foreign = dir.path().join("foreign");
        fs::create_dir_all(foreign.join("logs")).unwrap();
        for name in ["logs/mine.log", "logs/service.log.1", "notes"] {
            fs::write(foreign.join(name), b"1").unwrap();
        }
        discarded(&foreign);
        assert_eq!(
            (entries(&foreign), entries(&foreign.join("logs")).len()),
            (vec!["logs".into(), "notes".into()], 2)
        );
        let failed = |out: &Path, log: &[u8]| {
            let folder = claim(out).unwrap();
            LOG_FILES.iter().for_each(|name| folder.write(&format!("logs/{name}"), b"").unwrap());
            folder.write("logs/asterisk.log", log).unwrap();
            folder.discard_failed()
        };
        let out = dir.path().join("failed");
        assert_eq!(failed(&out, b""), None);
        assert!(!out.exists());
        for name in ["failed-start", "failed-start-2"] {
            assert_eq!(failed(&out, b"why"), Some(out.join(name)), "another try takes the same folder");
            assert_eq!(entries(&out.join(name)), ["asterisk.log"]);
        }
        assert_eq!(entries(&out), ["failed-start", "failed-start-2"]);
        let foreign = dir.path().join("with-logs");
        fs::create_dir_all(foreign.join("logs")).unwrap();
        fs::write(foreign.join("logs/mine.log"), b"1").unwrap();
        assert_eq!(failed(&foreign, b"why"), Some(foreign.join("logs")), "somebody else's folder stays");
        // Empty before, and there still.
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        discarded(&empty);
        assert!(entries(&empty).is_empty());
        let folder =
            Folder::claim(Some(&empty), "x", Stamp::ZERO, Claim::Comparison(&["base", "new"])).unwrap();
        fs::write(empty.join("base/kept"), b"1").unwrap();
        folder.discard();
        assert_eq!(entries(&empty), ["base"]);
    }
}
