//! The readers: threads with a read-only connection each, fed by a bounded queue.
//!
//! Each reading runs inside one transaction, so all its look-ups see the same commits; it begins after the reading
//! was asked for, so it sees everything published before. What it sees is durable before anybody hears of it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use chinwag_domain::{Failed, Reader, port::Reading};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use rusqlite::{Connection, OpenFlags};

use super::look::{Beside, Look};
use crate::engine;

/// So many readings more wait for the disk together.
const TOGETHER: usize = 63;

/// After so long without a reading, a reader gives back the pages that it holds in memory.
const QUIET: Duration = Duration::from_secs(5);
const FOREVER: Duration = Duration::from_secs(3_600);

/// See the module.
pub(super) struct Pool {
    queue: Option<Sender<Reading>>,
    threads: Vec<JoinHandle<()>>,
}

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

impl Pool {
    pub(super) fn start(
        file: &Path,
        beside: &Arc<Beside>,
        readers: usize,
        most: usize,
    ) -> rusqlite::Result<Self> {
        let (queue, waiting) = bounded(most);
        let mut threads = Vec::with_capacity(readers);
        for number in 0..readers {
            let (conn, beside, waiting) = (read_only(file)?, beside.clone(), waiting.clone());
            let thread = std::thread::Builder::new().name(format!("reader-{number}"));
            threads
                .push(thread.spawn(move || run(&conn, &beside, &waiting)).expect("a thread can be started"));
        }
        Ok(Self { queue: Some(queue), threads })
    }

    /// Hands a reading to the next free reader, or answers at once that there is too much to do.
    pub(super) fn read(&self, reading: Reading) {
        let Some(queue) = &self.queue else { return reading(Err(engine::stopped())) };
        match queue.try_send(reading) {
            Ok(()) => {}
            Err(TrySendError::Full(reading)) => reading(Err(engine::busy())),
            Err(TrySendError::Disconnected(reading)) => reading(Err(engine::stopped())),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue = None;
        engine::join(self.threads.drain(..));
    }
}

fn run(conn: &Connection, beside: &Beside, waiting: &Receiver<Reading>) {
    let execute = |sql: &str| conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    let end = || {
        if !conn.is_autocommit()
            && let Err(error) = execute("COMMIT")
        {
            tracing::error!(%error, "cannot end a reading");
        }
    };
    let begin = || execute("BEGIN").and_then(|_| see(conn));
    let mut fat = false;
    loop {
        let reading = match waiting.recv_timeout(if fat { QUIET } else { FOREVER }) {
            Ok(reading) => reading,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if fat && let Err(error) = conn.execute_batch("PRAGMA shrink_memory") {
                    tracing::debug!(%error, "a reader keeps its pages in memory");
                }
                fat = false;
                continue;
            }
        };
        fat = true;
        let mut readings = vec![reading];
        let mut begun = begin();
        if begun.is_ok() && !beside.durability.is_settled() {
            // Those that wait too wait for the same sync, over a state that was taken after they were asked for.
            end();
            readings.extend(waiting.try_iter().take(TOGETHER));
            begun = begin();
        }
        let ready = match begun {
            Ok(()) if beside.durability.settle() => Ok(()),
            Ok(()) => Err(engine::stopped()),
            Err(error) => Err(engine::failed(&Failed::new("cannot begin to read", error))),
        };
        let look = Look { conn, beside };
        for reading in readings {
            let given = ready.clone().map(|()| &look as &dyn Reader);
            if catch_unwind(AssertUnwindSafe(|| reading(given))).is_err() {
                tracing::error!("a reading panicked");
            }
        }
        end();
    }
}

/// Decides which commits a reading sees: those until now. Beginning a transaction alone does not.
fn see(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached("SELECT 1 FROM meta LIMIT 1")?.query([])?.next().map(drop)
}
