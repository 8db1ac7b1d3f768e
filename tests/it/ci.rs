//! The GitHub Action and the CI examples: their steps, run as a runner runs them.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::{Place, stderr};
use yaml_rust2::{Yaml, YamlLoader};

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn yaml(path: &str) -> Yaml {
    YamlLoader::load_from_str(&text(Path::new(path))).expect("YAML").remove(0)
}

fn lines(list: &Yaml) -> String {
    let lines = list.as_vec().into_iter().flatten().map(|line| line.as_str().expect("a line"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The step of that name.
fn step<'a>(steps: &'a Yaml, name: &str) -> &'a Yaml {
    let steps = steps.as_vec().expect("steps");
    steps.iter().find(|s| s["name"].as_str() == Some(name)).unwrap_or_else(|| panic!("there is no `{name}`"))
}

#[test]
fn their_scripts_are_sound_shell_and_the_report_of_a_broken_gate_is_kept() {
    let (github, gitlab) = (yaml("examples/ci/github.yml"), yaml("examples/ci/gitlab.yml"));
    let steps = &github["jobs"]["latency"]["steps"];
    let action = yaml("action.yml");
    let all = [steps, &action["runs"]["steps"]].into_iter().flat_map(|s| s.as_vec().expect("steps"));
    let scripts = all.filter_map(|s| s["run"].as_str().map(String::from));
    let job = &gitlab["latency"];
    let whole = ["before_script", "script", "after_script"].map(|part| lines(&job[part])).join("\n");
    for script in scripts.chain([whole]) {
        let mut linter = Command::new("shellcheck");
        linter.args(["-s", "bash", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // tests/install.sh installs it.
        let mut linter = linter.spawn().expect("shellcheck starts");
        linter.stdin.take().expect("piped").write_all(script.as_bytes()).expect("it reads");
        let output = linter.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stdout));
        assert!(!script.contains("${{"), "an expression is pasted into a script: {script}");
    }
    for name in ["Publish the gates as tests", "Keep the report"] {
        assert_eq!(step(steps, name)["if"].as_str(), Some("always()"), "{name}");
    }
    assert_eq!(job["artifacts"]["when"].as_str(), Some("always"));
    assert_eq!(job["artifacts"]["reports"]["junit"].as_str(), Some("$REPORT/junit.xml"));
}

/// A folder as a CI job has it: the example's scenario, and a `loadtest` on PATH that runs the one under
/// test with this place's ports, for a shorter time.
struct Job {
    place: Place,
    folder: PathBuf,
}

impl Job {
    fn new(gate: &str) -> Self {
        let place = Place::new();
        let folder = place.path("project");
        fs::create_dir_all(folder.join("bin")).expect("a folder");
        fs::copy("examples/ci/latency.toml", folder.join("latency.toml")).expect("the scenario");
        let gates = format!("gates.require=[\"{gate}\"]");
        let mut sets = place.settings();
        sets.extend(["load.duration=2s".into(), gates]);
        let sets: String = sets.iter().map(|set| format!(" --set '{set}'")).collect();
        let job = Job { place, folder };
        job.put("bin/loadtest", &format!("exec '{}' \"$@\"{sets}", env!("CARGO_BIN_EXE_loadtest")));
        job
    }

    /// Puts a program into the folder.
    fn put(&self, name: &str, script: &str) {
        let program = self.folder.join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn run(&self, script: &str, environment: &[(&str, &str)]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["-eo", "pipefail", "-c", script]).current_dir(&self.folder).stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        shell.env("TMPDIR", self.place.path("")).env_remove("PORT_RANGE");
        shell.envs(environment.iter().copied()).output().expect("bash starts")
    }

    /// Runs the action's steps with these inputs, as a runner does, until one fails.
    fn act(&self, given: &[(&str, &str)]) -> Acted {
        let action = yaml("action.yml");
        let mut values = HashMap::new();
        for (name, input) in action["inputs"].as_hash().expect("inputs") {
            let name = name.as_str().expect("a name");
            let given = given.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
            let value = given.or(input["default"].as_str()).unwrap_or_else(|| panic!("{name} is required"));
            values.insert(format!("inputs.{name}"), value.to_string());
        }
        for (name, _) in given {
            assert!(values.contains_key(&format!("inputs.{name}")), "there is no input {name}");
        }
        let page = self.folder.join("page.md");
        let mut last = None;
        for step in action["runs"]["steps"].as_vec().expect("steps") {
            assert_eq!(step["shell"].as_str(), Some("bash"));
            let set = self.folder.join("outputs");
            let mut environment: Vec<(String, String)> = Vec::new();
            for (name, value) in step["env"].as_hash().into_iter().flatten() {
                let value = evaluate(value.as_str().expect("text"), &values);
                environment.push((name.as_str().expect("a name").into(), value));
            }
            for (name, path) in [
                ("GITHUB_OUTPUT", &set),
                ("GITHUB_STEP_SUMMARY", &page),
                ("RUNNER_TEMP", &self.folder.join("temp")),
            ] {
                environment.push((name.into(), path.display().to_string()));
            }
            let environment: Vec<_> = environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let output = self.run(step["run"].as_str().expect("a script"), &environment);
            let id = step["id"].as_str().expect("an id");
            for (name, value) in
                fs::read_to_string(&set).unwrap_or_default().lines().filter_map(|line| line.split_once('='))
            {
                values.insert(format!("steps.{id}.outputs.{name}"), value.to_string());
            }
            let is_good = output.status.success();
            last = Some(output);
            if !is_good {
                break;
            }
        }
        let outputs = action["outputs"].as_hash().expect("outputs").iter();
        let outputs = outputs.map(|(name, output)| {
            let value = evaluate(output["value"].as_str().expect("a value"), &values);
            (name.as_str().expect("a name").to_string(), value)
        });
        let page = fs::read_to_string(page).unwrap_or_default();
        Acted { last: last.expect("a step"), outputs: outputs.collect(), page }
    }
}

/// Outcome of the action's last step.
struct Acted {
    last: Output,
    outputs: HashMap<String, String>,
    page: String,
}

/// The value of `${{ name }}`; empty where nothing was set, as on a runner.
fn evaluate(text: &str, values: &HashMap<String, String>) -> String {
    let Some(name) = text.strip_prefix("${{ ").and_then(|rest| rest.strip_suffix(" }}")) else {
        return text.to_string();
    };
    values.get(name).cloned().unwrap_or_default()
}

#[test]
fn the_action_ends_with_the_verdict_and_shows_the_figures_either_way() {
    for (gate, code, verdict, word) in
        [("calls.answered == 100%", 0, "pass", "PASS"), ("rtt.p50 > 60s", 10, "fail", "FAIL")]
    {
        let job = Job::new(gate);
        // The inputs of the example.
        let github = yaml("examples/ci/github.yml");
        let used = &step(&github["jobs"]["latency"]["steps"], "Place the calls")["with"];
        let given = used.as_hash().expect("inputs").iter();
        let mut given: Vec<_> =
            given.map(|(n, v)| (n.as_str().expect("text"), v.as_str().expect("text"))).collect();
        given.push(("args", "--set=load.calls=3\n\n--set=gates.require=[\"rtt.p50 < 1s\"]\n"));
        let acted = job.act(&given);
        assert_eq!(acted.last.status.code(), Some(code), "{}", stderr(&acted.last));
        let expected =
            [("verdict", verdict), ("exit-code", &code.to_string()), ("report", "loadtest-report")];
        assert_eq!(acted.outputs, expected.map(|(n, v)| (n.to_string(), v.to_string())).into());
        assert!(acted.page.contains(word), "{}", acted.page);
        let report = job.folder.join("loadtest-report");
        assert!(report.join("junit.xml").exists() && report.join("report.html").exists());
    }
}

#[test]
fn the_action_searches_for_the_capacity() {
    let job = Job::new("calls.answered == 100%");
    let lengths = "initial_trial=0s final_trial=2s duration_sum=2s rest=500ms min=2 max=3";
    let set: String = lengths.split(' ').map(|set| format!("--set=search.{set}\n")).collect();
    let set = set + "--set=measure.lost_after=1500ms\n";
    let acted = job.act(&[("command", "search"), ("scenario", "latency.toml"), ("args", &set)]);
    assert_eq!(acted.last.status.code(), Some(0), "{}", stderr(&acted.last));
    assert_eq!((&*acted.outputs["verdict"], &*acted.outputs["report"]), ("pass", "loadtest-report"));
    assert!(acted.page.contains("at least 3 calls"), "{}", acted.page);
    let acted = job.act(&[("command", "ping"), ("scenario", "latency.toml")]);
    assert_eq!(acted.last.status.code(), Some(2), "{}", stderr(&acted.last));
}

#[test]
fn the_action_tells_a_run_that_was_not_from_one_that_failed() {
    let job = Job::new("rtt.p50 < 60s");
    let acted = job.act(&[("scenario", "none.toml")]);
    assert_eq!(acted.last.status.code(), Some(2), "{}", stderr(&acted.last));
    assert_eq!((&*acted.outputs["verdict"], &*acted.outputs["report"]), ("invalid", ""));
    let acted = job.act(&[("scenario", "latency.toml"), ("binary", "nowhere/loadtest")]);
    assert!(String::from_utf8_lossy(&acted.last.stdout).contains("::error title=loadtest::nowhere/loadtest"));
    assert_eq!(acted.outputs["verdict"], "", "nothing was run");
}

#[test]
fn the_action_runs_an_image_as_its_caller_in_its_callers_folder() {
    let job = Job::new("calls.answered == 100%");
    job.put(
        "bin/docker",
        r#"echo "$@" >>docker.log
[ "$1" = run ] || exit 0
while [ "$1" != -- ]; do shift; done
shift 2
exec loadtest "$@""#,
    );
    let acted = job.act(&[
        ("scenario", "latency.toml"),
        ("image", "registry/an-image:1"),
        ("args", "--set=load.calls=3"),
    ]);
    assert_eq!(acted.last.status.code(), Some(0), "{}", stderr(&acted.last));
    assert_eq!(acted.outputs["verdict"], "pass");
    let asked = text(&job.folder.join("docker.log"));
    let run = asked.lines().last().expect("it was asked");
    let user = format!("--user {}:{}", nix::unistd::getuid(), nix::unistd::getgid());
    let folder = job.folder.display();
    assert!(run.contains(&user) && run.contains(&format!("--volume {folder}:{folder}")), "{run}");
    assert!(run.contains("-- registry/an-image:1 run latency.toml"), "{run}");
}

#[test]
fn the_action_hands_an_image_every_setting_that_a_file_may_have() {
    let (code, action) = (text(Path::new("src/files/dotenv.rs")), text(Path::new("action.yml")));
    let list = code.split("pub const KEYS").nth(1).and_then(|rest| rest.split("];").next()).expect("a list");
    let keys: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert!(keys.len() > 5, "the list was not understood: {keys:?}");
    let words: Vec<_> = action.split_whitespace().collect();
    for key in keys {
        assert!(words.windows(2).any(|pair| pair == ["--env", key]), "{key} does not reach an image");
    }
}

#[test]
fn the_action_unpacks_the_archive_that_it_was_promised() {
    let job = Job::new("calls.answered == 100%");
    fs::create_dir(job.folder.join("loadtest-1")).expect("a folder");
    job.put("loadtest-1/loadtest", r#"echo unpacked; exec bin/loadtest "$@""#);
    assert!(job.run("tar czf a.tar.gz loadtest-1; sha256sum <a.tar.gz >sum", &[]).status.success());
    let sum = text(&job.folder.join("sum"));
    let sum = sum.split(' ').next().expect("a sum");
    let given = [("scenario", "latency.toml"), ("archive", "a.tar.gz"), ("args", "--set=load.calls=3")];
    let acted = job.act(&[&given[..], &[("sha256", sum)]].concat());
    assert_eq!(acted.last.status.code(), Some(0), "{}", stderr(&acted.last));
    assert!(String::from_utf8_lossy(&acted.last.stdout).starts_with("unpacked"));
    for (archive, sum) in [("a.tar.gz", "0".repeat(64)), ("http://127.0.0.1:9/a.tar.gz", String::new())] {
        let acted = job.act(&[("scenario", "latency.toml"), ("archive", archive), ("sha256", &sum)]);
        assert_eq!(acted.last.status.code(), Some(2), "{archive}: {}", stderr(&acted.last));
        assert!(String::from_utf8_lossy(&acted.last.stdout).contains("::error"));
    }
}

#[test]
fn the_gitlab_example_gates_and_writes_its_note() {
    let gitlab = yaml("examples/ci/gitlab.yml");
    let latency = &gitlab["latency"];
    let job = Job::new("rtt.p50 > 60s");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let api = format!("http://{}", listener.local_addr().expect("bound"));
    let mut environment =
        ["SCENARIO", "REPORT"].map(|n| (n, latency["variables"][n].as_str().expect("set"))).to_vec();
    let failed = job.run(&lines(&latency["script"]), &environment);
    assert_eq!(failed.status.code(), Some(10), "{}", stderr(&failed));
    // Without a token there is no note, and no error.
    let after = lines(&latency["after_script"]);
    assert!(job.run(&after, &environment).status.success());
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("the note comes");
        let (mut request, mut buffer) = (String::new(), [0; 4096]);
        while !request.contains("\r\n\r\n") || !is_whole(&request) {
            let n = client.read(&mut buffer).expect("read");
            request.push_str(&String::from_utf8_lossy(&buffer[..n]));
            assert!(n > 0, "{request}");
        }
        client.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").expect("answered");
        request
    });
    environment.extend([
        ("CI_API_V4_URL", api.as_str()),
        ("CI_PROJECT_ID", "7"),
        ("CI_MERGE_REQUEST_IID", "12"),
        ("GITLAB_TOKEN", "a-token"),
    ]);
    let noted = job.run(&after, &environment);
    assert!(noted.status.success(), "{}", stderr(&noted));
    let request = server.join().expect("the server ends");
    assert!(request.starts_with("POST /projects/7/merge_requests/12/notes "), "{request}");
    assert!(
        request.contains("PRIVATE-TOKEN: a-token") && request.contains("body=") && request.contains("FAIL")
    );
}

/// The body is as long as the head says.
fn is_whole(request: &str) -> bool {
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let length =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}
