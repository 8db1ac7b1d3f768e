//! One call, step by step: what happened at each, up to the first that failed.

use crate::metrics::Summary;
use crate::record::{CallRecord, Ending, Environment, FirstCall, Observed, SipAnswer};
use crate::values::{Ns, Unit, Value, counted, show};

/// A step of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// True if it went as it should; `None` where nobody can tell.
    pub good: Option<bool>,
    /// What happened.
    pub said: String,
}

/// The steps of a run's first call. Behind one that failed there are none, but that a call is placed for an account that
/// is not registered as well.
pub fn steps(summary: &Summary) -> Vec<Step> {
    let environment = &summary.environment;
    let mut steps: Vec<Step> = registration(environment).into_iter().collect();
    let Some(call) = summary.calls.first() else {
        let said = "none could be placed".to_string();
        steps.push(Step { name: "INVITE", good: Some(false), said });
        return steps;
    };
    let call = OneCall { call, environment, observed: &environment.observed };
    let all = [
        call.reached(),
        call.login(),
        call.answer(),
        call.description(),
        call.application(),
        call.bridge(),
        call.echo(),
        call.hang_up(),
    ];
    for step in all.into_iter().flatten() {
        let failed = step.good == Some(false);
        // Without an echo the rest of the call is still of interest.
        let ends = failed && !matches!(step.name, "echo" | "bridge" | "application");
        steps.push(step);
        if ends {
            break;
        }
    }
    steps
}

/// The registration before the call, where one is wanted.
fn registration(environment: &Environment) -> Option<Step> {
    let register = environment.register.as_ref()?;
    let user = match environment.observed.setup.user.as_str() {
        "" => String::new(),
        user => format!(" as `{user}`"),
    };
    if let Some(failure) = register.failures.first().filter(|_| register.failed > 0) {
        return step("register", false, format!("not registered{user}: {}", failure.text));
    }
    match register.registered {
        0 => step("register", None, "not known: the run ended before there was an answer".into()),
        _ => {
            let took = register.time.milliseconds().p50_ms;
            let took = took.map_or("?".into(), |ms| show(Value::Number(ms), Unit::Ms));
            step("register", true, format!("registered{user} after {took}"))
        }
    }
}

struct OneCall<'a> {
    call: &'a CallRecord,
    environment: &'a Environment,
    observed: &'a Observed,
}

fn step(name: &'static str, good: impl Into<Option<bool>>, said: String) -> Option<Step> {
    Some(Step { name, good: good.into(), said })
}

fn ms(time: Option<Ns>) -> String {
    time.map_or("?".into(), |time| show(Value::Number(time.as_ms()), Unit::Ms))
}

impl OneCall<'_> {
    fn first(&self) -> &FirstCall {
        &self.observed.first_call
    }

    fn reached(&self) -> Option<Step> {
        // Of several targets the first call goes to the first.
        let target = self.environment.targets.first().unwrap_or(&self.observed.setup.target);
        match self.first().answers.first() {
            Some(SipAnswer { status, reason, .. }) => {
                let over = match self.environment.transport.as_str() {
                    "" => String::new(),
                    transport => format!(" over {transport}"),
                };
                step("SIP", true, format!("{target} answers the INVITE{over} with {status} {reason}"))
            }
            None => match self.observed.unreadable.first() {
                Some(line) => {
                    step("SIP", false, format!("{target} answers, but cannot be read: {}", line.text))
                }
                None => step("SIP", false, format!("{target} does not answer the INVITE")),
            },
        }
    }

    fn login(&self) -> Option<Step> {
        let (realm, user) = (&self.first().realm, &self.observed.setup.user);
        if self.call.ending == Ending::AuthFailed {
            let reason = &self.call.reason;
            // A refusal names the realm itself.
            let is_told = realm.is_empty() || reason.contains(&format!("realm `{realm}`"));
            let asked = if is_told { String::new() } else { format!("asked for by realm `{realm}`: ") };
            return step("login", false, format!("{asked}{reason}"));
        }
        if realm.is_empty() {
            return step("login", true, "not asked for".into());
        }
        step("login", true, format!("challenged, and let in as `{user}` (realm `{realm}`)"))
    }

    fn answer(&self) -> Option<Step> {
        let call = self.call;
        if call.ending.was_answered() {
            return step("answer", true, format!("200 after {}", ms(call.answer_delay_ms)));
        }
        let said = match (call.ending, call.status) {
            (Ending::BadAnswer, _) => return None,
            (_, Some(status)) => format!("{status} {}", call.reason),
            (ending, None) => format!("{}: {}", ending.name().replace('_', " "), call.reason),
        };
        step("answer", false, said)
    }

    fn description(&self) -> Option<Step> {
        let first = self.first();
        if self.call.ending == Ending::BadAnswer {
            return step("SDP", false, self.call.reason.clone());
        }
        let format = first.payload_type.map_or(String::new(), |n| format!(", payload type {n}"));
        step("SDP", true, format!("{}{format}, media to {}", self.environment.media(), first.media))
    }

    fn application(&self) -> Option<Step> {
        if !self.observed.setup.has_application() {
            return None;
        }
        let app = &self.observed.setup.app;
        let entered = match (&self.observed.ari, &self.environment.service_record) {
            (Some(ari), _) if ari.callers > 0 => Some(ari.outside < ari.callers),
            (_, Some(record)) => Some(record.calls.total > 0),
            _ => None,
        };
        match entered {
            Some(true) => step("application", true, format!("the caller is in Stasis, in `{app}`")),
            Some(false) => step("application", false, format!("the caller did not enter `{app}`")),
            None => step("application", None, format!("not known: ARI was not asked about `{app}`")),
        }
    }

    fn bridge(&self) -> Option<Step> {
        if !self.observed.setup.has_application() {
            return None;
        }
        match (&self.observed.ari, &self.environment.service_record) {
            (Some(ari), _) if ari.callers > 0 => {
                let good = ari.unbridged == 0 && ari.media_unbridged == 0 && ari.lone_bridges == 0;
                let said = match (ari.unbridged, ari.media) {
                    (0, _) if good => "caller and media are in one bridge (ARI)",
                    (0, _) => "the caller is in a bridge without its media (ARI)",
                    (_, 0) => "the caller is in no bridge, and there is no external channel (ARI)",
                    _ => "the caller is in no bridge (ARI)",
                };
                step("bridge", good, said.into())
            }
            (_, Some(record)) if record.calls.bridged > 0 => {
                step("bridge", true, "caller and media are in one bridge (the service says so)".into())
            }
            (_, Some(_)) => step("bridge", false, "the service did not bridge the caller".into()),
            _ => step("bridge", None, "not known: ARI was not asked".into()),
        }
    }

    fn echo(&self) -> Option<Step> {
        let call = self.call;
        let (sent, back) = (call.total_sent, call.total_received);
        let packets = counted(sent, "packet");
        if back > 0 {
            let rtt = ms(call.rtt_min_ms);
            let FirstCall { media, heard_from, .. } = self.first();
            let from = match heard_from.as_str() {
                "" => String::new(),
                from if from == media => format!(", from {from}"),
                from => format!(", from {from}, not {media} as the SDP of the answer says"),
            };
            return step("echo", true, format!("{back} of {packets} came back{from}, the fastest in {rtt}"));
        }
        if sent == 0 && call.holds > 0 {
            return step("echo", true, "the far end has put the call on hold, and nothing was sent".into());
        }
        let said = match (call.corrupted, self.observed.unmatched) {
            _ if call.refused > 0 => {
                let FirstCall { media, heard_from, .. } = self.first();
                format!(
                    "none of {packets} counts: they came from {heard_from}, not {media} as the SDP of the answer says, \
                     which media.source = \"sdp\" refuses"
                )
            }
            (0, 0) => format!("none of {packets} came back"),
            (0, n) => format!(
                "none of {packets} came back; {n} datagrams came to ports of this machine that nobody has open"
            ),
            (n, _) => format!("of {packets} {n} came back, none of them as it was sent"),
        };
        step("echo", false, said)
    }

    fn hang_up(&self) -> Option<Step> {
        let call = self.call;
        match call.ending {
            Ending::Completed => {
                let after = call.sdd_ms.map(|sdd| format!(" after {}", ms(Some(sdd)))).unwrap_or_default();
                step("hang-up", true, format!("BYE was agreed to{after}"))
            }
            ending => step("hang-up", false, format!("{}: {}", ending.name().replace('_', " "), call.reason)),
        }
    }
}
