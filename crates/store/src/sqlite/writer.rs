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
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use chinwag_domain::{Ask, Committed, Failed, Plan, Publish, Request, Stop, port::Verdict, record::Cursor};
use chinwag_protocol::{Entry, Event, LogId, Millis, Seq};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, ErrorCode, MAIN_DB, wal::CheckpointMode};

use super::{
    cache::{Cache, Remembered},
    files::Ballast,
    keep,
    look::{Beside, Look},
};
use crate::engine::{self, BATCH, Clock, Decide};

/// How much work one transaction takes at most: as much as the last commit took, within these bounds. So at least
/// half of the time is spent on work, however slow the disk is.
const WINDOW_LEAST: Duration = Duration::from_millis(2);
const WINDOW_MOST: Duration = Duration::from_millis(20);

/// How often cursors are written behind, and how many at a time.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const FLUSH_AGAIN: Duration = Duration::from_millis(20);
const FLUSH_MOST: usize = 2_000;

/// After so many pages the write-ahead log is copied into the database when there is nothing else to do, and after
/// so many in any case: a page that many batches change is then copied once.
const CHECKPOINT_IDLE: u32 = 1_000;
const CHECKPOINT_PAGES: u32 = 16_000;
const CHECKPOINT_PAGES_SMALL_DISK: u32 = 1_000;

/// From so many on, readers are waited for a moment so that the log can begin anew.
const RESTART_PAGES: u32 = 64_000;

/// How often a full disk is looked at again.
const ROOM_EVERY: Duration = Duration::from_millis(200);

/// What the writer is started with.
pub(super) struct Parts {
    pub(super) conn: Connection,
    pub(super) beside: Arc<Beside>,
    pub(super) decide: Decide,
    pub(super) clock: Clock,
    pub(super) publish: Arc<dyn Publish>,
    pub(super) on_fatal: Box<dyn Fn() + Send + Sync>,
    pub(super) queue: Receiver<Ask>,
    pub(super) stopped: Arc<AtomicBool>,
    pub(super) ballast: Ballast,
    pub(super) wal_pages: Arc<AtomicU32>,
    /// A log of the usual length would fill it.
    pub(super) small_disk: bool,
    pub(super) last_at: Millis,
    pub(super) remember: usize,
}

/// See the module.
pub(super) struct Writer {
    parts: Parts,
    cache: RefCell<Cache>,
    last_at: Millis,
    window: Duration,
    /// The disk is full; since when room was last looked for.
    full: Option<Instant>,
    next_flush: Instant,
    /// How long the log was when it was last copied into the file.
    checkpointed: u32,
    last_checkpoint: Instant,
}

/// A request that was decided inside the open transaction.
struct Step {
    ask: Ask,
    entries: Vec<Arc<Entry>>,
    verdict: Verdict,
}

/// What sort of trouble a write had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The disk is full: certainly not stored.
    Full,
    /// The disk failed: nobody knows.
    Disk,
    /// This one request could not be written.
    Request,
}

fn trouble_in(error: &rusqlite::Error) -> Trouble {
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
        let last_at = parts.last_at;
        // Without its ballast the store begins as if the disk were full; the first write looks for room.
        let full = (!parts.ballast.is_in_place()).then(Instant::now);
        Self {
            parts,
            cache,
            last_at,
            window: WINDOW_LEAST,
            full,
            next_flush: Instant::now() + FLUSH_EVERY,
            checkpointed: 0,
            last_checkpoint: Instant::now(),
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
            let wait = self.next_flush.saturating_duration_since(Instant::now());
            match self.parts.queue.recv_timeout(wait) {
                Ok(first) if self.full.is_some() => self.alone(first),
                Ok(first) => self.batch(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            if Instant::now() >= self.next_flush {
                self.flush(FLUSH_MOST);
            }
            self.checkpoint_if_due();
        }
    }

    fn is_dead(&self) -> bool {
        self.parts.stopped.load(Ordering::Acquire)
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.parts.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// One transaction for what is waiting, `first` included.
    fn batch(&mut self, first: Ask) {
        let began = Instant::now();
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
            if steps.len() < BATCH && began.elapsed() < self.window {
                next = self.parts.queue.try_recv().ok();
            }
        }
        #[cfg(feature = "canaries")]
        if crate::canary::tells_early(steps.first().map(|step| &step.ask.request)) {
            self.tell(std::mem::take(&mut steps));
        }
        let decided = Instant::now();
        match self.execute("COMMIT") {
            Ok(()) => {
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
        };
        let at = self.last_at.max((self.parts.clock)());
        let mut plan = Plan::new(&facts, at);
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
            return Ok((Vec::new(), Err(engine::storage_full())));
        }
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        keep::keep(&facts, &entries, &changes)?;
        if !entries.is_empty() {
            self.last_at = at;
        }
        Ok((entries, Ok(done)))
    }

    /// After a commit: moves the authors' cursors, wakes the index, publishes.
    fn tell(&mut self, steps: Vec<Step>) {
        let mut grown: Vec<(LogId, Seq)> = Vec::new();
        for entry in steps.iter().flat_map(|step| &step.entries) {
            match grown.iter_mut().rev().find(|(log, _)| *log == entry.log) {
                Some((_, head)) => *head = entry.seq,
                None => grown.push((entry.log, entry.seq)),
            }
            if let (LogId::Conversation(conversation), Event::Message(body)) = (entry.log, &entry.event) {
                // What one wrote oneself is read.
                let read = chinwag_protocol::Position { seq: entry.seq, messages: body.number };
                let to = Cursor { delivered: entry.seq, read };
                self.parts.beside.cursors.advance((conversation, entry.by), to);
            }
        }
        let committed = steps
            .into_iter()
            .map(|step| Committed { entries: step.entries, ticket: step.ask.ticket, verdict: step.verdict })
            .collect();
        // All at once, so that the index never knows one part of a batch without the other.
        self.parts.beside.index.grown(&grown);
        self.parts.publish.publish(committed);
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

    fn roll_back(&self) {
        if !self.parts.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
        self.cache.replace(Cache::new(self.parts.remember));
    }

    /// Nothing is acknowledged any more, and the process is to end.
    fn die(&self, what: &str, error: &dyn std::fmt::Display) {
        if !self.parts.stopped.swap(true, Ordering::AcqRel) {
            let file = self.parts.conn.path().unwrap_or_default();
            tracing::error!(%error, file, "{what}; nothing is accepted any more, the process ends");
            (self.parts.on_fatal)();
        }
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
            self.execute("COMMIT").map_err(|error| Stop::from(Failed::new("cannot commit", error)))?;
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

    /// Writes cursors behind.
    fn flush(&mut self, most: usize) {
        let taken = self.parts.beside.cursors.take_dirty(most);
        self.next_flush = Instant::now() + if taken.len() < most { FLUSH_EVERY } else { FLUSH_AGAIN };
        if taken.is_empty() {
            return;
        }
        let write = || -> Result<(), Stop> {
            let begin = |error| Stop::from(Failed::new("cannot write cursors", error));
            self.execute("BEGIN IMMEDIATE").map_err(begin)?;
            let look = Look { conn: &self.parts.conn, beside: &self.parts.beside };
            for ((conversation, user), cursor) in &taken {
                let written = look.written_cursor(*conversation, *user)?.unwrap_or_default();
                let joined = super::cursors::join(written, *cursor);
                if joined != written {
                    keep::cursor(&self.parts.conn, *conversation, *user, joined)?;
                }
            }
            self.execute("COMMIT").map_err(begin)
        };
        match write() {
            Ok(()) => self.parts.beside.cursors.trim(),
            Err(stop) => match trouble_of(&stop) {
                Trouble::Disk => self.die("cannot write to the disk", &stop),
                trouble => {
                    self.roll_back();
                    if trouble == Trouble::Full && self.full.is_none() {
                        self.fill_up();
                    }
                    tracing::warn!(error = %stop, "cursors are not written yet");
                    self.parts.beside.cursors.put_back(&taken);
                    self.next_flush = Instant::now() + FLUSH_EVERY;
                }
            },
        }
    }

    fn checkpoint_if_due(&mut self) {
        let pages = self.parts.wal_pages.load(Ordering::Relaxed);
        if pages < self.checkpointed {
            // The log has begun anew.
            self.checkpointed = 0;
        }
        // While readers keep the log from beginning anew, it is not copied after every batch.
        let idle = self.parts.queue.is_empty() && self.last_checkpoint.elapsed() >= FLUSH_EVERY;
        let most = match (self.parts.small_disk, idle) {
            (true, _) => CHECKPOINT_PAGES_SMALL_DISK,
            (false, true) => CHECKPOINT_IDLE,
            (false, false) => CHECKPOINT_PAGES,
        };
        if pages >= self.checkpointed + most {
            let mode = if pages >= RESTART_PAGES { CheckpointMode::RESTART } else { CheckpointMode::PASSIVE };
            self.checkpoint(mode);
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
        // On a full disk they stay unwritten: clients only receive again what they have.
        self.flush(usize::MAX);
        self.checkpoint(CheckpointMode::TRUNCATE);
    }
}
