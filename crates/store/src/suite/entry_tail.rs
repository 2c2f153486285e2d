//! Entries that were appended to the tail are there once wherever they stand: in the tail, on their way to their places,
//! or there; also after a crash at any of these moments.

use std::{fs, path::Path};

use chinwag_domain::{Facts, record::Change};
use chinwag_protocol::{ConversationId, Event, LogId, MessageBody, Millis, Seq, UserId};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    bed::{Bed, Kind, posting},
    tail::crashed,
};
use crate::sqlite::{Want, backup, restore, scrub};

/// Groups that are written to in turns.
const GROUPS: u32 = 5;

/// What each of them begins with: that it was made, and who is in it.
const BEGINNING: u32 = 2;

/// More than twice what the tail holds before it is moved.
const POSTS: u32 = 300;

/// Uses the tail from the second message on, and moves it as soon as there are a hundred, by 25.
fn eager() -> Bed {
    let bed = in_folder(TempDir::new().unwrap());
    for group in 1..=GROUPS {
        bed.group(group, &[1]);
    }
    bed
}

fn in_folder(folder: TempDir) -> Bed {
    Bed::in_folder(Kind::Sqlite, folder, |options| (options.remember, options.busy) = (100, 0))
}

fn log(group: u32) -> LogId {
    LogId::Conversation(ConversationId(group))
}

/// Posts the message with this number; the groups take turns.
fn post(bed: &Bed, number: u32) -> Seq {
    bed.post(1 + number % GROUPS, 1, &format!("text {number}"))
}

/// How many entries stand in the tail, and how many of them at their places too.
fn tail(folder: &Path) -> (u32, u32) {
    let conn = Connection::open(folder.join("chinwag.db")).unwrap();
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get(0)).unwrap();
    (one("SELECT count(*) FROM entry_tail"), one("SELECT count(*) FROM entry_tail JOIN entry USING (key)"))
}

/// Posts until a move is going on; the number of the next message.
fn half_moved(bed: &Bed) -> u32 {
    let found = (0..POSTS).find(|number| {
        post(bed, *number);
        tail(bed.folder()).1 > 0
    });
    found.expect("a move has more pieces than one") + 1
}

/// Each log is whole, whichever way it is read, after this many messages.
fn check(bed: &Bed, posts: u32) {
    for group in 1..=GROUPS {
        let messages = (0..posts).filter(|number| 1 + number % GROUPS == group).count() as u32;
        let all: Vec<u32> = (1..=BEGINNING + messages).collect();
        assert_eq!(bed.seqs(log(group)), all, "group {group} after {posts}");
        let backwards = bed.read(move |reader| {
            let page = reader.entries_before(log(group), Seq(1), Seq(u32::MAX), 1_000).unwrap();
            page.iter().map(|entry| entry.seq.0).collect::<Vec<u32>>()
        });
        assert_eq!(backwards, all, "group {group} backwards after {posts}");
        let (head, last) = bed.read(move |reader| {
            let heads = reader.all_heads().unwrap();
            let head = heads.iter().find(|(of, _)| *of == log(group)).unwrap().1;
            (head, reader.last_message(ConversationId(group), Seq(1)).unwrap())
        });
        assert_eq!((head.seq.0, head.messages), (BEGINNING + messages, messages));
        assert_eq!(last.map(|entry| entry.seq), (messages > 0).then_some(head.seq));
    }
}

#[test]
fn d1_each_entry_is_there_once_while_entries_are_moved() {
    let mut bed = eager();
    let (mut alone, mut both, mut emptied, mut most) = (false, false, false, 0);
    for number in 0..POSTS {
        post(&bed, number);
        check(&bed, number + 1);
        let (rows, placed) = tail(bed.folder());
        alone |= rows > 0 && placed == 0;
        both |= placed > 0;
        emptied |= most >= 100 && rows < 50;
        most = most.max(rows);
    }
    assert!(alone && both && emptied, "a move was not seen from its beginning to its end");
    bed.reopen();
    check(&bed, POSTS);
    bed.close();
    let report = scrub(bed.folder(), |_| {}).unwrap();
    assert_eq!((report.findings, report.entries), (Vec::new(), u64::from(POSTS + GROUPS * BEGINNING)));
}

#[test]
fn d1_entries_survive_a_crash_at_any_moment_of_a_move() {
    let bed = eager();
    let (mut alone, mut both) = (false, false);
    for number in 0..POSTS {
        post(&bed, number);
        if number % 16 > 0 && tail(bed.folder()).1 == 0 {
            continue;
        }
        let folder = crashed(&bed);
        assert!(scrub(folder.path(), |_| {}).unwrap().is_clean(), "after a crash at {number}");
        let (rows, placed) = tail(folder.path());
        alone |= rows > 0 && placed == 0;
        both |= placed > 0;
        let mut again = in_folder(folder);
        check(&again, number + 1);
        // The move that was interrupted comes to its end.
        let more = if placed > 0 { 40 } else { 3 };
        for next in number + 1..=number + more {
            post(&again, next);
        }
        check(&again, number + 1 + more);
        again.close();
        assert!(scrub(again.folder(), |_| {}).unwrap().is_clean(), "going on after a crash at {number}");
    }
    assert!(alone && both, "the crashes came at the same moment of a move every time");
}

#[test]
fn a_batch_that_is_rolled_back_leaves_the_tail_as_it_was() {
    let bed = eager();
    for number in 0..POSTS {
        post(&bed, number);
        if number % 10 == 0 {
            let refused = bed.run(move |plan| {
                posting(plan, 1, 1, None, |_| {})?;
                plan.keep(Change::Erase(ConversationId(1), Seq(9_999)));
                posting(plan, 2, 1, None, |_| {})
            });
            assert_eq!(refused.unwrap_err().code, "failed");
        }
    }
    check(&bed, POSTS);
}

#[test]
fn an_erased_text_is_gone_wherever_its_entry_stands() {
    let mut bed = eager();
    let erase = |bed: &Bed, number: u32, seq: Seq| {
        let group = ConversationId(1 + number % GROUPS);
        bed.does(move |plan| {
            plan.keep(Change::Erase(group, seq));
            Ok(())
        });
    };
    let texts = |bed: &Bed, group: u32| -> Vec<String> {
        bed.read(move |reader| {
            let page = reader.entries(log(group), Seq(BEGINNING), Seq(u32::MAX), 1_000).unwrap();
            page.into_iter()
                .map(|entry| match entry.event {
                    Event::Message(body) => body.text,
                    other => panic!("{other:?}"),
                })
                .collect()
        })
    };
    // One at once, so in the tail; the others later, when some of them stand in both tables.
    post(&bed, 0);
    let first = bed.post(2, 1, "Zwiebelkuchen");
    assert_eq!(tail(bed.folder()), (1, 0));
    erase(&bed, 1, first);
    let next = (2..POSTS).find(|number| {
        bed.post(1 + number % GROUPS, 1, &format!("Zwiebelkuchen {number}"));
        tail(bed.folder()).1 > 0
    });
    let next = next.expect("a move has more pieces than one") + 1;
    let (rows, placed) = tail(bed.folder());
    assert!(placed > 0 && placed < rows);
    for number in 2..next {
        erase(&bed, number, Seq(BEGINNING + 1 + number / GROUPS));
    }
    for again in [false, true] {
        for group in 1..=GROUPS {
            let texts = texts(&bed, group);
            assert!(texts.iter().all(|text| !text.contains("Zwiebelkuchen")), "{group}, {again}: {texts:?}");
        }
        bed.reopen();
    }
    bed.close();
    let report = scrub(bed.folder(), |_| {}).unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    for name in ["chinwag.db", "chinwag.db-wal"] {
        let bytes = fs::read(bed.folder().join(name)).unwrap_or_default();
        assert!(!bytes.windows(13).any(|piece| piece == b"Zwiebelkuchen"), "it is still in {name}");
    }
}

#[test]
fn what_is_found_by_its_thread_or_its_mention_is_found_in_the_tail() {
    let bed = eager();
    let group = ConversationId(1);
    let root = post(&bed, 0);
    for number in 0..POSTS {
        bed.run(move |plan| {
            let position = plan.head(log(1))?.position;
            plan.keep(Change::Mention(UserId(2), group, position.seq.next()));
            posting(plan, 1, 1, None, |body: &mut MessageBody| body.thread = Some(root))
        })
        .unwrap();
        let expected: Vec<u32> = (root.0 + 1..=root.0 + 1 + number).collect();
        let found = bed.read(move |reader| {
            let thread = reader.thread(group, root, Seq::ZERO, 1_000).unwrap();
            let mentions = reader.mentions(UserId(2), group, Seq::ZERO, 1_000).unwrap();
            [
                thread.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(),
                mentions.iter().map(|seq| seq.0).collect(),
            ]
        });
        assert_eq!(found, [expected.clone(), expected]);
    }
}

#[test]
fn s2_a_backup_in_the_middle_of_a_move_is_whole() {
    let bed = eager();
    let posts = half_moved(&bed);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("backup");
    let manifest = backup(bed.folder(), &file, Want::Everything, Millis(77), |_| {}).unwrap();
    assert_eq!((manifest.entries, manifest.damaged), (u64::from(posts + GROUPS * BEGINNING), 0));
    let data = TempDir::new().unwrap();
    restore(&file, data.path(), Want::Everything, |_| {}).unwrap();
    assert!(tail(data.path()).1 > 0);
    let again = in_folder(data);
    check(&again, posts);
    for number in posts..POSTS {
        post(&again, number);
    }
    check(&again, POSTS);
}

#[test]
fn damage_in_the_tail_is_found_and_not_read() {
    for change in [
        "UPDATE entry_tail SET by = by + 1 WHERE (key & 255) = 4",
        "DELETE FROM entry_tail WHERE (key & 255) = 4",
    ] {
        let mut bed = eager();
        for number in 0..20 {
            post(&bed, number);
        }
        bed.close();
        let conn = Connection::open(bed.folder().join("chinwag.db")).unwrap();
        assert!(conn.execute(change, []).unwrap() > 0);
        drop(conn);
        assert!(!scrub(bed.folder(), |_| {}).unwrap().is_clean(), "{change}");
        bed.reopen();
        let read = bed.read(|reader| reader.entries(log(3), Seq::ZERO, Seq(u32::MAX), 1_000).map(drop));
        assert!(read.is_err(), "{change}");
    }
}

#[test]
fn a6_a_store_without_a_tail_goes_on() {
    let mut bed = eager();
    let posts = half_moved(&bed);
    bed.close();
    let conn = Connection::open(bed.folder().join("chinwag.db")).unwrap();
    // As the version before left it.
    conn.execute_batch(
        "INSERT OR IGNORE INTO entry SELECT * FROM entry_tail;
        DROP VIEW entries;
        DROP TABLE entry_tail;
        DELETE FROM refinery_schema_history WHERE version > 3;
        PRAGMA user_version = 3",
    )
    .unwrap();
    drop(conn);
    bed.reopen();
    check(&bed, posts);
    for number in posts..posts + POSTS {
        post(&bed, number);
    }
    check(&bed, posts + POSTS);
    bed.close();
    assert!(scrub(bed.folder(), |_| {}).unwrap().is_clean());
}
