//! A store whose every step is taken by hand: what is accepted, what is committed, what is told, what a crash loses.
//!
//! The state behind it is that of the engine in memory. A request waits until a commit takes it, so that whether it
//! is decided early and committed late, or decided late, looks the same from outside.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use chinwag_domain::{
    Ask, Committed, Known, Plan, Reader, Request, Stop, Store,
    port::{Done, Reading, Verdict},
    record::Cursor,
    rules,
};
use chinwag_protocol::{Command, ConversationId, Entry, Kind, Millis, Refused, UserId};
use chinwag_store::memory::State;

use crate::{canary::Canary, waits::Wait};

/// Where the answer to a reading will be.
pub(crate) type Slot<T> = Arc<Mutex<Option<Result<T, Refused>>>>;

pub(crate) fn take<T>(slot: &Slot<T>) -> Option<Result<T, Refused>> {
    slot.lock().unwrap().take()
}

#[derive(Default)]
struct Inner {
    state: State,
    /// Cursors that are on the disk.
    written: BTreeMap<(ConversationId, UserId), Cursor>,
    waiting: VecDeque<Ask>,
    readings: Vec<Reading>,
    /// On the disk, but not told yet.
    committed: VecDeque<Vec<Committed>>,
    /// Told before it is on the disk, by a store that is broken on purpose.
    ahead: Option<(State, Vec<Arc<Entry>>)>,
    full: bool,
    /// A commit failed: nothing is accepted any more.
    stopped: bool,
    /// Readings are answered at once: while the server starts.
    at_once: bool,
    crashes: u32,
    at: Millis,
}

pub(crate) struct Disk {
    inner: Mutex<Inner>,
    canary: Option<Canary>,
    waiting_max: usize,
}

fn stopped() -> Refused {
    Refused::new(
        Kind::Unavailable,
        "unavailable",
        "the server is stopping; ask again with the same client id",
    )
}

impl Disk {
    pub(crate) fn new(canary: Option<Canary>, waiting_max: usize) -> Self {
        Self { inner: Mutex::default(), canary, waiting_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Looks at what is committed.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&dyn Reader) -> T) -> T {
        look(&self.lock().state)
    }

    pub(crate) fn answer_at_once(&self, at_once: bool) {
        self.lock().at_once = at_once;
    }

    pub(crate) fn fill_up(&self, full: bool) {
        self.lock().full = full;
    }

    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.lock();
        inner.waiting.is_empty() && inner.readings.is_empty() && inner.committed.is_empty()
    }

    /// What has got no farther than to the store.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        let mut inner = self.lock();
        let cursors: BTreeMap<_, _> =
            inner.state.cursors_mut().iter().map(|(key, cursor)| (*key, *cursor)).collect();
        let waits = [
            (Wait::Accepted, !inner.waiting.is_empty()),
            (Wait::Reading, !inner.readings.is_empty()),
            (Wait::Committed, inner.committed.iter().flatten().any(|one| !one.entries.is_empty())),
            (Wait::Unknown, inner.stopped),
            (Wait::Full, inner.full),
            (Wait::CursorsUnwritten, cursors != inner.written),
        ];
        waits.into_iter().filter_map(|(wait, is_there)| is_there.then_some(wait)).collect()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// A reading whose answer waits in a slot.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Known<T> + Send + 'static,
    ) -> Slot<T> {
        let slot: Slot<T> = Arc::default();
        let answer = Arc::clone(&slot);
        self.read(Box::new(move |reader| {
            let found = reader.map_err(Stop::from).and_then(read).map_err(|stop| match stop {
                Stop::Refused(refused) => refused,
                Stop::Failed(failed) => panic!("{failed}: {}", failed.cause),
            });
            *answer.lock().unwrap() = Some(found);
        }));
        slot
    }

    /// Answers one of the readings that wait.
    pub(crate) fn answer_one(&self, choose: impl FnOnce(usize) -> usize) -> bool {
        let mut inner = self.lock();
        if inner.readings.is_empty() {
            return false;
        }
        let chosen = choose(inner.readings.len());
        let reading = inner.readings.remove(chosen);
        reading(Ok(&inner.state));
        true
    }

    /// Commits at most so many requests; answers what was recorded.
    pub(crate) fn commit(&self, most: usize, at: Millis) -> Vec<Arc<Entry>> {
        let mut inner = self.lock();
        let mut recorded = Vec::new();
        if let Some((mut state, entries)) = inner.ahead.take() {
            for ((conversation, user), cursor) in inner.state.cursors_mut().drain() {
                state.move_cursor(conversation, user, cursor);
            }
            inner.state = state;
            recorded = entries;
        }
        if inner.waiting.is_empty() {
            return recorded;
        }
        inner.at = inner.at.max(at);
        let (at, full, crashes) = (inner.at, inner.full, inner.crashes);
        let is_ahead = self.canary == Some(Canary::AckBeforeCommit);
        let mut ahead = is_ahead.then(|| inner.state.clone());
        let mut entries_now = Vec::new();
        let mut batch = Vec::new();
        for _ in 0..most {
            let Some(Ask { request, ticket }) = inner.waiting.pop_front() else { break };
            if full && !makes_room(&request) {
                let verdict = without_room(&inner.state, at, &request);
                batch.push(Committed { entries: Vec::new(), ticket, verdict });
                continue;
            }
            let request = self.spoil(request, crashes);
            let state = ahead.as_mut().unwrap_or(&mut inner.state);
            let (entries, verdict) = state.decide(&|plan, request| self.decide(plan, request), at, &request);
            entries_now.extend(entries.iter().cloned());
            batch.push(Committed { entries, ticket, verdict });
        }
        inner.committed.push_back(batch);
        match ahead {
            Some(state) => inner.ahead = Some((state, entries_now)),
            None => recorded.extend(entries_now),
        }
        recorded
    }

    /// A commit fails: nobody knows whether it reached the disk, and nothing is accepted any more.
    pub(crate) fn fail_to_commit(&self, most: usize, reached: bool, at: Millis) -> Vec<Arc<Entry>> {
        let mut inner = self.lock();
        inner.ahead = None;
        inner.at = inner.at.max(at);
        let (at, crashes) = (inner.at, inner.crashes);
        let mut recorded = Vec::new();
        let mut batch = Vec::new();
        for _ in 0..most {
            let Some(Ask { request, ticket }) = inner.waiting.pop_front() else { break };
            if reached {
                let request = self.spoil(request, crashes);
                let decide = |plan: &mut Plan<'_>, request: &Request| self.decide(plan, request);
                recorded.extend(inner.state.decide(&decide, at, &request).0);
            }
            batch.push(Committed { entries: Vec::new(), ticket, verdict: Err(stopped()) });
        }
        inner.committed.push_back(batch);
        inner.stopped = true;
        recorded
    }

    /// What is to be told next.
    pub(crate) fn next_committed(&self) -> Option<Vec<Committed>> {
        self.lock().committed.pop_front()
    }

    /// Writes the cursors, as the writer does about once a second.
    pub(crate) fn write_cursors(&self) {
        let mut inner = self.lock();
        let cursors = inner.state.cursors_mut().iter().map(|(key, cursor)| (*key, *cursor)).collect();
        inner.written = cursors;
    }

    /// The process is gone: what was committed stays, with the cursors that were written.
    pub(crate) fn crash(&self) {
        let mut inner = self.lock();
        inner.waiting.clear();
        inner.readings.clear();
        inner.committed.clear();
        inner.ahead = None;
        inner.stopped = false;
        inner.crashes += 1;
        let written = inner.written.clone();
        *inner.state.cursors_mut() = written.into_iter().collect();
    }

    fn decide(&self, plan: &mut Plan<'_>, request: &Request) -> Known<Done> {
        match rules::decide(plan, request)? {
            Done::Refused(refused) if self.canary == Some(Canary::RefusalForgotten) => Err(refused.into()),
            done => Ok(done),
        }
    }

    /// What a store would decide that forgets in a crash what it has seen.
    fn spoil(&self, mut request: Request, crashes: u32) -> Request {
        if self.canary == Some(Canary::DedupeForgottenAtCrash)
            && let Request::Command { command: Command::Post { client_id, .. }, .. } = &mut request
        {
            client_id.push_str(&format!("~{crashes}"));
        }
        request
    }
}

/// On a full disk a repetition is answered as ever; what would have to be written is refused.
fn without_room(state: &State, at: Millis, request: &Request) -> Verdict {
    let mut plan = Plan::new(state, at);
    match rules::decide(&mut plan, request) {
        Ok(done) if plan.is_empty() => Ok(done),
        Ok(_) => Err(Refused::new(Kind::StorageFull, "storage_full", "the server's disk is full")),
        Err(Stop::Refused(refused)) => Err(refused),
        Err(Stop::Failed(failed)) => panic!("{failed}: {}", failed.cause),
    }
}

fn makes_room(request: &Request) -> bool {
    let Request::Command { command, .. } = request else { return false };
    matches!(command, Command::Delete { .. } | Command::CloseConversation { .. } | Command::EndSession { .. })
}

impl Store for Disk {
    fn transact(&self, ask: Ask) {
        let mut inner = self.lock();
        if inner.stopped {
            drop(inner);
            return (ask.ticket)(Err(stopped()));
        }
        if inner.waiting.len() >= self.waiting_max {
            drop(inner);
            return (ask.ticket)(Err(Refused::too_many(
                "busy",
                "the server has more to do than it can",
                100,
            )));
        }
        inner.waiting.push_back(ask);
    }

    fn read(&self, reading: Reading) {
        let mut inner = self.lock();
        match inner.at_once {
            true => reading(Ok(&inner.state)),
            false => inner.readings.push(reading),
        }
    }

    fn move_cursor(&self, conversation: ConversationId, user: UserId, to: Cursor) -> Cursor {
        let moved = self.lock().state.move_cursor(conversation, user, to);
        if self.canary == Some(Canary::CursorOverwritten) { to } else { moved }
    }

    fn epoch(&self) -> String {
        "simulated".to_owned()
    }
}
