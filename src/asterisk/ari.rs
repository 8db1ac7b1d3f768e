//! Questions to Asterisk's REST interface that belong to no call: is it ready, what does it list.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Account;
use crate::ari::request::encoded;
use crate::net::http::{HttpClient, HttpError, HttpLimits};

/// An Asterisk under way to being ready may leave a small question waiting.
const LIMITS: HttpLimits = HttpLimits { timeout: Duration::from_secs(2), body: 1 << 20 };
/// A listing of some thousand channels, at about 700 bytes each.
const LISTING: HttpLimits = HttpLimits { timeout: Duration::from_secs(5), body: 32 << 20 };

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

    /// The ids of all `channels` or all `bridges`.
    ///
    /// # Errors
    /// Whatever came instead.
    pub async fn ids(&self, kind: &str) -> Result<BTreeSet<String>, HttpError> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let named: Vec<Named> = self.client.get(&format!("/ari/{kind}"), LISTING).await?;
        Ok(named.into_iter().map(|named| named.id).collect())
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
