//! What a client is answered, with the keys that it needs: "a missing key kills its receiver".

use serde::Serialize;
use serde_json::Value;

use super::wire::{CHARACTERS_MAX, Request, beginning, frame, length};

/// An answer, in the order of keys that the old server wrote.
#[derive(Clone, Default, Serialize)]
pub(super) struct Said<'a> {
    pub(super) action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) term: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
    /// The document calls it so where it registers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) msg: Option<&'a str>,
}

/// What everybody in a group is sent.
#[derive(Serialize)]
struct Chat<'a> {
    action: &'static str,
    send_from: &'a str,
    send_to: u32,
    message: &'a str,
}

/// Of what a client sent and gets back, if the frame would be too long otherwise.
const ECHO_MAX: usize = 1_000;

/// Room for everything in a frame but the one long text in it.
const AROUND: usize = 2_000;

/// The most that the one long text of a frame may take.
pub(super) const LONG_MAX: usize = CHARACTERS_MAX - AROUND;

impl<'a> Said<'a> {
    /// An answer that says how it went.
    pub(super) fn of(action: &'a str, status: bool, message: &'a str) -> Self {
        Self { action, status: Some(status), message: Some(message), ..Self::default() }
    }

    /// The same about a group.
    pub(super) fn group(action: &'a str, status: bool, name: &'a str, message: &'a str) -> Self {
        let id = (action == "join_group").then_some(Value::Null);
        Self { group_name: Some(name), group_id: id, ..Self::of(action, status, message) }
    }

    /// The refusal of a request, in the shape that its action has. `None`: the action has no answer.
    ///
    /// "Never send an action outside the table", and never `send_chat` or `exit`: "its receiver thread ends
    /// silently".
    pub(super) fn no(action: &'a str, request: &'a Request, message: &'a str) -> Option<Self> {
        let no = Self::of(action, false, message);
        let name = request.text("group_name").unwrap_or_default();
        Some(match action {
            "login" => Self { username: Some(request.text("username").unwrap_or_default()), ..no },
            "register" => Self { msg: Some(message), ..no },
            // The client shows the result without looking at anything else.
            "time" => Self { result: Some(message.into()), ..no },
            "poem" => Self { index: Some(index(request)), result: Some(Value::Null), ..no },
            "create_group" | "join_group" | "leave_group" => Self::group(action, false, name, message),
            "search_chat_history" => Self { term: Some(term(request).unwrap_or_default()), ..no },
            "load_history" | "logout" => no,
            _ => return None,
        })
    }

    /// The frame of it. If what the client sent is too long to be said back, the beginning of that is.
    pub(super) fn frame(&self) -> Vec<u8> {
        let short = |text: Option<&'a str>| text.map(|text| beginning(text, ECHO_MAX));
        frame(self)
            .or_else(|| {
                frame(&Self {
                    username: short(self.username),
                    password: short(self.password),
                    group_name: short(self.group_name),
                    term: short(self.term),
                    message: short(self.message),
                    msg: short(self.msg),
                    ..self.clone()
                })
            })
            .expect("a result and an index are kept short by whoever makes them")
    }
}

/// The index of a poem as the client wrote it, so that it can say which one there is not.
pub(super) fn index(request: &Request) -> Value {
    match request.either(["index", "target"]) {
        Some(value @ Value::Number(_)) => value.clone(),
        Some(Value::String(text)) => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => beginning(text, ECHO_MAX).into(),
        },
        _ => Value::Null,
    }
}

/// The term of a search: the document says `search_term`, the program `term`.
pub(super) fn term(request: &Request) -> Option<&str> {
    request.either(["term", "search_term"]).and_then(Value::as_str)
}

/// A text as it is pushed to a client; a very long one in several frames, so that nothing of it is lost.
pub(super) fn chat(author: &str, group: u32, text: &str) -> Vec<Vec<u8>> {
    let (mut frames, mut rest) = (Vec::new(), text.trim_end());
    loop {
        let part = beginning(rest, LONG_MAX);
        let chat = Chat { action: "recv_chat", send_from: author, send_to: group, message: part };
        frames.push(frame(&chat).expect("a name and a part of a text are short enough"));
        rest = &rest[part.len()..];
        if rest.is_empty() {
            return frames;
        }
    }
}

/// The beginning of a text that is too long, marked as such.
pub(super) fn shortened(text: &str, characters_max: usize) -> String {
    const CUT: &str = " [...]";
    if length(text) <= characters_max {
        return text.to_owned();
    }
    format!("{}{CUT}", beginning(text, characters_max - CUT.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_very_long_text_comes_in_several_frames_and_whole() {
        let text = "😀ü\n".repeat(10_000) + "end \n ";
        let frames = chat("bee", 200_001, &text);
        assert_eq!(frames.len(), 3);
        let mut whole = String::new();
        for frame in &frames {
            let chat: Value = serde_json::from_slice(&frame[5..]).unwrap();
            assert_eq!(chat["send_from"], "bee");
            whole.push_str(chat["message"].as_str().unwrap());
        }
        assert_eq!(whole, text.trim_end());
        assert_eq!(chat("bee", 200_001, "\n").len(), 1);
    }

    #[test]
    fn what_a_client_sent_is_said_back_as_far_as_a_frame_holds() {
        let name = "ü".repeat(16_000);
        let message = format!("group: '{name}' does not exist.");
        let frame = Said::group("join_group", false, &name, &message).frame();
        let said: Value = serde_json::from_slice(&frame[5..]).unwrap();
        assert_eq!(said["group_name"].as_str().map(str::len), Some(332));
        assert_eq!(said["group_id"], Value::Null);
        let short = "x".repeat(5_000);
        let frame = Said::group("leave_group", false, &short, "no").frame();
        assert!(frame.len() > 5_000);
    }

    #[test]
    fn a_long_text_is_marked_where_it_was_cut() {
        assert_eq!(shortened("abcdefghij", 10), "abcdefghij");
        assert_eq!(shortened("abcdefghijk", 10), "abcd [...]");
    }
}
