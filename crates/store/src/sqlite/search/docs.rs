//! The documents in the index, one for each message that is not deleted.
//!
//! Their numbers grow with time, so that a time is found by halving, and the newest come first without sorting.

use std::collections::HashMap;

use chinwag_domain::reading::search::Readable;
use chinwag_protocol::{ConversationId, LogId, Millis, Seq, UserId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{super::entry, gram};

/// A document.
pub(super) struct Doc {
    pub(super) id: i64,
    pub(super) key: i64,
    pub(super) at: Millis,
    pub(super) by: UserId,
    /// Folded.
    pub(super) text: String,
}

/// A select of whole documents, in the order in which [`Doc::read`] expects their columns.
macro_rules! select_docs {
    ($from:literal) => {
        concat!("SELECT d.id, d.key, d.at, d.by, d.text FROM ", $from)
    };
}
pub(super) use select_docs;

impl Doc {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            key: row.get(1)?,
            at: Millis(row.get(2)?),
            by: UserId(row.get(3)?),
            text: row.get(4)?,
        })
    }

    /// Where the message is.
    pub(super) fn place(&self) -> Option<(ConversationId, Seq)> {
        match entry::place(self.key) {
            (LogId::Conversation(conversation), seq) => Some((conversation, seq)),
            _ => None,
        }
    }

    fn tokens(&self) -> String {
        let (conversation, _) = self.place().unwrap_or_default();
        gram::tokens(conversation, self.by, &self.text)
    }
}

/// The number that the next document gets.
pub(super) fn next_id(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT coalesce(max(id), 0) + 1 FROM doc", [], |row| row.get(0))
}

/// The first number whose document is not older than `at`.
pub(super) fn first_since(conn: &Connection, at: Millis) -> rusqlite::Result<i64> {
    let mut next = conn.prepare_cached("SELECT id, at FROM doc WHERE id >= ? ORDER BY id LIMIT 1")?;
    let (mut low, mut high) = (1, next_id(conn)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            next.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((id, found)) if found < at.0 => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The document of a message that was recorded at `at`.
pub(super) fn find(conn: &Connection, key: i64, at: Millis) -> rusqlite::Result<Option<Doc>> {
    let first = first_since(conn, at)?;
    let mut same = conn.prepare_cached(select_docs!("doc d WHERE d.id >= ? ORDER BY d.id"))?;
    let mut rows = same.query([first])?;
    while let Some(row) = rows.next()? {
        let doc = Doc::read(row)?;
        if doc.at > at {
            break;
        }
        if doc.key == key {
            return Ok(Some(doc));
        }
    }
    Ok(None)
}

/// Adds a document.
pub(super) fn add(conn: &Connection, doc: &Doc) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO doc VALUES (?,?,?,?,?)")?
        .execute((doc.id, doc.key, doc.at.0, doc.by.0, &doc.text))?;
    add_grams(conn, doc)
}

/// Gives a document another text, or takes it away; nothing of the old text stays.
pub(super) fn replace(conn: &Connection, old: &Doc, text: Option<String>) -> rusqlite::Result<()> {
    // FTS5 keeps no text: it has to be told what the tokens were.
    conn.prepare_cached("INSERT INTO gram(gram, rowid, tokens) VALUES ('delete', ?, ?)")?
        .execute((old.id, old.tokens()))?;
    match text {
        None => conn.prepare_cached("DELETE FROM doc WHERE id = ?")?.execute([old.id]).map(drop),
        Some(text) => {
            conn.prepare_cached("UPDATE doc SET text = ? WHERE id = ?")?.execute((&text, old.id))?;
            add_grams(conn, &Doc { text, ..*old })
        }
    }
}

fn add_grams(conn: &Connection, doc: &Doc) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO gram(rowid, tokens) VALUES (?,?)")?
        .execute((doc.id, doc.tokens()))
        .map(drop)
}

/// Notes up to where a conversation is indexed.
pub(super) fn set_mark(conn: &Connection, conversation: ConversationId, seq: Seq) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO mark VALUES (?,?)")?
        .execute((conversation.0, seq.0))
        .map(drop)
}

/// Up to where a conversation is indexed.
pub(super) fn mark(conn: &Connection, conversation: ConversationId) -> rusqlite::Result<Seq> {
    let found = conn
        .prepare_cached("SELECT seq FROM mark WHERE conversation = ?")?
        .query_row([conversation.0], |row| row.get(0))
        .optional()?;
    Ok(Seq(found.unwrap_or(0)))
}

/// All marks.
pub(super) fn marks(conn: &Connection) -> rusqlite::Result<HashMap<ConversationId, Seq>> {
    conn.prepare("SELECT conversation, seq FROM mark")?
        .query_map([], |row| Ok((ConversationId(row.get(0)?), Seq(row.get(1)?))))?
        .collect()
}

/// The marks of some conversations.
pub(super) fn marks_of(
    conn: &Connection,
    readable: &[Readable],
) -> rusqlite::Result<HashMap<ConversationId, Seq>> {
    readable.iter().map(|part| Ok((part.conversation, mark(conn, part.conversation)?))).collect()
}
