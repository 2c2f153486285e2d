//! The thread that keeps the index: reads what is new in the order of time, thousands of entries per transaction.
//!
//! The marks, up to which each conversation is indexed, are written in the same transaction as the documents, so it
//! goes on after any end where it stopped; what is missing is found by comparing the marks with the heads of the
//! logs. Documents get their numbers in the order of time over all conversations: the entry that is the oldest of
//! those not indexed is always taken next.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use chinwag_domain::reading::fold;
use chinwag_protocol::{ConversationId, Event, LogId, Seq};
use rusqlite::{Connection, MAIN_DB, wal::CheckpointMode};

use super::{
    super::entry::{self, Stored},
    Shared, State,
    docs::{self, Doc},
    file,
    source::{Next, Source, Unreadable},
};

/// How much one transaction takes.
const DOCS_MAX: usize = 4_000;
const ENTRIES_MAX: usize = 20_000;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Between two transactions, so that a trickle of messages does not become as many transactions.
const PACE: Duration = Duration::from_millis(250);

/// Before a file that was made anew is filled.
const AGAIN: Duration = Duration::from_millis(50);

/// After trouble.
const REST: Duration = Duration::from_secs(2);

/// How often a long instruction of SQLite looks whether it is time to end.
const LOOK_EVERY: i32 = 10_000;

/// Why the work was broken off.
enum Trouble {
    /// There is no room, or somebody is in the way: later.
    Later(rusqlite::Error),
    /// The store cannot be read: later.
    Store(rusqlite::Error),
    /// The file is no good.
    Damaged(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        if file::is_full(&error) || file::is_busy(&error) {
            Self::Later(error)
        } else {
            Self::Damaged(error.to_string())
        }
    }
}

impl From<Unreadable> for Trouble {
    fn from(Unreadable(error): Unreadable) -> Self {
        Self::Store(error)
    }
}

/// Opens the index, or begins a new one; `None` if neither is possible now.
pub(super) fn open(shared: &Shared) -> Option<Connection> {
    match shared.place.open() {
        Ok(Some(conn)) => {
            publish(shared);
            Some(conn)
        }
        Ok(None) => renew(shared),
        Err(error) if file::is_full(&error) || file::is_busy(&error) => None,
        Err(error) => {
            tracing::warn!(%error, "the search index cannot be opened; it is made anew");
            renew(shared)
        }
    }
}

fn renew(shared: &Shared) -> Option<Connection> {
    let mut state = shared.lock();
    (state.usable, state.damaged) = (false, false);
    state.readers.clear();
    drop(state);
    match shared.place.renew() {
        Ok(conn) => {
            tracing::info!("a new search index is being made");
            publish(shared);
            Some(conn)
        }
        Err(error) => {
            tracing::warn!(%error, "there is no search index for now");
            None
        }
    }
}

/// From now on the file may be searched.
fn publish(shared: &Shared) {
    let mut state = shared.lock();
    state.generation += 1;
    (state.usable, state.damaged) = (true, false);
}

/// Works until the index is closed.
pub(super) fn run(shared: &Shared, store: &Path, mut conn: Option<Connection>) {
    let (mut is_new, mut paused) = (false, false);
    while !shared.stopped() {
        let ended = match conn.take().or_else(|| open(shared)) {
            Some(conn) => work(shared, store, conn, is_new),
            None => Ok(()),
        };
        is_new = false;
        match ended {
            Ok(()) => {}
            Err(_) if shared.stopped() => break,
            Err(Trouble::Later(error)) if !paused => {
                tracing::warn!(%error, "indexing pauses");
                paused = true;
            }
            Err(Trouble::Later(_)) => {}
            Err(Trouble::Store(error)) => tracing::error!(%error, "the store cannot be read for indexing"),
            Err(Trouble::Damaged(why)) => {
                tracing::warn!(why, "the search index is damaged; it is made anew");
                conn = renew(shared);
                (is_new, paused) = (conn.is_some(), false);
            }
        }
        rest(shared, if is_new { AGAIN } else { REST });
    }
    settled(&mut shared.lock(), shared);
}

/// Waits a while, or until the end.
fn rest(shared: &Shared, time: Duration) {
    let state = shared.lock();
    let _unused = shared.wake.wait_timeout_while(state, time, |_| !shared.stopped());
}

fn settled(state: &mut State, shared: &Shared) {
    state.working = false;
    shared.settled.notify_all();
}

/// Indexes what is there and what comes, until the end or trouble.
fn work(shared: &Shared, store: &Path, mut conn: Connection, is_new: bool) -> Result<(), Trouble> {
    // Closing does not wait for a long look at the file, nor for a large transaction.
    let stopping = shared.stopping.clone();
    conn.progress_handler(LOOK_EVERY, Some(move || stopping.load(Ordering::Relaxed)))?;
    let source = Source::open(store)?;
    if !is_new {
        check(shared, &conn)?;
    }
    let marks = docs::marks(&conn)?;
    let next_id = docs::next_id(&conn)?;
    let mut work = Work {
        shared,
        source,
        conn,
        marks,
        next_id,
        targets: HashMap::new(),
        waiting: BinaryHeap::new(),
        sweep: false,
        // The check has read the whole file.
        fat: true,
    };
    work.aim_at_heads()?;
    loop {
        if !work.take_orders()? {
            return Ok(());
        }
        if !work.targets.is_empty() {
            work.batch()?;
        }
        if work.sweep {
            work.sweep();
        }
    }
}

/// Looks whether the structure of the file is whole: a search would not look at most of it.
fn check(shared: &Shared, conn: &Connection) -> Result<(), Trouble> {
    // It reads every page once: what it has read must not stay.
    conn.execute_batch("PRAGMA cache_size = -500")?;
    let mut statement = conn.prepare("PRAGMA quick_check(1)")?;
    let said: String = statement.query_row([], |row| row.get(0))?;
    if said != "ok" {
        shared.lock().usable = false;
        return Err(Trouble::Damaged(said));
    }
    conn.execute_batch("PRAGMA cache_size = -16000")?;
    Ok(())
}

struct Work<'s> {
    shared: &'s Shared,
    source: Source,
    conn: Connection,
    /// Up to where each conversation is indexed.
    marks: HashMap<ConversationId, Seq>,
    next_id: i64,
    /// Up to where each conversation that is behind is to be indexed.
    targets: HashMap<ConversationId, Seq>,
    /// The next entry of each of them, the oldest first.
    waiting: BinaryHeap<Reverse<Next>>,
    /// Removed text may still be in the write-ahead log.
    sweep: bool,
    /// Pages are held in memory that will not be needed soon.
    fat: bool,
}

/// What one transaction is about.
#[derive(Default)]
struct Batch {
    docs: usize,
    entries: usize,
    bytes: usize,
    /// Messages that were edited or deleted.
    touched: BTreeSet<i64>,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.docs < DOCS_MAX && self.entries < ENTRIES_MAX && self.bytes < BYTES_MAX
    }
}

impl Work<'_> {
    /// Aims at everything there is.
    fn aim_at_heads(&mut self) -> Result<(), Trouble> {
        let heads = self.source.heads()?;
        let known: HashMap<ConversationId, Seq> = heads.iter().copied().collect();
        let ahead = self.marks.iter().any(|(id, mark)| known.get(id).is_none_or(|head| head < mark));
        for (conversation, head) in heads {
            self.aim(conversation, head)?;
        }
        if ahead {
            return Err(Trouble::Damaged("it knows more than the store".to_owned()));
        }
        Ok(())
    }

    fn aim(&mut self, conversation: ConversationId, head: Seq) -> Result<(), Trouble> {
        let mark = self.marks.get(&conversation).copied().unwrap_or_default();
        if head <= mark {
            return Ok(());
        }
        match self.targets.get_mut(&conversation) {
            Some(target) => *target = head.max(*target),
            None => {
                if let Some(next) = self.source.next(conversation, mark)? {
                    self.targets.insert(conversation, head);
                    self.waiting.push(Reverse(next));
                }
            }
        }
        Ok(())
    }

    /// Hears what the writer noted, waiting if there is nothing to do; `false`: it is time to end.
    fn take_orders(&mut self) -> Result<bool, Trouble> {
        let mut state = self.shared.lock();
        if self.targets.is_empty() {
            let began = Instant::now();
            loop {
                let something = state.all || !state.grown.is_empty();
                if self.shared.stopped() || state.damaged {
                    break;
                }
                if something && (state.hurry || began.elapsed() >= PACE) {
                    break;
                }
                if !something {
                    settled(&mut state, self.shared);
                }
                let time = if something { PACE.saturating_sub(began.elapsed()) } else { REST };
                let waited = self.shared.wake.wait_timeout(state, time);
                let (locked, timeout) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
                state = locked;
                if timeout.timed_out() && !something && self.fat {
                    drop(state);
                    self.slim();
                    state = self.shared.lock();
                }
                if self.sweep {
                    // Tried again now and then, until no search is in the way.
                    drop(state);
                    self.sweep();
                    state = self.shared.lock();
                }
            }
        }
        if self.shared.stopped() {
            return Ok(false);
        }
        if state.damaged {
            return Err(Trouble::Damaged("a search could not read it".to_owned()));
        }
        state.working = true;
        let (grown, all) = (std::mem::take(&mut state.grown), std::mem::take(&mut state.all));
        drop(state);
        if all {
            return self.aim_at_heads().map(|()| true);
        }
        for (conversation, head) in grown {
            self.aim(conversation, head)?;
        }
        Ok(true)
    }

    /// One transaction.
    fn batch(&mut self) -> Result<(), Trouble> {
        self.fat = true;
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let mut batch = Batch::default();
        let mut marks: HashMap<ConversationId, Seq> = HashMap::new();
        while batch.has_room() && !self.shared.stopped() {
            let Some(Reverse((_, key))) = self.waiting.pop() else { break };
            let (conversation, reached) = self.walk(key, &mut batch)?;
            marks.insert(conversation, reached);
        }
        self.touch(&batch.touched)?;
        for (conversation, mark) in &marks {
            docs::set_mark(&self.conn, *conversation, *mark)?;
        }
        self.conn.execute_batch("COMMIT")?;
        self.marks.extend(marks);
        Ok(())
    }

    /// Takes entries of one log as long as they are older than those of all others; answers how far it came.
    fn walk(&mut self, from: i64, batch: &mut Batch) -> Result<(ConversationId, Seq), Trouble> {
        let (LogId::Conversation(conversation), mut reached) = entry::place(from) else {
            return Err(Trouble::Damaged("a mark of no conversation".to_owned()));
        };
        let target = self.targets.get(&conversation).copied().unwrap_or(reached);
        let bound = self.waiting.peek().map(|Reverse(next)| *next);
        let (page, rest) =
            self.source.page(from, entry::key(LogId::Conversation(conversation), target), bound)?;
        batch.entries += page.len();
        for (key, stored) in page {
            reached = entry::place(key).1;
            if let Some(stored) = stored {
                self.index(&stored, batch)?;
            }
        }
        match rest {
            Some(next) => self.waiting.push(Reverse(next)),
            None => {
                self.targets.remove(&conversation);
            }
        }
        Ok((conversation, reached))
    }

    /// Puts one entry into the index.
    fn index(&mut self, stored: &Stored, batch: &mut Batch) -> Result<(), Trouble> {
        let entry = &stored.entry;
        match &entry.event {
            Event::Message(_) => {
                let Some(text) = self.source.text(stored) else { return Ok(()) };
                let key = entry::key(entry.log, entry.seq);
                let doc = Doc { id: self.next_id, key, at: entry.at, by: entry.by, text: fold(&text) };
                docs::add(&self.conn, &doc)?;
                self.next_id += 1;
                batch.docs += 1;
                batch.bytes += text.len();
            }
            Event::Edited { message, .. } | Event::Deleted { message } => {
                batch.touched.insert(entry::key(entry.log, *message));
            }
            _ => {}
        }
        Ok(())
    }

    /// Brings the documents of messages that were edited or deleted up to date.
    fn touch(&mut self, touched: &BTreeSet<i64>) -> Result<(), Trouble> {
        let mut changes: Vec<(Doc, Option<String>)> = Vec::new();
        for key in touched {
            let Some((at, text)) = self.source.message(*key)? else { continue };
            let text = text.map(|text| fold(&text));
            match docs::find(&self.conn, *key, at)? {
                Some(doc) if text.as_ref() != Some(&doc.text) => changes.push((doc, text)),
                _ => {}
            }
        }
        // FTS5 takes them in the order of their numbers without writing each by itself.
        changes.sort_unstable_by_key(|(doc, _)| doc.id);
        self.sweep |= !changes.is_empty();
        for (doc, text) in changes {
            docs::replace(&self.conn, &doc, text)?;
        }
        Ok(())
    }

    /// Gives back pages: nothing has come for a while.
    fn slim(&mut self) {
        self.fat = false;
        if let Err(error) = self.conn.execute_batch("PRAGMA shrink_memory").and_then(|()| self.source.slim())
        {
            tracing::debug!(%error, "the search index keeps its pages in memory");
        }
    }

    /// Empties the write-ahead log, where removed text would stay until it is written over.
    fn sweep(&mut self) {
        match self.conn.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE) {
            Ok(_) => self.sweep = false,
            Err(error) => tracing::debug!(%error, "a search was in the way of emptying the index's log"),
        }
    }
}
