//! The OPTIONS probe: asks a SIP target whether it is alive and takes our credentials, repeated as RFC 3261 says.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::targets::resolve_all;
use super::wire::wire;
use super::{RunError, RunPlan};
use crate::clock;
use crate::driver::{Named, Names, Wire};
use crate::scenario::{AsteriskMode, Scenario, Transport};
use crate::sip::digest::{AuthError, Challenge};
use crate::sip::message::Message;
use crate::sip::options::Options;
use crate::sip::{Heard, Unreadable, hear};
use crate::values::cut;

/// Pauses before the request is sent again, and before it is given up (RFC 3261 17.1.2.2: T1 doubles).
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(1500)];
const DATAGRAM: usize = 65_535;
/// Most bytes of an answer's words that are told: its phrase, its realm, or the fault that keeps it from being read.
const MOST_WORDS: usize = 256;

/// The result of a probe.
pub enum ProbeResult {
    /// The last answer, and what came of the credentials.
    Answered {
        /// Status code.
        status: u16,
        /// Reason phrase.
        reason: String,
        /// User of the Request-URI, as calls have it.
        callee: String,
        /// Outcome of the credentials.
        login: Login,
    },
    /// No answer came back, with the time waited.
    Silent(String),
    /// Answers came back, and could not be read; the first one, and its fault.
    Unreadable(String),
    /// The system reports that nobody can have received it, with its reason.
    Unreachable(String),
    /// The connection could not be opened, or has ended, with the reason.
    Unconnected(String),
}

/// Credentials in a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Not asked for: an INVITE may still be.
    NotAsked,
    /// Taken, in this realm.
    Taken(String),
    /// Asked for, in this realm, and none are set.
    Missing(String),
    /// Refused, in this realm.
    Refused(String),
    /// Asked for in a way that cannot be answered, with the reason.
    Odd(String),
}

impl Login {
    /// The reason for which calls will be refused, with the cure.
    pub fn obstacle(&self, scenario: &Scenario, user: Option<&str>) -> Option<String> {
        let from = scenario.sip.caller(user);
        let (_, key) = scenario.next_hops();
        let has_file = scenario.sip.accounts.is_some();
        match self {
            Login::NotAsked | Login::Taken(_) => None,
            Login::Missing(realm) => {
                let more = if has_file { "; or give sip.accounts a column `password`" } else { "" };
                Some(format!(
                    "{key}: it asks for credentials (realm `{realm}`), and none are set: set SIP_USER and SIP_PASS, in the \
                     environment or in .env{more}"
                ))
            }
            Login::Refused(realm) => {
                let given =
                    if has_file { "the first caller of sip.accounts" } else { "SIP_USER and SIP_PASS" };
                Some(format!(
                    "{key}: it refuses user `{}` with this password (realm `{realm}`, From `{from}`): compare {given} \
                     with the endpoint's `auth` section, and sip.from with the endpoint's name, by which PJSIP knows it",
                    user.unwrap_or_default()
                ))
            }
            Login::Odd(why) => {
                Some(format!("{key}: its challenge cannot be answered: {why}; ask for Digest with qop=auth"))
            }
        }
    }
}

/// A doubt: a target that answers OPTIONS for the callee, and not with yes, may turn down its calls as well.
pub fn turned_down(key: &str, callee: &str, status: u16, reason: &str) -> Option<String> {
    let cause = match status {
        // Challenges are the credentials' matter.
        0..=399 | 401 | 407 => return None,
        403 => "it lets this caller not in, by name or address: see sip.from and its ACL",
        404 | 410 | 484 | 604 => {
            "no such extension in the caller's context, or no such domain: see sip.to, sip.from and sip.domain"
        }
        405 | 501 => "it does not take OPTIONS, and may take calls all the same",
        _ => "calls may end likewise",
    };
    Some(format!(
        "{key}: OPTIONS for `{callee}` got {status} {reason}: {cause}; `loadtest check --call` shows what comes of a call"
    ))
}

/// An obstacle or a doubt: `target`, which `key` names, does not answer OPTIONS, and why.
pub fn unanswered(key: &str, target: SocketAddr, transport: Transport, why: &str) -> String {
    format!(
        "{key}: {target} does not answer OPTIONS ({why}): is it running, does it take SIP over {transport} there, or over \
         another transport (asterisk.transport), is sip.local the address that it reaches this machine under, and is there \
         no firewall between?"
    )
}

/// Words of reasons that name their own cure.
const WITH_CURE: [&str; 3] = ["sip.tls.", "asterisk.transport", "method = "];

/// An obstacle: the connection to the host that `key` names is not to be had, and why.
pub fn unconnected(key: &str, transport: Transport, why: &str) -> String {
    if WITH_CURE.iter().any(|word| why.contains(word)) {
        return format!("{key}: {why}");
    }
    format!(
        "{key}: {why}; is it running, does it take SIP over {transport} there, or over another transport \
         (asterisk.transport), and is there no firewall between?"
    )
}

/// Probes target number `number` at `target` from the address and under the names of the first call to it, with credentials
/// where it asks for them.
pub async fn probe(plan: &RunPlan, number: usize, target: SocketAddr) -> ProbeResult {
    let is_connection = plan.scenario().asterisk.transport.is_reliable();
    let failed = if is_connection { ProbeResult::Unconnected } else { ProbeResult::Unreachable };
    ask(plan, number, target).await.unwrap_or_else(|error| failed(error.to_string()))
}

async fn ask(plan: &RunPlan, number: usize, target: SocketAddr) -> io::Result<ProbeResult> {
    let scenario = plan.scenario();
    let mut asker = Asker::open(scenario, number, target).await?;
    let (local, transport) = (asker.local()?, scenario.asterisk.transport);
    let names = Names::new(scenario, (number, target), plan.credentials.clone(), plan.accounts.clone());
    let Named { uri, identity, credentials, .. } = names.of_call(number as u32, 0, local);
    let callee = uri.split_once('@').map_or(&*uri, |(user, _)| user).trim_start_matches("sip:").to_string();
    let mut options = Options::new((local, target), transport, (uri, identity), rand::random());
    let mut answer = match asker.exchange(&options).await? {
        Ok(first) => first,
        Err(Some(unreadable)) => {
            return Ok(ProbeResult::Unreadable(cut(&unreadable.to_string(), MOST_WORDS)));
        }
        Err(None) => {
            let waited = PAUSES.iter().sum::<Duration>().as_secs();
            return Ok(ProbeResult::Silent(format!("nothing came back within {waited} s")));
        }
    };
    let mut login = Login::NotAsked;
    // Each proxy on the way may ask for a realm of its own.
    while matches!(answer.status(), Some(401 | 407)) {
        let realm = match Challenge::of(&answer) {
            Ok(challenge) => cut(challenge.realm(), MOST_WORDS),
            Err(why) => return Ok(answered(&answer, &callee, Login::Odd(cut(&why.to_string(), MOST_WORDS)))),
        };
        let Some(credentials) = &credentials else {
            return Ok(answered(&answer, &callee, Login::Missing(realm)));
        };
        match options.log_in(&answer, credentials, rand::random()) {
            Ok(()) => {}
            Err(AuthError::Refused(_)) => return Ok(answered(&answer, &callee, Login::Refused(realm))),
            Err(why) => return Ok(answered(&answer, &callee, Login::Odd(cut(&why.to_string(), MOST_WORDS)))),
        }
        login = Login::Taken(realm);
        answer = match asker.exchange(&options).await? {
            Ok(next) => next,
            Err(Some(unreadable)) => {
                let why = cut(&unreadable.to_string(), MOST_WORDS);
                let why = format!("its answer to the credentials cannot be read: {why}");
                return Ok(answered(&answer, &callee, Login::Odd(why)));
            }
            Err(None) => {
                return Ok(answered(
                    &answer,
                    &callee,
                    Login::Odd("it did not answer the credentials".into()),
                ));
            }
        };
    }
    let login = match login {
        Login::Taken(realm) if answer.status() == Some(403) => Login::Refused(realm),
        login => login,
    };
    Ok(answered(&answer, &callee, login))
}

fn answered(message: &Message, callee: &str, login: Login) -> ProbeResult {
    let [reason, callee] = [message.reason_phrase(), callee].map(|words| cut(words, MOST_WORDS));
    ProbeResult::Answered { status: message.status().unwrap_or_default(), reason, callee, login }
}

/// The final answer to a request; else the first datagram that may have been one and could not be read.
type Exchanged = Result<Message, Option<Unreadable>>;

/// A socket of its own, or a connection.
enum Asker {
    Socket(UdpSocket),
    Connection(Box<Wire>),
}

impl Asker {
    async fn open(scenario: &Scenario, number: usize, target: SocketAddr) -> io::Result<Self> {
        let local = SocketAddr::new(scenario.sip.local, 0);
        if scenario.asterisk.transport.is_reliable() {
            let config = wire(scenario, None).map_err(io::Error::other)?.only(number);
            return Ok(Asker::Connection(Box::new(Wire::open(&config, local, &[target]).await?)));
        }
        let socket = UdpSocket::bind(local).await?;
        // Datagrams from elsewhere are dropped, and a closed port is reported.
        socket.connect(target).await?;
        Ok(Asker::Socket(socket))
    }

    fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Asker::Socket(socket) => socket.local_addr(),
            Asker::Connection(wire) => Ok(wire.local(0)),
        }
    }

    /// Sends a request until its final answer is there, or none has come. Over a connection it is sent once.
    async fn exchange(&mut self, options: &Options) -> io::Result<Exchanged> {
        let mut unreadable = None;
        for (n, pause) in PAUSES.into_iter().enumerate() {
            match self {
                Asker::Socket(socket) => drop(socket.send(&options.to_bytes()).await?),
                Asker::Connection(wire) if n == 0 => wire.send(clock::now(), &options.datagram()),
                Asker::Connection(_) => {}
            }
            match tokio::time::timeout(pause, self.answer(options, &mut unreadable)).await {
                // What cannot be read may be the reason.
                Ok(Err(_)) if unreadable.is_some() => break,
                Ok(answer) => return answer.map(Ok),
                Err(_) => {}
            }
        }
        Ok(Err(unreadable))
    }

    async fn answer(
        &mut self,
        options: &Options,
        unreadable: &mut Option<Unreadable>,
    ) -> io::Result<Message> {
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let heard: Vec<Heard> = match self {
                Asker::Socket(socket) => {
                    let size = socket.recv(&mut datagram).await?;
                    vec![hear(&datagram[..size])]
                }
                Asker::Connection(wire) => {
                    let (messages, _) = wire.receive(clock::now(), 0, &mut |_, _, _| ());
                    if messages.is_empty() {
                        if let Some(broken) = wire.poll_broken() {
                            return Err(io::Error::other(broken.why));
                        }
                        wire.readable().await;
                    }
                    // A flood keeps neither the time nor Ctrl-C from their turn.
                    tokio::task::yield_now().await;
                    messages.into_iter().map(|(heard, ..)| heard).collect()
                }
            };
            for heard in heard {
                match heard {
                    Heard::Message(message) if options.answer(&message).is_some() => return Ok(message),
                    Heard::Unreadable(heard) if heard.is_response() && unreadable.is_none() => {
                        *unreadable = Some(heard);
                    }
                    Heard::Message(_) | Heard::Unreadable(_) => {}
                }
            }
        }
    }
}

/// Asks the Asterisks that the run has not started before its first call. Returns a warning for each that stays silent,
/// for the calls may still get through.
///
/// # Errors
/// The only one refuses the credentials, so that it will refuse every call.
pub async fn ask_before(plan: &RunPlan) -> Result<Vec<String>, RunError> {
    let scenario = plan.scenario();
    // One that merely echoes calls need not answer; of several, the silent one is to be known by name.
    let is_asked = scenario.service.mode.is_application() || scenario.targets() > 1;
    if scenario.asterisk.mode != AsteriskMode::External || !is_asked {
        return Ok(Vec::new());
    }
    let targets = resolve_all(scenario).await?;
    let asked = probe_all(plan, &targets).await;
    let told = (0..).zip(targets).zip(asked).map(|(target, result)| before(plan, target, result));
    Ok(told.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Probes all targets at the same time; the results in their order.
pub async fn probe_all(plan: &RunPlan, targets: &[SocketAddr]) -> Vec<ProbeResult> {
    let probes = targets.iter().enumerate().map(|(number, target)| Box::pin(probe(plan, number, *target)));
    let mut probes: Vec<_> = probes.map(|probe| (probe, None)).collect();
    poll_fn(|context| {
        let mut is_ready = true;
        for (probe, result) in probes.iter_mut().filter(|(_, result)| result.is_none()) {
            match probe.as_mut().poll(context) {
                Poll::Ready(ready) => *result = Some(ready),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    probes.into_iter().filter_map(|(_, result)| result).collect()
}

/// What is said of the login, with the target's address where there are several.
pub fn of_target(scenario: &Scenario, target: SocketAddr, said: String) -> String {
    let (_, key) = scenario.next_hops();
    if scenario.targets() > 1 { said.replacen(key, &format!("{key}, {target}"), 1) } else { said }
}

/// A warning that the result of a probe gives before the first call.
fn before(
    plan: &RunPlan,
    (number, target): (u32, SocketAddr),
    result: ProbeResult,
) -> Result<Option<String>, RunError> {
    let scenario = plan.scenario();
    let (user, transport, (_, key)) =
        (plan.user_of(number), scenario.asterisk.transport, scenario.next_hops());
    Ok(match result {
        // Of several the others may take the calls.
        ProbeResult::Answered { login: login @ Login::Refused(_), .. } if scenario.targets() == 1 => {
            return Err(RunError::Unusable(login.obstacle(scenario, user).unwrap_or_default()));
        }
        ProbeResult::Answered { login, .. } => {
            login.obstacle(scenario, user).map(|said| of_target(scenario, target, said))
        }
        ProbeResult::Unreadable(why) => {
            Some(format!("{key}: {target} answers OPTIONS, but cannot be read: {why}"))
        }
        ProbeResult::Silent(why) | ProbeResult::Unreachable(why) => {
            Some(unanswered(key, target, transport, &why))
        }
        ProbeResult::Unconnected(why) => Some(unconnected(key, transport, &why)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse;

    #[test]
    fn a_reason_that_has_its_cure_is_asked_no_questions() {
        let said = |why: &str| unconnected("sip.proxy", Transport::Tls, why);
        let why = "the TLS connection to 192.0.2.1:5061 could not be opened: …: name one in sip.tls.ca";
        assert_eq!(said(why), format!("sip.proxy: {why}"));
        let asked = said("the TLS connection to 192.0.2.1:5061 could not be opened: Connection refused");
        let cure = "over TLS there, or over another transport (asterisk.transport), and is there no firewall between?";
        assert!(asked.ends_with(cure), "{asked}");
    }

    #[test]
    fn an_answer_that_is_no_yes_is_a_doubt() {
        let said = |status| turned_down("asterisk.sip", "601", status, "x");
        assert_eq!([200, 302, 401, 407].map(said), [None, None, None, None]);
        for (status, cause) in
            [(404, "no such extension"), (403, "sip.from"), (405, "OPTIONS, and may"), (480, "calls may")]
        {
            let told = said(status).unwrap_or_default();
            assert!(told.starts_with(&format!("asterisk.sip: OPTIONS for `601` got {status} x: ")), "{told}");
            assert!(told.contains(cause) && told.contains("check --call"), "{told}");
        }
    }

    #[test]
    fn the_credentials_that_were_used_are_the_ones_to_compare() {
        let mut scenario = Scenario::default();
        let refused = Login::Refused("pbx".into());
        let said = |scenario: &Scenario| refused.obstacle(scenario, Some("7001")).unwrap_or_default();
        assert!(said(&scenario).contains("compare SIP_USER and SIP_PASS with"));
        scenario.sip.accounts = Some("users.csv".into());
        scenario.sip.proxy = Some("edge.example:5060".parse().unwrap());
        let told = said(&scenario);
        let is_told = told.starts_with("sip.proxy: ") && told.contains("the first caller of sip.accounts");
        assert!(is_told, "{told}");
    }

    #[test]
    fn a_phrase_without_end_is_cut() {
        let text = format!(
            "SIP/2.0 200 {}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
            "x".repeat(60_000)
        );
        let ProbeResult::Answered { status, reason, .. } =
            answered(&parse(text.as_bytes()).unwrap(), "601", Login::NotAsked)
        else {
            panic!("it is an answer")
        };
        assert_eq!((status, reason), (200, format!("{}… (60000 bytes)", "x".repeat(MOST_WORDS))));
    }
}
