//! Frames of a connection: length, HMAC-SHA256 (RFC 2104), JSON. Bounded, numbered, and under keys of one connection.

use std::fmt;

use hmac::{Hmac, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

/// First bytes of a coordinator's greeting, before its nonce.
pub const GREETING: &[u8; 16] = b"loadtest-shards1";
/// Bytes of an HMAC.
const TAG: usize = 32;
/// Bytes of a frame's length.
const LENGTH: usize = 4;
/// Largest frame of who has not said who it is.
const MOST_OF_STRANGER: usize = 4 << 10;
/// Largest frame.
pub(super) const MOST_OF_MEMBER: usize = 1 << 20;
/// Shortest key: of fewer characters all can be tried.
const SHORTEST_KEY: usize = 16;
/// Longest key.
const LONGEST_KEY: usize = 1024;

/// A number that is used once, from the operating system's random numbers.
pub type Nonce = [u8; 32];

/// The key of a run, which all its shards know.
#[derive(Clone)]
pub struct RunSecret(Vec<u8>);

/// A key that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It can be guessed.
    #[error("it has {0} characters, and {SHORTEST_KEY} are the least: `openssl rand -hex 16` makes one")]
    Short(usize),
    /// It is no key.
    #[error("it has {0} characters, and {LONGEST_KEY} are the most")]
    Long(usize),
}

impl RunSecret {
    /// A key as it stands in the environment.
    ///
    /// # Errors
    /// It is too short or too long.
    pub fn new(text: &str) -> Result<RunSecret, SecretError> {
        let text = text.trim();
        match text.len() {
            ..SHORTEST_KEY => Err(SecretError::Short(text.len())),
            SHORTEST_KEY..=LONGEST_KEY => Ok(RunSecret(text.as_bytes().to_vec())),
            more => Err(SecretError::Long(more)),
        }
    }

    fn key(&self, purpose: &[u8], coordinator: &Nonce, shard: &Nonce) -> Vec<u8> {
        let mut mac = mac(&self.0);
        [purpose, coordinator, shard].into_iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
}

impl fmt::Debug for RunSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunSecret(..)")
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    // Invariant: HMAC takes keys of any length.
    Hmac::new_from_slice(key).expect("a key of any length")
}

/// Fault of a frame, after which the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it sent a frame that is too large")]
    TooLarge,
    #[error("it does not know the run's key (LOADTEST_KEY)")]
    Forged,
    #[error("it sent a frame that this version does not understand")]
    Unreadable,
}

/// One direction of a connection.
struct Direction {
    key: Vec<u8>,
    /// Frames so far: one that comes again, or in another's place, is forged.
    frames: u64,
}

impl Direction {
    fn mac(&mut self, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = mac(&self.key);
        mac.update(&self.frames.to_be_bytes());
        mac.update(payload);
        self.frames += 1;
        mac
    }
}

/// Sealed frames both ways.
pub(super) struct Channel {
    out: Direction,
    back: Direction,
    received: Vec<u8>,
    most: usize,
}

impl Channel {
    /// The coordinator's end. The other is a stranger until its first frame is understood.
    pub(super) fn of_coordinator(secret: &RunSecret, coordinator: &Nonce, shard: &Nonce) -> Channel {
        let [to_shard, from_shard] = keys(secret, coordinator, shard);
        Channel { out: to_shard, back: from_shard, received: Vec::new(), most: MOST_OF_STRANGER }
    }

    /// A shard's end.
    pub(super) fn of_shard(secret: &RunSecret, coordinator: &Nonce, shard: &Nonce) -> Channel {
        let [to_shard, from_shard] = keys(secret, coordinator, shard);
        Channel { out: from_shard, back: to_shard, received: Vec::new(), most: MOST_OF_MEMBER }
    }

    /// Takes bytes off the connection.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The next message that is there as a whole.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Fault> {
        let Some(length) = self.received.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.most || length < TAG {
            return Err(Fault::TooLarge);
        }
        let Some(frame) = self.received.get(LENGTH..LENGTH + length) else { return Ok(None) };
        let (tag, payload) = frame.split_at(TAG);
        self.back.mac(payload).verify_slice(tag).map_err(|_| Fault::Forged)?;
        let message = serde_json::from_slice(payload).map_err(|_| Fault::Unreadable)?;
        self.received.drain(..LENGTH + length);
        self.most = MOST_OF_MEMBER;
        Ok(Some(message))
    }

    /// A message as it goes onto the connection.
    pub(super) fn seal<T: Serialize>(&mut self, message: &T) -> Vec<u8> {
        // Invariant: messages have texts, numbers and lists of them, all of which JSON has.
        let payload = serde_json::to_vec(message).expect("a message is JSON");
        let tag = self.out.mac(&payload).finalize().into_bytes();
        let length = u32::try_from(TAG + payload.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes()[..], &tag, &payload].concat()
    }

    /// Bytes that wait for the rest of their frame.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.received.len()
    }
}

/// Keys to the shard, and from it.
fn keys(secret: &RunSecret, coordinator: &Nonce, shard: &Nonce) -> [Direction; 2] {
    [&b"to the shard"[..], b"from the shard"]
        .map(|purpose| Direction { key: secret.key(purpose, coordinator, shard), frames: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(coordinator: &str, shard: &str) -> (Channel, Channel) {
        let [one, other] = [coordinator, shard].map(|key| RunSecret::new(key).unwrap());
        (Channel::of_coordinator(&one, &[1; 32], &[2; 32]), Channel::of_shard(&other, &[1; 32], &[2; 32]))
    }

    const KEY: &str = "0123456789abcdef";

    #[test]
    fn frames_come_as_they_were_sent_in_any_pieces() {
        let (mut coordinator, mut shard) = pair(KEY, KEY);
        let bytes: Vec<u8> = (0..3u32).flat_map(|n| shard.seal(&n)).collect();
        let mut read = Vec::new();
        for byte in bytes {
            coordinator.feed(&[byte]);
            while let Some(n) = coordinator.next::<u32>().unwrap() {
                read.push(n);
            }
        }
        assert_eq!(read, [0, 1, 2]);
        let back = coordinator.seal(&"x");
        shard.feed(&back);
        assert_eq!(shard.next::<String>().unwrap().unwrap(), "x");
    }

    #[test]
    fn frames_of_another_key_connection_direction_or_turn_are_forged() {
        let secret = RunSecret::new(KEY).unwrap();
        let sealed = Channel::of_shard(&secret, &[1; 32], &[2; 32]).seal(&7u32);
        let told = |mut channel: Channel, bytes: &[u8]| {
            channel.feed(bytes);
            channel.next::<u32>()
        };
        assert_eq!(told(Channel::of_coordinator(&secret, &[1; 32], &[2; 32]), &sealed), Ok(Some(7)));
        let other = RunSecret::new("0123456789abcdeF").unwrap();
        assert_eq!(told(Channel::of_coordinator(&other, &[1; 32], &[2; 32]), &sealed), Err(Fault::Forged));
        assert_eq!(told(Channel::of_coordinator(&secret, &[3; 32], &[2; 32]), &sealed), Err(Fault::Forged));
        assert_eq!(told(Channel::of_shard(&secret, &[1; 32], &[2; 32]), &sealed), Err(Fault::Forged));
        let twice = [sealed.clone(), sealed.clone()].concat();
        let mut channel = Channel::of_coordinator(&secret, &[1; 32], &[2; 32]);
        channel.feed(&twice);
        assert_eq!((channel.next::<u32>(), channel.next::<u32>()), (Ok(Some(7)), Err(Fault::Forged)));
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert_ne!(
                told(Channel::of_coordinator(&secret, &[1; 32], &[2; 32]), &bent),
                Ok(Some(7)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_length_is_not_believed() {
        for length in [0u32, 31, 5000, u32::MAX] {
            let (mut coordinator, _) = pair(KEY, KEY);
            coordinator.feed(&length.to_be_bytes());
            assert_eq!(coordinator.next::<u32>(), Err(Fault::TooLarge), "{length}");
        }
    }

    #[test]
    fn a_key_that_can_be_guessed_is_none_and_no_key_is_shown() {
        assert_eq!(RunSecret::new(" short ").unwrap_err(), SecretError::Short(5));
        assert!(RunSecret::new(&"x".repeat(2000)).unwrap_err().to_string().contains("2000"));
        assert!(!format!("{:?}", RunSecret::new(KEY).unwrap()).contains("0123"));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_waits_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (mut coordinator, _) = pair(KEY, KEY);
            coordinator.feed(&bytes);
            prop_assert!(!matches!(coordinator.next::<serde_json::Value>(), Ok(Some(_))));
            prop_assert!(coordinator.waiting() <= bytes.len());
        }
    }
}
