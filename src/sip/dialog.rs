//! A dialog as the caller sees it (RFC 3261 12): remote tag, target and route.

use std::net::SocketAddr;

use super::Vet;
use super::call::CallConfig;
use super::grammar::{NameAddr, is_one_host, is_uri, one_line, param, uri_address};
use super::message::Message;
use super::outgoing::bounded_to;
use super::transport::Transport;

/// The most routes taken from a peer. RFC 3261 names no bound; real chains have two or three.
const MAX_ROUTES: usize = 32;
/// Longest route set: each request in the dialog repeats it.
const MAX_ROUTE_SET: usize = 4096;
/// Longest URI taken from a peer: each is kept as long as its dialog.
const MAX_URI: usize = 512;

/// The part of a dialog that the peer's 2xx fixes.
#[derive(Debug, Clone)]
pub(super) struct Dialog {
    /// The peer's tag; empty from a peer that sends none (RFC 3261 12.1.2).
    pub(super) remote_tag: String,
    /// The whole To of our requests in this dialog.
    pub(super) to: String,
    /// The peer's Contact.
    target: String,
    /// The Record-Route values, the nearest first (RFC 3261 12.1.2: the response's, reversed).
    routes: Vec<String>,
    /// False where requests go the INVITE's way, wherever the peer points.
    is_believed: bool,
    /// The first route's address, else the target's, where they name one to which something may be sent.
    hop: Option<SocketAddr>,
    /// The address among those to which there is no way.
    no_way: Option<SocketAddr>,
    transport: Transport,
}

impl Dialog {
    /// The dialog that a 2xx to our INVITE establishes. Without a Contact, the Request-URI has to do.
    pub(super) fn from_answer(answer: &Message, config: &CallConfig, vet: Vet<'_>) -> Self {
        // A route that is no URI would make every request unreadable.
        let routes = answer
            .record_routes()
            .filter(|route| route.len() <= MAX_URI && is_uri(NameAddr::parse(route).uri));
        let mut room = MAX_ROUTE_SET;
        let fits = |route: &String| {
            let is_in = route.len() <= room;
            room = room.saturating_sub(route.len());
            is_in
        };
        let mut routes: Vec<String> = routes.take(MAX_ROUTES).map(one_line).take_while(fits).collect();
        routes.reverse();
        let mut dialog = Dialog {
            remote_tag: answer.to_tag().unwrap_or_default().to_string(),
            to: bounded_to(answer, &config.identity.to),
            target: contact(answer).unwrap_or(&config.target).to_string(),
            routes,
            is_believed: !config.habits.ignore_contact,
            hop: None,
            no_way: None,
            transport: config.transport,
        };
        dialog.hop = dialog.hop(vet);
        dialog
    }

    /// Follows the peer to another Contact (target refresh, RFC 3261 12.2.2).
    pub(super) fn refresh_target(&mut self, request: &Message, vet: Vet<'_>) {
        if let Some(contact) = contact(request) {
            self.target = contact.to_string();
            self.hop = self.hop(vet);
        }
    }

    /// The Request-URI and the Route values of a request in this dialog (RFC 3261 12.2.1.1).
    pub(super) fn request_target(&self) -> (String, Vec<String>) {
        let Some((first, others)) = self.routes.split_first() else {
            return (self.target.clone(), Vec::new());
        };
        let uri = NameAddr::parse(first).uri;
        if param(uri, "lr").is_some() {
            return (self.target.clone(), self.routes.clone());
        }
        // A strict router wants to find itself in the Request-URI, and the target at the end.
        let last = format!("<{}>", self.target);
        (uri.to_string(), others.iter().cloned().chain([last]).collect())
    }

    /// The peer's Contact, or what has to do for one.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    fn hop(&self, vet: Vet<'_>) -> Option<SocketAddr> {
        let hop = self.routes.first().map_or(&*self.target, |route| NameAddr::parse(route).uri);
        // One over another transport is not followed: it is asked for along the way that the INVITE went.
        if !self.transport.is_named_by(hop) {
            return None;
        }
        let may_be_asked = |to: &SocketAddr| is_one_host(to.ip()) && to.port() > 0 && vet(*to).is_ok();
        uri_address(hop, self.transport.usual_port()).filter(|to| self.is_believed && may_be_asked(to))
    }

    /// Destination of a request, if the peer has named one that will do.
    pub(super) fn next_hop(&self) -> Option<SocketAddr> {
        self.hop.filter(|hop| self.no_way != Some(*hop))
    }

    /// There is no way to `peer`; true if requests have gone there so far.
    pub(super) fn leave(&mut self, peer: SocketAddr) -> bool {
        let is_its = self.next_hop() == Some(peer);
        if is_its {
            self.no_way = Some(peer);
        }
        is_its
    }
}

fn contact(message: &Message) -> Option<&str> {
    message.contact().filter(|contact| contact.len() <= MAX_URI)
}
