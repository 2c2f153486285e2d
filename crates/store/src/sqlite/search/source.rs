//! The store as the thread of the index reads it: logs from a number on, and the present text of a message.

use std::path::Path;

use chinwag_domain::{Failed, record::Overlay};
use chinwag_protocol::{ConversationId, Event, LogId, Millis, Seq};
use rusqlite::{Connection, OptionalExtension};

use super::super::{
    entry::{self, Stored, from_log_ends, select_entries},
    row,
    view::read_only,
};
use crate::engine;

/// How many entries are read together.
const PAGE: usize = 1_000;

/// See the module.
pub(super) struct Source {
    conn: Connection,
}

/// The store could not be read.
pub(super) struct Unreadable(pub(super) rusqlite::Error);

impl From<rusqlite::Error> for Unreadable {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

/// The key of an entry, and the entry unless it is damaged.
pub(super) type Row = (i64, Option<Stored>);

/// When an entry was recorded, and its key.
pub(super) type Next = (Millis, i64);

impl Source {
    pub(super) fn open(file: &Path) -> Result<Self, Unreadable> {
        Ok(Self { conn: read_only(file)? })
    }

    /// Gives back pages that are held in memory.
    pub(super) fn slim(&self) -> rusqlite::Result<()> {
        self.conn.execute_batch("PRAGMA shrink_memory")
    }

    /// The last number of each conversation: one step for each log, however long it is.
    pub(super) fn heads(&self) -> Result<Vec<(ConversationId, Seq)>, Unreadable> {
        let mut statement =
            self.conn.prepare_cached(from_log_ends!("SELECT key FROM last WHERE key IS NOT NULL"))?;
        let mut rows = statement.query([])?;
        let mut heads = Vec::new();
        while let Some(row) = rows.next()? {
            if let (LogId::Conversation(conversation), head) = entry::place(row.get(0)?) {
                heads.push((conversation, head));
            }
        }
        Ok(heads)
    }

    /// When the first entry after a number was recorded, and its key.
    pub(super) fn next(&self, conversation: ConversationId, after: Seq) -> Result<Option<Next>, Unreadable> {
        let log = LogId::Conversation(conversation);
        let range = [entry::key(log, after), entry::key(log, Seq(u32::MAX))];
        let found = self
            .conn
            .prepare_cached("SELECT at, key FROM entries WHERE key > ? AND key <= ? ORDER BY key LIMIT 1")?
            .query_row(range, |row| Ok((Millis(row.get(0)?), row.get(1)?)))
            .optional()?;
        Ok(found)
    }

    /// Entries of a log from one key to another, as long as they come before `bound`, at most about a page; the
    /// first in any case. Also where the rest begins. A damaged entry is reported and left empty.
    ///
    /// Nothing is held open between two pages: a reader that stays would keep the store's own log from beginning
    /// anew.
    pub(super) fn page(
        &self,
        from: i64,
        to: i64,
        bound: Option<Next>,
    ) -> Result<(Vec<Row>, Option<Next>), Unreadable> {
        // All of them were committed before; should they be moved now, they are placed all the more.
        let sql = if entry::are_placed(&self.conn, from, to)? {
            select_entries!(placed "WHERE key >= ? AND key <= ? ORDER BY key")
        } else {
            select_entries!("WHERE key >= ? AND key <= ? ORDER BY key")
        };
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([from, to])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let (key, at) = (row.get(0)?, Millis(row.get(1)?));
            let is_full = page.len() >= PAGE || bytes >= engine::PAGE_BYTES;
            if key != from && (is_full || bound.is_some_and(|bound| (at, key) >= bound)) {
                return Ok((page, Some((at, key))));
            }
            // Turning it into trouble reports it.
            let stored = entry::read(row)?.map_err(Failed::from).ok();
            bytes += stored.as_ref().map_or(0, |stored| engine::weight(&stored.entry));
            page.push((key, stored));
        }
        Ok((page, None))
    }

    /// When a message was recorded, and its text now; no text if it was deleted or cannot be read.
    pub(super) fn message(&self, key: i64) -> Result<Option<(Millis, Option<String>)>, Unreadable> {
        let stored = self.page(key, key, None)?.0.pop().and_then(|(_, stored)| stored);
        Ok(stored.map(|stored| (stored.entry.at, self.text(&stored))))
    }

    /// The text of a message now; none if it was deleted, cannot be read, or is no message.
    pub(super) fn text(&self, stored: &Stored) -> Option<String> {
        let Event::Message(body) = &stored.entry.event else { return None };
        let key = entry::key(stored.entry.log, stored.entry.seq);
        let sql = "SELECT * FROM overlay WHERE key = ?";
        let what = format_args!("what became of message {} of log {}", stored.entry.seq, stored.entry.log);
        let overlay: Option<Overlay> = match row::one(&self.conn, &row::OVERLAY, sql, [key], what, |row| {
            row::record(&row::OVERLAY, row)
        }) {
            Ok(overlay) => overlay,
            Err(error) => {
                tracing::error!(%error, "a message is left out of the search index");
                return None;
            }
        };
        match overlay {
            Some(overlay) if overlay.state.deleted => None,
            Some(overlay) => Some(overlay.state.text.as_deref().unwrap_or(&body.text).to_owned()),
            None => Some(body.text.clone()),
        }
    }
}
