//! Memberships: who may bring and remove whom, and what newcomers see.

use chinwag_protocol::{Command, ConversationKind, Event, History, LogId, Refused, Role, Seq, UserId};

use crate::{
    Facts,
    reading::memory::{ANNA, BELA, CARLA, DORA, GUS, NOBODY, OPAL, Town},
};

fn last_events(town: &Town, log: LogId, count: usize) -> Vec<Event> {
    let entries = &town.memory.logs[&log];
    entries[entries.len() - count..].iter().map(|entry| entry.event.clone()).collect()
}

#[test]
fn joining_and_leaving_are_told_to_all_and_to_oneself() {
    let mut town = Town::new();
    let hall = town.create(ANNA, ConversationKind::Group, true, History::FromJoining, &[]);
    town.done(BELA, Command::Join { conversation: hall });
    let log = LogId::Conversation(hall);
    let how = chinwag_protocol::JoinedBy::Joining;
    let joined = Event::Joined { user: BELA, role: Role::Member, since: Seq(3), how };
    assert_eq!(last_events(&town, log, 1), [joined]);
    let Event::Entered { conversation } = &last_events(&town, LogId::User(BELA), 1)[0] else { panic!() };
    assert_eq!((conversation.head.seq, conversation.members, &conversation.last), (Seq(3), 2, &None));
    town.done(BELA, Command::Join { conversation: hall });
    assert_eq!(town.memory.logs[&log].len(), 3, "joined already");
    town.done(BELA, Command::Leave { conversation: hall });
    assert_eq!(last_events(&town, log, 1), [Event::Left { user: BELA }]);
    assert_eq!(last_events(&town, LogId::User(BELA), 1), [Event::Departed { conversation: hall }]);
    assert_eq!(town.ask(BELA, Command::Leave { conversation: hall }), Err(Refused::not_found()));
    // The owner may not leave others behind; alone he closes it, and its name is free.
    town.done(BELA, Command::Join { conversation: hall });
    assert_eq!(town.code(ANNA, Command::Leave { conversation: hall }), "owner_leaves");
    town.done(BELA, Command::Leave { conversation: hall });
    town.done(ANNA, Command::Leave { conversation: hall });
    assert_eq!(last_events(&town, log, 2), [Event::Left { user: ANNA }, Event::Closed {}]);
    assert_eq!(town.ask(BELA, Command::Join { conversation: hall }), Err(Refused::not_found()));
}

#[test]
fn the_history_setting_says_what_newcomers_see() {
    let mut town = Town::new();
    let open = |town: &mut Town, conversation, history| {
        let change = chinwag_protocol::ConversationChange { history: Some(history), ..Default::default() };
        town.done(ANNA, Command::ChangeConversation { conversation, change });
    };
    let group = town.group(ANNA, History::FromJoining, &[]);
    town.say(ANNA, group, "three");
    open(&mut town, group, History::All);
    town.say(ANNA, group, "five");
    town.done(ANNA, Command::AddMember { conversation: group, user: BELA });
    open(&mut town, group, History::FromJoining);
    town.done(ANNA, Command::AddMember { conversation: group, user: CARLA });
    let since = |user| town.memory.member(group, user).unwrap().unwrap().since;
    // The maker from the beginning, Bela from where it was opened, Carla from her joining.
    assert_eq!((since(ANNA), since(BELA), since(CARLA)), (Seq(1), Seq(4), Seq(8)));
}

#[test]
fn who_may_bring_and_remove_whom() {
    // Anna owns, Bela is an admin, Carla a member, Dora none; Opal runs the server and is none.
    let town = || {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA, CARLA, GUS]);
        town.done(ANNA, Command::SetRole { conversation: group, user: BELA, role: Role::Admin });
        (town, group)
    };
    let (_, conversation) = town();
    let add = |user| Command::AddMember { conversation, user };
    let remove = |user| Command::RemoveMember { conversation, user, ban: false };
    let ban = |user| Command::RemoveMember { conversation, user, ban: true };
    let unban = |user| Command::Unban { conversation, user };
    let role = |user, role| Command::SetRole { conversation, user, role };
    for (by, command, expected) in [
        (ANNA, add(DORA), "ok"),
        (BELA, add(DORA), "ok"),
        (CARLA, add(DORA), "forbidden"),
        (GUS, add(DORA), "forbidden"),
        (DORA, add(DORA), "not_found"),
        (ANNA, add(UserId(NOBODY)), "not_found"),
        (ANNA, add(CARLA), "ok"),
        (ANNA, remove(BELA), "ok"),
        (ANNA, remove(ANNA), "oneself"),
        (BELA, remove(CARLA), "ok"),
        (BELA, remove(ANNA), "forbidden"),
        (CARLA, remove(GUS), "forbidden"),
        (DORA, remove(CARLA), "not_found"),
        (ANNA, remove(DORA), "not_found"),
        (OPAL, remove(CARLA), "ok"),
        (OPAL, remove(ANNA), "owner"),
        (BELA, ban(DORA), "ok"),
        (BELA, ban(UserId(NOBODY)), "not_found"),
        (BELA, unban(DORA), "ok"),
        (CARLA, unban(DORA), "forbidden"),
        (ANNA, role(CARLA, Role::Admin), "ok"),
        (ANNA, role(CARLA, Role::Owner), "ok"),
        (ANNA, role(GUS, Role::Admin), "not_for_guests"),
        (ANNA, role(DORA, Role::Admin), "not_found"),
        (ANNA, role(ANNA, Role::Member), "owner_leaves"),
        (BELA, role(CARLA, Role::Owner), "forbidden"),
        (BELA, role(ANNA, Role::Member), "forbidden"),
        (BELA, role(BELA, Role::Member), "ok"),
        (CARLA, role(CARLA, Role::Admin), "forbidden"),
        (DORA, role(CARLA, Role::Admin), "not_found"),
    ] {
        let (mut town, _) = town();
        let before = town.memory.logs.clone();
        assert_eq!(town.code(by, command.clone()), expected, "{command:?} by {by}");
        assert!(expected == "ok" || town.memory.logs == before, "{command:?} by {by} left a trace");
    }
}

#[test]
fn a_ban_keeps_out_until_it_is_lifted() {
    let mut town = Town::new();
    let hall = town.create(ANNA, ConversationKind::Group, true, History::All, &[BELA]);
    town.done(ANNA, Command::RemoveMember { conversation: hall, user: BELA, ban: true });
    assert_eq!(town.code(BELA, Command::Join { conversation: hall }), "forbidden");
    assert_eq!(town.code(ANNA, Command::AddMember { conversation: hall, user: BELA }), "banned");
    town.done(ANNA, Command::Unban { conversation: hall, user: BELA });
    town.done(BELA, Command::Join { conversation: hall });
    // Running the server is no way around it.
    town.done(ANNA, Command::RemoveMember { conversation: hall, user: OPAL, ban: true });
    assert_eq!(town.code(OPAL, Command::Join { conversation: hall }), "banned");
}

#[test]
fn ownership_goes_from_one_to_another() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[BELA]);
    town.done(ANNA, Command::SetRole { conversation: group, user: BELA, role: Role::Owner });
    let role = |town: &Town, user| town.memory.member(group, user).unwrap().unwrap().role;
    assert_eq!((role(&town, ANNA), role(&town, BELA)), (Role::Admin, Role::Owner));
    town.done(ANNA, Command::Leave { conversation: group });
    assert_eq!(town.code(BELA, Command::Leave { conversation: group }), "ok");
}

#[test]
fn who_blocked_somebody_cannot_be_brought_by_him() {
    let mut town = Town::new();
    let group = town.group(ANNA, History::All, &[]);
    town.done(BELA, Command::Block { user: ANNA });
    let add = |user| Command::AddMember { conversation: group, user };
    assert_eq!(town.ask(ANNA, add(BELA)), town.ask(ANNA, add(UserId(NOBODY))));
}
