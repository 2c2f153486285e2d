//! What a client says: chats and files.

use chinwag_protocol::{Attach, Command, ConversationId, Millis};

use super::{
    Alarm, Shared,
    dialect::{Asked, Kind, Response},
    files::{COMPLETE_WITHIN, Put},
    session::{Aside, Doing, Session},
};
use crate::{Moment, Question, desk::shown};

impl Session {
    /// Where a message or call goes. `None`: it was refused, or something is looked up first.
    pub(super) fn recipient(&mut self, asked: Asked, shared: &mut Shared) -> Option<(Asked, ConversationId)> {
        let Some(id) = asked.tag.id("recipient") else {
            self.refuse(&asked, Response::Failed, shared);
            return None;
        };
        let place = self.place.as_ref()?;
        // "TYPE guessed from the id's namespace": users and conversations share one.
        let room = place.room(&id).filter(|_| asked.kind != Some(Kind::User)).map(|room| room.id);
        if let Some(conversation) = room {
            return Some((asked, conversation));
        }
        if matches!(asked.kind, Some(Kind::Group | Kind::Channel)) {
            self.refuse(&asked, Response::Extinct, shared);
            return None;
        }
        let Some(user) = place.user(&id, shared) else {
            self.find(asked, &id, shared);
            return None;
        };
        if let Some(conversation) = place.direct(user) {
            return Some((asked, conversation));
        }
        let open = Question::Command(Command::OpenDirect { user });
        self.ask(Doing::Open(asked, user), open, shared);
        None
    }

    pub(super) fn chat(&mut self, asked: Asked, now: Moment, shared: &mut Shared) {
        let Some((asked, conversation)) = self.recipient(asked, shared) else { return };
        let word = sort(&asked);
        let Some(place) = &mut self.place else { return };
        if word == "FILE" {
            return match place.files.put(&asked.tag, conversation, now) {
                Put::Waiting if shared.desk.timers.is_set(self.link, Alarm::Files) => {}
                Put::Waiting => shared.desk.timers.set(self.link, Alarm::Files, now + COMPLETE_WITHIN),
                Put::Wrong => self.refuse(&asked, Response::Failed, shared),
                Put::Whole(bytes) => self.upload(asked, conversation, bytes, shared),
            };
        }
        match asked.tag.bytes("data") {
            Ok(bytes) if word != "TEXT" && !bytes.is_empty() => {
                self.upload(asked, conversation, bytes, shared);
            }
            Err(()) if word != "TEXT" => self.refuse(&asked, Response::Failed, shared),
            _ => self.post(asked, conversation, Vec::new(), shared),
        }
    }

    fn upload(&mut self, asked: Asked, conversation: ConversationId, bytes: Vec<u8>, shared: &mut Shared) {
        let name = asked.tag.filled("name").unwrap_or_else(|| sort(&asked).to_lowercase());
        self.ask(Doing::Upload { asked, conversation }, Question::Upload { name, bytes }, shared);
    }

    pub(super) fn post(
        &mut self,
        asked: Asked,
        conversation: ConversationId,
        attachments: Vec<Attach>,
        shared: &mut Shared,
    ) {
        let Some(place) = &mut self.place else { return };
        let text = asked.tag.text("text").filter(|text| !text.is_empty());
        // The document has the text in `chat` itself.
        let is_file = sort(&asked) == "FILE";
        let chat = asked.tag.text("chat").filter(|_| asked.document.is_some() && !is_file);
        let reply_to = asked.tag.text("response_to").and_then(|id| place.chat(&id, conversation));
        let client_id = match asked.tag.text("id").filter(|id| !id.is_empty()) {
            Some(id) => client_id(&id),
            None => place.next_name(),
        };
        let text = shown(&text.or(chat).unwrap_or_default());
        let command = Command::Post {
            conversation,
            client_id,
            text,
            attachments,
            reply_to,
            thread: None,
            // "Keep the sender's, add ours."
            sent_at: asked.tag.time("date_time").map(Millis),
        };
        self.aside(Aside::Post(asked), Question::Command(command), shared);
    }
}

/// What sort of chat it is: TEXT, AUDIO, IMAGE, VIDEO or FILE.
fn sort(asked: &Asked) -> String {
    let chat = asked.tag.word("chat").unwrap_or_default();
    let Some(action) = &asked.document else { return chat };
    // The document has the sort in the action, and the text in `chat`; a file is one that has a name and bytes.
    let is_file = chat == "FILE" && asked.tag.filled("name").is_some() && asked.tag.text("data").is_some();
    match action.to_lowercase().split('_').next() {
        _ if is_file => "FILE".to_owned(),
        Some(sort @ ("audio" | "video")) => sort.to_uppercase(),
        _ if asked.tag.filled("data").is_some() => "IMAGE".to_owned(),
        _ => "TEXT".to_owned(),
    }
}

/// "A CHAT's ID is the client's chat id": sent again it is the same message.
fn client_id(id: &str) -> String {
    if id.chars().count() <= 55 && !id.contains(char::is_control) {
        return format!("tag_json:{id}");
    }
    // Too long to be kept; FNV-1a keeps two of the same client apart well enough.
    let hash = id.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("tag_json#{hash:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_makes_a_name_of_ours() {
        let longest = "x".repeat(55);
        assert_eq!(client_id(&longest), format!("tag_json:{longest}"));
        for long in ["y".repeat(56), "z".repeat(10_000), "\u{7}".to_owned()] {
            let own = client_id(&long);
            assert!(own.starts_with("tag_json#") && own.len() <= 64 && own == client_id(&long), "{own}");
        }
        assert_ne!(client_id(&"y".repeat(56)), client_id(&"y".repeat(57)));
    }
}
