//! The wire of the door: fields between bars, and no framing at all.
//!
//! "One `send` is one message, one `recv(1024)` is one message." TCP does not keep that promise, so a message ends
//! here with a line feed, if the client sends one, or when nothing more comes for a moment; for a long moment, if it
//! is a client that sends them.

use chinwag_protocol::{ConversationId, Seq};

/// A longer message is refused. The old programs send at most 1,024 bytes.
pub(super) const MESSAGE_MAX: usize = 64 * 1024;

/// "A whole R line must fit 1024 bytes or the rest is taken as another message."
const LINE_MAX: usize = 1_024;

const CUT: &str = " [...]";

/// How a client writes its letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Letters {
    #[default]
    Utf8,
    /// "The early revision sends everything as UTF-16 with byte-order mark (FF FE)."
    Utf16,
}

impl Letters {
    /// A text as this client reads it.
    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Utf16 => {
                let units = std::iter::once(0xfeff).chain(text.encode_utf16());
                units.flat_map(u16::to_le_bytes).collect()
            }
        }
    }

    fn length(self, c: char) -> usize {
        match self {
            Self::Utf8 => c.len_utf8(),
            Self::Utf16 => 2 * c.len_utf16(),
        }
    }

    /// What a line of this text costs, before its first letter.
    fn mark(self) -> usize {
        match self {
            Self::Utf8 => 0,
            Self::Utf16 => 2,
        }
    }
}

/// Puts messages together from any pieces.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    pub(super) letters: Letters,
    /// This client ends its messages with line feeds: once, all that had come ended with one.
    pub(super) ends_lines: bool,
}

/// What a stream holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole message.
    Message(String),
    /// One that is no text.
    Garbage,
}

impl Messages {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// "Recognisable by its first two bytes": of any message, wherever the pieces of the stream were cut.
    fn look(&mut self) {
        if let [0xff, 0xfe, ..] = self.bytes[..] {
            self.letters = Letters::Utf16;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next message that ends with a line feed.
    pub(super) fn next(&mut self) -> Option<Piece> {
        self.look();
        let end = match self.letters {
            Letters::Utf8 => self.bytes.iter().position(|byte| *byte == b'\n')? + 1,
            Letters::Utf16 => 2 * self.bytes.chunks_exact(2).position(|unit| unit == [b'\n', 0])? + 2,
        };
        let message: Vec<u8> = self.bytes.drain(..end).collect();
        self.ends_lines |= self.bytes.is_empty();
        Some(self.decode(&message))
    }

    /// All that is there: nothing more came for a while.
    pub(super) fn rest(&mut self) -> Option<Piece> {
        self.look();
        let message = std::mem::take(&mut self.bytes);
        (!message.is_empty()).then(|| self.decode(&message))
    }

    fn decode(&self, message: &[u8]) -> Piece {
        let text = match self.letters {
            Letters::Utf8 => std::str::from_utf8(message).ok().map(str::to_owned),
            Letters::Utf16 => {
                let (units, rest) = message.as_chunks::<2>();
                let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).filter(|unit| *unit != 0xfeff);
                char::decode_utf16(units).collect::<Result<String, _>>().ok().filter(|_| rest.is_empty())
            }
        };
        text.map_or(Piece::Garbage, |text| Piece::Message(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

/// What a client asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Port(&'a str),
    LogIn {
        user: &'a str,
        password: &'a str,
    },
    /// `email` or the display name, by which of the two words was used.
    Add {
        user: &'a str,
        password: &'a str,
        more: &'a str,
        is_name: bool,
    },
    Message {
        from: &'a str,
        to: &'a str,
        text: &'a str,
    },
    Quit,
    Unknown,
}

/// Reads a message. The last field of `MSG` may hold bars.
pub(super) fn request(message: &str) -> Request<'_> {
    let (verb, rest) = message.split_once('|').unwrap_or((message, ""));
    let fields = |count| -> Vec<&str> { rest.splitn(count, '|').collect() };
    match (verb, rest) {
        ("PORT", port) => Request::Port(port),
        ("QUIT", "DISCONNECT") | ("OUT", "OK") => Request::Quit,
        ("LOGIN" | "LOG", _) => match fields(2)[..] {
            [user, password] => Request::LogIn { user, password },
            _ => Request::Unknown,
        },
        ("ADD" | "USR", _) => match fields(3)[..] {
            [user, password, more] => Request::Add { user, password, more, is_name: verb == "USR" },
            _ => Request::Unknown,
        },
        ("MSG", _) => match fields(3)[..] {
            [from, to, text] => Request::Message { from, to, text },
            _ => Request::Unknown,
        },
        _ => Request::Unknown,
    }
}

/// A line that brings a message: "`R|sender|id|text`", cut so that an old client reads it as one.
pub(super) fn delivery(sender: &str, id: &str, text: &str, letters: Letters) -> String {
    let mut line = format!("R|{}|{id}|", field(sender));
    let mut length = letters.mark() + line.chars().map(|c| letters.length(c)).sum::<usize>();
    let cut = CUT.chars().map(|c| letters.length(c)).sum::<usize>();
    let text = field(text);
    let whole: usize = text.chars().map(|c| letters.length(c)).sum();
    if length + whole <= LINE_MAX {
        line.push_str(&text);
        return line;
    }
    for c in text.chars() {
        length += letters.length(c);
        if length + cut > LINE_MAX {
            break;
        }
        line.push(c);
    }
    line.push_str(CUT);
    line
}

/// "Towards an old client a bar inside a text is shown as a broken bar": it would end the field.
fn field(text: &str) -> String {
    text.replace('|', "¦")
}

/// The number under which a message is known on this wire: at least six digits, the same for ever and for
/// everybody, and of no other message.
///
/// Cantor's pairing of conversation and entry: small numbers while both are small.
pub(super) fn number(conversation: ConversationId, seq: Seq) -> String {
    let (a, b) = (u128::from(conversation.0), u128::from(seq.0));
    format!("{:06}", (a + b) * (a + b + 1) / 2 + b)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_message_ends_with_a_line_or_with_silence_however_it_comes() {
        for size in 1..12 {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for piece in "QUIT|x\r\nMSG|a|b|ü|c".as_bytes().chunks(size) {
                messages.feed(piece);
                found.extend(std::iter::from_fn(|| messages.next()));
            }
            found.extend(messages.rest());
            assert_eq!(found, [Piece::Message("QUIT|x".into()), Piece::Message("MSG|a|b|ü|c".into())]);
        }
        let mut messages = Messages::default();
        messages.feed(b"\xff");
        assert_eq!(messages.rest(), Some(Piece::Garbage));
        assert_eq!(messages.rest(), None);
    }

    #[test]
    fn the_early_dialect_is_known_by_its_mark() {
        let mut messages = Messages::default();
        for byte in Letters::Utf16.encode("USR|al|pw|5\u{1f600}") {
            messages.feed(&[byte]);
        }
        assert_eq!(messages.next(), None);
        assert_eq!(messages.rest(), Some(Piece::Message("USR|al|pw|5\u{1f600}".into())));
        assert_eq!(messages.letters.encode("0|OK")[..4], [0xff, 0xfe, b'0', 0]);
        messages.feed(b"\xff\xfea\0b");
        assert_eq!(messages.rest(), Some(Piece::Garbage));
    }

    #[test]
    fn a_request_has_its_fields_and_a_text_its_bars() {
        assert_eq!(request("MSG|a|b|c|d"), Request::Message { from: "a", to: "b", text: "c|d" });
        assert_eq!(request("LOGIN||"), Request::LogIn { user: "", password: "" });
        assert_eq!(request("LOG|a|b|c"), Request::LogIn { user: "a", password: "b|c" });
        for unknown in
            ["", "MSG", "MSG|a|b", "ADD|a|b", "QUIT", "QUIT|", "OUT|", "R|a|1|x", "0|1", "msg|a|b|c"]
        {
            assert_eq!(request(unknown), Request::Unknown, "{unknown}");
        }
    }

    #[test]
    fn a_line_is_one_message_for_an_old_client() {
        for letters in [Letters::Utf8, Letters::Utf16] {
            for text in ["x".repeat(5_000), "😀".repeat(900), "ü|".repeat(700), "x".repeat(900)] {
                let line = delivery("bob|x", "000001", &text, letters);
                assert!(letters.encode(&line).len() <= LINE_MAX);
                assert_eq!(line.matches('|').count(), 3);
                assert_eq!(line.ends_with(CUT), letters == Letters::Utf16 || text.len() > 1_000);
            }
        }
        assert_eq!(delivery("bob", "000001", "a|b", Letters::Utf8), "R|bob|000001|a¦b");
    }

    #[test]
    fn numbers_are_unique_and_start_small() {
        assert_eq!(number(ConversationId(1), Seq(1)), "000004");
        let all: BTreeSet<_> = (1..60)
            .flat_map(|conversation| (1..60).map(move |seq| number(ConversationId(conversation), Seq(seq))))
            .collect();
        assert_eq!(all.len(), 59 * 59);
        assert!(number(ConversationId(u32::MAX), Seq(u32::MAX)).len() < 24);
    }

    #[test]
    fn fuzz_pipe_line_messages_are_the_same_however_they_are_cut() {
        bolero::check!().with_type::<(Vec<(u8, String)>, Vec<u8>, u8)>().for_each(
            |(requests, noise, size)| {
                let mut stream = Vec::new();
                for (kind, text) in requests {
                    // Nearly right: requests of both dialects, and something else between them.
                    match kind % 4 {
                        0 => stream.extend(format!("MSG|a|b|{text}\n").into_bytes()),
                        1 => stream.extend(format!("LOGIN|{text}|x\r\n").into_bytes()),
                        2 => stream.extend(Letters::Utf16.encode(&format!("USR|al|{text}\n"))),
                        _ => stream.extend_from_slice(noise),
                    }
                }
                let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
                    let (mut messages, mut found) = (Messages::default(), Vec::new());
                    for piece in pieces {
                        messages.feed(piece);
                        found.extend(std::iter::from_fn(|| messages.next()));
                    }
                    found.extend(messages.rest());
                    (found, messages.letters)
                };
                let whole = read(&mut std::iter::once(&stream[..]));
                assert_eq!(read(&mut stream.chunks(usize::from(*size).max(1))), whole);
                for piece in &whole.0 {
                    if let Piece::Message(message) = piece
                        && let Request::Message { from, to, .. } = request(message)
                    {
                        assert!(!from.contains('|') && !to.contains('|'));
                    }
                }
            },
        );
    }

    #[test]
    fn fuzz_pipe_line_deliveries_have_their_fields_and_fit() {
        bolero::check!().with_type::<(String, String, bool)>().for_each(|(sender, text, wide)| {
            let letters = if *wide { Letters::Utf16 } else { Letters::Utf8 };
            let sender: String = sender.chars().take(100).collect();
            for text in [text.clone(), text.repeat(600)] {
                let line = delivery(&sender, "000001", &text, letters);
                assert!(letters.encode(&line).len() <= LINE_MAX);
                let fields: Vec<&str> = line.split('|').collect();
                let [verb, from, id, shown] = fields[..] else { panic!("{line}") };
                assert_eq!((verb, from, id), ("R", &*sender.replace('|', "¦"), "000001"));
                let whole = text.replace('|', "¦");
                assert!(shown == whole || whole.starts_with(shown.strip_suffix(CUT).expect("it was cut")));
            }
        });
    }
}
