//! The command line's manners: help, completions, manual pages, and words that match the documentation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{Place, ends_with, stderr};
use loadtest::gate::Gate;
use loadtest::scenario::{Override, Resolved, Scenario};
use loadtest::search::{Kind, Require};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The program's output with `args`.
#[track_caller]
fn ask(place: &Place, args: &[&str]) -> String {
    said(&ends_with(place.program().args(args), 0))
}

/// Every page of the documentation.
fn pages() -> Vec<String> {
    let fixed = [
        "README.md",
        "asterisk/README.md",
        "examples/ci/README.md",
        "examples/node-bot/README.md",
        "examples/node-echo/README.md",
        "examples/python-bot/README.md",
    ];
    let docs = fs::read_dir("docs").expect("docs").flatten().map(|entry| entry.path().display().to_string());
    let mut pages: Vec<_> =
        docs.filter(|path| path.ends_with(".md")).chain(fixed.map(String::from)).collect();
    pages.sort();
    pages
}

/// The place in a page that a heading makes, as GitHub names it.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

fn subcommands(place: &Place) -> Vec<String> {
    let help = ask(place, &["--help"]);
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list: Vec<_> = list
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(String::from))
        .filter(|name| name != "help")
        .collect();
    assert!(list.len() >= 10, "{list:?}");
    list
}

#[test]
fn short_help_is_short_and_long_help_has_examples() {
    let place = Place::new();
    let commands = subcommands(&place);
    for words in commands.iter().map(|name| vec![name.as_str()]).chain([vec![]]) {
        let (short, long) =
            (ask(&place, &[&words[..], &["-h"]].concat()), ask(&place, &[&words[..], &["--help"]].concat()));
        assert!(long.contains("\nExample"), "{words:?}:\n{long}");
        assert!(!short.contains("Example") && short.len() < long.len(), "{words:?}:\n{short}");
        let example = long.split("\nExample").nth(1).expect("after the word");
        let whole = format!("loadtest {}", words.join(" "));
        assert!(example.contains(whole.trim_end()), "{whole} is not in its own examples:\n{example}");
    }
}

/// The options that a text gives to the subcommands: every `loadtest SUBCOMMAND … --option` of it.
fn options_used(text: &str, commands: &[String]) -> Vec<(String, String)> {
    let mut used = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let mut words = line.split([' ', '`', '(', '|']).filter(|word| !word.is_empty()).peekable();
        let mut of = None;
        while let Some(word) = words.next() {
            let program = word == "loadtest" || word.ends_with("/loadtest");
            match words.peek() {
                Some(next) if program => of = commands.iter().find(|name| name == next),
                _ => {}
            }
            // The rest of the line is another program's.
            if word.ends_with([';', '&']) {
                of = None;
            }
            let option: String = word.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            if let (Some(name), true) = (of, option.starts_with("--") && option.len() > 2) {
                used.push((name.clone(), option));
            }
        }
    }
    used
}

#[test]
fn every_option_in_the_documentation_exists() {
    let place = Place::new();
    let commands = subcommands(&place);
    let files = ["examples/ci/github.yml", "examples/ci/gitlab.yml", "docker-compose.yml"].map(String::from);
    let mut texts: Vec<_> =
        pages().into_iter().chain(files).map(|path| (path.clone(), read(&path))).collect();
    texts.extend(commands.iter().map(|name| (format!("{name} --help"), ask(&place, &[name, "--help"]))));
    let mut used = 0;
    for (place_of, text) in &texts {
        for (name, option) in options_used(text, &commands) {
            let help = ask(&place, &[&name, "--help"]);
            let exists = help.split([' ', ',', '\n']).any(|word| word == option);
            assert!(exists, "{place_of}: `loadtest {name}` has no {option}");
            used += 1;
        }
    }
    assert!(used >= 20, "{used} options found: the texts were not understood");
    let ci = read("examples/ci/github.yml") + &read("examples/ci/gitlab.yml");
    assert!(options_used(&ci, &commands).contains(&("run".into(), "--out".into())));
}

#[test]
fn completions_complete() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = ask(&place, &["completions", shell]);
        for word in ["compare", "list-metrics"] {
            assert!(script.contains(word), "{word} is not in {shell}'s:\n{script}");
        }
    }
    let script = place.path("loadtest.bash");
    fs::write(&script, ask(&place, &["completions", "bash"])).expect("written");
    ends_with(Command::new("bash").arg("-n").arg(&script), 0);
    let complete = |words: &[&str]| {
        let (last, before) = (words.last().expect("a word"), words[words.len() - 2]);
        let line = format!(
            "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _loadtest loadtest '{last}' '{before}'; echo ${{COMPREPLY[@]}}",
            script.display(),
            words.join(" "),
            words.len() - 1,
        );
        said(&ends_with(Command::new("bash").args(["-c", &line]), 0)).trim().to_string()
    };
    assert_eq!(complete(&["loadtest", "comple"]), "completions");
    assert_eq!(complete(&["loadtest", "run", "--list"]), "--list-metrics --list-keys");
    assert_eq!(complete(&["loadtest", "report", "--report", "open"]), "openmetrics");
    let refused = ends_with(place.program().args(["completions", "tcsh"]), 2);
    assert!(stderr(&refused).contains("zsh"), "{}", stderr(&refused));
}

#[test]
fn manual_pages_render_without_a_warning() {
    let place = Place::new();
    let folder = place.path("man/man1");
    ends_with(place.program().args(["man", "--out"]).arg(&folder), 0);
    let pages = |name: &str| {
        folder.join(if name.is_empty() { "loadtest.1".into() } else { format!("loadtest-{name}.1") })
    };
    let commands = subcommands(&place);
    for name in commands.iter().map(String::as_str).chain([""]) {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww", "-P-cbou"]).arg(pages(name));
        // tests/install.sh installs it.
        let output = ends_with(&mut groff, 0);
        assert!(stderr(&output).is_empty(), "{name}: {}", stderr(&output));
        let page = said(&output);
        for word in ["NAME", "SYNOPSIS", "EXAMPLES", &format!("loadtest {name}")] {
            assert!(page.contains(word.trim_end()), "{word} is not in\n{page}");
        }
    }
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), commands.len() + 1);
    assert_eq!(ask(&place, &["man"]).trim_end(), read(&pages("").display().to_string()).trim_end());
    let refused = ends_with(place.program().args(["man", "--out", "/proc/nowhere"]), 1);
    assert!(stderr(&refused).contains("/proc/nowhere"), "{}", stderr(&refused));
}

#[test]
fn every_gate_in_the_documentation_is_one() {
    let gates = read("docs/gates.md");
    let ci = read("examples/ci/latency.toml");
    let mut found = scenario(&ci, "latency.toml").gates.require;
    for page in pages() {
        for block in read(&page).split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            found.extend(scenario(block, &page).gates.require);
        }
    }
    assert!(found.len() >= 20, "{found:?}");
    // Named as wrong in the text itself.
    let none = ["rtt.p99 < 20", "calls.answered == 100"];
    let operators = [" < ", " <= ", " == ", " != ", " >= ", " > "];
    for text in pages().iter().map(|path| read(path)) {
        // Code in a line, between backticks; blocks have none.
        let prose: String = text.split("```").step_by(2).collect();
        let code = prose.split('`').skip(1).step_by(2);
        found.extend(
            code.filter(|code| !code.contains("--set"))
                .filter(|code| operators.iter().any(|op| code.contains(op)))
                .map(|c| c.replace('\n', " ")),
        );
    }
    let indented = gates.lines().filter_map(|line| line.strip_prefix("    every call:"));
    found.extend(indented.map(|rest| format!("every call:{rest}")));
    assert!(found.len() >= 40, "{found:?}");
    let (of_searches, found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|text| text.contains("capacity."));
    assert!(of_searches.len() >= 3, "{of_searches:?}");
    of_searches.iter().for_each(|text| assert_requirement(text));
    for text in found {
        match (Gate::parse(&text), none.contains(&text.as_str())) {
            (Ok(_), false) | (Err(_), true) => {}
            (Err(e), false) => panic!("{text}: {e}; {}", e.cure),
            (Ok(_), true) => panic!("{text} is said to be none"),
        }
    }
    // The grammar's own words.
    let grammar =
        gates.split("```bnf\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a grammar");
    let words = |of: &str| -> Vec<String> {
        let rule = grammar.lines().find(|line| line.starts_with(of)).expect("a rule");
        rule.split('"').skip(1).step_by(2).map(String::from).collect()
    };
    for op in words("<op>") {
        assert!(Gate::parse(&format!("rtt.p99{op}20ms")).is_ok(), "{op}");
    }
    for unit in words("<unit>") {
        let metrics = ["rtt.p99", "loss.ratio", "memory.driver_max", "memory.driver_growth"];
        assert!(metrics.iter().any(|m| Gate::parse(&format!("{m} < 20{unit}")).is_ok()), "{unit}");
    }
}

/// A condition on a capacity, alone or behind `--require`, of which the goal that it names is one.
#[track_caller]
fn assert_requirement(text: &str) {
    let condition = text.split_once("--require").map_or(text, |(_, rest)| rest).trim().trim_matches('\'');
    let kind = if condition.contains("capacity.rate") { Kind::Rate } else { Kind::Calls };
    let goal = condition.split_once(':').map_or("gates", |(goal, _)| goal);
    Require::parse(condition, kind, &[goal]).unwrap_or_else(|e| panic!("{text}: {e}"));
}

/// The scenario of a text in the documentation, which may be a part of one.
fn scenario(text: &str, path: &str) -> Scenario {
    // Longer than any fault in the examples is away from its start; stages have a length each.
    let long = Override::set("load.duration=10m");
    let set = if text.contains("[[stage]]") { &[][..] } else { &[long][..] };
    Resolved::read(text, path, set).unwrap_or_else(|e| panic!("{path}: {e}\n{text}")).scenario
}

#[test]
fn every_key_of_a_scenario_is_documented_with_its_default() {
    // `key` and `default` of each row, below the table that the heading names.
    let mut documented: Vec<(String, String)> = Vec::new();
    let mut table = String::new();
    for line in read("docs/scenario.md").lines() {
        let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
        if let Some(heading) = line.strip_prefix("## `[") {
            table = format!("{}.", heading.trim_matches(['[', ']', '`']));
        } else if let (true, [key, _, default, ..]) = (line.starts_with("| `"), &cells[..]) {
            let default = if *default == "empty" { "" } else { default };
            documented.push((format!("{table}{key}"), default.to_string()));
        }
    }
    // Those of a fault, a stage, a turn or a bot are in no scenario that has none.
    let optional = ["fault.", "stage.", "turn.", "service.talk."];
    documented.retain(|(key, _)| !optional.iter().any(|table| key.starts_with(table)));
    let resolved = Resolved::read("[impair.out]\n[impair.back]", "", &[]).expect("a scenario").to_toml();
    let mut left: Vec<_> = leaves("", &resolved.parse().expect("TOML"));
    for (key, default) in &documented {
        let at = left.iter().position(|(name, _)| name == key);
        match at.map(|at| left.remove(at)) {
            Some((_, value)) => assert_eq!(*default, value, "{key}"),
            // No value unless one is given: of a type that none has, so that only its name can be right.
            None => {
                assert_eq!(default, "–", "{key} is no key");
                let refusal = |wrong: &&str| {
                    let set = Override::set(&format!("{key}={wrong}"));
                    Resolved::read("", "", &[set]).err().map(|error| error.to_string())
                };
                let said = ["{}", "{a=[5]}"].iter().find_map(refusal).expect("no table");
                assert!(!said.contains("unknown") && !said.contains("did you mean"), "{key}: {said}");
            }
        }
    }
    assert!(left.is_empty(), "not documented: {left:?}");
}

#[test]
fn the_keys_are_listed_for_people_and_for_editors() {
    let place = Place::new();
    let text = ask(&place, &["run", "--list-keys"]);
    let entry = |key: &str| {
        let mut lines = text.lines().skip_while(|line| line.split(' ').next() != Some(key));
        let first = lines.next().unwrap_or_else(|| panic!("{key} is not in\n{text}"));
        let more = lines.take_while(|line| line.starts_with(' '));
        let words: Vec<_> = std::iter::once(first).chain(more).flat_map(str::split_whitespace).collect();
        words.join(" ")
    };
    for (key, words) in [
        ("load.calls", &["whole number", "default 1;", "0 to 20000", "concurrently"][..]),
        ("load.duration", &["duration", "10s", "1s to 7days"]),
        ("media.codec", &["PCMU | PCMA | G722 | opus | L16"]),
        ("sip.from", &["text", "loadtest"]),
        ("fault.at", &["required"]),
        ("impair.out.loss", &["share", "0%"]),
    ] {
        let entry = entry(key);
        assert!(words.iter().all(|word| entry.contains(word)), "{entry}");
    }
    let schema = ask(&place, &["run", "--list-keys", "--format", "json"]);
    assert_eq!(schema, read("scenarios/scenario.schema.json"));
    let refused = ends_with(place.program().args(["run", "--list-keys", "--format", "yaml"]), 2);
    assert!(stderr(&refused).contains("json"), "{}", stderr(&refused));
}

/// The keys of a table and of those inside it, with their values as people write them.
fn leaves(prefix: &str, table: &toml::Table) -> Vec<(String, String)> {
    let of = |(key, value): (&String, &toml::Value)| match value {
        toml::Value::Table(inner) if !inner.is_empty() => leaves(&format!("{prefix}{key}."), inner),
        toml::Value::String(text) => vec![(format!("{prefix}{key}"), text.clone())],
        other => vec![(format!("{prefix}{key}"), other.to_string())],
    };
    table.iter().flat_map(of).collect()
}

#[test]
fn what_was_given_wrong_is_named_as_it_was_given() {
    let place = Place::new();
    let refused = |command: &mut Command, words: &[&str], not: &str| {
        let said = stderr(&ends_with(command, 2));
        for word in words {
            assert!(said.contains(word), "`{word}` is not in:\n{said}");
        }
        assert!(!said.contains(not), "{said}");
    };
    for (set, cure) in [
        ("load.duration=5", "\"5s\""),
        ("load.ramp=10", "\"10/s\""),
        ("service.command=node", "[\"node\"]"),
        ("load.cals=5", "did you mean `calls`?"),
        ("gates.require=[\"leak == 0\"]", "did you mean `leaks`?"),
        ("gates.require=[\"every call: los.ratio < 1%\"]", "did you mean `loss.ratio`?"),
        ("gates.require=[\"rtt.p99 < 20\"]", "with its unit"),
    ] {
        let given = format!("--set {set}");
        refused(&mut place.check("smoke", &[set]), &[&given, cure], "smoke.toml");
    }
    let mut check = place.program();
    check.args(["check", "scenarios/smoke.toml"]).env("PORT_RANGE", "5");
    refused(&mut check, &["PORT_RANGE=5", "21000-31000"], "--set");
    let scenario = place.path("wrong.toml");
    fs::write(&scenario, "[load]\nduration = 5\n").expect("written");
    refused(place.program().arg("check").arg(&scenario), &["wrong.toml:2", "\"5s\""], "--set");
    refused(place.program().arg("service"), &["ARI_PASS", ".env"], "--password <");
    refused(place.program().arg("service").env("ARI_PASS", ""), &["ARI_PASS"], "--password <");
}

#[test]
fn every_file_that_the_documentation_links_is_there() {
    for page in pages() {
        let folder = Path::new(&page).parent().expect("a folder");
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { PathBuf::from(&page) } else { folder.join(file) };
            assert!(target.exists(), "{page}: {link}");
            let is_place = |line: &str| line.starts_with('#') && anchor(line) == place;
            assert!(
                place.is_empty() || read(&target.display().to_string()).lines().any(is_place),
                "{page}: {link}"
            );
        }
    }
}
