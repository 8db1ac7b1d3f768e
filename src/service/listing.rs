//! What exists in Asterisk: asked for after connecting, when events may have been missed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use crate::ari::CallIds;
use crate::ari::event::Event;
use crate::net::http::{HttpClient, Limits};

/// A listing of some thousand channels, at about 700 bytes each, takes its time.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(15), body: 32 * 1024 * 1024 };

/// All channels and bridges of an Asterisk, by id.
#[derive(Debug, Default)]
pub struct Listing {
    /// Channels.
    pub channels: HashSet<String>,
    /// Bridges with the channels in each.
    pub bridges: HashMap<String, Vec<String>>,
}

/// What a call was known to have when a listing was asked for: what came later says nothing by its absence.
pub struct Known {
    pub caller: Arc<str>,
    pub serial: u64,
    pub media: bool,
    pub bridge: bool,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
}

#[derive(Deserialize)]
struct Bridge {
    id: String,
    #[serde(default)]
    channels: Vec<String>,
}

impl Listing {
    /// Asks for both; an error in words otherwise.
    pub async fn fetch(client: &HttpClient) -> Result<Self, String> {
        let channels: Vec<Channel> = get(client, "/channels").await?;
        let bridges: Vec<Bridge> = get(client, "/bridges").await?;
        Ok(Listing {
            channels: channels.into_iter().map(|channel| channel.id).collect(),
            bridges: bridges.into_iter().map(|bridge| (bridge.id, bridge.channels)).collect(),
        })
    }

    /// The events that a call has missed, as far as a listing can tell.
    pub fn missed(&self, ids: &CallIds, known: &Known) -> Vec<Event> {
        let mut events = Vec::new();
        let gone = |channel: &String| Event::ChannelDestroyed { channel: channel.clone(), cause: 0 };
        // First of all: what follows from the caller's end is not to pass for its cause.
        if !self.channels.contains(&ids.caller) {
            events.push(gone(&ids.caller));
        }
        if known.media && !self.channels.contains(&ids.media) {
            events.push(gone(&ids.media));
        }
        match self.bridges.get(&ids.bridge) {
            Some(channels) => events.extend(channels.iter().map(|channel| Event::ChannelEnteredBridge {
                bridge: ids.bridge.clone(),
                channel: channel.clone(),
            })),
            None if known.bridge => events.push(Event::BridgeDestroyed { bridge: ids.bridge.clone() }),
            None => {}
        }
        events
    }
}

async fn get<T: for<'a> Deserialize<'a>>(client: &HttpClient, path: &str) -> Result<T, String> {
    let answer = client.send(Method::GET, path, LIMITS).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("HTTP status {} to GET {path}", answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("GET {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_learns_what_it_missed_and_nothing_that_came_later() {
        let ids = CallIds::new("app", "1.1");
        let mut known = Known { caller: "1.1".into(), serial: 1, media: true, bridge: true };
        let mut listing = Listing::default();
        listing.channels.insert(ids.caller.clone());
        let missed = listing.missed(&ids, &known);
        let media_gone = Event::ChannelDestroyed { channel: ids.media.clone(), cause: 0 };
        assert_eq!(missed, [media_gone, Event::BridgeDestroyed { bridge: ids.bridge.clone() }]);
        (known.media, known.bridge) = (false, false);
        assert_eq!(listing.missed(&ids, &known), []);
        listing.channels.clear();
        listing.bridges.insert(ids.bridge.clone(), vec![ids.media.clone()]);
        let caller_gone = Event::ChannelDestroyed { channel: ids.caller.clone(), cause: 0 };
        let entered = Event::ChannelEnteredBridge { bridge: ids.bridge.clone(), channel: ids.media.clone() };
        assert_eq!(listing.missed(&ids, &known), [caller_gone, entered]);
    }
}
