//! `junit.xml`: a case per gate, for the test page of a CI server.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::words;
use crate::gate::{Extent, GateResult, Outcome, Verdict};
use crate::metrics::Summary;

/// Name of the case that stands for the run as a whole.
const RUN: &str = "the run as a whole can be judged";

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
    let cases = verdict.gates.iter().map(|gate| (words::one_line(&gate.expression), of_gate(gate)));
    for (name, status) in cases.chain([(RUN.to_string(), of_run(verdict, &doubt))]) {
        let mut case = TestCase::new(name, status);
        case.set_classname(class.clone());
        suite.add_test_case(case);
    }
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

/// The run as a whole proves nothing only where no gate says so: it broke, or measured no packet.
fn of_run(verdict: &Verdict, doubt: &[String]) -> TestCaseStatus {
    let any_gate = verdict.gates.iter().any(|gate| gate.outcome == Outcome::Inconclusive);
    match verdict.outcome {
        Outcome::Inconclusive if !any_gate || verdict.doubt.extent == Extent::Everything => {
            unsuccessful(NonSuccessKind::Error, "inconclusive", doubt.join("; "))
        }
        _ => TestCaseStatus::success(),
    }
}

fn unsuccessful(kind: NonSuccessKind, ty: &str, message: String) -> TestCaseStatus {
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
