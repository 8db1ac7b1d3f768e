//! What exists in Asterisk: asked for after connecting, when events may have been missed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

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
}

async fn get<T: for<'a> Deserialize<'a>>(client: &HttpClient, path: &str) -> Result<T, String> {
    let answer = client.send(Method::GET, path, LIMITS).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("HTTP status {} to GET {path}", answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("GET {path}: {error}"))
}
