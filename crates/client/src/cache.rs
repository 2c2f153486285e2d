//! What one knew at the last time, so that a restart goes on instead of asking for everything.
//!
//! Losing it costs a snapshot and nothing else: it is written now and then, and never trusted beyond what the
//! server confirms (another epoch, or positions it does not know, lead to a fresh snapshot).

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chinwag_protocol::{ConversationId, HistoryPage, Item, Snapshot};
use serde::{Deserialize, Serialize};

use crate::sync::State;

/// Changed when the form changes; a file of another form is as good as none.
const FORM: u32 = 1;
/// So many of the newest entries of each conversation are kept.
const ITEMS_KEPT: usize = 50;

#[derive(Serialize, Deserialize)]
struct Kept {
    form: u32,
    epoch: String,
    snapshot: Snapshot,
    items: Vec<(ConversationId, Vec<Item>)>,
}

/// The cache of one account.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
}

impl Cache {
    /// Of this file.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// What was kept, with the epoch it belongs to; `None` if there is nothing of use.
    pub fn load(&self) -> Option<(String, State)> {
        let kept: Kept = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        if kept.form != FORM {
            return None;
        }
        let mut state = State::from(kept.snapshot);
        for (conversation, items) in kept.items {
            state.load(conversation, &HistoryPage { items, more_before: true, more_after: false });
        }
        Some((kept.epoch, state))
    }

    /// Keeps a state, in the place of the one before.
    pub fn save(&self, epoch: &str, state: &State) -> io::Result<()> {
        let newest = |(id, known): (&ConversationId, &crate::sync::Conversation)| {
            let first = known.items.len().saturating_sub(ITEMS_KEPT);
            (*id, known.items.values().skip(first).cloned().collect::<Vec<_>>())
        };
        let items = state.conversations.iter().map(newest).filter(|(_, items)| !items.is_empty()).collect();
        let kept = Kept { form: FORM, epoch: epoch.to_owned(), snapshot: state.snapshot(), items };
        let text = serde_json::to_vec(&kept)?;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = self.path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)
    }

    /// Forgets it: after signing out nothing of what was said stays here.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::{Entry, Event, LogId, MessageBody, Millis, Seq, UserId};
    use serde_json::json;

    use super::*;

    fn state() -> State {
        let me = json!({"id": 1, "handle": "anna", "name": "anna", "hue": 1, "kind": "person"});
        let conversation = json!({"id": 2, "kind": "group", "name": "Lab", "public": false, "history": "all",
            "posting": "everyone", "members": 2, "head": {"seq": 3, "messages": 0},
            "mine": {"role": "member", "since": 1, "read": {"seq": 3, "messages": 0}}});
        let snapshot = json!({"me": me, "session": 7, "settings": {"theme": "system"}, "conversations": [conversation],
            "users": [], "contacts": [], "blocked": [], "positions": [["u1", 3], ["d", 3]]});
        State::from(serde_json::from_value::<Snapshot>(snapshot).unwrap())
    }

    #[test]
    fn what_was_kept_is_what_was_known_with_the_newest_entries() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(&folder.path().join("deep/anna.json"));
        assert!(cache.load().is_none());
        let mut state = state();
        for number in 1..=60 {
            let event =
                Event::Message(MessageBody { text: format!("{number}"), number, ..MessageBody::default() });
            let log = LogId::Conversation(ConversationId(2));
            let entry =
                Entry { log, seq: Seq(3 + number), at: Millis(1), by: UserId(2), client_id: None, event };
            state.apply(&entry);
        }
        cache.save("epoch", &state).unwrap();
        let (epoch, found) = cache.load().unwrap();
        assert_eq!(epoch, "epoch");
        let (mut expected, found) = (state.document(), found.document());
        let items = expected["items"]["2"].as_array().unwrap()[10..].to_vec();
        expected["items"]["2"] = json!(items);
        assert_eq!(found, expected);
        cache.remove().unwrap();
        assert!(cache.load().is_none());
    }

    #[test]
    fn a_damaged_cache_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anna.json");
        Cache::new(&path).save("epoch", &state()).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(Cache::new(&path).load().is_none());
        fs::write(&path, String::from_utf8(whole).unwrap().replace("\"form\":1", "\"form\":999")).unwrap();
        assert!(Cache::new(&path).load().is_none());
    }
}
