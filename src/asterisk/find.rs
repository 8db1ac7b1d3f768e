//! Finds an Asterisk to start: one that was named, one that is installed, or the private tree.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::AsteriskError;
use super::modules;
use crate::child::is_executable;

/// The suite whose Asterisk `asterisk/install.sh` unpacks.
pub const SUITE: &str = "forky";

/// The variable that names an Asterisk: a program, or a folder that a Debian Asterisk is unpacked in.
pub const VARIABLE: &str = "LOADTEST_ASTERISK";

/// File that `install.sh` leaves in a complete tree.
const COMPLETE: &str = ".loadtest-complete";

const SYSTEM_CONF: &str = "/etc/asterisk/asterisk.conf";

/// Far above any asterisk.conf; a longer one is read this far.
const SYSTEM_CONF_MAX: u64 = 256 * 1024;

/// The places to look in, in this order.
#[derive(Debug, Clone)]
pub struct SearchPlaces {
    /// Named on the command line, or else by [`VARIABLE`].
    pub named: Option<PathBuf>,
    /// Folders of programs.
    pub path: Vec<PathBuf>,
    /// An installed Asterisk's own asterisk.conf, which knows its folders.
    pub system_conf: PathBuf,
    /// The folder that `install.sh` unpacks into; `None` without a home.
    pub tree: Option<PathBuf>,
}

impl SearchPlaces {
    /// The places of this process's environment.
    pub fn from_environment(explicit: Option<PathBuf>) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        // An ordinary user's PATH often lacks the folders that Asterisk is installed in.
        let path = env::split_paths(&path)
            .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
            .filter(|dir| dir.is_absolute())
            .collect();
        let variable = || env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        SearchPlaces {
            named: explicit.or_else(variable),
            path,
            system_conf: SYSTEM_CONF.into(),
            tree: cache().map(|cache| cache.join("loadtest").join(format!("asterisk-{SUITE}"))),
        }
    }
}

fn cache() -> Option<PathBuf> {
    let from = |name| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")))
}

/// An Asterisk and how to execute it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The program.
    pub program: PathBuf,
    /// For a program out of an unpacked tree: that tree's own dynamic loader and libraries.
    pub loader: Option<Loader>,
    /// The folder of its modules.
    pub module_dir: PathBuf,
    /// The folder above its `documentation/`.
    pub data_dir: PathBuf,
    /// Its own words for its version, such as `Asterisk 22.10.1`.
    pub version: String,
}

/// Another C library than the machine's to run a program with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// The dynamic loader.
    pub program: PathBuf,
    /// Folders of libraries, separated by colons.
    pub library_path: OsString,
}

impl Install {
    /// The command line so far: the program, started by its own loader where it needs that.
    pub fn command(&self) -> Command {
        let Some(loader) = &self.loader else {
            return Command::new(&self.program);
        };
        let mut command = Command::new(&loader.program);
        command.arg("--library-path").arg(&loader.library_path).arg(&self.program);
        command
    }

    fn ask_version(&mut self) -> Result<(), String> {
        let run = self.command().arg("-V").stdin(Stdio::null()).stderr(Stdio::piped()).output();
        let output = run.map_err(|e| format!("it cannot be executed: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().next() {
            Some(line) if output.status.success() => {
                self.version = line.chars().filter(|c| !c.is_control()).take(100).collect();
                Ok(())
            }
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said: String = said.lines().next().unwrap_or("nothing").chars().take(300).collect();
                Err(format!("it does not tell its version ({}): {said}", output.status))
            }
        }
    }
}

/// Finds the Asterisk to use and asks it for its version.
///
/// A place that was named must do; an installed one that lacks modules is passed over.
///
/// # Errors
/// The fault of a named place, or the places that were looked in, each with its fault.
pub fn find(places: &SearchPlaces) -> Result<Install, AsteriskError> {
    if let Some(path) = &places.named {
        let unusable = |reason| AsteriskError::Failed(format!("{} cannot be used: {reason}", path.display()));
        return examine(path, places).map_err(unusable);
    }
    let mut looked = Vec::new();
    let installed =
        places.path.iter().map(|dir| dir.join("asterisk")).filter(|program| is_executable(program));
    let unpacked = places.tree.clone().filter(|tree| tree.join(COMPLETE).exists());
    for candidate in installed.chain(unpacked) {
        match examine(&candidate, places) {
            Ok(install) => return Ok(install),
            Err(reason) => looked.push(format!("{}: {reason}", candidate.display())),
        }
    }
    if looked.is_empty() {
        let tree = places.tree.as_ref().map_or("no home folder".into(), |t| t.display().to_string());
        looked.push(format!("no `asterisk` on PATH, and nothing unpacked ({tree})"));
    }
    looked.dedup();
    let what = "no usable Asterisk found; run asterisk/install.sh, or name one with LOADTEST_ASTERISK";
    Err(AsteriskError::with_lines(what, &looked))
}

fn examine(path: &Path, places: &SearchPlaces) -> Result<Install, String> {
    // Asterisk changes its working directory, and a tree is found by what its links point to.
    let path = path.canonicalize().map_err(|e| e.to_string())?;
    let mut install = if path.is_dir() { tree(&path)? } else { installed(&path, &places.system_conf)? };
    let missing = modules::missing(&install.module_dir);
    if !missing.is_empty() {
        return Err(format!("{} lacks {}", install.module_dir.display(), missing.join(", ")));
    }
    install.ask_version()?;
    Ok(install)
}

/// A Debian Asterisk that is unpacked into a folder and not installed.
fn tree(root: &Path) -> Result<Install, String> {
    let program = root.join("usr/sbin/asterisk");
    if !is_executable(&program) {
        return Err("there is no usr/sbin/asterisk in it".into());
    }
    let dirs = library_dirs(root);
    let loader = dirs.iter().find_map(|dir| loader_in(dir)).ok_or("it has no dynamic loader")?;
    if dirs.iter().any(|dir| dir.as_os_str().as_encoded_bytes().iter().any(|b| b":;".contains(b))) {
        return Err("its path holds a ':' or ';', which separates library folders; move it".into());
    }
    let library_path = env::join_paths(&dirs).map_err(|e| e.to_string())?;
    let module_dir = modules_under(&root.join("usr")).ok_or("it has no Asterisk modules")?;
    let data_dir = root.join("usr/share/asterisk");
    Ok(Install {
        program,
        loader: Some(Loader { program: loader, library_path }),
        module_dir,
        data_dir,
        version: String::new(),
    })
}

/// The library folders of an unpacked tree, those of its architecture first.
fn library_dirs(root: &Path) -> Vec<PathBuf> {
    let bases = [root.join("usr/lib"), root.join("lib")];
    let mut dirs: Vec<_> = bases.iter().filter_map(|base| multiarch(base)).collect();
    dirs.extend(bases.into_iter().filter(|base| base.is_dir()));
    dirs
}

/// `lib/x86_64-linux-gnu` and its like.
fn multiarch(lib: &Path) -> Option<PathBuf> {
    entries(lib).into_iter().find(|p| p.is_dir() && name(p).ends_with("-linux-gnu"))
}

fn loader_in(dir: &Path) -> Option<PathBuf> {
    entries(dir)
        .into_iter()
        .find(|p| name(p).starts_with("ld-linux") && name(p).contains(".so") && p.exists())
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir).map(|all| all.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}

/// The module folder below a prefix such as `/usr`.
fn modules_under(prefix: &Path) -> Option<PathBuf> {
    let lib = prefix.join("lib");
    let dirs = [multiarch(&lib), Some(lib.clone()), Some(prefix.join("lib64"))];
    dirs.into_iter().flatten().map(|dir| dir.join("asterisk/modules")).find(|dir| dir.is_dir())
}

/// An Asterisk that is installed: by a package, by `make install`, in a container.
fn installed(program: &Path, system_conf: &Path) -> Result<Install, String> {
    if !is_executable(program) {
        return Err("it is not a program".into());
    }
    let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    let (conf_modules, conf_data) = folders_of(system_conf);
    let module_dir = modules_under(prefix).or(conf_modules.filter(|dir| dir.is_dir())).ok_or_else(|| {
        format!("no modules under {} or where {} says", prefix.display(), system_conf.display())
    })?;
    let documented = |dir: &PathBuf| dir.join("documentation").is_dir();
    let data_dir = [Some(prefix.join("share/asterisk")), conf_data, Some("/var/lib/asterisk".into())]
        .into_iter()
        .flatten()
        .find(documented)
        .ok_or("its documentation folder, which its modules check their options against, is not there")?;
    Ok(Install { program: program.to_path_buf(), loader: None, module_dir, data_dir, version: String::new() })
}

/// `astmoddir` and `astdatadir` of an asterisk.conf.
fn folders_of(conf: &Path) -> (Option<PathBuf>, Option<PathBuf>) {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(conf) {
        // An unreadable file is the same as none: the folders are then looked for elsewhere.
        let _ = file.take(SYSTEM_CONF_MAX).read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let folder = |key: &str| {
        text.lines()
            .filter_map(|line| line.split(';').next()?.split_once('='))
            .find(|(k, _)| k.trim() == key)
            .map(|(_, v)| PathBuf::from(v.trim_start_matches('>').trim()))
            .filter(|p| p.is_absolute())
    };
    (folder("astmoddir"), folder("astdatadir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by another process: a program that this one has open cannot be executed, and a fork
    /// on another test's thread would hold it open for a moment.
    fn script(path: &Path, text: &str) {
        let write = ["-c", "printf '%s' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"];
        assert!(Command::new("sh").args(write).arg(path).arg(text).status().unwrap().success());
    }

    /// A program that tells `version`, in `dir`, with modules and documentation where they belong.
    fn fake(prefix: &Path, version: &str) -> PathBuf {
        for dir in ["sbin", "lib/asterisk/modules", "share/asterisk/documentation"] {
            fs::create_dir_all(prefix.join(dir)).unwrap();
        }
        for module in modules::required() {
            fs::write(prefix.join("lib/asterisk/modules").join(module), "").unwrap();
        }
        let program = prefix.join("sbin/asterisk");
        script(&program, &format!("#!/bin/sh\necho Asterisk {version}\n"));
        program
    }

    /// A tree as it is unpacked; its loader is a script that starts what it is given.
    fn fake_tree(root: &Path, version: &str) {
        fake(&root.join("usr"), version);
        let lib = root.join("usr/lib/x86_64-linux-gnu");
        fs::create_dir_all(&lib).unwrap();
        script(&lib.join("ld-linux-x86-64.so.2"), "#!/bin/sh\nshift 2\nexec \"$@\"\n");
        fs::write(root.join(COMPLETE), version).unwrap();
    }

    fn nowhere(dir: &Path) -> SearchPlaces {
        SearchPlaces {
            named: None,
            path: Vec::new(),
            system_conf: dir.join("none.conf"),
            tree: Some(dir.join("tree")),
        }
    }

    fn found(places: &SearchPlaces) -> String {
        find(places).unwrap_or_else(|e| panic!("{e}")).version
    }

    #[test]
    fn named_before_path_before_tree() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut places = nowhere(dir.path());
        let error = find(&places).unwrap_err().to_string();
        assert!(error.contains("nothing unpacked"), "{error}");

        fake_tree(&at("tree"), "tree");
        assert_eq!(found(&places), "Asterisk tree");
        fake(&at("system"), "system");
        places.path = vec![at("empty"), at("system/sbin")];
        assert_eq!(found(&places), "Asterisk system");
        fake_tree(&at("named"), "named");
        places.named = Some(at("named"));
        assert_eq!(found(&places), "Asterisk named");
    }

    #[test]
    fn an_installed_one_that_lacks_modules_is_passed_over_and_a_named_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let program = fake(&dir.path().join("system"), "system");
        fs::remove_file(dir.path().join("system/lib/asterisk/modules/chan_rtp.so")).unwrap();
        let mut places = nowhere(dir.path());
        places.path = vec![dir.path().join("system/sbin")];
        let error = find(&places).unwrap_err().to_string();
        assert!(error.contains("lacks chan_rtp.so") && error.contains("install.sh"), "{error}");

        fake_tree(&dir.path().join("tree"), "tree");
        assert_eq!(found(&places), "Asterisk tree");
        places.named = Some(program.clone());
        let error = find(&places).unwrap_err().to_string();
        let named = error.starts_with(&format!("{} cannot be used: ", program.display()));
        assert!(named && error.contains("lacks chan_rtp.so"), "{error}");
        fs::remove_file(dir.path().join("tree").join(COMPLETE)).unwrap();
        places.named = None;
        assert!(find(&places).is_err(), "half a tree was taken");
    }

    #[test]
    fn a_program_that_does_not_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let program = fake(&dir.path().join("system"), "system");
        script(&program, "#!/bin/sh\necho broken >&2\nexit 3\n");
        let mut places = nowhere(dir.path());
        for (path, word) in [(program, "broken"), (dir.path().join("nothing"), "No such file")] {
            places.named = Some(path);
            let error = find(&places).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn folders_come_from_asterisk_conf_where_the_prefix_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("asterisk.conf");
        fs::write(
            &conf,
            "[directories](!)\nastmoddir => /opt/m ; here\n;astdatadir => /no\n astdatadir=/opt/d\n",
        )
        .unwrap();
        assert_eq!(folders_of(&conf), (Some("/opt/m".into()), Some("/opt/d".into())));
        fs::write(&conf, [0xff, b'=', 0, b'\n', b'a']).unwrap();
        assert_eq!(folders_of(&conf), (None, None));
        assert_eq!(folders_of(dir.path()), (None, None));
    }
}
