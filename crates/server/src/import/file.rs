//! The JSON file of users of the pipe-separated system, as its programs write and read it.
//!
//! Messages stand there in two layouts: that program's loader and its saver do not agree. Both are read. A record
//! that cannot be read says so itself; only a file that is no such file at all is refused whole.

use serde::Deserialize;
use serde_json::{Map, Value};

/// What a record should be, or why it is not.
pub(super) type Read<T> = Result<T, String>;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserRecord {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) email: String,
}

/// A message that waits for its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageRecord {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) text: String,
    /// That system's own number of it, in the layout that has one.
    pub(super) id: Option<String>,
}

/// A file, record by record, in its order.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) users: Vec<Read<UserRecord>>,
    pub(super) messages: Vec<Read<MessageRecord>>,
    /// Delivery notices, of which nothing is left to tell.
    pub(super) notices: usize,
}

#[derive(Deserialize)]
struct Layout {
    #[serde(default)]
    user_list: Option<Vec<Value>>,
    #[serde(default)]
    message_list: Option<Vec<Value>>,
    #[serde(default)]
    notification_list: Option<Vec<Value>>,
}

/// Reads a whole file.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {error}"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let layout: Layout = serde_json::from_str(text).map_err(|error| format!("it cannot be read: {error}"))?;
    if layout.user_list.is_none() && layout.message_list.is_none() {
        return Err("it has neither \"user_list\" nor \"message_list\"".into());
    }
    Ok(Contents {
        users: layout.user_list.unwrap_or_default().iter().map(user).collect(),
        messages: layout.message_list.unwrap_or_default().iter().map(message).collect(),
        notices: layout.notification_list.map_or(0, |notices| notices.len()),
    })
}

fn user(record: &Value) -> Read<UserRecord> {
    let fields = object(record)?;
    let email = match find(fields, "User", "email") {
        None | Some(Value::Null) => String::new(),
        Some(value) => text(value, "email")?,
    };
    Ok(UserRecord {
        name: text(needed(fields, "User", "username")?, "username")?,
        password: text(needed(fields, "User", "password")?, "password")?,
        email,
    })
}

fn message(record: &Value) -> Read<MessageRecord> {
    let fields = object(record)?;
    let id = match find(fields, "Message", "id") {
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    Ok(MessageRecord {
        from: who(needed(fields, "Message", "user_from")?, "user_from")?,
        to: who(needed(fields, "Message", "user_to")?, "user_to")?,
        text: text(needed(fields, "Message", "content")?, "content")?,
        id,
    })
}

/// A user inside of a message: the whole record, or only the name.
fn who(value: &Value, field: &str) -> Read<String> {
    match value {
        Value::Object(fields) => text(needed(fields, "User", "username")?, "username"),
        Value::String(name) => Ok(name.clone()),
        other => Err(format!("{field} is {}, not a user", kind(other))),
    }
}

fn object(record: &Value) -> Read<&Map<String, Value>> {
    record.as_object().ok_or_else(|| format!("it is {}, not a record", kind(record)))
}

/// A field as the loader names it, or as the saver does.
fn find<'v>(fields: &'v Map<String, Value>, class: &str, name: &str) -> Option<&'v Value> {
    fields.get(&format!("_{class}__{name}")).or_else(|| fields.get(name))
}

fn needed<'v>(fields: &'v Map<String, Value>, class: &str, name: &str) -> Read<&'v Value> {
    find(fields, class, name).ok_or_else(|| format!("it has no {name}"))
}

fn text(value: &Value, field: &str) -> Read<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{field} is {}, not a text", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a record",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = r#"{
        "user_list": [
            {"_User__username": "alice", "_User__password": "pw", "_User__email": "a@x"},
            {"_User__username": "user2", "_User__password": "pw", "_User__email": "user2"}
        ],
        "message_list": [
            {"_Message__user_from": {"_User__username": "alice", "_User__password": "pw", "_User__email": "a@x"},
             "_Message__user_to": {"_User__username": "user2", "_User__password": "pw", "_User__email": "user2"},
             "_Message__content": "one | two"},
            {"id": "000003", "user_to": {"_User__username": "alice"}, "user_from": "user2", "content": "back"}
        ],
        "notification_list": [{}]
    }"#;

    #[test]
    fn both_layouts_of_messages_are_read() {
        let contents = read(BOTH.as_bytes()).unwrap();
        let alice = UserRecord { name: "alice".into(), password: "pw".into(), email: "a@x".into() };
        assert_eq!(contents.users[0], Ok(alice));
        let (from, to) = ("alice".to_owned(), "user2".to_owned());
        let first = MessageRecord { from: from.clone(), to: to.clone(), text: "one | two".into(), id: None };
        assert_eq!(contents.messages[0], Ok(first));
        let id = Some("000003".to_owned());
        assert_eq!(contents.messages[1], Ok(MessageRecord { from: to, to: from, text: "back".into(), id }));
        assert_eq!(contents.notices, 1);
    }

    #[test]
    fn a_damaged_record_says_what_is_wrong_and_leaves_the_others() {
        let file = r#"{"user_list": [7, {}, {"_User__username": 5}, {"_User__username": "a", "_User__password": null},
            {"_User__username": "a", "_User__password": "b"}],
            "message_list": [[], {"user_from": 1, "user_to": "a", "content": "x"}, {"user_from": {}, "user_to": "a"}]}"#;
        let contents = read(file.as_bytes()).unwrap();
        let wrong: Vec<&str> =
            contents.users.iter().filter_map(|user| user.as_ref().err().map(String::as_str)).collect();
        assert_eq!(
            wrong,
            [
                "it is a number, not a record",
                "it has no username",
                "username is a number, not a text",
                "password is null, not a text"
            ]
        );
        assert!(contents.users[4].is_ok());
        let wrong: Vec<&str> =
            contents.messages.iter().filter_map(|one| one.as_ref().err().map(String::as_str)).collect();
        assert_eq!(
            wrong,
            ["it is a list, not a record", "user_from is a number, not a user", "it has no username"]
        );
    }

    #[test]
    fn what_is_no_such_file_is_refused_whole() {
        for (file, why) in [
            ("", "it cannot be read"),
            ("{", "it cannot be read"),
            ("[]", "it has neither"),
            ("{}", "it has neither"),
            (r#"{"user_list": {}}"#, "it cannot be read"),
            (r#"{"user_list": [], "user_list": []}"#, "it cannot be read"),
        ] {
            let refused = read(file.as_bytes()).unwrap_err();
            assert!(refused.starts_with(why), "{file}: {refused}");
        }
        assert!(read(&[0xff, 0xfe, 0x55]).unwrap_err().starts_with("it is not UTF-8"));
        assert!(read("\u{feff}{\"user_list\": []}".as_bytes()).is_ok());
    }

    #[test]
    fn fuzz_import_file() {
        bolero::check!().with_type::<(Vec<u8>, u16, u8)>().for_each(|(bytes, at, with)| {
            let _ = read(bytes);
            // And a real file with one byte wrong, which gets further in.
            let mut real = BOTH.as_bytes().to_vec();
            let at = usize::from(*at) % real.len();
            real[at] = *with;
            let _ = read(&real);
        });
    }
}
