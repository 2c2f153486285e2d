//! The store as the thread of the index reads it: logs from a number on, and the present text of a message.

use std::path::Path;

use chinwag_domain::{Failed, record::Overlay};
use chinwag_protocol::{ConversationId, Event, LogId, Millis, Seq};
use rusqlite::{Connection, OptionalExtension};

use super::super::{
    entry::{self, Stored, select_entries},
    pool::read_only,
    row,
};

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

/// When an entry was recorded, and its key.
pub(super) type Next = (Millis, i64);

impl Source {
    pub(super) fn open(file: &Path) -> Result<Self, Unreadable> {
        Ok(Self { conn: read_only(file)? })
    }

    /// From here on everything is read as it is now.
    pub(super) fn begin(&self) -> Result<(), Unreadable> {
        Ok(self.conn.execute_batch("BEGIN")?)
    }

    pub(super) fn end(&self) -> Result<(), Unreadable> {
        Ok(self.conn.execute_batch("COMMIT")?)
    }

    /// The last number of each conversation: one step for each log, however long it is.
    pub(super) fn heads(&self) -> Result<Vec<(ConversationId, Seq)>, Unreadable> {
        let mut statement = self.conn.prepare_cached(
            "WITH RECURSIVE last(key) AS (
                SELECT max(key) FROM entry
                UNION ALL
                SELECT (SELECT max(key) FROM entry WHERE key < ((last.key >> 32) << 32)) FROM last
                WHERE last.key IS NOT NULL
            )
            SELECT key FROM last WHERE key IS NOT NULL",
        )?;
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
            .prepare_cached("SELECT at, key FROM entry WHERE key > ? AND key <= ? ORDER BY key LIMIT 1")?
            .query_row(range, |row| Ok((Millis(row.get(0)?), row.get(1)?)))
            .optional()?;
        Ok(found)
    }

    /// Goes through a log from one key to another, until `go_on` says no; answers where it said so. A damaged entry
    /// is reported and passed over.
    pub(super) fn walk<E: From<Unreadable>>(
        &self,
        from: i64,
        to: i64,
        mut go_on: impl FnMut(Millis, i64) -> bool,
        mut take: impl FnMut(i64, Option<Stored>) -> Result<(), E>,
    ) -> Result<Option<Next>, E> {
        let sql = select_entries!("WHERE key >= ? AND key <= ? ORDER BY key");
        let mut statement = self.conn.prepare_cached(sql).map_err(Unreadable)?;
        let mut rows = statement.query([from, to]).map_err(Unreadable)?;
        while let Some(row) = rows.next().map_err(Unreadable)? {
            let (key, at) = (row.get(0).map_err(Unreadable)?, Millis(row.get(1).map_err(Unreadable)?));
            if !go_on(at, key) {
                return Ok(Some((at, key)));
            }
            // Turning it into trouble reports it.
            take(key, entry::read(row).map_err(Unreadable)?.map_err(Failed::from).ok())?;
        }
        Ok(None)
    }

    /// When a message was recorded, and its text now; no text if it was deleted or cannot be read.
    pub(super) fn message(&self, key: i64) -> Result<Option<(Millis, Option<String>)>, Unreadable> {
        let mut found = None;
        let take = |_, stored| {
            found = stored;
            Ok::<(), Unreadable>(())
        };
        self.walk(key, key, |_, _| true, take)?;
        Ok(found.map(|stored| (stored.entry.at, self.text(&stored))))
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
