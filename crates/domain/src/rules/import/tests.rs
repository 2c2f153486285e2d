//! Importing: accounts as they were, messages where they would have arrived, each once.

use chinwag_protocol::{ConversationId, Event, LogId, Refused, UserId};

use crate::{
    port::{Done, Prepared, Request},
    testing::World,
};

fn user(handle: &str) -> Request {
    let prepared = Prepared { password: Some("hash of pw".into()), ..Prepared::default() };
    Request::ImportUser { handle: handle.into(), about: "x@example.org".into(), prepared }
}

fn message(from: u32, to: u32, client_id: &str, text: &str) -> Request {
    let client_id = client_id.into();
    Request::ImportMessage { from: UserId(from), to: UserId(to), client_id, text: text.into() }
}

fn texts(world: &World, conversation: ConversationId) -> Vec<String> {
    let entries = world.log(LogId::Conversation(conversation)).iter();
    let said = entries.filter_map(|entry| match &entry.event {
        Event::Message(body) => Some(body.text.clone()),
        _ => None,
    });
    said.collect()
}

#[test]
fn an_imported_account_is_a_person_who_is_asked_to_change_his_password() {
    let mut world = World::founded();
    world.request(&user("alice")).unwrap();
    let credentials = &world.credentials[&UserId(2)];
    assert!(credentials.imported && credentials.change_password);
    assert_eq!(credentials.password, "hash of pw");
    assert_eq!(world.users[&UserId(2)].about, "x@example.org");
    assert!(world.is_member(ConversationId(1), UserId(2)));
    assert!(world.sessions.is_empty(), "importing signs nobody in");
    let again = world.consider(&user("ALICE"));
    assert_eq!(again.verdict.as_ref().unwrap_err().code, "name_taken");
    assert!(again.is_without_effect());
}

#[test]
fn a_waiting_message_stands_once_in_the_direct_conversation_of_the_two() {
    let mut world = World::founded();
    world.request(&user("alice")).unwrap();
    world.request(&user("ben")).unwrap();
    for _ in 0..2 {
        for (from, to, client_id, text) in [(2, 3, "a", "one"), (3, 2, "b", "two"), (2, 3, "c", "one")] {
            assert!(matches!(world.request(&message(from, to, client_id, text)), Ok(Done::Reply(_))));
        }
    }
    assert_eq!(texts(&world, ConversationId(2)), ["one", "two", "one"]);
    assert!(world.is_member(ConversationId(2), UserId(2)) && world.is_member(ConversationId(2), UserId(3)));
}

#[test]
fn messages_of_nobody_or_without_a_text_are_refused() {
    let mut world = World::founded();
    world.request(&user("alice")).unwrap();
    world.request(&user("ben")).unwrap();
    for (from, to) in [(2, 9), (9, 2), (1, 2), (2, 1)] {
        let outcome = world.consider(&message(from, to, "x", "hello"));
        assert_eq!(outcome.verdict.as_ref().unwrap_err(), &Refused::not_found(), "{from} to {to}");
        assert!(outcome.is_without_effect());
    }
    assert!(world.request(&message(2, 3, "empty", "")).is_err());
    assert!(world.request(&message(2, 3, "long", &"x".repeat(20_000))).is_err());
}
