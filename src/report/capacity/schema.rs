//! Holds `docs/capacity.schema.json` against the types that are written.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::figures::KeyFigure;
use super::sources::{ENDINGS, FORMAT};
use super::{CapacityReport, FIGURES};
use crate::metrics::{Definition, catalogue};
use crate::report::schema::document_of;
use crate::values::Unit;

pub(super) fn kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["calls", "rate"]})
}

pub(super) fn ending(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ENDINGS})
}

pub(super) fn length(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["short", "full"]})
}

pub(super) fn ended(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["planned", "by_gate", "broke", "interrupted"]})
}

/// A figure: a number, `lost`, or null.
pub(super) fn value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [{"type": ["number", "null"]}, {"const": "lost"}]})
}

/// The case in which a figure is `lost`: that of its metric, whose name it has with other marks.
fn lost_where(figure: &str) -> Option<&'static str> {
    let is_its = |metric: &&Definition| format!("{}_ms", metric.name.replace('.', "_")) == figure;
    catalogue::all().find(is_its)?.lost_where()
}

/// Every key figure of the table.
pub(super) fn figures(_: &mut SchemaGenerator) -> Schema {
    let of = |figure: &KeyFigure| {
        let KeyFigure { name, unit, help, .. } = *figure;
        match (unit, lost_where(name)) {
            (Unit::Count, _) => {
                json!({"description": format!("{help}."), "type": "integer", "minimum": 0})
            }
            (Unit::Ratio, _) => {
                json!({"description": format!("{help}. A ratio: 1 is all of them."), "type": ["number", "null"]})
            }
            (Unit::Ms, None) => json!({"description": format!("{help}."), "type": ["number", "null"]}),
            (Unit::Ms, Some(lost_where)) => json!({
                "description": format!("{help}; lost {lost_where}."),
                "anyOf": [{"type": ["number", "null"]}, {"const": "lost"}],
            }),
            _ => {
                json!({"description": format!("{help}, in cores: 1 is one core, busy all the time."), "type": ["number", "null"]})
            }
        }
    };
    let figures: Map<_, _> = FIGURES.iter().map(|figure| (figure.name.to_string(), of(figure))).collect();
    let required: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
    json_schema!({"type": "object", "properties": figures, "required": required})
}

fn generated() -> Value {
    document_of::<CapacityReport>("loadtest capacity.json", "urn:loadtest:capacity", FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::capacity::{fixture, render};
    use crate::report::schema::tests::{held_against, undescribed};
    use crate::report::{Format, capacity::read};

    fn document(report: &CapacityReport) -> Value {
        let files = render(Format::Json, report).unwrap();
        serde_json::from_slice(&files[0].bytes).unwrap()
    }

    #[test]
    fn the_published_schema_is_that_of_the_code() {
        held_against("docs/capacity.schema.json", &generated());
    }

    #[test]
    fn every_key_is_described() {
        let found = undescribed(&generated());
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn searches_of_every_kind_are_valid_and_read_back() {
        let validator = jsonschema::draft202012::new(&generated()).unwrap();
        for (n, report) in fixture::all().iter().enumerate() {
            let document = document(report);
            let errors: Vec<_> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "search {n}: {errors:#?}");
            assert_eq!(read(&document.to_string()).as_ref(), Ok(report), "search {n}");
        }
    }

    #[test]
    fn only_what_ranks_lost_packets_may_be_lost() {
        let validator = jsonschema::draft202012::new(&generated()).unwrap();
        let whole = document(&fixture::conversation());
        let is_number = |name: &str| whole["trials"][0]["figures"][name].is_number();
        assert!(is_number("turn_response_mean_ms") && is_number("srd_p50_ms"), "{}", whole["trials"][0]);
        for figure in FIGURES.iter().filter(|figure| figure.unit == Unit::Ms) {
            let mut lost = whole.clone();
            lost["trials"][0]["figures"][figure.name] = "lost".into();
            let may_be = figure.name.starts_with("rtt_");
            assert_eq!(validator.is_valid(&lost), may_be, "{}", figure.name);
        }
    }

    #[test]
    fn a_damaged_document_is_refused() {
        let validator = jsonschema::draft202012::new(&generated()).unwrap();
        let whole = document(&fixture::typical());
        let set = |pointer: &str, value: Value| {
            let mut damaged = whole.clone();
            *damaged.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
            damaged
        };
        let damaged = [
            set("/format", (FORMAT + 1).into()),
            set("/kind", "erlang".into()),
            set("/goals/0/lower", "187".into()),
            set("/goals/0/ending", "lucky".into()),
            set("/trials/0/figures/rtt_p99_ms", "slow".into()),
            set("/trials/0/figures", json!({})),
            set("/trials/0/outcomes/0/outcome", "pass".into()),
            set("/environment/cpus", "two".into()),
            set("/settings/width_ratio", "5%".into()),
        ];
        for (n, damaged) in damaged.iter().enumerate() {
            assert!(!validator.is_valid(damaged), "damage {n} was not seen");
            assert!(read(&damaged.to_string()).is_err(), "damage {n} was read");
        }
        // Rules beyond the schema.
        let odd = [
            set("/trials/0/folder", "../../etc".into()),
            set("/trials/0/folder", "javascript:alert(1)".into()),
            set("/trials/0/load", json!(-1)),
            set("/trials/0/load", json!(1e300)),
            set("/trials/0/figures/rtt_p50_ms", json!(-0.1)),
            set("/goals/0/per_core", json!(1e300)),
            set("/goals", json!([])),
        ];
        for (n, odd) in odd.iter().enumerate() {
            let said = read(&odd.to_string()).unwrap_err().to_string();
            assert!(said.starts_with("capacity.json is damaged: "), "{n}: {said}");
        }
    }
}
