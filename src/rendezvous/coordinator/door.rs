//! The coordinator's door: connections of strangers, and who of them is let in.

use super::super::message::{FromCoordinator, FromShard, Hello, cut};
use super::super::roll::{Absence, Exchanges};
use super::super::seal::{Channel, GREETING, Nonce};
use super::super::task::Purpose;
use super::super::{Beat, MOST_STRANGERS};
use super::{Coordinator, CoordinatorEvent, CoordinatorOutput, Present, Stage};
use crate::stamp::Stamp;

/// A connection.
pub(super) struct Connection {
    pub opened_at: Stamp,
    nonce: Nonce,
    /// Bytes before the shard's own nonce is there.
    early: Vec<u8>,
    pub channel: Option<Channel>,
    /// The shard that it is, once it has said so.
    pub index: Option<u32>,
}

impl Coordinator {
    pub(super) fn opened(&mut self, now: Stamp, id: u64, nonce: Nonce) {
        if self.strangers().count() >= MOST_STRANGERS {
            let oldest = self.strangers().min_by_key(|(id, stranger)| (stranger.opened_at, **id));
            let oldest = oldest.map(|(id, _)| *id);
            oldest.into_iter().for_each(|id| self.close(id));
        }
        let connection = Connection { opened_at: now, nonce, early: Vec::new(), channel: None, index: None };
        self.connections.insert(id, connection);
        self.outputs.push_back(CoordinatorOutput::Send(id, [&GREETING[..], &nonce].concat()));
    }

    pub(super) fn bytes(&mut self, now: Stamp, id: u64, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        // A part of a message is a sign of life as well: a file may come slowly.
        if let Some(shard) = connection.index.and_then(|index| self.present.get_mut(&index)) {
            shard.heard_at = now;
        }
        match &mut connection.channel {
            Some(channel) => channel.feed(bytes),
            None => {
                connection.early.extend_from_slice(bytes);
                let Some(shard) = connection.early.first_chunk::<32>() else { return };
                let secret = &self.settings.secret;
                let mut channel = Channel::of_coordinator(secret, &connection.nonce, shard);
                channel.feed(&std::mem::take(&mut connection.early)[32..]);
                connection.channel = Some(channel);
            }
        }
        loop {
            let channel = self.connections.get_mut(&id).and_then(|connection| connection.channel.as_mut());
            let Some(channel) = channel else { return };
            match channel.next::<FromShard>() {
                Ok(Some(message)) => self.hear(now, id, message),
                Ok(None) => return,
                Err(fault) => {
                    let index = self.connections.get(&id).and_then(|connection| connection.index);
                    self.close(id);
                    index.into_iter().for_each(|index| self.lose(index, Absence::Wrong(fault.to_string())));
                }
            }
        }
    }

    /// Admits who knows the key, if it is a shard of this run that is not there yet.
    pub(super) fn admit(&mut self, now: Stamp, id: u64, hello: &Hello) {
        let like = &self.settings.like;
        let index = hello.index;
        let differs = |what: &str, theirs: &dyn std::fmt::Display, ours: &dyn std::fmt::Display| {
            Some(format!("shard {index} has {what} {theirs}, this run has {ours}"))
        };
        let (theirs, ours) = (cut(&hello.version), &like.version);
        let why = match () {
            () if theirs != *ours => differs("version", &theirs, ours),
            () if hello.purpose != like.purpose => {
                let [theirs, ours] = [hello.purpose, like.purpose].map(Purpose::command);
                differs("the command", &theirs, &ours)
            }
            () if hello.count != like.count => differs("a number of shards of", &hello.count, &like.count),
            () if index >= like.count => differs("a number beyond the", &like.count, &"fewer"),
            () if hello.scenario != like.scenario => Some(format!(
                "shard {index} has another scenario than the coordinator: give all shards the same file, --set and \
                 environment"
            )),
            () if self.present.contains_key(&index) => {
                Some(format!("shard {index} is there already: each has a number of its own"))
            }
            () if !matches!(self.stage, Stage::Preparing | Stage::Gathering) => {
                Some(format!("shard {index} came after the start"))
            }
            () => None,
        };
        if let Some(why) = why {
            self.tell(id, &FromCoordinator::Refused { why: why.clone() });
            self.close(id);
            self.refused = Some(why);
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.index = Some(index);
        let shard = Present {
            connection: id,
            host: cut(&hello.host),
            heard_at: now,
            clock: Exchanges::default(),
            room: None,
            is_ready: false,
            beat: Beat::default(),
            started_ns: None,
            has_ended: false,
            has_delivered: false,
            absence: None,
        };
        self.present.insert(index, shard);
        self.event(CoordinatorEvent::Came(index));
        self.tell(id, &FromCoordinator::Welcome { run_id: self.settings.run_id });
        self.ping(now, index);
        if self.present.len() as u32 == self.settings.like.count {
            self.deadline = now + self.settings.wait;
        }
    }

    /// Connections that have not said who they are.
    pub(super) fn strangers(&self) -> impl Iterator<Item = (&u64, &Connection)> {
        self.connections.iter().filter(|(_, connection)| connection.index.is_none())
    }

    #[cfg(test)]
    pub(in crate::rendezvous) fn stranger_count(&self) -> usize {
        self.strangers().count()
    }
}
