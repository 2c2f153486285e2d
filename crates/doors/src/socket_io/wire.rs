//! What goes between this door and its transport: Socket.IO packets without their namespace, and HTTP requests.
//!
//! A packet is as the protocol writes it: `2["join",{…}]` an event, `27["join",{…}]` one that wants the answer
//! `37[{…}]`. A request is an object, `{"method":"GET","path":"/get_contacts_list/Lisa",…}`, and so is its answer,
//! `{"status":200,"body":{…}}`. Texts from the other end are read into typed parts and never into a map, so that a
//! key that comes twice is refused and not guessed.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::error::Category;

/// What one link said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// An event, and under which number its answer is wanted.
    Event {
        ack: Option<u64>,
        event: Event,
    },
    /// Everything up to this number of ours has arrived.
    Acknowledged(u64),
    Request(Request),
}

/// An event of a client. What an event needs and does not have is noticed where it is needed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Join(Fields),
    Say(Fields),
    Alive(Fields),
    Leave(Fields),
}

/// Why something cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not of this wire at all: the connection is closed.
    Broken,
    /// A well-formed event with parts of the wrong sort: it is refused.
    Unfit { ack: Option<u64> },
}

/// The parts of all events; each has some of them.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Fields {
    pub(super) room: Option<String>,
    pub(super) client: Option<String>,
    pub(super) jwt: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) content: Option<String>,
    pub(super) conversation_room: Option<String>,
}

/// An HTTP request, as the transport tells it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Request {
    pub(super) method: String,
    /// As it was sent, with its escapes, without a query.
    pub(super) path: String,
    /// The headers `username` and `jwt`.
    #[serde(default)]
    pub(super) username: Option<String>,
    #[serde(default)]
    pub(super) jwt: Option<String>,
    #[serde(default)]
    pub(super) body: String,
}

/// The parts of all bodies of requests.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) user_token_terminate: Option<String>,
}

/// Reads what a link said.
pub(super) fn read(bytes: &[u8]) -> Result<Said, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong::Broken)?;
    match text.as_bytes().first() {
        Some(b'{') => serde_json::from_str(text).map(Said::Request).map_err(|_| Wrong::Broken),
        Some(b'2') => {
            let (ack, args) = numbered(&text[1..])?;
            event(args, ack).map(|event| Said::Event { ack, event })
        }
        Some(b'3') => match numbered(&text[1..])? {
            (Some(number), args) if args.starts_with('[') => Ok(Said::Acknowledged(number)),
            _ => Err(Wrong::Broken),
        },
        _ => Err(Wrong::Broken),
    }
}

fn numbered(text: &str) -> Result<(Option<u64>, &str), Wrong> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let number = if digits == 0 { None } else { Some(number.parse().map_err(|_| Wrong::Broken)?) };
    Ok((number, rest))
}

/// "Event = `42["name",{..}]`."
fn event(args: &str, ack: Option<u64>) -> Result<Event, Wrong> {
    let is_named = |name: &str| {
        args.strip_prefix("[\"")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('"'))
    };
    // No client writes these names in another way, with escapes or spaces.
    let make: fn(Fields) -> Event = match () {
        () if is_named("join") => Event::Join,
        () if is_named("client_sends_message") => Event::Say,
        () if is_named("connection_alive") => Event::Alive,
        () if is_named("client_disconnection") => Event::Leave,
        () => return Err(Wrong::Broken),
    };
    match serde_json::from_str::<Args>(args) {
        Ok(Args(fields)) => Ok(make(fields)),
        Err(error) => Err(match error.classify() {
            Category::Data => Wrong::Unfit { ack },
            _ => Wrong::Broken,
        }),
    }
}

/// The name of an event, which was looked at before, and what is said with it.
struct Args(Fields);

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Args;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of a name and an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Args, A::Error> {
                elements.next_element::<IgnoredAny>()?;
                let fields = elements.next_element::<Object<Fields>>()?.map(|object| object.0);
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Args(fields.unwrap_or_default()))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

/// An object, and not an array of its values in some order, which a derived reader takes too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData))
    }
}

/// The body of a request; nothing if it is no object of the right sort.
pub(super) fn body<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str::<Object<T>>(text).ok().map(|object| object.0)
}

/// A path as it was meant; nothing if its escapes are wrong.
pub(super) fn unescape(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Whether a message is told by `received_message` or, from a bot, by `ai_response_received`.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) sender: &'a str,
    pub(super) content: &'a str,
    /// "Emit `conversation_room` too in received_message: extra keys are harmless."
    pub(super) conversation_room: &'a str,
}

/// Who came or went.
#[derive(Serialize)]
pub(super) struct Whom<'a> {
    pub(super) username: &'a str,
}

/// The answer to a `join`, and to some requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Result(&'static str),
    Error(String),
}

impl Outcome {
    pub(super) const SUCCESS: Self = Self::Result("success");

    pub(super) fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    /// "`{"error":"Invalid JWT"}`."
    pub(super) fn invalid_jwt() -> Self {
        Self::error("Invalid JWT")
    }

    /// "`{"error":"Invalid request, missing required field: .."}`."
    pub(super) fn missing(field: &str) -> Self {
        Self::error(format!("Invalid request, missing required field: {field}"))
    }

    /// For a name that is another's.
    pub(super) fn not_yours() -> Self {
        Self::error("Invalid request, that is not your name")
    }

    /// The same for a room that is not and one that is not his.
    pub(super) fn no_such_room() -> Self {
        Self::error("Invalid request, there is no such room")
    }
}

/// An event; with a number, its arrival is to be acknowledged under that or a later one.
pub(super) fn say(name: &str, number: Option<u64>, data: &impl Serialize) -> Vec<u8> {
    let number = number.map_or_else(String::new, |number| number.to_string());
    let mut bytes = format!("2{number}[\"{name}\",").into_bytes();
    write(&mut bytes, data);
    bytes.push(b']');
    bytes
}

/// The answer to an event.
pub(super) fn answer(number: u64, data: &impl Serialize) -> Vec<u8> {
    let mut bytes = format!("3{number}[").into_bytes();
    write(&mut bytes, data);
    bytes.push(b']');
    bytes
}

/// The answer to a request.
pub(super) fn respond(status: u16, data: &impl Serialize) -> Vec<u8> {
    let mut bytes = format!("{{\"status\":{status},\"body\":").into_bytes();
    write(&mut bytes, data);
    bytes.push(b'}');
    bytes
}

fn write(bytes: &mut Vec<u8>, data: &impl Serialize) {
    serde_json::to_writer(bytes, data).expect("texts and lists of texts can be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfit(ack: Option<u64>) -> Result<Said, Wrong> {
        Err(Wrong::Unfit { ack })
    }

    #[test]
    fn events_of_both_dialects_are_read() {
        let fields =
            || Fields { room: Some("Avi&Lisa".into()), client: Some("Lisa".into()), ..Fields::default() };
        let early = br#"2["join",{"room":"Avi&Lisa","client":"Lisa"}]"#;
        assert_eq!(read(early), Ok(Said::Event { ack: None, event: Event::Join(fields()) }));
        let last = br#"20["join", {"client":"Lisa","room":"Avi&Lisa","jwt":"x","more":[{"a":1}]}]"#;
        let with_jwt = Fields { jwt: Some("x".into()), ..fields() };
        assert_eq!(read(last), Ok(Said::Event { ack: Some(0), event: Event::Join(with_jwt) }));
        // "A `time` value in another format" stops nobody: it is not looked at.
        for time in [r#""11/20/26 23:23:08""#, r#""2026-11-20""#, "5", "null", "{}"] {
            let text = format!(r#"2["connection_alive",{{"client":"Lisa","time":{time}}}]"#);
            let fields = Fields { client: Some("Lisa".into()), ..Fields::default() };
            assert_eq!(read(text.as_bytes()), Ok(Said::Event { ack: None, event: Event::Alive(fields) }));
        }
        assert_eq!(read(b"37[]"), Ok(Said::Acknowledged(7)));
        let none = Event::Leave(Fields::default());
        assert_eq!(read(br#"2["client_disconnection"]"#), Ok(Said::Event { ack: None, event: none }));
    }

    #[test]
    fn parts_of_the_wrong_sort_are_refused_and_nothing_else() {
        for text in [
            r#"25["join",{"room":5}]"#,
            r#"25["join",{"room":"a","room":"b"}]"#,
            r#"25["join",["Avi&Lisa","Lisa","jwt"]]"#,
            r#"25["join","Avi&Lisa"]"#,
            r#"25["join",{"room":{"_placeholder":true,"num":-1}}]"#,
        ] {
            assert_eq!(read(text.as_bytes()), unfit(Some(5)), "{text}");
        }
        let object = br#"2["client_sends_message",{"content":{"a":1}}]"#;
        assert_eq!(read(object), unfit(None));
    }

    #[test]
    fn what_is_not_of_this_wire_is_broken() {
        for text in [
            "",
            "2",
            "2[",
            "2{}",
            "2[]",
            r#"2[5]"#,
            r#"2[null,{}]"#,
            r#"2["__proto__",{}]"#,
            r#"2["disconnect"]"#,
            r#"2["join",{}"#,
            r#"2["join",{}]]"#,
            r#"2["join",{"room":"\ud800"}]"#,
            r#"218446744073709551616["join",{}]"#,
            "3[]",
            "37",
            "37{}",
            "9[]",
            "51-[\"join\",{\"_placeholder\":true,\"num\":0}]",
            "{",
            r#"{"method":"GET"}"#,
            r#"{"method":"GET","method":"POST","path":"/"}"#,
        ] {
            assert_eq!(read(text.as_bytes()), Err(Wrong::Broken), "{text}");
        }
        assert_eq!(read(b"2[\"join\",{\"room\":\"\xff\"}]"), Err(Wrong::Broken));
    }

    #[test]
    fn a_body_is_an_object_with_each_key_once() {
        let good: Option<Credentials> = body(r#" {"username":"Lisa","password":"TestMe","more":1}"#);
        assert_eq!(good.and_then(|good| good.password).as_deref(), Some("TestMe"));
        for wrong in
            ["", "[]", r#"["Lisa","TestMe"]"#, r#"{"username":1}"#, r#"{"username":"a","username":"b"}"#]
        {
            assert_eq!(body::<Credentials>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn escapes_of_a_path_are_undone_once() {
        assert_eq!(unescape("/a/Zo%C3%ab%2525").as_deref(), Some("/a/Zoë%25"));
        for wrong in ["%", "%4", "%zz", "%ff", "%c0%80"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn fuzz_socketio_packet() {
        bolero::check!().with_type::<(Vec<u8>, String)>().for_each(|(bytes, text)| {
            let _ = read(bytes);
            let _ = read(text.as_bytes());
            let _ = read(format!("2[\"join\",{text}]").as_bytes());
            let _ = unescape(text);
            let said = say(
                "received_message",
                None,
                &Message { sender: text, content: text, conversation_room: text },
            );
            // The separator of packets in a polling body never stands in one.
            assert!(!said.contains(&0x1e) && said.starts_with(b"2["));
            let (_, message): (String, serde_json::Value) = serde_json::from_slice(&said[1..]).unwrap();
            assert_eq!(message["content"].as_str(), Some(text.as_str()));
            let event = format!("2[\"client_sends_message\",{}]", serde_json::json!({"content": text}));
            let Ok(Said::Event { event: Event::Say(fields), .. }) = read(event.as_bytes()) else {
                panic!("{event}")
            };
            assert_eq!(fields.content.as_deref(), Some(text.as_str()));
        });
    }
}
