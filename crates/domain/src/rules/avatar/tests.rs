//! Which file may stand for somebody, who sees it, and how long it is kept.

use std::sync::Arc;

use chinwag_protocol::{
    Command, ConversationChange, ConversationId, Event, FileId, History, LogId, NewAvatar, Portrayed,
    ProfileChange, Query, UserId,
};

use crate::{
    facts::{Facts, Stop},
    limits::AVATAR_BYTES_MAX,
    reading::memory::{ANNA, BELA, CARLA, DORA, GUS, NOBODY, OPAL, Town},
    record::Credentials,
};

const FACE: FileId = FileId([7; 32]);
const OTHER: FileId = FileId([8; 32]);

fn own(file: Option<FileId>) -> Command {
    Command::ChangeProfile(ProfileChange { avatar: Some(NewAvatar { file }), ..ProfileChange::default() })
}

fn of(conversation: ConversationId, file: Option<FileId>) -> Command {
    let avatar = Some(NewAvatar { file });
    let change = ConversationChange { avatar, ..ConversationChange::default() };
    Command::ChangeConversation { conversation, change }
}

/// How often a file is held; `None` if it may go.
fn held(town: &Town, user: UserId, file: FileId) -> Option<u32> {
    let held = town.memory.holding(user, file).unwrap().expect("it was uploaded");
    (!held.is_idle(chinwag_protocol::Millis(1))).then_some(held.messages)
}

/// What somebody gets who asks for a picture.
fn look(town: &Town, user: UserId, of: Portrayed, file: FileId) -> Result<u64, String> {
    let at = chinwag_protocol::Millis(town.at);
    match crate::reading::avatar(&town.memory, &Town::actor(user), of, file, at) {
        Ok(found) => Ok(found.size),
        Err(Stop::Refused(refused)) => Err(refused.code),
        Err(Stop::Failed(failed)) => panic!("{failed}: {}", failed.cause),
    }
}

#[test]
fn a_picture_is_ones_own_upload_a_picture_and_small() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    town.upload(BELA, FACE, 1, "image/png");
    for (size, media_type, expected) in [
        (AVATAR_BYTES_MAX, "image/jpeg", "ok"),
        (AVATAR_BYTES_MAX, "image/gif", "ok"),
        (1, "image/webp", "ok"),
        (1, "image/svg+xml", "not_a_picture"),
        (1, "text/plain; charset=utf-8", "not_a_picture"),
        (1, "video/mp4", "not_a_picture"),
        (AVATAR_BYTES_MAX + 1, "image/png", "too_large"),
    ] {
        for command in [own(Some(OTHER)), of(group, Some(OTHER))] {
            town.upload(ANNA, OTHER, size, media_type);
            let refused = town.ask(ANNA, command.clone()).err();
            let code = refused.as_ref().map_or("ok", |refused| refused.code.as_str());
            assert_eq!(code, expected, "{media_type} of {size} bytes");
            assert!(refused.is_none_or(|refused| refused.field.as_deref() == Some("avatar")));
        }
        for command in [own(None), of(group, None)] {
            town.done(ANNA, command);
        }
    }
    assert_eq!(town.code(ANNA, own(Some(FACE))), "file_not_found", "it is Bela's");
    assert_eq!(town.code(ANNA, of(group, Some(FACE))), "file_not_found");
    assert_eq!(town.code(ANNA, own(Some(FileId([9; 32])))), "file_not_found");
}

#[test]
fn who_may_rename_a_conversation_may_give_it_a_picture() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    for user in [ANNA, BELA, CARLA] {
        town.upload(user, FACE, 1, "image/png");
    }
    assert_eq!(town.code(BELA, of(group, Some(FACE))), "forbidden");
    assert_eq!(town.code(CARLA, of(group, Some(FACE))), "not_found");
    town.done(ANNA, of(group, Some(FACE)));
    assert_eq!(town.code(BELA, of(group, None)), "forbidden");
    let direct = Command::OpenDirect { user: BELA };
    let Ok(chinwag_protocol::Reply::Conversation { conversation }) = town.ask(ANNA, direct) else { panic!() };
    assert!(town.ask(ANNA, of(conversation, Some(FACE))).is_err(), "it is shown by its other user");
}

#[test]
fn a_picture_is_held_as_long_as_it_is_shown_and_said_once() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    town.upload(ANNA, FACE, 1, "image/png");
    town.upload(ANNA, OTHER, 1, "image/png");
    for _ in 0..2 {
        town.done(ANNA, own(Some(FACE)));
        town.done(ANNA, of(group, Some(FACE)));
    }
    assert_eq!(town.memory.log(LogId::Directory).len(), 1, "what is so already is not said again");
    assert_eq!(held(&town, ANNA, FACE), Some(2));
    town.done(ANNA, own(Some(OTHER)));
    assert_eq!((held(&town, ANNA, FACE), held(&town, ANNA, OTHER)), (Some(1), Some(1)));
    town.done(ANNA, of(group, None));
    assert_eq!(held(&town, ANNA, FACE), None);
    town.done(ANNA, own(None));
    assert_eq!(held(&town, ANNA, OTHER), None);
    town.done(ANNA, own(None));
}

#[test]
fn whoever_chose_it_holds_it_until_another_one_is_chosen_or_all_is_over() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    town.done(
        ANNA,
        Command::SetRole { conversation: group, user: BELA, role: chinwag_protocol::Role::Admin },
    );
    town.upload(ANNA, FACE, 1, "image/png");
    town.upload(BELA, FACE, 1, "image/png");
    town.upload(BELA, OTHER, 1, "image/png");
    town.done(BELA, of(group, Some(FACE)));
    town.done(ANNA, of(group, Some(FACE)));
    town.done(BELA, Command::Leave { conversation: group });
    assert_eq!((held(&town, ANNA, FACE), held(&town, BELA, FACE)), (Some(0), Some(1)));
    town.done(ANNA, of(group, None));
    assert_eq!(held(&town, BELA, FACE), None);
    town.done(ANNA, of(group, Some(FACE)));
    town.done(ANNA, Command::CloseConversation { conversation: group });
    assert_eq!(held(&town, ANNA, FACE), None);
}

#[test]
fn a_deleted_account_shows_nothing() {
    let mut town = Town::new();
    town.upload(ANNA, FACE, 1, "image/png");
    town.done(ANNA, own(Some(FACE)));
    let secrets = Credentials { user: ANNA, password: "hash".into(), ..Credentials::default() };
    town.memory.credentials.insert(ANNA, Arc::new(secrets));
    let prepared = crate::Prepared { verified: Some(0), ..crate::Prepared::default() };
    town.ask_with(ANNA, Command::DeleteAccount { password: "right".into() }, prepared).unwrap();
    assert_eq!(held(&town, ANNA, FACE), None);
    let Some(Event::UserChanged { profile }) =
        town.memory.log(LogId::Directory).last().map(|entry| entry.event.clone())
    else {
        panic!("the directory tells of it")
    };
    assert_eq!(profile.avatar, None);
}

#[test]
fn everybody_sees_whoever_he_may_know() {
    let mut town = Town::new();
    town.upload(ANNA, FACE, 42, "image/png");
    town.done(ANNA, own(Some(FACE)));
    let anna = Portrayed::User(ANNA);
    for user in [ANNA, BELA, DORA, OPAL] {
        assert_eq!(look(&town, user, anna, FACE), Ok(42), "user {user}");
    }
    let nothing = Err("not_found".to_owned());
    assert_eq!(look(&town, GUS, anna, FACE), nothing, "a guest knows only those he talks with");
    assert_eq!(look(&town, BELA, anna, OTHER), nothing);
    assert_eq!(look(&town, BELA, Portrayed::User(UserId(NOBODY)), FACE), nothing);
    town.group(ANNA, History::All, &[GUS]);
    assert_eq!(look(&town, GUS, anna, FACE), Ok(42));
    town.done(ANNA, own(None));
    assert_eq!(look(&town, ANNA, anna, FACE), nothing, "what was shown before is nobody's to see");
}

#[test]
fn m5_who_does_not_see_a_conversation_does_not_see_its_picture() {
    let mut town = Town::new();
    town.upload(ANNA, FACE, 42, "image/png");
    let secret = town.group(ANNA, History::All, &[BELA]);
    let kind = chinwag_protocol::ConversationKind::Group;
    let open = town.create(ANNA, kind, true, History::All, &[BELA]);
    for group in [secret, open] {
        town.done(ANNA, of(group, Some(FACE)));
        assert_eq!(look(&town, BELA, Portrayed::Conversation(group), FACE), Ok(42));
        let nothing = look(&town, DORA, Portrayed::Conversation(ConversationId(NOBODY)), FACE);
        assert_eq!(look(&town, GUS, Portrayed::Conversation(group), FACE), nothing);
    }
    assert_eq!(look(&town, DORA, Portrayed::Conversation(open), FACE), Ok(42));
    assert!(look(&town, DORA, Portrayed::Conversation(secret), FACE).is_err());
    let shown = town.look(DORA, &Query::Conversation { conversation: open }).unwrap();
    assert!(matches!(shown, chinwag_protocol::Answer::Conversation(view) if view.avatar == Some(FACE)));
}
