//! The door `pipe_line` in the real binary, spoken to by a client that takes whatever one recv gives for one push.

use chinwag_protocol::{Answer, ConversationId, Presence, Query, UserId};

use super::{
    old::{Opened, Program, until_presence, watch},
    support::{PASSWORD, Person, folder},
};

const DOOR: &str = "pipe_line";

fn ask(program: &mut Program, request: &str, answer: &str) {
    program.tell(request);
    program.says(&format!("answer {answer}"));
}

/// A program that is dialled back and signed in.
fn signed_in(opened: &Opened, name: &str) -> Program {
    let mut program = opened.program("pipe_line.py");
    program.tell("listen");
    // The two come from two threads of it.
    let mut said = [program.next(), program.next()];
    said.sort();
    assert_eq!(said, ["answer OK", "background"]);
    program.tell(&format!("LOGIN|{name}|{PASSWORD}"));
    program.says_among_others("answer 0|OK");
    program
}

fn registered(opened: &Opened, name: &str) -> Program {
    let mut program = opened.program("pipe_line.py");
    ask(&mut program, &format!("ADD|{name}|{PASSWORD}|{name}@example"), "0|SUCCESS");
    ask(&mut program, "QUIT|DISCONNECT", "0|OK");
    signed_in(opened, name)
}

fn user(person: &Person, handle: &str) -> UserId {
    match person.query(Query::Handle { handle: handle.to_owned() }) {
        Ok(Answer::User(profile)) => profile.id,
        other => panic!("{other:?}"),
    }
}

/// Says something to somebody; the number it was given, and whatever was pushed meanwhile.
fn send(program: &mut Program, from: &str, to: &str, text: &str) -> (String, Vec<String>) {
    program.tell(&format!("MSG|{from}|{to}|{text}"));
    let mut pushed = Vec::new();
    loop {
        let line = program.next();
        match line.strip_prefix("answer 0|") {
            Some(number) => return (number.to_owned(), pushed),
            None => pushed.push(line),
        }
    }
}

/// A receipt may come before the answer on the other connection was printed, or after.
fn receipt(program: &mut Program, pushed: &[String], expected: &str) {
    match pushed {
        [] => program.says(expected),
        pushed => assert_eq!(pushed, [expected]),
    }
}

/// The number and text of a push.
fn pushed(line: &str, sender: &str) -> (String, String) {
    let rest = line.strip_prefix(&format!("push R|{sender}|")).unwrap_or_else(|| panic!("{line}"));
    let (number, text) = rest.split_once('|').expect("four fields");
    (number.to_owned(), text.to_owned())
}

#[test]
fn an_old_client_talks_with_everybody_and_gets_what_it_missed_once() {
    let data = folder();
    let opened = Opened::start(data.path(), DOOR);
    let bee = opened.server.register("bee");
    let (mut al, mut cid) = (registered(&opened, "al"), registered(&opened, "cid"));
    // To each other, with a receipt.
    let (number, before) = send(&mut al, "al", "cid", "hi | there");
    assert_eq!(pushed(&cid.next(), "al"), (number.clone(), "hi ¦ there".to_owned()));
    receipt(&mut al, &before, &format!("push OK|al|cid|{number}"));
    // To and from a native client; the bar is stored as it was typed.
    let al_id = user(&bee, "al");
    send(&mut al, "al", "bee", "a|b|c");
    let direct = bee.direct(al_id);
    assert_eq!(bee.texts(direct).last().map(|(_, text)| text.as_str()), Some("a|b|c"));
    bee.post(direct, "b1", "hello al").expect("a member");
    assert_eq!(pushed(&al.next(), "bee").1, "hello al");
    // As somebody else, to nobody, in nonsense.
    ask(&mut al, "MSG|cid|bee|forged", "1|no source user");
    ask(&mut al, "MSG|al|ghost|hi", "2|no target user");
    ask(&mut al, "HELLO", "ERR|Unknown Command.");
    ask(&mut al, "PORT|22", "1|ERROR: bad port");
    // In a group, both ways.
    let tea = bee.group("tea");
    Person::sign_in(opened.server.address, "al").expect("the same password").join(tea);
    bee.post(tea, "t1", "tea?").expect("a member");
    assert_eq!(pushed(&al.next(), "bee in #tea").1, "tea?");
    send(&mut al, "al", "#tea", "yes");
    assert_eq!(bee.texts(tea).last().map(|(_, text)| text.as_str()), Some("yes"));

    // It goes with a word, is missed, and comes back: everything once, in order.
    let mut socket = bee.connect();
    watch(&mut socket, al_id);
    until_presence(&mut socket, al_id, Presence::Online);
    al.tell("QUIT|DISCONNECT");
    let mut said = [al.next(), al.next(), al.next()];
    said.sort();
    assert_eq!(said, ["answer 0|OK", "background over", "push OUT|OK"]);
    until_presence(&mut socket, al_id, Presence::Offline);
    for number in 1..=3 {
        bee.post(direct, &format!("m{number}"), &format!("missed {number}")).expect("a member");
    }
    let mut al = signed_in(&opened, "al");
    let told: Vec<_> = (1..=3).map(|_| pushed(&al.next(), "bee").1).collect();
    assert_eq!(told, ["missed 1", "missed 2", "missed 3"]);
    // It is killed in the middle of a delivery that it never answers, and gets that once more when it is back.
    al.tell("mute");
    al.says("mute");
    bee.post(direct, "m4", "missed 4").expect("a member");
    let unanswered = pushed(&al.next(), "bee");
    until_presence(&mut socket, al_id, Presence::Online);
    al.kill();
    until_presence(&mut socket, al_id, Presence::Offline);
    bee.post(direct, "m5", "missed 5").expect("a member");
    let mut al = signed_in(&opened, "al");
    assert_eq!(pushed(&al.next(), "bee"), unanswered);
    // Should its answer take five seconds, it comes again under the same number; nothing else may come between.
    let after = std::iter::repeat_with(|| pushed(&al.next(), "bee")).find(|push| *push != unanswered);
    assert_eq!(after.map(|(_, text)| text).as_deref(), Some("missed 5"));
    send(&mut al, "al", "bee", "here again");
}

#[test]
fn a_server_killed_in_the_middle_loses_and_doubles_nothing_that_was_answered() {
    let data = folder();
    let opened = Opened::start(data.path(), DOOR);
    let bee = opened.server.register("bee");
    let mut al = registered(&opened, "al");
    let mut numbers = Vec::new();
    for text in 0..20 {
        numbers.push(send(&mut al, "al", "bee", &format!("number {text}")).0);
    }
    let direct: ConversationId = bee.direct(user(&bee, "al"));
    // One push is under way, and one that was not begun waits behind it.
    al.tell("mute");
    al.says("mute");
    bee.post(direct, "b1", "unanswered").expect("a member");
    let unanswered = pushed(&al.next(), "bee");
    bee.post(direct, "b2", "behind it").expect("a member");
    let opened = opened.crash(data.path(), DOOR);
    al.says("background lost");
    let bee = bee.at(&opened.server);
    let texts: Vec<String> = bee.texts(direct).into_iter().map(|(_, text)| text).collect();
    let mut expected: Vec<String> = (0..20).map(|number| format!("number {number}")).collect();
    expected.extend(["unanswered".to_owned(), "behind it".to_owned()]);
    assert_eq!(texts, expected);
    // Defect 15: numbers do not begin again, and a push that is repeated has the number that it had.
    let mut al = signed_in(&opened, "al");
    assert_eq!(pushed(&al.next(), "bee"), unanswered);
    assert_eq!(pushed(&al.next(), "bee").1, "behind it");
    let (next, _) = send(&mut al, "al", "bee", "after it");
    numbers.push(next);
    assert!(
        numbers.is_sorted_by(|one, other| one.parse::<u64>().ok() < other.parse::<u64>().ok()),
        "{numbers:?}"
    );
}

#[test]
fn a_server_that_stops_says_so_to_the_background_thread() {
    let data = folder();
    let mut opened = Opened::start(data.path(), DOOR);
    let mut al = registered(&opened, "al");
    opened.server.signal("TERM");
    al.says("push OUT|OK");
    al.says("background over");
    assert!(opened.server.wait().success());
}
