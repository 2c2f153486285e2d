//! Looking for damage: everything in a store is read and verified, whether or not somebody asks for it.
//!
//! It changes nothing, and runs on a stopped store or beside a running server. It does not repair: what is damaged
//! is named, so that it can be taken from a backup.

use std::path::Path;

use chinwag_protocol::{FileId, Millis};
use rusqlite::{Connection, Row};
use sha2::{Digest, Sha256};

use super::{
    attached,
    entry::{self, NO_HASH, Stored, select_entries},
    files::OpenError,
    open::check_version,
    row::{self, META, TABLES, Table},
    view::read_only,
    wal::{self, End},
};
use crate::objects::{self, ObjectError};

/// At most so many findings of one kind are named.
const NAMED_MAX: usize = 1_000;

/// What a scrub came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries that were looked at.
    pub entries: u64,
    /// Records that were looked at.
    pub records: u64,
    /// When the last entry was made.
    pub last_at: Millis,
    /// A digest over everything that was looked at, but not over the name of the store: a store and its backup have
    /// the same one, and what differs anywhere has another.
    pub contents: String,
    /// Each damaged thing, by its name. Empty: the store is as it was written.
    pub findings: Vec<String>,
    /// What is no damage, but worth knowing.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, what: String) {
        if self.findings.len() < NAMED_MAX {
            self.findings.push(what);
        }
    }
}

/// How far a scrub is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being looked at.
    pub what: &'static str,
    /// How many rows of it were looked at.
    pub rows: u64,
}

/// Verifies the store in a data folder.
pub fn scrub(folder: &Path, mut progress: impl FnMut(Progress)) -> Result<Report, OpenError> {
    let file = folder.join("chinwag.db");
    if !file.exists() {
        return Err(OpenError::Missing { file });
    }
    let mut report = Report::default();
    match check_version(&file) {
        Ok(()) => {}
        Err(newer @ OpenError::Newer { .. }) => return Err(newer),
        // A header that is not one may be a damaged one.
        Err(other) => report.find(other.to_string()),
    }
    // Before SQLite looks at it: it takes what is damaged for the end, and may begin the log anew.
    match wal::lasting_end(&file) {
        Some(End::Damaged(why)) => report.find(why),
        Some(End::Unsynced(why)) => report.notes.push(why),
        None => {}
    }
    match read_only(&file).and_then(|conn| conn.execute_batch("BEGIN").map(|()| conn)) {
        Ok(conn) => {
            look(&conn, &mut report, &mut progress);
            if let Err(error) = files(&conn, folder, &mut report, &mut progress) {
                report.find(format!("the files cannot be compared: {error}"));
            }
        }
        Err(error) => report.find(format!("the file cannot be read: {error}")),
    }
    Ok(report)
}

/// Verifies what a connection shows, over one state of it.
pub(super) fn look(conn: &Connection, report: &mut Report, progress: &mut dyn FnMut(Progress)) {
    let mut contents = Sha256::new();
    progress(Progress { what: "pages", rows: 0 });
    if let Err(error) = pages(conn, report) {
        report.find(format!("the pages of the file cannot be checked: {error}"));
    }
    if let Err(error) = entries(conn, &mut contents, report, progress) {
        report.find(format!("table entry cannot be read to its end: {error}"));
    }
    for table in TABLES {
        if let Err(error) = records(conn, table, &mut contents, report, progress) {
            report.find(format!("table {} cannot be read to its end: {error}", table.name));
        }
    }
    if let Err(error) = counts(conn, report) {
        report.find(format!("the counts cannot be compared: {error}"));
    }
    report.contents = hex(contents);
}

/// Every file that somebody holds: that it is there, and genuine.
fn files(
    conn: &Connection,
    folder: &Path,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> rusqlite::Result<()> {
    let objects = objects::look_at(folder);
    let mut count = 0;
    attached::held(conn, |file, size| {
        count += 1;
        progress(Progress { what: "files", rows: count });
        match objects::verify(&objects, file, size) {
            Ok(()) => {}
            // Beside a running server its last message may have been deleted meanwhile.
            Err(ObjectError::Missing(_)) if !is_held(folder, file)? => {}
            Err(error) => report.find(error.to_string()),
        }
        Ok(())
    })
}

/// Whether somebody holds a file now, whatever was so when the scrub began.
fn is_held(folder: &Path, file: FileId) -> rusqlite::Result<bool> {
    let now = read_only(&folder.join("chinwag.db"))?;
    now.query_row("SELECT EXISTS (SELECT 1 FROM holding WHERE file = ?)", [&file.0[..]], |row| row.get(0))
}

/// A digest as people compare it.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes a whole row into a digest.
fn absorb(contents: &mut Sha256, row: &Row<'_>, columns: usize) -> rusqlite::Result<()> {
    (0..columns).try_for_each(|index| {
        row::absorb(contents, row.get_ref(index)?);
        Ok(())
    })
}

/// The structure of the file: pages, trees and indexes.
fn pages(conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA integrity_check(100)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let said: String = row.get(0)?;
        if said != "ok" {
            report.find(format!("the file's structure: {said}"));
        }
    }
    Ok(())
}

/// Every entry: its hash, the chain, the numbers, the count of messages.
fn entries(
    conn: &Connection,
    contents: &mut Sha256,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(select_entries!("ORDER BY key"))?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut before: Option<Stored> = None;
    while let Some(row) = rows.next()? {
        report.entries += 1;
        absorb(contents, row, columns)?;
        if report.entries.is_multiple_of(10_000) {
            progress(Progress { what: "entries", rows: report.entries });
        }
        match entry::read(row)? {
            Ok(stored) => {
                for why in faults(before.as_ref(), &stored) {
                    report.find(format!("entry {} of log {}: {why}", stored.entry.seq, stored.entry.log));
                }
                report.last_at = report.last_at.max(stored.entry.at);
                before = Some(stored);
            }
            Err(damaged) => {
                let (log, seq) = entry::place(damaged.key);
                report.find(format!("entry {seq} of log {log}: {}", damaged.why));
                // The next one cannot be compared with it, but its own hash still says whether it is genuine.
                before = None;
            }
        }
    }
    Ok(())
}

/// What does not fit between an entry and the row before it.
fn faults(before: Option<&Stored>, stored: &Stored) -> Vec<&'static str> {
    let is_message = u32::from(matches!(stored.entry.event, chinwag_protocol::Event::Message(_)));
    let mut faults = Vec::new();
    match before.filter(|before| before.entry.log == stored.entry.log) {
        Some(before) => {
            if before.entry.seq.next() != stored.entry.seq {
                faults.push("the entry before it is missing");
            } else if before.hash != stored.prev {
                faults.push("it does not follow from the entry before it");
            }
            if before.messages + is_message != stored.messages {
                faults.push("its count of messages does not fit");
            }
            if before.entry.at > stored.entry.at {
                faults.push("it is older than the entry before it");
            }
        }
        // After a damaged entry there is nothing to compare with.
        None if before.is_none() && stored.entry.seq.0 > 1 => {}
        None if stored.entry.seq.0 != 1 => faults.push("the entries before it are missing"),
        None if stored.prev != NO_HASH => faults.push("it is the first but follows from another"),
        None => {}
    }
    if let chinwag_protocol::Event::Message(body) = &stored.entry.event
        && body.number != stored.messages
    {
        faults.push("its number among the messages does not fit");
    }
    faults
}

/// Every row of a table of records.
fn records(
    conn: &Connection,
    table: &'static Table,
    contents: &mut Sha256,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(&format!("SELECT * FROM {}", table.name))?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        report.records += 1;
        if table.name != META.name {
            contents.update(table.name);
            absorb(contents, row, table.columns)?;
        }
        if count % 10_000 == 0 {
            progress(Progress { what: table.name, rows: count });
        }
        if !row::is_sound(table, row)? {
            report.find(format!("table {}: the row {} is damaged", table.name, key_of(row)));
        }
    }
    Ok(())
}

/// What a row is called in a report: its first column, where that is a number or a name.
fn key_of(row: &Row<'_>) -> String {
    match row.get_ref(0) {
        Ok(rusqlite::types::ValueRef::Integer(number)) => number.to_string(),
        Ok(rusqlite::types::ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => "without a readable key".to_owned(),
    }
}

/// Counts that records keep of other records: a row that is missing altogether has no check value to fail.
fn counts(conn: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let compared = [
        (
            "conversation",
            "SELECT c.id, json_extract(c.record, '$.members'),
                (SELECT count(*) FROM member m WHERE m.conversation = c.id AND m.standing = 0)
            FROM conversation c",
        ),
        (
            "user",
            "SELECT u.id, json_extract(u.record, '$.conversations'),
                (SELECT count(*) FROM member m WHERE m.user = u.id AND m.standing = 0)
            FROM user u",
        ),
    ];
    for (what, sql) in compared {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, kept, counted): (i64, Option<i64>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if kept != Some(counted) {
                report.find(format!(
                    "{what} {id}: it should have {} memberships but has {counted}",
                    kept.unwrap_or(-1)
                ));
            }
        }
    }
    Ok(())
}
