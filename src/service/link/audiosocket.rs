//! A connection of AudioSocket, which Asterisk opens to us, with its linear audio turned into the call's codec.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Carried;
use crate::external::audiosocket::{AudioRate, Message, Reader, put_audio, put_hang_up};
use crate::rtp::{Codec, g711};
use crate::values::Uuid;

/// Bytes read at once: a frame of 20 ms has 323.
const CHUNK: usize = 4096;

/// A connection whose call is known.
pub struct AudioSocket {
    stream: TcpStream,
    reader: Reader,
    /// Bytes received, of which those up to `taken` have been read.
    received: Vec<u8>,
    taken: usize,
    /// One message, whole: a header that is cut hangs Asterisk's channel.
    out: Vec<u8>,
}

impl AudioSocket {
    /// Reads the name of its call from a new connection.
    ///
    /// # Errors
    /// It ends or breaks before that, or says something else: the reason, in words.
    pub async fn greet(stream: TcpStream) -> Result<(Self, Uuid), String> {
        // Frames are smaller than a segment, and none is to wait for another.
        let _ = stream.set_nodelay(true);
        let mut socket =
            AudioSocket { stream, reader: Reader::new(), received: Vec::new(), taken: 0, out: Vec::new() };
        loop {
            let mut rest = &socket.received[socket.taken..];
            let before = rest.len();
            let uuid = match socket.reader.read(&mut rest).map_err(|error| error.to_string())? {
                Some(Message::Uuid(uuid)) => Some(uuid),
                Some(_) => return Err("it does not begin with the name of a call".into()),
                None => None,
            };
            socket.taken += before - rest.len();
            if let Some(uuid) = uuid {
                return Ok((socket, uuid));
            }
            if !socket.fill().await.map_err(|error| error.to_string())? {
                return Err("it has ended before it named its call".into());
            }
        }
    }

    /// Reads more bytes; false at the end. Nothing is lost where the wait is given up.
    async fn fill(&mut self) -> io::Result<bool> {
        self.received.drain(..self.taken);
        self.taken = 0;
        self.received.reserve(CHUNK);
        Ok(self.stream.read_buf(&mut self.received).await? > 0)
    }

    /// The next news; audio goes into `audio`, in `codec`.
    pub async fn receive(&mut self, codec: Codec, audio: &mut Vec<u8>) -> io::Result<Carried> {
        loop {
            let mut rest = &self.received[self.taken..];
            let before = rest.len();
            let carried = match self.reader.read(&mut rest).map_err(io::Error::other)? {
                None => None,
                Some(Message::Audio(AudioRate::SLIN, samples)) => {
                    audio.clear();
                    audio.extend(samples.iter().map(|sample| g711::encode(codec, sample)));
                    Some(Carried::Audio)
                }
                Some(Message::Audio(rate, _)) => {
                    return Err(io::Error::other(format!(
                        "audio of {} Hz, where 8000 was agreed on",
                        rate.hz()
                    )));
                }
                Some(Message::Dtmf(digit)) => Some(Carried::Digit(digit)),
                Some(Message::HangUp) => Some(Carried::Ended),
                Some(Message::Error(code)) => {
                    return Err(io::Error::other(format!("Asterisk reports error {code:?}")));
                }
                Some(Message::Uuid(_)) => Some(Carried::Nothing),
            };
            self.taken += before - rest.len();
            match carried {
                Some(carried) => return Ok(carried),
                None if self.fill().await? => {}
                // Asterisk closes it with the channel, without a word.
                None => return self.reader.finish().map(|()| Carried::Ended).map_err(io::Error::other),
            }
        }
    }

    /// Sends a frame in `codec` as one message.
    pub async fn send(&mut self, codec: Codec, audio: &[u8]) -> io::Result<()> {
        let mut samples = Vec::with_capacity(audio.len());
        g711::decode_into(codec, audio, &mut samples);
        self.out.clear();
        put_audio(&mut self.out, AudioRate::SLIN, &samples);
        self.stream.write_all(&self.out).await
    }

    /// Hangs up.
    pub async fn close(mut self) -> io::Result<()> {
        self.out.clear();
        put_hang_up(&mut self.out);
        self.stream.write_all(&self.out).await?;
        self.stream.shutdown().await
    }
}
