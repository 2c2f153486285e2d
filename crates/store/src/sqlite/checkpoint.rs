//! Copying the write-ahead log into the file, beside the writer.
//!
//! A thread with a connection of its own copies what was committed until it began; the writer goes on meanwhile. It
//! never waits for anybody. SQLite's own automatic checkpoint would hide a failed sync; here it ends the process. In
//! between it brings to disk what is noted about the log.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::{Connection, MAIN_DB, OpenFlags, wal::CheckpointMode};

use super::{mark::Marks, queue::Trouble, sync::Fatal, writer::trouble_in};
use crate::engine;

/// How often what is noted about the log is brought to disk.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Checkpointer {
    orders: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    is_working: Arc<AtomicBool>,
}

impl Checkpointer {
    pub(super) fn start(file: &Path, fatal: Arc<Fatal>, marks: Arc<Marks>) -> rusqlite::Result<Self> {
        let conn = Connection::open_with_flags(
            file,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        conn.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 16;",
        )?;
        let (orders, waiting) = bounded(1);
        let is_working = Arc::new(AtomicBool::new(false));
        let working = is_working.clone();
        let thread = std::thread::Builder::new().name("checkpoint".into());
        let run = move || run(&conn, &waiting, &working, &fatal, &marks);
        let thread = thread.spawn(run).expect("a thread can be started");
        Ok(Self { orders: Some(orders), thread: Some(thread), is_working })
    }

    pub(super) fn is_working(&self) -> bool {
        self.is_working.load(Ordering::Acquire)
    }

    /// Begins to copy what is committed until now, unless it is at work.
    pub(super) fn begin(&self) {
        if let Some(orders) = &self.orders
            && !self.is_working.swap(true, Ordering::AcqRel)
        {
            // There is room: it was not at work.
            let _ = orders.try_send(());
        }
    }

    /// Waits for what it is doing, and ends it.
    pub(super) fn stop(&mut self) {
        self.orders = None;
        engine::join(self.thread.take().into_iter());
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(conn: &Connection, orders: &Receiver<()>, working: &AtomicBool, fatal: &Fatal, marks: &Marks) {
    loop {
        match orders.recv_timeout(SETTLE_EVERY) {
            Ok(()) => {
                copy(conn, fatal);
                working.store(false, Ordering::Release);
            }
            Err(RecvTimeoutError::Timeout) if fatal.is_dead() => {}
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = marks.settle() {
                    fatal.die("cannot write to the disk", &error);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn copy(conn: &Connection, fatal: &Fatal) {
    if !fatal.is_dead()
        && let Err(error) = conn.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)
    {
        if trouble_in(&error) == Trouble::Disk {
            fatal.die("cannot write to the disk", &error);
        } else {
            // The writer will find a full disk by itself.
            tracing::debug!(%error, "a checkpoint did not finish");
        }
    }
}
