//! `junit.xml` of a search: a case for each requirement.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{CapacityReport, Required, RequiredOutcome, words};
use crate::report::junit::unsuccessful;
use crate::report::words::one_line;

/// One suite. A requirement that fails is a failure, one that the bounds leave open an error; both have the answer in
/// their message.
pub(super) fn suite(report: &CapacityReport) -> Result<Vec<u8>, SerializeError> {
    let name = one_line(&report.name);
    let class = format!("loadtest.{name}");
    let answers: Vec<_> =
        report.goals.iter().map(|goal| one_line(&format!("{}: {}", goal.goal, goal.sentence))).collect();
    let answers = answers.join("\n");
    let mut suite = TestSuite::new(name);
    suite.add_property(("circumstances", words::circumstances(report).as_str()));
    suite.add_property(("asterisk", one_line(&report.environment.asterisk).as_str()));
    for required in &report.requirements {
        let mut case = TestCase::new(one_line(&required.expression), status(report, required));
        case.set_classname(class.clone());
        if required.outcome != RequiredOutcome::Pass {
            case.set_system_out(answers.as_str());
        }
        suite.add_test_case(case);
    }
    suite.set_system_out(answers);
    let mut document = Report::new("loadtest");
    document.add_test_suite(suite);
    let mut bytes = Vec::new();
    document.serialize(&mut bytes)?;
    Ok(bytes)
}

fn status(report: &CapacityReport, required: &Required) -> TestCaseStatus {
    let answer = report.goals.iter().find(|goal| goal.goal == required.goal);
    let found = answer.map_or("the search has no such goal", |goal| &goal.sentence);
    let message = one_line(&format!("{}: {found}", required.expression));
    match required.outcome {
        RequiredOutcome::Pass => TestCaseStatus::success(),
        RequiredOutcome::Fail => unsuccessful(NonSuccessKind::Failure, "capacity", message),
        RequiredOutcome::Inconclusive => unsuccessful(NonSuccessKind::Error, "inconclusive", message),
    }
}
