//! The session description in a body: the whole of it, with or without a media type, or a part of several
//! (RFC 3261 7.4, RFC 2046 5.1).

use super::grammar::{param, split};
use super::parse::{excerpt, unfold};
use super::sdp::SdpError;

/// The most parts of a body that are looked at.
const MOST_PARTS: usize = 16;

/// Headers that say what a body is (RFC 3261 20.11 to 20.15).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entity<'a> {
    pub(super) media_type: Option<&'a str>,
    pub(super) encoding: Option<&'a str>,
    pub(super) disposition: Option<&'a str>,
}

impl<'a> Entity<'a> {
    /// Reads the header lines of a part.
    fn of(lines: &'a [impl AsRef<str>]) -> Self {
        let mut entity = Entity::default();
        for line in lines {
            let Some((name, value)) = line.as_ref().split_once(':') else { continue };
            let field = match name.trim().to_ascii_lowercase().as_str() {
                "content-type" | "c" => &mut entity.media_type,
                "content-encoding" | "e" | "content-transfer-encoding" => &mut entity.encoding,
                "content-disposition" => &mut entity.disposition,
                _ => continue,
            };
            *field = Some(value.trim());
        }
        entity
    }

    /// The media type in lower case and without its parameters; empty where there is none.
    fn name(&self) -> String {
        let name = self.media_type.and_then(|value| split(value, ';').next()).unwrap_or_default();
        name.replace(' ', "").to_ascii_lowercase()
    }

    /// The encoding, if it has to be undone (RFC 3261 20.12, RFC 2045 6).
    fn encoded(&self) -> Option<&'a str> {
        let plain = ["identity", "7bit", "8bit", "binary", ""];
        self.encoding
            .filter(|encoding| !plain.iter().any(|plain| plain.eq_ignore_ascii_case(encoding.trim())))
    }

    /// True unless the body is meant for something else than the session: that of an early one (RFC 3959 3), an icon.
    fn is_of_session(&self) -> bool {
        let disposition = self.disposition.and_then(|value| split(value, ';').next());
        let others = ["early-session", "icon", "alert"];
        !others.iter().any(|other| disposition.is_some_and(|word| word.eq_ignore_ascii_case(other)))
    }
}

/// The session description in a body; `None` if there is none.
///
/// # Errors
/// [`SdpError::Encoded`]: there may be one, and it is encoded.
pub(super) fn session_description<'a>(
    entity: &Entity<'_>,
    body: &'a [u8],
) -> Result<Option<&'a [u8]>, SdpError> {
    let name = entity.name();
    match entity.encoded() {
        Some(encoding) if !body.is_empty() => Err(SdpError::Encoded(excerpt(encoding))),
        None if name.starts_with("multipart/") => first_of_parts(entity, body),
        _ => Ok(described(entity, &name, body)),
    }
}

/// The body, if it is a session description: by its media type, or where none is said, by its first line.
fn described<'a>(entity: &Entity<'_>, name: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    let has_type = name.contains('/');
    let looks_like_one = || body.trim_ascii_start().starts_with(b"v=");
    let is_one = name == "application/sdp" || (!has_type && looks_like_one());
    (is_one && !body.is_empty() && entity.is_of_session()).then_some(body)
}

/// The first part that is a session description. Parts within parts are not looked for.
fn first_of_parts<'a>(entity: &Entity<'_>, body: &'a [u8]) -> Result<Option<&'a [u8]>, SdpError> {
    let named = entity.media_type.and_then(|value| param(value, "boundary")).map(|b| b.trim_matches('"'));
    let Some(boundary) = named.map(str::as_bytes).or_else(|| first_delimiter(body)) else { return Ok(None) };
    let mut encoded = None;
    for part in parts(body, boundary).take(MOST_PARTS) {
        let (lines, content) = unfold(part);
        let entity = Entity::of(&lines);
        match (described(&entity, &entity.name(), content), entity.encoded()) {
            (Some(_), Some(encoding)) => encoded = encoded.or(Some(SdpError::Encoded(excerpt(encoding)))),
            (Some(content), None) => return Ok(Some(content)),
            (None, _) => {}
        }
    }
    encoded.map_or(Ok(None), Err)
}

/// The boundary of a body whose header does not tell it: that of its first delimiter.
fn first_delimiter(body: &[u8]) -> Option<&[u8]> {
    let line = body.trim_ascii_start().split(|b| b"\r\n".contains(b)).next()?;
    line.strip_prefix(b"--").map(<[u8]>::trim_ascii_end).filter(|boundary| !boundary.is_empty())
}

/// The parts between delimiters, which stand on lines of their own (RFC 2046 5.1.1). The last one may lack its end.
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut delimiters = delimiters(body, boundary).peekable();
    std::iter::from_fn(move || {
        let (_, start, is_last) = delimiters.next()?;
        let end = delimiters.peek().map_or(body.len(), |(at, ..)| *at);
        (!is_last).then(|| &body[start..end])
    })
}

/// Delimiters: their begin, the begin of what follows, and true for the one behind the last part.
fn delimiters(body: &[u8], boundary: &[u8]) -> impl Iterator<Item = (usize, usize, bool)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < body.len() {
            let (start, line) = (at, body[at..].split(|b| *b == b'\n').next().unwrap_or_default());
            at = (at + line.len() + 1).min(body.len());
            let Some(rest) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary)) else {
                continue;
            };
            match rest.trim_ascii_end() {
                b"" => return Some((start, at, false)),
                b"--" => return Some((start, at, true)),
                _ => {}
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SDP: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";

    fn found(media_type: &str, body: &str) -> Result<Option<String>, SdpError> {
        let entity = Entity { media_type: Some(media_type).filter(|t| !t.is_empty()), ..Entity::default() };
        let found = session_description(&entity, body.as_bytes())?;
        Ok(found.map(|sdp| String::from_utf8_lossy(sdp).trim_end().to_string()))
    }

    fn sdp() -> Result<Option<String>, SdpError> {
        Ok(Some(SDP.trim_end().into()))
    }

    #[test]
    fn a_body_is_one_by_its_type_or_without_a_type_by_its_begin() {
        for media_type in ["application/sdp", "APPLICATION / SDP ; charset=utf-8", "", "sdp", ";x"] {
            assert_eq!(found(media_type, SDP), sdp(), "{media_type}");
        }
        assert_eq!(found("", &format!("\r\n {SDP}")).map(|found| found.is_some()), Ok(true));
        for (media_type, body) in [
            ("", ""),
            ("application/sdp", ""),
            ("", "Signal=5"),
            ("text/plain", SDP),
            ("multipart/mixed", SDP),
        ] {
            assert_eq!(found(media_type, body), Ok(None), "{media_type}");
        }
    }

    #[test]
    fn one_of_several_parts_is_found() {
        let part = format!("Content-Type: application/sdp\r\n\r\n{SDP}");
        let isup = "Content-Type: application/isup;version=x\r\nContent-Disposition: signal;handling=optional\r\n\r\n\0\u{1}\r\n";
        let bodies = [
            ("b", format!("--b\r\n{part}--b--\r\n")),
            ("\"a b\"", format!("preamble\r\n--a b\r\n{isup}--a b  \r\n{part}\r\n--a b--\r\nepilogue")),
            ("b", format!("--b\r\n{part}")),
            ("b", format!("--bb\r\n--b\r\nc:application/sdp\r\n\r\n{SDP}--b--")),
            ("b", format!("--b\r\n\r\n{SDP}\r\n--b--\r\n")),
            ("b", format!("--b\r\n{part}--b\r\n{}--b--", part.replace("4000", "5000"))),
            (
                "b",
                format!(
                    "--b\r\nContent-Disposition: early-session\r\n{}--b\r\nContent-Disposition: session\r\n{part}--b--\r\n",
                    part.replace("4000", "5000")
                ),
            ),
            ("b", format!("--b\r\nContent-Transfer-Encoding: Binary\r\n{part}--b--\r\n")),
        ];
        for (boundary, body) in bodies {
            for media_type in ["multipart/mixed", "Multipart/Alternative ; x=y"] {
                let media_type = format!("{media_type};boundary={boundary}");
                assert_eq!(found(&media_type, &body), sdp(), "{media_type}\n{body}");
                let bare = body.replace("\r\n", "\n");
                assert_eq!(
                    found(&media_type, &bare),
                    Ok(Some(SDP.replace("\r\n", "\n").trim_end().into())),
                    "{bare}"
                );
            }
        }
        assert_eq!(
            found("multipart/mixed", &format!("--x\r\n{part}--x--")),
            sdp(),
            "the boundary is in the body"
        );
        assert_eq!(
            found("multipart/mixed;boundary=b", &format!("--b--\r\n{part}")),
            Ok(None),
            "behind the end"
        );
        assert_eq!(found("multipart/mixed;boundary=b", isup), Ok(None));
        let many = format!("--b\r\n{isup}").repeat(MOST_PARTS) + "--b\r\n" + &part;
        assert_eq!(found("multipart/mixed;boundary=b", &many), Ok(None), "only so many are looked at");
    }

    #[test]
    fn what_is_encoded_says_how() {
        let entity = |encoding| Entity {
            media_type: Some("application/sdp"),
            encoding: Some(encoding),
            disposition: None,
        };
        for encoding in ["gzip", "deflate, gzip"] {
            let refused = session_description(&entity(encoding), SDP.as_bytes());
            assert_eq!(refused, Err(SdpError::Encoded(encoding.into())));
            assert_eq!(session_description(&entity(encoding), b""), Ok(None));
        }
        assert!(matches!(session_description(&entity("IDENTITY"), SDP.as_bytes()), Ok(Some(_))));
        let part = format!(
            "--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\n{SDP}--b--"
        );
        assert_eq!(found("multipart/mixed;boundary=b", &part), Err(SdpError::Encoded("base64".into())));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(
            media_type in "(multipart/x;boundary=)?[-ab\";]{0,4}",
            pieces in prop::collection::vec(prop::sample::select(vec!["--", "a", "b", "-", "\r\n", "\n", "\r", "c:", "v=", " ", "\0"]), 0..40),
        ) {
            let body = pieces.concat();
            if let Ok(Some(found)) = found(&media_type, &body) {
                prop_assert!(found.len() <= body.len());
            }
        }
    }
}
