//! Keys of SRTP in a session description (SDES, RFC 4568 9.1): `a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:…`.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::sip::parse::excerpt;

/// Longest key and salt that any suite of RFC 4568, 6188 and 7714 has.
const MOST_KEY: usize = 64;

/// With padding or without: both are sent.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A `crypto` attribute: a suite with the first of its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct CryptoLine {
    /// Its number, by which an answer says which one it takes.
    pub tag: u32,
    /// The suite's name, e.g. `AES_CM_128_HMAC_SHA1_80`.
    pub suite: String,
    /// Master key and salt, one behind the other.
    pub key: Vec<u8>,
    /// A master key identifier stands in each packet.
    pub has_mki: bool,
    /// Session parameters, e.g. `UNENCRYPTED_SRTP`: one that is not known makes the line unusable (RFC 4568 6.3).
    pub parameters: Vec<String>,
}

impl CryptoLine {
    /// Reads the value of the attribute; `None` if it is none.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (tag, suite, keys) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        let inline = keys.split(';').next()?;
        let (method, info) = inline.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") {
            return None;
        }
        let mut info = info.split('|');
        let key = BASE64.decode(info.next()?).ok().filter(|key| (1..=MOST_KEY).contains(&key.len()))?;
        // `|2^20` is a lifetime, `|1:4` an identifier and its length.
        let has_mki = info.any(|part| part.contains(':'));
        let parameters = words.take(8).map(excerpt).collect();
        Some(CryptoLine { tag, suite: excerpt(suite), key, has_mki, parameters })
    }
}

/// Without the key: what is printed is kept.
impl fmt::Debug for CryptoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CryptoLine { tag, suite, key, has_mki, parameters } = self;
        write!(f, "CryptoLine({tag} {suite}, {} bytes, MKI {has_mki}, {parameters:?})", key.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn keys_are_read_and_not_printed() {
        let line = CryptoLine::parse(&format!(
            "2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{KEY} UNENCRYPTED_SRTP FEC_ORDER=FEC_SRTP"
        ))
        .expect("it is one");
        assert_eq!((line.tag, line.suite.as_str(), line.key.len()), (2, "AES_CM_128_HMAC_SHA1_80", 30));
        assert_eq!((line.has_mki, line.parameters.len()), (true, 2));
        assert!(line.key.starts_with(b"YS___semctl"));
        let printed = format!("{line:?}");
        assert!(!printed.contains("89, 83") && printed.contains("30 bytes"), "{printed}");
        let plain =
            CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_32  inline:{KEY}|2^31")).expect("it is one");
        assert_eq!((plain.has_mki, plain.key), (false, line.key));
    }

    #[test]
    fn keys_that_are_none_are_passed_over() {
        for value in [
            "",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            "x AES_CM_128_HMAC_SHA1_80 inline:WVNf",
            "1 AES_CM_128_HMAC_SHA1_80 uri:WVNf",
            "1 AES_CM_128_HMAC_SHA1_80 inline",
            "1 AES_CM_128_HMAC_SHA1_80 inline:",
            "1 AES_CM_128_HMAC_SHA1_80 inline:not base64",
            "99999999999 AES_CM_128_HMAC_SHA1_80 inline:WVNf",
        ] {
            assert_eq!(CryptoLine::parse(value), None, "{value}");
        }
        let long = format!("1 S inline:{}", "AAAA".repeat(10_000));
        assert_eq!(CryptoLine::parse(&long), None);
    }
}
