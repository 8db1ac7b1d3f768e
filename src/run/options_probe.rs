//! The OPTIONS probe: asks a SIP target whether it is alive and takes our credentials, repeated as RFC 3261 says.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::wire::wire;
use super::{RunError, RunPlan};
use crate::clock;
use crate::driver::{Named, Names, Wire};
use crate::net::resolve::resolve;
use crate::scenario::{AsteriskMode, Scenario};
use crate::sip::digest::{AuthError, Challenge};
use crate::sip::message::Message;
use crate::sip::options::Options;
use crate::sip::{Heard, Unreadable, hear};
use crate::values::cut;

/// Pauses before the request is sent again, and before it is given up (RFC 3261 17.1.2.2: T1 doubles).
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(1500)];
const DATAGRAM: usize = 65_535;
/// Most bytes that are told of an answer which cannot be read.
const MOST_WORDS: usize = 256;

/// The result of a probe.
pub enum ProbeResult {
    /// The last answer, and what came of the credentials.
    Answered {
        /// Status code.
        status: u16,
        /// Reason phrase.
        reason: String,
        /// Outcome of the credentials.
        login: Login,
    },
    /// No answer came back, with the time waited.
    Silent(String),
    /// Answers came back, and could not be read; the first one, and its fault.
    Unreadable(String),
    /// The system reports that nobody can have received it, with its reason.
    Unreachable(String),
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
        match self {
            Login::NotAsked | Login::Taken(_) => None,
            Login::Missing(realm) => Some(format!(
                "asterisk.sip: it asks for credentials (realm `{realm}`), and none are set: set SIP_USER and SIP_PASS, \
                 in the environment or in .env"
            )),
            Login::Refused(realm) => Some(format!(
                "asterisk.sip: it refuses user `{}` with this password (realm `{realm}`, From `{from}`): compare \
                 SIP_USER and SIP_PASS with the endpoint's `auth` section, and sip.from with the endpoint's name, by \
                 which PJSIP knows it",
                user.unwrap_or_default()
            )),
            Login::Odd(why) => Some(format!(
                "asterisk.sip: its challenge cannot be answered: {why}; ask for Digest with qop=auth"
            )),
        }
    }
}

/// Probes `target` from the address and under the names of a first call, with credentials where it asks for them.
pub async fn probe(plan: &RunPlan, target: SocketAddr) -> ProbeResult {
    ask(plan, target).await.unwrap_or_else(|e| ProbeResult::Unreachable(e.to_string()))
}

async fn ask(plan: &RunPlan, target: SocketAddr) -> io::Result<ProbeResult> {
    let scenario = plan.scenario();
    let mut asker = Asker::open(scenario, target).await?;
    let (local, transport) = (asker.local()?, scenario.asterisk.transport);
    let names = Names::new(scenario, (local, target), plan.credentials.clone(), plan.accounts.clone());
    let Named { uri, identity, credentials, .. } = names.of_call(0, 0);
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
            Ok(challenge) => challenge.realm().to_string(),
            Err(why) => return Ok(answered(&answer, Login::Odd(why.to_string()))),
        };
        let Some(credentials) = &credentials else { return Ok(answered(&answer, Login::Missing(realm))) };
        match options.log_in(&answer, credentials, rand::random()) {
            Ok(()) => {}
            Err(AuthError::Refused(_)) => return Ok(answered(&answer, Login::Refused(realm))),
            Err(why) => return Ok(answered(&answer, Login::Odd(why.to_string()))),
        }
        login = Login::Taken(realm);
        answer = match asker.exchange(&options).await? {
            Ok(next) => next,
            Err(Some(unreadable)) => {
                let why = cut(&unreadable.to_string(), MOST_WORDS);
                let why = format!("its answer to the credentials cannot be read: {why}");
                return Ok(answered(&answer, Login::Odd(why)));
            }
            Err(None) => {
                return Ok(answered(&answer, Login::Odd("it did not answer the credentials".into())));
            }
        };
    }
    let login = match login {
        Login::Taken(realm) if answer.status() == Some(403) => Login::Refused(realm),
        login => login,
    };
    Ok(answered(&answer, login))
}

fn answered(message: &Message, login: Login) -> ProbeResult {
    let (status, reason) = (message.status().unwrap_or_default(), message.reason_phrase().to_string());
    ProbeResult::Answered { status, reason, login }
}

/// The final answer to a request; else the first datagram that may have been one and could not be read.
type Exchanged = Result<Message, Option<Unreadable>>;

/// A socket of its own, or a connection.
enum Asker {
    Socket(UdpSocket),
    Connection(Box<Wire>),
}

impl Asker {
    async fn open(scenario: &Scenario, target: SocketAddr) -> io::Result<Self> {
        let local = SocketAddr::new(scenario.sip.local, 0);
        if scenario.asterisk.transport.is_reliable() {
            let config = wire(scenario, None).map_err(io::Error::other)?;
            return Ok(Asker::Connection(Box::new(Wire::open(&config, local, target).await?)));
        }
        let socket = UdpSocket::bind(local).await?;
        // Datagrams from elsewhere are dropped, and a closed port is reported.
        socket.connect(target).await?;
        Ok(Asker::Socket(socket))
    }

    fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Asker::Socket(socket) => socket.local_addr(),
            Asker::Connection(wire) => Ok(wire.local()),
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

/// Asks an Asterisk that the run has not started before its first call. Returns a warning where it stays silent, for
/// the calls may still get through.
///
/// # Errors
/// It refuses the credentials, so that it will refuse every call.
pub async fn ask_before(plan: &RunPlan) -> Result<Option<String>, RunError> {
    let scenario = plan.scenario();
    let is_asked = scenario.asterisk.mode == AsteriskMode::External && scenario.service.mode.is_application();
    let Some((hop, key)) = scenario.next_hop().filter(|_| is_asked) else { return Ok(None) };
    let target = resolve(hop, key, Some(scenario.sip.local)).await?;
    let user = plan.first_user();
    Ok(match probe(plan, target).await {
        ProbeResult::Answered { login: login @ Login::Refused(_), .. } => {
            return Err(RunError::Unusable(login.obstacle(scenario, user).unwrap_or_default()));
        }
        ProbeResult::Answered { login, .. } => login.obstacle(scenario, user),
        ProbeResult::Unreadable(why) => {
            Some(format!("asterisk.sip: {target} answers OPTIONS, but cannot be read: {why}"))
        }
        ProbeResult::Silent(why) | ProbeResult::Unreachable(why) => {
            Some(format!("asterisk.sip: {target} does not answer OPTIONS ({why})"))
        }
    })
}
