//! Text of a session description → its sections (RFC 8866 5), each of which stands for itself: a line that concerns
//! no stream, or another one, ends nothing.

use crate::values::one_line;

/// The most streams that are read; phones and conference bridges describe up to six.
pub const MOST_STREAMS: usize = 16;
/// Longest `m=` line that is read; what is beyond is cut off between two words.
const MOST_MEDIA: usize = 1024;
/// The most attributes of a section that are kept, of those that are read at all.
const MOST_ATTRIBUTES: usize = 256;

/// Attributes that are read: the others concern nothing that a caller does.
const ATTRIBUTES: [&str; 8] =
    ["rtpmap", "ptime", "sendrecv", "sendonly", "recvonly", "inactive", "crypto", "rtcp-mux"];

/// The session's own lines, or those of a stream.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The value of `m=`, its words apart by one blank; empty for the session's own lines.
    pub(super) media: String,
    /// The first `c=` that has three words.
    pub(super) connection: Option<String>,
    /// The values of `a=` that are read, in their order.
    pub(super) attributes: Vec<String>,
}

/// A session description in its sections.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) session: Section,
    pub(super) streams: Vec<Section>,
    /// There are more streams than are read.
    pub(super) is_cut: bool,
}

/// Reads what concerns streams: `m=`, `c=` and `a=`. Lines may end in any way, be indented, and hold any bytes.
pub(super) fn sections(sdp: &[u8]) -> Sections {
    let text = String::from_utf8_lossy(sdp);
    let mut sections = Sections::default();
    for line in text.split(['\r', '\n']) {
        let Some((key, value)) = line.split_once('=') else { continue };
        match key.trim_matches(is_blank) {
            "m" | "M" => {
                if sections.streams.len() == MOST_STREAMS {
                    sections.is_cut = true;
                    break;
                }
                let media = shortened(words(value));
                sections.streams.push(Section { media, ..Section::default() });
            }
            "c" | "C" => sections.current().connect(value),
            "a" | "A" => sections.current().describe(value),
            _ => {}
        }
    }
    sections
}

impl Sections {
    fn current(&mut self) -> &mut Section {
        self.streams.last_mut().unwrap_or(&mut self.session)
    }
}

impl Section {
    /// Takes a `c=`; words behind the address say nothing.
    fn connect(&mut self, value: &str) {
        let value = words(value);
        let address: Vec<&str> = value.split(' ').take(3).collect();
        let is_plain = |word: &&str| word.bytes().all(|b| b.is_ascii_alphanumeric());
        if self.connection.is_none() && address.len() == 3 && address[..2].iter().all(is_plain) {
            self.connection = Some(address.join(" "));
        }
    }

    /// Takes an `a=` that is read, its name in lower case.
    fn describe(&mut self, value: &str) {
        let value = one_line(value.trim_matches(is_blank));
        let (name, value) = value.split_once(':').map_or((value.as_str(), None), |(name, v)| (name, Some(v)));
        let is_named = |read: &&&str| read.eq_ignore_ascii_case(name.trim());
        let Some(name) = ATTRIBUTES.iter().find(is_named) else { return };
        if self.attributes.len() < MOST_ATTRIBUTES {
            self.attributes.push(value.map_or(name.to_string(), |value| format!("{name}:{value}")));
        }
    }
}

/// White space, and what editors and terminals leave at the ends of lines.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '\u{feff}'
}

/// The words of a line, apart by one blank each.
fn words(value: &str) -> String {
    value.split(is_blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn shortened(mut media: String) -> String {
    if media.len() > MOST_MEDIA {
        let end = media.bytes().take(MOST_MEDIA).rposition(|b| b == b' ').unwrap_or(0);
        media.truncate(end);
    }
    media
}
