//! Questions to Asterisk's REST interface that belong to no call: is it ready, what does it list.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use hyper::{Method, Uri};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Account;
use crate::ari::request::{NOTHING, encoded, is_read_only};
use crate::net::http::{HttpClient, HttpError, HttpLimits};
use crate::values::cut;

/// An Asterisk under way to being ready may leave a small question waiting.
const LIMITS: HttpLimits = HttpLimits { timeout: Duration::from_secs(2), body: 1 << 20 };
/// A listing of some thousand channels, at about 700 bytes each.
const LISTING: HttpLimits = HttpLimits { timeout: Duration::from_secs(5), body: 32 << 20 };

/// A version is shown in a line.
const VERSION_MAX: usize = 100;

/// A channel, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Channel {
    /// Its id.
    pub id: String,
    /// Its name, as in `PJSIP/driver-00000001`.
    #[serde(default)]
    pub name: String,
    /// Its state, as in `Up`.
    #[serde(default)]
    pub state: String,
    /// The Call-ID of a SIP channel; empty for others, and from Asterisk before 18.
    #[serde(default)]
    pub protocol_id: String,
    /// Its place in the dialplan.
    #[serde(default)]
    pub dialplan: Dialplan,
}

/// A channel's place in the dialplan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Dialplan {
    /// The extension; empty or `s` for a channel that nobody has called.
    #[serde(default)]
    pub exten: String,
    /// The dialplan's application that it is in.
    #[serde(default)]
    pub app_name: String,
    /// That one's arguments.
    #[serde(default)]
    pub app_data: String,
}

impl Channel {
    /// The first part of its name, as in `PJSIP`.
    pub fn technology(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// True if it is in the Stasis application `app`.
    pub fn is_in(&self, app: &str) -> bool {
        self.dialplan.app_name == "Stasis" && self.dialplan.app_data.split(',').next() == Some(app)
    }
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bridge {
    /// Its id.
    pub id: String,
    /// The ids of its channels.
    #[serde(default)]
    pub channels: Vec<String>,
}

/// Asterisk's REST interface and an account of it. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Ari {
    /// `http://host:port`, without the path `/ari`.
    pub url: String,
    /// The account.
    pub account: Account,
    client: HttpClient,
}

impl Ari {
    /// The one at `url`. Connects when it is first asked.
    ///
    /// # Errors
    /// For an address that is not `http://host:port`.
    pub fn new(url: String, account: Account) -> Result<Ari, HttpError> {
        let client = HttpClient::new(&url, Some((&account.user, account.password.expose())))?;
        Ok(Ari { url, account, client })
    }

    /// Asks whether it answers this account.
    ///
    /// # Errors
    /// Whatever came instead.
    pub async fn ping(&self) -> Result<(), HttpError> {
        let IgnoredAny = self.client.get("/ari/asterisk/ping", LIMITS).await?;
        Ok(())
    }

    /// Asks whether it lists the application `app`.
    ///
    /// # Errors
    /// Whatever came instead of a yes or no.
    pub async fn lists(&self, app: &str) -> Result<bool, HttpError> {
        match self.client.get(&format!("/ari/applications/{}", encoded(app)), LIMITS).await {
            Ok(IgnoredAny) => Ok(true),
            Err(HttpError::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks whether this account may do more than read.
    ///
    /// # Errors
    /// Whatever came instead of an answer.
    pub async fn may_write(&self) -> Result<bool, HttpError> {
        let answer = self.client.send(Method::DELETE, &format!("/ari{NOTHING}"), LIMITS).await?;
        Ok(!is_read_only(answer.status, &answer.body))
    }

    /// All channels.
    ///
    /// # Errors
    /// Whatever came instead.
    pub async fn channels(&self) -> Result<Vec<Channel>, HttpError> {
        self.client.get("/ari/channels", LISTING).await
    }

    /// All bridges.
    ///
    /// # Errors
    /// Whatever came instead.
    pub async fn bridges(&self) -> Result<Vec<Bridge>, HttpError> {
        self.client.get("/ari/bridges", LISTING).await
    }

    /// Its version, as it says, as in `22.10.1`.
    ///
    /// # Errors
    /// Whatever came instead.
    pub async fn version(&self) -> Result<String, HttpError> {
        #[derive(Deserialize)]
        struct Info {
            system: System,
        }
        #[derive(Deserialize)]
        struct System {
            version: String,
        }
        let Info { system } = self.client.get("/ari/asterisk/info", LIMITS).await?;
        Ok(cut(&system.version, VERSION_MAX))
    }

    /// Its address without an account that somebody has written into it, as it may be shown.
    pub fn shown(&self) -> String {
        without_account(&self.url)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.host_and_port().1
    }

    /// The addresses that its URL stands for; none where the host has none.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let (host, port) = self.host_and_port();
        let addresses = (host.trim_matches(['[', ']']), port).to_socket_addrs();
        addresses.map(Iterator::collect).unwrap_or_default()
    }

    fn host_and_port(&self) -> (String, u16) {
        let url = self.url.parse::<Uri>().unwrap_or_default();
        (url.host().unwrap_or_default().into(), url.port_u16().unwrap_or(80))
    }
}

/// An address without the user and password that may be written into it.
pub fn without_account(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{host}{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::without_account;

    #[test]
    fn an_address_is_shown_without_its_account() {
        for (url, shown) in [
            ("http://me:pass@host:8088/ari", "http://host:8088/ari"),
            ("http://me:p@ss@host", "http://host"),
            ("http://me@[::1]:8088?a=b@c", "http://[::1]:8088?a=b@c"),
            ("me:pass@host:1", "host:1"),
            ("http://host:8088/@", "http://host:8088/@"),
            ("", ""),
        ] {
            assert_eq!(without_account(url), shown);
        }
    }
}
