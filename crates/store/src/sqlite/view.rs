//! How a reader looks at the database: over a connection that cannot change anything, inside one transaction.

use std::{path::Path, sync::Arc};

use chinwag_domain::{Failed, Reader};
use rusqlite::{Connection, OpenFlags};

use super::{
    look::{Beside, Look},
    pool,
};

/// A connection that cannot change anything.
pub(super) fn read_only(file: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.set_prepared_statement_cache_capacity(128);
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -16000; PRAGMA trusted_schema = OFF;")?;
    Ok(conn)
}

/// See the module.
pub(super) struct View {
    conn: Connection,
    beside: Arc<Beside>,
}

impl View {
    pub(super) fn open(file: &Path, beside: &Arc<Beside>) -> rusqlite::Result<Self> {
        Ok(Self { conn: read_only(file)?, beside: beside.clone() })
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Decides which commits are seen. Beginning a transaction alone does not.
    fn see(&self) -> rusqlite::Result<()> {
        self.conn.prepare_cached("SELECT 1 FROM meta LIMIT 1")?.query([])?.next().map(drop)
    }
}

impl pool::View for View {
    fn begin(&self) -> Result<(), Failed> {
        let begun = self.execute("BEGIN").and_then(|()| self.see());
        begun.map_err(|error| Failed::new("cannot begin to read", error))
    }

    fn reader(&self) -> impl Reader {
        Look { conn: &self.conn, beside: &self.beside }
    }

    fn end(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.execute("COMMIT")
        {
            tracing::error!(%error, "cannot end a reading");
        }
    }

    fn slim(&self) {
        if let Err(error) = self.conn.execute_batch("PRAGMA shrink_memory") {
            tracing::debug!(%error, "a reader keeps its pages in memory");
        }
    }
}
