//! D1, D5, D7, O2, A1: what is acknowledged survives a crash at any moment, once and in order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
};

use chinwag_protocol::{ConversationId, Kind, Reply, Seq, ServerFrame};

use crate::support::{Person, Server, folder, messages, say};

/// What a writer knows of its messages when the server dies.
#[derive(Default)]
struct Told {
    acknowledged: HashMap<String, Seq>,
    sent: Vec<String>,
}

/// Writes on one connection with several messages in flight until the connection ends.
fn write(person: &Person, conversation: ConversationId, name: &str, run: usize) -> Told {
    const IN_FLIGHT: usize = 16;
    let mut socket = person.connect();
    let (mut told, mut open) = (Told::default(), HashMap::new());
    for number in 0.. {
        let client_id = format!("{name}-{run}-{number}");
        let question = socket.command(say(conversation, &client_id, &client_id));
        told.sent.push(client_id.clone());
        open.insert(question, client_id);
        while open.len() >= IN_FLIGHT {
            match socket.next() {
                Some(ServerFrame::Done { id, reply: Reply::Posted(posted) }) => {
                    let client_id = open.remove(&id).expect("each question is answered once");
                    told.acknowledged.insert(client_id, posted.seq);
                }
                Some(ServerFrame::Refused { refused, .. }) => panic!("{refused:?}"),
                Some(_) => {}
                None => return told,
            }
        }
    }
    told
}

#[test]
fn d1_nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    const RUNS: usize = 3;
    const ACKNOWLEDGED_BEFORE_THE_KILL: usize = 300;
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee], group) = server.group_of(["anna", "bee"], "Storm");
    server.kill();

    let mut all = Told::default();
    for run in 0..RUNS {
        let server = Server::start_lifted(data.path());
        let (anna, bee) = (at(&anna, &server), at(&bee, &server));
        let watcher = anna.clone();
        let writers: Vec<_> = [("a", anna), ("b", bee)]
            .into_iter()
            .map(|(name, person)| thread::spawn(move || write(&person, group, name, run)))
            .collect();
        // The kill comes in the middle: when so many have been seen live, whatever is in flight then.
        let mut socket = watcher.connect();
        let mut seen = 0;
        while seen < ACKNOWLEDGED_BEFORE_THE_KILL {
            if let Some(ServerFrame::Entry(_)) = socket.next() {
                seen += 1;
            }
        }
        server.kill();
        for writer in writers {
            let told = writer.join().expect("the writer does not panic");
            all.acknowledged.extend(told.acknowledged);
            all.sent.extend(told.sent);
        }
    }

    let server = Server::start_lifted(data.path());
    let anna = at(&anna, &server);
    let log = anna.log(group);
    let seqs: Vec<u32> = log.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, (1..=u32::try_from(log.len()).expect("few")).collect::<Vec<_>>(), "dense");
    let stored: HashMap<String, Seq> =
        log.iter().filter_map(|entry| Some((entry.client_id.clone()?, entry.seq))).collect();
    let said = messages(&log);
    assert_eq!(
        said.iter().map(|(id, _)| id).collect::<std::collections::HashSet<_>>().len(),
        said.len(),
        "once"
    );
    for (client_id, seq) in &all.acknowledged {
        assert_eq!(stored.get(client_id), Some(seq), "{client_id} was acknowledged as {seq}");
    }
    assert!(all.acknowledged.len() >= RUNS * ACKNOWLEDGED_BEFORE_THE_KILL / 2, "{}", all.acknowledged.len());

    // D7: a retry of anything sent answers the same number, or now takes the place of what never arrived.
    let last = all.sent.iter().rev().find(|id| id.starts_with("a-")).expect("anna wrote").clone();
    let again = anna.post(group, &last, &last).expect("a retry is harmless");
    assert_eq!(stored.get(&last).copied().unwrap_or(again), again);
    let count = anna.log(group).iter().filter(|entry| entry.client_id.as_ref() == Some(&last)).count();
    assert_eq!(count, 1);
}

fn at(person: &Person, server: &Server) -> Person {
    Person { address: server.address, ..person.clone() }
}

#[test]
fn d7_a_retry_answers_the_same_and_another_body_is_a_conflict() {
    let data = folder();
    let server = Server::start(data.path());
    let anna = server.register("anna");
    let group = anna.group("Tea");
    let first = anna.post(group, "one", "hello").expect("allowed");
    assert_eq!(anna.post(group, "one", "hello"), Ok(first));
    assert_eq!(anna.post(group, "one", "other").map_err(|refused| refused.kind), Err(Kind::Conflict));
    server.kill();
    let server = Server::start(data.path());
    let anna = at(&anna, &server);
    assert_eq!(anna.post(group, "one", "hello"), Ok(first), "also after a crash");
    assert_eq!(anna.texts(group), vec![(Some("one".to_owned()), "hello".to_owned())]);
}

#[test]
fn d5_what_was_refused_never_appears() {
    let data = folder();
    let server = Server::start(data.path());
    let (anna, bee) = (server.register("anna"), server.register("bee"));
    let group = anna.group("Quiet");
    assert_eq!(bee.post(group, "x", "not a member").map_err(|refused| refused.kind), Err(Kind::Forbidden));
    assert_eq!(anna.post(group, "y", "").map_err(|refused| refused.kind), Err(Kind::Invalid));
    server.kill();
    let server = Server::start(data.path());
    assert_eq!(at(&anna, &server).texts(group), vec![]);
}

#[test]
fn o2_pipelined_messages_keep_their_order_for_everybody() {
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee], group) = server.group_of(["anna", "bee"], "Row");
    let order = Arc::new(Mutex::new(Vec::new()));
    let watching = {
        let (mut socket, order) = (bee.connect(), Arc::clone(&order));
        thread::spawn(move || {
            let seen = socket.until_text("199");
            order.lock().expect("one writer").extend(messages(&seen).into_iter().map(|(_, text)| text));
        })
    };
    let mut socket = anna.connect();
    for number in 0..200 {
        socket.command(say(group, &format!("n{number}"), &number.to_string()));
    }
    watching.join().expect("it saw the last");
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(*order.lock().expect("one writer"), expected);
    assert_eq!(bee.texts(group).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected);
}
