//! Channels and bridges of an Asterisk: listed after connecting, when events may have been missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::ari::CallIds;
use crate::ari::event::{Event, MAX_ARGS};
use crate::net::http::{HttpClient, HttpError, HttpLimits};

/// A listing of some thousand channels, at about 700 bytes each, takes its time.
const LIMITS: HttpLimits = HttpLimits { timeout: Duration::from_secs(15), body: 32 * 1024 * 1024 };

/// All channels and bridges of an Asterisk, by id.
#[derive(Debug, Default)]
pub struct Listing {
    /// Time of this Asterisk's start, in its own words; `None` where it does not tell.
    pub started: Option<String>,
    /// Channels.
    pub channels: HashMap<String, ChannelPlace>,
    /// Bridges with the channels in each.
    pub bridges: HashMap<String, Vec<String>>,
}

/// A channel's place in the dialplan.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ChannelPlace {
    /// The extension.
    exten: String,
    /// The application that is running.
    app_name: String,
    /// Its arguments.
    app_data: String,
}

impl ChannelPlace {
    /// The dialplan's arguments behind the name, if the channel is in Stasis application `app`, and
    /// not by the extension `h`, which runs after a hang-up.
    pub fn args_in(&self, app: &str) -> Option<Vec<String>> {
        let mut words = self.app_data.split(',').map(str::to_string);
        let is_there = self.app_name == "Stasis" && words.next()? == app && self.exten != "h";
        is_there.then(|| words.take(MAX_ARGS).collect())
    }
}

/// Snapshot of a call's resources when the listing was requested; later ones may be missing from it.
pub struct CallSnapshot {
    pub caller: Arc<str>,
    pub serial: u64,
    pub media: bool,
    /// True once the media channel's StasisStart was read.
    pub media_in_app: bool,
    pub bridge: bool,
    /// True if both channels were in the bridge.
    pub bridged: bool,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
    #[serde(default)]
    dialplan: ChannelPlace,
}

#[derive(Deserialize)]
struct Bridge {
    id: String,
    #[serde(default)]
    channels: Vec<String>,
}

impl Listing {
    /// Asks for all of it.
    pub async fn fetch(client: &HttpClient) -> Result<Self, HttpError> {
        // A user may be denied this one, and an Asterisk may lack it.
        let info: Result<Value, HttpError> = client.get("/asterisk/info?only=status", LIMITS).await;
        let started = info.ok().and_then(|info| Some(info["status"]["startup_time"].as_str()?.to_string()));
        let channels: Vec<Channel> = client.get("/channels", LIMITS).await?;
        let bridges: Vec<Bridge> = client.get("/bridges", LIMITS).await?;
        Ok(Listing {
            started,
            channels: channels.into_iter().map(|channel| (channel.id, channel.dialplan)).collect(),
            bridges: bridges.into_iter().map(|bridge| (bridge.id, bridge.channels)).collect(),
        })
    }

    /// The events that a call has missed, as far as a listing can tell.
    pub fn missed(&self, app: &str, ids: &CallIds, known: &CallSnapshot) -> Vec<Event> {
        let mut events = Vec::new();
        let gone = |channel: &String| Event::ChannelDestroyed { channel: channel.clone() };
        // First of all: what follows from the caller's end is not to pass for its cause.
        if !self.channels.contains_key(&ids.caller) {
            events.push(gone(&ids.caller));
        }
        if known.media && !self.channels.contains_key(&ids.media) {
            events.push(gone(&ids.media));
        }
        let media = self.channels.get(&ids.media);
        if let Some(args) = media.filter(|_| !known.media_in_app).and_then(|place| place.args_in(app)) {
            let (channel, protocol_id) = (ids.media.clone(), None);
            events.push(Event::StasisStart { channel, args, protocol_id, hung_up: false });
        }
        let bridge = || ids.bridge.clone();
        match self.bridges.get(&ids.bridge) {
            Some(channels) => {
                let entered = |channel: &String| Event::ChannelEnteredBridge {
                    bridge: bridge(),
                    channel: channel.clone(),
                };
                let left = |channel: &String| Event::ChannelLeftBridge {
                    bridge: bridge(),
                    channel: channel.clone(),
                };
                events.extend(channels.iter().map(entered));
                // One that was not bridged yet may have been added after it was asked for.
                let both = [&ids.caller, &ids.media];
                let missing = both.into_iter().filter(|id| known.bridged && !channels.contains(id));
                events.extend(missing.map(left));
            }
            None if known.bridge => events.push(Event::BridgeDestroyed { bridge: bridge() }),
            None => {}
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_in_the_application_is_told_from_the_others() {
        let place = |exten: &str, app_name: &str, app_data: &str| ChannelPlace {
            exten: exten.into(),
            app_name: app_name.into(),
            app_data: app_data.into(),
        };
        let args = |place: ChannelPlace| place.args_in("app");
        assert_eq!(args(place("x", "Stasis", "app")), Some(vec![]));
        assert_eq!(args(place("x", "Stasis", "app,alaw,7")), Some(vec!["alaw".into(), "7".into()]));
        for other in [
            place("x", "Stasis", "apple"),
            place("h", "Stasis", "app"),
            place("x", "Echo", "app"),
            ChannelPlace::default(),
        ] {
            assert_eq!(args(other.clone()), None, "{other:?}");
        }
    }

    #[test]
    fn a_call_learns_what_it_missed_and_nothing_that_came_later() {
        let ids = CallIds::new("app", "1.1", 1, 1);
        let mut known = known();
        let mut listing = Listing::default();
        listing.channels.insert(ids.caller.clone(), ChannelPlace::default());
        let missed = listing.missed("app", &ids, &known);
        let media_gone = Event::ChannelDestroyed { channel: ids.media.clone() };
        assert_eq!(missed, [media_gone, Event::BridgeDestroyed { bridge: ids.bridge.clone() }]);
        (known.media, known.bridge) = (false, false);
        assert_eq!(listing.missed("app", &ids, &known), []);
        listing.channels.clear();
        listing.bridges.insert(ids.bridge.clone(), vec![ids.media.clone()]);
        let caller_gone = Event::ChannelDestroyed { channel: ids.caller.clone() };
        let entered = Event::ChannelEnteredBridge { bridge: ids.bridge.clone(), channel: ids.media.clone() };
        assert_eq!(listing.missed("app", &ids, &known), [caller_gone, entered]);
    }

    #[test]
    fn a_media_channel_in_the_application_was_missed_only_if_it_was_not_heard() {
        let ids = CallIds::new("app", "1.1", 1, 1);
        let mut known = CallSnapshot { media_in_app: false, ..known() };
        let mut listing = Listing::default();
        let in_app = ChannelPlace { app_name: "Stasis".into(), app_data: "app".into(), ..Default::default() };
        listing.channels.insert(ids.caller.clone(), in_app.clone());
        listing.bridges.insert(ids.bridge.clone(), vec![]);
        listing.channels.insert(ids.media.clone(), ChannelPlace::default());
        assert_eq!(listing.missed("app", &ids, &known), [], "it is not in yet");
        listing.channels.insert(ids.media.clone(), in_app);
        let start = Event::StasisStart {
            channel: ids.media.clone(),
            args: vec![],
            protocol_id: None,
            hung_up: false,
        };
        assert_eq!(listing.missed("app", &ids, &known), [start]);
        known.media_in_app = true;
        assert_eq!(listing.missed("app", &ids, &known), []);
    }

    #[test]
    fn who_is_not_in_the_bridge_any_more_has_left_it_if_the_call_was_bridged() {
        let ids = CallIds::new("app", "1.1", 1, 1);
        let mut known = CallSnapshot { bridged: true, ..known() };
        let mut listing = Listing::default();
        listing.channels.insert(ids.caller.clone(), ChannelPlace::default());
        listing.channels.insert(ids.media.clone(), ChannelPlace::default());
        listing.bridges.insert(ids.bridge.clone(), vec![ids.media.clone()]);
        let bridge = || ids.bridge.clone();
        let entered = Event::ChannelEnteredBridge { bridge: bridge(), channel: ids.media.clone() };
        let left = Event::ChannelLeftBridge { bridge: bridge(), channel: ids.caller.clone() };
        assert_eq!(listing.missed("app", &ids, &known), [entered.clone(), left]);
        known.bridged = false;
        assert_eq!(listing.missed("app", &ids, &known), [entered]);
    }

    /// A call that has everything and is not bridged yet.
    fn known() -> CallSnapshot {
        CallSnapshot {
            caller: "1.1".into(),
            serial: 1,
            media: true,
            media_in_app: true,
            bridge: true,
            bridged: false,
        }
    }
}
