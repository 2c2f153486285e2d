//! The wire of the door: frames of JSON, each after its length in five digits.
//!
//! "The number counts characters of the text, not bytes": what comes in may hold any character, what goes out is
//! ASCII only, because the old client counts what it has decoded.

use std::io;

use serde::Serialize;
use serde_json::{
    Map, Value,
    ser::{Formatter, Serializer},
};

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
    /// Where the frame under way begins: what stands before it was taken.
    at: usize,
    /// Of the frame under way: how many bytes were looked at, and how many characters these were.
    seen: usize,
    characters: usize,
}

impl Frames {
    /// Takes a piece of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // Once for each piece and not for each frame: a piece may hold thousands of them.
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that are not yet part of a frame that was taken.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The text of the next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<String>, Broken> {
        let rest = &self.bytes[self.at..];
        let Some(head) = rest.get(..DIGITS) else {
            // Better now than after ten seconds of waiting for the fifth byte of something else.
            let digits = rest.iter().all(u8::is_ascii_digit);
            return if digits { Ok(None) } else { Err(Broken::Length) };
        };
        if !head.iter().all(u8::is_ascii_digit) {
            return Err(Broken::Length);
        }
        let wanted = head.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        let text = &rest[DIGITS..];
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
        self.at += DIGITS + self.seen;
        if self.at == self.bytes.len() {
            // An idle link keeps no buffer of a past burst.
            (self.bytes, self.at) = (Vec::new(), 0);
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

/// How many characters a text takes in a frame, without the quotes around it.
pub(super) fn length(text: &str) -> usize {
    text.chars().map(width_in_json).sum()
}

/// As much of the beginning of a text as takes at most so many characters in a frame.
pub(super) fn beginning(text: &str, characters_max: usize) -> &str {
    let mut length = 0;
    let end = text.char_indices().find(|(_, c)| {
        length += width_in_json(*c);
        length > characters_max
    });
    end.map_or(text, |(at, _)| &text[..at])
}

fn width_in_json(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        '\u{20}'..='\u{7f}' => 1,
        _ => 6 * c.len_utf16(),
    }
}

/// What a client asks: an object, of which each action takes the keys that it needs.
///
/// A key of a wrong type counts as one that is not there, so that the answer is the action's own refusal.
#[derive(Debug)]
pub(super) struct Request(Map<String, Value>);

impl Request {
    /// Reads a frame. `None`: it is not JSON, or no object.
    pub(super) fn read(text: &str) -> Option<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(keys)) => Some(Self(keys)),
            _ => None,
        }
    }

    /// The text under a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// Whether something stands under a key that is neither null nor a text.
    pub(super) fn is_odd(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.is_null() && !value.is_string())
    }

    /// The first of these keys under which something stands: document and program spell some differently.
    pub(super) fn either(&self, keys: [&str; 2]) -> Option<&Value> {
        keys.iter().find_map(|key| self.0.get(*key).filter(|value| !value.is_null()))
    }

    /// A positive number under a key.
    pub(super) fn positive(&self, key: &str) -> Option<u32> {
        self.0.get(key).and_then(positive)
    }
}

/// A positive number, which the old client writes as digits in a string.
pub(super) fn positive(value: &Value) -> Option<u32> {
    let number: u32 = match value {
        Value::Number(number) => number.as_u64()?.try_into().ok()?,
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        _ => return None,
    };
    (number > 0).then_some(number)
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

    #[test]
    fn a_text_is_cut_where_its_frame_would_be_too_long() {
        for text in ["plain", "ü😀\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}\u{2028}"] {
            assert_eq!(length(text), frame(&text).unwrap().len() - 5 - 2, "{text:?}");
        }
        assert_eq!(beginning("aü😀b", 18), "aü");
        assert_eq!(beginning("aü😀b", 19), "aü😀");
        assert_eq!(beginning("aü😀b", 20), "aü😀b");
        assert_eq!(beginning("abc", 0), "");
    }

    #[test]
    fn a_key_of_a_wrong_type_counts_as_missing() {
        let request =
            Request::read(r#"{"a": 7, "b": "18", "c": null, "d": 18.0, "e": "+1", "f": "x"}"#).unwrap();
        assert_eq!((request.text("a"), request.text("b"), request.text("c")), (None, Some("18"), None));
        assert_eq!(
            (request.positive("a"), request.positive("b"), request.positive("c")),
            (Some(7), Some(18), None)
        );
        assert_eq!((request.positive("d"), request.positive("e"), request.positive("f")), (None, None, None));
        assert_eq!((request.is_odd("a"), request.is_odd("b"), request.is_odd("c")), (true, false, false));
        assert_eq!(request.either(["c", "a"]), Some(&json!(7)));
        for wrong in ["", "[]", "7", "null", "{", "{}x", r#"{"a": 1e999}"#] {
            assert!(Request::read(wrong).is_none(), "{wrong}");
        }
        for (index, number) in [
            (json!(0), None),
            (json!(-1), None),
            (json!("0"), None),
            (json!(""), None),
            (json!(true), None),
            (json!([1]), None),
            (json!(4_294_967_296_u64), None),
            (json!("1000000000000000000000000000000"), None),
            (json!("007"), Some(7)),
        ] {
            assert_eq!(positive(&index), number, "{index}");
        }
    }

    #[test]
    fn fuzz_tcp_json_frames_are_the_same_however_they_are_cut() {
        bolero::check!().with_type::<(Vec<u8>, Vec<String>, u8)>().for_each(|(noise, texts, size)| {
            // Nearly right: frames of texts, with something else behind them.
            let mut stream = Vec::new();
            for text in texts {
                let text: String = text.chars().take(CHARACTERS_MAX).collect();
                stream.extend(format!("{:05}{text}", text.chars().count()).into_bytes());
            }
            stream.extend_from_slice(noise);
            let whole = frames_and_end(&[&stream]);
            let pieces: Vec<&[u8]> = stream.chunks(usize::from(*size).max(1)).collect();
            assert_eq!(frames_and_end(&pieces), whole);
            assert!(whole.0.len() >= texts.len(), "a right frame was not taken");
            for text in &whole.0 {
                if let Some(request) = Request::read(text) {
                    let _ =
                        (request.text("action"), request.positive("send_to"), request.is_odd("send_from"));
                }
            }
        });
    }

    #[test]
    fn fuzz_tcp_json_frames_out_are_ascii_and_read_as_they_were_written() {
        bolero::check!().with_type::<(String, String)>().for_each(|(one, other)| {
            let written = json!({ "one": one, other: [other] });
            let Some(bytes) = frame(&written) else {
                assert!(length(one) + 2 * length(other) > CHARACTERS_MAX - 100);
                return;
            };
            assert!(bytes.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte == 0x7f));
            let read = frames(&[&bytes]).unwrap();
            assert_eq!(read.len(), 1);
            assert_eq!(serde_json::from_str::<Value>(&read[0]).unwrap(), written);
            assert_eq!(length(one) + 2, frame(one).unwrap().len() - DIGITS);
            let cut = beginning(one, other.len());
            assert!(one.starts_with(cut) && length(cut) <= other.len());
        });
    }

    fn frames_and_end(pieces: &[&[u8]]) -> (Vec<String>, Option<Broken>) {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece);
            loop {
                match frames.next() {
                    Ok(Some(frame)) => found.push(frame),
                    Ok(None) => break,
                    Err(broken) => return (found, Some(broken)),
                }
            }
        }
        (found, None)
    }
}
