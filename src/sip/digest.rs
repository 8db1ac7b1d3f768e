//! Answers to digest challenges (RFC 8760, RFC 7616, RFC 2617).
//!
//! The hashing is the `digest_auth` crate's. Challenges are read here: that crate's parser slices by
//! character counts and panics on a realm outside of ASCII.

use std::fmt;

use digest_auth::{Algorithm, AuthContext, Charset, HttpMethod, Qop, WwwAuthenticateHeader};
use thiserror::Error;

use super::grammar::split;
use super::message::{Message, Method};
use super::parse::excerpt;

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
    #[error("credentials are wanted, and none are configured: set SIP_USER and SIP_PASS")]
    NoCredentials,
    /// The credentials were answered with another challenge.
    #[error("the credentials were refused ({0}): is SIP_PASS right, and is From of an account there?")]
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
}

/// Longest challenge that is answered: the answer repeats most of it, and is kept with its call.
const MAX_CHALLENGE: usize = 2048;

/// A Digest challenge out of WWW-Authenticate or Proxy-Authenticate.
#[derive(Debug, Clone, PartialEq)]
pub struct Challenge {
    header: WwwAuthenticateHeader,
}

impl Challenge {
    /// The topmost challenge of a 401 or 407 that can be answered (RFC 8760 2.4).
    pub fn of(response: &Message) -> Result<Self, AuthError> {
        let mut first_error = None;
        for value in response.challenges() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse;

    fn answer(challenge: &str, user: &str, password: &str, method: &str, uri: &str, cnonce: &str) -> String {
        let credentials = Credentials { username: user.into(), password: password.into() };
        let challenge = Challenge::parse(challenge).expect("the challenge parses");
        challenge.answer(&credentials, &Method::from_name(method), uri, cnonce).expect("it can be answered")
    }

    fn assert_response(answer: &str, response: &str) {
        assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
    }

    #[test]
    fn the_example_of_rfc_2617() {
        let with_qop = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let answered = answer(with_qop, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", "0a4f113b");
        assert_response(&answered, "6629fae49393a05397450978507c4ef1");
        assert!(answered.contains("qop=auth, nc=00000001, cnonce=\"0a4f113b\""), "{answered}");
        assert!(answered.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""));
        // The same as a server from before qop would ask it (RFC 2069's formula).
        let without_qop = with_qop.replace("qop=\"auth,auth-int\", ", "");
        let answered = answer(&without_qop, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", "unused");
        assert_response(&answered, "670fd8c2df070c60b045671b8b24ff02");
        assert!(!answered.contains("cnonce") && !answered.contains("nc="));
    }

    #[test]
    fn the_examples_of_rfc_7616() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            ("sha-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = format!(
                "digest  realm = \"http-auth@example.org\",qop=\"auth, auth-int\",algorithm={algorithm},\
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let answered = answer(&challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", cnonce);
            assert_response(&answered, response);
        }
    }

    #[test]
    fn a_sip_invite() {
        // Computed apart from this code, by RFC 2617's formula.
        let challenge =
            "Digest realm=\"biloxi.com\", qop=\"auth\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let answered = answer(challenge, "bob", "zanzibar", "INVITE", "sip:bob@biloxi.com", "0a4f113b");
        assert_response(&answered, "89eb0059246c02b2f6ee02c7961d5ea3");
        assert!(answered.contains("uri=\"sip:bob@biloxi.com\""));
    }

    #[test]
    fn challenges_that_cannot_be_answered_say_why() {
        for (challenge, error) in [
            ("Basic realm=\"x\"", AuthError::NoChallenge),
            ("", AuthError::NoChallenge),
            ("Digest", AuthError::NoChallenge),
            ("Digest nonce=\"n\"", AuthError::Missing("realm")),
            ("Digest realm=\"r\"", AuthError::Missing("nonce")),
            ("Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"", AuthError::Qop("auth-int".into())),
            ("Digest realm=\"r\", nonce=\"n\", algorithm=ROT13", AuthError::Algorithm("ROT13".into())),
            ("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess", AuthError::Algorithm("MD5-sess".into())),
        ] {
            assert_eq!(Challenge::parse(challenge), Err(error), "{challenge}");
        }
    }

    #[test]
    fn quotes_escapes_and_other_alphabets_are_read() {
        let challenge = Challenge::parse(
            r#"Digest realm="Zürich, \"the\" 東京", nonce="a\\b", stale=TRUE, domain="sip:a,b""#,
        )
        .expect("it parses");
        assert_eq!(challenge.header.realm, "Zürich, \"the\" 東京");
        assert_eq!(challenge.header.nonce, "a\\b");
        assert!(challenge.is_stale());
    }

    #[test]
    fn the_topmost_challenge_that_is_known_is_taken() {
        let response = "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n\
            To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
            WWW-Authenticate: Digest realm=\"r\", nonce=\"0\", algorithm=SHA-1024\r\n\
            WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", algorithm=SHA-256\r\n\
            WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", algorithm=MD5\r\n\r\n";
        let of = |text: &str| Challenge::of(&parse(text.as_bytes()).expect("it parses"));
        assert_eq!(of(response).expect("a challenge").header.nonce, "1");
        assert_eq!(of(&response.replace("401", "407")), Err(AuthError::NoChallenge));
    }

    #[test]
    fn the_password_stays_out_of_debug_output() {
        let credentials = Credentials { username: "bob".into(), password: "zanzibar".into() };
        assert!(!format!("{credentials:?}").contains("zanzibar"));
    }
}
