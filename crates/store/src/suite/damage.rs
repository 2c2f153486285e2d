//! Damage: found when it is read, named by a scrub, never served as genuine.

use std::{fs, sync::Arc};

use chinwag_domain::{
    Reader,
    facts::Facts,
    record::{Change, Session, Standing},
};
use chinwag_protocol::{ConversationId, Entry, Event, LogId, Millis, Seq, SessionId, UserId};
use proptest::prelude::*;

use super::bed::{Bed, Kind, member, posting, user_named};
use crate::sqlite::scrub;

const C1: ConversationId = ConversationId(1);
const LOG: LogId = LogId::Conversation(C1);

/// A closed store with some of everything.
fn filled() -> Bed {
    let mut bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1, 2, 3]);
    for number in 0..20 {
        bed.send(1, 1 + number % 3, &format!("id-{number}"), &format!("text number {number}")).unwrap();
    }
    bed.run(|plan| posting(plan, 1, 2, None, |body| body.thread = Some(Seq(5)))).unwrap();
    bed.does(|plan| {
        plan.record(LOG, UserId(1), Event::Pinned { message: Seq(5) })?;
        plan.record(LOG, UserId(1), Event::Deleted { message: Seq(6) })?;
        plan.keep(Change::Session(Arc::new(Session {
            id: SessionId(1),
            user: UserId(1),
            token: [1; 32],
            device: "device".into(),
            door: String::new(),
            app_password: None,
            bound: false,
            started_at: Millis(1),
            confirmed_at: Millis(1),
            seen_at: Millis(1),
        })));
        Ok(())
    });
    bed.close();
    bed
}

/// Everything that can be read, or the first error.
fn dump(reader: &dyn Reader) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let entries = reader.entries(LOG, Seq::ZERO, Seq(u32::MAX), 1_000).map_err(|stop| stop.to_string())?;
    lines.extend(entries.iter().map(|entry: &Entry| format!("{entry:?}")));
    let mut add = |line: Result<String, chinwag_domain::Stop>| -> Result<(), String> {
        lines.push(line.map_err(|stop| stop.to_string())?);
        Ok(())
    };
    for user in 1..=3 {
        add(reader.user(UserId(user)).map(|user| format!("{user:?}")))?;
        add(reader.cursor(C1, UserId(user)).map(|cursor| format!("{cursor:?}")))?;
    }
    add(reader.conversation(C1).map(|conversation| format!("{conversation:?}")))?;
    add(reader.members(C1, UserId(0), 100).map(|members| format!("{members:?}")))?;
    add(reader.overlays(C1, Seq(1), Seq(u32::MAX)).map(|overlays| format!("{overlays:?}")))?;
    add(reader.thread(C1, Seq(5), Seq(0), 10).map(|entries| format!("{entries:?}")))?;
    add(reader.session_by_token(&[1; 32]).map(|session| format!("{:?}", session.map(|session| session.id))))?;
    for number in 0..20 {
        let sent = reader.sent(UserId(1 + number % 3), &format!("id-{number}"));
        add(sent.map(|sent| format!("{sent:?}")))?;
    }
    Ok(lines)
}

#[test]
fn a_sound_store_is_clean() {
    let bed = filled();
    let report = scrub(bed.folder(), |_| {}).unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    assert_eq!(report.entries, 27);
    assert!(report.records > 30);
}

#[test]
fn a_running_store_can_be_scrubbed() {
    let bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    bed.post(1, 1, "hello");
    assert!(scrub(bed.folder(), |_| {}).unwrap().is_clean());
    assert_eq!(bed.post(1, 1, "and on"), Seq(4));
}

/// Changes a closed store by hand.
fn change(bed: &Bed, sql: &str) {
    let conn = rusqlite::Connection::open(bed.folder().join("chinwag.db")).unwrap();
    assert!(conn.execute(sql, []).unwrap() > 0, "{sql} changes nothing");
}

#[test]
fn s1_a_changed_entry_is_named_and_not_served() {
    let tampered = [
        "UPDATE entry SET body = replace(CAST(body AS TEXT), 'number 4', 'number 7') WHERE (key & 255) = 9",
        "UPDATE entry SET by = 3 WHERE (key & 255) = 9",
        "UPDATE entry SET at = at + 1 WHERE (key & 255) = 9",
        "UPDATE entry SET kind = 9 WHERE (key & 255) = 9",
        "UPDATE entry SET messages = messages + 1 WHERE (key & 255) = 9",
        "UPDATE entry SET client_id = 'other' WHERE (key & 255) = 9",
        "UPDATE entry SET client_id = NULL WHERE (key & 255) = 9",
        "UPDATE entry SET thread = 8589934597 WHERE (key & 255) = 9",
        "UPDATE entry SET prev = hash WHERE (key & 255) = 9",
        "UPDATE entry SET hash = prev WHERE (key & 255) = 9",
        "UPDATE entry SET digest = zeroblob(48) WHERE (key & 255) = 9",
        "DELETE FROM entry WHERE (key & 255) = 9",
    ];
    for sql in tampered {
        let mut bed = filled();
        // The column holds a blob, which `replace` would turn into text.
        let sql = sql.replace(
            "replace(CAST(body AS TEXT), 'number 4', 'number 7')",
            "CAST(replace(CAST(body AS TEXT), 'number 4', 'number 7') AS BLOB)",
        );
        change(&bed, &sql);
        let report = scrub(bed.folder(), |_| {}).unwrap();
        assert!(
            report.findings.iter().any(|found| found.contains("of log c1")),
            "{sql}: {:?}",
            report.findings
        );
        bed.reopen();
        let said = bed.read(|reader| dump(reader)).unwrap_err();
        assert!(said.contains("of log c1 is damaged"), "{sql}: {said}");
    }
}

#[test]
fn s1_a_changed_erased_entry_is_found() {
    for sql in [
        "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '\"text\":\"\"', '\"text\":\"x\"') AS BLOB) WHERE (key & 255) = 6",
        "UPDATE entry SET digest = NULL WHERE (key & 255) = 6",
        "UPDATE entry SET digest = substr(digest, 1, 32) || zeroblob(16) WHERE (key & 255) = 6",
        "UPDATE entry SET digest = x'00' || substr(digest, 2) WHERE (key & 255) = 6",
    ] {
        let mut bed = filled();
        let sql = sql
            .replace(
                "substr(digest, 1, 32) || zeroblob(16)",
                "CAST(substr(digest, 1, 32) || zeroblob(16) AS BLOB)",
            )
            .replace("x'00' || substr(digest, 2)", "CAST(x'00' || substr(digest, 2) AS BLOB)");
        change(&bed, &sql);
        assert!(!scrub(bed.folder(), |_| {}).unwrap().is_clean(), "{sql}");
        bed.reopen();
        assert!(bed.read(|reader| dump(reader)).is_err(), "{sql}");
    }
}

#[test]
fn s1_a_changed_record_is_named_and_not_served() {
    for (sql, name) in [
        ("UPDATE user SET record = replace(record, 'user2', 'user9') WHERE id = 2", "table user: the row 2"),
        ("UPDATE user SET folded_handle = 'other' WHERE id = 2", "table user: the row 2"),
        ("UPDATE member SET standing = 1 WHERE user = 2", "table member: the row 1"),
        (
            "UPDATE sent_tail SET reply = replace(reply, 'seq\":5', 'seq\":6') WHERE client_id = 'id-0'",
            "table sent_tail",
        ),
        ("UPDATE cursor SET read_seq = read_seq + 1 WHERE user = 1", "table cursor"),
        ("UPDATE overlay SET pinned = 0 WHERE pinned = 1", "table overlay"),
        ("UPDATE session SET user = 2", "table session: the row 1"),
        ("UPDATE conversation SET sum = sum + 1", "table conversation: the row 1"),
        ("DELETE FROM member WHERE user = 2", "conversation 1: it should have 3 memberships but has 2"),
    ] {
        let mut bed = filled();
        change(&bed, sql);
        let report = scrub(bed.folder(), |_| {}).unwrap();
        assert!(report.findings.iter().any(|found| found.contains(name)), "{sql}: {:?}", report.findings);
        bed.reopen();
        let dumped = bed.read(|reader| dump(reader));
        assert!(
            sql.starts_with("DELETE") || sql.contains("standing") || dumped.is_err(),
            "{sql}: {dumped:?}"
        );
    }
}

#[test]
fn a_reading_of_a_damaged_record_fails_and_others_do_not() {
    let mut bed = filled();
    change(&bed, "UPDATE user SET record = replace(record, 'user2', 'user9') WHERE id = 2");
    bed.reopen();
    let (bad, good) = bed.read(|reader| (reader.user(UserId(2)).is_err(), reader.user(UserId(1)).is_ok()));
    assert!(bad && good);
    let verdict = bed.run(|plan| {
        plan.user(UserId(2))?;
        posting(plan, 1, 1, None, |_| {})
    });
    assert_eq!(verdict.unwrap_err().code, "failed");
    assert!(bed.run(|plan| posting(plan, 1, 1, None, |_| {})).is_ok());
}

#[test]
fn s1_a_truncated_file_is_found() {
    let bed = filled();
    let file = bed.folder().join("chinwag.db");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert!(!scrub(bed.folder(), |_| {}).unwrap().is_clean());
}

#[test]
fn a_banned_member_is_listed_after_a_scrub() {
    // A scrub only reads.
    let mut bed = filled();
    let before = fs::read(bed.folder().join("chinwag.db")).unwrap();
    assert!(scrub(bed.folder(), |_| {}).unwrap().is_clean());
    assert!(fs::read(bed.folder().join("chinwag.db")).unwrap() == before);
    bed.reopen();
    bed.does(|plan| {
        plan.keep(Change::User(Arc::new(user_named(9, "nine"))));
        plan.keep(Change::Member(Arc::new(member(1, 9, Standing::Banned))));
        Ok(())
    });
    assert_eq!(bed.read(|reader| reader.bans(C1).unwrap().len()), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// F10: whatever bit of the file flips, the damage is found, or nothing that is read has changed.
    #[test]
    fn s1_a_flipped_bit_is_found_or_harmless(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        thread_local! {
            static SOUND: (Bed, Vec<u8>, Vec<String>) = {
                let mut bed = filled();
                let bytes = fs::read(bed.folder().join("chinwag.db")).unwrap();
                bed.reopen();
                let lines = bed.read(|reader| dump(reader)).unwrap();
                bed.close();
                (bed, bytes, lines)
            };
        }
        SOUND.with(|(bed, bytes, sound)| -> Result<(), TestCaseError> {
            let mut bytes = bytes.clone();
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let folder = tempfile::TempDir::new().unwrap();
            fs::write(folder.path().join("chinwag.db"), &bytes).unwrap();
            let found = match scrub(folder.path(), |_| {}) {
                Ok(report) => !report.is_clean(),
                Err(_) => true,
            };
            let mut options = bed.options();
            options.folder = folder.path().to_owned();
            let Ok(store) = crate::sqlite::open(options) else { return Ok(()) };
            let (tell, told) = std::sync::mpsc::channel();
            chinwag_domain::Store::read(&store, Box::new(move |reader| {
                tell.send(reader.map_err(|refused| refused.to_string()).and_then(dump)).unwrap();
            }));
            if let Ok(lines) = told.recv().unwrap() {
                prop_assert!(found || lines == *sound, "bit {bit} of byte {at} changed what is read, unnoticed");
                // What has a text of somebody is genuine or not served at all, found by a scrub or not.
                for line in lines.iter().filter(|line| line.starts_with("Entry")) {
                    prop_assert!(sound.contains(line), "bit {bit} of byte {at}: {line} is not genuine");
                }
            }
            Ok(())
        })?;
    }
}
