//! Registrations that did not come about, or could not be kept fresh.

use super::{Finding, Seen, quoted};
use crate::record::RegisterRecord;
use crate::values::counted;

/// Most distinct reasons that are told.
const MOST_REASONS: usize = 3;

const UNANSWERED: &str = "registration_unanswered";

/// The registrations that failed, by the reason that most of them have.
pub(super) fn failed(seen: &Seen<'_>) -> Vec<Finding> {
    let Some(register) = seen.environment.register.as_ref() else { return Vec::new() };
    // Of equal ones the first.
    let Some(main) = register.failures.iter().rev().max_by_key(|line| line.count) else { return Vec::new() };
    let (failed, stale) = (register.failed, register.refresh_failed);
    let what = match (failed, stale) {
        (0, 0) => return Vec::new(),
        (0, stale) => format!("{} could not be kept fresh", counted(stale, "registration")),
        (failed, 0) => format!("{failed} of {} failed", counted(register.attempts, "registration")),
        (failed, stale) => format!(
            "{failed} of {} failed, and {stale} times one could not be kept fresh",
            counted(register.attempts, "registration")
        ),
    };
    let (name, cause, cure) = match meaning(register, &main.text) {
        // Over connections nothing is dropped.
        (name, _, cure) if name == UNANSWERED && register.registered > 0 && seen.is_over_stream() => {
            (name, "the registrar does not keep up with the rate", cure)
        }
        meaning => meaning,
    };
    let told =
        register.failures.iter().take(MOST_REASONS).map(|line| format!("{} ({})", line.text, line.count));
    let told = told.collect::<Vec<_>>().join(", ");
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    vec![Finding {
        name,
        what,
        seen: format!(
            "the registrar's answers: {told}{}",
            quoted("Asterisk's log", seen.observed.asterisk_log.first())
        ),
        cause: cause.into(),
        cure: cure.into(),
        weight: share(failed, register.attempts).max(share(stale, stale + register.refreshed)),
    }]
}

/// Name, likeliest cause and cure of a failure: it begins with the status of the answer where there was one.
fn meaning(register: &RegisterRecord, text: &str) -> (&'static str, &'static str, &'static str) {
    let status = text.get(..3).and_then(|digits| digits.parse::<u16>().ok());
    match status {
        Some(401 | 403 | 407) => (
            "registration_refused",
            "the registrar does not know these users, or not with these passwords, or lets no more contacts register for them",
            "compare users and passwords of sip.accounts (without it SIP_USER and SIP_PASS) with the `auth` sections of its \
             endpoints; in Asterisk the endpoint's `aors` names a section of type aor with max_contacts above 0 and \
             remove_existing = yes",
        ),
        Some(404 | 604) => (
            "registration_unknown",
            "the registrar knows no such address of record, or serves no such domain",
            "set sip.domain to the domain that it serves; in Asterisk the endpoint's `aors` and the section of type aor have \
             the user's name",
        ),
        Some(423) => (
            "registration_brief",
            "the registrar takes registrations for a longer time only, and does not say for how long",
            "raise sip.register_expires (in Asterisk `minimum_expiration` of the aor)",
        ),
        Some(_) => (
            "registration_failed",
            "the registrar refuses registrations, for the reason that its answer names",
            "see its log; where it is overloaded (500, 503), lower sip.register_rate",
        ),
        None if text.contains("cannot be read") => (
            "registration_unreadable",
            "the registrar, or what rewrites SIP on the way (ALG), sends what breaks RFC 3261",
            "mend there what the reason names; a capture on the SIP port shows the message as it came",
        ),
        None if text.contains(" connection ") => (
            "registration_unreachable",
            "the connection to the registrar could not be opened, or has ended",
            "look in its log for that moment; lower sip.register_rate, if it closes connections under load",
        ),
        None if register.registered == 0 => (
            UNANSWERED,
            "nothing at asterisk.sip takes registrations, or its answers do not find back",
            "see that a registrar runs there (in Asterisk res_pjsip_registrar), and that sip.local is the address under which \
             it reaches this machine",
        ),
        None => (
            UNANSWERED,
            "the registrar does not keep up with the rate, or the network drops datagrams",
            "lower sip.register_rate, or raise sip.setup_timeout, which bounds the wait for an answer",
        ),
    }
}
