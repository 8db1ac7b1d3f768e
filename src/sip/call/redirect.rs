//! A call that is sent elsewhere: a redirection (RFC 3261 8.1.3.4) is followed once.

use std::net::SocketAddr;

use super::{Call, CallEvent, CallRemark, FailReason};
use crate::sip::Vet;
use crate::sip::digest::Tries;
use crate::sip::grammar::{is_one_host, uri_address};
use crate::sip::message::Message;
use crate::sip::parse::excerpt;
use crate::sip::transport::Transport;
use crate::stamp::Stamp;

/// Longest URI that is followed: it becomes the Request-URI.
const MAX_URI: usize = 512;
/// Most Contacts of a redirection that are looked at.
const MAX_CONTACTS: usize = 8;

impl Call {
    /// Goes where a 3xx sends us, or gives up and says why it was not followed.
    pub(super) fn on_redirection(&mut self, now: Stamp, code: u16, response: &Message, vet: Vet<'_>) {
        match self.elsewhere(code, response, vet) {
            Ok((target, remote)) => {
                self.is_redirected = true;
                self.times.trying_at = None;
                // Another server asks anew, and is not told what the first one was.
                self.invite_tries = Tries::default();
                self.authorizations.forget();
                self.event(CallEvent::Remark(CallRemark::Redirected { to: target.clone() }));
                (self.config.target, self.config.remote) = (target, remote);
                self.send_invite(now);
            }
            Err(why) => {
                let mut reason = self.rejected(code, response);
                if let FailReason::Rejected { reason, .. } = &mut reason {
                    *reason = format!("{reason}; {why}");
                }
                self.give_up_invite(now, reason);
            }
        }
    }

    /// The Contact most preferred of those that may be called instead, and the destination of the INVITE.
    fn elsewhere(&self, code: u16, response: &Message, vet: Vet<'_>) -> Result<(String, SocketAddr), String> {
        let contacts: Vec<&str> = response.contacts_by_preference().take(MAX_CONTACTS).collect();
        let Some(first) = contacts.first().map(|contact| excerpt(contact)) else {
            return Err("it names no Contact to call instead".into());
        };
        if !self.config.habits.follow_redirects {
            return Err(format!("it sends callers to {first}; sip.follow_redirects = true goes there"));
        }
        if self.is_redirected {
            return Err(format!("it sends callers on, to {first}; one redirection is followed"));
        }
        // 305 names a proxy, and 380 another service (RFC 3261 21.3): neither is called by changing the Request-URI.
        if !matches!(code, 300..=302) {
            return Err(format!("it sends callers to {first}; only 300, 301 and 302 are followed"));
        }
        let mut refused = None;
        for contact in contacts {
            match self.reachable(contact, vet) {
                Ok(way) => return Ok(way),
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        Err(refused.unwrap_or_default())
    }

    /// The Request-URI that a Contact asks for, and its address.
    fn reachable(&self, contact: &str, vet: Vet<'_>) -> Result<(String, SocketAddr), String> {
        // Headers in it would be ours to send (RFC 3261 19.1.5); nobody is trusted with that.
        let uri = contact.split('?').next().unwrap_or_default();
        let shown = excerpt(uri);
        let transport = self.config.transport;
        let is = |scheme: &str| uri.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        let is_secure = is("sips:") && transport == Transport::Tls;
        if !(is("sip:") || is_secure) || uri.len() > MAX_URI {
            return Err(format!(
                "it sends callers to {shown}, which is no sip: address that is called from here"
            ));
        }
        // A URI that names none is called over the run's: its server speaks it.
        if !is_secure && transport.is_contradicted_by(uri) {
            return Err(format!("it sends callers to {shown}, over another transport than this run's"));
        }
        let is_known = host(uri).eq_ignore_ascii_case(host(&self.config.target));
        if is_known || !self.config.identity.routes.is_empty() {
            return Ok((uri.into(), self.config.remote));
        }
        let address = uri_address(uri, transport.usual_port()).ok_or_else(|| {
            format!("it sends callers to {shown}, and names are not looked up in mid-run: set asterisk.sip and sip.to to it")
        })?;
        if !is_one_host(address.ip()) || address.port() == 0 {
            return Err(format!("it sends callers to {shown}, which is no address of one host"));
        }
        vet(address)?;
        Ok((uri.into(), address))
    }
}

/// What follows the user in a URI.
fn after_user(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or("", |(_, rest)| rest);
    rest.rsplit_once('@').map_or(rest, |(_, host)| host)
}

/// Host and port of a URI.
fn host(uri: &str) -> &str {
    after_user(uri).split(';').next().unwrap_or_default()
}
