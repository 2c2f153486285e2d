//! The file of the index: made, opened and thrown away. It can always be made anew from the logs, so whatever is
//! wrong with it is answered by deleting it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::super::files;

/// Changes when an older index can no longer be used; what counts as a letter is part of it.
fn version() -> String {
    let (major, minor, _) = char::UNICODE_VERSION;
    format!("1 unicode {major}.{minor}")
}

/// Documents have numbers that grow with the time at which their messages were recorded.
const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE mark (conversation INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
    CREATE TABLE doc (
        id INTEGER PRIMARY KEY,
        key INTEGER NOT NULL,
        at INTEGER NOT NULL,
        by INTEGER NOT NULL,
        text TEXT NOT NULL
    ) STRICT;
    CREATE VIRTUAL TABLE gram USING fts5(tokens, content='', columnsize=0, detail=none, tokenize='ascii');
    INSERT INTO gram(gram, rank) VALUES ('secure-delete', 1);
    INSERT INTO gram(gram, rank) VALUES ('hashsize', 8388608);
";

/// Where the index is, and to which store it belongs.
pub(super) struct Place {
    file: PathBuf,
    epoch: String,
    pages_max: Option<u32>,
}

impl Place {
    pub(super) fn new(file: &Path, epoch: &str, pages_max: Option<u32>) -> Self {
        Self { file: file.to_owned(), epoch: epoch.to_owned(), pages_max }
    }

    /// Opens the index for writing if it is one of this version and this store.
    pub(super) fn open(&self) -> rusqlite::Result<Option<Connection>> {
        if !self.file.exists() {
            return Ok(None);
        }
        let conn = self.connect()?;
        let value = |name: &str| {
            conn.query_row("SELECT value FROM meta WHERE name = ?", [name], |row| row.get::<_, String>(0))
        };
        let fits = value("version")? == version() && value("epoch")? == self.epoch;
        Ok(fits.then_some(conn))
    }

    /// Deletes what is there and begins an empty index.
    pub(super) fn renew(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        self.delete()?;
        files::touch(&self.file)?;
        let mut conn = self.connect()?;
        let transaction = conn.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.execute("INSERT INTO meta VALUES ('version', ?)", [version()])?;
        transaction.execute("INSERT INTO meta VALUES ('epoch', ?)", [&self.epoch])?;
        transaction.commit()?;
        Ok(conn)
    }

    /// Opens the index for searching.
    pub(super) fn reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.file, flags)?;
        conn.execute_batch(
            "PRAGMA query_only = ON; PRAGMA cache_size = -8000; PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON; PRAGMA busy_timeout = 50;",
        )?;
        Ok(conn)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(
            &self.file,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        // NORMAL: after a power cut the last transactions may be missing, and with them their marks.
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON;
             PRAGMA cache_size = -16000; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;
             PRAGMA trusted_schema = OFF; PRAGMA busy_timeout = 50;",
        )?;
        if let Some(pages) = self.pages_max {
            conn.pragma_update(None, "max_page_count", pages)?;
        }
        Ok(conn)
    }

    fn delete(&self) -> io::Result<()> {
        let name = self.file.as_os_str();
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = name.to_owned();
            path.push(end);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether trouble means that there is no room, which passes, and not that the file is no good.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    let codes = error.sqlite_error().map(|error| (error.code, error.extended_code));
    matches!(codes, Some((rusqlite::ErrorCode::DiskFull, _) | (_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE)))
}

/// Whether somebody is only in the way for a moment.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error().map(|error| error.code),
        Some(
            rusqlite::ErrorCode::DatabaseBusy
                | rusqlite::ErrorCode::DatabaseLocked
                | rusqlite::ErrorCode::OperationInterrupted
        )
    )
}
