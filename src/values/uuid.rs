//! Universally unique identifiers (RFC 9562), by which AudioSocket names a call.

use std::fmt;
use std::str::FromStr;

/// A UUID: 16 bytes, shown in lower case with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// Bytes in front of which a hyphen stands.
const HYPHENS_BEFORE: [usize; 4] = [4, 6, 8, 10];

impl Uuid {
    /// A UUID of version 4 (RFC 9562 section 5.4) from random bytes: six of their bits give way to version and variant.
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// Any 16 bytes, as they came over the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Uuid(bytes)
    }

    /// The bytes in the order of the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if HYPHENS_BEFORE.contains(&at) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Uuid {
    type Err = String;
    /// Takes either case; hyphens have to stand in their places.
    fn from_str(text: &str) -> Result<Self, String> {
        parsed(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!("`{shown}` is not a UUID; write it as in 0f8fad5b-d9cb-469f-a165-70867728950e")
        })
    }
}

fn parsed(text: &str) -> Option<Uuid> {
    let mut rest = text.as_bytes();
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        if HYPHENS_BEFORE.contains(&at) {
            rest = rest.strip_prefix(b"-")?;
        }
        let (&[high, low], after) = rest.split_first_chunk::<2>()?;
        *byte = digit(high)? << 4 | digit(low)?;
        rest = after;
    }
    rest.is_empty().then_some(Uuid(bytes))
}

fn digit(c: u8) -> Option<u8> {
    // Invariant: a hexadecimal digit is below 16.
    char::from(c).to_digit(16).map(|d| d as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn random_bytes_become_version_4() {
        assert_eq!(Uuid::from_random([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(Uuid::from_random([0xff; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn either_case_is_read_and_other_shapes_are_not() {
        let text = "0F8FAD5B-d9cb-469f-a165-70867728950e";
        assert_eq!(text.parse::<Uuid>().unwrap().to_string(), text.to_lowercase());
        for wrong in [
            "",
            "-",
            "0f8fad5bd9cb469fa16570867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950",
            "0f8fad5b-d9cb-469f-a165-70867728950ee",
            "{0f8fad5b-d9cb-469f-a165-70867728950e}",
            "0f8fad5b-d9cb-469f-a165-70867728950g",
            "0f8fad5b-d9cb-469f-a165-7086772895é",
            " 0f8fad5b-d9cb-469f-a165-70867728950e",
        ] {
            let error = wrong.parse::<Uuid>().unwrap_err();
            assert!(error.contains("is not a UUID; write it as"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn text_comes_back(bytes in any::<[u8; 16]>()) {
            let uuid = Uuid::from_bytes(bytes);
            prop_assert_eq!(uuid.to_string().parse::<Uuid>().unwrap(), uuid);
            prop_assert_eq!(uuid.as_bytes(), &bytes);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), hex in "[0-9a-fA-F-]{30,40}") {
            let _ = text.parse::<Uuid>();
            if let Ok(uuid) = hex.parse::<Uuid>() {
                prop_assert_eq!(uuid.to_string(), hex.to_lowercase());
            }
        }
    }
}
