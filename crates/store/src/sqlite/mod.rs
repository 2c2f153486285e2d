//! The truth in one SQLite file: a single writer, a few readers, cursors in memory.
//!
//! Nothing outside this folder knows SQL. What holds the promises together: one writer thread decides and commits
//! in order ([`queue`], [`writer`]), and tells what is on the disk ([`sync`]); each row carries its check value ([`row`], [`entry`]); the folder is locked, and a full
//! disk is survived ([`files`]).

mod attached;
mod backup;
mod cache;
mod checkpoint;
mod cursors;
mod entry;
mod entry_tail;
mod files;
mod front;
mod keep;
mod look;
mod mark;
mod open;
mod pool;
mod queue;
mod reader;
mod row;
mod scrub;
mod search;
mod sync;
mod tail;
mod telling;
mod view;
mod wal;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chinwag_domain::{Ask, Store, port::Reading, record::Cursor};
use chinwag_protocol::{ConversationId, UserId};
use rusqlite::Connection;

pub use attached::Attached;
pub use backup::{BackupError, Manifest, Restored, Want, backup, restore};
pub use files::OpenError;
pub(crate) use files::private;
pub use open::{Options, SCHEMA, open};
pub use scrub::{Progress, Report, scrub};

use files::Folder;
use front::Front;
use look::{Beside, Look};

/// A store in a data folder. Dropping it finishes what is in the queue, writes the cursors and closes the file.
pub struct SqliteStore {
    front: Front,
    beside: Arc<Beside>,
    /// For cursors that memory does not know yet.
    loader: Mutex<Connection>,
    epoch: String,
    /// Last, so that the lock is held until everything else is closed.
    folder: Folder,
}

impl SqliteStore {
    /// The data folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the search index holds everything committed so far; `false` if that takes longer than
    /// `at_most`. Nothing needs to wait for it: a search looks at what is not indexed too.
    pub fn wait_for_index(&self, at_most: Duration) -> bool {
        self.beside.index.settle(at_most)
    }
}

impl Store for SqliteStore {
    fn transact(&self, ask: Ask) {
        self.front.transact(ask);
    }

    fn read(&self, reading: Reading) {
        self.front.read(reading);
    }

    fn move_cursor(&self, conversation: ConversationId, user: UserId, to: Cursor) -> Cursor {
        let load = || {
            let conn = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
            let look = Look { conn: &conn, beside: &self.beside };
            Ok(look.written_cursor(conversation, user)?.unwrap_or_default())
        };
        self.beside.cursors.move_to((conversation, user), to, load).unwrap_or_else(|stop| {
            tracing::error!(%conversation, %user, error = %stop, "cannot load a cursor");
            self.beside.cursors.advance((conversation, user), to);
            self.beside.cursors.known((conversation, user)).unwrap_or(to)
        })
    }

    fn epoch(&self) -> String {
        self.epoch.clone()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.front.stop_reading();
        self.beside.index.stop();
        self.front.stop_writing();
    }
}
