//! `junit.xml`: a case per gate, for the test page of a CI server.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{ReportError, words};
use crate::gate::{GateResult, Outcome, Verdict};
use crate::metrics::Summary;

/// Name of the case that says whether the instrument can be believed.
const INSTRUMENT: &str = "the instrument can be trusted";

/// One suite with a case per gate, and one for the instrument. A broken gate is a failure, an
/// inconclusive one an error; both have the actual value in their message.
pub(super) fn suite(summary: &Summary, verdict: &Verdict) -> Result<Vec<u8>, ReportError> {
    let name = words::one_line(&summary.environment.name);
    let class = format!("loadtest.{name}");
    let mut suite = TestSuite::new(name);
    suite.add_property(("circumstances", words::circumstances(&summary.environment).as_str()));
    suite.add_property(("asterisk", words::one_line(&summary.environment.asterisk).as_str()));
    let distrust = verdict.distrust.iter().map(|reason| words::one_line(reason)).collect::<Vec<_>>();
    let cases = verdict.gates.iter().map(|gate| (words::one_line(&gate.expression), of_gate(gate)));
    for (name, status) in cases.chain([(INSTRUMENT.to_string(), of_instrument(&distrust))]) {
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
    let (expression, actual) = (words::one_line(&gate.expression), words::one_line(&gate.actual));
    let reason = words::one_line(&gate.reason);
    match gate.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail | Outcome::Regressed => {
            let more = if reason.is_empty() { String::new() } else { format!(", {reason}") };
            unsuccessful(NonSuccessKind::Failure, "gate", format!("{expression}: actual {actual}{more}"))
        }
        Outcome::Inconclusive => {
            let message = format!("{expression}: actual {actual}; {reason}");
            unsuccessful(NonSuccessKind::Error, "inconclusive", message)
        }
    }
}

fn of_instrument(distrust: &[String]) -> TestCaseStatus {
    match distrust {
        [] => TestCaseStatus::success(),
        reasons => unsuccessful(NonSuccessKind::Error, "inconclusive", reasons.join("; ")),
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
