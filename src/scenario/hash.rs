//! Hash of a scenario: equal for runs whose figures may be held against each other.

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::Scenario;
use crate::impair::Impairment;

/// Tables and keys that change no packet: the name of a run, and the rules by which its figures are judged
/// afterwards, those by which a search chooses its runs, and what is kept of calls for people to look at. Who tightens a
/// gate keeps the baseline.
const NOT_HASHED: [&str; 5] = ["name", "gates", "limits", "search", "capture"];

impl Scenario {
    /// SHA-256, in hexadecimal, over the keys that differ from their defaults, in the order of their names.
    ///
    /// A default that is spelled out changes nothing, and a key that a later version adds keeps the hashes
    /// of scenarios that do not set it. A fault is hashed as a whole, so a key added to it must not be
    /// serialised at its default.
    pub fn hash(&self) -> String {
        let mut text = String::new();
        for (key, value) in differing(self) {
            text.push_str(&format!("{key} = {value}\n"));
        }
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Every key that differs from its default, with its value.
fn differing(scenario: &Scenario) -> Vec<(String, Value)> {
    let mut defaults = Scenario::default();
    // An impaired direction in which nothing happens is one that is not impaired.
    defaults.impair.out = Some(Impairment::default());
    defaults.impair.back = Some(Impairment::default());
    let mut found = Vec::new();
    collect(&table(scenario), &table(&defaults), "", &mut found);
    found.retain(|(key, _)| !NOT_HASHED.contains(&key.split('.').next().unwrap_or_default()));
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn table(scenario: &Scenario) -> Table {
    // Invariant: every field has a TOML form; the round trip is tested.
    Table::try_from(scenario).expect("a scenario is valid TOML")
}

fn collect(ours: &Table, defaults: &Table, under: &str, found: &mut Vec<(String, Value)>) {
    for (key, value) in ours {
        let path = if under.is_empty() { key.clone() } else { format!("{under}.{key}") };
        match (value, defaults.get(key)) {
            (Value::Table(inner), Some(Value::Table(defaults))) => collect(inner, defaults, &path, found),
            (value, default) if Some(value) != default => found.push((path, value.clone())),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Override, Resolved};
    use super::*;

    fn hash(text: &str) -> String {
        toml::from_str::<Scenario>(text).unwrap_or_else(|e| panic!("{text}: {e}")).hash()
    }

    /// A scenario of defaults in which every optional key is set as well.
    fn full() -> Table {
        let mut scenario = Scenario::default();
        scenario.impair.out = Some(Impairment::default());
        scenario.impair.back = Some(Impairment::default());
        scenario.speech.say = vec!["hello".into()];
        let mut full = table(&scenario);
        let optional = r#"
            service = { command = ["node"], echo = "127.0.0.1:4000", delay = "1ms", codec = "G722", talk = { delay = "1s", delay_to = "2s", yields_after = "1s", filler = false, between = "nothing", ends = true } }
            asterisk = { sip = "pbx:5060", ari = "http://pbx:8088", ari_port = 8088, jitter_buffer = "fixed" }
            load = { call_duration = "10s" }
            sip = { session_expires = "30m", tls = { ca = "ca", certificate = "c", key = "k", server_name = "n", insecure = false } }
            measure = { shared_clock = true, control_streams = 3 }
            search = { min = 5, max = 50, time_limit = "1h" }
        "#;
        for (name, keys) in optional.parse::<Table>().unwrap() {
            full[&name].as_table_mut().unwrap().extend(keys.as_table().unwrap().clone());
        }
        full
    }

    /// Every path to a value.
    fn leaves(table: &Table, under: &str, found: &mut Vec<String>) {
        for (key, value) in table {
            let path = if under.is_empty() { key.clone() } else { format!("{under}.{key}") };
            match value {
                Value::Table(inner) => leaves(inner, &path, found),
                _ => found.push(path),
            }
        }
    }

    /// A scenario of defaults but for `path`.
    fn with(path: &str, value: &str) -> Option<Scenario> {
        toml::from_str(&format!("{path} = {value}")).ok()
    }

    #[test]
    fn a_default_spelled_out_changes_nothing() {
        let defaults = Scenario::default();
        assert_eq!(
            toml::from_str::<Scenario>(&toml::to_string(&defaults).unwrap()).unwrap().hash(),
            hash("")
        );
        assert_eq!(hash("[load]\ncalls = 1"), hash(""));
        assert_eq!(hash("[impair.out]\nloss = '0%'"), hash(""), "nothing happens to any packet");
        assert_eq!(hash("load.duration = '60s'"), hash("load.duration = '1m'"), "one value, two spellings");
        let (one, other) = ("[load]\ncalls = 2\nramp = '5/s'\n", "[media]\ncodec = 'PCMA'\n");
        assert_eq!(hash(&format!("{one}{other}")), hash(&format!("{other}{one}")), "in any order");
    }

    #[test]
    fn every_key_but_name_and_judgement_changes_the_hash() {
        let values = [
            "true",
            "7",
            "2.5",
            "[3]",
            "['x']",
            "'x'",
            "'3s'",
            "'7/s'",
            "'7%'",
            "'31002-32000'",
            "'127.0.0.9'",
            "'127.0.0.9:77'",
            "'external'",
            "'callee'",
            "'PCMA'",
            "'aligned'",
            "'AES_CM_128_HMAC_SHA1_32'",
            "'rate'",
            "'poisson'",
            "'tcp'",
            "'sdp'",
            "'websocket'",
            "'conversation'",
            "'silence'",
            "'softmix'",
            "'adaptive'",
        ];
        let mut keys = Vec::new();
        leaves(&full(), "", &mut keys);
        assert!(keys.len() > 50, "{keys:?}");
        let plain = Scenario::default();
        let mut seen = BTreeSet::from([plain.hash()]);
        for key in keys {
            let mut changed: Vec<_> = values
                .iter()
                .filter_map(|value| with(&key, value))
                .filter(|changed| *changed != plain)
                .collect();
            // One in a list is one.
            changed.dedup();
            assert!(!changed.is_empty(), "no value changes {key}");
            let is_hashed = !NOT_HASHED.contains(&key.split('.').next().unwrap());
            for scenario in changed {
                assert_eq!(seen.insert(scenario.hash()), is_hashed, "{key}");
            }
        }
        assert_ne!(hash("[[fault]]\nat = '1s'\ntarget = 'service'\naction = 'kill'"), hash(""));
    }

    /// Pinned: a hash that changes makes every stored baseline useless.
    #[test]
    fn hashes_of_stored_runs_stay_valid() {
        assert_eq!(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let smoke = Resolved::read("load.calls = 3", "x", &[Override::set("load.ramp=5/s")]).unwrap();
        assert_eq!(smoke.scenario.hash(), "769ee671c31aa72f46da55cb271b3418d8cd8d9eb08c5729adbfe1908268b893");
    }
}
