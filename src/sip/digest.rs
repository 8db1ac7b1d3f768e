//! Answers to digest challenges (RFC 8760, RFC 7616, RFC 2617), of one realm or of several.
//!
//! The hashing is the `digest_auth` crate's. Challenges are read here: that crate's parser slices by
//! character counts and panics on a realm outside of ASCII.

use std::fmt;

use digest_auth::{Algorithm, AuthContext, Charset, HttpMethod, Qop, WwwAuthenticateHeader};
use thiserror::Error;

use super::grammar::split;
use super::message::{Message, Method};
use super::parse::{excerpt, phrase};

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name that the server knows.
    pub username: String,
    /// The password in plain text.
    pub password: String,
}

impl fmt::Debug for Credentials {
    /// Leaves out the password: it must not get into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Reason for leaving a challenge unanswered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The server wants credentials, and none are configured.
    #[error(
        "credentials are wanted, and none are configured: set SIP_USER and SIP_PASS, or have them in sip.accounts"
    )]
    NoCredentials,
    /// The credentials were answered with another challenge.
    #[error(
        "the credentials were refused ({0}): compare that user's password, in sip.accounts or else SIP_PASS, and From with \
         its accounts"
    )]
    Refused(String),
    /// A challenge that is too long to be kept.
    #[error("the challenge has {0} bytes")]
    TooLong(usize),
    /// The response carries no Digest challenge.
    #[error("no digest challenge")]
    NoChallenge,
    /// The challenge lacks a parameter.
    #[error("the challenge has no {0}")]
    Missing(&'static str),
    /// None of the challenge's algorithms is known here.
    #[error("algorithm `{0}` is not supported")]
    Algorithm(String),
    /// The challenge wants more than `qop=auth`.
    #[error("qop `{0}` is not supported")]
    Qop(String),
    /// More realms want credentials than are answered.
    #[error("more than {0} realms want credentials")]
    TooManyRealms(usize),
    /// A request is challenged again and again, each time for another reason.
    #[error("the same request was challenged more than {0} times")]
    Endless(usize),
}

/// Longest challenge that is answered: the answer repeats most of it, and is kept with its call.
const MAX_CHALLENGE: usize = 2048;
/// The most realms that are answered: a chain of proxies has two or three.
const MOST_REALMS: usize = 8;
/// The most challenges to one request that are answered.
const MOST_ROUNDS: usize = 10;

/// A Digest challenge out of WWW-Authenticate or Proxy-Authenticate.
#[derive(Debug, Clone, PartialEq)]
pub struct Challenge {
    header: WwwAuthenticateHeader,
}

impl Challenge {
    /// The topmost challenge of a 401 or 407 that can be answered (RFC 8760 2.4).
    pub fn of(response: &Message) -> Result<Self, AuthError> {
        let mut first_error = None;
        for (_, value) in response.challenges() {
            match Challenge::parse(value) {
                Ok(challenge) => return Ok(challenge),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(AuthError::NoChallenge))
    }

    /// Reads one header value.
    pub fn parse(value: &str) -> Result<Self, AuthError> {
        if value.len() > MAX_CHALLENGE {
            return Err(AuthError::TooLong(value.len()));
        }
        let (scheme, rest) = value.trim().split_once([' ', '\t']).ok_or(AuthError::NoChallenge)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err(AuthError::NoChallenge);
        }
        let get = |name: &str| {
            split(rest, ',').find_map(|p| {
                let (key, value) = p.split_once('=')?;
                key.trim().eq_ignore_ascii_case(name).then(|| unquoted(value.trim()))
            })
        };
        let algorithm_name = get("algorithm").unwrap_or_else(|| "MD5".to_string());
        let algorithm: Algorithm = algorithm_name
            .replace("md5", "MD5")
            .replace("sha", "SHA")
            .parse()
            .map_err(|_| AuthError::Algorithm(excerpt(&algorithm_name)))?;
        let qop = match get("qop") {
            None => None,
            Some(list) if list.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")) => {
                Some(vec![Qop::AUTH])
            }
            Some(list) => return Err(AuthError::Qop(excerpt(&list))),
        };
        // The session variants hash a client nonce that only a challenge with qop lets us send.
        if algorithm.sess && qop.is_none() {
            return Err(AuthError::Algorithm(excerpt(&algorithm_name)));
        }
        let is_true = |name: &str| get(name).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let header = WwwAuthenticateHeader {
            domain: None,
            realm: get("realm").ok_or(AuthError::Missing("realm"))?,
            nonce: get("nonce").ok_or(AuthError::Missing("nonce"))?,
            opaque: get("opaque"),
            stale: is_true("stale"),
            algorithm,
            qop,
            userhash: is_true("userhash"),
            charset: Charset::UTF8,
            nc: 0,
        };
        Ok(Challenge { header })
    }

    /// The realm, as the far end names it.
    pub fn realm(&self) -> &str {
        &self.header.realm
    }

    /// True if only the nonce was too old (RFC 7616 3.3): the same credentials may be tried again.
    pub fn is_stale(&self) -> bool {
        self.header.stale
    }

    /// The value of Authorization or Proxy-Authorization, for the first use of this nonce.
    ///
    /// `cnonce` has to be unpredictable enough for the occasion; it is only used with `qop=auth`.
    pub fn answer(
        &self,
        credentials: &Credentials,
        method: &Method,
        uri: &str,
        cnonce: &str,
    ) -> Result<String, AuthError> {
        self.clone().next_answer(credentials, method, uri, cnonce)
    }

    /// Likewise, for the next use of this nonce: each is counted (RFC 7616 3.4, `nc`).
    fn next_answer(
        &mut self,
        credentials: &Credentials,
        method: &Method,
        uri: &str,
        cnonce: &str,
    ) -> Result<String, AuthError> {
        let mut context = AuthContext::new_with_method(
            credentials.username.as_str(),
            credentials.password.as_str(),
            uri,
            Option::<&[u8]>::None,
            HttpMethod(method.as_str().into()),
        );
        context.set_custom_cnonce(cnonce);
        let answer = self.header.respond(&context);
        Ok(answer.map_err(|error| AuthError::Qop(excerpt(&error.to_string())))?.to_string())
    }
}

/// A challenge that is answered in every request from now on.
#[derive(Debug, Clone)]
struct Authorization {
    /// `Authorization`, or `Proxy-Authorization`.
    header: &'static str,
    challenge: Challenge,
    /// One for as long as the nonce: the session variants hash it once (RFC 7616 3.4.2).
    cnonce: String,
}

/// Answers to all challenges that a user's requests have met: of several realms, of servers and of proxies.
#[derive(Debug, Clone)]
pub struct Authorizations {
    credentials: Option<Credentials>,
    /// Identity in From, for the reason of a refusal.
    from: String,
    seed: u64,
    /// Challenges taken so far, so that no client nonce comes twice.
    taken: u32,
    known: Vec<Authorization>,
}

/// The challenges that one request has met, over all the times that it was sent.
#[derive(Debug, Clone, Default)]
pub struct Tries {
    rounds: usize,
    /// Places of the realms that were answered for it, one an answer.
    answered: Vec<usize>,
}

impl Authorizations {
    /// No challenge yet. `from` is the identity in From; `seed` makes the client nonces and is no other user's.
    pub fn new(credentials: Option<Credentials>, from: String, seed: u64) -> Self {
        Authorizations { credentials, from, seed, taken: 0, known: Vec::new() }
    }

    /// Takes the challenges of a 401 or 407. The request is then to be sent again, with [`Authorizations::answers`]
    /// and another CSeq (RFC 3261 22.2, 22.3). Of each realm the topmost challenge that can be answered counts
    /// (RFC 8760 2.4).
    ///
    /// # Errors
    /// Nothing to be answered with, or in vain: a realm that was answered for this request asks again, and not
    /// because its nonce was too old, which happens once.
    pub fn challenged(&mut self, response: &Message, tries: &mut Tries) -> Result<(), AuthError> {
        let mut unknown = None;
        let mut asked: Vec<(&'static str, Challenge)> = Vec::new();
        for (header, value) in response.challenges() {
            match Challenge::parse(value) {
                Ok(challenge)
                    if asked.iter().any(|(h, other)| *h == header && other.realm() == challenge.realm()) => {}
                Ok(challenge) => asked.push((header, challenge)),
                Err(error) => unknown = unknown.or(Some(error)),
            }
        }
        if asked.is_empty() {
            return Err(unknown.unwrap_or(AuthError::NoChallenge));
        }
        if self.credentials.is_none() {
            return Err(AuthError::NoCredentials);
        }
        tries.rounds += 1;
        if tries.rounds > MOST_ROUNDS {
            return Err(AuthError::Endless(MOST_ROUNDS));
        }
        for (header, challenge) in asked {
            match self.take(header, challenge, tries) {
                // The one that cannot be answered is the reason why the others ask again.
                Err(AuthError::Refused(why)) => return Err(unknown.unwrap_or(AuthError::Refused(why))),
                taken => taken?,
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        header: &'static str,
        challenge: Challenge,
        tries: &mut Tries,
    ) -> Result<(), AuthError> {
        let is_its =
            |known: &Authorization| known.header == header && known.challenge.realm() == challenge.realm();
        let at = self.known.iter().position(is_its);
        let times = at.map_or(0, |at| tries.answered.iter().filter(|answered| **answered == at).count());
        if times > usize::from(challenge.is_stale()) {
            return Err(AuthError::Refused(self.identity(challenge.realm())));
        }
        let at = at.unwrap_or(self.known.len());
        if at == MOST_REALMS {
            return Err(AuthError::TooManyRealms(MOST_REALMS));
        }
        self.taken += 1;
        let cnonce = format!("{:016x}{:08x}", self.seed, self.taken);
        let fresh = Authorization { header, challenge, cnonce };
        match self.known.get_mut(at) {
            Some(known) => *known = fresh,
            None => self.known.push(fresh),
        }
        tries.answered.push(at);
        Ok(())
    }

    /// The headers that answer all challenges so far, for a request with `method` to `uri`.
    pub fn answers(&mut self, method: &Method, uri: &str) -> Vec<(&'static str, String)> {
        let Some(credentials) = &self.credentials else { return Vec::new() };
        let answer = |known: &mut Authorization| {
            let answer = known.challenge.next_answer(credentials, method, uri, &known.cnonce);
            // Invariant: no challenge is known whose `qop` has no `auth`, the one thing that can be wrong here.
            Some((known.header, answer.ok()?))
        };
        self.known.iter_mut().filter_map(answer).collect()
    }

    /// Forgets all challenges: the next request goes to another server, which is not to have answers to them.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// The identity that was told last; `None` before the first challenge.
    pub fn told(&self) -> Option<String> {
        Some(self.identity(self.known.last()?.challenge.realm()))
    }

    /// The identity under which a realm was told a password, for the reason of its refusal.
    fn identity(&self, realm: &str) -> String {
        let user = self.credentials.as_ref().map_or("", |credentials| credentials.username.as_str());
        phrase(&format!("it was told user `{user}` for realm `{realm}`, From {}", self.from))
    }
}

/// A parameter's value without its quotes and escapes.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_string() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
