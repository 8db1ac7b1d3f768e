//! TOML → Scenario: overrides first, then the types, then the rules.

use std::ops::Range;

use toml_edit::{Document, DocumentMut, Item, TableLike, Value};

use super::error::{Problem, ScenarioError, render};
use super::{Scenario, check};

/// A scenario with the text that it was read from, overrides included.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The valid scenario.
    pub scenario: Scenario,
    text: String,
    path: String,
}

impl Resolved {
    /// Reads `text` (of a file called `path`), with overrides `key=value` applied in their order.
    ///
    /// # Errors
    /// Syntax, unknown keys, wrong values and broken rules, each with line, reason and cure.
    pub fn read(text: &str, path: &str, overrides: &[String]) -> Result<Resolved, ScenarioError> {
        let text = apply(text, path, overrides)?;
        let scenario: Scenario = toml::from_str(&text).map_err(|e| ScenarioError {
            rendered: render(&text, path, e.message().trim_end(), e.span(), ""),
        })?;
        let resolved = Resolved { scenario, text, path: path.into() };
        match check::problems(&resolved.scenario) {
            problems if problems.is_empty() => Ok(resolved),
            problems => Err(resolved.error(&problems)),
        }
    }

    /// An error about this scenario, pointing at each problem's key.
    pub fn error(&self, problems: &[Problem]) -> ScenarioError {
        let rendered: Vec<_> = problems
            .iter()
            .map(|p| {
                let message = format!("{}: {}", p.key, p.message);
                render(&self.text, &self.path, &message, locate(&self.text, &p.key), &p.cure)
            })
            .collect();
        ScenarioError { rendered: rendered.join("\n\n") }
    }

    /// The scenario with every default written out, as kept in the run folder.
    pub fn to_toml(&self) -> String {
        // Invariant: every field has a TOML form; the round trip is tested.
        toml::to_string_pretty(&self.scenario).expect("a scenario is valid TOML")
    }
}

fn apply(text: &str, path: &str, overrides: &[String]) -> Result<String, ScenarioError> {
    if overrides.is_empty() {
        return Ok(text.into());
    }
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| ScenarioError {
        rendered: render(text, path, e.message(), e.span(), ""),
    })?;
    for setting in overrides {
        set(&mut document, setting).map_err(|why| ScenarioError {
            rendered: format!("error: --set {setting}: {why}\n  help: write it as in --set load.calls=10"),
        })?;
    }
    Ok(document.to_string())
}

fn set(document: &mut DocumentMut, setting: &str) -> Result<(), String> {
    let (key, value) = setting.split_once('=').ok_or("there is no `=`")?;
    // What is no TOML value by itself is meant as a string: `media.codec=PCMA`.
    let value: Value = value.trim().parse().unwrap_or_else(|_| Value::from(value.trim()));
    let mut parts: Vec<_> = key.split('.').map(str::trim).collect();
    let last = parts.pop().filter(|p| !p.is_empty()).ok_or("there is no key")?;
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
        let overrides: Vec<_> = overrides.iter().map(|s| s.to_string()).collect();
        Resolved::read(text, "x.toml", &overrides).unwrap_err().rendered
    }

    #[test]
    fn overrides_come_after_the_file_and_strings_need_no_quotes() {
        let overrides =
            ["load.calls=7", "media.codec=PCMA", "asterisk.rtp_ports=12000-13000"].map(String::from);
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
        let text = fails(GOOD, &["load.calls=0"]);
        assert!(text.contains("calls = 0") && text.contains("help"), "{text}");
        let text = fails(GOOD, &["load.calls"]);
        assert!(text.contains("--set load.calls"), "{text}");
        let text = fails("name = ", &["load.calls=1"]);
        assert!(text.contains("x.toml:1"), "{text}");
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
