//! What exists in Asterisk: asked for after connecting, when events may have been missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use crate::ari::CallIds;
use crate::ari::event::{Event, MAX_ARGS};
use crate::net::http::{HttpClient, Limits};

/// A listing of some thousand channels, at about 700 bytes each, takes its time.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(15), body: 32 * 1024 * 1024 };

/// All channels and bridges of an Asterisk, by id.
#[derive(Debug, Default)]
pub struct Listing {
    /// When this Asterisk was started, in its own words; `None` where it does not tell.
    pub started: Option<String>,
    /// Channels.
    pub channels: HashMap<String, Place>,
    /// Bridges with the channels in each.
    pub bridges: HashMap<String, Vec<String>>,
}

/// Where in the dialplan a channel is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The extension.
    exten: String,
    /// The application that is running.
    app_name: String,
    /// Its arguments.
    app_data: String,
}

impl Place {
    /// The dialplan's arguments behind the name, if the channel is in Stasis application `app`, and
    /// not by the extension `h`, which runs after a hang-up.
    pub fn args_in(&self, app: &str) -> Option<Vec<String>> {
        let mut words = self.app_data.split(',').map(str::to_string);
        let is_there = self.app_name == "Stasis" && words.next()? == app && self.exten != "h";
        is_there.then(|| words.take(MAX_ARGS).collect())
    }
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
    #[serde(default)]
    dialplan: Place,
}

#[derive(Deserialize)]
struct Info {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    startup_time: String,
}

#[derive(Deserialize)]
struct Bridge {
    id: String,
    #[serde(default)]
    channels: Vec<String>,
}

impl Listing {
    /// Asks for all of it; an error in words otherwise.
    pub async fn fetch(client: &HttpClient) -> Result<Self, String> {
        // A user may be denied this one, and an Asterisk may lack it.
        let info: Result<Info, String> = get(client, "/asterisk/info?only=status").await;
        let channels: Vec<Channel> = get(client, "/channels").await?;
        let bridges: Vec<Bridge> = get(client, "/bridges").await?;
        Ok(Listing {
            started: info.ok().map(|info| info.status.startup_time),
            channels: channels.into_iter().map(|channel| (channel.id, channel.dialplan)).collect(),
            bridges: bridges.into_iter().map(|bridge| (bridge.id, bridge.channels)).collect(),
        })
    }

    /// The events that a call has missed, as far as a listing can tell.
    pub fn missed(&self, ids: &CallIds, known: &Known) -> Vec<Event> {
        let mut events = Vec::new();
        let gone = |channel: &String| Event::ChannelDestroyed { channel: channel.clone(), cause: 0 };
        // First of all: what follows from the caller's end is not to pass for its cause.
        if !self.channels.contains_key(&ids.caller) {
            events.push(gone(&ids.caller));
        }
        if known.media && !self.channels.contains_key(&ids.media) {
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
    fn who_waits_in_the_application_is_told_from_the_others() {
        let place = |exten: &str, app_name: &str, app_data: &str| Place {
            exten: exten.into(),
            app_name: app_name.into(),
            app_data: app_data.into(),
        };
        let args = |place: Place| place.args_in("app");
        assert_eq!(args(place("x", "Stasis", "app")), Some(vec![]));
        assert_eq!(args(place("x", "Stasis", "app,alaw,7")), Some(vec!["alaw".into(), "7".into()]));
        for other in [
            place("x", "Stasis", "apple"),
            place("h", "Stasis", "app"),
            place("x", "Echo", "app"),
            Place::default(),
        ] {
            assert_eq!(args(other.clone()), None, "{other:?}");
        }
    }

    #[test]
    fn a_call_learns_what_it_missed_and_nothing_that_came_later() {
        let ids = CallIds::new("app", "1.1");
        let mut known = Known { caller: "1.1".into(), serial: 1, media: true, bridge: true };
        let mut listing = Listing::default();
        listing.channels.insert(ids.caller.clone(), Place::default());
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
