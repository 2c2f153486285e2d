//! Entries that are not yet at their place in the table `entry`.
//!
//! A row of `entry` stands behind the others of its log, so a batch that writes to a thousand logs changes a thousand
//! pages, and SQLite moves rows between neighbours at every third of them. Such a batch appends its entries to the
//! table `entry_tail` instead. By the thousand they are copied to `entry` in the order of their keys, so that those of
//! one log share a page; a piece at a time, each piece within some transaction. When all of them are there, the tail
//! is emptied as a whole.
//!
//! Whoever reads asks the view `entries`, which shows a row of the tail only while `entry` has none under its key: at
//! any instant, and after any crash, each entry is there once. So what follows here decides only what is quick.
//! Whoever rolls a transaction back says so by [`EntryTail::forget`].

use std::collections::HashSet;

use chinwag_domain::{Failed, Known};
use chinwag_protocol::{LogId, Seq};
use rusqlite::{Connection, OptionalExtension};

use super::{
    entry::{self, Spot},
    row::run,
};

/// So many are moved together. The more, the more of them share a page.
const FULL: usize = 32_768;

/// With nothing else to do, so many are enough.
const FULL_IDLE: usize = 1_024;

/// At least so many are moved in one piece. While a move goes on, new entries of logs that it is done with have to go
/// to their places at once, so it should not take long.
const PIECE: usize = 4_096;

/// See the module.
pub(super) struct EntryTail {
    full: usize,
    /// After a batch of so many entries, the next one may use the tail.
    busy: usize,
    /// How many rows there are, if that was found out yet.
    rows: Option<usize>,
    /// Up to which key they were moved, while a move is going on.
    moved: Option<i64>,
    /// Rows that came since the last piece.
    added: usize,
    /// Whether the open batch uses the tail.
    is_open: bool,
    /// What the open batch wrote: entries, and to which logs.
    written: usize,
    logs: HashSet<LogId>,
}

impl EntryTail {
    /// Moves as soon as there are `full`, if that is fewer than usual.
    pub(super) fn new(full: usize, busy: usize) -> Self {
        Self {
            full: full.min(FULL),
            busy,
            rows: None,
            moved: None,
            added: 0,
            is_open: false,
            written: 0,
            logs: HashSet::new(),
        }
    }

    /// A transaction was rolled back.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.full, self.busy);
    }

    /// A transaction of requests begins.
    pub(super) fn begin(&mut self) {
        // The last one says what this one will be like. With several entries for each log their places are as good.
        let is_scattered = self.written < 2 * self.logs.len();
        self.is_open = self.written >= self.busy && is_scattered;
        self.written = 0;
        self.logs.clear();
    }

    /// Where the next entry is to be written.
    pub(super) fn spot_for(&mut self, log: LogId, seq: Seq) -> Spot {
        self.written += 1;
        self.logs.insert(log);
        // Behind a move nothing may be left, for the tail is emptied at its end.
        if !self.is_open || self.moved.is_some_and(|moved| entry::key(log, seq) <= moved) {
            return Spot::Place;
        }
        self.added += 1;
        self.rows = self.rows.map(|rows| rows + 1);
        Spot::Tail
    }

    /// Whether there is something to move; `idle`: with nothing else to do.
    pub(super) fn is_due(&self, idle: bool) -> bool {
        let full = if idle { self.full.min(FULL_IDLE) } else { self.full };
        self.moved.is_some() || self.rows.is_none_or(|rows| rows >= full)
    }

    /// Moves a piece, inside the open transaction: more than was added since the last one, so that it comes to an end.
    pub(super) fn move_piece(&mut self, conn: &Connection, idle: bool) -> Known<()> {
        let failed = |error: rusqlite::Error| Failed::new("cannot read what was written lately", error);
        if self.rows.is_none() {
            let rows: u32 =
                conn.query_row("SELECT count(*) FROM entry_tail", [], |row| row.get(0)).map_err(failed)?;
            self.rows = Some(rows as usize);
            if !self.is_due(idle) {
                return Ok(());
            }
        }
        // What came before the move began is what it is about.
        let added = if self.moved.is_some() { self.added } else { 0 };
        let most = PIECE.min(self.full.div_ceil(4)).max(2 * added);
        self.added = 0;
        let after = self.moved.unwrap_or(0);
        let up_to: Option<i64> = conn
            .prepare_cached("SELECT key FROM entry_tail WHERE key > ? ORDER BY key LIMIT 1 OFFSET ?")
            .and_then(|mut statement| {
                statement.query_row((after, (most - 1) as i64), |row| row.get(0)).optional()
            })
            .map_err(failed)?;
        // Some may be there already, from a move that a crash interrupted. Whatever else keeps a row from being copied
        // keeps the tail from being emptied.
        let sql = "INSERT INTO entry
            SELECT key, at, by, kind, messages, client_id, body, thread, prev, hash, digest FROM entry_tail
            WHERE key > ? AND key <= ? ORDER BY key
            ON CONFLICT (key) DO NOTHING";
        run(conn, sql, (after, up_to.unwrap_or(i64::MAX)))?;
        self.moved = up_to;
        if up_to.is_none() {
            run(conn, "DELETE FROM entry_tail", [])?;
            self.rows = Some(0);
        }
        Ok(())
    }
}
