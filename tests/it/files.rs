//! Files that others have laid or damaged, and folders that others use: nothing of theirs is read, run, written
//! through or removed.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use loadtest::record::stored::{DATA, is_of_some};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Place, ends_with, stderr};

const EXAMPLE: &str = "tests/samples/smoke-0.1.0";

/// A scenario that cannot start: nobody has that Asterisk.
fn that_fails(place: &Place) -> Command {
    let mut run = place.run("smoke", &[]);
    run.env("LOADTEST_ASTERISK", "/nonexistent/asterisk");
    run
}

fn entries(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let below = if path.is_dir() && !path.is_symlink() { entries(&path) } else { Vec::new() };
        found.extend(below.into_iter().map(|below| format!("{name}/{below}")));
        found.push(name);
    }
    found.sort();
    found
}

/// The example, without its reports.
fn example(to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for name in DATA.into_iter().filter(|name| !is_of_some(name)) {
        fs::copy(Path::new(EXAMPLE).join(name), to.join(name)).expect("a file of the example");
    }
}

#[test]
fn a_run_that_never_began_removes_nothing_of_anybody_else() {
    let place = Place::new();
    let out = place.out();
    for name in ["logs/mine.log", "logs/deep/mine", "notes.txt", "reports/mine"] {
        fs::create_dir_all(out.join(name).parent().expect("a folder")).expect("a folder");
        fs::write(out.join(name), "mine").expect("written");
    }
    let before = entries(&out);
    ends_with(&mut that_fails(&place), 1);
    assert_eq!(entries(&out), before);
    // A file that it would write over keeps it from beginning.
    for name in ["calls.csv", "logs/asterisk.log", "plots/mine.png"] {
        let place = Place::new();
        let taken = place.out().join(name);
        fs::create_dir_all(taken.parent().expect("a folder")).expect("a folder");
        fs::write(&taken, "mine").expect("written");
        let said = stderr(&ends_with(&mut that_fails(&place), 2));
        assert!(said.contains("--out") && fs::read(&taken).expect("there") == b"mine", "{said}");
    }
    let new = Place::new();
    ends_with(&mut that_fails(&new), 1);
    assert!(!new.out().exists(), "what it made is gone");
}

#[test]
fn of_two_runs_at_once_one_gets_the_folder() {
    let place = Place::new();
    let out = place.path("shared");
    // Nothing answers there, which takes the one that has the folder a while to find out.
    let run = |name: &str| {
        let mut command = place.program();
        command.args(["run", "scenarios/smoke.toml", "--report", "json", "--out"]).arg(&out);
        for set in [
            "asterisk.mode=external",
            "asterisk.sip=127.0.0.1:9",
            "service.mode=none",
            "load.duration=1s",
            "sip.setup_timeout=1s",
            &format!("name={name}"),
        ] {
            command.args(["--set", set]);
        }
        command.output().expect("it runs")
    };
    let [one, other] = thread::scope(|scope| {
        [scope.spawn(|| run("one")), scope.spawn(|| run("other"))].map(|run| run.join().expect("it ends"))
    });
    let is_refused = |output: &Output| stderr(output).contains("holds a run already");
    assert!(is_refused(&one) != is_refused(&other), "{}\n{}", stderr(&one), stderr(&other));
    let (winner, loser) = if is_refused(&one) { ("other", &one) } else { ("one", &other) };
    assert_eq!(loser.status.code(), Some(2));
    if let Ok(scenario) = fs::read_to_string(out.join("scenario.toml")) {
        assert!(scenario.contains(&format!("name = \"{winner}\"")), "{scenario}");
    }
}

#[test]
fn settings_of_a_file_are_ours_alone() {
    let place = Place::new();
    let (above, here) = (place.path("above"), place.path("above/here"));
    fs::create_dir_all(&here).expect("a folder");
    let scenario = fs::canonicalize("scenarios/smoke.toml").expect("it is there");
    let check = |code: Option<i32>| {
        let mut command = place.program();
        let output = command.current_dir(&here).arg("check").arg(&scenario).output().expect("it runs");
        if let Some(code) = code {
            assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        }
        stderr(&output)
    };
    // PORT_RANGE is one that shows itself.
    fs::write(above.join(".env"), "PORT_RANGE=5\n").expect("written");
    assert!(!check(None).contains("PORT_RANGE"), "the folder above is not searched");
    fs::write(here.join(".env"), "PORT_RANGE=5\n").expect("written");
    assert!(check(Some(2)).contains("PORT_RANGE"));
    fs::write(here.join(".env"), "LD_PRELOAD=/nonexistent.so\nLOADTEST_ASTERISK=/nonexistent\n")
        .expect("written");
    let said = check(None);
    assert!(said.contains("LD_PRELOAD, LOADTEST_ASTERISK ignored"), "{said}");
    assert!(!said.contains("nonexistent"), "neither this program nor what it starts has them: {said}");
    fs::write(here.join(".env"), "THEIRS=it's one\nPORT_RANGE=5\n").expect("written");
    let said = check(Some(2));
    assert!(said.contains("line 1 is no NAME=VALUE") && said.contains("PORT_RANGE"), "{said}");
    fs::write(here.join(".env"), "THEIRS=1\nPORT_RANGE=5 6\n").expect("written");
    assert!(check(Some(2)).contains("line 2, PORT_RANGE, is no NAME=VALUE"));
    fs::set_permissions(here.join(".env"), fs::Permissions::from_mode(0o666)).expect("mine");
    assert!(check(Some(2)).contains("chmod go-w"));
    fs::remove_file(here.join(".env")).expect("mine");
    mkfifo(&here.join(".env"), Mode::S_IRWXU).expect("a pipe");
    assert!(check(Some(2)).contains("a pipe"));
}

/// Damage to one file of a stored run.
type Damage = (&'static str, fn(&Path, &Path));

const DAMAGES: [Damage; 11] = [
    ("a bit", |file, _| {
        let mut bytes = fs::read(file).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).expect("written");
    }),
    ("half of it", |file, _| {
        let length = fs::metadata(file).expect("it is there").len();
        File::options().write(true).open(file).expect("mine").set_len(length / 2).expect("cut");
    }),
    ("emptied", |file, _| fs::write(file, "").expect("written")),
    ("gone", |file, _| fs::remove_file(file).expect("removed")),
    ("another file", |file, _| {
        fs::copy("reports/example/junit.xml", file).expect("copied");
    }),
    ("a link", |file, secret| replaced(file, || symlink(secret, file).expect("a link"))),
    ("a link to nothing", |file, _| replaced(file, || symlink("/nonexistent", file).expect("a link"))),
    ("a device without end", |file, _| replaced(file, || symlink("/dev/zero", file).expect("a link"))),
    ("a pipe", |file, _| replaced(file, || mkfifo(file, Mode::S_IRWXU).expect("a pipe"))),
    ("a folder", |file, _| replaced(file, || fs::create_dir(file).expect("a folder"))),
    ("holes", |file, _| File::create(file).expect("mine").set_len(1 << 30).expect("holes")),
];

fn replaced(file: &Path, by: impl FnOnce()) {
    fs::remove_file(file).expect("removed");
    by();
}

/// Memory that reading a run of a few seconds may take, with what the program itself takes.
const MOST_MEMORY: u64 = 1 << 30;

fn bounded(mut command: Command) -> Output {
    let limit = || Ok(setrlimit(Resource::RLIMIT_AS, MOST_MEMORY, MOST_MEMORY)?);
    // SAFETY: setrlimit(2) is async-signal-safe, and nothing else is called between fork and exec.
    unsafe { command.pre_exec(limit) };
    command.output().expect("it runs")
}

#[test]
fn a_damaged_run_is_refused_by_its_file_without_panic_wait_or_growth() {
    let place = Place::new();
    let secret = place.path("secret");
    fs::write(&secret, "the secret\n").expect("written");
    for name in DATA.into_iter().filter(|name| !is_of_some(name)) {
        for (what, damage) in DAMAGES {
            // Version 0.1.0 has no manifest: a bit may have been so from the start.
            let (run, is_told) = (
                place.path("damaged"),
                !matches!(
                    (name, what),
                    (_, "a bit")
                        | ("silences.csv" | "call_seconds.csv", "gone" | "emptied" | "half of it")
                        | ("scenario.toml", "half of it")
                ),
            );
            let _ = fs::remove_dir_all(&run);
            example(&run);
            damage(&run.join(name), &secret);
            let mut report = place.program();
            report.args(["report", "--report", "json", "--out"]).arg(place.path("again")).arg(&run);
            let mut compare = place.program();
            compare.arg("compare").arg(&run).arg(EXAMPLE);
            for (command, of_scenario) in [(report, true), (compare, false)] {
                let output = bounded(command);
                let said = stderr(&output);
                let code = output.status.code();
                assert!(matches!(code, Some(0 | 2 | 10 | 12)), "{name}, {what}: {code:?}: {said}");
                assert!(!said.contains("panicked") && !said.contains("the secret"), "{name}, {what}: {said}");
                if is_told && (of_scenario || name != "scenario.toml") {
                    assert_eq!(code, Some(2), "{name}, {what}: {said}");
                    assert!(said.contains(name) || name == "environment.json", "{name}, {what}: {said}");
                }
            }
        }
    }
    assert_eq!(fs::read(&secret).expect("there"), b"the secret\n");
}

#[test]
fn a_report_writes_through_no_link() {
    let place = Place::new();
    let (run, mine) = (place.path("run"), place.path("mine"));
    example(&run);
    fs::create_dir(&mine).expect("a folder");
    let precious: Vec<PathBuf> =
        ["summary.md", "summary.json", "report.html"].map(|name| mine.join(name)).into();
    for target in &precious {
        fs::write(target, "mine").expect("written");
        symlink(target, run.join(target.file_name().expect("a name"))).expect("a link");
        let partial = format!("{}.partial", target.file_name().expect("a name").to_string_lossy());
        symlink(target, run.join(partial)).expect("a link");
    }
    symlink(&mine, run.join("plots")).expect("a link");
    let before = entries(&mine);
    let mut report = place.program();
    let said = stderr(&ends_with(report.arg("report").arg(&run), 1));
    assert!(said.contains("`plots` is a link"), "{said}");
    assert_eq!(entries(&mine), before);
    for target in &precious {
        assert_eq!(fs::read(target).expect("there"), b"mine");
    }
    assert!(fs::read(run.join("summary.md")).expect("written").len() > 10);
}

#[test]
fn files_beyond_the_limit_leave_the_figures_and_name_no_report() {
    let place = Place::new();
    let mut report = place.program();
    report.args(["report", EXAMPLE, "--out"]).arg(place.path("again"));
    let limit = || Ok(setrlimit(Resource::RLIMIT_FSIZE, 20 << 10, 20 << 10)?);
    // SAFETY: setrlimit(2) is async-signal-safe, and nothing else is called between fork and exec.
    unsafe { report.pre_exec(limit) };
    let output = ends_with(&mut report, 1);
    let (told, said) = (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output));
    assert!(said.contains("cannot write") && said.contains("again"), "{said}");
    assert!(told.contains("rtt.p") && !told.contains("report.html"), "{told}");
    assert!(!entries(&place.path("again")).iter().any(|name| name.contains("partial")));
}

#[test]
fn two_single_runs_stand_side_by_side_and_tell_no_verdict() {
    let place = Place::new();
    let mut compare = place.program();
    compare.args(["compare", EXAMPLE, "tests/samples/format1"]);
    let told = String::from_utf8_lossy(&ends_with(&mut compare, 12).stdout).into_owned();
    for word in ["rtt.p99", "loss.ratio", "loadtest ab", "--baseline"] {
        assert!(told.contains(word), "{word} is not in {told}");
    }
    ends_with(place.program().args(["compare", EXAMPLE, "tests/samples"]), 2);
}
