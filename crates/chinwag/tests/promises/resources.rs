//! A1, B1, B3, B4: what the server costs, measured by the kernel. Ratios and counts, never times.

use std::{collections::BTreeSet, fs, net::SocketAddr, time::Instant};

use chinwag_protocol::{Answer, ConversationId, Entry, Kind, Query, ServerFrame};

use crate::support::{PATIENCE, Person, Server, Socket, folder, messages, say};

/// A figure of `/proc/PID/NAME`, in its own unit.
fn figure(server: &Server, name: &str, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/{name}", server.pid())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel tells it");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

fn resident_kib(server: &Server) -> u64 {
    figure(server, "status", "VmRSS:")
}

/// What all threads have read, but for the one that reads ahead for searching while everything else goes on.
fn bytes_read(server: &Server) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
    let ids = tasks.map(|task| task.expect("readable").file_name().into_string().expect("a number"));
    let name = |id: &String| fs::read_to_string(format!("/proc/{}/task/{id}/comm", server.pid()));
    ids.filter(|id| name(id).is_ok_and(|name| name.trim() != "search-index"))
        .map(|id| figure(server, &format!("task/{id}/io"), "rchar:"))
        .sum()
}

fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count()
}

/// Says so many things on one connection, with several in flight.
fn fill(socket: &mut Socket, conversation: ConversationId, from: usize, count: usize, text: &str) {
    const IN_FLIGHT: usize = 32;
    let (mut sent, mut done) = (0, 0);
    while done < count {
        while sent < count && sent - done < IN_FLIGHT {
            socket.command(say(conversation, &format!("{conversation}-{}", from + sent), text));
            sent += 1;
        }
        match socket.next().expect("the connection is open") {
            ServerFrame::Done { .. } => done += 1,
            ServerFrame::Refused { refused, .. } => panic!("{refused:?}"),
            _ => {}
        }
    }
}

#[test]
fn b4_after_a_storm_the_server_holds_what_it_held_before() {
    const PEOPLE: usize = 8;
    const CONNECTIONS: usize = 10;
    let data = folder();
    let server = Server::start_lifted(data.path());
    let people: Vec<Person> = (0..PEOPLE).map(|n| server.register(&format!("person.{n}"))).collect();
    let group = people[0].group("Storm");
    for person in &people[1..] {
        person.join(group);
    }
    let storm = |round: usize| {
        let mut sockets: Vec<Socket> =
            people.iter().flat_map(|person| (0..CONNECTIONS).map(|_| person.connect())).collect();
        fill(&mut sockets[0], group, round * 100, 100, "a storm");
        let last = format!("the end of storm {round}");
        people[1].post(group, &last.replace(' ', "-"), &last).expect("allowed");
        for socket in &mut sockets {
            socket.until_text(&last);
        }
    };
    let settled = |files: usize| {
        let deadline = Instant::now() + PATIENCE;
        while open_files(&server) > files {
            assert!(Instant::now() < deadline, "{} files stay open, {files} before", open_files(&server));
            std::thread::yield_now();
        }
    };
    // The first makes what is made once: caches, threads, buffers.
    let files = open_files(&server);
    storm(0);
    settled(files);
    let before = (figure(&server, "status", "Threads:"), resident_kib(&server));
    for round in 1..6 {
        storm(round);
        settled(files);
    }
    let after = (figure(&server, "status", "Threads:"), resident_kib(&server));
    println!("threads and KiB before {before:?}, after {after:?}");
    assert!(after.0 <= before.0 + before.0 / 10, "threads: {} and then {}", before.0, after.0);
    assert!(after.1 <= before.1 + before.1 / 10, "memory: {} KiB and then {} KiB", before.1, after.1);
}

fn is_found(person: &Person, text: &str) -> bool {
    let query = Query::Search { text: text.to_owned(), page: None, limit: 1 };
    match person.query(query) {
        Ok(Answer::Search(page)) => !page.hits.is_empty(),
        // The index is still at work.
        Err(refused) if refused.kind == Kind::TooMany => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a1_a_start_reads_no_more_of_a_long_history_than_of_a_short_one() {
    const MANY: usize = 6_000;
    let data = folder();
    let mut server = Server::start_lifted(data.path());
    let anna = server.register("anna");
    let group = anna.group("Long");
    let text = "x".repeat(2_000);
    let read_at_start = |server: &mut Server| {
        // The search index catches up first: what it has not read by then, it would read after the start.
        let last = format!("settled{}", server.pid());
        anna.at(server).post(group, &last, &last).expect("allowed");
        let deadline = Instant::now() + PATIENCE;
        while !is_found(&anna.at(server), &last) {
            assert!(Instant::now() < deadline, "the search index never catches up");
        }
        server.signal("TERM");
        assert!(server.wait().success());
        *server = Server::start_lifted(data.path());
        bytes_read(server)
    };
    fill(&mut anna.connect(), group, 0, 50, &text);
    let short = read_at_start(&mut server);
    fill(&mut anna.at(&server).connect(), group, 50, MANY, &text);
    let long = read_at_start(&mut server);
    println!("bytes read until ready: {short} with 50 messages, {long} with {}", MANY + 50);
    let grown = (MANY * text.len()) as u64;
    assert!(long < short + grown / 20, "{} bytes more are read for {grown} bytes of messages", long - short);
    // After a crash only the write-ahead log is read besides, and that is bounded.
    fill(&mut anna.at(&server).connect(), group, 50 + MANY, 50, &text);
    server.kill();
    let server = Server::start_lifted(data.path());
    assert_eq!(anna.at(&server).connect().snapshot.map(|snapshot| snapshot.conversations.len()), Some(2));
}

/// Bytes that the kernel holds for the server's end of a connection, sent or not.
fn send_queue(server: &Server, client: SocketAddr) -> u64 {
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux tells it");
    let (here, there) = (format!(":{:04X}", server.address.port()), format!(":{:04X}", client.port()));
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words[1].ends_with(&here) && words[2].ends_with(&there));
    let queues = line.expect("the connection is open")[4];
    u64::from_str_radix(queues.split_once(':').expect("two queues").0, 16).expect("hexadecimal")
}

#[test]
fn b1_a_stalled_reader_costs_a_bounded_queue_in_the_kernel_too() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee, carl], group) = server.group_of(["anna", "bee", "carl"], "Slow");
    let mut stalled = bee.connect_narrowly();
    let mut brisk = carl.connect();
    let text = "y".repeat(7_900);
    fill(&mut anna.connect(), group, 0, 600, &text);
    anna.post(group, "last", "the last one").expect("allowed");
    // Whoever fell behind for a moment may be told some of it twice, under the same numbers.
    let distinct = |told: &[Entry]| messages(told).into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(&brisk.until_text("the last one")), 601, "others do not notice");
    let queue = send_queue(&server, stalled.local_address());
    println!("the kernel holds {queue} bytes for a reader that takes nothing");
    // The kernel takes what it is told twice, for its own needs.
    assert!(queue <= 2 * 64 * 1024, "the kernel holds {queue} bytes for a reader that takes nothing");
    // Nothing is lost by that.
    assert_eq!(distinct(&stalled.until_text("the last one")), 601);
}

#[test]
fn b3_too_much_is_refused_and_what_was_taken_is_there() {
    let data = folder();
    // With the usual limits: a hundred messages at once.
    let server = Server::start(data.path());
    let anna = server.register("anna");
    let group = anna.group("Fast");
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for number in 0..160 {
        let text = format!("fast-{number}");
        match anna.post(group, &text, &text) {
            Ok(seq) => taken.push((seq, text)),
            Err(why) => {
                assert!(why.kind == Kind::TooMany && why.retry_after_ms.is_some(), "{why:?}");
                refused.push(text);
            }
        }
    }
    assert!(taken.len() >= 100 && !refused.is_empty(), "{} taken, {} refused", taken.len(), refused.len());
    server.kill();
    let server = Server::start(data.path());
    let stored: Vec<String> = anna.at(&server).texts(group).into_iter().map(|(_, text)| text).collect();
    let taken: Vec<String> = taken.into_iter().map(|(_, text)| text).collect();
    assert_eq!(stored, taken, "what was taken, and nothing that was refused");
}
