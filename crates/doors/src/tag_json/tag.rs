//! One tag as it came in: its fields by keys without case, each read as what it should be.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// A tag that came in. "Key lookup is case-insensitive", so keys are held in lower case.
#[derive(Clone, Debug, Default, PartialEq)]
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

    /// A text with something in it.
    pub(super) fn filled(&self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.trim().is_empty())
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

    /// A time in milliseconds, or in the seconds of programs without a finer clock.
    pub(super) fn time(&self, key: &str) -> Option<i64> {
        /// So many milliseconds passed until 1973, so many seconds will have until 5138.
        const SECONDS_BELOW: i64 = 100_000_000_000;
        let time = match self.value(key)? {
            Value::Number(number) => number.as_i64()?,
            _ => return None,
        };
        Some(if time < SECONDS_BELOW { time.saturating_mul(1_000) } else { time }).filter(|time| *time > 0)
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
        fold(object.iter().map(|(key, value)| (key.clone(), value.clone()))).ok()
    }

    /// Base64 in a field; nothing where there is no field, or nothing in it. `Err`: it is something else.
    pub(super) fn bytes(&self, key: &str) -> Result<Vec<u8>, ()> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => BASE64_STANDARD.decode(text.trim()).map_err(|_| ()),
            Some(_) => Err(()),
        }
    }

    /// The field as it came, to be sent back: what names a request is no long thing.
    pub(super) fn echo(&self, key: &str) -> Option<Value> {
        const ECHO_MAX: usize = 4_096;
        let value = self.value(key)?;
        let is_short = match value {
            Value::String(text) => text.len() <= ECHO_MAX,
            Value::Array(_) | Value::Object(_) => false,
            _ => true,
        };
        is_short.then(|| value.clone())
    }

    /// The field as it came, whatever it is.
    pub(super) fn whole(&self, key: &str) -> Option<Value> {
        self.value(key).cloned()
    }
}

/// Keys without case. "Refuse a tag whose folded keys disagree": of such a one only what all agree on is left.
fn fold(fields: impl Iterator<Item = (String, Value)>) -> Result<Tag, Tag> {
    let (mut folded, mut disagreed) = (BTreeMap::<String, Value>::new(), Vec::new());
    for (key, value) in fields {
        let key = key.to_lowercase();
        if folded.get(&key).is_some_and(|other| *other != value) {
            disagreed.push(key);
        } else {
            folded.insert(key, value);
        }
    }
    for key in &disagreed {
        folded.remove(key);
    }
    let tag = Tag { fields: folded };
    if disagreed.is_empty() { Ok(tag) } else { Err(tag) }
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

/// Reads an object. The inner error is one whose keys disagree.
pub(super) fn parse(text: &[u8]) -> Result<Result<Tag, Tag>, serde_json::Error> {
    let Fields(fields) = serde_json::from_slice(text)?;
    Ok(fold(fields.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> Tag {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_key_has_one_value_in_all_its_spellings() {
        let left = parse(br#"{"SENDER": "a", "ID": 7, "sender": "b"}"#).unwrap().unwrap_err();
        assert_eq!((left.text("sender"), left.id("id")), (None, Some("7".into())));
        let tag = tag(r#"{"SENDER": "a", "sender": "a", "Id": 7, "only": "TRUE"}"#);
        assert_eq!(
            (tag.text("sender"), tag.id("id"), tag.truth("only")),
            (Some("a".into()), Some("7".into()), Some(true))
        );
        assert!(parse(b"[]").is_err() && parse(b"1").is_err() && parse(b"").is_err());
    }

    #[test]
    fn a_time_is_one_in_milliseconds_or_seconds() {
        let time = |value: &str| tag(&format!(r#"{{"date_time": {value}}}"#)).time("date_time");
        assert_eq!(time("1795217251720"), Some(1_795_217_251_720));
        assert_eq!(time("1795217251"), Some(1_795_217_251_000));
        for wrong in ["0", "-1", "1.5", "\"2026-11-21\"", "[2026, 11, 21]", "null", "1e30"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_truth_has_many_words_and_a_field_may_hold_no_bytes() {
        let tag = tag(r#"{"a": true, "b": 0, "c": "False", "d": "maybe", "e": "!", "f": "aGk=", "g": null}"#);
        assert_eq!(
            ["a", "b", "c", "d", "z"].map(|key| tag.truth(key)),
            [Some(true), Some(false), Some(false), None, None]
        );
        assert_eq!(
            ["e", "f", "g", "z", "a"].map(|key| tag.bytes(key)),
            [Err(()), Ok(b"hi".to_vec()), Ok(vec![]), Ok(vec![]), Err(())]
        );
    }
}
