//! The wire of the door: JSON objects, each before the five bytes `<TAG>`.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

const MARK: &[u8] = b"<TAG>";

/// A longer tag is refused. Media travel in tags, so it is not small.
pub(super) const TAG_MAX: usize = 1024 * 1024;

/// An object without a mark is only looked for in so much: such clients send little.
const UNMARKED_MAX: usize = 64 * 1024;

/// "A bare `<TAG>` is the client's liveness probe"; so many in a row are none any more.
const PROBES_MAX: u32 = 10;

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Too much without a mark.
    TooLong,
    /// Marks and nothing else.
    Probes,
}

/// A tag that came in. "Key lookup is case-insensitive", so keys are held in lower case.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tag {
    fields: BTreeMap<String, Value>,
}

impl Tag {
    fn value(&self, key: &str) -> Option<&Value> {
        self.fields.get(key)
    }

    /// A text; a number reads as its digits.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A constant of the wire: "constant values compare case-insensitively".
    pub(super) fn word(&self, key: &str) -> Option<String> {
        self.text(key).map(|text| text.to_ascii_uppercase())
    }

    /// An id: "compared case-insensitively".
    pub(super) fn id(&self, key: &str) -> Option<String> {
        self.text(key).map(|text| text.to_lowercase()).filter(|text| !text.is_empty())
    }

    /// A small number.
    pub(super) fn number(&self, key: &str) -> Option<u32> {
        self.text(key)?.parse().ok()
    }

    /// Whether a field says yes, in any of the ways that programs have.
    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(yes) => Some(*yes),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" | "" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A tag within this one, such as `DATA` of a change.
    pub(super) fn inner(&self, key: &str) -> Option<Self> {
        let Value::Object(object) = self.value(key)? else { return None };
        fold(object.iter().map(|(key, value)| (key.clone(), value.clone())))
    }

    /// Base64 in a field.
    pub(super) fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let Value::String(text) = self.value(key)? else { return None };
        BASE64_STANDARD.decode(text.trim()).ok()
    }

    /// The field as it came, to be sent back.
    pub(super) fn echo(&self, key: &str) -> Option<Value> {
        self.value(key).cloned()
    }
}

/// Keys without case. "Refuse a tag whose folded keys disagree."
fn fold(fields: impl Iterator<Item = (String, Value)>) -> Option<Tag> {
    let mut folded = BTreeMap::new();
    for (key, value) in fields {
        let key = key.to_lowercase();
        if folded.get(&key).is_some_and(|other| *other != value) {
            return None;
        }
        folded.insert(key, value);
    }
    Some(Tag { fields: folded })
}

/// An object's fields, all of them: a map would keep only the last of two with one name.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Each)
    }
}

fn parse(text: &[u8]) -> Option<Tag> {
    let Fields(fields) = serde_json::from_slice(text).ok()?;
    fold(fields.into_iter())
}

/// Puts tags together from any pieces.
#[derive(Debug, Default)]
pub(super) struct Tags {
    bytes: Vec<u8>,
    /// Where to look for a mark from.
    from: usize,
    /// A piece that is no object by itself: a text with a mark in it was cut there.
    cut: Vec<u8>,
    probes: u32,
    /// This client wraps its tags in base64, and wants to be answered so.
    pub(super) wrapped: bool,
    /// Pieces that were no tags at all.
    pub(super) garbage: u32,
}

impl Tags {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.cut.len()
    }

    /// The next tag.
    pub(super) fn next(&mut self) -> Result<Option<Tag>, Broken> {
        loop {
            let found = self.bytes[self.from..].windows(MARK.len()).position(|window| window == MARK);
            let Some(at) = found.map(|at| at + self.from) else {
                self.from = self.bytes.len().saturating_sub(MARK.len() - 1);
                return self.unmarked();
            };
            let piece: Vec<u8> = self.bytes.drain(..at + MARK.len()).take(at).collect();
            self.from = 0;
            if piece.is_empty() && self.cut.is_empty() {
                self.probes += 1;
                if self.probes > PROBES_MAX {
                    return Err(Broken::Probes);
                }
            } else if let Some(tag) = self.piece(piece) {
                self.probes = 0;
                return Ok(Some(tag));
            }
            if self.cut.len() > TAG_MAX {
                return Err(Broken::TooLong);
            }
        }
    }

    fn piece(&mut self, piece: Vec<u8>) -> Option<Tag> {
        if !self.cut.is_empty() {
            // "When a piece is not valid JSON, rejoin it with the next piece plus `<TAG>` before giving up."
            let mut joined = std::mem::take(&mut self.cut);
            joined.extend_from_slice(MARK);
            joined.extend_from_slice(&piece);
            if let Some(tag) = parse(&joined) {
                return Some(tag);
            }
            if let Some(tag) = parse(&piece) {
                self.garbage += 1;
                return Some(tag);
            }
            self.cut = joined;
            return None;
        }
        if let Some(tag) = parse(&piece) {
            return Some(tag);
        }
        if piece.trim_ascii_start().first() == Some(&b'{') {
            self.cut = piece;
            return None;
        }
        // "A piece not starting with `{` can be tried as base64."
        let unwrapped = BASE64_STANDARD.decode(piece.trim_ascii()).ok().and_then(|text| parse(&text));
        self.wrapped |= unwrapped.is_some();
        self.garbage += u32::from(unwrapped.is_none());
        unwrapped
    }

    /// "Our reader can be made to accept an undelimited complete JSON object."
    fn unmarked(&mut self) -> Result<Option<Tag>, Broken> {
        if self.len() > TAG_MAX {
            return Err(Broken::TooLong);
        }
        let text = self.bytes.trim_ascii();
        let may_be = self.cut.is_empty() && text.len() <= UNMARKED_MAX && text.last() == Some(&b'}');
        let tag = if may_be { parse(text) } else { None };
        if tag.is_some() {
            self.bytes = Vec::new();
            self.from = 0;
        }
        Ok(tag)
    }
}

/// A tag to send: its fields in order, and the mark.
///
/// "Escape `<` as `\u003c` in everything we send, so that `<TAG>` in a text can never split a frame."
pub(super) fn tag(fields: &[(&str, Value)], wrapped: bool) -> Vec<u8> {
    let fields: Vec<_> =
        fields.iter().map(|(key, value)| format!("{}: {value}", Value::from(*key))).collect();
    let text = format!("{{{}}}", fields.join(", ")).replace('<', "\\u003c");
    let mut bytes = if wrapped { BASE64_STANDARD.encode(text).into_bytes() } else { text.into_bytes() };
    bytes.extend_from_slice(MARK);
    bytes
}

/// Base64, as media travel.
pub(super) fn base64(bytes: &[u8]) -> Value {
    BASE64_STANDARD.encode(bytes).into()
}

/// How a key is spelled: "keys that are known constants are emitted upper-case, others lower-case".
pub(super) fn spelled(key: &str) -> String {
    const UPPER: &[&str] = &[
        "action",
        "type",
        "id",
        "key",
        "name",
        "text",
        "chat",
        "data",
        "date_time",
        "response",
        "sender",
        "recipient",
        "status",
        "icon",
        "bio",
        "call",
        "creator",
        "part",
        "parts",
        "size",
    ];
    if UPPER.contains(&key) { key.to_uppercase() } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(stream: &[u8], size: usize) -> Result<Vec<String>, Broken> {
        let (mut tags, mut found) = (Tags::default(), Vec::new());
        for piece in stream.chunks(size) {
            tags.feed(piece);
            while let Some(tag) = tags.next()? {
                found.push(tag.text("text").unwrap_or_default());
            }
        }
        Ok(found)
    }

    #[test]
    fn tags_are_the_same_however_they_come() {
        let stream = "<TAG>{\"TEXT\": \"a<TAG>b<TAG>c\"}<TAG>{\"text\": \"ü\"}{\"bad\"<TAG>{\"Text\": \"z\"}<TAG>eyJ0ZXh0IjoidyJ9<TAG>{\"text\":\"end\"}";
        for size in 1..stream.len() {
            let found = read(stream.as_bytes(), size).unwrap();
            assert!(found.starts_with(&["a<TAG>b<TAG>c".to_owned()]), "{size}: {found:?}");
            assert!(
                found.ends_with(&["z".to_owned(), "w".to_owned(), "end".to_owned()]),
                "{size}: {found:?}"
            );
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        assert_eq!(read(&b"<TAG>".repeat(10), 7), Ok(vec![]));
        assert_eq!(read(&b"<TAG>".repeat(11), 7), Err(Broken::Probes));
        assert_eq!(read(&vec![b'x'; TAG_MAX + 1], 4_096), Err(Broken::TooLong));
        assert_eq!(read(&b"{<TAG>".repeat(TAG_MAX / 6 + 2), 4_096), Err(Broken::TooLong));
    }

    #[test]
    fn a_key_has_one_value_in_all_its_spellings() {
        assert_eq!(parse(br#"{"SENDER": "a", "sender": "b"}"#), None);
        let tag = parse(br#"{"SENDER": "a", "sender": "a", "Id": 7, "only": "TRUE"}"#).unwrap();
        assert_eq!(
            (tag.text("sender"), tag.id("id"), tag.truth("only")),
            (Some("a".into()), Some("7".into()), Some(true))
        );
        assert_eq!((parse(b"[]"), parse(b"1"), parse(b"")), (None, None, None));
    }

    #[test]
    fn no_text_ends_a_tag() {
        let bytes = tag(&[("TEXT", json!("<TAG>\"")), ("<TAG>", json!(1))], false);
        assert_eq!(bytes, br#"{"TEXT": "\u003cTAG>\"", "\u003cTAG>": 1}<TAG>"#);
        assert_eq!(read(&bytes, 3).unwrap(), ["<TAG>\""]);
        assert_eq!(read(&tag(&[("text", json!("x"))], true), 3).unwrap(), ["x"]);
    }
}
