//! Answers to digest challenges (RFC 8760, RFC 7616, RFC 2617).
//!
//! The hashing is the `digest_auth` crate's. Challenges are read here: that crate's parser slices by
//! character counts and panics on a realm outside of ASCII.

use std::fmt;

use digest_auth::{Algorithm, AuthContext, Charset, HttpMethod, Qop, WwwAuthenticateHeader};
use thiserror::Error;

use super::grammar::split;
use super::message::{Message, Method, excerpt};

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

/// Why a challenge is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The server wants credentials, and none are configured.
    #[error("credentials are wanted, and none are configured")]
    NoCredentials,
    /// The credentials were answered with another challenge.
    #[error("the credentials were refused")]
    Refused,
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
}

/// A Digest challenge out of WWW-Authenticate or Proxy-Authenticate.
#[derive(Debug, Clone, PartialEq)]
pub struct Challenge {
    header: WwwAuthenticateHeader,
}

impl Challenge {
    /// The topmost challenge of a 401 or 407 that can be answered (RFC 8760 2.4).
    pub fn of(response: &Message) -> Result<Self, AuthError> {
        let name = if response.status() == Some(407) { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let mut first_error = None;
        for value in response.headers(name) {
            match Challenge::parse(value) {
                Ok(challenge) => return Ok(challenge),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(AuthError::NoChallenge))
    }

    /// Reads one header value.
    pub fn parse(value: &str) -> Result<Self, AuthError> {
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

    /// Whether only the nonce was too old (RFC 7616 3.3): the same credentials may be tried again.
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
        let mut context = AuthContext::new_with_method(
            credentials.username.as_str(),
            credentials.password.as_str(),
            uri,
            Option::<&[u8]>::None,
            HttpMethod(method.as_str().into()),
        );
        context.set_custom_cnonce(cnonce);
        let answer = self.header.clone().respond(&context);
        Ok(answer.map_err(|error| AuthError::Qop(excerpt(&error.to_string())))?.to_string())
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
