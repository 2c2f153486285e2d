//! D1 to D4: what an acknowledgement says of the disk, proved with the system calls of the real process.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chinwag_checker::{Random, random};
use chinwag_protocol::{ConversationId, Kind, LogId, Reply, Seq, ServerFrame};

use crate::{
    support::{Person, Server, folder, lifted, say},
    trace::{self, Call, strace},
};

const DATABASE: &str = "chinwag.db";
const LOG: &str = "chinwag.db-wal";

/// The calls by which bytes reach a file or a socket, and by which they become durable.
const CALLS: &str = "pwrite64,write,writev,sendto,sendmsg,fdatasync,fsync";

/// A data folder in which Anna has a group, settled and without a server.
struct Place {
    folder: tempfile::TempDir,
    config: PathBuf,
    anna: Person,
    group: ConversationId,
}

impl Place {
    fn new() -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("writable");
        let config = lifted(folder.path());
        let mut server = Server::start_with(&data, &["--config", config.to_str().expect("plain")]);
        let anna = server.register("anna");
        let group = anna.group("Disk");
        server.signal("TERM");
        assert!(server.wait().success());
        Self { folder, config, anna, group }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("strace")
    }

    fn start_on(&self, data: &Path) -> Server {
        Server::start_with(data, &["--config", self.config.to_str().expect("plain")])
    }

    fn start_under(&self, calls: &str, inject: &[&str]) -> Server {
        let tool = strace(&self.log(), calls, inject);
        Server::start_under(tool, &self.data(), &["--config", self.config.to_str().expect("plain")])
    }

    /// Everything said in the group of this store: the text and its place.
    fn said_in(&self, data: &Path) -> BTreeMap<String, Seq> {
        let server = self.start_on(data);
        let log = self.anna.at(&server).log(self.group);
        let dense = log.iter().zip(1..).all(|(entry, number)| entry.seq.0 == number);
        assert!(dense && log.iter().all(|entry| entry.log == LogId::Conversation(self.group)));
        let mut said = BTreeMap::new();
        for entry in log {
            if let chinwag_protocol::Event::Message(body) = entry.event {
                let before = said.insert(body.text, entry.seq);
                assert_eq!(before, None, "a message stands there twice");
            }
        }
        said
    }
}

fn text(number: usize) -> String {
    format!("message-{number}-of-the-run")
}

/// Says one thing after the other, each when the one before was acknowledged, until `count` or the end of the
/// connection; what was acknowledged.
fn say_one_by_one(person: &Person, group: ConversationId, count: usize) -> BTreeMap<String, Seq> {
    let mut socket = person.connect();
    let mut acknowledged = BTreeMap::new();
    for number in 0..count {
        let question = socket.command(say(group, &text(number), &text(number)));
        assert_eq!(question as usize, number + 1);
        loop {
            match socket.next() {
                Some(ServerFrame::Done { reply: Reply::Posted(posted), .. }) => {
                    acknowledged.insert(text(number), posted.seq);
                    break;
                }
                // Nobody knows: it is neither acknowledged nor refused for good.
                Some(ServerFrame::Refused { refused, .. }) => assert_eq!(refused.kind, Kind::Unavailable),
                Some(_) => {}
                None => return acknowledged,
            }
        }
    }
    acknowledged
}

/// The same with several in flight, until the server is gone.
fn say_until_the_end(
    person: &Person,
    group: ConversationId,
    name: &str,
    acknowledged: &mut BTreeMap<String, Seq>,
) {
    const IN_FLIGHT: usize = 8;
    let mut socket = person.connect();
    let mut sent = 0;
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    loop {
        while texts.len() < IN_FLIGHT {
            let text = format!("{name}-{sent}");
            sent += 1;
            texts.insert(socket.command(say(group, &text, &text)), text);
        }
        match socket.next() {
            Some(ServerFrame::Done { id, reply: Reply::Posted(posted) }) => {
                acknowledged.insert(texts.remove(&id).expect("asked once"), posted.seq);
            }
            Some(ServerFrame::Refused { refused, .. }) => panic!("{refused:?}"),
            Some(_) => {}
            None => return,
        }
    }
}

/// Whether what was acknowledged is there, at its place.
fn check(acknowledged: &BTreeMap<String, Seq>, said: &BTreeMap<String, Seq>, when: &str) {
    for (text, seq) in acknowledged {
        assert_eq!(said.get(text), Some(seq), "{when}: {text} was acknowledged as {seq}");
    }
}

#[test]
fn d1_a_kill_at_any_write_of_the_log_loses_nothing_acknowledged() {
    let seed = random::seed();
    println!("seed {seed}: CHINWAG_SEED={seed} makes the same choices again");
    let mut random = Random::new(seed).fork(1);
    let place = Place::new();
    let wal = place.data().join(LOG);
    let mut acknowledged = BTreeMap::new();
    for run in 0..4 {
        let number = 20 + random.below(400);
        let mut tool = strace(&place.log(), "pwrite64", &[&format!("pwrite64:signal=KILL:when={number}")]);
        tool.arg("-P").arg(&wal);
        let config = place.config.to_str().expect("plain");
        let mut server = Server::start_under(tool, &place.data(), &["--config", config]);
        say_until_the_end(&place.anna.at(&server), place.group, &format!("run-{run}"), &mut acknowledged);
        let status = server.wait();
        assert!(!status.success(), "killed at write {number} of the log: {status}");
    }
    assert!(acknowledged.len() > 4, "{} acknowledged", acknowledged.len());
    check(&acknowledged, &place.said_in(&place.data()), "after four kills");
}

/// A run of which every call is known, with a disk that takes its time.
fn traced_run(count: usize) -> (Place, PathBuf, Vec<Call>, BTreeMap<String, Seq>) {
    let place = Place::new();
    let before = place.folder.path().join("before");
    copy(&place.data(), &before);
    // What leaves before its sync has ended now leaves so much earlier that nobody can miss it.
    let server = place.start_under(CALLS, &["fdatasync:delay_exit=15000"]);
    let acknowledged = say_one_by_one(&place.anna.at(&server), place.group, count);
    assert_eq!(acknowledged.len(), count);
    server.kill();
    let calls = trace::read(&place.log());
    (place, before, calls, acknowledged)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for file in fs::read_dir(from).expect("readable") {
        let file = file.expect("readable");
        let to = to.join(file.file_name());
        if file.path().is_dir() {
            copy(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).expect("copied");
        }
    }
}

/// The first call by which this text, or the answer to this question, left through a socket.
fn told(calls: &[Call], number: usize) -> impl Iterator<Item = &Call> {
    let answer = format!("{{\"done\":{{\"id\":{},", number + 1);
    let entry = format!("\"text\":\"{}\"", text(number));
    calls.iter().filter(move |call| call.is_socket() && (call.holds(&answer) || call.holds(&entry)))
}

#[test]
fn d3_nothing_is_acknowledged_or_told_before_it_is_synced() {
    const COUNT: usize = 40;
    let (_place, _before, calls, _acknowledged) = traced_run(COUNT);
    for number in 0..COUNT {
        let written = calls
            .iter()
            .find(|call| call.is_of(LOG) && call.name == "pwrite64" && call.holds(&text(number)))
            .unwrap_or_else(|| panic!("{} was never written to the log", text(number)));
        let synced = calls.iter().find(|call| {
            call.is_of(LOG) && call.is_sync() && written.ended.is_some_and(|ended| call.began >= ended)
        });
        let told = told(&calls, number).next().unwrap_or_else(|| panic!("{} was never told", text(number)));
        assert!(
            synced
                .is_some_and(|synced| !synced.failed && synced.ended.is_some_and(|ended| ended < told.began)),
            "{} left before it was synced: told on line {}, its sync is {synced:?}",
            text(number),
            told.began,
        );
    }
}

/// A file as a power cut leaves it at worst: only what a sync covered.
struct Durable {
    synced: Vec<u8>,
    waiting: Vec<(usize, u64, Vec<u8>)>,
}

impl Durable {
    fn sync(&mut self, began: usize) {
        let (covered, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|w| w.0 <= began);
        self.waiting = waiting;
        let covered: Vec<(usize, u64, Vec<u8>)> = covered;
        for (_, at, bytes) in covered {
            let at = usize::try_from(at).expect("a small file");
            self.synced.resize(self.synced.len().max(at + bytes.len()), 0);
            self.synced[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

/// The store as a power cut leaves it at worst just when the call on line `at` begins.
fn cut(calls: &[Call], before: &Path, after: &Path, at: usize) {
    copy(before, after);
    for name in [DATABASE, LOG] {
        let synced = fs::read(after.join(name)).unwrap_or_default();
        let mut file = Durable { synced, waiting: Vec::new() };
        // In the order in which they ended: what had not ended by then is not there.
        let mut ended: Vec<(&Call, usize)> = calls
            .iter()
            .filter(|call| call.is_of(name))
            .filter_map(|call| Some((call, call.ended.filter(|ended| *ended < at)?)))
            .collect();
        ended.sort_by_key(|(_, ended)| *ended);
        for (call, ended) in ended.into_iter().filter(|(call, _)| !call.failed) {
            match call.name.as_str() {
                "pwrite64" => file.waiting.push((ended, call.last.expect("its place"), call.data.clone())),
                _ if call.is_sync() => file.sync(call.began),
                other => panic!("{other} of {name} is not understood"),
            }
        }
        fs::write(after.join(name), &file.synced).expect("writable");
    }
    let _ = fs::remove_file(after.join("chinwag.db-shm"));
}

#[test]
fn d2_what_is_synced_when_an_acknowledgement_leaves_is_enough_to_have_it() {
    const COUNT: usize = 24;
    let (place, before, calls, acknowledged) = traced_run(COUNT);
    for number in [0, COUNT / 2, COUNT - 1] {
        let leaves = told(&calls, number).next().expect("it was told").began;
        let after = place.folder.path().join(format!("cut-{number}"));
        cut(&calls, &before, &after, leaves);
        let said = place.said_in(&after);
        let until_then: BTreeMap<String, Seq> =
            (0..=number).map(|number| (text(number), acknowledged[&text(number)])).collect();
        check(&until_then, &said, "after a power cut");
        assert!(said.len() <= number + 2, "a cut leaves out what came later: {said:?}");
    }
}

#[test]
fn d4_nothing_is_acknowledged_after_the_first_failed_sync() {
    let seed = random::seed();
    println!("seed {seed}: CHINWAG_SEED={seed} makes the same choices again");
    let place = Place::new();
    // Only this one fails: a server that tried again would go on as if nothing had been.
    // Not one of those that a start needs.
    let number = 15 + Random::new(seed).fork(4).below(30);
    let mut server = place.start_under(CALLS, &[&format!("fdatasync:error=EIO:when={number}")]);
    // Each thread counts for itself, and there are several that sync.
    const MOST: usize = 2_000;
    let acknowledged = say_one_by_one(&place.anna.at(&server), place.group, MOST);
    assert!(acknowledged.len() < MOST, "it goes on after a failed sync");
    let (status, said) = server.last_words();
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert!(said.contains("cannot write to the disk"), "the message names the disk: {said}");
    let calls = trace::read(&place.log());
    let failed = calls.iter().find(|call| call.is_sync() && call.failed).expect("one sync failed");
    assert!(failed.is_of(LOG) || failed.is_of(DATABASE), "{failed:?}");
    let failed = failed.ended.expect("it came back with the error");
    let later = calls.iter().find(|call| call.began > failed && call.is_socket() && call.holds("\"posted\""));
    assert!(later.is_none(), "acknowledged after the failed sync: {later:?}");
    let again = calls.iter().find(|call| call.began > failed && call.is_sync() && call.is_of(LOG));
    assert!(again.is_none(), "a sync was tried again: {again:?}");
    // Recovery decides about the rest; what was acknowledged is there.
    check(&acknowledged, &place.said_in(&place.data()), "after a failed sync");
}
