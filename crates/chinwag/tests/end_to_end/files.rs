//! D8: a file whose message was acknowledged is whole after a crash; what was half uploaded never was. S2: and it is in
//! a backup.

use std::{
    fs,
    path::Path,
    process::Command as Process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use chinwag_client::{ClientError, Http};
use chinwag_protocol::{Attach, Command, ConversationId, Reply, Seq};

use crate::support::{BINARY, Person, Server, folder};

/// Bytes that no two uploads share, of a size of their own.
fn content(number: u32) -> Vec<u8> {
    let length = number.wrapping_mul(7_919) as usize % 400_000;
    (0..length as u32).map(|at| (at.wrapping_mul(31) ^ at >> 9 ^ number) as u8).collect()
}

fn http(person: &Person) -> Http {
    let server = person.address.to_string().parse().expect("an address");
    Http { server, token: Some(person.token.clone()) }
}

/// Uploads and posts until the server is gone; notes each message that was acknowledged.
fn write(person: &Person, group: ConversationId, next: &AtomicU32, acknowledged: &Mutex<Vec<(Seq, u32)>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let http = http(person);
    runtime.block_on(async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let uploaded = match http.upload(&format!("{number}.bin"), content(number)).await {
                Ok(uploaded) => uploaded,
                Err(ClientError::Refused(refused)) => panic!("{refused:?}"),
                Err(_gone) => return,
            };
            let post = Command::Post {
                conversation: group,
                client_id: format!("file-{number}"),
                text: String::new(),
                attachments: vec![Attach::from(&uploaded)],
                reply_to: None,
                thread: None,
                sent_at: None,
            };
            match http.command(&post).await {
                Ok(Reply::Posted(posted)) => {
                    acknowledged.lock().expect("no writer panics").push((posted.seq, number));
                }
                Ok(other) => panic!("{other:?}"),
                Err(ClientError::Refused(refused)) => panic!("{refused:?}"),
                Err(_gone) => return,
            }
        }
    });
}

/// Every file below a folder of the data folder.
fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries =
        fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

#[test]
fn d8_a_file_that_was_acknowledged_is_whole_after_kill_9() {
    const WRITERS: usize = 4;
    const ACKNOWLEDGED_BEFORE_THE_KILL: usize = 30;
    let data = folder();
    let server = Server::start_lifted(data.path());
    let anna = server.register("anna");
    let group = anna.group("Pictures");
    let (next, acknowledged) = (Arc::new(AtomicU32::new(1)), Arc::new(Mutex::new(Vec::new())));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (anna, next, acknowledged) = (anna.clone(), Arc::clone(&next), Arc::clone(&acknowledged));
            thread::spawn(move || write(&anna, group, &next, &acknowledged))
        })
        .collect();
    while acknowledged.lock().expect("no writer panics").len() < ACKNOWLEDGED_BEFORE_THE_KILL {
        assert!(writers.iter().any(|writer| !writer.is_finished()), "the writers ended early");
        thread::yield_now();
    }
    server.kill();
    for writer in writers {
        writer.join().expect("no writer panics");
    }

    let server = Server::start_lifted(data.path());
    let http = http(&anna.at(&server));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (seq, number) in acknowledged.lock().expect("no writer panics").iter() {
        let mut found = Vec::new();
        let fetched = runtime.block_on(http.download((group, *seq, 0), &mut found));
        assert!(fetched.is_ok() && found == content(*number), "file {number} of message {seq}: {fetched:?}");
    }
    assert!(below(&data.path().join("files/incoming")).is_empty(), "a half upload is left");
    drop(server);
    let found = chinwag_server::scrub(data.path(), |_| {}).expect("the store can be read").findings;
    assert!(found.is_empty(), "{found:?}");
}

/// Deletes every second message, as soon as it was acknowledged.
fn delete(person: &Person, group: ConversationId, acknowledged: &Mutex<Vec<(Seq, u32)>>, stop: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let http = http(person);
    let mut next = 0;
    while !stop.load(Ordering::SeqCst) {
        let found = acknowledged.lock().expect("no writer panics").get(next).copied();
        let Some((seq, _)) = found else {
            thread::yield_now();
            continue;
        };
        next += 2;
        match runtime.block_on(http.command(&Command::Delete { conversation: group, message: seq })) {
            Ok(_) => {}
            Err(ClientError::Refused(refused)) => panic!("{refused:?}"),
            Err(_gone) => return,
        }
    }
}

#[test]
fn s2_a_backup_while_files_come_and_go_has_every_file_that_it_names() {
    const FILES_BEFORE_THE_FIRST: usize = 20;
    let (data, place) = (folder(), folder());
    let server = Server::start_lifted(data.path());
    let anna = server.register("anna");
    let group = anna.group("Pictures");
    let (next, acknowledged) = (AtomicU32::new(1), Mutex::new(Vec::new()));
    let stop = AtomicBool::new(false);
    let run = |words: &[&str], at: &Path| {
        let output = Process::new(BINARY).args(words).arg("--json").arg("--data").arg(at).output();
        let output = output.expect("the binary starts");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success() && said.is_empty(), "{words:?}: {said}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let backups = ["one", "two", "three"].map(|name| place.path().join(name));
    thread::scope(|scope| {
        scope.spawn(|| write(&anna, group, &next, &acknowledged));
        scope.spawn(|| delete(&anna, group, &acknowledged, &stop));
        for file in &backups {
            let before = acknowledged.lock().expect("no writer panics").len();
            while acknowledged.lock().expect("no writer panics").len() < before + FILES_BEFORE_THE_FIRST {
                thread::yield_now();
            }
            let taken = run(&["backup", file.to_str().expect("plain")], data.path());
            assert!(taken["files"].as_u64() > Some(0) && taken["damaged"] == 0, "{taken}");
        }
        stop.store(true, Ordering::SeqCst);
        server.kill();
    });
    for file in &backups {
        let restored = file.with_extension("restored");
        run(&["restore", file.to_str().expect("plain")], &restored);
        run(&["scrub"], &restored);
    }
}
