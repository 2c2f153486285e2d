//! L1, L4, L6: whatever happens to connections and to the server, nobody misses anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use chinwag_checker::{Random, random};
use chinwag_protocol::{ConversationId, Entry, LogId, Seq, ServerFrame};

use crate::support::{Person, Server, Socket, folder, messages, say};

/// Writes into a conversation, several at once, until told to stop; how much was acknowledged.
fn chatter(person: &Person, conversation: ConversationId, stop: &AtomicBool) -> usize {
    const IN_FLIGHT: usize = 8;
    let mut socket = person.connect();
    let (mut sent, mut done) = (0, 0);
    loop {
        while sent - done < IN_FLIGHT && !stop.load(Ordering::Relaxed) {
            let text = format!("chatter-{sent}");
            socket.command(say(conversation, &text, &text));
            sent += 1;
        }
        if sent == done {
            return done;
        }
        match socket.next().expect("the connection is open") {
            ServerFrame::Done { .. } => done += 1,
            ServerFrame::Refused { refused, .. } => panic!("{refused:?}"),
            _ => {}
        }
    }
}

/// Lets whoever writes in the background stop, also when a test gives up.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn l1_a_client_that_is_cut_again_and_again_gets_every_number() {
    const CUTS: u64 = 25;
    let seed = random::seed();
    println!("seed {seed}: CHINWAG_SEED={seed} makes the same choices again");
    let mut random = Random::new(seed).fork(2);
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee], group) = server.group_of(["anna", "bee"], "Cut");
    let log = LogId::Conversation(group);
    let mut socket = bee.connect();
    let first =
        *socket.origin().positions.iter().find(|(of, _)| *of == log).map(|(_, seq)| seq).expect("a member");
    let mut heard: BTreeSet<Seq> = BTreeSet::new();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| chatter(&anna, group, &stop));
        let stopping = Stopping(&stop);
        for _ in 0..CUTS {
            for _ in 0..1 + random.below(60) {
                match socket.next().expect("the connection is open") {
                    ServerFrame::Entry(entry) if entry.log == log => drop(heard.insert(entry.seq)),
                    ServerFrame::Closing(closing) => panic!("{closing:?}"),
                    _ => {}
                }
            }
            let origin = socket.origin();
            socket.hang_up();
            // While she is away the log goes on.
            anna.post(group, &format!("away-{}", heard.len()), "you are away").expect("allowed");
            socket = bee.resume(origin);
        }
        drop(stopping);
        assert!(writer.join().expect("the writer does not panic") > 0);
    });
    anna.post(group, "last", "the last one").expect("allowed");
    for entry in socket.until_text("the last one") {
        if entry.log == log {
            heard.insert(entry.seq);
        }
    }
    let all: BTreeSet<Seq> =
        anna.log(group).into_iter().map(|entry| entry.seq).filter(|seq| *seq > first).collect();
    assert_eq!(heard, all, "what all connections together brought is not what happened");
}

#[test]
fn l4_a_snapshot_and_what_follows_it_meet_exactly() {
    const ARRIVALS: usize = 40;
    let data = folder();
    let server = Server::start_lifted(data.path());
    let ([anna, bee], group) = server.group_of(["anna", "bee"], "Race");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| chatter(&anna, group, &stop));
        let stopping = Stopping(&stop);
        for _ in 0..ARRIVALS {
            let mut socket = bee.connect();
            let snapshot = socket.snapshot.clone().expect("fresh");
            let view = snapshot.conversations.iter().find(|view| view.id == group).expect("a member");
            let (head, mut messages) = (view.head, view.head.messages);
            assert_eq!(
                view.last.as_ref().map(|last| last.entry.seq),
                Some(head.seq).filter(|_| messages > 0)
            );
            // The next entries continue where the snapshot ends; the socket itself complains of a gap.
            socket.until(|frame| {
                let ServerFrame::Entry(entry) = frame else { return None };
                if let chinwag_protocol::Event::Message(body) = &entry.event
                    && entry.seq > head.seq
                {
                    messages += 1;
                    assert_eq!(body.number, messages, "counted on from the snapshot");
                }
                (entry.seq.0 >= head.seq.0 + 5).then_some(())
            });
        }
        drop(stopping);
        writer.join().expect("the writer does not panic");
    });
}

/// Everything that somebody was ever told of a conversation, put together.
#[derive(Default)]
struct Heard(BTreeMap<Seq, Entry>);

impl Heard {
    fn listen(&mut self, socket: &mut Socket, conversation: ConversationId, until: &str) {
        for entry in socket.until_text(until) {
            if entry.log == LogId::Conversation(conversation)
                && let Some(before) = self.0.insert(entry.seq, entry.clone())
            {
                assert_eq!(before, entry, "told twice, but not the same");
            }
        }
    }
}

#[test]
fn l6_when_faults_end_everybody_has_everything() {
    let data = folder();
    let mut server = Server::start_lifted(data.path());
    let (mut people, group) = server.group_of(["anna", "bee", "carl", "dora"], "Storm");
    let mut heard: [Heard; 4] = Default::default();
    let mut sockets: Vec<Socket> = people.iter().map(Person::connect).collect();
    let text = "z".repeat(7_000);
    for round in 0..3 {
        // Dora never reads while others write; Carl's connection is cut; the server is frozen under Anna's hands.
        let carl = sockets[2].origin();
        server.signal("STOP");
        for number in 0..60 {
            let id = format!("{round}-{number}");
            sockets[0].command(say(group, &id, &format!("{id} {text}")));
        }
        server.signal("CONT");
        for number in 0..60 {
            let id = format!("more-{round}-{number}");
            people[1].post(group, &id, &format!("{id} {text}")).expect("allowed");
        }
        sockets[2] = people[2].resume(carl);
        people[1].post(group, &format!("calm-{round}"), &format!("calm {round}")).expect("allowed");
        for (socket, heard) in sockets.iter_mut().zip(&mut heard).take(3) {
            heard.listen(socket, group, &format!("calm {round}"));
        }
        // The server dies and comes back at another address; everybody goes on from where he was.
        let origins: Vec<_> = sockets.iter().map(Socket::origin).collect();
        server.kill();
        server = Server::start_lifted(data.path());
        for person in &mut people {
            *person = person.at(&server);
        }
        sockets = people.iter().zip(origins).map(|(person, origin)| person.resume(origin)).collect();
    }
    people[0].post(group, "healed", "healed").expect("allowed");
    for (socket, heard) in sockets.iter_mut().zip(&mut heard) {
        heard.listen(socket, group, "healed");
    }
    let truth = people[0].log(group);
    assert_eq!(messages(&truth).len(), 3 * 121 + 1);
    for (index, (heard, person)) in heard.iter().zip(&people).enumerate() {
        let told: Vec<Entry> = heard.0.values().cloned().collect();
        let of_truth: Vec<Entry> = truth.iter().filter(|entry| entry.seq >= told[0].seq).cloned().collect();
        assert_eq!(told, of_truth, "person {index}");
        assert_eq!(messages(&told).len(), 3 * 121 + 1, "person {index} was there before the first message");
        assert_eq!(person.log(group), truth);
    }
}
