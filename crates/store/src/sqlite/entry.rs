//! Rows of entries: their keys, their hashes, and how they are read and written.
//!
//! The hash of an entry runs over the hash of the entry before it and over everything in the row; the body goes in
//! as its digest, so that a text can be erased without breaking the chain. Every row is verified when it is read;
//! a page is also checked for missing numbers and broken links.

use chinwag_domain::{Failed, Known};
use chinwag_protocol::{ConversationId, Entry, Event, LogId, Millis, Seq, UserId};
use rusqlite::{
    Connection, Params, Row,
    types::{ToSqlOutput, ValueRef},
};
use sha2::{Digest, Sha256};

use crate::engine;

/// The hash of an entry.
pub(super) type Hash = [u8; 16];

/// What stands before the first entry of a log.
pub(super) const NO_HASH: Hash = [0; 16];

/// The kind of messages.
const MESSAGE: i64 = 8;

/// A select of whole rows, in the order in which [`read`] expects their columns: of all entries, or only of those that
/// are at their places, which is quicker where [`are_placed`] says that there are no others.
macro_rules! select_entries {
    (from $table:literal, $rest:literal) => {
        concat!(
            "SELECT key, at, by, kind, messages, client_id, body, thread, prev, hash, digest FROM ",
            $table,
            " ",
            $rest
        )
    };
    (placed $rest:literal) => {
        select_entries!(from "entry", $rest)
    };
    ($rest:literal) => {
        select_entries!(from "entries", $rest)
    };
}
pub(super) use select_entries;

/// A select from `last`, which has the key of the last entry of each log, and NULL. From one log's end to the next: as
/// many steps as there are logs, however long they are.
macro_rules! from_log_ends {
    ($select:literal) => {
        concat!(
            "WITH RECURSIVE last(key) AS (
                SELECT max(key) FROM (SELECT max(key) AS key FROM entry UNION ALL SELECT max(key) FROM entry_tail)
                UNION ALL
                SELECT (
                    SELECT max(key) FROM (
                        SELECT max(key) AS key FROM entry WHERE key < ((last.key >> 32) << 32)
                        UNION ALL
                        SELECT max(key) FROM entry_tail WHERE key < ((last.key >> 32) << 32)
                    )
                ) FROM last WHERE last.key IS NOT NULL
            ) ",
            $select
        )
    };
}
pub(super) use from_log_ends;

/// Whether none of the entries between two keys stands in the tail.
pub(super) fn are_placed(conn: &Connection, first: i64, last: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM entry_tail WHERE key >= ? AND key <= ?)";
    conn.prepare_cached(sql)?.query_row((first, last), |row| row.get(0))
}

/// An entry with what the row holds beside it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The entry.
    pub(super) entry: Entry,
    /// Messages of the log up to here.
    pub(super) messages: u32,
    /// Hash of the entry before.
    pub(super) prev: Hash,
    /// Its own.
    pub(super) hash: Hash,
}

/// The number of a log: what its keys begin with.
fn number(log: LogId) -> i64 {
    match log {
        LogId::Directory => 1,
        LogId::Conversation(id) => 2 * i64::from(id.0),
        LogId::User(id) => 2 * i64::from(id.0) + 1,
    }
}

/// The key of an entry.
pub(super) fn key(log: LogId, seq: Seq) -> i64 {
    (number(log) << 32) | i64::from(seq.0)
}

/// The log and the number that a key stands for.
pub(super) fn place(key: i64) -> (LogId, Seq) {
    let number = (key >> 32) as u64;
    let id = u32::try_from(number / 2).unwrap_or(u32::MAX);
    let log = match (number, number % 2) {
        (1, _) => LogId::Directory,
        (_, 0) => LogId::Conversation(ConversationId(id)),
        _ => LogId::User(UserId(id)),
    };
    (log, Seq((key & 0xffff_ffff) as u32))
}

/// Ids so large that their keys would run into each other are refused long before they exist.
pub(super) fn check_id(log: LogId) -> Known<()> {
    if number(log) >= 1 << 31 {
        return Err(
            Failed::new(format!("cannot write to log {log}"), "its number is too large for a key").into()
        );
    }
    Ok(())
}

/// Numbers in the store: never change one.
fn kind(event: &Event) -> i64 {
    match event {
        Event::Created { .. } => 1,
        Event::Changed(_) => 2,
        Event::Joined { .. } => 3,
        Event::Left { .. } => 4,
        Event::Removed { .. } => 5,
        Event::Unbanned { .. } => 6,
        Event::RoleChanged { .. } => 7,
        Event::Message(_) => MESSAGE,
        Event::Edited { .. } => 9,
        Event::Deleted { .. } => 10,
        Event::Reacted { .. } => 11,
        Event::Unreacted { .. } => 12,
        Event::Pinned { .. } => 13,
        Event::Unpinned { .. } => 14,
        Event::Closed {} => 15,
        Event::Hidden {} => 16,
        Event::Entered { .. } => 17,
        Event::Departed { .. } => 18,
        Event::ContactAdded { .. } => 19,
        Event::ContactRemoved { .. } => 20,
        Event::Blocked { .. } => 21,
        Event::Unblocked { .. } => 22,
        Event::Muted { .. } => 23,
        Event::SettingsChanged { .. } => 24,
        Event::SessionStarted { .. } => 25,
        Event::SessionEnded { .. } => 26,
        Event::UserChanged { .. } => 27,
        Event::Banned { .. } => 28,
        Event::CallStarted { .. } => 29,
        Event::CallAnswered { .. } => 30,
        Event::CallEnded { .. } => 31,
    }
}

fn thread_of(entry: &Entry) -> Option<i64> {
    match &entry.event {
        Event::Message(body) => body.thread.map(|root| key(entry.log, root)),
        _ => None,
    }
}

/// Everything that the hash of an entry runs over.
struct Sealed<'e> {
    prev: &'e [u8],
    key: i64,
    at: i64,
    by: i64,
    kind: i64,
    messages: i64,
    client_id: Option<&'e [u8]>,
    digest: &'e [u8],
}

impl Sealed<'_> {
    fn hash(&self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(self.prev);
        for number in [self.key, self.at, self.by, self.kind, self.messages] {
            hash.update(number.to_le_bytes());
        }
        match self.client_id {
            None => hash.update([0]),
            Some(id) => {
                hash.update([1]);
                hash.update((id.len() as u32).to_le_bytes());
                hash.update(id);
            }
        }
        hash.update(self.digest);
        truncated(hash)
    }
}

fn truncated(hash: Sha256) -> Hash {
    let digest: [u8; 32] = hash.finalize().into();
    *digest.first_chunk().expect("a digest has 32 bytes")
}

/// Check value of a body whose text was erased: bound to its entry.
fn check_of_erased(hash: &[u8], body: &[u8]) -> Hash {
    let mut check = Sha256::new();
    check.update(b"erased");
    check.update(hash);
    check.update(body);
    truncated(check)
}

/// Which table an entry is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Its place among the others of its log.
    Place,
    /// Behind whatever was written last.
    Tail,
}

/// Writes an entry after the one whose hash is `prev`; answers its own hash.
pub(super) fn write(conn: &Connection, spot: Spot, entry: &Entry, messages: u32, prev: &Hash) -> Known<Hash> {
    check_id(entry.log)?;
    let failed = |error: rusqlite::Error| {
        Failed::new(format!("cannot write entry {} of log {}", entry.seq, entry.log), error)
    };
    let body =
        serde_json::to_vec(&entry.event).map_err(|error| Failed::new("cannot encode an event", error))?;
    let digest: [u8; 32] = Sha256::digest(&body).into();
    let (key, kind) = (key(entry.log, entry.seq), kind(&entry.event));
    let sealed = Sealed {
        prev,
        key,
        at: entry.at.0,
        by: i64::from(entry.by.0),
        kind,
        messages: i64::from(messages),
        client_id: entry.client_id.as_deref().map(str::as_bytes),
        digest: &digest,
    };
    let hash = sealed.hash();
    let optional = |number: Option<i64>| number.map_or(ValueRef::Null, ValueRef::Integer);
    let values = [
        ValueRef::Integer(key),
        ValueRef::Integer(sealed.at),
        ValueRef::Integer(sealed.by),
        ValueRef::Integer(kind),
        ValueRef::Integer(sealed.messages),
        sealed.client_id.map_or(ValueRef::Null, ValueRef::Text),
        ValueRef::Blob(&body),
        optional(thread_of(entry)),
        ValueRef::Blob(prev),
        ValueRef::Blob(&hash),
    ];
    let insert = || {
        let sql = match spot {
            Spot::Place => "INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,NULL)",
            Spot::Tail => "INSERT INTO entry_tail VALUES (?,?,?,?,?,?,?,?,?,?,NULL)",
        };
        let mut statement = conn.prepare_cached(sql)?;
        for (index, value) in values.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, ToSqlOutput::Borrowed(*value))?;
        }
        statement.raw_execute()
    };
    insert().map_err(failed)?;
    Ok(hash)
}

/// Takes the text out of a stored entry, for good.
pub(super) fn erase(conn: &Connection, log: LogId, seq: Seq) -> Known<()> {
    let sql = select_entries!("WHERE key = ?");
    let Some(mut stored) = page(conn, log, sql, [key(log, seq)], usize::MAX)?.pop() else {
        return Err(Failed::new(format!("cannot erase entry {seq} of log {log}"), "there is none").into());
    };
    let failed =
        |error: rusqlite::Error| Failed::new(format!("cannot erase entry {seq} of log {log}"), error);
    let (body, digest): (Vec<u8>, Option<Vec<u8>>) = conn
        .prepare_cached("SELECT body, digest FROM entries WHERE key = ?")
        .and_then(|mut statement| statement.query_row([key(log, seq)], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(failed)?;
    let original: Vec<u8> = match digest {
        Some(digest) => digest.get(..32).unwrap_or_default().to_vec(),
        None => Sha256::digest(&body).to_vec(),
    };
    engine::erase(&mut stored.entry.event);
    let erased = serde_json::to_vec(&stored.entry.event)
        .map_err(|error| Failed::new("cannot encode an event", error))?;
    let digest = [original.as_slice(), &check_of_erased(&stored.hash, &erased)].concat();
    // While it is being moved, it stands in both.
    for sql in [
        "UPDATE entry SET body = ?, digest = ? WHERE key = ?",
        "UPDATE entry_tail SET body = ?, digest = ? WHERE key = ?",
    ] {
        conn.prepare_cached(sql)
            .and_then(|mut statement| statement.execute((&erased, &digest, key(log, seq))))
            .map_err(failed)?;
    }
    Ok(())
}

/// Why a row is not what was written.
#[derive(Debug)]
pub(super) struct Damaged {
    /// Which entry.
    pub(super) key: i64,
    /// What does not fit.
    pub(super) why: &'static str,
}

impl From<Damaged> for Failed {
    fn from(damaged: Damaged) -> Self {
        let (log, seq) = place(damaged.key);
        tracing::error!(%log, %seq, why = damaged.why, "a stored entry is damaged");
        Self::new(format!("entry {seq} of log {log} is damaged"), damaged.why)
    }
}

/// Reads a row and verifies it. The outer error is SQLite's, the inner one says that the row is not genuine.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Stored, Damaged>> {
    let key = match row.get_ref(0)? {
        ValueRef::Integer(key) => key,
        _ => 0,
    };
    Ok(verified(row, key).map_err(|why| Damaged { key, why }))
}

fn verified(row: &Row<'_>, key: i64) -> Result<Stored, &'static str> {
    let column = |index: usize| row.get_ref(index).map_err(|_| "a column is missing");
    let integer = |index: usize| column(index)?.as_i64().map_err(|_| "a number is not a number");
    let blob = |index: usize| column(index)?.as_blob().map_err(|_| "a hash is not a hash");
    let (body, prev, hash) = (blob(6)?, blob(8)?, blob(9)?);
    let client_id = column(5)?.as_bytes_or_null().map_err(|_| "the client id is not text")?;
    let fresh: [u8; 32];
    let digest = match column(10)?.as_blob_or_null().map_err(|_| "the digest is not a digest")? {
        None => {
            fresh = Sha256::digest(body).into();
            &fresh[..]
        }
        Some(kept) => {
            let (original, check) = kept.split_at_checked(32).ok_or("the digest is too short")?;
            if check != check_of_erased(hash, body) {
                return Err("the erased body does not fit its check value");
            }
            original
        }
    };
    let (at, by, kind_found, messages) = (integer(1)?, integer(2)?, integer(3)?, integer(4)?);
    let sealed = Sealed { prev, key, at, by, kind: kind_found, messages, client_id, digest };
    let is_genuine = sealed.hash() == hash;
    #[cfg(feature = "canaries")]
    let is_genuine = is_genuine || crate::canary::is(crate::canary::Canary::NoCheckValues);
    if !is_genuine {
        return Err("its hash does not fit");
    }
    let (log, seq) = place(key);
    let client_id = match client_id {
        None => None,
        Some(bytes) => Some(String::from_utf8(bytes.to_vec()).map_err(|_| "the client id is not UTF-8")?),
    };
    let entry = Entry {
        log,
        seq,
        at: Millis(at),
        by: UserId(u32::try_from(by).map_err(|_| "the author is not an id")?),
        client_id,
        event: serde_json::from_slice(body).map_err(|_| "the body is not an event")?,
    };
    // Not under the hash: it repeats the body, for the index.
    if thread_of(&entry) != column(7)?.as_i64_or_null().map_err(|_| "the thread is not a key")? {
        return Err("its thread does not fit its body");
    }
    Ok(Stored {
        entry,
        messages: u32::try_from(messages).map_err(|_| "the number of messages is not one")?,
        prev: prev.try_into().map_err(|_| "the link has the wrong length")?,
        hash: hash.try_into().map_err(|_| "the hash has the wrong length")?,
    })
}

/// Reads the entries that a statement finds, verified one by one, until there are about `bytes` of them.
pub(super) fn page(
    conn: &Connection,
    log: LogId,
    sql: &str,
    params: impl Params,
    bytes: usize,
) -> Known<Vec<Stored>> {
    let failed = |error: rusqlite::Error| Failed::new(format!("cannot read log {log}"), error);
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let (mut found, mut weight) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next().map_err(failed)? {
        let stored = read(row).map_err(failed)?.map_err(Failed::from)?;
        weight = weight.saturating_add(engine::weight(&stored.entry));
        if weight > bytes && !found.is_empty() {
            break;
        }
        found.push(stored);
    }
    Ok(found)
}

/// Checks that a page in ascending order has no hole and that each entry follows from the one before.
pub(super) fn check_chain(stored: &[Stored]) -> Known<()> {
    for pair in stored.windows(2) {
        let [before, after] = pair else { continue };
        let key = key(after.entry.log, after.entry.seq);
        if before.entry.seq.next() != after.entry.seq {
            return Err(Failed::from(Damaged { key, why: "the entry before it is missing" }).into());
        }
        if before.hash != after.prev {
            return Err(
                Failed::from(Damaged { key, why: "it does not follow from the entry before it" }).into()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::MessageBody;
    use rusqlite::types::Value;

    use super::*;

    const COLUMNS: [&str; 11] =
        ["key", "at", "by", "kind", "messages", "client_id", "body", "thread", "prev", "hash", "digest"];

    /// A row as it could come from a damaged disk, without a table that would keep the types of its columns.
    fn row(conn: &Connection, values: &[Value]) -> Result<Stored, Damaged> {
        let marks: Vec<String> = (0..values.len()).map(|at| format!("?{}", at + 1)).collect();
        let mut statement = conn.prepare_cached(&format!("SELECT {}", marks.join(","))).unwrap();
        statement.query_row(rusqlite::params_from_iter(values), read).unwrap()
    }

    /// The view of two tables must not cost more than a look into each: nothing is sorted or read from end to end.
    #[test]
    fn the_view_is_read_by_its_keys() {
        let conn = Connection::open_in_memory().unwrap();
        for migration in [
            include_str!("../../migrations/sqlite/V1__foundation.sql"),
            include_str!("../../migrations/sqlite/V4__entry_tail.sql"),
        ] {
            conn.execute_batch(migration).unwrap();
        }
        for sql in [
            select_entries!("WHERE key = ?"),
            select_entries!("WHERE key > ? AND key <= ? ORDER BY key DESC LIMIT 1"),
            select_entries!("WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"),
            select_entries!("WHERE key >= ? AND key <= ? ORDER BY key"),
            select_entries!("WHERE thread = ? AND key > ? ORDER BY key LIMIT ?"),
            select_entries!("ORDER BY key"),
            from_log_ends!("SELECT (SELECT at FROM entries e WHERE e.key = last.key) FROM last"),
        ] {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let nothing = vec![rusqlite::types::Null; statement.parameter_count()];
            let steps = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3)).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            assert!(steps.iter().any(|step| step.contains("entry_tail_")), "{sql}: {steps:#?}");
            for step in steps {
                let scans = step.starts_with("SCAN")
                    && !step.contains("last")
                    && !sql.ends_with("entries ORDER BY key");
                assert!(!scans && !step.contains("TEMP B-TREE"), "{sql}: {step}");
            }
        }
    }

    /// Whatever stands in a row: it is what was written, or it is damaged; nothing panics.
    #[test]
    fn fuzz_stored_entry() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../migrations/sqlite/V1__foundation.sql")).unwrap();
        conn.execute_batch(include_str!("../../migrations/sqlite/V4__entry_tail.sql")).unwrap();
        let body = MessageBody { text: "Hello, World".to_owned(), number: 3, ..MessageBody::default() };
        let log = LogId::Conversation(ConversationId(7));
        let entry = Entry {
            log,
            seq: Seq(5),
            at: Millis(1_700_000_000_000),
            by: UserId(2),
            client_id: Some("one".to_owned()),
            event: Event::Message(body),
        };
        write(&conn, Spot::Place, &entry, 3, &NO_HASH).unwrap();
        let read_values = |row: &Row<'_>| {
            (0..COLUMNS.len()).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>()
        };
        let genuine = conn.query_row(select_entries!("WHERE key > 0"), [], read_values).unwrap();
        assert_eq!(row(&conn, &genuine).unwrap().entry, entry);
        // A panic fails the test, so nobody looks at the connection after it.
        let row = std::panic::AssertUnwindSafe(|values: &[Value]| row(&conn, values));
        bolero::check!().with_type::<Vec<(u8, u8, i64, Vec<u8>)>>().for_each(|changes| {
            let mut values = genuine.clone();
            for (column, how, number, bytes) in changes {
                let value = &mut values[usize::from(*column) % COLUMNS.len()];
                *value = match (how % 6, &*value) {
                    (0, _) => Value::Null,
                    (1, _) => Value::Integer(*number),
                    (2, _) => Value::Real(*number as f64),
                    (3, _) => Value::Blob(bytes.clone()),
                    (4, Value::Blob(old)) if !old.is_empty() => {
                        let mut old = old.clone();
                        let at = number.unsigned_abs() as usize % old.len();
                        old[at] ^= bytes.first().copied().unwrap_or(1);
                        Value::Blob(old)
                    }
                    _ => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
                };
            }
            if let Ok(stored) = (*row)(&values) {
                assert_eq!((stored.entry, stored.messages, stored.prev), (entry.clone(), 3, NO_HASH));
            }
        });
    }
}
