//! Conversations: direct ones, names taken and freed, the server's own group.

use chinwag_protocol::{
    Command, ConversationChange, ConversationId, ConversationKind, Event, History, LogId, Millis, Posting,
    Refused, Reply, UserId,
};

use crate::{
    Facts,
    reading::memory::{ANNA, BELA, CARLA, DORA, GUS, NOBODY, OPAL, Town},
};

fn direct(town: &mut Town, by: UserId, with: UserId) -> Result<ConversationId, Refused> {
    match town.ask(by, Command::OpenDirect { user: with })? {
        Reply::Conversation { conversation } => Ok(conversation),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_direct_conversation_is_made_once_for_both() {
    let mut town = Town::new();
    let id = direct(&mut town, BELA, ANNA).unwrap();
    assert_eq!(direct(&mut town, ANNA, BELA), Ok(id));
    assert_eq!(town.memory.logs[&LogId::Conversation(id)].len(), 3);
    for user in [ANNA, BELA] {
        assert!(
            matches!(town.memory.logs[&LogId::User(user)][..], [ref one] if matches!(one.event, Event::Entered { .. }))
        );
    }
    let notes = direct(&mut town, ANNA, ANNA).unwrap();
    assert_eq!(town.memory.conversation(notes).unwrap().unwrap().members, 1);
    for command in [
        Command::Leave { conversation: id },
        Command::AddMember { conversation: id, user: CARLA },
        Command::CloseConversation { conversation: id },
        Command::ChangeConversation {
            conversation: id,
            change: ConversationChange { name: Some("x".into()), ..ConversationChange::default() },
        },
        Command::RemoveMember { conversation: id, user: BELA, ban: false },
        Command::SetRole { conversation: id, user: BELA, role: chinwag_protocol::Role::Admin },
    ] {
        assert!(matches!(town.code(ANNA, command.clone()).as_str(), "direct" | "forbidden"), "{command:?}");
    }
}

#[test]
fn m5_who_was_blocked_is_told_the_same_as_of_nobody() {
    let mut town = Town::new();
    town.done(BELA, Command::Block { user: ANNA });
    assert_eq!(direct(&mut town, ANNA, BELA), direct(&mut town, ANNA, UserId(NOBODY)));
    assert_eq!(direct(&mut town, ANNA, BELA), Err(Refused::not_found()));
}

#[test]
fn guests_write_to_those_with_whom_they_share_a_conversation() {
    let mut town = Town::new();
    town.group(ANNA, History::All, &[GUS]);
    assert!(direct(&mut town, GUS, ANNA).is_ok());
    assert_eq!(direct(&mut town, GUS, BELA), Err(Refused::not_found()));
    let create = |public| Command::CreateConversation {
        client_id: format!("guest-{public}"),
        kind: ConversationKind::Group,
        name: "mine".into(),
        handle: None,
        topic: String::new(),
        public,
        history: History::All,
        posting: None,
        members: vec![],
    };
    assert_eq!(town.ask(GUS, create(true)), Err(Refused::not_found()));
    assert_eq!(town.ask(GUS, create(false)), Err(Refused::not_found()));
}

/// A command to make something, with one part of it changed.
fn new(town: &Town, change: impl FnOnce(&mut Parts)) -> Command {
    let mut parts =
        Parts { kind: ConversationKind::Group, name: "Lab", handle: None, public: true, members: vec![] };
    change(&mut parts);
    Command::CreateConversation {
        client_id: format!("new-{}", town.at),
        kind: parts.kind,
        name: parts.name.into(),
        handle: parts.handle.map(str::to_owned),
        topic: String::new(),
        public: parts.public,
        history: History::All,
        posting: None,
        members: parts.members,
    }
}

struct Parts {
    kind: ConversationKind,
    name: &'static str,
    handle: Option<&'static str>,
    public: bool,
    members: Vec<UserId>,
}

#[test]
fn making_a_conversation_keeps_the_rules_of_names_and_members() {
    let mut town = Town::new();
    type Change = fn(&mut Parts);
    let cases: [(Change, &str); 10] = [
        (|_| (), "ok"),
        (|parts| parts.handle = Some("lab"), "name_taken"),
        (|parts| parts.handle = Some("anna"), "name_taken"),
        (|parts| parts.handle = Some("no space"), "name_malformed"),
        (|parts| (parts.handle, parts.public) = (Some("other"), false), "handle_needs_public"),
        (|parts| parts.name = " ", "name_empty"),
        (|parts| parts.kind = ConversationKind::Direct, "not_created"),
        (|parts| parts.members = vec![UserId(NOBODY)], "not_found"),
        (|parts| parts.members = vec![BELA; 201], "too_large"),
        (|parts| parts.members = vec![BELA, BELA, ANNA, CARLA], "ok"),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let before = town.memory.logs.clone();
        let command = new(&town, change);
        assert_eq!(town.code(ANNA, command), expected, "case {number}");
        assert!(expected == "ok" || town.memory.logs == before, "case {number} left a trace");
    }
    // The second Lab found another handle by itself.
    let handles: Vec<_> =
        [1, 2].map(|id| town.memory.conversation(ConversationId(id)).unwrap().unwrap().handle.clone()).into();
    assert!(handles[0].is_some() && handles[1].is_some() && handles[0] != handles[1], "{handles:?}");
    let channel = new(&town, |parts| parts.kind = ConversationKind::Channel);
    town.done(ANNA, channel);
    assert_eq!(town.memory.conversation(ConversationId(3)).unwrap().unwrap().posting, Posting::Admins);
}

#[test]
fn a_handle_is_taken_and_freed_with_what_becomes_of_its_conversation() {
    let mut town = Town::new();
    let lab = new(&town, |parts| parts.handle = Some("lab"));
    town.done(ANNA, lab);
    let conversation = ConversationId(1);
    let change = |change| Command::ChangeConversation { conversation, change };
    let none = ConversationChange::default();
    let names = |town: &Town| -> Vec<&'static str> {
        let taken = ["lab", "hall", "Lab"].into_iter();
        taken.filter(|name| town.memory.name(&crate::names::fold(name)).unwrap().is_some()).collect()
    };
    assert_eq!(names(&town), ["lab", "Lab"]);
    town.done(ANNA, change(ConversationChange { handle: Some("hall".into()), ..none.clone() }));
    assert_eq!(names(&town), ["hall"]);
    town.done(ANNA, change(ConversationChange { public: Some(false), ..none.clone() }));
    assert!(names(&town).is_empty());
    let with_handle = ConversationChange { handle: Some("hall".into()), ..none.clone() };
    assert_eq!(town.code(ANNA, change(with_handle)), "handle_needs_public");
    town.done(ANNA, change(ConversationChange { public: Some(true), ..none.clone() }));
    assert_eq!(names(&town), ["lab", "Lab"], "made from the name");
    let length = town.memory.logs[&LogId::Conversation(conversation)].len();
    let same = ConversationChange { name: Some("Lab".into()), public: Some(true), ..none };
    town.done(ANNA, change(same));
    assert_eq!(town.memory.logs[&LogId::Conversation(conversation)].len(), length, "nothing new");
    town.done(ANNA, Command::CloseConversation { conversation });
    assert!(names(&town).is_empty());
    let post = town.message(conversation, "too late");
    assert_eq!(town.code(ANNA, post), "conversation_closed");
}

#[test]
fn the_group_of_the_server_is_changed_by_its_administrators_and_closed_by_nobody() {
    let mut town = Town::new();
    let conversation = town.group(ANNA, History::All, &[BELA, OPAL]);
    town.build_in(conversation);
    let change = |name: &str| Command::ChangeConversation {
        conversation,
        change: ConversationChange { name: Some(name.into()), ..ConversationChange::default() },
    };
    for (user, expected) in
        [(ANNA, "built_in"), (BELA, "built_in"), (DORA, "not_found"), (OPAL, "ok"), (GUS, "not_found")]
    {
        assert_eq!(town.code(user, change(&format!("by {user}"))), expected, "{user}");
    }
    for (user, expected) in [(ANNA, "built_in"), (BELA, "forbidden"), (DORA, "not_found")] {
        assert_eq!(town.code(user, Command::CloseConversation { conversation }), expected, "{user}");
    }
    assert_eq!(town.code(BELA, Command::Leave { conversation }), "ok");
    town.at += crate::limits::CONFIRMATION_MS;
    assert_eq!(town.code(OPAL, change("late")), "confirm_password");
}

#[test]
fn muting_is_ones_own_matter() {
    let mut town = Town::new();
    let conversation = town.group(ANNA, History::All, &[BELA]);
    let until = Some(Millis(5));
    town.done(BELA, Command::Mute { conversation, until });
    town.done(BELA, Command::Mute { conversation, until });
    let own = &town.memory.logs[&LogId::User(BELA)];
    assert_eq!(own.len(), 2);
    assert_eq!(own[1].event, Event::Muted { conversation, until });
    assert_eq!(town.memory.member(conversation, BELA).unwrap().unwrap().muted_until, until);
    assert_eq!(town.ask(DORA, Command::Mute { conversation, until }), Err(Refused::not_found()));
}
