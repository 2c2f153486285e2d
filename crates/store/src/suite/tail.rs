//! What was sent lately is found wherever it stands: in the tail, on its way to its place, or there; also after a
//! crash at any of these moments.

use std::{fs, path::Path};

use chinwag_domain::port::Verdict;
use rusqlite::Connection;

use super::bed::{Bed, Kind};
use crate::sqlite::scrub;

/// More than a piece, so that a move takes several transactions.
const COMMANDS: u32 = 400;

/// Moves what was sent as soon as there are a few.
fn eager() -> Bed {
    let bed = Bed::with(Kind::Sqlite, |options| options.remember = 100);
    bed.group(1, &[1, 2, 3]);
    bed
}

fn send(bed: &Bed, number: u32) -> Verdict {
    // Not in the order in which they are sorted.
    let id = format!("id-{:03}", number * 7 % COMMANDS);
    bed.send(1, 1 + number % 3, &id, &format!("text {number}"))
}

/// How many rows there are in both tables, in one of them, and in the tail.
fn count(folder: &Path) -> (u32, u32, u32) {
    let conn = Connection::open(folder.join("chinwag.db")).unwrap();
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get(0)).unwrap();
    (
        one("SELECT count(*) FROM sent s JOIN sent_tail t USING (user, client_id)"),
        one(
            "SELECT count(*) FROM (SELECT user, client_id FROM sent UNION SELECT user, client_id FROM sent_tail)",
        ),
        one("SELECT count(*) FROM sent_tail"),
    )
}

/// As after a kill: the files as they are, with a lock of nobody.
pub(super) fn crashed(bed: &Bed) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    for name in ["chinwag.db", "chinwag.db-wal"] {
        fs::copy(bed.folder().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn d7_a_command_is_known_while_it_is_moved_to_its_place() {
    let mut bed = eager();
    let mut told = Vec::new();
    for number in 0..COMMANDS {
        told.push(send(&bed, number));
        assert!(told[number as usize].is_ok());
        let before = number / 2;
        assert_eq!(send(&bed, before), told[before as usize], "{before} again after {number}");
    }
    let (_, all, tail) = count(bed.folder());
    assert_eq!(all, COMMANDS);
    assert!(tail < COMMANDS, "nothing was moved");
    for _ in 0..2 {
        for number in 0..COMMANDS {
            assert_eq!(send(&bed, number), told[number as usize], "{number} again");
        }
        bed.reopen();
    }
    let conflict = bed.send(1, 1, "id-000", "something else").unwrap_err();
    assert_eq!(conflict.code, "client_id_reused");
    bed.close();
    assert!(scrub(bed.folder(), |_| {}).unwrap().is_clean());
}

#[test]
fn d7_a_command_is_known_after_a_crash_at_any_moment_of_a_move() {
    let bed = eager();
    let mut told = Vec::new();
    let (mut in_both, mut in_tail_alone) = (false, false);
    for number in 0..COMMANDS {
        told.push(send(&bed, number));
        if number % 16 > 0 {
            continue;
        }
        let folder = crashed(&bed);
        let (both, all, tail) = count(folder.path());
        // A transaction that nobody was told of yet may be in the copy too.
        assert!(all >= number, "{all} of {number} commands are left");
        in_both |= both > 0;
        in_tail_alone |= both == 0 && tail > 0;
        let again = Bed::in_folder(Kind::Sqlite, folder, |options| options.remember = 100);
        for earlier in 0..=number {
            assert_eq!(send(&again, earlier), told[earlier as usize], "{earlier} after a crash at {number}");
        }
    }
    assert!(in_both && in_tail_alone, "the crashes came at the same moment of a move every time");
}

#[test]
fn a_damaged_row_of_the_tail_is_not_taken_for_none() {
    let mut bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    for id in ["good", "bad"] {
        bed.send(1, 1, id, "text").unwrap();
    }
    bed.close();
    let conn = Connection::open(bed.folder().join("chinwag.db")).unwrap();
    let sql = "UPDATE sent_tail SET body = body + 1 WHERE client_id = 'bad'";
    assert_eq!(conn.execute(sql, []).unwrap(), 1);
    drop(conn);
    assert!(!scrub(bed.folder(), |_| {}).unwrap().is_clean());
    bed.reopen();
    for _ in 0..2 {
        assert_eq!(bed.send(1, 1, "bad", "text").unwrap_err().code, "failed");
        assert!(bed.send(1, 1, "good", "text").is_ok());
        assert!(bed.send(1, 1, "new", "text").is_ok());
        bed.reopen();
    }
    assert_eq!(bed.seqs(chinwag_protocol::LogId::Conversation(chinwag_protocol::ConversationId(1))).len(), 5);
}
