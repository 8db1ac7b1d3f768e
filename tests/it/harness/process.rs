//! Processes that end with their test, and their output.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Place;

/// A child process that does not outlive its test: one that panics kills it on the way out.
pub struct Guarded(Child);

impl Guarded {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        Guarded(command.spawn().unwrap_or_else(|e| panic!("{program} does not start: {e}")))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).expect("the program runs");
    }
}

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail when it has ended and was waited for, as it should have been.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `loadtest asterisk` on ports of its own, as a user starts one.
pub struct UsersAsterisk {
    process: Guarded,
    /// The names and values that it prints: SIP, ARI_URL, the users, and the passwords unless they are in a file.
    pub said: HashMap<String, String>,
}

impl UsersAsterisk {
    /// Starts it with more arguments, and waits until it is ready.
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::start_as(place, arguments, |command| command)
    }

    /// Starts it by another command, such as one that goes to another host first.
    pub fn start_as(place: &Place, arguments: &[&str], to: impl FnOnce(Command) -> Command) -> Self {
        let rtp = place.lane().asterisk();
        let mut command = place.program();
        command.args(["asterisk", "--sip-port", "0", "--http-port", "0"]);
        command.args(["--rtp-ports", &format!("{}-{}", rtp.start(), rtp.end())]).args(arguments);
        let errors = place.path("asterisk.err");
        let file = fs::File::create(&errors).expect("a file for its errors");
        command.arg("--logs").arg(place.path("logs"));
        let mut process = Guarded::spawn(to(command).stdout(Stdio::piped()).stderr(file));
        let mut lines = Vec::new();
        let mut out = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let ready = out.by_ref().inspect(|line| lines.push(line.clone())).any(|line| line.contains("Ctrl-C"));
        assert!(ready, "it ended before it was ready: {}", fs::read_to_string(errors).unwrap_or_default());
        let said = lines
            .iter()
            .filter_map(|line| {
                line.trim().split_once(' ').map(|(k, v)| (k.to_string(), v.trim().to_string()))
            })
            .collect();
        UsersAsterisk { process, said }
    }

    /// The settings of a scenario that calls it.
    pub fn settings(&self) -> [String; 3] {
        let (sip, ari) = (&self.said["SIP"], &self.said["ARI_URL"]);
        ["asterisk.mode=external".into(), format!("asterisk.sip={sip}"), format!("asterisk.ari={ari}")]
    }

    /// Its accounts, as the environment has them. They are said unless they are in a file.
    pub fn account(&self) -> [(&'static str, &str); 4] {
        ["ARI_USER", "ARI_PASS", "SIP_USER", "SIP_PASS"].map(|name| (name, self.said[name].as_str()))
    }

    /// What it says under this name.
    pub fn said(&self, name: &str) -> &str {
        &self.said[name]
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        self.process.signal(Signal::SIGTERM);
        assert_eq!(self.process.wait().expect("it ends").code(), Some(0));
    }
}

/// The child process of the driver whose command line has `word` in it.
pub fn child_of(driver: &Child, word: &str) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", driver.id())).expect("it runs").flatten();
    let pids = tasks.flat_map(|task| {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        list.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    });
    let is_it = |pid: &String| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(word))
    };
    let found: Vec<_> = pids.filter(is_it).collect();
    found.first().expect("it is a child of the driver").parse().expect("a pid")
}

/// The standard error of a program that has ended.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The standard output without the breaks of its lines: a sentence is in one piece.
pub fn sentences(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs to the end; the exit code must be `code`.
#[track_caller]
pub fn ends_with(command: &mut Command, code: i32) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{said}");
    output
}

/// Starts the program and waits until a line on standard error holds `word`; the rest of standard
/// error is read in the background, so that the program never waits for its reader.
pub fn start_until(command: &mut Command, word: &str) -> Guarded {
    let mut child = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = Vec::new();
    let found = lines.by_ref().map_while(Result::ok).any(|line| {
        said.push(line.clone());
        line.contains(word)
    });
    assert!(found, "the program ended before it said `{word}`:\n{}", said.join("\n"));
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    child
}

/// SIPp that answers calls and echoes their media, on the place's spare ports; and its SIP address.
///
/// tests/install.sh installs it.
pub fn sipp(place: &Place) -> (Guarded, String) {
    let port = place.lane().spare();
    let mut sipp = Command::new("sipp");
    sipp.args(["-sn", "uas", "-rtp_echo", "-nostdin", "-i", "127.0.0.1", "-p", &port.to_string()])
        .args(["-mi", "127.0.0.1", "-mp", &(port + 2).to_string()])
        .current_dir(place.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    (Guarded::spawn(&mut sipp), format!("127.0.0.1:{port}"))
}
