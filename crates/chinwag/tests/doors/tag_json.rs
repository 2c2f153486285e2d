//! The door `tag_json` in the real binary, spoken to by a client that depends on all that the old one depends on.

use std::path::Path;

use chinwag_protocol::{Answer, ConversationId, Event, Query};

use super::{
    old::{Opened, Program},
    support::{PASSWORD, Person, Server, folder},
    wires::{command_line, printed},
};

const DOOR: &str = "tag_json";

fn program(opened: &Opened, word: &str, name: &str) -> Program {
    let mut program = opened.program("tag_json.py");
    program.tell(&format!("{word} {name} {PASSWORD}"));
    program
}

/// Makes an account and comes in.
fn registered(opened: &Opened, name: &str) -> Program {
    let mut program = program(opened, "signup", name);
    program.says("SIGNUP SUCCESSFUL");
    program.tell(&format!("login {name} {PASSWORD}"));
    program.says("LOGIN SUCCESSFUL");
    program.says(&format!(r#"DATA {name} ONLINE [[], ["everyone"], []]"#));
    program.says("STATUSES []");
    program
}

fn signed_in(opened: &Opened, name: &str) -> Program {
    let mut program = program(opened, "login", name);
    program.says("LOGIN SUCCESSFUL");
    program
}

/// A group made by one old program, which takes another one in.
fn group(ade: &mut Program, bee: &mut Program) {
    ade.tell(
        r#"tag {"ACTION": "CREATE", "TYPE": "GROUP", "group_id": "Tea", "NAME": "Tea time", "ID": "q"}"#,
    );
    ade.until("CREATE GROUP tea SUCCESSFUL");
    ade.tell(
        r#"tag {"ACTION": "ADD_MEMBER", "TYPE": "GROUP", "group_id": "tea", "user_id": "bee", "ID": "q"}"#,
    );
    ade.until("ADD_MEMBER GROUP tea bee");
    bee.until("ADD GROUP tea ade,bee SUCCESSFUL");
}

fn found(person: &Person, handle: &str) -> ConversationId {
    match person.query(Query::Handle { handle: handle.to_owned() }) {
        Ok(Answer::Conversation(view)) => view.id,
        other => panic!("{other:?}"),
    }
}

/// Runs our command line as a native client, in a folder of its own.
fn native(home: &Path, opened: &Opened, arguments: &[&str]) -> String {
    let mut command = command_line(home, opened.server.address, arguments);
    command.env("CHINWAG_PASSWORD", PASSWORD);
    printed(command)
}

/// The next thing it says that begins like this.
fn starting(program: &mut Program, head: &str) -> String {
    loop {
        let line = program.next();
        assert!(!line.starts_with("dead"), "{line}");
        if line.starts_with(head) {
            return line;
        }
    }
}

/// The number of the last message with a file.
fn last_file(person: &Person, conversation: ConversationId) -> String {
    let has_file = |event: &Event| matches!(event, Event::Message(body) if !body.attachments.is_empty());
    let log = person.log(conversation);
    log.iter().rfind(|entry| has_file(&entry.event)).expect("a file was posted").seq.to_string()
}

#[test]
fn old_clients_talk_with_everybody_and_get_what_they_missed_once() {
    let data = folder();
    let opened = Opened::start(data.path(), DOOR);
    let mut ade = registered(&opened, "ade");
    let mut bee = registered(&opened, "bee");
    let cid = opened.server.register("cid");

    // A contact, and a text with the wire's own mark in it.
    ade.tell(r#"tag {"ACTION": "ADD", "TYPE": "CONTACT", "user_id": "bee", "ID": "q"}"#);
    ade.until("ADD CONTACT bee  SUCCESSFUL");
    bee.until("ADD CONTACT ade  -");
    ade.tell("chat CONTACT bee hello <TAG> {} \"bee\" \\ ü😀 <TAG>");
    let line = r#""hello <TAG> {} \"bee\" \\ \u00fc\ud83d\ude00 <TAG>""#;
    bee.until(&format!("TEXT CONTACT ade bee {line}"));
    // To nobody: answered. As somebody else: refused, and not said.
    ade.tell("chat CONTACT nobody hello");
    ade.until("CHAT EXTINCT");
    ade.tell(r#"tag {"ACTION": "CHAT", "TYPE": "CONTACT", "RECIPIENT": "bee", "SENDER": "cid", "CHAT": "TEXT", "TEXT": "x"}"#);
    ade.until("CHAT FAILED");

    // A group, with a native client in it.
    group(&mut ade, &mut bee);
    let tea = found(&cid, "tea");
    cid.join(tea);
    bee.until("ADD_MEMBER GROUP tea cid");
    cid.post(tea, "c1", "from <TAG> afar").expect("a member");
    for one in [&mut ade, &mut bee] {
        one.until(r#"TEXT GROUP cid tea "from <TAG> afar""#);
    }
    bee.tell("chat GROUP tea to everybody");
    ade.until(r#"TEXT GROUP bee tea "to everybody""#);
    // By no right of his: nothing happens to the group.
    bee.tell(r#"tag {"ACTION": "DELETE", "TYPE": "GROUP", "ID": "tea"}"#);
    bee.until("DELETE FAILED");

    files(&opened, &mut ade, &mut bee, &cid, tea);
    calls(&mut ade, &mut bee);
    pictures(&mut ade, &mut bee, &cid);

    // It is killed, and comes back: what was said meanwhile, once and in order.
    bee.kill();
    ade.until("STATUS bee OFFLINE");
    for number in 1..=3 {
        cid.post(tea, &format!("m{number}"), &format!("missed {number}")).expect("a member");
    }
    let mut bee = signed_in(&opened, "bee");
    let heard = bee.until(r#"TEXT GROUP cid tea "missed 3""#);
    let missed: Vec<_> = heard.iter().filter(|line| line.starts_with("TEXT")).collect();
    let expected: Vec<_> = (1..=3).map(|number| format!(r#"TEXT GROUP cid tea "missed {number}""#)).collect();
    assert_eq!(missed, expected.iter().collect::<Vec<_>>());
    assert!(heard[0].contains("tea"), "{heard:?}");
    // Twice at once he cannot be here.
    program(&opened, "login", "bee").says("LOGIN SIMULTANEOUS_LOGIN");
    program(&opened, "signup", "bee").says("SIGNUP EXIST");
    bee.tell(r#"tag {"ACTION": "LOGOUT"}"#);
    bee.until("closed");
}

/// An image and a file of one old program, and files of a native client.
fn files(opened: &Opened, ade: &mut Program, bee: &mut Program, cid: &Person, tea: ConversationId) {
    let home = folder();
    let saved = home.path().join("saved");
    let path = |name: &str| home.path().join(name).to_str().expect("UTF-8").to_owned();
    native(home.path(), opened, &["login", "cid"]);
    for (command, told) in [("image tea 1000", "IMAGE"), ("file tea", "FILE")] {
        ade.tell(command);
        let sent = starting(ade, "SENT ");
        let digest = sent.trim_start_matches("SENT ");
        let last = starting(bee, &format!("{told} GROUP ade tea"));
        let (head, rounds) = if told == "IMAGE" {
            assert_eq!(last, format!("IMAGE GROUP ade tea \"\" p.png 1/1 {digest}"));
            (b"\x89PNG\r\n\x1a\n".as_slice(), 1_000)
        } else {
            // Two parts of 64 KiB each.
            assert!(last.starts_with("FILE GROUP ade tea \"\" f.bin 1/2 "), "{last}");
            starting(bee, "FILE GROUP ade tea \"\" f.bin 2/2 ");
            (b"".as_slice(), 512)
        };
        let number = last_file(cid, tea);
        native(home.path(), opened, &["fetch", "#tea", &number, "--force", "--output", &path("saved")]);
        let expected = [head.to_vec(), (0..=255).collect::<Vec<u8>>().repeat(rounds)].concat();
        assert!(std::fs::read(&saved).expect("it was saved") == expected, "{command}");
    }
    // Up to 512 KiB as DATA; a larger one as a line.
    std::fs::write(path("small.txt"), vec![b'x'; 512 * 1024]).expect("writable");
    std::fs::write(path("large.txt"), vec![b'x'; 512 * 1024 + 1]).expect("writable");
    native(home.path(), opened, &["send", "--to", "#tea", "--file", &path("small.txt")]);
    starting(bee, "FILE GROUP cid tea \"\" small.txt 8/8 ");
    native(home.path(), opened, &["send", "--to", "#tea", "--file", &path("large.txt")]);
    let link = format!("http://{}/api/files/", opened.server.address);
    starting(bee, &format!("TEXT GROUP cid tea \"[file] large.txt (524.2 kB) {link}"));
}

/// A call rings, is taken, carries frames, and ends.
fn calls(ade: &mut Program, bee: &mut Program) {
    let call = |action: &str, to: &str, more: &str| {
        format!(r#"tag {{"ACTION": "{action}", "RECIPIENT": "{to}", "CALL": "AUDIO", "ID": "k"{more}}}"#)
    };
    ade.tell(&call("CALL_REQUEST", "bee", ""));
    bee.until("CALL_REQUEST ade AUDIO");
    bee.tell(&call("CALL_RESPONSE", "ade", r#", "RESPONSE": "ACCEPTED""#));
    ade.until("CALL_RESPONSE bee AUDIO ACCEPTED");
    ade.tell(&call("CALL", "bee", r#", "DATA": "AAAA""#));
    bee.until("CALL ade AUDIO AAAA");
    bee.tell(&call("CALL", "ade", r#", "DATA": "BBBB""#));
    ade.until("CALL bee AUDIO BBBB");
    ade.tell(&call("CALL_RESPONSE", "bee", r#", "RESPONSE": "DECLINED""#));
    bee.until("CALL_RESPONSE ade AUDIO DECLINED");
    ade.tell(&call("CALL", "bee", r#", "DATA": "CCCC""#));
    ade.until("CALL EXTINCT");
}

/// A picture of one old program is seen by the other one and by everybody else, and so is one of a group.
fn pictures(ade: &mut Program, bee: &mut Program, cid: &Person) {
    // The first bytes of a PNG are enough for the server.
    let icon = "iVBORw0KGgpCRUU=";
    let change = |rest: &str, icon: &str| {
        format!(r#"tag {{"ACTION": "CHANGE", {rest}, "DATA": {{"ICON": "{icon}"}}, "ID": "i"}}"#)
    };
    bee.tell(&change(r#""TYPE": "USER""#, "bm8gcGljdHVyZQ=="));
    bee.until("CHANGE FAILED");
    bee.tell(&change(r#""TYPE": "USER""#, icon));
    bee.until("CHANGE USER SUCCESSFUL");
    ade.until(&format!("CHANGE USER bee Bee One {icon}"));
    match cid.query(Query::Handle { handle: "bee".to_owned() }) {
        Ok(Answer::User(profile)) => assert!(profile.avatar.is_some()),
        other => panic!("{other:?}"),
    }
    ade.tell(&change(r#""TYPE": "GROUP", "group_id": "tea""#, icon));
    bee.until(&format!("CHANGE GROUP tea {icon}"));
    bee.tell(&change(r#""TYPE": "USER""#, ""));
    ade.until("CHANGE USER bee Bee One ");
}

#[test]
fn a_server_killed_in_the_middle_loses_and_doubles_nothing_that_was_told() {
    let data = folder();
    let opened = Opened::start(data.path(), DOOR);
    let mut ade = registered(&opened, "ade");
    let mut bee = registered(&opened, "bee");
    group(&mut ade, &mut bee);
    for number in 0..50 {
        ade.tell(&format!("again tea {number}"));
    }
    bee.until(r#"TEXT GROUP ade tea "10""#);
    ade.tell("half");
    let opened = opened.crash(data.path(), DOOR);
    ade.until("closed");
    // "All state lost at restart": accounts, groups and chats are there. The old program sends all again; what
    // was said before is said once.
    let mut ade = signed_in(&opened, "ade");
    ade.until(r#"DATA ade ONLINE [[], ["everyone", "tea"], []]"#);
    let mut bee = signed_in(&opened, "bee");
    for number in 0..50 {
        ade.tell(&format!("again tea {number}"));
    }
    bee.until(r#"TEXT GROUP ade tea "49""#);
    let cid = opened.server.register("cid");
    let tea = found(&cid, "tea");
    cid.join(tea);
    let texts: Vec<String> = cid.texts(tea).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn many_come_at_once_by_any_of_the_addresses() {
    // "Several servers: one port can serve all kinds; extra listeners are optional aliases."
    let data = folder();
    let config = data.path().join("doors.toml");
    let text = "[doors.tag_json]\nlisten = \"127.0.0.1:0\"\naliases = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n";
    std::fs::write(&config, text).expect("writable");
    let server = Server::start_with(data.path(), &["--config", config.to_str().expect("UTF-8")]);
    let line = server.greeting.lines().find(|line| line.contains(DOOR)).expect("the door is told").to_owned();
    let doors: Vec<std::net::SocketAddr> =
        line.split_whitespace().filter_map(|word| word.trim_end_matches([':', ',']).parse().ok()).collect();
    assert_eq!(doors.len(), 3, "{line}");
    // "Only the last 3 pending connects": all of these wait at the same time, and all are answered.
    let mut opened = Opened { server, door: doors[0] };
    let mut programs = Vec::new();
    for number in 0..12 {
        opened.door = doors[number % doors.len()];
        programs.push(program(&opened, "signup", &format!("user{number}")));
    }
    for program in &mut programs {
        program.says("SIGNUP SUCCESSFUL");
    }
}
