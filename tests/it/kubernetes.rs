//! The manifests for Kubernetes, held against the schemas of two of its versions, without a cluster.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{Place, cache};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/distributed/kubernetes.yaml");
/// The first version that is looked at, and the latest whose schemas the validator has.
const VERSIONS: [&str; 2] = ["1.35", "1.37"];

fn validated(manifest: &Path, version: &str) -> Output {
    let packages = cache().join("kubernetes-validate-1.37.0");
    assert!(packages.exists(), "it is not there; tests/install.sh kubernetes-validate unpacks it");
    let mut command = Command::new("python3");
    command.args(["-m", "kubernetes_validate", "--strict", "-k", version]).arg(manifest);
    command.env("PYTHONPATH", packages).stdin(Stdio::null()).output().expect("python3 starts")
}

#[test]
fn the_manifests_are_valid_in_two_versions_of_kubernetes_and_a_misspelt_key_is_not() {
    let place = Place::new();
    let text = fs::read_to_string(MANIFEST).expect("the example");
    let documents = text.split("\n---\n").filter(|part| part.contains("kind:")).count();
    let broken = place.path("broken.yaml");
    let misspelt = text.replacen("completionMode:", "completionsMode:", 1);
    assert_ne!(misspelt, text);
    fs::write(&broken, misspelt).expect("it is written");
    for version in VERSIONS {
        let valid = validated(Path::new(MANIFEST), version);
        let said =
            String::from_utf8_lossy(&valid.stdout).into_owned() + &String::from_utf8_lossy(&valid.stderr);
        assert!(valid.status.success(), "{version}: {said}");
        assert_eq!(said.lines().filter(|line| line.contains(" passed ")).count(), documents, "{said}");
        assert!(!validated(&broken, version).status.success(), "{version} takes a key that there is not");
    }
}

/// What the job and its drivers agree on: the barrier needs all at once, and a driver that comes again is too late.
#[test]
fn the_job_starts_all_drivers_at_once_and_none_again() {
    let text = fs::read_to_string(MANIFEST).expect("the example");
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).expect("the key is there");
        line.trim().trim_matches('"').parse::<u32>().expect("a number")
    };
    assert_eq!(number("completions:"), number("parallelism:"));
    assert_eq!(number("backoffLimit:"), 0);
    assert!(text.contains("completionMode: Indexed") && text.contains("restartPolicy: Never"));
    let count = text.split("LOADTEST_SHARDS").nth(1).expect("it is set");
    let value = count.split("value:").nth(1).expect("a value").lines().next().expect("a line");
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(digits.parse(), Ok(number("completions:")));
}
