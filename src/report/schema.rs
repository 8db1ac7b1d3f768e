//! Holds `docs/summary.schema.json` against the code that writes `summary.json`: the shapes and their
//! words come from the types, the metrics from the catalogue.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::json as exporter;
use crate::gate::Outcome;
use crate::metrics::{Definition, catalogue};
use crate::record::FORMAT_VERSION;
use crate::values::Unit;

/// Every metric of the catalogue: an object for a group, in it a property for a key.
pub(super) fn metrics(_: &mut SchemaGenerator) -> Schema {
    of_metrics(catalogue::all())
}

/// Every metric that a stage has by itself, likewise.
pub(super) fn stage_metrics(_: &mut SchemaGenerator) -> Schema {
    of_metrics(catalogue::all().filter(|definition| definition.by_stage))
}

fn of_metrics(all: impl Iterator<Item = &'static Definition>) -> Schema {
    let mut groups = Map::new();
    for definition in all {
        let (group, key) = definition.family_and_key();
        let group = groups.entry(group).or_insert_with(|| json!({"type": "object", "properties": {}}));
        group["properties"][key] = figure(definition);
    }
    for group in groups.values_mut() {
        group["required"] = group["properties"].as_object().unwrap().keys().cloned().collect();
    }
    let required: Vec<_> = groups.keys().cloned().collect();
    json_schema!({"type": "object", "properties": groups, "required": required})
}

fn figure(definition: &Definition) -> Value {
    let unit = match definition.unit {
        Unit::Ms => "Milliseconds.",
        Unit::Ratio => "A ratio: 1 is all of them.",
        Unit::Count => "A count.",
        Unit::Cores => "Cores: 1 is one core, busy all the time.",
        Unit::Mib => "MiB.",
        Unit::MibPerMinute => "MiB per minute.",
        Unit::MsPerMinute => "Milliseconds per minute.",
        Unit::Score => "A score from 1 to 4.5.",
        Unit::Mean => "A mean of counts.",
    };
    let description = format!("{}. {unit}", definition.help);
    match (definition.unit, definition.lost_where()) {
        (Unit::Count, _) => json!({"description": description, "type": ["integer", "null"], "minimum": 0}),
        (_, Some(lost_where)) => json!({
            "description": format!("{}; lost {lost_where}.", description.trim_end_matches('.')),
            "anyOf": [{"type": ["number", "null"]}, {"const": "lost"}],
        }),
        _ => json!({"description": description, "type": ["number", "null"]}),
    }
}

/// A count for any group that has percentiles.
pub(super) fn samples(_: &mut SchemaGenerator) -> Schema {
    let mut groups = Map::new();
    for group in catalogue::all().map(Definition::family) {
        groups.insert(group.into(), json!({"type": "integer", "minimum": 0}));
    }
    json_schema!({"type": "object", "properties": groups})
}

/// Milliseconds, or no number.
pub(super) fn milliseconds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"type": ["number", "null"]}, {"const": "lost"}]})
}

/// A list of metrics.
pub(super) fn metric_names(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = catalogue::all().map(|d| d.name).collect();
    json_schema!({"type": "array", "items": {"enum": names}})
}

/// One end of a gate's interval.
pub(super) fn reading(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"type": ["number", "null"]}, {"enum": ["lost", "unbounded"]}]})
}

/// The kind of a gate's value.
pub(super) fn value_kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": exporter::KINDS})
}

/// A unit of the catalogue.
pub(super) fn unit(_: &mut SchemaGenerator) -> Schema {
    let mut units: Vec<_> = catalogue::all().map(|definition| exporter::unit(definition.unit)).collect();
    units.sort_unstable();
    units.dedup();
    json_schema!({"enum": units})
}

/// A comparison, or null.
pub(super) fn op(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["<", "<=", "==", "!=", ">=", ">", null]})
}

/// A verdict's or a gate's outcome.
pub(super) fn outcome(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": Outcome::ALL.map(|outcome| outcome.to_string())})
}

/// Endings of keys, and the unit that each stands for.
const UNITS: [(&str, &str); 4] =
    [("_ns", "Nanoseconds."), ("_ms", "Milliseconds."), ("_s", "Seconds."), ("_mib", "MiB.")];

/// Makes plain what the types do not say: nothing else is in there, and what a number's unit is. Formats
/// as `uint32` are no standard's, and some validators refuse them.
fn strict(schema: &mut Schema) {
    schema.remove("format");
    schema.remove("default");
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ").replace("`None`", "null");
    }
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        let unit = UNITS.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, unit)| unit);
        if let (Some(unit), Some(Value::String(description))) = (unit, property.get_mut("description")) {
            *description = format!("{description} {unit}");
        }
    }
    schema.insert("additionalProperties".into(), false.into());
}

/// The schema of a document of that type, whose `format` is from 1 to the newest.
pub(super) fn document_of<D: schemars::JsonSchema>(title: &str, urn: &str, format: u32) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<D>();
    RecursiveTransform(strict).transform(&mut schema);
    schema.insert("$id".into(), format!("{urn}:{format}").into());
    schema.insert("title".into(), title.into());
    let mut schema = schema.to_value();
    schema["properties"]["format"]["minimum"] = 1.into();
    schema["properties"]["format"]["maximum"] = format.into();
    schema
}

fn generated() -> Value {
    document_of::<exporter::Document>("loadtest summary.json", "urn:loadtest:summary", FORMAT_VERSION)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gate::Verdict;
    use crate::metrics::Summary;
    use crate::report::{Format, fixture, render};

    fn document(summary: &Summary, verdict: &Verdict) -> Value {
        let files = render(Format::Json, summary, verdict, "").unwrap();
        serde_json::from_slice(&files[0].bytes).unwrap()
    }

    /// Holds a published schema against that of the code; `UPDATE_SCHEMA=1` writes it anew.
    pub(in crate::report) fn held_against(path: &str, generated: &Value) {
        let mut text = serde_json::to_string_pretty(generated).unwrap();
        text.push('\n');
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(published == text, "{path} is behind: UPDATE_SCHEMA=1 cargo test --lib schema");
    }

    /// Keys of a schema without a description, by their places.
    pub(in crate::report) fn undescribed(schema: &Value) -> Vec<String> {
        fn add(at: &str, schema: &Value, found: &mut Vec<String>) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let (at, refers) = (format!("{at}.{name}"), property.get("$ref").is_some());
                if !property["description"].is_string() && !refers && property["properties"].is_null() {
                    found.push(at.clone());
                }
                add(&at, property, found);
            }
            for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
                add(name, definition, found);
            }
        }
        let mut found = Vec::new();
        add("", schema, &mut found);
        found
    }

    #[test]
    fn the_published_schema_is_that_of_the_code() {
        held_against("docs/summary.schema.json", &generated());
    }

    #[test]
    fn every_key_is_described() {
        let mut found = undescribed(&generated());
        // The samples' keys are the groups of metrics.
        found.retain(|at| !at.starts_with(".samples."));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn runs_of_every_kind_are_valid() {
        let validator = jsonschema::draft202012::new(&generated()).unwrap();
        let runs = [
            fixture::typical(),
            fixture::failing(),
            fixture::nothing_answered(),
            fixture::no_seconds(),
            fixture::one_second(),
            fixture::all_lost(),
            fixture::many_calls(),
            fixture::hostile(),
            fixture::faulted(),
            fixture::staged(),
            fixture::read_aloud(),
        ];
        for (n, (summary, verdict)) in runs.iter().enumerate() {
            let document = document(summary, verdict);
            let errors: Vec<_> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "run {n}: {errors:#?}");
        }
    }

    #[test]
    fn a_damaged_summary_is_refused() {
        let validator = jsonschema::draft202012::new(&generated()).unwrap();
        let (summary, verdict) = fixture::faulted();
        let whole = document(&summary, &verdict);
        let set = |pointer: &str, value: Value| {
            let mut damaged = whole.clone();
            *damaged.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
            damaged
        };
        let without = |pointer: &str, key: &str| {
            let mut damaged = whole.clone();
            let object = damaged.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
            object.remove(key).unwrap_or_else(|| panic!("{pointer} {key}"));
            damaged
        };
        let with = |pointer: &str| {
            let mut damaged = whole.clone();
            let object = damaged.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
            object.insert("other".into(), 1.into());
            damaged
        };
        let damaged = [
            set("/format", (FORMAT_VERSION + 1).into()),
            set("/verdict/outcome", "passed".into()),
            set("/verdict/gates/0/actual", 1.into()),
            set("/metrics/rtt/p50", "0.2".into()),
            set("/metrics/loss/ratio", "lost".into()),
            set("/metrics/turn/response.p95", "lost".into()),
            set("/metrics/send_lateness/max", "lost".into()),
            set("/metrics/packets/sent", (-1).into()),
            set("/metrics/packets/sent", 0.5.into()),
            set("/too_few", json!(["rtt.p98"])),
            set("/endings/0/good", 1.into()),
            set("/faults/0/done_s", Value::Null),
            set("/environment/cpus", "two".into()),
            set("/environment/leaks/parts/0/leaked", Value::Null),
            without("/metrics/rtt", "p99.9"),
            without("/metrics", "rtt"),
            without("", "verdict"),
            without("/environment", "kernel"),
            with(""),
            with("/metrics"),
            with("/metrics/rtt"),
            with("/samples"),
            with("/faults/0"),
            with("/environment/service_record/stages/bridged"),
        ];
        for (n, damaged) in damaged.iter().enumerate() {
            assert!(!validator.is_valid(damaged), "damage {n} was not seen");
        }
    }
}
