//! The command line as people and scripts use it: real processes, a real server on a free port.

mod support;

use std::process::Stdio;

use serde_json::json;
use support::{Person, Server, lines};

#[test]
fn what_one_says_the_other_reads() {
    let server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    let sent = anna.json(&["send", "--to", "@bert", "hello", "there"]);
    assert_eq!(sent[0]["seq"], 4, "after made and two joined");
    anna.input(&["send", "--to", "@bert"], "from a pipe\nwith two lines\n").expect_code(0);
    let read = bert.json(&["read", "@anna"]);
    let texts: Vec<_> =
        read.iter().filter(|line| line["type"] == "message").map(|line| line["text"].clone()).collect();
    assert_eq!(texts, [json!("hello there"), json!("from a pipe\nwith two lines")]);
    assert_eq!(bert.json(&["groups", "list", "anna"])[0]["unread"], 2);
    bert.run(&["read", "@anna", "--mark-read"]).expect_code(0);
    assert_eq!(bert.json(&["groups", "list", "anna"])[0]["unread"], 0);
    let found = bert.until(&["search", "pipe"], |found| !found.is_empty());
    assert_eq!(found[0]["name"], "anna");
}

#[test]
fn a_picture_is_shown_and_taken_away() {
    let server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("me.png"), b"\x89PNG\r\n\x1a\nnot much of a picture").unwrap();
    std::fs::write(path("note.txt"), "short").unwrap();
    let me = anna.json(&["profile", "--name", "Anna Berg", "--picture", &path("me.png")]);
    assert_eq!((&me[0]["name"], me[0]["avatar"].as_str().map(str::len)), (&json!("Anna Berg"), Some(64)));
    anna.run(&["profile", "--picture", &path("note.txt")]).expect_code(3);
    anna.run(&["profile", "--picture", &path("absent")]).expect_code(2);
    anna.run(&["profile", "--picture", &path("me.png"), "--no-picture"]).expect_code(2);
    let shown = anna.run(&["profile"]).expect_code(0);
    assert!(shown.contains("Anna Berg (@anna)") && shown.contains("with a picture"), "{shown}");
    assert_eq!(anna.json(&["profile", "--no-picture"])[0]["avatar"], json!(null));
    assert_eq!(bert.json(&["profile"])[0]["avatar"], json!(null));
}

#[test]
fn d8_a_file_arrives_as_it_was_sent() {
    let server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(path("plan.bin"), &bytes).unwrap();
    std::fs::write(path("note.txt"), "short").unwrap();
    let sent = anna.json(&[
        "send",
        "--to",
        "@bert",
        "--file",
        &path("plan.bin"),
        "--file",
        &path("note.txt"),
        "as promised",
    ]);
    let seq = sent[0]["seq"].to_string();
    let shown = bert.run(&["read", "@anna"]).expect_code(0);
    assert!(shown.contains("[file] plan.bin (1.2 MB)") && shown.contains("[file] note.txt (5 B)"), "{shown}");
    let saved = bert.json(&["fetch", "@anna", &seq, "--output", &path("got.bin")]);
    assert_eq!((&saved[0]["name"], &saved[0]["size"]), (&json!("plan.bin"), &json!(1_200_000)));
    assert!(std::fs::read(path("got.bin")).unwrap() == bytes);
    bert.run(&["fetch", "@anna", &seq, "--output", &path("got.bin")]).expect_code(2);
    bert.run(&["fetch", "@anna", &seq, "--file", "2", "--output", &path("got.bin"), "--force"])
        .expect_code(0);
    assert_eq!(std::fs::read_to_string(path("got.bin")).unwrap(), "short");
    bert.run(&["fetch", "@anna", &seq, "--file", "3", "--output", &path("none")]).expect_code(1);
    anna.json(&["send", "--to", "@bert", "--file", &path("note.txt")]);
    anna.run(&["send", "--to", "@bert", "--file", &path("absent")]).expect_code(2);
}

#[test]
fn groups_are_made_found_joined_and_left() {
    let server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    anna.run(&["groups", "create", "The Lab", "--public", "--handle", "lab", "--topic", "all things"])
        .expect_code(0);
    assert_eq!(bert.json(&["groups", "list", "--public", "all th"])[0]["handle"], "lab");
    bert.run(&["groups", "join", "#lab"]).expect_code(0);
    bert.run(&["send", "--to", "the lab", "I am here"]).expect_code(0);
    let members = anna.json(&["groups", "members", "#lab"]);
    let roles: Vec<_> = members.iter().map(|member| (&member["handle"], &member["role"])).collect();
    assert_eq!(roles, [(&json!("anna"), &json!("owner")), (&json!("bert"), &json!("member"))]);
    bert.run(&["groups", "leave", "#lab"]).expect_code(0);
    bert.run(&["send", "--to", "#lab", "and gone"]).expect_code(3);

    anna.run(&["groups", "create", "Quiet"]).expect_code(0);
    let invite = anna.json(&["groups", "invite", "Quiet", "--uses", "1"]);
    bert.run(&["groups", "join", invite[0]["link"].as_str().expect("a link")]).expect_code(0);
    bert.run(&["send", "--to", "Quiet", "thanks"]).expect_code(0);
}

#[test]
fn an_app_password_is_shown_once_listed_and_taken_back() {
    let server = Server::start();
    let anna = Person::register(&server, "anna");
    let made = anna.json(&["app-password", "create", "tcp_json", "--name", "old laptop"]);
    let secret = made[0]["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(secret.len(), 29, "{secret}");
    let shown = anna.run(&["app-password", "create", "udp_ack"]).expect_code(0);
    assert_eq!(shown.trim().len(), 29, "{shown}");
    let list = anna.json(&["app-password", "list"]);
    let known: Vec<_> = list.iter().map(|one| (&one["app_password"], &one["door"], &one["name"])).collect();
    assert_eq!(
        known,
        [(&json!(1), &json!("tcp_json"), &json!("old laptop")), (&json!(2), &json!("udp_ack"), &json!(""))]
    );
    assert!(!list.iter().any(|one| one.to_string().contains(&secret)));
    anna.input(&["login", "anna", "--password-stdin"], &format!("{secret}\n")).expect_code(4);
    anna.run(&["app-password", "revoke", "1"]).expect_code(0);
    anna.run(&["app-password", "revoke", "1"]).expect_code(3);
    assert_eq!(anna.json(&["app-password", "list"]).len(), 1);
}

#[test]
fn users_of_another_system_come_over_while_the_server_is_stopped() {
    let mut server = Server::start();
    let (anna, alice) = (Person::register(&server, "anna"), Person::new(&server));
    let folder = server.data().to_str().expect("a plain path").to_owned();
    let file = format!("{folder}/users.json");
    let users = json!({
        "user_list": [{"_User__username": "alice", "_User__password": "pw", "_User__email": "alice"},
                      {"_User__username": "ben", "_User__password": "pw", "_User__email": "b@x"}],
        "message_list": [{"_Message__user_from": {"_User__username": "ben"},
                          "_Message__user_to": {"_User__username": "alice"}, "_Message__content": "while you were out"}],
        "notification_list": []
    });
    std::fs::write(&file, users.to_string()).expect("written");
    let import = ["import", &file, "--data", &folder];
    let why = anna.run(&import).expect_errors(1);
    assert!(why.contains("is running: stop it first"), "{why}");
    server.kill();
    let would = anna.run(&["import", &file, "--data", &folder, "--dry-run"]).expect_code(0);
    let lines = anna.json(&import);
    assert_eq!(lines[3], json!({"imported": 3, "known": 0, "refused": 0, "notices": 0, "dry_run": false}));
    assert_eq!(lines[0]["outcome"], "imported");
    assert!(would.contains("3 imported"), "{would}");
    assert_eq!(anna.json(&import)[3]["known"], 3);
    server.restart();
    let hint = alice.input(&["login", "alice", "--password-stdin"], "pw\n").expect_errors(0);
    assert!(hint.contains("another system"), "{hint}");
    assert_eq!(alice.json(&["groups", "list", "ben"])[0]["unread"], 1);
    alice.run(&["send", "--to", "@anna", "here I am"]).expect_code(0);
}

#[test]
fn every_end_has_its_exit_code() {
    let server = Server::start();
    let (anna, nobody) = (Person::register(&server, "anna"), Person::new(&server));
    nobody.run(&["send", "--to", "@anna", "x"]).expect_code(4);
    nobody.input(&["login", "anna", "--password-stdin"], "wrong password\n").expect_code(4);
    anna.run(&["send", "--to", "@nobody-there", "x"]).expect_code(3);
    anna.run(&["send", "--to", "@anna"]).expect_code(2);
    anna.run(&["send", "--to", "id:x", "x"]).expect_code(2);
    anna.run(&["read", "id:99"]).expect_code(3);
    anna.run(&["admin", "suspend", "@anna"]).expect_code(3);
    anna.input(&["register", "bert", "--password-stdin"], "short\n").expect_code(3);
    let said = anna.run(&["logout"]).expect_code(0);
    assert!(said.contains("Signed out anna"), "{said}");
    anna.run(&["who"]).expect_code(4);
    drop(server);
    nobody.run(&["register", "cleo"]).expect_code(5);
}

#[test]
fn a_message_written_while_the_server_is_away_is_sent_once() {
    let mut server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    anna.run(&["send", "--to", "@bert", "before"]).expect_code(0);
    server.kill();
    anna.run(&["send", "--to", "@bert", "lost", "--wait", "0"]).expect_code(5);
    let queued = anna.json(&["send", "--to", "@bert", "kept", "--wait", "0", "--queue"]);
    assert_eq!(queued[0]["queued"], true);
    assert_eq!(anna.json(&["outbox"])[0]["text"], "kept");
    server.restart();
    anna.run(&["send", "--to", "@bert", "after"]).expect_code(0);
    assert!(anna.json(&["outbox"]).is_empty());
    anna.run(&["outbox", "send"]).expect_code(0);
    let texts: Vec<_> = bert
        .json(&["read", "@anna"])
        .iter()
        .filter_map(|line| line["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(texts, ["before", "kept", "after"]);
}

#[test]
fn watching_goes_on_across_a_killed_server() {
    let mut server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    anna.run(&["send", "--to", "@bert", "0"]).expect_code(0);
    let mut watching = bert
        .command(&["watch", "--json", "-n", "6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let said = lines(watching.stderr.take().expect("piped"));
    let shown = lines(watching.stdout.take().expect("piped"));
    support::until(&said, |line| line.starts_with("Connected."));
    for number in 1..=3 {
        anna.run(&["send", "--to", "@bert", &number.to_string()]).expect_code(0);
    }
    server.kill();
    support::until(&said, |line| line.starts_with("Not connected"));
    server.restart();
    for number in 4..=6 {
        anna.run(&["send", "--to", "@bert", &number.to_string()]).expect_code(0);
    }
    let texts: Vec<String> = (0..6)
        .map(|_| support::object(&support::next(&shown))["text"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(texts, ["1", "2", "3", "4", "5", "6"], "nothing is missing and nothing comes twice");
    assert!(watching.wait().expect("ends").success());
}

#[test]
fn watching_since_the_last_time_begins_where_that_ended() {
    let server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    anna.run(&["send", "--to", "@bert", "old"]).expect_code(0);
    let mut watching = bert
        .command(&["watch", "--since-last", "--json", "-n", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let said = lines(watching.stderr.take().expect("piped"));
    support::until(&said, |line| line.starts_with("Connected."));
    anna.run(&["send", "--to", "@bert", "seen"]).expect_code(0);
    assert!(watching.wait().expect("ends").success());
    for text in ["missed 1", "missed 2"] {
        anna.run(&["send", "--to", "@bert", text]).expect_code(0);
    }
    let missed = bert.json(&["watch", "--since-last", "-n", "2"]);
    let texts: Vec<_> = missed.iter().map(|line| line["text"].clone()).collect();
    assert_eq!(texts, ["missed 1", "missed 2"]);
    // What one has no more room for is printed the next time, however much of it had come already.
    for text in ["missed 3", "missed 4", "missed 5", "missed 6"] {
        anna.run(&["send", "--to", "@bert", text]).expect_code(0);
    }
    for expected in [["missed 3", "missed 4"], ["missed 5", "missed 6"]] {
        let missed = bert.json(&["watch", "--since-last", "-n", "2"]);
        let texts: Vec<_> = missed.iter().map(|line| line["text"].clone()).collect();
        assert_eq!(texts, expected);
    }
}

#[test]
fn many_processes_send_through_one_outbox_and_nothing_is_lost_or_doubled() {
    let server = Server::start();
    let (anna, bert) = (Person::register(&server, "anna"), Person::register(&server, "bert"));
    anna.run(&["send", "--to", "@bert", "first"]).expect_code(0);
    let sending: Vec<_> = (0..8)
        .map(|number| {
            anna.command(&["send", "--to", "@bert", &format!("number {number}")])
                .stdout(Stdio::null())
                .spawn()
                .expect("starts")
        })
        .collect();
    for mut process in sending {
        assert!(process.wait().expect("ends").success());
    }
    let mut texts: Vec<_> = bert
        .json(&["read", "@anna"])
        .iter()
        .filter_map(|line| line["text"].as_str().map(str::to_owned))
        .collect();
    texts.sort();
    let mut expected: Vec<_> = (0..8).map(|number| format!("number {number}")).collect();
    expected.insert(0, "first".to_owned());
    assert_eq!(texts, expected);
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let server = Server::start();
    let anna = Person::register(&server, "anna");
    let text: String = (0..400).map(|number| format!("{number}\n")).collect();
    anna.run(&["groups", "create", "Long"]).expect_code(0);
    anna.input(&["send", "--to", "Long", "--lines"], &text[..1_000]).expect_code(0);
    let mut reading = anna
        .command(&["read", "Long", "-n", "200", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(reading.stdout.take());
    let said = std::io::read_to_string(reading.stderr.take().expect("piped")).expect("text");
    assert_eq!((reading.wait().expect("ends").code(), said.as_str()), (Some(0), ""));
}
