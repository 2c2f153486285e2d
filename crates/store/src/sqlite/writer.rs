//! The one writer: takes what is waiting, decides it in one transaction, commits once for all, then tells.
//!
//! It waits for nothing but the disk: a batch is what has come in by the time it is taken, at most 2,048 requests
//! and about as much work as the last commit took. A commit that fails other than by a full disk is *unknown*: nothing is acknowledged
//! from then on, and the process is asked to end. No `fsync` is ever tried again, because the kernel reports a
//! failed one only once; that is also why checkpoints run here, where their errors are seen.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use chinwag_domain::{Ask, Committed, Failed, Plan, Request, Stop, port::Verdict, record::Cursor};
use chinwag_protocol::{Entry, Millis};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, ErrorCode, MAIN_DB, wal::CheckpointMode};

use super::{
    cache::{Cache, Remembered},
    checkpoint::Checkpointer,
    cursors::Key,
    files::Ballast,
    keep,
    look::{Beside, Look},
    sync::{Fatal, Syncs},
    tail::Tail,
};
use crate::engine::{self, BATCH, Clock, Decide};

/// How much work one transaction takes at most: as much as the last commit took, within these bounds. So at least
/// half of the time is spent on work, however slow the disk is.
const WINDOW_LEAST: Duration = Duration::from_millis(2);
const WINDOW_MOST: Duration = Duration::from_millis(20);

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
    pub(super) queue: Receiver<Ask>,
    pub(super) fatal: Arc<Fatal>,
    /// Makes commits durable and tells them.
    pub(super) syncs: Syncs,
    pub(super) checkpointer: Checkpointer,
    pub(super) ballast: Ballast,
    pub(super) wal_pages: Arc<AtomicU32>,
    /// A log of the usual length would fill it.
    pub(super) small_disk: bool,
    pub(super) last_at: Millis,
    pub(super) remember: usize,
    pub(super) checkpoint_pages: u32,
}

/// See the module.
pub(super) struct Writer {
    parts: Parts,
    cache: RefCell<Cache>,
    tail: RefCell<Tail>,
    last_at: Millis,
    window: Duration,
    /// The disk is full; since when room was last looked for.
    full: Option<Instant>,
    next_flush: Instant,
    /// Cursors that are being written behind, the next one last.
    cursors: Vec<(Key, Cursor)>,
    /// Those of them that the open transaction holds.
    taken_along: Vec<(Key, Cursor)>,
    /// What can wait could not be written lately: it must not be in the way of a batch.
    apart: bool,
    /// The open transaction, or the last one, holds what others may see.
    dirty: bool,
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

/// A request that was decided inside the open transaction.
struct Step {
    ask: Ask,
    entries: Vec<Arc<Entry>>,
    verdict: Verdict,
}

/// What sort of trouble a write had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The disk is full: certainly not stored.
    Full,
    /// The disk failed: nobody knows.
    Disk,
    /// This one request could not be written.
    Request,
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

fn trouble_of(stop: &Stop) -> Trouble {
    match stop {
        Stop::Failed(failed) => failed.cause.downcast_ref().map_or(Trouble::Request, trouble_in),
        Stop::Refused(_) => Trouble::Request,
    }
}

impl Writer {
    pub(super) fn new(parts: Parts) -> Self {
        let cache = RefCell::new(Cache::new(parts.remember));
        let tail = RefCell::new(Tail::new(parts.remember));
        let last_at = parts.last_at;
        // Without its ballast the store begins as if the disk were full; the first write looks for room.
        let full = (!parts.ballast.is_in_place()).then(Instant::now);
        Self {
            parts,
            cache,
            tail,
            last_at,
            window: WINDOW_LEAST,
            full,
            next_flush: Instant::now() + FLUSH_EVERY,
            cursors: Vec::new(),
            taken_along: Vec::new(),
            apart: false,
            dirty: false,
            worked: None,
            alone_from: Instant::now(),
            checkpointed: 0,
            last_checkpoint: Instant::now(),
            is_copying: false,
        }
    }

    /// Works until the store is dropped, then writes what is left to write.
    pub(super) fn run(mut self) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        if worked.is_err() {
            self.die("the writer panicked", &"see above");
        }
        // Whoever still asks is told so, until nobody can ask any more.
        for ask in &self.parts.queue {
            (ask.ticket)(Err(engine::stopped()));
        }
    }

    fn work(&mut self) {
        while !self.is_dead() {
            let due = if self.has_more_chores(true) { Instant::now() } else { self.next_flush };
            let wait = due.max(self.alone_from).saturating_duration_since(Instant::now());
            match self.parts.queue.recv_timeout(wait) {
                Ok(first) if self.full.is_some() => self.alone(first),
                Ok(first) => {
                    #[cfg(feature = "canaries")]
                    self.forget_if_quiet();
                    self.batch(first);
                    self.worked = Some(Instant::now());
                    self.alone_from = Instant::now() + QUIET;
                }
                Err(RecvTimeoutError::Timeout) => self.flush(FLUSH_MOST),
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            if (self.apart || self.full.is_some()) && Instant::now() >= self.next_flush {
                self.flush(FLUSH_MOST);
            }
            self.checkpoint_if_due();
        }
    }

    fn is_dead(&self) -> bool {
        self.parts.fatal.is_dead()
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.parts.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn commit(&self) -> rusqlite::Result<()> {
        if self.dirty {
            self.parts.beside.durability.begin();
        }
        self.execute("COMMIT")
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

    /// One transaction for what is waiting, `first` included.
    fn batch(&mut self, first: Ask) {
        let (began, waiting) = (Instant::now(), self.parts.queue.len());
        let mut steps: Vec<Step> = Vec::new();
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            return self.give_up(trouble_in(&error), &error, Vec::new(), first);
        }
        let mut next = Some(first);
        while let Some(ask) = next.take() {
            match self.decide(&ask.request) {
                Ok((entries, verdict)) => steps.push(Step { ask, entries, verdict }),
                Err(stop) => return self.give_up(trouble_of(&stop), &stop, steps, ask),
            }
            let has_room = steps.len() < BATCH && began.elapsed() < WINDOW_MOST;
            if has_room && (steps.len() < waiting || began.elapsed() < self.window) {
                next = self.parts.queue.try_recv().ok();
            }
        }
        #[cfg(feature = "canaries")]
        if crate::canary::tells_early(steps.first().map(|step| &step.ask.request)) {
            self.dirty = false;
            self.tell(std::mem::take(&mut steps));
            self.parts.syncs.finish();
            // As long as a slow disk would take.
            std::thread::sleep(Duration::from_millis(20));
        }
        if !self.apart
            && (self.has_more_chores(false) || Instant::now() >= self.next_flush)
            && let Err(stop) = self.chores(FLUSH_MOST, false)
        {
            self.apart = true;
            let Some(last) = steps.pop() else { return self.roll_back() };
            return self.give_up(trouble_of(&stop), &stop, steps, last.ask);
        }
        let decided = Instant::now();
        match self.commit() {
            Ok(()) => {
                self.taken_along.clear();
                self.window = decided.elapsed().clamp(WINDOW_LEAST, WINDOW_MOST);
                self.tell(steps);
            }
            Err(error) => {
                let trouble = trouble_in(&error);
                let Some(last) = steps.pop() else { return };
                // At a commit, whatever is not a full disk is unknown.
                let trouble = if trouble == Trouble::Full { trouble } else { Trouble::Disk };
                self.give_up(trouble, &error, steps, last.ask);
            }
        }
    }

    /// Decides a request and writes what came of it. An error means that the database could not be written: then the
    /// transaction may hold a part of it and must be rolled back.
    fn decide(&mut self, request: &Request) -> Result<(Vec<Arc<Entry>>, Verdict), Stop> {
        let facts = Remembered {
            look: Look { conn: &self.parts.conn, beside: &self.parts.beside },
            cache: &self.cache,
            tail: &self.tail,
        };
        let now = (self.parts.clock)();
        let at = self.last_at.max(now);
        #[cfg(feature = "canaries")]
        let now = if crate::canary::is(crate::canary::Canary::ExpiresForGood) { at } else { now };
        let mut plan = Plan::new(&facts, at).told(now);
        let decided = catch_unwind(AssertUnwindSafe(|| (self.parts.decide)(&mut plan, request)));
        let done = match decided.unwrap_or_else(|_| Err(engine::panicked())) {
            Ok(done) => done,
            Err(stop) => return Ok((Vec::new(), engine::verdict_of(stop))),
        };
        if plan.is_empty() {
            return Ok((Vec::new(), Ok(done)));
        }
        let (entries, changes) = plan.finish();
        if self.full.is_some() && !engine::makes_room(request) {
            #[cfg(feature = "canaries")]
            if crate::canary::is(crate::canary::Canary::AckWhenFull) {
                return Ok((Vec::new(), Ok(done)));
            }
            return Ok((Vec::new(), Err(engine::storage_full())));
        }
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        self.dirty = true;
        keep::keep(&facts, &entries, &changes)?;
        if !entries.is_empty() {
            self.last_at = at;
        }
        Ok((entries, Ok(done)))
    }

    /// After a commit: hands it on to be made durable and told.
    fn tell(&mut self, steps: Vec<Step>) {
        let dirty = std::mem::take(&mut self.dirty);
        let committed = steps
            .into_iter()
            .map(|step| Committed { entries: step.entries, ticket: step.ask.ticket, verdict: step.verdict })
            .collect();
        self.parts.beside.durability.push(committed, dirty);
    }

    /// The transaction cannot be finished. `steps` were decided in it, `last` is where it broke.
    fn give_up(&mut self, trouble: Trouble, error: &dyn std::fmt::Display, steps: Vec<Step>, last: Ask) {
        let asks = steps.into_iter().map(|step| step.ask).chain([last]);
        if trouble == Trouble::Disk {
            self.die("cannot write to the disk", error);
            return asks.for_each(|ask| (ask.ticket)(Err(engine::stopped())));
        }
        self.roll_back();
        if trouble == Trouble::Full {
            self.fill_up();
        } else {
            tracing::warn!(%error, "a batch is taken apart, because one of its requests cannot be written");
        }
        // A savepoint for each request would make SQLite copy every page that it changes. Instead, what was not
        // committed is decided again, one by one: rules are pure, and some were only repetitions.
        for ask in asks {
            self.alone(ask);
        }
    }

    fn roll_back(&mut self) {
        if !self.parts.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
        self.cache.replace(Cache::new(self.parts.remember));
        self.tail.borrow_mut().forget();
        self.dirty = false;
        self.parts.beside.cursors.put_back(&std::mem::take(&mut self.taken_along));
    }

    /// Nothing is acknowledged any more, and the process is to end.
    fn die(&self, what: &str, error: &dyn std::fmt::Display) {
        self.parts.fatal.die(what, error);
        self.parts.beside.durability.fail();
    }

    /// The disk has become full: gives up the ballast, so that deleting and checkpoints have room.
    fn fill_up(&mut self) {
        if self.full.replace(Instant::now()).is_none() {
            tracing::warn!("the disk is full: nothing but deleting is possible until there is room again");
        }
        self.parts.ballast.release();
        self.checkpoint(CheckpointMode::TRUNCATE);
    }

    /// Whether writing is possible again; looks at the disk only now and then.
    fn has_room_again(&mut self) -> bool {
        let Some(looked) = self.full else { return true };
        if looked.elapsed() < ROOM_EVERY {
            return false;
        }
        self.full = Some(Instant::now());
        if !self.parts.ballast.has_room() {
            return false;
        }
        match self.parts.ballast.set() {
            Ok(()) => {
                tracing::info!("there is room on the disk again");
                self.full = None;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "there is not room enough yet");
                false
            }
        }
    }

    /// One transaction for one request. While the disk is full, what reads or repeats is answered, what makes room
    /// is tried, everything else is refused.
    fn alone(&mut self, ask: Ask) {
        if self.is_dead() {
            return (ask.ticket)(Err(engine::stopped()));
        }
        self.has_room_again();
        let was_full = self.full.is_some();
        let decided = match self.execute("BEGIN IMMEDIATE") {
            Ok(()) => self.decide(&ask.request),
            Err(error) => Err(Failed::new("cannot begin to write", error).into()),
        };
        let ended = decided.and_then(|(entries, verdict)| {
            self.commit().map_err(|error| Stop::from(Failed::new("cannot commit", error)))?;
            Ok((entries, verdict))
        });
        match ended {
            Ok((entries, verdict)) => self.tell(vec![Step { ask, entries, verdict }]),
            Err(stop) => match trouble_of(&stop) {
                Trouble::Disk => {
                    self.die("cannot write to the disk", &stop);
                    (ask.ticket)(Err(engine::stopped()));
                }
                Trouble::Full => {
                    self.roll_back();
                    self.fill_up();
                    if !was_full {
                        tracing::warn!("there was no room after all");
                    }
                    let step = Step { ask, entries: Vec::new(), verdict: Err(engine::storage_full()) };
                    self.tell(vec![step]);
                }
                Trouble::Request => {
                    self.roll_back();
                    self.tell(vec![Step { ask, entries: Vec::new(), verdict: engine::verdict_of(stop) }]);
                }
            },
        }
    }

    /// Whether there is more to do of what can wait.
    fn has_more_chores(&self, idle: bool) -> bool {
        !self.cursors.is_empty() || self.tail.borrow().is_due(idle)
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
        if tail.is_due(idle) { tail.move_piece(&self.parts.conn, idle) } else { Ok(()) }
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
            Err(stop) => match trouble_of(&stop) {
                Trouble::Disk => self.die("cannot write to the disk", &stop),
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
        if self.is_dead() {
            return;
        }
        match self.parts.conn.wal_checkpoint_v2(Some(MAIN_DB), mode) {
            Ok(_) => {}
            Err(error) => match trouble_in(&error) {
                Trouble::Disk => self.die("cannot write to the disk", &error),
                Trouble::Full if self.full.is_none() => self.fill_up(),
                // Readers were in the way: the next one goes further.
                _ => tracing::debug!(%error, "a checkpoint did not finish"),
            },
        }
    }

    /// The store is being closed.
    fn finish(&mut self) {
        // Telling moves the cursors of authors.
        self.parts.syncs.finish();
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
