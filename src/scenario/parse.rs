//! TOML → Scenario: overrides first, then the types, then the rules.

use std::ops::Range;

use toml_edit::{Document, DocumentMut, Item, TableLike, Value};

use super::error::{MOST_SHOWN, Problem, ScenarioError, cut, render, without_passwords};
use super::wording::reword;
use super::{Scenario, check, keys};

/// Most tables within each other that a key of an override may name: a scenario has two.
const DEEPEST: usize = 8;

/// A scenario with the text that it was read from, overrides included.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The valid scenario.
    pub scenario: Scenario,
    source: Source,
}

/// Source text of a scenario, which errors point at.
#[derive(Debug, Clone)]
struct Source {
    path: String,
    /// The file's own text.
    file: String,
    /// With the overrides in it.
    text: String,
    overrides: Vec<Override>,
}

/// A key whose value does not come from the file.
#[derive(Debug, Clone)]
pub struct Override {
    /// `KEY=VALUE`.
    setting: String,
    /// As the user gave it, for errors.
    given: String,
}

impl Override {
    /// Of `--set`.
    pub fn set(setting: &str) -> Self {
        Override { setting: setting.into(), given: format!("--set {setting}") }
    }

    /// Of an environment variable that stands for `key`.
    pub fn variable(name: &str, key: &str, value: &str) -> Self {
        Override { setting: format!("{key}={value}"), given: format!("{name}={value}") }
    }

    fn key(&self) -> &str {
        self.setting.split_once('=').map_or("", |(key, _)| key).trim()
    }
}

impl Resolved {
    /// Reads `text` (of a file called `path`), with `overrides` applied in their order.
    ///
    /// # Errors
    /// Syntax, unknown keys, wrong values and broken rules, each with line or override, reason and cure.
    pub fn read(text: &str, path: &str, overrides: &[Override]) -> Result<Resolved, ScenarioError> {
        let amended = apply(text, path, overrides)?;
        let source =
            Source { path: path.into(), file: text.into(), text: amended, overrides: overrides.to_vec() };
        let scenario = toml::from_str(&source.text)
            .map_err(|e| ScenarioError { rendered: source.misread(e.message(), e.span()) })?;
        let resolved = Resolved { scenario, source };
        match check::problems(&resolved.scenario).0 {
            problems if problems.is_empty() => Ok(resolved),
            problems => Err(resolved.error(&problems, 0)),
        }
    }

    /// True for a scenario with an external Asterisk in which nothing gives `key` a value.
    pub fn is_external_without(text: &str, overrides: &[Override], key: &str) -> bool {
        let Ok(amended) = apply(text, "", overrides) else { return false };
        let Ok(document) = amended.parse::<DocumentMut>() else { return false };
        let value = |key: &str| key.split('.').try_fold(document.as_item(), |item, part| item.get(part));
        value("asterisk.mode").and_then(Item::as_str) == Some("external") && value(key).is_none()
    }

    /// An error about this scenario that points at the key of each of the first problems, and counts the others:
    /// the rest of `problems`, and `more` of which nothing is told.
    pub fn error(&self, problems: &[Problem], more: usize) -> ScenarioError {
        let shown = problems.len().min(MOST_SHOWN);
        let mut rendered: Vec<_> = problems[..shown].iter().map(|p| self.source.problem(p)).collect();
        match problems.len() - shown + more {
            0 => {}
            more => rendered.push(format!("and {more} more")),
        }
        ScenarioError { rendered: rendered.join("\n\n") }
    }

    /// The scenario with every default written out, as kept in the run folder.
    pub fn to_toml(&self) -> String {
        // Invariant: every field has a TOML form; the round trip is tested.
        toml::to_string_pretty(&self.scenario).expect("a scenario is valid TOML")
    }
}

impl Source {
    /// The deserialiser's error about the bytes in `span` of the text with the overrides in it.
    fn misread(&self, said: &str, span: Option<Range<usize>>) -> String {
        let value = span.clone().and_then(|span| self.text.get(span)).unwrap_or_default();
        let key = span.as_ref().map(|span| path_to(&self.text, span)).unwrap_or_default();
        let Problem { message, cure, .. } = reword(said.trim_end(), &key, value);
        match span.as_ref().and_then(|span| self.overridden(span)) {
            Some(culprit) => told(culprit, &message, &cure),
            None if self.text == self.file => render(&self.file, &self.path, &message, span, &cure),
            None => render(&self.file, &self.path, &message, locate(&self.file, &key), &cure),
        }
    }

    fn problem(&self, problem: &Problem) -> String {
        let Problem { key, message, cure } = problem;
        let message = format!("{key}: {message}");
        let is_in = |o: &&Override| {
            key.strip_prefix(o.key()).is_some_and(|rest| matches!(rest.get(..1), None | Some(".")))
        };
        match self.overrides.iter().rfind(is_in).or_else(|| self.culprit(problem)) {
            Some(culprit) => told(culprit, &message, cure),
            None => render(&self.file, &self.path, &message, locate(&self.file, key), cure),
        }
    }

    /// The override that has brought a problem about, though it has set another key: without it, and those after
    /// it, the problem is not there.
    fn culprit(&self, problem: &Problem) -> Option<&Override> {
        let is_there = |first: usize| {
            let amended = apply(&self.file, &self.path, &self.overrides[..first]).ok()?;
            let scenario: Scenario = toml::from_str(&amended).ok()?;
            Some(check::problems(&scenario).0.iter().any(|other| other.key == problem.key))
        };
        let (mut without, mut with) = (0, self.overrides.len());
        if with == 0 || is_there(without) != Some(false) || is_there(with) != Some(true) {
            return None;
        }
        while with - without > 1 {
            let half = without + (with - without) / 2;
            // A text that cannot be read says nothing: what made it so was mended by a later override.
            *(if is_there(half) == Some(true) { &mut with } else { &mut without }) = half;
        }
        self.overrides.get(without)
    }

    /// The override that has written the bytes in `span`.
    fn overridden(&self, span: &Range<usize>) -> Option<&Override> {
        let (text, file) = (Document::parse(&*self.text).ok()?, Document::parse(&*self.file).ok()?);
        let has = |range: &Range<usize>| range.start <= span.start && span.end <= range.end;
        self.overrides.iter().rfind(|o| written(text.as_item(), file.as_item(), o.key()).iter().any(has))
    }
}

/// The whole name of the key that the bytes in `span` of `text` belong to: the key's own or its value's.
fn path_to(text: &str, span: &Range<usize>) -> String {
    let Ok(document) = Document::parse(text) else { return String::new() };
    let mut path = Vec::new();
    descend(document.as_item(), span, &mut path);
    path.join(".")
}

/// Extends `path` to the innermost key inside of `item` that has the bytes in `span`; true if there is one.
fn descend(item: &Item, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    let has = |range: Option<Range<usize>>| range.is_some_and(|r| r.start <= span.start && span.end <= r.end);
    if let Some(tables) = item.as_array_of_tables() {
        return tables.iter().enumerate().any(|(n, table)| {
            path.push(n.to_string());
            let found = inside(table, span, path) || has(table.span());
            if !found {
                path.pop();
            }
            found
        });
    }
    item.as_table_like().is_some_and(|table| inside(table, span, path))
}

fn inside(table: &dyn TableLike, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    let has = |range: Option<Range<usize>>| range.is_some_and(|r| r.start <= span.start && span.end <= r.end);
    table.iter().any(|(name, item)| {
        path.push(name.into());
        let key = table.get_key_value(name).and_then(|(key, _)| key.span());
        let found = descend(item, span, path) || has(key) || has(item.span());
        if !found {
            path.pop();
        }
        found
    })
}

/// The bytes of `text` that an override of `key` has written: key and value, and the names of tables that
/// the file does not have.
fn written(text: &Item, file: &Item, key: &str) -> Vec<Range<usize>> {
    let (mut item, mut in_file) = (text, Some(file));
    let mut ranges = Vec::new();
    let mut parts = key.split('.').map(str::trim).peekable();
    while let Some(part) = parts.next() {
        let Some((name, value)) = item.as_table_like().and_then(|t| t.get_key_value(part)) else { break };
        in_file = in_file.and_then(|file| file.as_table_like()?.get(part));
        let (name, is_last) = (name.span(), parts.peek().is_none());
        match (name, value.span()) {
            (Some(name), Some(value)) if is_last => ranges.push(name.start.min(value.start)..value.end),
            (Some(name), _) if in_file.is_none() => ranges.push(name),
            _ => {}
        }
        item = value;
    }
    ranges
}

/// An error of what an override has given.
fn told(culprit: &Override, message: &str, cure: &str) -> String {
    let help = if cure.is_empty() { String::new() } else { format!("\n  = help: {}", cut(cure)) };
    without_passwords(&format!("error: {}\n --> {}{help}", cut(message), cut(&culprit.given)))
}

fn apply(text: &str, path: &str, overrides: &[Override]) -> Result<String, ScenarioError> {
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| ScenarioError {
        rendered: render(text, path, e.message(), e.span(), ""),
    })?;
    for culprit in overrides {
        set(&mut document, &culprit.setting).map_err(|why| ScenarioError {
            rendered: told(culprit, &why, "write it as in --set load.calls=10"),
        })?;
    }
    let mut is_changed = !overrides.is_empty();
    for key in keys::all().filter(|key| key.is_text) {
        is_changed |= quote(document.as_item_mut(), &key.path);
    }
    Ok(if is_changed { document.to_string() } else { text.into() })
}

/// Puts what the key `path` has into quotes, as it is written, where it is a number, a boolean or a date: any of
/// them may be meant as text, as in `to = 4711`. True if there was such.
fn quote(item: &mut Item, path: &str) -> bool {
    let mut item = item;
    for part in path.split('.') {
        match item.as_table_like_mut().and_then(|table| table.get_mut(part)) {
            Some(inner) => item = inner,
            None => return false,
        }
    }
    // A table of lists by name.
    match item.as_table_like_mut() {
        Some(table) => table.iter_mut().map(|(_, item)| quote_item(item)).fold(false, |any, one| any | one),
        None => quote_item(item),
    }
}

fn quote_item(item: &mut Item) -> bool {
    match item.as_value_mut() {
        Some(Value::Array(list)) => list.iter_mut().map(quote_value).fold(false, |any, one| any | one),
        Some(value) => quote_value(value),
        None => false,
    }
}

fn quote_value(value: &mut Value) -> bool {
    let bare = match value {
        Value::Integer(n) => n.display_repr().into_owned(),
        Value::Float(n) => n.display_repr().into_owned(),
        Value::Boolean(b) => b.display_repr().into_owned(),
        Value::Datetime(at) => at.display_repr().into_owned(),
        _ => return false,
    };
    let decor = std::mem::take(value.decor_mut());
    *value = Value::from(bare);
    *value.decor_mut() = decor;
    true
}

fn set(document: &mut DocumentMut, setting: &str) -> Result<(), String> {
    let (key, value) = setting.split_once('=').ok_or("there is no `=`")?;
    // A text that is no TOML value is meant as a string: `media.codec=PCMA`.
    let value: Value = value.trim().parse().unwrap_or_else(|_| Value::from(value.trim()));
    let mut parts: Vec<_> = key.split('.').map(str::trim).collect();
    let last = parts.pop().filter(|p| !p.is_empty()).ok_or("there is no key")?;
    if parts.len() > DEEPEST {
        return Err(format!("a key in {} tables is none of a scenario", parts.len()));
    }
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for part in parts {
        let item = table.entry(part).or_insert_with(toml_edit::table);
        table = item.as_table_like_mut().ok_or(format!("`{part}` is not a table"))?;
    }
    table.insert(last, Item::Value(value));
    Ok(())
}

/// The bytes that hold the value of `key` (`media.ports`, `gates.require.2`), or of the nearest
/// table around it that is written out.
fn locate(text: &str, key: &str) -> Option<Range<usize>> {
    let document = Document::parse(text).ok()?;
    let mut item: &Item = document.as_item();
    let mut found = None;
    let mut parts = key.split('.').filter(|p| !p.is_empty());
    while let Some(part) = parts.next() {
        let index = part.parse::<usize>().ok();
        if let Some((index, array)) = index.zip(item.as_array()) {
            let inline = array.get(index).and_then(|v| v.as_inline_table());
            let inner = inline.zip(parts.next()).and_then(|(t, key)| t.get(key)?.span());
            return inner.or_else(|| array.get(index)?.span()).or(found);
        }
        if let Some(table) = index.zip(item.as_array_of_tables()).and_then(|(n, tables)| tables.get(n)) {
            let inner = parts.next().and_then(|key| table.get(key)?.span());
            return inner.or_else(|| table.span()).or(found);
        }
        match item.as_table_like().and_then(|t| t.get(part)) {
            Some(inner) => item = inner,
            None => break,
        }
        found = item.span().or(found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "name = \"t\"\n[load]\ncalls = 50\nduration = \"5m\"\n[media]\nports = \"40000-49998\"\n";

    fn fails(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<_> = overrides.iter().map(|s| Override::set(s)).collect();
        Resolved::read(text, "x.toml", &overrides).unwrap_err().rendered
    }

    #[test]
    fn overrides_come_after_the_file_and_strings_need_no_quotes() {
        let overrides =
            ["load.calls=7", "media.codec=PCMA", "asterisk.rtp_ports=12000-13000"].map(Override::set);
        let s = Resolved::read(GOOD, "x.toml", &overrides).unwrap().scenario;
        assert_eq!((s.load.calls, s.media.codec), (7, crate::rtp::Codec::Pcma));
        assert_eq!(s.asterisk.rtp_ports.from, 12000);
    }

    #[test]
    fn the_resolved_text_reads_back_as_the_same_scenario() {
        let resolved = Resolved::read(GOOD, "x.toml", &[]).unwrap();
        let again = Resolved::read(&resolved.to_toml(), "y.toml", &[]).unwrap();
        assert_eq!(again.scenario, resolved.scenario);
    }

    #[test]
    fn errors_name_line_reason_and_cure() {
        let text = fails("name = \"t\"\n[load]\ncals = 5\n", &[]);
        assert!(text.contains("x.toml:3") && text.contains("cals") && text.contains("`calls`"), "{text}");
        let text = fails("[load]\nduration = \"5 parsecs\"\n", &[]);
        assert!(text.contains("x.toml:2") && text.contains("not a duration"), "{text}");
        let text = fails("[load]\ncalls = 0\n", &[]);
        assert!(text.contains("calls = 0") && text.contains("help"), "{text}");
        let text = fails(GOOD, &["load.calls"]);
        assert!(text.contains("--set load.calls"), "{text}");
        let text = fails("name = ", &["load.calls=1"]);
        assert!(text.contains("x.toml:1"), "{text}");
    }

    #[test]
    fn what_an_override_has_written_is_shown_as_it_was_given() {
        for (setting, words) in [
            ("load.calls=0", "load.calls: "),
            ("load.cals=3", "did you mean `calls`?"),
            ("loda.calls=3", "did you mean `load`?"),
            ("load.ramps.x=3", "did you mean `ramp`?"),
            ("load.duration=5", "\"5s\""),
            ("load.ramp=10", "\"10/s\""),
            ("load.calls=\"5\"", "without quotes"),
            ("load.calls=-1", "not negative"),
            ("load=5", "write [load]"),
            ("fault=3", "[[fault]]"),
            ("fault=[{at=\"3s\", target=\"asterisk\"}]", "add `action`"),
            ("service.command=node app.js", "write [\"node\", \"app.js\"]"),
            ("service.http=9090", "\"127.0.0.1:9090\""),
            ("service.http=here", "127.0.0.1:9090"),
            ("sip.local=here", "127.0.0.1"),
            ("sip.to=a b", "sip.to"),
            ("asterisk.ari_port=70000", "from 0 to 65535"),
            ("asterisk.rtp_ports=10000", "\"21000-31000\""),
            ("asterisk.sip=5060", "\"127.0.0.1:5060\""),
            ("gates.require=rtt.p99 < 20ms", "write [\"rtt.p99 < 20ms\"]"),
            ("limits.missed_slots=0.1", "\"0.1%\""),
            ("driver.cpus=1", "write [1]"),
            ("driver.realtime=yes", "true, false or \"auto\" belongs here"),
            ("driver.lanes=0", "a whole number from 1 to 64 or \"auto\" belongs here"),
            ("media.codec=5", "in quotes"),
        ] {
            let text = fails(GOOD, &["load.calls=7", setting]);
            assert!(text.contains(&format!("--> --set {setting}")) && text.contains(words), "{text}");
            assert!(!text.contains("x.toml") && !text.contains("invalid"), "{text}");
        }
        // An error in the file is the file's, whatever else is set.
        let text = fails("[load]\nduration = 5\n", &["load.calls=7", "media.codec=PCMA"]);
        assert!(
            text.contains("x.toml:2") && text.contains("duration = 5: a duration belongs here"),
            "{text}"
        );
        assert!(text.contains("\"5s\"") && !text.contains("--set"), "{text}");
        let ports = Override::variable("PORT_RANGE", "service.ports", "5-6");
        let text = Resolved::read(GOOD, "x.toml", &[ports]).unwrap_err().rendered;
        assert!(text.contains("--> PORT_RANGE=5-6"), "{text}");
    }

    #[test]
    fn a_key_is_located_or_its_table_is() {
        let at = |key| locate(GOOD, key).map(|r| &GOOD[r]);
        assert_eq!(at("media.ports"), Some("\"40000-49998\""));
        assert!(at("load.ramp").is_some_and(|t| t.starts_with("[load]")));
        assert_eq!(at("limits.socket_drops"), None);
        let gates = "[gates]\nrequire = [\"a\", \"b\"]\n";
        assert_eq!(locate(gates, "gates.require.1").map(|r| &gates[r]), Some("\"b\""));
    }
}
