//! Makes `scenarios/scenario.schema.json` of the scenario's types and `docs/scenario.md` of that, and holds both
//! there: `UPDATE_DOCS=1 cargo test --lib scenario::schema` writes them anew.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::keys::{self, Key, Table};
use super::{Override, Resolved, Scenario, ranges};

const SCHEMA: &str = "scenarios/scenario.schema.json";
const REFERENCE: &str = "docs/scenario.md";
const INTRODUCTION: &str = "\
# Every key of a scenario

<!-- Made from the code: UPDATE_DOCS=1 cargo test --lib scenario::schema -->

[Scenarios](scenarios.md) says how one is written and shows examples. `loadtest run --list-keys` prints this list;
with `--format json` it prints the [JSON schema](../scenarios/scenario.schema.json), by which an editor completes and
checks the keys. \"–\" is a key without a value unless you give it one.

| type | is written as |
|---|---|
| duration | `\"300ms\"`, `\"20s\"`, `\"5m\"`, `\"1h 30m\"` |
| rate | `\"10/s\"`, `\"90/m\"` |
| duration, distribution or list | `\"30s\"` for all calls, `{ exponential = \"30s\" }` for each by that mean, `[\"10s\", \"3m\"]` for each one of these |
| share | `\"0.1%\"`, from 0% to 100% |
| port range | `\"21000-31000\"`, first and last port |
| host and port | `\"127.0.0.1:5060\"`, `\"pbx.example:5060\"`, `\"[::1]:5060\"` |
| text | in quotes; a number or `true` may go without |

On the command line (`--set load.duration=5m`) no value needs quotes.
";

/// Makes plain what the types do not say, as people's editors and `keys` read it.
fn plain(schema: &mut Schema) {
    schema.remove("format");
    if schema.get("default") == Some(&Value::Null) || schema.get("properties").is_some() {
        schema.remove("default");
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    // TOML has no null.
    let present = match schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([some, null]) if null["type"] == "null" => some.as_object().cloned(),
        _ => None,
    };
    if let Some(present) = present {
        schema.remove("anyOf");
        for (name, value) in present {
            if schema.get(&name).is_none() {
                schema.insert(name, value);
            }
        }
    }
    let one = match schema.get("type").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one, null]) if null == "null" => Some(one.clone()),
        _ => None,
    };
    if let Some(one) = one {
        schema.insert("type".into(), one);
    }
    let is_any = ["title", "const", "enum"].iter().all(|name| schema.get(*name).is_none());
    if is_any && schema.get("type").is_some_and(|t| t == "string") {
        schema.insert("title".into(), "text".into());
        if schema.get("pattern").is_none() {
            schema.insert("type".into(), json!(["string", "number", "boolean"]));
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("oneOf") {
        words.iter_mut().filter_map(Value::as_object_mut).for_each(|word| {
            word.remove("type");
        });
    }
}

/// Gives the keys of the table at `path` their order and their ranges.
fn complete(path: &str, schema: &mut Value) {
    let order = known_keys(path);
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    assert_eq!(order.len(), properties.len(), "{path}: {order:?}");
    for (name, property) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        property["x-order"] = order.iter().position(|known| known == name).into();
        for (key, least, most) in ranges::all() {
            if key == path {
                let is_number = ["integer", "number"].iter().any(|kind| property["type"] == *kind);
                let end = |end: &str| if is_number { json!(end.parse::<u64>().unwrap()) } else { json!(end) };
                let [low, high] = if is_number { ["minimum", "maximum"] } else { ["x-least", "x-most"] };
                (property[low], property[high]) = (end(&least), end(&most));
            }
        }
        if property["items"].get("properties").is_some() {
            complete(&path, &mut property["items"]);
        } else if property.get("properties").is_some() {
            complete(&path, property);
        }
    }
}

/// The keys of a table in the order of their fields, which serde names where it meets an unknown one.
fn known_keys(path: &str) -> Vec<String> {
    let text = match path {
        "" => "zzz = 1".to_string(),
        "fault" | "stage" | "turn" => format!("[[{path}]]\nzzz = 1"),
        _ => format!("{path}.zzz = 1"),
    };
    let error = toml::from_str::<Scenario>(&text).unwrap_err();
    error.message().split('`').skip(1).step_by(2).skip(1).map(String::from).collect()
}

fn generated() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let mut schema: Schema = SchemaGenerator::new(settings).into_root_schema_for::<Scenario>();
    RecursiveTransform(plain).transform(&mut schema);
    schema.insert("$id".into(), "urn:loadtest:scenario".into());
    schema.insert("title".into(), "loadtest scenario".into());
    let mut schema = schema.to_value();
    complete("", &mut schema);
    schema
}

/// The page of every key.
fn reference() -> String {
    let mut page = INTRODUCTION.to_string();
    for Table { path, is_list, doc, keys } in &keys::read(&generated()) {
        let heading = match (path.as_str(), is_list) {
            ("", _) => "Above all tables".into(),
            (path, true) => format!("`[[{path}]]`"),
            (path, false) => format!("`[{path}]`"),
        };
        let doc = if path.is_empty() { "" } else { doc };
        write!(page, "\n## {heading}\n\n{doc}\n{}", if doc.is_empty() { "" } else { "\n" }).unwrap();
        if !keys.is_empty() {
            page.push_str("| key | type | default | range | meaning |\n|---|---|---|---|---|\n");
        }
        keys.iter().for_each(|key| page.push_str(&row(key)));
    }
    page.replace("\n\n\n", "\n\n")
}

fn row(Key { path, kind, default, required, range, words, doc, .. }: &Key) -> String {
    let name = path.rsplit('.').next().unwrap_or_default();
    let default = match default {
        Some(default) if default.is_empty() => "empty".into(),
        Some(default) => format!("`{default}`"),
        None if *required => "required".into(),
        None => "–".into(),
    };
    let range = range.as_ref().map_or(String::new(), |(least, most)| format!("{least} to {most}"));
    let (kind, words) = match words.is_empty() {
        true => (kind.clone(), String::new()),
        false => {
            let told: Vec<_> =
                words.iter().map(|(word, doc)| format!("`{word}`: {}", doc.trim_end_matches('.'))).collect();
            ("one of".into(), format!(" {}.", told.join("; ")))
        }
    };
    format!("| `{name}` | {kind} | {default} | {range} | {doc}{words} |\n")
}

/// Compares a file with what the code makes, and writes it first where UPDATE_DOCS is set.
#[cfg(test)]
#[track_caller]
fn hold(path: &str, text: &str) {
    if ["UPDATE_DOCS", "UPDATE_SCHEMA"].iter().any(|name| std::env::var_os(name).is_some()) {
        std::fs::write(path, text).unwrap();
    }
    let is = std::fs::read_to_string(path).unwrap_or_default();
    assert!(is == text, "{path} is behind: UPDATE_DOCS=1 cargo test --lib scenario::schema");
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let mut text = serde_json::to_string_pretty(&generated()).unwrap();
    text.push('\n');
    hold(SCHEMA, &text);
}

#[test]
fn the_page_of_every_key_is_that_of_the_schema() {
    hold(REFERENCE, &reference());
}

#[test]
fn every_key_says_what_it_is() {
    assert!(keys::all().count() > 50);
    for key in keys::all() {
        assert!(!key.doc.is_empty() && key.doc.ends_with('.'), "{key:?}");
        assert!(!key.example.is_empty() && !key.kind.is_empty(), "{key:?}");
        assert!(!key.doc.contains("[`"), "a link of rustdoc: {key:?}");
    }
    for line in keys::listing().lines() {
        assert!(line.chars().count() <= crate::values::WIDTH && !line.trim().is_empty(), "{line}");
    }
}

fn valid(validator: &jsonschema::Validator, text: &str) -> bool {
    let value: toml::Table = text.parse().unwrap();
    validator.is_valid(&serde_json::to_value(value).unwrap())
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft7::new(&generated()).unwrap()
}

#[test]
fn shipped_scenarios_are_valid_and_name_their_schema() {
    let validator = validator();
    let mut seen = 0;
    for entry in std::fs::read_dir("scenarios").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("#:schema ./scenario.schema.json\n"), "{}", path.display());
            assert!(valid(&validator, &text), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
    assert!(valid(&validator, include_str!("../../examples/ci/latency.toml")));
    // Every default written out, as a run's folder keeps it.
    let resolved = Resolved::read("[impair.out]\n[impair.back]\n", "x.toml", &[]).unwrap();
    assert!(valid(&validator, &resolved.to_toml()), "{}", resolved.to_toml());
}

/// Values of every type, right for some keys and wrong for others.
const VALUES: &[&str] = &[
    "true",
    "'true'",
    "7",
    "-1",
    "70000",
    "20001",
    "2.5",
    "1e400",
    "[]",
    "[3]",
    "[-3]",
    "['x']",
    "[['x']]",
    "{}",
    "{ x = 1 }",
    "''",
    "'x'",
    "'3s'",
    "'5m'",
    "'1h 30m'",
    "'1.5s'",
    "'0'",
    "'5'",
    "'5 parsecs'",
    "'-5s'",
    "'7/s'",
    "'90/m'",
    "'7/h'",
    "'7'",
    "'7%'",
    "'7.5 %'",
    "'x%'",
    "'31002-32000'",
    "'31002'",
    "'127.0.0.9'",
    "'127.0.0.9:77'",
    "'pbx:5060'",
    "'pbx'",
    "'[::1]:5060'",
    "'http://pbx:8088'",
    "'external'",
    "'Managed'",
    "'callee'",
    "'PCMA'",
    "'pcma'",
    "'opus'",
    "'aligned'",
    "'AES_CM_128_HMAC_SHA1_32'",
    "'poisson'",
    "['3s', '40s']",
    "{ exponential = '30s' }",
    "{ exponential = 3 }",
    "'kill'",
];

/// A scenario with `value` for a key.
fn with(key: &Key, value: &str) -> String {
    let lists = [
        ("fault", "at = '1s'\ntarget = 'service'\naction = 'kill'"),
        ("stage", "calls = 1\nhold = '9s'"),
        ("turn", "say = 'hello'"),
    ];
    let (table, name) = key.path.split_once('.').unwrap_or(("", &key.path));
    match lists.iter().find(|(list, _)| *list == table) {
        None => format!("{} = {value}", key.path),
        Some((list, others)) => {
            let mut others: toml::Table = others.parse().unwrap();
            others.remove(name);
            format!("[[{list}]]\n{others}{name} = {value}\n")
        }
    }
}

#[test]
fn schema_and_program_take_the_same_values() {
    let validator = validator();
    let (mut taken, mut refused) = (0, 0);
    for key in keys::all() {
        for value in VALUES.iter().filter(|value| **value != "1e400") {
            let text = with(key, value);
            // Longer than any fault is away from its start.
            let longer = [Override::set("load.duration=10m")];
            // Only callers that talk have turns.
            let talking = ["media.mode=conversation", "service.talk.delay=1s"].map(Override::set);
            let set = match key.path.split('.').next() {
                Some("fault") => &longer[..],
                Some("turn") => &talking[..],
                _ => &[],
            };
            let read = Resolved::read(&text, "x.toml", set);
            // Values that only the rules refuse may depend on other keys.
            let of_types =
                read.as_ref().is_err_and(|e| !e.rendered.contains(&format!("error: {}: ", key.path)));
            match (read.is_ok(), valid(&validator, &text)) {
                (true, false) => panic!("the schema refuses what the program takes: {text}"),
                (false, true) if of_types && !is_rule(key, &text) => {
                    panic!("the schema takes what the program refuses: {text}\n{}", read.unwrap_err())
                }
                (true, true) => taken += 1,
                _ => refused += 1,
            }
        }
        // Its own example is one.
        assert!(taken > 0 && refused > 0);
    }
    for wrong in ["zzz = 1", "load.zzz = 1", "[[fault]]\nat = '1s'", "fault = 3", "load = 5", "[load.calls]"]
    {
        assert!(!valid(&validator, wrong), "{wrong}");
    }
}

/// True if the types take it, so that a rule refuses it.
fn is_rule(key: &Key, text: &str) -> bool {
    key.is_text || toml::from_str::<Scenario>(text).is_ok()
}
