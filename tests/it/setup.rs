//! The scripts behind `make run` and `make test`: they say what they are going to do, leave the installing to
//! whoever wants that, and end with every failure. And the archive of `make dist`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Place, ends_with, stderr};
use nix::unistd::geteuid;

/// Programs of a system that the scripts use; nothing else is on their PATH.
const TOOLS: [&str; 15] = [
    "awk", "bash", "cat", "cmp", "dirname", "env", "grep", "head", "mkdir", "mktemp", "nproc", "readlink",
    "rm", "sed", "tee",
];

/// A machine with the bare tools, and stand-ins for those that install or build.
struct Machine {
    place: Place,
    bin: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let place = Place::new();
        let bin = place.path("bin");
        fs::create_dir(&bin).expect("a folder");
        for tool in TOOLS {
            let found = ["/usr/bin", "/bin"].map(|dir| PathBuf::from(dir).join(tool));
            let found =
                found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{tool} is missing"));
            symlink(found, bin.join(tool)).expect("linked");
        }
        Machine { place, bin }
    }

    /// Puts a program in its place that is this script.
    fn with(self, program: &str, script: &str) -> Self {
        let path = self.bin.join(program);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        self
    }

    fn script(&self, words: &[&str]) -> Command {
        let mut command = Command::new("/bin/bash");
        command.args(words).env_clear().env("PATH", &self.bin).env("HOME", self.place.path("home"));
        command.env("LOG", self.log());
        command
    }

    /// A line for each time that something was installed.
    fn log(&self) -> PathBuf {
        self.place.path("installed")
    }
}

/// Notes what it is asked for, as apt-get.
const APT: &str = r#"echo "$@" >>"$LOG""#;

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn programs_are_installed_in_one_go_and_named_before() {
    let machine = Machine::new().with("apt-get", APT).with("shellcheck", "");
    let mut script = machine.script(&["tests/install.sh", "sipp", "shellcheck", "groff"]);
    let root = geteuid().is_root();
    let output = ends_with(&mut script, if root { 0 } else { 1 });
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(said.contains("sipp, groff are missing") && said.contains("sip-tester groff-base"), "{said}");
    if root {
        assert!(said.contains("minutes") && said.contains("LOADTEST_INSTALL=no"), "{said}");
        let calls = fs::read_to_string(machine.log()).expect("it was called");
        assert_eq!(calls.lines().filter(|line| line.contains(" install ")).count(), 1, "{calls}");
    } else {
        assert!(said.contains("sudo apt-get install"), "{said}");
        assert!(!machine.log().exists());
    }
}

#[test]
fn nothing_is_installed_where_that_is_left_to_the_user() {
    let machine = Machine::new().with("apt-get", APT).with("npm", APT).with("mmdebstrap", APT);
    for (words, named) in [
        (&["tests/install.sh", "sipp", "groff"][..], "sudo apt-get install sip-tester groff-base"),
        (&["tests/install.sh", "node-echo"], "sudo apt-get install nodejs"),
        (&["asterisk/install.sh"], "LOADTEST_ASTERISK"),
    ] {
        let output = ends_with(machine.script(words).env("LOADTEST_INSTALL", "no"), 1);
        assert!(stderr(&output).contains(named), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("missing"), "{words:?}: {}", stderr(&output));
    }
    assert!(!machine.log().exists() && !machine.place.path("home").exists());
}

#[test]
fn what_make_is_going_to_do_is_said_with_the_time_it_takes() {
    let machine = Machine::new().with("apt-get", APT);
    let run = stdout(&ends_with(&mut machine.script(&["tests/plan.sh", "run", "scenarios/smoke.toml"]), 0));
    let search = ["tests/plan.sh", "capacity", "scenarios/capacity.toml"];
    let search = stdout(&ends_with(&mut machine.script(&search), 0));
    let test = stdout(&ends_with(&mut machine.script(&["tests/plan.sh", "test", "sipp", "node-echo"]), 0));
    for said in [&run, &search, &test] {
        assert!(said.contains("Asterisk would be unpacked") && said.contains("250 MB"), "{said}");
        assert!(said.contains("minutes") && said.contains("LOADTEST_INSTALL=no"), "{said}");
    }
    assert!(run.contains("scenarios/smoke.toml"), "{run}");
    assert!(search.contains("scenarios/capacity.toml") && search.contains("an hour"), "{search}");
    assert!(test.contains("sipp, node, npm: Debian's sip-tester nodejs npm"), "{test}");
    assert!(!machine.log().exists() && !machine.place.path("home").exists());
}

#[test]
fn every_failure_of_every_program_is_told_at_the_end() {
    let said = "     Running unittests src/lib.rs (target/debug/deps/loadtest-1)
test a::holds ... ok
test b::breaks ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
     Running tests/it/main.rs (target/debug/deps/it-2)
test c::breaks ... FAILED
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s";
    let cargo = format!("echo \"$@\" >>\"$LOG\"\ncat <<'END'\n{said}\nEND\nexit 101");
    let machine = Machine::new().with("cargo", &cargo);
    let output = stdout(&ends_with(&mut machine.script(&["tests/all.sh"]), 101));
    let end = "FAILED  src/lib.rs: b::breaks\nFAILED  tests/it/main.rs: c::breaks\n5 passed, 2 failed in 2 programs\n";
    assert!(output.ends_with(end), "{output}");
    let asked = fs::read_to_string(machine.log()).expect("it was called");
    assert!(asked.contains("--no-fail-fast"), "{asked}");
}

/// The archive of `make dist`, with a script in the program's place: that of the tests is 200 MB.
fn pack(machine: &Machine, folder: &str) -> PathBuf {
    let folder = machine.place.path(folder);
    let mut script = Command::new(".ci/dist");
    script.arg(&folder).env("PROGRAM", machine.bin.join("loadtest")).env("TMPDIR", machine.place.path(""));
    ends_with(&mut script, 0);
    let files = fs::read_dir(&folder).expect("the folder is there").flatten().map(|entry| entry.path());
    files.into_iter().find(|path| path.extension().is_some_and(|e| e == "gz")).expect("an archive")
}

#[test]
fn the_archive_is_whole_and_the_same_each_time() {
    let program = format!("exec '{}' \"$@\"", env!("CARGO_BIN_EXE_loadtest"));
    let machine = Machine::new().with("loadtest", &program);
    let (first, second) = (pack(&machine, "first"), pack(&machine, "second"));
    assert!(fs::read(&first).expect("read") == fs::read(second).expect("read"), "two archives differ");
    let folder = first.parent().expect("a folder");
    let unpack = "sha256sum --check --quiet *.sha256 && tar xzf *.tar.gz --strip-components=1";
    ends_with(Command::new("bash").args(["-c", unpack]).current_dir(folder), 0);
    let said = stdout(&ends_with(Command::new(folder.join("loadtest")).arg("--version"), 0));
    assert_eq!(said.trim(), format!("loadtest {}", env!("CARGO_PKG_VERSION")));
    ends_with(Command::new("bash").arg("-n").arg(folder.join("completions/loadtest.bash")), 0);
    for file in
        ["completions/_loadtest", "completions/loadtest.fish", "man/loadtest-run.1", "asterisk/install.sh"]
    {
        assert!(folder.join(file).exists(), "{file} is missing");
    }
    assert_linked(folder);
    let tree =
        ["tree", "--offline", "--locked", "-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}"];
    let tree = stdout(&ends_with(Command::new("cargo").args(tree), 0));
    let licences = fs::read_to_string(folder.join("LICENCES.txt")).expect("licences");
    let licences = licences.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in tree.lines().filter(|line| !line.starts_with("loadtest ")) {
        let mut words = line.split(' ');
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        let entry = format!("{name} {}", version.trim_start_matches('v'));
        // In the list, and above a text.
        assert!(licences.matches(&entry).count() >= 2, "{entry} has no licence");
    }
}

/// Every file that a page of the archive links to is in it.
fn assert_linked(folder: &Path) {
    let mut pages = vec![folder.join("README.md")];
    pages.extend(fs::read_dir(folder.join("docs")).expect("docs").flatten().map(|entry| entry.path()));
    for page in pages.iter().filter(|page| page.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") {
                let file = page.parent().expect("a folder").join(target);
                assert!(file.exists(), "{}: {target} is not in the archive", page.display());
            }
        }
    }
}

#[test]
fn the_package_has_what_a_build_takes_and_no_tests() {
    let list = ["package", "--list", "--allow-dirty", "--offline", "--locked"];
    let list = stdout(&ends_with(Command::new("cargo").args(list), 0));
    for file in [
        "templates/report.html",
        "assets/fonts/OFL.txt",
        "asterisk/modules.conf",
        "docs/run.md",
        "Cargo.lock",
    ] {
        assert!(list.lines().any(|line| line == file), "{file} is missing");
    }
    for folder in ["tests", "reports", "examples", "target", ".ci", "fuzz"] {
        assert!(
            !list.lines().any(|line| line.starts_with(&format!("{folder}/"))),
            "{folder}/ is in the package"
        );
    }
}
