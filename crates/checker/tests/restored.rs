//! A store that was taken back to a backup: what is owed after that, and what is not.

use chinwag_checker::{
    Report,
    history::{Op, Position, Record, Seen, What, hash},
    judge::judge,
};

const PLACE: u32 = 7;
const USER: u32 = 2;

/// What the clients of one user saw.
#[derive(Default)]
struct Story {
    records: Vec<Record>,
    calls: u64,
}

impl Story {
    fn note(&mut self, client: u32, what: What) {
        let ts_mono = 20_000 * (self.records.len() as u64 + 1);
        self.records.push(Record { ts_mono, client, user: USER, session: client, what });
    }

    fn open(&mut self, snapshot_at: Option<u32>) {
        let log = format!("c{PLACE}");
        let snapshot = snapshot_at.map(|seq| vec![Position { log, seq, unread: None }]);
        self.note(1, What::Open { snapshot });
    }

    /// Says something, which gets this number, and hears it.
    fn says(&mut self, name: &str, seq: u32) {
        self.calls += 1;
        let call = self.calls;
        let (client_id, body_hash) = (name.to_owned(), hash(name));
        let op = Op::Post { conversation: PLACE, client_id, body_hash, seen: seq - 1 };
        self.note(1, What::Invoke { call, op });
        self.note(1, What::Entry { entry: message(name, seq) });
        self.note(1, What::Ok { call, seq: Some(seq), page: None, more: false });
    }

    fn end(mut self, log: Vec<Seen>) -> Report {
        self.note(0, What::Heal);
        self.note(0, What::Final { conversation: PLACE, log });
        judge(&self.records)
    }
}

fn entry(seq: u32, kind: &str) -> Seen {
    Seen {
        log: format!("c{PLACE}"),
        seq,
        author: USER,
        at: seq.into(),
        kind: kind.to_owned(),
        client_id: None,
        body_hash: hash(kind),
        message: None,
        subject: None,
        number: None,
    }
}

fn joined() -> Seen {
    Seen { subject: Some(USER), number: Some(1), ..entry(1, "joined") }
}

/// Only messages follow the one entry that makes the user a member.
fn message(name: &str, seq: u32) -> Seen {
    let (client_id, body_hash) = (Some(name.to_owned()), hash(name));
    Seen { client_id, body_hash, number: Some(seq - 1), ..entry(seq, "message") }
}

/// One message before the backup, one after it, and one after the restore under the same number.
fn story(marked: bool, resumed: bool) -> Story {
    let mut story = Story::default();
    let enter = Op::Enter { conversation: PLACE, subject: USER };
    story.note(0, What::Invoke { call: 1_000, op: enter });
    story.note(0, What::Ok { call: 1_000, seq: None, page: None, more: false });
    story.open(Some(1));
    story.says("before", 2);
    if marked {
        story.note(0, What::Backup);
    }
    story.says("lost", 3);
    if marked {
        story.note(0, What::Restored);
    }
    // Still read from the connection to the old store.
    story.says("lost too", 4);
    story.note(1, What::Cut);
    story.open((!resumed).then_some(2));
    story.says("after", 3);
    story
}

fn log() -> Vec<Seen> {
    vec![joined(), message("before", 2), message("after", 3)]
}

#[test]
fn what_came_after_the_backup_is_not_owed() {
    let report = story(true, false).end(log());
    assert_eq!(report.violations, []);
}

#[test]
fn without_a_restore_it_is() {
    let report = story(false, false).end(log());
    assert!(report.breaks("K1") && report.breaks("K3"), "{report}");
}

#[test]
fn what_came_before_the_backup_is_owed() {
    let report = story(true, false).end(vec![joined(), message("after", 2)]);
    assert!(report.breaks("K1"), "{report}");
    let report = story(true, false).end(vec![joined(), message("other", 2), message("after", 3)]);
    assert!(report.breaks("K1"), "{report}");
}

#[test]
fn whoever_goes_on_as_if_nothing_had_happened_is_found() {
    let report = story(true, true).end(log());
    assert!(report.breaks("K6"), "{report}");
}
