//! Calls that were answered, and never came to the service that was to answer them.

use super::{Finding, Seen};

/// Calls that the far end answered by itself: the built-in service counts its callers, and there was none.
pub(super) fn bypassed(seen: &Seen<'_>) -> Vec<Finding> {
    let Some(record) = seen.environment.service_record.as_ref() else { return Vec::new() };
    let answered = seen.calls.iter().filter(|call| call.ending.was_answered()).count();
    let has_callers = record.calls.total + record.calls.unheeded > 0;
    // Of calls that hear nothing ARI may have said so already.
    let is_outside = |ari: &crate::record::AriState| ari.callers > 0 && ari.outside >= ari.callers;
    let is_told =
        seen.calls.iter().any(|call| call.is_silent()) && seen.observed.ari.as_ref().is_some_and(is_outside);
    if has_callers || answered == 0 || is_told || !seen.environment.faults.is_empty() {
        return Vec::new();
    }
    let (app, to) = (&seen.observed.setup.app, &seen.observed.setup.to);
    vec![Finding {
        seen: "the service's own counts (calls.total 0)".into(),
        cause: format!(
            "the calls did not reach the application `{app}`: the dialplan answers `{to}` itself, or gives it to another \
             application, or another service of that name took them"
        ),
        cure: format!(
            "have the extension of sip.to (`{to}`) run Stasis({app}), or set service.app or sip.to to what the dialplan says; \
             where Asterisk is to echo by itself, set service.mode = \"none\""
        ),
        ..seen.over(
            "application_bypassed",
            answered,
            "were answered, and the built-in service had none of them",
        )
    }]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, healthy};
    use crate::record::{AriState, ServiceRecord};

    #[test]
    fn calls_that_an_extension_answers_by_itself_are_told_of_though_they_are_heard() {
        let mut run = healthy();
        run.environment.service_record = Some(ServiceRecord::default());
        let found_first = found(run.clone()).remove(0);
        assert_eq!(found_first.name, "application_bypassed");
        assert_eq!(found_first.what, "all 10 calls were answered, and the built-in service had none of them");
        assert!(found_first.cause.contains("did not reach the application `echo`"), "{}", found_first.cause);
        assert!(found_first.cure.contains("(`4711`) run Stasis(echo)"), "{}", found_first.cure);
        let mut served = run.clone();
        served.environment.service_record.as_mut().unwrap().calls.total = 10;
        assert_eq!(found(served), []);
        // Silent as well, it is told once.
        run.calls.iter_mut().for_each(|call| (call.total_received, call.received) = (0, 0));
        let outside = AriState { callers: 10, outside: 10, ..AriState::default() };
        run.environment.observed.ari = Some(outside);
        let names: Vec<_> = found(run).iter().map(|finding| finding.name).collect();
        assert_eq!(names, ["not_in_application"]);
    }
}
