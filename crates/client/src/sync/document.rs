//! The state as one JSON document: what the fixtures compare, and what the cache keeps.

use chinwag_protocol::{LogId, Snapshot};
use serde_json::{Map, Value, json};

use super::State;

impl State {
    /// The state in the form of `fixtures/sync/README.md`.
    pub fn document(&self) -> Value {
        let by_id = |pairs: Vec<(String, Value)>| Value::Object(pairs.into_iter().collect::<Map<_, _>>());
        let conversations = self.conversations.iter().map(|(id, known)| {
            let mut view = json!(known.view);
            view["unread"] = json!(known.unread());
            (id.to_string(), view)
        });
        let items = self
            .conversations
            .iter()
            .filter(|(_, known)| !known.items.is_empty())
            .map(|(id, known)| (id.to_string(), json!(known.items.values().collect::<Vec<_>>())));
        let cursors =
            self.conversations.iter().filter(|(_, known)| !known.cursors.is_empty()).map(|(id, known)| {
                let of = known.cursors.iter().map(|(user, moved)| {
                    (user.to_string(), json!({"delivered": moved.delivered, "read": moved.read}))
                });
                (id.to_string(), by_id(of.collect()))
            });
        let positions = self.positions().into_iter().map(|(log, seq)| (log.to_string(), json!(seq)));
        let users = self.users.iter().map(|(id, user)| (id.to_string(), json!(user)));
        json!({
            "me": self.me,
            "session": self.session,
            "settings": self.settings,
            "contacts": self.contacts,
            "blocked": self.blocked,
            "users": by_id(users.collect()),
            "conversations": by_id(conversations.collect()),
            "items": by_id(items.collect()),
            "cursors": by_id(cursors.collect()),
            "presence": by_id(self.presence.iter().map(|(id, one)| (id.to_string(), json!(one.presence))).collect()),
            "positions": by_id(positions.collect()),
            "unknown_users": self.unknown_users(),
            "ended": self.ended,
        })
    }

    /// A snapshot that leads back to this state, without what passes.
    pub fn snapshot(&self) -> Snapshot {
        let is_kept = |log: &LogId| !matches!(log, LogId::Conversation(_));
        Snapshot {
            me: self.me.clone(),
            session: self.session,
            settings: self.settings.clone(),
            conversations: self.conversations.values().map(|known| known.view.clone()).collect(),
            users: self.users.values().cloned().collect(),
            contacts: self.contacts.iter().copied().collect(),
            blocked: self.blocked.iter().copied().collect(),
            positions: self.positions().into_iter().filter(|(log, _)| is_kept(log)).collect(),
        }
    }
}
