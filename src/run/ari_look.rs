//! Looks at Asterisk's channels and bridges while calls are up: whose they are, and who is with whom.

use std::collections::HashSet;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::ari::CallIds;
use crate::asterisk::Ari;
use crate::asterisk::ari::{Bridge, Channel};
use crate::driver::{Progress, owns_call_id};
use crate::net::http::HttpError;
use crate::record::{AriState, Phase};

/// Time for calls that were answered a moment ago to be bridged, within the warm-up.
const SETTLE: Duration = Duration::from_secs(1);
/// Time for a look that is under way when the calls are over.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// Technologies of external media.
const MEDIA: [&str; 3] = ["UnicastRTP", "AudioSocket", "WebSocket"];

/// Marks of a run's own calls and of what is made for them.
#[derive(Debug, Clone)]
pub struct Marks {
    /// In the Call-ID of every call of the run.
    pub run_id: u32,
    /// The application.
    pub app: String,
    /// True if nobody but the run can call Asterisk: it has started it.
    pub is_managed: bool,
}

/// Asterisk's channels and bridges at one moment, parted by whose they are.
pub struct Inventory {
    /// Channels that are not of other callers.
    pub channels: Vec<Channel>,
    /// Bridges that are not of other callers.
    pub bridges: Vec<Bridge>,
    /// Number of channels of other callers, and of channels and bridges made for those.
    pub foreign: u64,
}

impl Marks {
    /// True for a channel of somebody who has called Asterisk and is not the driver. Channels that a service has
    /// made itself have no extension; an Asterisk before 18 does not tell.
    fn is_foreign(&self, channel: &Channel) -> bool {
        let has_called = !matches!(channel.dialplan.exten.as_str(), "" | "s");
        !self.is_managed && has_called && !channel.protocol_id.is_empty() && !self.is_own(channel)
    }

    fn is_own(&self, channel: &Channel) -> bool {
        owns_call_id(self.run_id, &channel.protocol_id)
    }

    /// True for a channel of one of the run's calls, as far as that can be told.
    fn is_caller(&self, channel: &Channel) -> bool {
        let is_sip = matches!(channel.technology(), "PJSIP" | "SIP");
        self.is_own(channel) || channel.protocol_id.is_empty() && is_sip
    }

    /// Asks for all channels and bridges, and parts them.
    ///
    /// # Errors
    /// Whatever came instead.
    pub async fn inventory(&self, ari: &Ari) -> Result<Inventory, HttpError> {
        Ok(self.part(ari.channels().await?, ari.bridges().await?))
    }

    fn part(&self, mut channels: Vec<Channel>, mut bridges: Vec<Bridge>) -> Inventory {
        let all = (channels.len() + bridges.len()) as u64;
        let of = |is: &dyn Fn(&Channel) -> bool| -> HashSet<String> {
            channels.iter().filter(|channel| is(channel)).map(|channel| channel.id.clone()).collect()
        };
        let (own, mut foreign) = (of(&|c| self.is_own(c)), of(&|c| self.is_foreign(c)));
        let callers = foreign.clone();
        // A channel that is with a foreign caller, and with none of ours, is that one's.
        let is_with =
            |bridge: &Bridge, set: &HashSet<String>| bridge.channels.iter().any(|c| set.contains(c));
        let is_named = |caller: Option<&str>| caller.is_some_and(|caller| callers.contains(caller));
        bridges.retain(|bridge| {
            let is_foreign = is_with(bridge, &callers) && !is_with(bridge, &own)
                || is_named(CallIds::caller_of_bridge(&self.app, &bridge.id));
            if is_foreign {
                foreign.extend(bridge.channels.iter().cloned());
            }
            !is_foreign
        });
        channels.retain(|channel| {
            !foreign.contains(&channel.id) && !is_named(CallIds::caller_of_media(&self.app, &channel.id))
        });
        let foreign = all - (channels.len() + bridges.len()) as u64;
        Inventory { channels, bridges, foreign }
    }

    /// Looks once at each Asterisk; the sums, or `None` where an ARI does not tell.
    async fn look(self, aris: Vec<Ari>, at_s: f64) -> Option<(AriState, u64)> {
        let (mut state, mut foreign) = (AriState { at_s, ..AriState::default() }, 0);
        for ari in &aris {
            let inventory = self.inventory(ari).await.ok()?;
            state += &self.state(&inventory);
            foreign += inventory.foreign;
        }
        Some((state, foreign))
    }

    fn state(&self, Inventory { channels, bridges, .. }: &Inventory) -> AriState {
        let bridged: HashSet<_> = bridges.iter().flat_map(|bridge| &bridge.channels).collect();
        let count =
            |is: &dyn Fn(&Channel) -> bool| channels.iter().filter(|channel| is(channel)).count() as u64;
        let is_alone = |channel: &Channel| !bridged.contains(&channel.id);
        let is_media = |channel: &Channel| MEDIA.contains(&channel.technology());
        AriState {
            callers: count(&|c| self.is_caller(c)),
            unbridged: count(&|c| self.is_caller(c) && is_alone(c)),
            outside: count(&|c| self.is_caller(c) && !c.is_in(&self.app)),
            media: count(&is_media),
            media_unbridged: count(&|c| is_media(c) && is_alone(c)),
            lone_bridges: bridges.iter().filter(|bridge| bridge.channels.len() == 1).count() as u64,
            ..AriState::default()
        }
    }
}

/// The looks of one trial: once the calls are up, and at the first silence.
pub struct Looks {
    marks: Marks,
    /// ARI of each Asterisk.
    aris: Vec<Ari>,
    /// Length of the hold phase.
    hold: Duration,
    at_calls_up: bool,
    at_silence: bool,
    under_way: JoinSet<Option<(AriState, u64)>>,
}

impl Looks {
    /// Looks at nothing where there is no ARI.
    pub fn new(marks: Marks, aris: Vec<Ari>, hold: Duration) -> Looks {
        Looks { marks, aris, hold, at_calls_up: false, at_silence: false, under_way: JoinSet::new() }
    }

    /// Begins a look if it is time for one.
    pub fn progress(&mut self, progress: &Progress<'_>) {
        let settled = SETTLE.min(self.hold / 2);
        if progress.phase != Phase::Hold || progress.in_phase < settled {
            return;
        }
        // Almost a whole call's packets, since other calls' are never quite as many.
        let lost = progress.recent.loss.unwrap_or_default() * f64::from(progress.calls_up);
        let is_due = !std::mem::replace(&mut self.at_calls_up, true)
            || lost >= 0.8 && !std::mem::replace(&mut self.at_silence, true);
        if is_due && !self.aris.is_empty() {
            self.under_way.spawn(self.marks.clone().look(self.aris.clone(), progress.elapsed.as_secs_f64()));
        }
    }

    /// The last look, and the largest number of channels and bridges of other callers.
    pub async fn finish(mut self) -> (Option<AriState>, u64) {
        let mut looks = Vec::new();
        let all = async {
            while let Some(look) = self.under_way.join_next().await {
                looks.extend(look.ok().flatten());
            }
        };
        // One that hangs is left out.
        let _ = tokio::time::timeout(LAST_LOOK, all).await;
        let foreign = looks.iter().map(|(_, foreign)| *foreign).max().unwrap_or_default();
        let last = looks.into_iter().map(|(state, _)| state).max_by(|a, b| a.at_s.total_cmp(&b.at_s));
        (last, foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::ari::Dialplan;

    fn channel(id: &str, name: &str, call_id: &str, exten: &str) -> Channel {
        Channel {
            id: id.into(),
            name: name.into(),
            state: "Up".into(),
            protocol_id: call_id.into(),
            dialplan: Dialplan { exten: exten.into(), app_name: "Stasis".into(), app_data: "app,x".into() },
        }
    }

    fn bridge(id: &str, channels: &[&str]) -> Bridge {
        Bridge { id: id.into(), channels: channels.iter().map(|id| id.to_string()).collect() }
    }

    fn marks() -> Marks {
        Marks { run_id: 0xABCD, app: "app".into(), is_managed: false }
    }

    const OWN: &str = "0000abcd00000001@127.0.0.1";

    #[test]
    fn other_callers_and_what_is_made_for_them_are_left_out() {
        let ids = CallIds::new("app", "stranger", 1, 1);
        let channels = vec![
            channel("own", "PJSIP/a-1", OWN, "service"),
            channel("leg", "UnicastRTP/x", "", ""),
            channel("stranger", "PJSIP/a-2", "somebody@else", "echo"),
            channel(&ids.media, "UnicastRTP/y", "", ""),
            channel("friend", "UnicastRTP/z", "", ""),
            channel("dialled", "PJSIP/b-3", "made-by-asterisk", "s"),
        ];
        let bridges = vec![
            bridge("one", &["own", "leg"]),
            bridge(&ids.bridge, &[]),
            bridge("two", &["stranger", "friend"]),
            bridge("alone", &["dialled"]),
        ];
        let inventory = marks().part(channels, bridges);
        let left: Vec<_> = inventory.channels.iter().map(|channel| channel.id.as_str()).collect();
        assert_eq!(left, ["own", "leg", "dialled"], "the leg that the service has dialled is no stranger's");
        assert_eq!(inventory.bridges.len(), 2);
        assert_eq!(inventory.foreign, 5);
        let state = AriState { callers: 1, media: 1, lone_bridges: 1, ..AriState::default() };
        assert_eq!(marks().state(&inventory), state);
    }

    #[test]
    fn an_asterisk_that_tells_no_call_id_has_callers_all_the_same() {
        let channels =
            vec![channel("a", "PJSIP/a-1", "", "service"), channel("b", "UnicastRTP/x", "", "service")];
        let inventory = marks().part(channels, vec![bridge("one", &["b"])]);
        let state = AriState { callers: 1, unbridged: 1, media: 1, lone_bridges: 1, ..AriState::default() };
        assert_eq!((marks().state(&inventory), inventory.foreign), (state, 0));
        let elsewhere = Marks { app: "other".into(), ..marks() };
        assert_eq!(elsewhere.state(&inventory).outside, 1);
    }
}
