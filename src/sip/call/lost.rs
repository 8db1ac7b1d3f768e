//! A call whose connection could not be opened or has ended (RFC 3261 8.1.3.1, 18.4).

use std::net::SocketAddr;

use super::{Call, CallEvent, CallOutput, CallRemark, FailReason, Leg};
use crate::sip::Broken;
use crate::sip::parse::phrase;
use crate::sip::transaction::InviteClient;
use crate::stamp::Stamp;

impl Call {
    /// Takes the end of a connection. An INVITE that has no final answer gets none any more, and refreshes are sent anew;
    /// other requests go out once more, over a connection to come.
    pub fn handle_transport_error(&mut self, now: Stamp, broken: &Broken) {
        let peer = broken.peer;
        let went_there = |invite: &InviteClient| invite.is_pending() && invite.request().destination == peer;
        if self.invites.iter().any(went_there) {
            self.invites.iter_mut().filter(|invite| went_there(invite)).for_each(InviteClient::abandon);
            self.give_up_invite(now, self.lost(broken));
        }
        if !broken.was_open && peer != self.config.remote {
            self.leave(peer, &broken.why);
        }
        self.lose_refreshes(now, peer, &broken.why);
        self.resend_over_another(peer);
    }

    /// The reason of an INVITE whose connection has ended: that, or that the far end cannot be read.
    fn lost(&self, broken: &Broken) -> FailReason {
        let why = || phrase(&broken.why);
        match &self.unreadable {
            Some(unreadable) => FailReason::Unreadable(unreadable.clone()),
            None if broken.is_unreadable => FailReason::Unreadable(why()),
            None => FailReason::Unreachable(why()),
        }
    }

    /// Nobody takes connections at `peer`, where the far end has its requests sent: they go where the INVITE went from
    /// now on, and so does what is under way.
    fn leave(&mut self, peer: SocketAddr, why: &str) {
        let remote = self.config.remote;
        let (mut contact, mut acks) = (None, Vec::new());
        for Leg { dialog, ack, .. } in self.leg.iter_mut().chain(&mut self.forked) {
            if dialog.leave(peer) {
                contact.get_or_insert_with(|| phrase(dialog.target()));
            }
            if ack.destination == peer {
                ack.destination = remote;
                acks.push(ack.clone());
            }
        }
        for ack in self.reinvites.iter_mut().filter_map(|reinvite| reinvite.ack_to(peer)) {
            ack.destination = remote;
            acks.push(ack.clone());
        }
        self.retransmissions += acks.len() as u32;
        self.outputs.extend(acks.into_iter().map(CallOutput::from));
        if let Some(contact) = contact {
            self.event(CallEvent::Remark(CallRemark::NoWay { contact, why: phrase(why) }));
        }
        self.resend_another_way(peer, remote);
    }
}
