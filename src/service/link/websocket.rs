//! A WebSocket to Asterisk's chan_websocket, which we open, with media in the call's codec.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::Carried;
use crate::external::websocket::{Command, ControlForm, Event, LONGEST_EVENT};

/// From connecting to the end of the handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// An open WebSocket.
pub struct WebSocket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Asterisk takes commands in the form of its events alone.
    form: ControlForm,
}

impl WebSocket {
    /// Connects to the media channel `name` at the HTTP server `http` (`host:port`).
    ///
    /// # Errors
    /// The reason, in words.
    pub async fn connect(http: &str, name: &str) -> Result<Self, String> {
        let url = format!("ws://{http}/media/{name}");
        let mut request = url.into_client_request().map_err(|error| error.to_string())?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("media"));
        let config = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_EVENT))
            .max_frame_size(Some(LONGEST_EVENT));
        // A frame is not to wait for another.
        let connecting = connect_async_with_config(request, Some(config), true);
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        let connected = connected.map_err(|_| "Asterisk does not answer the handshake".to_string())?;
        let (socket, _) = connected.map_err(|error| error.to_string())?;
        Ok(WebSocket { socket, form: ControlForm::Json })
    }

    /// The next news; audio goes into `audio`.
    pub async fn receive(&mut self, audio: &mut Vec<u8>) -> io::Result<Carried> {
        loop {
            let message = match self.socket.next().await {
                None => return Ok(Carried::Ended),
                Some(message) => message.map_err(io::Error::other)?,
            };
            match message {
                Message::Binary(bytes) => {
                    audio.clear();
                    audio.extend_from_slice(&bytes);
                    return Ok(Carried::Audio);
                }
                Message::Text(text) => {
                    let event = Event::parse(&text).map_err(io::Error::other)?;
                    if matches!(event, Event::MediaStart(_)) {
                        self.form = ControlForm::of(&text);
                    }
                    return Ok(news(event));
                }
                Message::Close(_) => return Ok(Carried::Ended),
                // Pings are answered by the library.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, audio: &[u8]) -> io::Result<()> {
        self.socket.send(Message::Binary(audio.to_vec().into())).await.map_err(io::Error::other)
    }

    /// Asks for the length of Asterisk's queue; [`Carried::Queue`] is the answer.
    pub async fn ask(&mut self) -> io::Result<()> {
        let text = Command::GetStatus.text(self.form);
        self.socket.send(Message::Text(text.into())).await.map_err(io::Error::other)
    }

    /// Hangs up.
    pub async fn close(mut self) -> io::Result<()> {
        self.socket.close(None).await.map_err(io::Error::other)
    }
}

fn news(event: Event) -> Carried {
    match event {
        Event::Status(status) => Carried::Queue(status.queue_length.into()),
        Event::Xoff => Carried::Full,
        Event::DtmfEnd(digit) => Carried::Digit(digit),
        Event::Error(words) => {
            tracing::debug!(words, "chan_websocket refuses a command");
            Carried::Nothing
        }
        _ => Carried::Nothing,
    }
}
