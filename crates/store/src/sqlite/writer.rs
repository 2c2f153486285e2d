//! The one writer: what a transaction of the queue ([`super::queue`]) is in SQLite, and what else is written there.
//!
//! Cursors are written behind, what was sent lately is moved to its place, and the write-ahead log is copied into the
//! database: along with a batch, or when there is time. The full disk is lived with here too. No `fsync` is ever tried
//! again, because the kernel reports a failed one only once; so checkpoints are ordered here, where their errors are
//! seen.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use chinwag_domain::{Failed, Plan, Request, Stop, record::Cursor};
use chinwag_protocol::{Entry, Millis};
use rusqlite::{Connection, ErrorCode, MAIN_DB, wal::CheckpointMode};

use super::{
    cache::{Cache, Remembered},
    checkpoint::Checkpointer,
    cursors::Key,
    entry_tail::EntryTail,
    files::Ballast,
    keep,
    look::{Beside, Look},
    queue::{Base, Decided, Trouble},
    sync::Fatal,
    tail::Tail,
};
use crate::engine::{self, Clock, Decide};

/// How often cursors are written behind, and how many at a time.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const FLUSH_AGAIN: Duration = Duration::from_millis(20);
const FLUSH_MOST: usize = 256;

/// What can wait goes along with the next batch, unless none comes for so long: then it gets a sync of its own.
const QUIET: Duration = Duration::from_millis(200);

/// After so long without a request, the pages that are held in memory are given back.
const SLIM_AFTER: Duration = Duration::from_secs(5);

/// After so many pages the write-ahead log is copied into the database when there is nothing else to do; otherwise
/// after as many as the options say, so that a page that many batches change is copied once.
const CHECKPOINT_IDLE: u32 = 1_000;
const CHECKPOINT_PAGES_SMALL_DISK: u32 = 1_000;

/// After so many times as many, the writer itself copies what the thread beside it has left, so that the log can begin
/// anew; and after so many times as many, readers are waited for a moment so that it can.
const RESTART: u32 = 2;
const WAIT: u32 = 6;

/// How often a full disk is looked at again.
const ROOM_EVERY: Duration = Duration::from_millis(200);

/// What the writer is started with.
pub(super) struct Parts {
    pub(super) conn: Connection,
    pub(super) beside: Arc<Beside>,
    pub(super) decide: Decide,
    pub(super) clock: Clock,
    pub(super) fatal: Arc<Fatal>,
    pub(super) checkpointer: Checkpointer,
    pub(super) ballast: Ballast,
    pub(super) wal_pages: Arc<AtomicU32>,
    /// A log of the usual length would fill it.
    pub(super) small_disk: bool,
    pub(super) last_at: Millis,
    pub(super) remember: usize,
    pub(super) busy: usize,
    pub(super) checkpoint_pages: u32,
}

/// See the module.
pub(super) struct Writer {
    parts: Parts,
    cache: RefCell<Cache>,
    tail: RefCell<Tail>,
    entry_tail: RefCell<EntryTail>,
    last_at: Millis,
    /// The disk is full; since when room was last looked for.
    full: Option<Instant>,
    next_flush: Instant,
    /// Cursors that are being written behind, the next one last.
    cursors: Vec<(Key, Cursor)>,
    /// Those of them that the open transaction holds.
    taken_along: Vec<(Key, Cursor)>,
    /// What can wait could not be written lately: it must not be in the way of a batch.
    apart: bool,
    /// When the last batch was, unless its pages were given back since.
    worked: Option<Instant>,
    /// Not before, what can wait gets a transaction of its own.
    alone_from: Instant,
    /// How long the log was when it was last copied into the file.
    checkpointed: u32,
    last_checkpoint: Instant,
    /// The thread beside the writer was last seen copying it.
    is_copying: bool,
}

pub(super) fn trouble_in(error: &rusqlite::Error) -> Trouble {
    match error.sqlite_error().map(|error| (error.code, error.extended_code)) {
        Some((ErrorCode::DiskFull, _)) => Trouble::Full,
        // The shared memory beside the log could not grow: nothing was written yet.
        Some((_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE)) => Trouble::Full,
        Some((ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen, _)) => Trouble::Disk,
        _ => Trouble::Request,
    }
}

impl Writer {
    pub(super) fn new(parts: Parts) -> Self {
        let cache = RefCell::new(Cache::new(parts.remember));
        let tail = RefCell::new(Tail::new(parts.remember));
        let entry_tail = RefCell::new(EntryTail::new(parts.remember, parts.busy));
        let last_at = parts.last_at;
        // Without its ballast the store begins as if the disk were full; the first write looks for room.
        let full = (!parts.ballast.is_in_place()).then(Instant::now);
        Self {
            parts,
            cache,
            tail,
            entry_tail,
            last_at,
            full,
            next_flush: Instant::now() + FLUSH_EVERY,
            cursors: Vec::new(),
            taken_along: Vec::new(),
            apart: false,
            worked: None,
            alone_from: Instant::now(),
            checkpointed: 0,
            last_checkpoint: Instant::now(),
            is_copying: false,
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.parts.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// What a build does that knows what was sent only while it is busy.
    #[cfg(feature = "canaries")]
    fn forget_if_quiet(&mut self) {
        let was_quiet = self.worked.is_some_and(|worked| worked.elapsed() > Duration::from_secs(3));
        if was_quiet && crate::canary::is(crate::canary::Canary::DedupeUntilQuiet) {
            self.roll_back();
            let _ = self.parts.conn.execute_batch("DELETE FROM sent; DELETE FROM sent_tail");
        }
    }

    /// Whether there is more to do of what can wait.
    fn has_more_chores(&self, idle: bool) -> bool {
        !self.cursors.is_empty() || self.tail.borrow().is_due(idle) || self.entry_tail.borrow().is_due(idle)
    }

    /// A piece of what can wait, inside the open transaction: cursors are written behind, and what was sent lately is
    /// moved to its place.
    fn chores(&mut self, most: usize, idle: bool) -> Result<(), Stop> {
        if self.cursors.is_empty() && Instant::now() >= self.next_flush {
            self.parts.beside.cursors.trim();
            self.cursors = self.parts.beside.cursors.take_dirty();
            // Neighbours share a page.
            self.cursors.sort_unstable_by_key(|(key, _)| *key);
            self.next_flush = Instant::now() + FLUSH_EVERY;
        }
        let look = Look { conn: &self.parts.conn, beside: &self.parts.beside };
        for _ in 0..most {
            let Some(next) = self.cursors.pop() else { break };
            self.taken_along.push(next);
            let ((conversation, user), cursor) = next;
            let written = look.written_cursor(conversation, user)?.unwrap_or_default();
            let joined = super::cursors::join(written, cursor);
            if joined != written {
                keep::cursor(&self.parts.conn, conversation, user, joined)?;
            }
        }
        let mut tail = self.tail.borrow_mut();
        if tail.is_due(idle) {
            tail.move_piece(&self.parts.conn, idle)?;
        }
        let mut entry_tail = self.entry_tail.borrow_mut();
        if entry_tail.is_due(idle) { entry_tail.move_piece(&self.parts.conn, idle) } else { Ok(()) }
    }

    /// A transaction for what can wait alone.
    fn flush(&mut self, most: usize) {
        let begin = |error| Stop::from(Failed::new("cannot write behind", error));
        let begun = self.execute("BEGIN IMMEDIATE").map_err(begin);
        let written =
            begun.and_then(|()| self.chores(most, true)).and_then(|()| self.execute("COMMIT").map_err(begin));
        self.alone_from = Instant::now() + FLUSH_AGAIN;
        match written {
            Ok(()) => {
                self.taken_along.clear();
                self.apart = false;
                if self.worked.is_some_and(|worked| worked.elapsed() >= SLIM_AFTER) {
                    self.slim();
                }
            }
            Err(stop) => match Self::trouble(&stop) {
                Trouble::Disk => self.parts.fatal.die("cannot write to the disk", &stop),
                trouble => {
                    self.roll_back();
                    if trouble == Trouble::Full && self.full.is_none() {
                        self.fill_up();
                    }
                    tracing::warn!(error = %stop, "cursors are not written yet");
                    self.parts.beside.cursors.put_back(&std::mem::take(&mut self.cursors));
                    self.next_flush = Instant::now() + FLUSH_EVERY;
                }
            },
        }
    }

    /// Gives back pages: nothing has come for a while.
    fn slim(&mut self) {
        self.worked = None;
        if let Err(error) = self.parts.conn.execute_batch("PRAGMA shrink_memory") {
            tracing::debug!(%error, "the writer keeps its pages in memory");
        }
    }

    fn checkpoint_if_due(&mut self) {
        let pages = self.parts.wal_pages.load(Ordering::Relaxed);
        if pages < self.checkpointed {
            // The log has begun anew.
            self.checkpointed = 0;
        }
        // While readers keep the log from beginning anew, it is not copied after every batch.
        // A log that begins anew costs the writer a sync, so a moment without a request is not enough.
        let is_quiet = self.worked.is_none_or(|worked| worked.elapsed() >= QUIET);
        let idle = is_quiet && self.last_checkpoint.elapsed() >= FLUSH_EVERY;
        let most = match (self.parts.small_disk, idle) {
            (true, _) => CHECKPOINT_PAGES_SMALL_DISK,
            (false, true) => CHECKPOINT_IDLE,
            (false, false) => self.parts.checkpoint_pages,
        };
        if self.parts.small_disk {
            if pages >= self.checkpointed + most {
                self.checkpoint(CheckpointMode::PASSIVE);
                self.checkpointed = pages;
            }
            return;
        }
        if self.parts.checkpointer.is_working() {
            return;
        }
        if std::mem::take(&mut self.is_copying) && pages >= RESTART * self.parts.checkpoint_pages {
            // Nearly all of it is copied. Once the rest is too, the next commit begins the log anew.
            let mode = if pages >= WAIT * self.parts.checkpoint_pages {
                CheckpointMode::RESTART
            } else {
                CheckpointMode::PASSIVE
            };
            self.checkpoint(mode);
        } else if pages >= self.checkpointed + most {
            self.parts.checkpointer.begin();
            self.is_copying = true;
            self.checkpointed = pages;
            self.last_checkpoint = Instant::now();
        }
    }

    /// Copies the write-ahead log into the database. SQLite's own automatic checkpoint would hide a failed sync.
    fn checkpoint(&mut self, mode: CheckpointMode) {
        if self.parts.fatal.is_dead() {
            return;
        }
        match self.parts.conn.wal_checkpoint_v2(Some(MAIN_DB), mode) {
            Ok(_) => {}
            Err(error) => match trouble_in(&error) {
                Trouble::Disk => self.parts.fatal.die("cannot write to the disk", &error),
                Trouble::Full if self.full.is_none() => self.fill_up(),
                // Readers were in the way: the next one goes further.
                _ => tracing::debug!(%error, "a checkpoint did not finish"),
            },
        }
    }
}

impl Base for Writer {
    fn begin(&mut self) -> Result<(), Stop> {
        #[cfg(feature = "canaries")]
        self.forget_if_quiet();
        self.entry_tail.get_mut().begin();
        self.execute("BEGIN IMMEDIATE").map_err(|error| Failed::new("cannot begin to write", error).into())
    }

    fn decide(&mut self, request: &Request) -> Result<Decided, Stop> {
        let without_change = |verdict| Decided { entries: Vec::new(), verdict, changed: false };
        let facts = Remembered {
            look: Look { conn: &self.parts.conn, beside: &self.parts.beside },
            cache: &self.cache,
            tail: &self.tail,
            entry_tail: &self.entry_tail,
        };
        let now = (self.parts.clock)();
        let at = self.last_at.max(now);
        #[cfg(feature = "canaries")]
        let now = if crate::canary::is(crate::canary::Canary::ExpiresForGood) { at } else { now };
        let mut plan = Plan::new(&facts, at).told(now);
        let decided = catch_unwind(AssertUnwindSafe(|| (self.parts.decide)(&mut plan, request)));
        let done = match decided.unwrap_or_else(|_| Err(engine::panicked())) {
            Ok(done) => done,
            Err(stop) => return Ok(without_change(engine::verdict_of(stop))),
        };
        if plan.is_empty() {
            return Ok(without_change(Ok(done)));
        }
        let (entries, changes) = plan.finish();
        if self.full.is_some() && !engine::makes_room(request) {
            #[cfg(feature = "canaries")]
            if crate::canary::is(crate::canary::Canary::AckWhenFull) {
                return Ok(without_change(Ok(done)));
            }
            return Ok(without_change(Err(engine::storage_full())));
        }
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        keep::keep(&facts, &entries, &changes)?;
        if !entries.is_empty() {
            self.last_at = at;
        }
        Ok(Decided { entries, verdict: Ok(done), changed: true })
    }

    fn take_along(&mut self) -> Result<(), Stop> {
        if self.apart || !(self.has_more_chores(false) || Instant::now() >= self.next_flush) {
            return Ok(());
        }
        let taken = self.chores(FLUSH_MOST, false);
        self.apart = taken.is_err();
        taken
    }

    fn commit(&mut self) -> Result<(), Stop> {
        self.execute("COMMIT").map_err(|error| Failed::new("cannot commit", error))?;
        self.taken_along.clear();
        Ok(())
    }

    fn roll_back(&mut self) {
        if !self.parts.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
        self.cache.replace(Cache::new(self.parts.remember));
        self.tail.borrow_mut().forget();
        self.entry_tail.borrow_mut().forget();
        self.parts.beside.cursors.put_back(&std::mem::take(&mut self.taken_along));
    }

    fn trouble(stop: &Stop) -> Trouble {
        match stop {
            Stop::Failed(failed) => failed.cause.downcast_ref().map_or(Trouble::Request, trouble_in),
            Stop::Refused(_) => Trouble::Request,
        }
    }

    fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Gives up the ballast, so that deleting and checkpoints have room.
    fn fill_up(&mut self) {
        if self.full.replace(Instant::now()).is_none() {
            tracing::warn!("the disk is full: nothing but deleting is possible until there is room again");
        }
        self.parts.ballast.release();
        self.checkpoint(CheckpointMode::TRUNCATE);
    }

    /// Looks at the disk only now and then.
    fn look_for_room(&mut self) {
        if self.full.is_none_or(|looked| looked.elapsed() < ROOM_EVERY) {
            return;
        }
        self.full = Some(Instant::now());
        if !self.parts.ballast.has_room() {
            return;
        }
        match self.parts.ballast.set() {
            Ok(()) => {
                tracing::info!("there is room on the disk again");
                self.full = None;
            }
            Err(error) => tracing::warn!(%error, "there is not room enough yet"),
        }
    }

    fn patience(&self) -> Duration {
        let due = if self.has_more_chores(true) { Instant::now() } else { self.next_flush };
        due.max(self.alone_from).saturating_duration_since(Instant::now())
    }

    fn idle(&mut self) {
        self.flush(FLUSH_MOST);
    }

    fn after(&mut self, batch: bool) {
        if batch {
            self.worked = Some(Instant::now());
            self.alone_from = Instant::now() + QUIET;
        }
        if (self.apart || self.full.is_some()) && Instant::now() >= self.next_flush {
            self.flush(FLUSH_MOST);
        }
        self.checkpoint_if_due();
    }

    fn finish(&mut self) {
        // On a full disk they stay unwritten: clients only receive again what they have.
        // What is being written already, then the rest.
        for _ in 0..2 {
            self.flush(usize::MAX);
            self.next_flush = Instant::now();
        }
        self.parts.checkpointer.stop();
        self.checkpoint(CheckpointMode::TRUNCATE);
    }
}
