//! Asks a starting Asterisk over HTTP whether ARI answers this user.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::config::Secret;

/// A ping's answer has 100 bytes.
const ANSWER_MAX: usize = 16 * 1024;

/// One `GET /ari/asterisk/ping`; the error says in words what came instead of 200.
pub(super) async fn ping(addr: SocketAddr, user: &str, password: &Secret) -> Result<(), Refused> {
    let status = get(addr, user, password).await.map_err(|e| Refused::Silent(e.to_string()))?;
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED => Err(Refused::Stranger),
        other => Err(Refused::Silent(format!("ARI answered {other}"))),
    }
}

/// Why a ping was not answered as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Something is there that does not know the user: not the Asterisk that was started.
    Stranger,
    /// Nothing useful came.
    Silent(String),
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn get(addr: SocketAddr, user: &str, password: &Secret) -> Result<StatusCode, Failure> {
    let stream = TcpStream::connect(addr).await?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let credentials = base64(format!("{user}:{}", password.expose()).as_bytes());
    let request = Request::get("/ari/asterisk/ping")
        .header(HOST, addr.to_string())
        .header(AUTHORIZATION, format!("Basic {credentials}"))
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = client.send_request(request).await?;
        let status = response.status();
        Limited::new(response.into_body(), ANSWER_MAX).collect().await?;
        Ok(status)
    };
    tokio::select! {
        answer = exchange => answer,
        ended = connection => Err(ended.err().map_or_else(|| "the connection was closed".into(), Into::into)),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let sextet = (group >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648_section_10() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
