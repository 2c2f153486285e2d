//! A1, A2, A6, D6, S2, F08, F11: starting, stopping, and what the disk may do.

use std::{fs, path::Path, process::Command as Process, time::Instant};

use chinwag_protocol::{Command, Kind, ServerFrame};

use crate::support::{BINARY, Person, Server, folder, say};

#[test]
fn the_greeting_says_where_to_open_it_and_to_whom() {
    let data = folder();
    let server = Server::start(data.path());
    assert!(server.setup_token().is_some(), "{}", server.greeting);
    for part in ["http://127.0.0.1:", "this computer", "open"] {
        assert!(server.greeting.contains(part), "no {part:?} in {}", server.greeting);
    }
    let token = server.setup_token();
    Person::register(server.address, "first", token.clone()).expect("the link is good once");
    let again = Person::register(server.address, "second", token).map(|_| ()).map_err(|refused| refused.kind);
    assert!(again.is_err(), "and only once");
    server.kill();
    assert_eq!(Server::start(data.path()).setup_token(), None, "there is an administrator");
}

#[test]
fn a2_sigterm_answers_what_was_accepted_and_tells_clients_to_come_back() {
    let data = folder();
    let mut server = Server::start_lifted(data.path());
    let anna = server.register("anna");
    let group = anna.group("Drain");
    let mut socket = anna.connect();
    let mut asked = Vec::new();
    for number in 0..500 {
        asked.push(socket.command(say(group, &number.to_string(), &number.to_string())));
    }
    socket.until(|frame| matches!(frame, ServerFrame::Done { .. }).then_some(()));
    let started = Instant::now();
    server.signal("TERM");
    let (frames, closing) = socket.until_closed();
    let status = server.wait();
    assert!(status.success(), "{status}");
    assert!(started.elapsed().as_secs() < 10);
    assert!(closing.expect("it is told").retry_after_ms.is_some());
    let acknowledged = 1 + frames.iter().filter(|frame| matches!(frame, ServerFrame::Done { .. })).count();
    let server = Server::start_lifted(data.path());
    let anna = Person { address: server.address, ..anna };
    assert!(anna.texts(group).len() >= acknowledged);
}

#[test]
fn f11_a_second_server_on_the_same_folder_refuses() {
    let data = folder();
    let server = Server::start(data.path());
    let anna = server.register("anna");
    let (status, said) = Server::try_start(Process::new(BINARY), data.path(), &[]).map(|_| ()).unwrap_err();
    assert!(!status.success() && said.contains("in use"), "{said}");
    assert!(anna.query(chinwag_protocol::Query::Sessions {}).is_ok(), "the first is unharmed");
}

#[test]
fn a6_an_older_binary_leaves_a_newer_store_alone() {
    let data = folder();
    Server::start(data.path()).kill();
    // Settle the write-ahead log, then pretend that a later version was here.
    let database = data.path().join("chinwag.db");
    let connection = rusqlite::Connection::open(&database).expect("a database");
    connection.pragma_update(None, "user_version", 1_000_000).expect("where the store says what can read it");
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").expect("settled");
    drop(connection);
    let before = bytes_of(data.path());
    let (status, said) = Server::try_start(Process::new(BINARY), data.path(), &[]).map(|_| ()).unwrap_err();
    assert!(!status.success() && said.contains("newer"), "{said}");
    assert_eq!(bytes_of(data.path()), before, "untouched");
}

fn bytes_of(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("chinwag.db")).expect("readable")
}

#[test]
fn f08_a_folder_that_cannot_be_used_is_one_clear_line() {
    let data = folder();
    let file = data.path().join("file");
    fs::write(&file, "not a folder").expect("writable");
    let (status, said) = Server::try_start(Process::new(BINARY), &file, &[]).map(|_| ()).unwrap_err();
    assert!(!status.success());
    assert!(said.contains(file.to_str().expect("plain")) && said.trim().lines().count() <= 2, "{said}");
    assert_eq!(fs::read_to_string(&file).expect("still there"), "not a folder");
}

#[test]
fn an_unknown_door_is_a_clear_error() {
    let data = folder();
    for (door, word) in [("smoke=127.0.0.1:0", "smoke"), ("telnet=127.0.0.1:0", "telnet")] {
        let tried = Server::try_start(Process::new(BINARY), data.path(), &["--door", door]);
        let (status, said) = tried.map(|_| ()).unwrap_err();
        assert!(!status.success() && said.contains(word), "{said}");
    }
}

/// A small file system that goes when the test ends; `None` where mounting is not allowed.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = folder();
        let size = format!("size={megabytes}m");
        let mounted =
            Process::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn d6_a_full_disk_refuses_writes_and_recovers_without_a_restart() {
    let Some(disk) = SmallDisk::mount(48) else {
        panic!("cannot mount a tmpfs: run this test as root");
    };
    let data = disk.0.path();
    let server = Server::start_lifted(data);
    let anna = server.register("anna");
    let group = anna.group("Full");
    let before = anna.post(group, "first", "there is room").expect("there is room");
    // Somebody else fills the disk.
    let filler = data.join("filler");
    let filled = Process::new("dd")
        .args(["if=/dev/zero", "bs=64k", &format!("of={}", filler.display())])
        .stderr(std::process::Stdio::null())
        .status();
    assert!(filled.is_ok_and(|status| !status.success()), "dd stops when the disk is full");
    let text = "z".repeat(7_900);
    let mut acknowledged = 1;
    let refused = (0..2_000)
        .find_map(|number| match anna.post(group, &format!("n{number}"), &text) {
            Ok(_) => {
                acknowledged += 1;
                None
            }
            Err(refused) => Some(refused),
        })
        .expect("the disk is full at some point");
    assert_eq!(refused.kind, Kind::StorageFull, "{refused:?}");
    assert_eq!(
        anna.texts(group).len(),
        acknowledged,
        "reading goes on, and shows exactly what was acknowledged"
    );
    assert!(anna.connect().snapshot.is_some(), "signing in with a token goes on");
    anna.command(Command::Delete { conversation: group, message: before }).expect("deleting goes on");
    fs::remove_file(&filler).expect("there");
    let deadline = Instant::now() + crate::support::PATIENCE;
    let mut number = 0;
    loop {
        number += 1;
        match anna.post(group, &format!("after{number}"), "room again") {
            Ok(_) => break,
            Err(refused) => {
                assert_eq!(refused.kind, Kind::StorageFull);
                assert!(Instant::now() < deadline, "it does not recover");
                std::thread::park_timeout(std::time::Duration::from_millis(100));
            }
        }
    }
    assert_eq!(anna.texts(group).len(), acknowledged + 1);
}

#[test]
fn s2_a_backup_under_load_restores_to_what_was_acknowledged_before() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let anna = server.register("anna");
    let group = anna.group("Safe");
    let mut socket = anna.connect();
    let write = |socket: &mut crate::support::Socket, from: usize| {
        for number in from..from + 300 {
            socket.command(say(group, &number.to_string(), &number.to_string()));
        }
    };
    write(&mut socket, 0);
    let mut answered = 0;
    while answered < 300 {
        socket.until(|frame| matches!(frame, ServerFrame::Done { .. }).then_some(()));
        answered += 1;
    }
    // These are in flight while the backup is taken.
    write(&mut socket, 300);
    let (place, elsewhere) = (folder(), folder());
    let file = place.path().join("backup");
    let run = |words: &[&str], path: &Path| {
        let output = Process::new(BINARY).args(words).arg(path).output().expect("the binary starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (at, to) = (data.path().to_str().expect("plain"), file.to_str().expect("plain"));
    assert_eq!(run(&["backup", to, "--data"], data.path()), (Some(0), String::new()));
    let (code, said) = run(&["backup", to, "--data"], data.path());
    assert!(code == Some(1) && said.contains("is there already"), "{said}");
    let (code, said) = run(&["restore", to, "--data"], data.path());
    assert!(code == Some(1) && said.contains("in use") && said.contains(at), "{said}");
    server.kill();
    let (code, said) = run(&["restore", to, "--data"], data.path());
    assert!(code == Some(1) && said.contains("is there already"), "never over a store: {said}");
    assert_eq!(run(&["restore", to, "--data"], elsewhere.path()), (Some(0), String::new()));
    assert_eq!(run(&["scrub", "--data"], elsewhere.path()), (Some(0), String::new()));

    let server = Server::start_lifted(elsewhere.path());
    let there = Person { address: server.address, ..anna.clone() };
    let texts: Vec<String> = there.texts(group).into_iter().map(|(_, text)| text).collect();
    let expected: Vec<String> = (0..texts.len()).map(|number| number.to_string()).collect();
    assert!(texts.len() >= 300 && texts == expected, "{} messages", texts.len());
    there.post(group, "after", "it goes on").expect("allowed");
}
