//! What people call a conversation or a user, and which one they mean.

use std::{collections::BTreeMap, fs, path::Path};

use chinwag_protocol::{
    Answer, Command, ConversationId, ConversationView, Kind, Profile, Query, Refused, Reply, Snapshot, UserId,
};

use super::session::{Session, foreign};
use crate::exit::{Outcome, Stop, usage};

/// A name of a conversation, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    User(String),
    Public(String),
    Id(ConversationId),
    Any(String),
}

fn parse(name: &str) -> Outcome<Named> {
    if let Some(number) = name.strip_prefix("id:") {
        return match number.parse() {
            Ok(number) => Ok(Named::Id(ConversationId(number))),
            Err(_) => usage(format!("not the number of a conversation: {name:?}")),
        };
    }
    let mut characters = name.chars();
    match (characters.next(), characters.as_str()) {
        (Some('@'), handle) if !handle.is_empty() => Ok(Named::User(handle.to_owned())),
        (Some('#'), handle) if !handle.is_empty() => Ok(Named::Public(handle.to_owned())),
        (Some('@' | '#') | None, _) => {
            usage("which conversation? Name it by @handle, #handle, its name or id:NUMBER")
        }
        (Some(_), _) => Ok(Named::Any(name.to_owned())),
    }
}

fn not_found(what: &str) -> Stop {
    Stop::Refused(Refused::new(
        Kind::NotFound,
        "not_found",
        format!("there is no {what} that you may know of"),
    ))
}

/// What a handle names, if anything.
enum Found {
    User(Profile),
    Conversation(ConversationView),
}

async fn handle(session: &Session, handle: &str) -> Outcome<Option<Found>> {
    match session.query(Query::Handle { handle: handle.to_owned() }).await {
        Ok(Answer::User(profile)) => Ok(Some(Found::User(profile))),
        Ok(Answer::Conversation(view)) => Ok(Some(Found::Conversation(*view))),
        Ok(_) => foreign(),
        Err(Stop::Refused(refused)) if matches!(refused.kind, Kind::NotFound | Kind::Invalid) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// The user whom a handle names.
pub(crate) async fn user(session: &Session, name: &str) -> Outcome<Profile> {
    let bare = name.trim_start_matches('@');
    if bare.is_empty() {
        return usage("which user? Name him by @handle");
    }
    match handle(session, bare).await? {
        Some(Found::User(profile)) => Ok(profile),
        _ => Err(not_found(&format!("user @{bare}"))),
    }
}

/// The conversation that a name means; a private chat that is not there yet is opened.
pub(crate) async fn conversation(session: &Session, name: &str) -> Outcome<ConversationId> {
    let found = match parse(name)? {
        Named::Id(id) => return Ok(id),
        Named::User(handle) => direct(session, user(session, &handle).await?.id).await?,
        Named::Public(bare) => match handle(session, &bare).await? {
            Some(Found::Conversation(view)) => view.id,
            _ => among_mine(&session.snapshot().await?, &bare)?
                .ok_or_else(|| not_found(&format!("conversation #{bare}")))?,
        },
        Named::Any(text) => match among_mine(&session.snapshot().await?, &text)? {
            Some(id) => id,
            None => match handle(session, &text).await? {
                Some(Found::Conversation(view)) => view.id,
                Some(Found::User(profile)) => direct(session, profile.id).await?,
                None => return Err(not_found(&format!("conversation {text:?}"))),
            },
        },
    };
    if let Some(file) = session.names() {
        remember(&file, name, found);
    }
    Ok(found)
}

async fn direct(session: &Session, user: UserId) -> Outcome<ConversationId> {
    match session.command(Command::OpenDirect { user }).await? {
        Reply::Conversation { conversation } => Ok(conversation),
        _ => foreign(),
    }
}

/// One's own conversation with this handle or name.
fn among_mine(snapshot: &Snapshot, text: &str) -> Outcome<Option<ConversationId>> {
    let wanted = text.to_lowercase();
    let fits = |view: &&ConversationView| {
        view.handle.as_ref().is_some_and(|handle| handle.to_lowercase() == wanted)
            || view.name.to_lowercase() == wanted
    };
    let found: Vec<_> = snapshot.conversations.iter().filter(fits).map(|view| view.id).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => {
            let ids: Vec<_> = several.iter().map(|id| format!("id:{id}")).collect();
            usage(format!("{text:?} is the name of several conversations: {}", ids.join(", ")))
        }
    }
}

/// What a name meant the last time; for writing while the server cannot be asked.
pub(crate) fn remembered(session: &Session, name: &str) -> Outcome<Option<ConversationId>> {
    if let Named::Id(id) = parse(name)? {
        return Ok(Some(id));
    }
    Ok(session.names().and_then(|file| known(&file).get(name).copied()))
}

fn known(file: &Path) -> BTreeMap<String, ConversationId> {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Names are kept for convenience: if that fails, offline writing needs a number.
fn remember(file: &Path, name: &str, id: ConversationId) {
    let mut names = known(file);
    if names.insert(name.to_owned(), id) == Some(id) {
        return;
    }
    let beside = file.with_extension("new");
    let write = || -> std::io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&beside, serde_json::to_vec(&names)?)?;
        fs::rename(&beside, file)
    };
    let _ = write();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_meant() {
        for (name, expected) in [
            ("@bert", Named::User("bert".into())),
            ("#lab", Named::Public("lab".into())),
            ("id:12", Named::Id(ConversationId(12))),
            ("Lab talk", Named::Any("Lab talk".into())),
            ("ü", Named::Any("ü".into())),
        ] {
            assert_eq!(parse(name).unwrap(), expected);
        }
        for wrong in ["", "@", "#", "id:", "id:x", "id:-1"] {
            assert!(matches!(parse(wrong), Err(Stop::Usage(_))), "{wrong:?}");
        }
    }

    fn snapshot(names: &[(u32, Option<&str>, &str)]) -> Snapshot {
        let me = json!({"id": 1, "handle": "anna", "name": "anna", "hue": 1, "kind": "person"});
        let views: Vec<_> = names
            .iter()
            .map(|(id, handle, name)| {
                let mut view = json!({"id": id, "kind": "group", "name": name, "public": false, "history": "all",
                    "posting": "everyone", "members": 1, "head": {"seq": 1, "messages": 0}});
                if let Some(handle) = handle {
                    view["handle"] = json!(handle);
                }
                view
            })
            .collect();
        serde_json::from_value(
            json!({"me": me, "session": 1, "settings": {"theme": ""}, "conversations": views,
            "users": [], "contacts": [], "blocked": [], "positions": []}),
        )
        .unwrap()
    }

    #[test]
    fn a_name_that_means_two_is_not_guessed() {
        let snapshot =
            snapshot(&[(2, Some("lab"), "The Lab"), (3, None, "Lunch"), (4, None, "lunch"), (5, None, "")]);
        assert_eq!(among_mine(&snapshot, "LAB").unwrap(), Some(ConversationId(2)));
        assert_eq!(among_mine(&snapshot, "the lab").unwrap(), Some(ConversationId(2)));
        assert_eq!(among_mine(&snapshot, "kitchen").unwrap(), None);
        let Err(Stop::Usage(why)) = among_mine(&snapshot, "lunch") else { panic!("guessed") };
        assert!(why.contains("id:3, id:4"), "{why}");
    }

    #[test]
    fn names_are_remembered_for_writing_offline() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/names.json");
        remember(&file, "@bert", ConversationId(7));
        remember(&file, "#lab", ConversationId(8));
        remember(&file, "@bert", ConversationId(9));
        assert_eq!(
            known(&file),
            BTreeMap::from([("@bert".into(), ConversationId(9)), ("#lab".into(), ConversationId(8))])
        );
        fs::write(&file, "nonsense").unwrap();
        assert!(known(&file).is_empty());
    }
}
