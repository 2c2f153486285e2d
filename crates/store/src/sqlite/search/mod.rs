//! The search index: a reader of the logs with its own thread and its own file, which can be made anew at any time.
//!
//! The writer tells it which logs have grown ([`SearchIndex::grown`]) and never waits for it. Its thread
//! ([`indexer`]) reads the store, as any reader does, and keeps documents ([`docs`]) and what they are found by
//! ([`gram`]) in a file of its own ([`file`]). The index only proposes: each hit is compared with the store itself,
//! and what is not indexed yet is scanned ([`find`]). So a search is exact while the index is behind, being rebuilt
//! or absent; it only takes longer then, and is refused as `busy` when it takes too long.

mod docs;
mod file;
mod find;
mod gram;
mod indexer;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use chinwag_domain::{
    Known,
    facts::Stop,
    port::Reader,
    reading::search::{Found, Wanted},
};
use chinwag_protocol::{ConversationId, LogId, Seq};
use rusqlite::Connection;

use crate::engine;
use file::Place;
use find::Trouble;

/// How long a search may take.
const BUDGET: Duration = Duration::from_millis(500);

/// The writer's notes about more conversations than this become one: look at all of them.
const GROWN_MAX: usize = 50_000;

/// See the module.
pub(super) struct SearchIndex {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer, the readers and the thread of the index share.
struct Shared {
    place: Place,
    state: Mutex<State>,
    /// Something for the thread to see.
    wake: Condvar,
    /// The thread has nothing left to do.
    settled: Condvar,
    /// Set under the lock, looked at without it.
    stopping: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// Up to where logs have grown since the thread looked; always all of the commits up to one of them.
    grown: HashMap<ConversationId, Seq>,
    /// There were too many to note.
    all: bool,
    /// The thread is at work.
    working: bool,
    /// Somebody waits for the thread to finish.
    hurry: bool,
    /// The file may be searched.
    usable: bool,
    /// A search found the file damaged.
    damaged: bool,
    /// Counts the files that there were.
    generation: u64,
    /// Connections for searching, none in use.
    readers: Vec<Connection>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SearchIndex {
    /// Opens the index in `file`, which reads the store in `main` with this epoch, or begins a new one. Never
    /// fails: without an index, searching is only slow.
    pub(super) fn open(file: &Path, main: &Path, epoch: &str, pages_max: Option<u32>) -> Self {
        let place = Place::new(file, epoch, pages_max);
        let state = Mutex::new(State { working: true, ..State::default() });
        let (wake, settled, stopping) = (Condvar::new(), Condvar::new(), Arc::default());
        let shared = Arc::new(Shared { place, state, wake, settled, stopping });
        // Here, so that the first search finds what the last run has indexed.
        let conn = indexer::open(&shared);
        let (for_thread, main) = (shared.clone(), main.to_owned());
        let thread = std::thread::Builder::new().name("search-index".into());
        let thread = match thread.spawn(move || indexer::run(&for_thread, &main, conn)) {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::error!(%error, "cannot start the search index: searching will be slow");
                None
            }
        };
        Self { shared, thread: Mutex::new(thread) }
    }

    /// Hears up to where logs have grown; called by the writer after each commit, in order.
    pub(super) fn grown(&self, logs: &[(LogId, Seq)]) {
        let mut state = self.shared.lock();
        for (log, head) in logs {
            let LogId::Conversation(conversation) = log else { continue };
            if state.grown.len() >= GROWN_MAX {
                state.all = true;
                state.grown.clear();
            }
            state.grown.insert(*conversation, *head);
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Finds messages.
    pub(super) fn search(&self, reader: &dyn Reader, wanted: &Wanted) -> Known<Found> {
        if wanted.readable.is_empty() {
            return Ok(Found::default());
        }
        let until = Instant::now() + BUDGET;
        let Some((generation, mut conn)) = self.reader() else {
            return without_index(reader, wanted, until);
        };
        match find::with_index(reader, wanted, &mut conn, until) {
            Ok(found) => {
                let mut state = self.shared.lock();
                if state.usable && state.generation == generation && !self.shared.stopped() {
                    state.readers.push(conn);
                }
                Ok(found)
            }
            Err(Trouble::Stop(stop)) => Err(stop),
            Err(Trouble::Index(error)) if file::is_busy(&error) => Err(Stop::Refused(engine::busy())),
            Err(Trouble::Index(error)) => {
                drop(conn);
                self.doubt(generation, &error);
                without_index(reader, wanted, until)
            }
        }
    }

    /// Ends the thread and closes the file.
    pub(super) fn stop(&self) {
        let mut state = self.shared.lock();
        self.shared.stopping.store(true, Ordering::Relaxed);
        // Closed before the thread's own connection, which then leaves no log behind.
        let readers = std::mem::take(&mut state.readers);
        drop(state);
        drop(readers);
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        engine::join(thread.into_iter());
    }

    /// Waits until everything committed so far is indexed; `false` if that takes longer than `at_most`.
    pub(super) fn settle(&self, at_most: Duration) -> bool {
        let mut state = self.shared.lock();
        state.hurry = true;
        self.shared.wake.notify_one();
        let is_behind =
            |state: &mut State| state.working || state.all || state.damaged || !state.grown.is_empty();
        let waited = self.shared.settled.wait_timeout_while(state, at_most, is_behind);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.hurry = false;
        !timeout.timed_out()
    }

    /// A connection for searching, if there is an index now.
    fn reader(&self) -> Option<(u64, Connection)> {
        let mut state = self.shared.lock();
        if !state.usable || self.shared.stopped() {
            return None;
        }
        let (generation, ready) = (state.generation, state.readers.pop());
        drop(state);
        match ready.map_or_else(|| self.shared.place.reader(), Ok) {
            Ok(conn) => Some((generation, conn)),
            Err(error) => {
                self.doubt(generation, &error);
                None
            }
        }
    }

    /// The file seems to be no good: it is made anew.
    fn doubt(&self, generation: u64, error: &rusqlite::Error) {
        let mut state = self.shared.lock();
        if state.generation == generation && state.usable {
            tracing::warn!(%error, "the search index cannot be read; it is made anew");
            state.usable = false;
            state.damaged = true;
            state.readers.clear();
        }
        drop(state);
        self.shared.wake.notify_one();
    }
}

impl Drop for SearchIndex {
    fn drop(&mut self) {
        self.stop();
    }
}

fn without_index(reader: &dyn Reader, wanted: &Wanted, until: Instant) -> Known<Found> {
    find::without_index(reader, wanted, until).map_err(|trouble| match trouble {
        Trouble::Stop(stop) => stop,
        Trouble::Index(_) => Stop::Refused(engine::busy()),
    })
}
