//! Targets that read text: ARI's events and answers, gates, scenarios, files of callers.

use loadtest::accounts::{self, Filling, Template};
use loadtest::ari::MediaPeer;
use loadtest::ari::event::{Event, MAX_ARGS, MAX_EVENT_LEN, MAX_ID_LEN};
use loadtest::ari::request::media_peer;
use loadtest::gate::Gate;
use loadtest::scenario::Resolved;
use serde_json::json;

/// One event; what is understood of it reads back the same when it is written by us.
pub fn event(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let event = match Event::parse(&text) {
        Ok(event) => event,
        Err(error) => {
            assert!(error.to_string().len() <= 1024, "{error}");
            return;
        }
    };
    assert!(text.len() <= MAX_EVENT_LEN);
    assert!(event.channel().is_none_or(|id| (1..=MAX_ID_LEN).contains(&id.len())));
    let again = match &event {
        Event::StasisStart { channel, args, protocol_id, hung_up } => {
            assert!(args.len() <= MAX_ARGS);
            let exten = if *hung_up { "h" } else { "1" };
            json!({ "type": "StasisStart", "args": args,
                "channel": { "id": channel, "protocol_id": protocol_id.clone().unwrap_or_default(),
                             "dialplan": { "exten": exten } } })
        }
        Event::StasisEnd { channel } => json!({ "type": "StasisEnd", "channel": { "id": channel } }),
        Event::ChannelDestroyed { channel } => {
            json!({ "type": "ChannelDestroyed", "channel": { "id": channel } })
        }
        Event::ChannelEnteredBridge { bridge, channel } => {
            json!({ "type": "ChannelEnteredBridge", "bridge": { "id": bridge }, "channel": { "id": channel } })
        }
        Event::ChannelLeftBridge { bridge, channel } => {
            json!({ "type": "ChannelLeftBridge", "bridge": { "id": bridge }, "channel": { "id": channel } })
        }
        Event::BridgeDestroyed { bridge } => json!({ "type": "BridgeDestroyed", "bridge": { "id": bridge } }),
        Event::ApplicationReplaced => json!({ "type": "ApplicationReplaced" }),
        Event::Other => json!({ "type": "Other" }),
    };
    assert_eq!(Event::parse(&again.to_string()).expect("ours is one"), event);
}

/// The body of an answer: the place of Asterisk's side of the media, or none.
pub fn body(input: &[u8]) {
    let Some(peer) = media_peer(input) else {
        return;
    };
    let vars = match &peer {
        MediaPeer::Rtp(address) => {
            assert!(address.port() != 0 && !address.ip().is_unspecified());
            json!({ "UNICASTRTP_LOCAL_ADDRESS": address.ip().to_string(),
                    "UNICASTRTP_LOCAL_PORT": address.port().to_string() })
        }
        MediaPeer::WebSocket(name) => {
            assert!(!name.contains('/') && name.len() < 256);
            json!({ "MEDIA_WEBSOCKET_CONNECTION_ID": name })
        }
        MediaPeer::Connects => unreachable!("no body says so"),
    };
    let again = json!({ "channelvars": vars }).to_string();
    assert_eq!(media_peer(again.as_bytes()), Some(peer));
}

/// A gate, which reads back the same from what it is shown as.
pub fn gate(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let gate = match Gate::parse(&text) {
        Ok(gate) => gate,
        Err(error) => {
            // A cure may name every metric of a family.
            assert!(error.reason.len() <= 2 * text.len() + 256 && error.cure.len() <= 1024, "{error}");
            return;
        }
    };
    assert!(gate.bound.is_finite(), "{gate}: {}", gate.bound);
    assert_eq!(Gate::parse(&gate.to_string()).as_ref(), Ok(&gate));
    assert!(!gate.op.holds(f64::NAN, gate.bound), "nothing holds of what is no number");
}

/// A scenario, which reads back the same from what is kept of it in the run folder.
pub fn scenario(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let resolved = match Resolved::read(&text, "fuzz.toml", &[]) {
        Ok(resolved) => resolved,
        Err(error) => {
            let said = error.to_string();
            // The lines in question and their carets, a few times over.
            assert!(
                said.len() <= 16 * text.len() + 16_384,
                "{} bytes of error for {}",
                said.len(),
                text.len()
            );
            assert!(!said.contains('\u{1b}'), "what is quoted does not command the terminal: {said:?}");
            return;
        }
    };
    let kept = resolved.to_toml();
    assert!(kept.len() <= 8 * text.len() + 4096);
    let again = Resolved::read(&kept, "kept.toml", &[]).unwrap_or_else(|e| panic!("{e}\n{kept}"));
    assert_eq!(again.scenario, resolved.scenario);
    assert_eq!(again.to_toml(), kept);
}

/// A file of callers is read or refused in words; what a template makes of its fields is bounded and ends no line. The
/// file stands for the template as well.
pub fn accounts(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let accounts = match accounts::parse(text) {
        Ok(accounts) => accounts,
        Err(error) => return assert!(error.line > 0 && !error.why.is_empty()),
    };
    assert!(!accounts.all().is_empty() && accounts.all().len() <= accounts::MOST_ACCOUNTS);
    for (number, account) in (0..).zip(accounts.all().iter().take(100)) {
        assert!(!account.user.is_empty() && accounts.index_of(number, 1) < accounts.all().len());
        assert!(account.domain.as_ref().is_none_or(|domain| accounts::is_domain(domain)));
        for line in text.lines().take(100) {
            let Ok(template) = Template::parse(line) else { continue };
            let filling = Filling {
                user: &account.user,
                call: number,
                line: number,
                account: Some((&accounts, account)),
            };
            let filled = template.fill(filling);
            let is_plain = accounts::value_fault(line).is_none();
            assert!(filled.len() <= 4096 && (!is_plain || !filled.contains(char::is_control)), "{filled:?}");
        }
    }
}
