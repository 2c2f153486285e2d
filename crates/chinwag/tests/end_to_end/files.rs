//! D8: a file whose message was acknowledged is whole after a crash; what was half uploaded never was.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use chinwag_client::{ClientError, Http};
use chinwag_protocol::{Attach, Command, ConversationId, Reply, Seq};

use crate::support::{Person, Server, folder};

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
