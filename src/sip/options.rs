//! OPTIONS probe outside of a call (RFC 3261 11), and its answer.

use std::net::SocketAddr;

use super::digest::{AuthError, Authorizations, Credentials, Tries};
use super::identity::Identity;
use super::message::{Message, Method};
use super::outgoing::{Request, SipDatagram};
use super::parse::phrase;
use super::transport::Transport;

/// An OPTIONS probe.
#[derive(Debug)]
pub struct Options {
    request: Request,
    authorizations: Option<Authorizations>,
    tries: Tries,
}

impl Options {
    /// A probe of `uri`, sent to `remote` from `local` over `transport` under the names of a call. `seed` is unique: it
    /// names branch, tag and Call-ID.
    pub fn new(
        (local, remote): (SocketAddr, SocketAddr),
        transport: Transport,
        (uri, identity): (String, Identity),
        seed: u64,
    ) -> Options {
        let Identity { from, to, headers, routes } = identity;
        let request = Request {
            method: Method::Options,
            uri,
            local,
            transport,
            branch: format!("z9hG4bK{seed:016x}"),
            from: format!("{from};tag={seed:016x}"),
            to,
            call_id: format!("{seed:016x}@{}", local.ip()),
            cseq: 1,
            routes,
            credentials: Vec::new(),
            headers,
            sdp: None,
            destination: remote,
        };
        Options { request, authorizations: None, tries: Tries::default() }
    }

    /// Makes it the same probe with the credentials that `challenge`, the answer to it, asks for, beside those that were
    /// asked for before. `seed` is another one.
    ///
    /// # Errors
    /// A challenge that cannot be answered, or was answered in vain.
    pub fn log_in(
        &mut self,
        challenge: &Message,
        credentials: &Credentials,
        seed: u64,
    ) -> Result<(), AuthError> {
        let from = self.request.from.clone();
        let fresh = || Authorizations::new(Some(credentials.clone()), from, seed);
        let authorizations = self.authorizations.get_or_insert_with(fresh);
        authorizations.challenged(challenge, &mut self.tries)?;
        self.request.credentials = authorizations.answers(&Method::Options, &self.request.uri);
        self.request.branch = format!("z9hG4bK{seed:016x}");
        self.request.cseq += 1;
        Ok(())
    }

    /// The request; repeated as it is over UDP (RFC 3261 17.1.2).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.request.to_bytes()
    }

    /// The request and its destination.
    pub fn datagram(&self) -> SipDatagram {
        self.request.datagram()
    }

    /// Status and reason of a final answer to this very request; `None` for anything else.
    pub fn answer(&self, message: &Message) -> Option<(u16, String)> {
        let ours =
            message.branch() == Some(&self.request.branch) && message.call_id() == self.request.call_id;
        let status = message.status().filter(|status| *status >= 200 && ours)?;
        Some((status, phrase(message.reason_phrase())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse;
    use crate::sip::uas;

    fn ask(seed: u64) -> Options {
        let names = ("sip:b@127.0.0.1:5060".into(), Identity::plain("sip:a@h", "sip:b@127.0.0.1:5060"));
        let way = ("127.0.0.1:5080".parse().unwrap(), "127.0.0.1:5060".parse().unwrap());
        Options::new(way, Transport::Udp, names, seed)
    }

    #[test]
    fn a_question_is_answered_and_only_its_own_answer_counts() {
        let asked = parse(&ask(7).to_bytes()).expect("it parses");
        assert_eq!((asked.method(), asked.uri()), (&Method::Options, Some("sip:b@127.0.0.1:5060")));
        let answer = parse(&uas::answer(&asked, "tag").expect("an answer")).expect("it parses");
        assert_eq!(ask(7).answer(&answer), Some((200, "OK".into())));
        assert_eq!(ask(8).answer(&answer), None);
        assert_eq!(ask(7).answer(&asked), None);
    }

    #[test]
    fn every_realm_on_the_way_is_answered_and_one_that_asks_again_has_refused() {
        let credentials = Credentials { username: "u".into(), password: "p".into() };
        let mut options = ask(7);
        let asked_by = |options: &Options, realm: &str| {
            let asked = parse(&options.to_bytes()).expect("it parses");
            let text = format!(
                "SIP/2.0 407 Who\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: {} OPTIONS\r\n\
                 Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"\r\n\r\n",
                asked.via(),
                asked.from(),
                asked.to(),
                asked.call_id(),
                asked.cseq().number
            );
            parse(text.as_bytes()).expect("it parses")
        };
        let first = asked_by(&options, "edge");
        options.log_in(&first, &credentials, 8).expect("the first realm");
        let second = asked_by(&options, "core");
        options.log_in(&second, &credentials, 9).expect("the second");
        let text = String::from_utf8(options.to_bytes()).expect("text");
        assert!(
            text.contains("realm=\"edge\"") && text.contains("realm=\"core\"") && text.contains("CSeq: 3 "),
            "{text}"
        );
        let again = asked_by(&options, "edge");
        assert!(matches!(options.log_in(&again, &credentials, 10), Err(AuthError::Refused(_))));
    }
}
