//! A dialog as the caller sees it (RFC 3261 12): remote tag, target and route.

use std::net::SocketAddr;

use super::grammar::{NameAddr, is_uri, one_line, param, uri_address};
use super::message::Message;

/// The most routes taken from a peer. RFC 3261 names no bound; real chains have two or three.
const MAX_ROUTES: usize = 32;

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
}

impl Dialog {
    /// The dialog that a 2xx to our INVITE establishes. Without a Contact, `request_uri` has to do.
    pub(super) fn from_answer(answer: &Message, request_uri: &str) -> Self {
        // A route that is no URI would make every request unreadable.
        let routes = answer.record_routes().filter(|route| is_uri(NameAddr::parse(route).uri));
        let mut routes: Vec<String> = routes.take(MAX_ROUTES).map(one_line).collect();
        routes.reverse();
        Dialog {
            remote_tag: answer.to_tag().unwrap_or_default().to_string(),
            to: one_line(answer.to()),
            target: answer.contact().unwrap_or(request_uri).to_string(),
            routes,
        }
    }

    /// Follows the peer to another Contact (target refresh, RFC 3261 12.2.2).
    pub(super) fn refresh_target(&mut self, request: &Message) {
        if let Some(contact) = request.contact() {
            self.target = contact.to_string();
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

    /// Destination of a request: the first route, else the target, if they name an IP address.
    pub(super) fn next_hop(&self) -> Option<SocketAddr> {
        let hop = self.routes.first().map_or(self.target.as_str(), |route| NameAddr::parse(route).uri);
        uri_address(hop)
    }
}
