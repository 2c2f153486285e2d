//! The wire of the door: frames of JSON, each after its length in five digits.
//!
//! "The number counts characters of the text, not bytes": what comes in may hold any character, what goes out is
//! ASCII only, because the old client counts what it has decoded.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};

/// The most that five digits can say.
pub(super) const CHARACTERS_MAX: usize = 99_999;

const DIGITS: usize = 5;

/// What is wrong with a stream; nothing after it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// There are not five digits where a frame begins.
    Length,
    /// The text is not UTF-8.
    Text,
}

/// Puts frames together from any pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Of the frame under way: how many bytes were looked at, and how many characters these were.
    seen: usize,
    characters: usize,
}

impl Frames {
    /// Takes a piece of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that are not yet part of a frame that was taken.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The text of the next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<String>, Broken> {
        let Some(head) = self.bytes.get(..DIGITS) else {
            // Better now than after ten seconds of waiting for the fifth byte of something else.
            let digits = self.bytes.iter().all(u8::is_ascii_digit);
            return if digits { Ok(None) } else { Err(Broken::Length) };
        };
        if !head.iter().all(u8::is_ascii_digit) {
            return Err(Broken::Length);
        }
        let wanted = head.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        let text = &self.bytes[DIGITS..];
        while self.characters < wanted {
            let Some(first) = text.get(self.seen) else { return Ok(None) };
            let width = width(*first).ok_or(Broken::Text)?;
            if text.len() < self.seen + width {
                return Ok(None);
            }
            self.seen += width;
            self.characters += 1;
        }
        let frame = std::str::from_utf8(&text[..self.seen]).map_err(|_| Broken::Text)?.to_owned();
        self.bytes.drain(..DIGITS + self.seen);
        if self.bytes.is_empty() {
            // An idle link keeps no buffer of a past burst.
            self.bytes = Vec::new();
        }
        (self.seen, self.characters) = (0, 0);
        Ok(Some(frame))
    }
}

/// How many bytes a character has, by its first.
fn width(first: u8) -> Option<usize> {
    match first {
        0x00..=0x7f => Some(1),
        0xc2..=0xdf => Some(2),
        0xe0..=0xef => Some(3),
        0xf0..=0xf4 => Some(4),
        _ => None,
    }
}

/// A frame around a value. `None`: five digits cannot say how long it would be.
pub(super) fn frame(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = vec![b'0'; DIGITS];
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Ascii)).ok()?;
    let length = bytes.len() - DIGITS;
    if length > CHARACTERS_MAX {
        return None;
    }
    bytes[..DIGITS].copy_from_slice(format!("{length:05}").as_bytes());
    Some(bytes)
}

/// JSON as the old server wrote it: ASCII only, and a blank after each comma and colon.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        for c in text.chars() {
            if c.is_ascii() {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// What a client asks. Keys that an action does not need are ignored, as the old server did.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    pub(super) action: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) send_from: Option<String>,
    pub(super) group_name: Option<String>,
    pub(super) message: Option<String>,
    pub(super) send_to: Option<Number>,
    /// The document says `target` for the poem, the program `index`.
    pub(super) index: Option<Number>,
    pub(super) target: Option<Number>,
    /// The document says `search_term`, the program `term`.
    pub(super) term: Option<String>,
    pub(super) search_term: Option<String>,
}

/// A number, which the old client writes as digits in a string.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    Int(i64),
    Text(String),
}

impl Number {
    /// As a positive number.
    pub(super) fn positive(&self) -> Option<u32> {
        match self {
            Self::Int(number) => u32::try_from(*number).ok(),
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Self::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frames(pieces: &[&[u8]]) -> Result<Vec<String>, Broken> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece);
            while let Some(frame) = frames.next()? {
                found.push(frame);
            }
        }
        Ok(found)
    }

    #[test]
    fn frames_are_counted_in_characters_however_they_come() {
        let stream = "00003a😀b00000\u{30}0001x".as_bytes();
        let whole = frames(&[stream]).unwrap();
        assert_eq!(whole, ["a😀b", "", "x"]);
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&single).unwrap(), whole);
    }

    #[test]
    fn what_is_no_length_is_refused_at_once() {
        for wrong in ["0000x", "     ", "+0005", "-0001", "x", "0 1", "\u{660}"] {
            assert_eq!(frames(&[wrong.as_bytes()]), Err(Broken::Length), "{wrong}");
        }
        assert_eq!(frames(&[b"00002\xff\xff"]), Err(Broken::Text));
        assert_eq!(frames(&[b"00001\xe0\x80\x80"]), Err(Broken::Text));
        assert_eq!(frames(&[b"0000"]), Ok(vec![]));
    }

    #[test]
    fn frames_out_are_ascii_and_have_their_length() {
        let bytes = frame(&json!({"a": ["ü", "😀\n"], "b": true})).unwrap();
        let text = r#"{"a": ["\u00fc", "\ud83d\ude00\n"], "b": true}"#;
        assert_eq!(bytes, format!("{:05}{text}", text.len()).into_bytes());
        assert_eq!(frame(&"x".repeat(CHARACTERS_MAX - 2)).unwrap().len(), 5 + CHARACTERS_MAX);
        assert_eq!(frame(&"x".repeat(CHARACTERS_MAX - 1)), None);
    }
}
