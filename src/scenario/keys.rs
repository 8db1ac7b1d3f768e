//! Every key of a scenario with its type, default, range and meaning, read from the published schema.

use std::fmt::Write as _;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::values::{WIDTH, wrapped};

/// The JSON schema of a scenario. It is made of the types of this module (`schema.rs`), and a test holds it there.
pub const SCHEMA: &str = include_str!("../../scenarios/scenario.schema.json");

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whole name, its tables before it: `load.calls`. A key of `[[fault]]` is `fault.at`.
    pub path: String,
    /// Type in words, as in "duration", or the words that it takes.
    pub kind: String,
    /// Default as it is written in a scenario; `None` where the key is absent or has to be given.
    pub default: Option<String>,
    /// True if its table has to have it.
    pub required: bool,
    /// Least and most.
    pub range: Option<(String, String)>,
    /// Words that it takes, each with its meaning.
    pub words: Vec<(String, String)>,
    /// A value that would do, as it is written in a scenario.
    pub example: String,
    /// Meaning.
    pub doc: String,
    /// True if it takes any text, a list of texts, or texts or such lists by name.
    pub is_text: bool,
}

/// A table and its own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `load`; empty for the keys above all tables.
    pub path: String,
    /// True if it may come more than once: `[[fault]]`.
    pub is_list: bool,
    /// Meaning.
    pub doc: String,
    /// Keys in their order.
    pub keys: Vec<Key>,
}

/// Every table in the order of the scenario, its own keys in theirs.
pub fn tables() -> &'static [Table] {
    static TABLES: OnceLock<Vec<Table>> = OnceLock::new();
    TABLES.get_or_init(|| {
        // Invariant: a test reads the file that is built in.
        read(&serde_json::from_str(SCHEMA).expect("the schema is JSON"))
    })
}

/// The tables of a schema.
pub(super) fn read(schema: &Value) -> Vec<Table> {
    let mut found = Vec::new();
    walk("", schema, false, &mut found);
    found
}

/// Every key in its order.
pub fn all() -> impl Iterator<Item = &'static Key> {
    tables().iter().flat_map(|table| &table.keys)
}

/// Columns of a key's name in the listing.
const NAME: usize = 26;

/// Every key as text: name, type or words, default and range, and below it the meaning.
pub fn listing() -> String {
    let mut text = String::new();
    for Key { path, kind, default, required, range, doc, .. } in all() {
        let default = match default {
            Some(default) => format!("default {default}"),
            None if *required => "required".into(),
            None => "no default".into(),
        };
        let range = range.as_ref().map(|(least, most)| format!("{least} to {most}"));
        let facts: Vec<_> = [kind.clone(), default].into_iter().chain(range).collect();
        let room = WIDTH - NAME - 1;
        let lines = wrapped(&facts.join("; "), room).into_iter().chain(wrapped(doc, room));
        for (n, line) in lines.enumerate() {
            let name = if n == 0 { path } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:NAME$} {line}");
        }
    }
    text
}

fn walk(path: &str, schema: &Value, is_list: bool, found: &mut Vec<Table>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    let mut properties: Vec<_> = properties.iter().collect();
    properties.sort_by_key(|(_, property)| property["x-order"].as_u64());
    let whole = |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
    let (tables, keys): (Vec<_>, Vec<_>) = properties.into_iter().partition(|(_, p)| inside(p).is_some());
    let keys = keys.into_iter().map(|(name, property)| key(whole(name), property, required(name))).collect();
    let doc = text(schema, "description");
    found.push(Table { path: path.into(), is_list, doc, keys });
    for (name, property) in tables {
        if let Some((table, is_list)) = inside(property) {
            let at = found.len();
            walk(&whole(name), table, is_list, found);
            if let Some(table) = found.get_mut(at) {
                table.doc = text(property, "description");
            }
        }
    }
}

/// The table that a property is, or of which it is a list.
fn inside(property: &Value) -> Option<(&Value, bool)> {
    if property.get("properties").is_some() {
        return Some((property, false));
    }
    property.get("items").filter(|items| items.get("properties").is_some()).map(|items| (items, true))
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or_default().into()
}

fn key(path: String, property: &Value, required: bool) -> Key {
    let words: Vec<_> = property["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| (text(word, "const"), text(word, "description")))
        .collect();
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let range = property.as_object().and_then(|of| {
        let end = |names: [&str; 2]| names.iter().find_map(|name| of.get(*name)).map(shown);
        end(["x-least", "minimum"]).zip(end(["x-most", "maximum"]))
    });
    let example = property["examples"].get(0).or_else(|| property.get("default")).map(shown);
    let is_text = |of: &Value| of["title"] == "text";
    Key {
        path,
        kind: kind(property, &words),
        default: property.get("default").map(shown),
        required,
        range,
        example: example.or_else(|| words.first().map(|(word, _)| word.clone())).unwrap_or_default(),
        words,
        doc: text(property, "description"),
        is_text: [
            property,
            &property["items"],
            &property["additionalProperties"],
            &property["additionalProperties"]["items"],
        ]
        .into_iter()
        .any(is_text),
    }
}

fn kind(property: &Value, words: &[(String, String)]) -> String {
    if !words.is_empty() {
        let words: Vec<_> = words.iter().map(|(word, _)| word.as_str()).collect();
        return words.join(" | ");
    }
    let empty = Map::new();
    let of = property.as_object().unwrap_or(&empty);
    if let Some(title) = of.get("title").and_then(Value::as_str) {
        return title.trim_start_matches("an ").trim_start_matches("a ").into();
    }
    match of.get("type").and_then(Value::as_str) {
        Some("integer") => "whole number".into(),
        Some("boolean") => "true or false".into(),
        Some("array") => format!("list of {}s", kind(&property["items"], &[])),
        other => other.unwrap_or("value").into(),
    }
}
