//! `junit.xml`: a case per gate, for the test page of a CI server.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::words;
use crate::diagnosis::{Finding, findings};
use crate::gate::{Extent, GateResult, Outcome, Verdict};
use crate::metrics::Summary;

/// Name of the case that stands for the run as a whole.
const RUN: &str = "the run as a whole can be judged";

/// Most endings in a line.
const MOST_ENDINGS: usize = 6;

/// One suite with a case per gate, and one for the run as a whole. A broken gate is a failure, an
/// inconclusive one an error; both have the actual value in their message, in doubt with its interval. Doubt
/// stands once, as a property of the suite.
pub(super) fn suite(summary: &Summary, verdict: &Verdict) -> Result<Vec<u8>, SerializeError> {
    let name = words::one_line(&summary.environment.name);
    let class = format!("loadtest.{name}");
    let mut suite = TestSuite::new(name);
    suite.add_property(("circumstances", words::circumstances(&summary.environment).as_str()));
    suite.add_property(("asterisk", words::one_line(&summary.environment.asterisk).as_str()));
    let doubt: Vec<_> = verdict.doubt.sentences().map(|reason| words::one_line(&reason)).collect();
    if !doubt.is_empty() {
        suite.add_property(("doubt", doubt.join("; ").as_str()));
    }
    let findings = findings(summary, verdict);
    let found = told(summary, &findings);
    let cases = verdict.gates.iter().map(|gate| (words::one_line(&gate.expression), of_gate(gate)));
    for (name, status) in cases.chain([(RUN.to_string(), of_run(verdict, &doubt, &findings))]) {
        let mut case = TestCase::new(name, status);
        case.set_classname(class.clone());
        if !matches!(case.status, TestCaseStatus::Success { .. }) {
            case.set_system_out(found.as_str());
        }
        suite.add_test_case(case);
    }
    suite.set_system_out(found);
    let mut report = Report::new("loadtest");
    report.add_test_suite(suite);
    let mut bytes = Vec::new();
    report.serialize(&mut bytes)?;
    Ok(bytes)
}

fn of_gate(gate: &GateResult) -> TestCaseStatus {
    let (expression, actual) = (words::one_line(&gate.expression), words::actual(gate));
    let reason = words::one_line(&gate.reason);
    let more = if reason.is_empty() { String::new() } else { format!("; {reason}") };
    let message = format!("{expression}: actual {actual}{more}");
    match gate.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail | Outcome::Regressed => unsuccessful(NonSuccessKind::Failure, "gate", message),
        Outcome::Inconclusive => unsuccessful(NonSuccessKind::Error, "inconclusive", message),
    }
}

/// Endings and findings as text, a line each.
fn told(summary: &Summary, findings: &[Finding]) -> String {
    let endings = words::endings(summary, MOST_ENDINGS).join("; ");
    let found = (1..).zip(findings).map(|(n, finding)| format!("{n}. {}", words::finding(finding)));
    let lines = std::iter::once(format!("calls: {endings}")).chain(found);
    lines.map(|line| words::one_line(&line)).collect::<Vec<_>>().join("\n")
}

/// The run as a whole proves nothing only where no gate says so: it broke, or measured no packet.
fn of_run(verdict: &Verdict, doubt: &[String], findings: &[Finding]) -> TestCaseStatus {
    let any_gate = verdict.gates.iter().any(|gate| gate.outcome == Outcome::Inconclusive);
    match verdict.outcome {
        Outcome::Inconclusive if !any_gate || verdict.doubt.extent == Extent::Everything => {
            let first = findings.first().map(|finding| words::one_line(&finding.what));
            let reasons: Vec<_> = doubt.iter().cloned().chain(first).collect();
            unsuccessful(NonSuccessKind::Error, "inconclusive", reasons.join("; "))
        }
        _ => TestCaseStatus::success(),
    }
}

pub(super) fn unsuccessful(kind: NonSuccessKind, ty: &str, message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(message);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_case_per_gate_with_the_actual_value() {
        let (summary, mut verdict) = fixture::typical();
        verdict.gates[0].outcome = Outcome::Fail;
        verdict.gates[1].outcome = Outcome::Inconclusive;
        verdict.gates[1].reason = "rests on 500 samples, 10000 are needed".into();
        let text = String::from_utf8(suite(&summary, &verdict).unwrap()).unwrap();
        insta::assert_snapshot!("junit", text);
        let report = Report::deserialize_from_str(&text).unwrap();
        assert_eq!(report.tests, verdict.gates.len() + 1);
        assert_eq!((report.failures, report.errors), (1, 1));
    }

    #[test]
    fn hostile_text_stays_text() {
        let (summary, verdict) = fixture::hostile();
        let text = String::from_utf8(suite(&summary, &verdict).unwrap()).unwrap();
        assert!(!text.contains("<script"), "{text}");
        Report::deserialize_from_str(&text).unwrap();
    }
}
