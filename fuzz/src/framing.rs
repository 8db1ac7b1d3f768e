//! Messages out of a stream, however it is cut.

use loadtest::sip::framing::{Frame, Framer, FramingError};
use loadtest::sip::hear;

/// Most bytes of a message.
const MOST: usize = 65_536;

/// Frames of a stream in such pieces, and the error that ends it.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FramingError>) {
    let (mut framer, mut frames) = (Framer::default(), Vec::new());
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(framer.next_frame(), Err(error.clone()), "an error is the last");
                    assert!(framer.unfinished().is_some(), "it says of which message");
                    return (frames, Some(error));
                }
            }
        }
        // A part says what it is of, and is no reason to fall either.
        assert_eq!(framer.unfinished().is_some(), framer.is_waiting());
    }
    (frames, None)
}

/// A stream, whose first byte says how it is cut: the same frames come out of it whole, and no more bytes than went in.
pub fn stream(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let mut whole = frames(std::iter::once(stream));
    let mut cut = frames(stream.chunks(usize::from(*size).max(1)));
    // How many pings there are in a row depends on how they come.
    for (frames, _) in [&mut whole, &mut cut] {
        frames.dedup_by(|next, before| *next == Frame::Ping && *before == Frame::Ping);
    }
    assert_eq!(whole, cut);
    let mut total = 0;
    for frame in &whole.0 {
        let Frame::Message(bytes) = frame else { continue };
        assert!(!bytes.is_empty() && bytes.len() <= MOST);
        total += bytes.len();
        // It may be nonsense, and is no reason to fall.
        let _ = hear(bytes);
    }
    assert!(total <= stream.len());
    if let Some(error) = whole.1 {
        assert!(error.to_string().len() < 1024);
    }
}
