//! One request in two dialects: what programs send (`ACTION` and `TYPE` apart, `SUCCESSFUL`), and what the
//! document describes (compound actions such as `add_group`, in lower case). "Answer in the dialect of the request."

use serde_json::{Map, Value};

use super::tag::Tag;

/// What sort of thing an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
    Channel,
}

impl Kind {
    /// As `TYPE` of a tag.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::User => "CONTACT",
            Self::Group => "GROUP",
            Self::Channel => "CHANNEL",
        }
    }

    /// The key of its id.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::User => "user_id",
            Self::Group => "group_id",
            Self::Channel => "channel_id",
        }
    }

    fn of(word: &str) -> Option<Self> {
        match word {
            "CONTACT" | "USER" => Some(Self::User),
            "GROUP" => Some(Self::Group),
            "CHANNEL" => Some(Self::Channel),
            _ => None,
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    SignUp,
    LogIn,
    LogOut,
    Data,
    Add,
    Remove,
    Create,
    Delete,
    AddMember,
    RemoveMember,
    AddAdmin,
    RemoveAdmin,
    OnlyAdmin,
    Change,
    Chat,
    CallRequest,
    CallResponse,
    CallFrame,
    EndCall,
    /// No action of this wire.
    Unknown,
}

/// A request, whichever dialect it came in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) verb: Verb,
    /// What it is about, if the action says so.
    pub(super) kind: Option<Kind>,
    /// In the document's dialect, with this word as its action.
    pub(super) document: Option<String>,
    pub(super) tag: Tag,
}

impl Asked {
    /// Reads a tag.
    pub(super) fn read(tag: Tag) -> Self {
        let action = tag.text("action").unwrap_or_default();
        let kind = tag.word("type").or_else(|| tag.word("recipient_type"));
        let kind = kind.and_then(|word| Kind::of(&word));
        if let Some(verb) = programs_verb(&action.to_ascii_uppercase())
            && !is_documents(&action, &tag)
        {
            return Self { verb, kind, document: None, tag };
        }
        match documents_verb(&action.to_ascii_lowercase(), kind) {
            Some((verb, kind)) => Self { verb, kind, document: Some(action), tag },
            None => Self { verb: Verb::Unknown, kind, document: None, tag },
        }
    }

    /// The id of the group or channel that it is about.
    pub(super) fn place(&self) -> Option<String> {
        self.kind
            .and_then(|kind| self.tag.id(kind.key()))
            .or_else(|| self.tag.id("group_id"))
            .or_else(|| self.tag.id("channel_id"))
    }

    /// The id of the user that it is about.
    pub(super) fn user(&self) -> Option<String> {
        self.tag.id("user_id").or_else(|| self.tag.id("admin"))
    }

    /// Who it says it is from, however that is spelled.
    pub(super) fn sender(&self) -> Option<String> {
        self.tag.id("sender")
    }
}

/// The document's `signup`, `login` and `chat` have the programs' words, but their own keys.
fn is_documents(action: &str, tag: &Tag) -> bool {
    match action {
        "signup" | "login" => tag.id("user_id").is_some(),
        "chat" => tag.text("type").is_none(),
        "add_admin" | "remove_admin" => tag.text("type").is_none(),
        _ => false,
    }
}

fn programs_verb(action: &str) -> Option<Verb> {
    Some(match action {
        "SIGNUP" => Verb::SignUp,
        "LOGIN" => Verb::LogIn,
        "LOGOUT" => Verb::LogOut,
        "DATA" => Verb::Data,
        "ADD" => Verb::Add,
        "REMOVE" => Verb::Remove,
        "CREATE" => Verb::Create,
        "DELETE" => Verb::Delete,
        "ADD_MEMBER" => Verb::AddMember,
        "REMOVE_MEMBER" => Verb::RemoveMember,
        "ADD_ADMIN" => Verb::AddAdmin,
        "REMOVE_ADMIN" => Verb::RemoveAdmin,
        "ONLY_ADMIN" => Verb::OnlyAdmin,
        "CHANGE" => Verb::Change,
        "CHAT" => Verb::Chat,
        "CALL_REQUEST" => Verb::CallRequest,
        "CALL_RESPONSE" => Verb::CallResponse,
        "CALL" => Verb::CallFrame,
        _ => return None,
    })
}

fn documents_verb(action: &str, kind: Option<Kind>) -> Option<(Verb, Option<Kind>)> {
    let fixed = match action {
        "signup" | "create_user" => Verb::SignUp,
        "login" => Verb::LogIn,
        "logout" => Verb::LogOut,
        "chat" | "text_chat" | "audio_chat" | "video_chat" => Verb::Chat,
        "add_admin" => Verb::AddAdmin,
        "remove_admin" => Verb::RemoveAdmin,
        "start_audio" | "start_video" | "start_audio_chat" | "start_video_chat" => Verb::CallRequest,
        "end_audio" | "end_video" | "end_audio_chat" | "end_video_chat" => Verb::EndCall,
        _ => return compound(action),
    };
    Some((fixed, kind))
}

/// "`action` = verb_type", such as `add_group`, and `change_group_name`.
fn compound(action: &str) -> Option<(Verb, Option<Kind>)> {
    let (verb, rest) = action.split_once('_')?;
    let (kind, what) = rest.split_once('_').unwrap_or((rest, ""));
    let kind = Kind::of(&kind.to_ascii_uppercase())?;
    let verb = match (verb, what) {
        ("add", "") => Verb::Add,
        ("remove", "") => Verb::Remove,
        ("create", "") => Verb::Create,
        ("delete", "") => Verb::Delete,
        ("change", "id" | "name") => Verb::Change,
        _ => return None,
    };
    Some((verb, Some(kind)))
}

/// What a client is told, in the document's words: compound actions in lower case, and a text in `chat` itself.
pub(super) fn documents(fields: &[(&str, Value)]) -> Vec<(String, Value)> {
    let text = |wanted: &str| {
        let found = fields.iter().find(|(key, _)| *key == wanted);
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default().to_lowercase()
    };
    let (action, kind, chat) = (text("action"), text("type").replace("contact", "user"), text("chat"));
    let is_chat = action == "chat";
    let action = match (action.as_str(), chat.as_str()) {
        ("chat", "audio" | "video" | "image") => format!("{chat}_chat"),
        ("add" | "delete" | "change", _) => format!("{action}_{kind}"),
        _ => action,
    };
    let mut told = lowered(fields);
    told.retain(|(key, value)| match key.as_str() {
        "text" => !is_chat,
        "data" => *value != "",
        _ => true,
    });
    for (key, value) in &mut told {
        match key.as_str() {
            "action" => *value = action.as_str().into(),
            "type" if is_chat => (*key, *value) = ("recipient_type".to_owned(), kind.as_str().into()),
            "type" => *value = kind.as_str().into(),
            "chat" if chat == "file" => *value = "file".into(),
            "chat" => {
                let text = fields.iter().find(|(key, _)| *key == "text");
                *value = text.map_or(Value::Null, |(_, text)| text.clone());
            }
            "response" => *value = value.as_str().unwrap_or_default().to_lowercase().into(),
            _ => {}
        }
    }
    told
}

/// Keys in lower case, at every depth.
pub(super) fn lowered(fields: &[(&str, Value)]) -> Vec<(String, Value)> {
    fields.iter().map(|(key, value)| ((*key).to_owned(), lower(value))).collect()
}

fn lower(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let lowered: Map<_, _> =
                fields.iter().map(|(key, value)| (key.to_lowercase(), lower(value))).collect();
            lowered.into()
        }
        Value::Array(values) => values.iter().map(lower).collect(),
        other => other.clone(),
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    Successful,
    Failed,
    Exist,
    Extinct,
    FalseKey,
    AdminOnly,
    SimultaneousLogin,
}

impl Response {
    /// In the programs' words, or the document's: "successful, failed, existed, non_existing, false_key".
    pub(super) fn word(self, document: bool) -> &'static str {
        match (self, document) {
            (Self::Successful, false) => "SUCCESSFUL",
            (Self::Successful, true) => "successful",
            (Self::Failed, false) => "FAILED",
            (Self::Exist, false) => "EXIST",
            (Self::Exist, true) => "existed",
            (Self::Extinct, false) => "EXTINCT",
            (Self::Extinct, true) => "non_existing",
            (Self::FalseKey, false) => "FALSE_KEY",
            (Self::FalseKey, true) => "false_key",
            (Self::AdminOnly, false) => "ADMIN_ONLY",
            (Self::SimultaneousLogin, false) => "SIMULTANEOUS_LOGIN",
            (Self::Failed | Self::AdminOnly | Self::SimultaneousLogin, true) => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tag::parse, *};

    fn read(text: &str) -> (Verb, Option<Kind>, bool) {
        let asked = Asked::read(parse(text.as_bytes()).unwrap().unwrap());
        (asked.verb, asked.kind, asked.document.is_some())
    }

    #[test]
    fn every_action_of_both_dialects_is_known() {
        for (action, verb) in [
            ("SIGNUP", Verb::SignUp),
            ("Login", Verb::LogIn),
            ("logout", Verb::LogOut),
            ("DATA", Verb::Data),
            ("ADD", Verb::Add),
            ("REMOVE", Verb::Remove),
            ("CREATE", Verb::Create),
            ("DELETE", Verb::Delete),
            ("ADD_MEMBER", Verb::AddMember),
            ("REMOVE_MEMBER", Verb::RemoveMember),
            ("ADD_ADMIN", Verb::AddAdmin),
            ("REMOVE_ADMIN", Verb::RemoveAdmin),
            ("only_admin", Verb::OnlyAdmin),
            ("CHANGE", Verb::Change),
            ("CHAT", Verb::Chat),
            ("CALL_REQUEST", Verb::CallRequest),
            ("CALL_RESPONSE", Verb::CallResponse),
            ("CALL", Verb::CallFrame),
        ] {
            let text = format!(r#"{{"action": "{action}", "TYPE": "group"}}"#);
            assert_eq!(read(&text), (verb, Some(Kind::Group), false), "{action}");
        }
        for (action, verb, kind) in [
            ("create_user", Verb::SignUp, None),
            ("text_chat", Verb::Chat, None),
            ("audio_chat", Verb::Chat, None),
            ("video_chat", Verb::Chat, None),
            ("add_admin", Verb::AddAdmin, None),
            ("remove_admin", Verb::RemoveAdmin, None),
            ("add_user", Verb::Add, Some(Kind::User)),
            ("remove_channel", Verb::Remove, Some(Kind::Channel)),
            ("create_group", Verb::Create, Some(Kind::Group)),
            ("delete_channel", Verb::Delete, Some(Kind::Channel)),
            ("change_user_id", Verb::Change, Some(Kind::User)),
            ("change_group_name", Verb::Change, Some(Kind::Group)),
            ("start_audio", Verb::CallRequest, None),
            ("start_video_chat", Verb::CallRequest, None),
            ("end_audio_chat", Verb::EndCall, None),
            ("end_video", Verb::EndCall, None),
        ] {
            assert_eq!(read(&format!(r#"{{"action": "{action}"}}"#)), (verb, kind, true), "{action}");
        }
    }

    #[test]
    fn a_text_may_be_any_word() {
        let told = documents(&[
            ("action", "CHAT".into()),
            ("type", "GROUP".into()),
            ("chat", "TEXT".into()),
            ("text", "FILE".into()),
            ("data", "".into()),
        ]);
        let expected = [("action", "chat"), ("recipient_type", "group"), ("chat", "FILE")];
        assert_eq!(told, expected.map(|(key, value)| (key.to_owned(), Value::from(value))));
    }

    #[test]
    fn one_word_of_two_dialects_is_known_by_its_keys() {
        assert_eq!(read(r#"{"action": "login", "user_id": "a"}"#), (Verb::LogIn, None, true));
        assert_eq!(read(r#"{"action": "login", "id": "a"}"#), (Verb::LogIn, None, false));
        assert_eq!(read(r#"{"action": "chat", "chat": "hi"}"#), (Verb::Chat, None, true));
        assert_eq!(read(r#"{"action": "chat", "type": "user"}"#), (Verb::Chat, Some(Kind::User), false));
        for unknown in [r#"{"action": "change_user_key"}"#, r#"{"action": null}"#, r#"{"action": [1]}"#, "{}"]
        {
            assert_eq!(read(unknown).0, Verb::Unknown, "{unknown}");
        }
    }
}
