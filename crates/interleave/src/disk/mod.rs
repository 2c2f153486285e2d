//! A disk that keeps what it was asked to keep, notes what the store above it does, and complains.
//!
//! It knows commits by their numbers only: how many were written, and how many of them no power cut can take back. A
//! write or a sync can be made to fail. As a kernel does, it reports a failed sync once to each way that leads to it,
//! and afterwards says that all is well, though what was lost stays lost.

pub mod engine;
#[path = "../../../store/src/sqlite/front.rs"]
mod front;
#[path = "../../../store/src/sqlite/pool.rs"]
mod pool;
#[path = "../../../store/src/sqlite/queue.rs"]
mod queue;
#[path = "../../../store/src/sqlite/sync.rs"]
mod sync;

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use chinwag_domain::{Committed, Publish, Reader, Store};
use chinwag_protocol::{Entry, LogId, Seq};
use shuttle::{
    rand::{Rng, thread_rng},
    sync::Mutex,
    thread,
};

use crate::{
    engine::{Clock, Decide},
    memory::State,
};

/// How many ways lead to the log: that many syncs at once.
pub const WAYS: usize = 3;

/// Opens a store over a disk.
pub type Open = fn(Parts) -> Arc<dyn Store>;

/// What a store is made of.
pub struct Parts {
    /// What was there before.
    pub state: State,
    /// The rules.
    pub decide: Decide,
    /// What time it is.
    pub clock: Clock,
    /// Hears of every commit.
    pub publish: Arc<dyn Publish>,
    /// What it is written to.
    pub disk: Arc<Disk>,
    /// How many requests may wait for the writer.
    pub queue: usize,
}

/// What sort of trouble a write has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room.
    Full,
    /// Nobody knows what became of it.
    Broken,
    /// It is about this one request.
    Request,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}, on purpose")
    }
}

impl std::error::Error for Fault {}

/// What is to go wrong, and at the how manyth time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Writing what came of a request.
    pub request: Option<(u32, Fault)>,
    /// A commit.
    pub commit: Option<(u32, Fault)>,
    /// A sync.
    pub sync: Option<u32>,
}

/// See the module.
pub struct Disk(Mutex<Inner>);

struct Inner {
    faults: Faults,
    requests: u32,
    commits: u32,
    syncs: u32,
    /// Commits that were written, and those of them that are on the disk.
    written: u64,
    durable: u64,
    /// In which commit an entry was written.
    places: HashMap<(LogId, Seq), u64>,
    /// The last commit that was told.
    told: u64,
    /// A sync has failed; the ways that do not know it yet.
    failed: bool,
    unaware: [bool; WAYS],
    /// How often the store said that it cannot go on.
    deaths: u32,
    complaints: Vec<String>,
}

/// Whether it is this time that something is to go wrong.
fn strikes(count: &mut u32, fault: Option<(u32, Fault)>) -> Result<(), Fault> {
    *count += 1;
    match fault {
        Some((at, fault)) if at == *count => Err(fault),
        _ => Ok(()),
    }
}

impl Disk {
    /// A disk with nothing on it.
    pub fn new(faults: Faults) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner {
            faults,
            requests: 0,
            commits: 0,
            syncs: 0,
            written: 0,
            durable: 0,
            places: HashMap::new(),
            told: 0,
            failed: false,
            unaware: [false; WAYS],
            deaths: 0,
            complaints: Vec::new(),
        })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.0.lock().expect("nothing panics while it holds this lock"))
    }

    /// What came of a request is being written.
    pub(crate) fn request(&self) -> Result<(), Fault> {
        self.with(|inner| strikes(&mut inner.requests, inner.faults.request))
    }

    /// A commit is being written; not synced.
    pub(crate) fn commit(&self, entries: &[Arc<Entry>]) -> Result<(), Fault> {
        self.with(|inner| {
            strikes(&mut inner.commits, inner.faults.commit)?;
            if !entries.is_empty() {
                inner.written += 1;
                let written = inner.written;
                inner.places.extend(entries.iter().map(|entry| ((entry.log, entry.seq), written)));
            }
            Ok(())
        })
    }

    /// Waits until everything written before is on the disk; takes a moment or long.
    pub(crate) fn sync(&self, way: usize) -> io::Result<()> {
        let written = self.with(|inner| inner.written);
        thread::yield_now();
        crate::sync::pass(Duration::from_millis(thread_rng().gen_range(0..60)));
        self.with(|inner| {
            inner.syncs += 1;
            if inner.faults.sync == Some(inner.syncs) {
                inner.failed = true;
                inner.unaware = [true; WAYS];
            }
            if std::mem::take(&mut inner.unaware[way]) {
                return Err(io::Error::other("this disk fails on purpose"));
            }
            if !inner.failed {
                inner.durable = inner.durable.max(written);
            }
            Ok(())
        })
    }

    /// Commits are being told: that they are on the disk, and what was asked later is not told earlier.
    pub(crate) fn judge(&self, group: &[Committed]) -> u64 {
        let mut last = 0;
        self.with(|inner| {
            for entry in group.iter().flat_map(|committed| &committed.entries) {
                let Some(place) = inner.places.get(&(entry.log, entry.seq)).copied() else {
                    inner.complaints.push(format!("rolled back: what never was is told: {entry:?}"));
                    continue;
                };
                if place > inner.durable {
                    inner.complaints.push(format!("durable: told before it is on the disk: {entry:?}"));
                }
                if place < inner.told.max(last) {
                    inner.complaints.push(format!("order: told after what came later: {entry:?}"));
                }
                last = last.max(place);
            }
        });
        last
    }

    /// They are told now.
    pub(crate) fn told(&self, last: u64) {
        self.with(|inner| inner.told = inner.told.max(last));
    }

    /// Somebody reads: that he sees nothing that was not told.
    pub(crate) fn judge_reading(&self, reader: &dyn Reader) {
        let heads = reader.all_heads().expect("memory can be read");
        self.with(|inner| {
            for (log, head) in heads {
                if inner.places.get(&(log, head.seq)).is_some_and(|place| *place > inner.told) {
                    inner
                        .complaints
                        .push(format!("reader: {log} is seen up to {}, which is not told", head.seq));
                }
            }
        });
    }

    /// The store says that everything is told, and ends.
    pub(crate) fn judge_end(&self) {
        self.with(|inner| {
            if inner.deaths == 0 && inner.told < inner.written {
                inner.complaints.push(format!("end: {} of {} commits are told", inner.told, inner.written));
            }
        });
    }

    /// The store says that it cannot go on.
    pub(crate) fn die(&self) {
        self.with(|inner| inner.deaths += 1);
    }

    /// How often the store said that it cannot go on, and whether it had reason to.
    pub fn deaths(&self) -> (u32, bool) {
        self.with(|inner| {
            let broken = |count, fault| matches!(fault, Some((at, Fault::Broken)) if at <= count);
            let of_writer =
                broken(inner.requests, inner.faults.request) || broken(inner.commits, inner.faults.commit);
            (inner.deaths, inner.failed || of_writer)
        })
    }

    /// Somebody is told that his message stands there.
    pub fn judge_answer(&self, log: LogId, seq: Seq) {
        self.with(|inner| {
            if inner.places.get(&(log, seq)).is_none_or(|place| *place > inner.durable) {
                inner.complaints.push(format!("durable: {seq} of {log} is acknowledged too early"));
            }
        });
    }

    /// What the store did wrong.
    pub fn complaints(&self) -> Vec<String> {
        self.with(|inner| inner.complaints.clone())
    }
}
