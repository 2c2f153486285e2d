//! What was sent lately: commands that are remembered, but not yet at their place in the table `sent`.
//!
//! A commit appends them to the table `sent_tail`, in the same transaction as their entries, and all of them are
//! known in memory too. By the thousand they are moved to `sent`, sorted, so that those of one author share a page;
//! a piece at a time, each piece within some transaction. A row leaves the tail only when it stands in `sent`, so at
//! any instant, and after any crash, each command is found in one of them.
//!
//! Whoever rolls a transaction back says so by [`Tail::forget`]: what is known is then read from the table again.

use std::{collections::HashMap, sync::Arc, vec};

use chinwag_domain::{Failed, Known, record::Sent};
use chinwag_protocol::UserId;
use rusqlite::{Connection, Row};

use super::row::{self, add, int, json, put, run, text};

/// So many are moved together. The more, the more of them share a page; all of them are read at the next start.
const FULL: usize = 16_384;

/// With nothing else to do, so many are enough.
const FULL_IDLE: usize = 1_024;

/// At least so many are moved in one piece, unless there are few to move.
const PIECE: usize = 128;
const PIECE_IDLE: usize = 1_024;

/// See the module.
pub(super) struct Tail {
    full: usize,
    /// What the table holds and `sent` does not; nothing before it was asked for.
    known: Option<HashMap<(UserId, String), Arc<Sent>>>,
    /// The first row that there may be, and the last.
    first: i64,
    last: i64,
    moving: Option<Moving>,
    /// Rows that came since the last piece.
    added: usize,
}

/// A move that is going on: of all rows up to one of them.
struct Moving {
    up_to: i64,
    /// Those that are still to be moved, sorted.
    rest: vec::IntoIter<Arc<Sent>>,
}

impl Tail {
    /// Knows nothing yet. Moves as soon as there are `full`, if that is fewer than usual.
    pub(super) fn new(full: usize) -> Self {
        Self { full: full.min(FULL), known: None, first: 1, last: 0, moving: None, added: 0 }
    }

    /// A transaction was rolled back.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.full);
    }

    /// A command that was sent lately.
    pub(super) fn find(
        &mut self,
        conn: &Connection,
        user: UserId,
        client_id: &str,
    ) -> Known<Option<Arc<Sent>>> {
        Ok(self.load(conn)?.get(&(user, client_id.to_owned())).cloned())
    }

    /// Remembers a command, inside the open transaction.
    pub(super) fn add(&mut self, conn: &Connection, sent: &Arc<Sent>) -> Known<()> {
        self.load(conn)?;
        let told = json(&sent.told)?;
        let (user, body) = (int(sent.user.0), int(sent.body.cast_signed()));
        put(conn, &row::SENT_TAIL, &[int(self.last + 1), user, text(&sent.client_id), body, text(&told)])?;
        self.last += 1;
        self.added += 1;
        self.load(conn)?.insert((sent.user, sent.client_id.clone()), sent.clone());
        Ok(())
    }

    /// Whether there is something to move; `idle`: with nothing else to do.
    pub(super) fn is_due(&self, idle: bool) -> bool {
        let full = if idle { self.full.min(FULL_IDLE) } else { self.full };
        self.moving.is_some() || self.known.as_ref().is_some_and(|known| known.len() >= full)
    }

    /// Moves a piece, inside the open transaction: more than was added since the last one, so that it comes to an end.
    pub(super) fn move_piece(&mut self, conn: &Connection, idle: bool) -> Known<()> {
        let least = (if idle { PIECE_IDLE } else { PIECE }).min(self.full.div_ceil(8));
        let added = std::mem::take(&mut self.added);
        // What came before the move began is what it is about.
        let most = if self.moving.is_some() { least.max(3 * added) } else { least };
        self.load(conn)?;
        let known = self.known.get_or_insert_default();
        let moving = self.moving.get_or_insert_with(|| {
            let mut all: Vec<Arc<Sent>> = known.values().cloned().collect();
            all.sort_unstable_by(|one, other| {
                (one.user, &one.client_id).cmp(&(other.user, &other.client_id))
            });
            Moving { up_to: self.last, rest: all.into_iter() }
        });
        let mut moved = 0;
        for sent in moving.rest.by_ref().take(most) {
            let (user, body) = (int(sent.user.0), int(sent.body.cast_signed()));
            // What a crash left there is the same row.
            add(conn, &row::SENT, &[user, text(&sent.client_id), body, text(&json(&sent.told)?)])?;
            known.remove(&(sent.user, sent.client_id.clone()));
            moved += 1;
        }
        if moved < most {
            // All of them are at their places. Those that a crash left in both tables go with the others.
            let up_to = moving.up_to.min(self.first + (4 * most) as i64);
            run(conn, "DELETE FROM sent_tail WHERE id <= ?", [up_to])?;
            self.first = up_to + 1;
            if up_to == moving.up_to {
                self.moving = None;
                // A map does not become smaller by itself.
                known.shrink_to(self.full);
            }
        }
        Ok(())
    }

    fn load(&mut self, conn: &Connection) -> Known<&mut HashMap<(UserId, String), Arc<Sent>>> {
        if self.known.is_none() {
            let (mut known, mut damaged) = (HashMap::new(), Vec::new());
            (self.first, self.last) = (1, 0);
            rows(conn, |row| {
                let id = row.get(0)?;
                if self.last == 0 {
                    self.first = id;
                }
                self.last = id;
                match row::is_sound(&row::SENT_TAIL, row)?.then(|| read(row)) {
                    Some(Ok(sent)) => drop(known.insert((sent.user, sent.client_id.clone()), Arc::new(sent))),
                    _ => damaged.push(id),
                }
                Ok(())
            })
            .map_err(|error| Failed::new("cannot read what was sent lately", error))?;
            for id in damaged {
                tracing::error!(id, "a row of what was sent lately is damaged");
                // There it is found damaged too, and what it stood for is not done a second time.
                let sql = "INSERT OR IGNORE INTO sent SELECT user, client_id, body, reply, sum FROM sent_tail
                    WHERE id = ?";
                run(conn, sql, [id])?;
            }
            self.known = Some(known);
        }
        Ok(self.known.get_or_insert_default())
    }
}

fn rows(conn: &Connection, mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("SELECT * FROM sent_tail ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(row)?;
    }
    Ok(())
}

/// The command in a row of the tail.
pub(super) fn read(row: &Row<'_>) -> Known<Sent> {
    Ok(Sent {
        user: UserId(row::number(row, 1)?),
        client_id: row::number(row, 2)?,
        body: row::number::<i64>(row, 3)?.cast_unsigned(),
        told: row::record(&row::SENT_TAIL, row)?,
    })
}
