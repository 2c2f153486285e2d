//! The door `tcp_json` in the real binary, spoken to by a client that dies of anything the old one would die of.

use std::path::Path;

use chinwag_protocol::{Answer, ConversationId, Event, Presence, Query, UserId};

use super::{
    old::{Opened, Program, until_presence, watch},
    support::{PASSWORD, Person, folder},
};

const DOOR: &str = "tcp_json";

fn program(opened: &Opened) -> Program {
    opened.program("tcp_json.py")
}

/// Makes an account by the old program; it signs in and asks for its groups by itself.
fn registered(opened: &Opened, name: &str) -> Program {
    let mut program = program(opened);
    program.tell(&format!("register {name} {PASSWORD}"));
    program.says(&format!("register True Register successfully as {name}"));
    program.says(&format!("login True Login successfully as: {name}."));
    program.says(r#"load_history True [[200001, "Everyone"]]"#);
    program
}

fn signed_in(opened: &Opened, name: &str) -> (Program, String) {
    let mut program = program(opened);
    program.tell(&format!("login {name} {PASSWORD}"));
    program.says(&format!("login True Login successfully as: {name}."));
    let groups = program.next();
    (program, groups)
}

fn user(person: &Person, handle: &str) -> UserId {
    match person.query(Query::Handle { handle: handle.to_owned() }) {
        Ok(Answer::User(profile)) => profile.id,
        other => panic!("{other:?}"),
    }
}

/// A group made by the old program, and which one it is.
fn group(program: &mut Program, name: &str) -> ConversationId {
    program.tell(&format!("create {name}"));
    program.says(&format!("create_group True group: '{name}' has been created."));
    let joined = program.next();
    let number: u32 =
        joined.split(' ').nth(2).and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{joined}"));
    ConversationId(number - 200_000)
}

fn start(data: &Path) -> (Opened, Person) {
    let opened = Opened::start(data, DOOR);
    let bee = opened.server.register("bee");
    (opened, bee)
}

#[test]
fn an_old_client_talks_with_everybody_and_gets_what_it_missed_once() {
    let data = folder();
    let (opened, bee) = start(data.path());
    let mut alice = registered(&opened, "alice");
    let tea = group(&mut alice, "tea");
    bee.join(tea);
    let mut cid = registered(&opened, "cid");
    cid.tell("join tea");
    cid.says(&format!("join_group True {} cid has joined group #{}", 200_000 + tea.0, 200_000 + tea.0));

    // To each other, and from and to a native client; quotes and letters as they were typed.
    alice.tell("send tea it's \"me\" \\ ü😀");
    let line = r#"chat tea alice "it's \"me\" \\ \u00fc\ud83d\ude00""#;
    alice.says(line);
    cid.says(line);
    bee.post(tea, "b1", "two\nlines ").expect("a member");
    alice.says(r#"chat tea bee "two\nlines""#);
    cid.says(r#"chat tea bee "two\nlines""#);
    assert_eq!(bee.texts(tea)[0].1, "it's \"me\" \\ ü😀");
    // As somebody else: silent, and not stored; the next is.
    alice.tell("forge tea cid I am cid");
    alice.tell("send tea really alice");
    alice.says(r#"chat tea alice "really alice""#);
    assert_eq!(bee.texts(tea).len(), 3);

    // A direct message of somebody whom it has not seen does not kill its receiver; the list brings it.
    let alice_id = user(&bee, "alice");
    let direct = bee.direct(alice_id);
    bee.post(direct, "d1", "just you").expect("a member");
    bee.post(tea, "b2", "after it").expect("a member");
    alice.says(r#"chat tea bee "after it""#);
    alice.tell("load_history");
    let expected =
        format!(r#"[200001, "Everyone"], [{}, "tea"], [{}, "@bee"]"#, 200_000 + tea.0, 200_000 + direct.0);
    alice.says(&format!("load_history True [{expected}]"));
    alice.says(r#"chat @bee bee "just you""#);
    alice.tell("send @bee back to you");
    alice.says(r#"chat @bee alice "back to you""#);
    assert_eq!(bee.texts(direct).last().map(|(_, text)| text.as_str()), Some("back to you"));

    // Time, poems and the past.
    alice.tell("poem 3");
    let poem = alice.next();
    assert!(poem.starts_with(r#"poem 3 "III.\n\n"#), "{poem}");
    alice.tell("poem 155");
    alice.says("poem 155 None");
    alice.tell("time");
    let time = alice.next();
    assert!(time.starts_with("time The current server time is 20") && time.len() == 52, "{time}");

    // It goes with a word, is missed, and comes back: everything once, in order.
    let mut socket = bee.connect();
    watch(&mut socket, alice_id);
    until_presence(&mut socket, alice_id, Presence::Online);
    alice.tell("exit");
    alice.says("closed");
    until_presence(&mut socket, alice_id, Presence::Offline);
    for number in 1..=3 {
        bee.post(tea, &format!("m{number}"), &format!("missed {number}")).expect("a member");
    }
    let (mut alice, groups) = signed_in(&opened, "alice");
    assert_eq!(groups, format!("load_history True [{expected}]"));
    for number in 1..=3 {
        alice.says(&format!(r#"chat tea bee "missed {number}""#));
    }
    // It is killed, and comes back.
    until_presence(&mut socket, alice_id, Presence::Online);
    alice.kill();
    until_presence(&mut socket, alice_id, Presence::Offline);
    bee.post(tea, "m4", "missed 4").expect("a member");
    bee.post(direct, "m5", "missed 5").expect("a member");
    let (mut alice, _groups) = signed_in(&opened, "alice");
    let mut missed = [alice.next(), alice.next()];
    missed.sort();
    assert_eq!(missed, [r#"chat @bee bee "missed 5""#, r#"chat tea bee "missed 4""#]);
    alice.tell("send tea here again");
    alice.says(r#"chat tea alice "here again""#);
}

#[test]
fn an_owner_leaves_his_group_to_somebody_and_takes_his_messages_with_him() {
    let data = folder();
    let (opened, bee) = start(data.path());
    let mut alice = registered(&opened, "alice");
    let tea = group(&mut alice, "tea");
    bee.join(tea);
    bee.post(tea, "b1", "mine").expect("a member");
    alice.says(r#"chat tea bee "mine""#);
    alice.tell("send tea hers");
    alice.says(r#"chat tea alice "hers""#);
    alice.tell("leave tea");
    alice.says(&format!("leave_group True alice has left group #{}", 200_000 + tea.0));
    assert_eq!(bee.texts(tea).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), ["mine", ""]);
    let is_owner = |event: &Event| matches!(event, Event::RoleChanged { user, role: chinwag_protocol::Role::Owner } if *user == bee.id);
    assert!(bee.log(tea).iter().any(|entry| is_owner(&entry.event)), "{:?}", bee.log(tea));
    // Alone in another one, it closes; the direct one and Everyone are as they were.
    let chess = group(&mut alice, "chess");
    alice.tell("leave chess");
    alice.says(&format!("leave_group True alice has left group #{}", 200_000 + chess.0));
    alice.tell("load_history");
    alice.says(r#"load_history True [[200001, "Everyone"]]"#);
}

#[test]
fn a_server_killed_in_the_middle_loses_and_doubles_nothing_that_was_told() {
    let data = folder();
    let (opened, bee) = start(data.path());
    let mut alice = registered(&opened, "alice");
    let tea = group(&mut alice, "tea");
    bee.join(tea);
    // What comes back as `recv_chat` is the only acknowledgement that this wire has.
    for number in 0..20 {
        alice.tell(&format!("send tea number {number}"));
        alice.says(&format!(r#"chat tea alice "number {number}""#));
    }
    // Half a frame of one and many whole ones of another are under way.
    alice.tell("half");
    let mut cid = registered(&opened, "cid");
    cid.tell("join tea");
    cid.next();
    for number in 0..50 {
        cid.tell(&format!("send tea burst {number}"));
    }
    cid.until(r#"chat tea cid "burst 10""#);
    let opened = opened.crash(data.path(), DOOR);
    alice.until("closed");
    let bee = bee.at(&opened.server);
    let texts: Vec<String> = bee.texts(tea).into_iter().map(|(_, text)| text).collect();
    let of = |word: &str| texts.iter().filter(|text| text.starts_with(word)).cloned().collect::<Vec<_>>();
    assert_eq!(of("number"), (0..20).map(|number| format!("number {number}")).collect::<Vec<_>>());
    let burst = of("burst");
    assert!(burst.len() > 10);
    assert_eq!(burst, (0..burst.len()).map(|number| format!("burst {number}")).collect::<Vec<_>>());
    // A session that lived as long as a link did not outlive the server, though nobody could end it.
    let native = Person::sign_in(opened.server.address, "alice").expect("the same password");
    match native.query(Query::Sessions {}) {
        Ok(Answer::Sessions(all)) => assert!(all.iter().all(|one| one.device == "test"), "{all:?}"),
        other => panic!("{other:?}"),
    }
    // Whoever comes back gets all that he was not told; of the last second before the crash perhaps once more.
    let (mut alice, _groups) = signed_in(&opened, "alice");
    bee.post(tea, "end", "the end").expect("a member");
    let heard = alice.until(r#"chat tea bee "the end""#);
    let told: Vec<&String> = heard.iter().filter(|line| line.contains("burst")).collect();
    let last = format!(r#"chat tea cid "burst {}""#, burst.len() - 1);
    assert_eq!(told.last().map(|line| line.as_str()), Some(last.as_str()));
    assert!(told.is_sorted_by_key(|line| {
        line.trim_end_matches('"').rsplit(' ').next().and_then(|n| n.parse::<u32>().ok())
    }));
}
