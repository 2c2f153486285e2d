//! Entries of conversations: lines for people, objects for programs.

use std::collections::{BTreeMap, BTreeSet};

use chinwag_protocol::{
    Answer, CallEnd, CallMedia, Entry, Event, Item, JoinedBy, LogId, MessageState, Profile, Query, UserId,
};
use serde_json::{Value, json};

use super::{
    fetch::shown,
    session::{Session, foreign},
};
use crate::{
    exit::Outcome,
    show::{self, Out},
};

/// How wide the column of names is at most.
const NAME_WIDTH: usize = 16;

/// The people that entries name.
#[derive(Default)]
pub(crate) struct People {
    known: BTreeMap<UserId, Profile>,
}

impl People {
    /// Nobody but these.
    pub(crate) fn of(profiles: impl IntoIterator<Item = Profile>) -> Self {
        Self { known: profiles.into_iter().map(|profile| (profile.id, profile)).collect() }
    }

    /// Adds somebody, or renews what is known of him.
    pub(crate) fn put(&mut self, profile: Profile) {
        self.known.insert(profile.id, profile);
    }

    /// Asks for those whom these entries name and who are not known yet.
    pub(crate) async fn complete(
        &mut self,
        session: &Session,
        entries: impl Iterator<Item = &Entry>,
    ) -> Outcome {
        let missing: BTreeSet<UserId> =
            entries.flat_map(named).filter(|user| !self.known.contains_key(user)).collect();
        let missing: Vec<UserId> = missing.into_iter().collect();
        for users in missing.chunks(200) {
            match session.query(Query::Users { users: users.to_vec() }).await? {
                Answer::Users(profiles) => profiles.into_iter().for_each(|profile| self.put(profile)),
                _ => return foreign(),
            }
        }
        Ok(())
    }

    pub(crate) fn name(&self, user: UserId) -> String {
        self.known.get(&user).map_or_else(|| format!("user {user}"), |profile| profile.name.clone())
    }

    pub(crate) fn handle(&self, user: UserId) -> Option<&str> {
        self.known.get(&user).map(|profile| profile.handle.as_str())
    }
}

/// Whom an entry names.
pub(crate) fn named(entry: &Entry) -> Vec<UserId> {
    let other = match &entry.event {
        Event::Joined { user, .. }
        | Event::Left { user }
        | Event::Removed { user, .. }
        | Event::Banned { user }
        | Event::Unbanned { user }
        | Event::RoleChanged { user, .. } => Some(*user),
        _ => None,
    };
    other.into_iter().chain([entry.by]).collect()
}

/// An entry as a program sees it; the keys stand in the help of `read`.
pub(crate) fn object(people: &People, item: &Item) -> Value {
    let entry = &item.entry;
    let mut object = json!({
        "type": "message",
        "seq": entry.seq,
        "at": entry.at,
        "time": show::time(entry.at),
        "by": entry.by,
        "name": people.name(entry.by),
    });
    if let LogId::Conversation(id) = entry.log {
        object["conversation"] = json!(id);
    }
    if let Some(handle) = people.handle(entry.by) {
        object["handle"] = json!(handle);
    }
    let Event::Message(body) = &entry.event else {
        let event = json!(entry.event);
        object["type"] = json!(event.as_object().and_then(|event| event.keys().next()));
        object["event"] = event;
        return object;
    };
    let nothing = MessageState::default();
    let state = item.state.as_ref().unwrap_or(&nothing);
    object["text"] = json!(state.text.as_ref().unwrap_or(&body.text));
    let mut add = |key: &str, value: Value, is_there: bool| {
        if is_there {
            object[key] = value;
        }
    };
    add("reply_to", json!(body.reply_to), body.reply_to.is_some());
    add("thread", json!(body.thread), body.thread.is_some());
    add("mentions", json!(body.mentions), !body.mentions.is_empty());
    add("attachments", json!(body.attachments), !body.attachments.is_empty());
    add("mentions_all", json!(true), body.mentions_all);
    add("via", json!(body.via), body.via.is_some());
    add("client_id", json!(entry.client_id), entry.client_id.is_some());
    add("edited", json!(true), state.edited_at.is_some());
    add("deleted", json!(true), state.deleted);
    add("pinned", json!(true), state.pinned);
    add("replies", json!(state.replies), state.replies > 0);
    add("reactions", json!(state.reactions), !state.reactions.is_empty());
    object
}

/// An entry as people see it: time, name, and what was said or done, aligned. `None` if there is nothing to show.
pub(crate) fn line(out: &Out, people: &People, item: &Item) -> Option<String> {
    let entry = &item.entry;
    let time = show::moment(entry.at, "%H:%M");
    let Event::Message(body) = &entry.event else {
        let what = happened(out, people, entry)?;
        return Some(format!("{time}  {}  {what}", " ".repeat(NAME_WIDTH)));
    };
    let state = item.state.as_ref();
    let mut text = match state {
        Some(state) if state.deleted => "(deleted)".to_owned(),
        Some(MessageState { text: Some(text), .. }) => show::text_lines(text),
        _ => show::text_lines(&body.text),
    };
    if !state.is_some_and(|state| state.deleted) {
        for attachment in &body.attachments {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&shown(attachment));
        }
    }
    if state.is_some_and(|state| state.edited_at.is_some()) {
        text.push_str("  (edited)");
    }
    for reaction in state.map_or(&[][..], |state| &state.reactions) {
        text.push_str(&format!("  {} {}", show::one_line(&reaction.emoji), reaction.users.len()));
    }
    if let Some(answered) = body.reply_to {
        text = format!("(to {answered}) {text}");
    }
    let indent = " ".repeat(time.len() + NAME_WIDTH + 4);
    let text = text.replace('\n', &format!("\n{indent}"));
    Some(format!("{time}  {}  {text}", out.column(&people.name(entry.by), NAME_WIDTH)))
}

/// A sentence for an entry that is no message.
fn happened(out: &Out, people: &People, entry: &Entry) -> Option<String> {
    let by = out.name(&people.name(entry.by));
    let who = |user: &UserId| out.name(&people.name(*user));
    Some(match &entry.event {
        Event::Created { .. } => format!("· {by} made this conversation"),
        Event::Changed(_) => format!("· {by} changed the settings"),
        // Those who are there from the beginning; "made" says enough.
        Event::Joined { how: JoinedBy::Creating, .. } => return None,
        Event::Joined { user, .. } if *user == entry.by => format!("· {by} joined"),
        Event::Joined { user, .. } => format!("· {by} added {}", who(user)),
        Event::Left { user } => format!("· {} left", who(user)),
        Event::Removed { user, banned: false } => format!("· {by} removed {}", who(user)),
        Event::Removed { user, banned: true } => format!("· {by} removed and banned {}", who(user)),
        Event::Banned { user } => format!("· {by} banned {}", who(user)),
        Event::Unbanned { user } => format!("· {by} lifted the ban of {}", who(user)),
        Event::RoleChanged { user, role } => {
            format!("· {by} made {} {}", who(user), format!("{role:?}").to_lowercase())
        }
        Event::Edited { message, text } => format!("· {by} changed {message}: {}", show::one_line(text)),
        Event::Deleted { message } => format!("· {by} deleted {message}"),
        Event::Reacted { message, emoji } => {
            format!("· {by} reacted to {message} with {}", show::one_line(emoji))
        }
        Event::Unreacted { message, .. } => format!("· {by} took back a reaction to {message}"),
        Event::Pinned { message } => format!("· {by} pinned {message}"),
        Event::Unpinned { message } => format!("· {by} unpinned {message}"),
        Event::CallStarted { media, via } => {
            let via = via.as_deref().map(|door| format!(", through {}", show::one_line(door)));
            format!("[call] {} call started by {by}{}", media_word(*media), via.unwrap_or_default())
        }
        Event::CallAnswered { accepted: true, .. } => format!("[call] {by} answered"),
        Event::CallAnswered { accepted: false, .. } => format!("[call] {by} declined"),
        Event::CallEnded { reason, .. } => match reason {
            CallEnd::Ended => format!("[call] ended by {by}"),
            CallEnd::Declined => "[call] declined".to_owned(),
            CallEnd::Missed => "[call] missed".to_owned(),
            CallEnd::Failed => "[call] ended by the server: nobody had hung up".to_owned(),
        },
        Event::Closed {} => format!("· {by} deleted this conversation"),
        _ => return None,
    })
}

fn media_word(media: CallMedia) -> &'static str {
    match media {
        CallMedia::Audio => "audio",
        CallMedia::Video => "video",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: Value) -> Item {
        serde_json::from_value(value).unwrap()
    }

    fn people() -> People {
        People::of([serde_json::from_value(
            json!({"id": 2, "handle": "bert", "name": "Bert\u{1b}[31m", "hue": 1, "kind": "person"}),
        )
        .unwrap()])
    }

    #[test]
    fn a_message_is_one_aligned_line_without_controls() {
        let item = item(json!({"entry": {"log": "c3", "seq": 5, "at": 0, "by": 2,
            "event": {"message": {"text": "one\ntwo\u{7}", "number": 1, "reply_to": 4}}}}));
        let line = line(&Out::new(false), &people(), &item).unwrap();
        let (_, after_time) = line.split_once("  ").unwrap();
        assert_eq!(after_time, format!("{:<16}  (to 4) one\n{}two␇", "Bert␛[31m", " ".repeat(25)));
    }

    #[test]
    fn files_and_calls_have_lines_of_their_own() {
        let shown = |event: Value| {
            let item = item(json!({"entry": {"log": "c3", "seq": 5, "at": 0, "by": 2, "event": event}}));
            let line = line(&Out::new(false), &people(), &item).unwrap();
            line.split_once("  ").unwrap().1.trim_start().to_owned()
        };
        let file = json!({"file": "ab".repeat(32), "name": "t\u{1b}.png", "size": 1_234_567, "media_type": "image/png"});
        let with_file =
            |text: &str| json!({"message": {"text": text, "number": 1, "attachments": [file.clone()]}});
        assert!(shown(with_file("")).ends_with("  [file] t␛.png (1.2 MB)"));
        assert!(shown(with_file("look")).contains("look\n"));
        assert_eq!(
            shown(json!({"call_started": {"media": "audio"}})),
            "[call] audio call started by Bert␛[31m"
        );
        let door = json!({"call_started": {"media": "video", "via": "tag_json"}});
        assert_eq!(shown(door), "[call] video call started by Bert␛[31m, through tag_json");
        assert_eq!(shown(json!({"call_ended": {"call": 4, "reason": "missed"}})), "[call] missed");
    }

    #[test]
    fn programs_get_what_the_message_says_now() {
        let item = item(json!({"entry": {"log": "c3", "seq": 5, "at": 0, "by": 2, "client_id": "k",
            "event": {"message": {"text": "old", "number": 1, "mentions": [2]}}},
            "state": {"text": "new", "edited_at": 9, "changed": 6, "reactions": [{"emoji": "👍", "users": [2]}]}}));
        assert_eq!(
            object(&people(), &item),
            json!({"type": "message", "conversation": 3, "seq": 5, "at": 0, "time": "1970-01-01T00:00:00Z", "by": 2,
                "handle": "bert", "name": "Bert\u{1b}[31m", "text": "new", "mentions": [2], "client_id": "k",
                "edited": true, "reactions": [{"emoji": "👍", "users": [2]}]})
        );
    }

    #[test]
    fn other_entries_are_named_by_their_event() {
        let item =
            item(json!({"entry": {"log": "c3", "seq": 6, "at": 0, "by": 9, "event": {"left": {"user": 9}}}}));
        let found = object(&people(), &item);
        assert_eq!((&found["type"], &found["event"]), (&json!("left"), &json!({"left": {"user": 9}})));
        assert!(line(&Out::new(false), &people(), &item).unwrap().ends_with("· user 9 left"));
    }
}
