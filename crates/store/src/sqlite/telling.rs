//! What the threads beside the writer wait for and what they tell: the log on the disk, and whoever must hear.
//!
//! Who waits for whom stands in [`super::sync`], where it is tried without a disk.

use std::{fs::File, io, path::Path, sync::Arc};

use chinwag_domain::{Committed, Publish, record::Cursor};
use chinwag_protocol::{Event, LogId, Position, Seq};

use super::{
    look::Beside,
    mark::Marks,
    sync::{Fatal, Log, Syncs, THREADS, Tell, Tools},
};

/// The write-ahead log, by a descriptor of its own.
struct WriteAhead {
    log: File,
    marks: Arc<Marks>,
}

impl Log for WriteAhead {
    fn sync(&self) -> io::Result<()> {
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::NoSync) {
            return Ok(());
        }
        let reached = self.marks.reached();
        let synced = self.log.sync_data();
        if synced.is_ok() {
            self.marks.synced(reached);
        }
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::FailedSyncIgnored) {
            return Ok(());
        }
        synced
    }
}

/// Who hears of what is on the disk.
struct Telling {
    beside: Arc<Beside>,
    publish: Arc<dyn Publish>,
}

/// Begins to sync the write-ahead log of the store in `file`. It is there already.
pub(super) fn start(
    file: &Path,
    beside: Arc<Beside>,
    publish: Arc<dyn Publish>,
    fatal: Arc<Fatal>,
    marks: &Arc<Marks>,
) -> io::Result<Syncs> {
    let log = file.with_extension("db-wal");
    // SQLite does this with its own first sync of a new log, which may come late.
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    let open = |_| Ok(WriteAhead { log: File::open(&log)?, marks: marks.clone() });
    let logs = (0..THREADS).map(open).collect::<io::Result<Vec<_>>>()?;
    let durability = beside.durability.clone();
    Syncs::start(logs, Tools { durability, fatal, tell: Telling { beside, publish } })
}

impl Tell for Telling {
    /// Moves the authors' cursors, wakes the index, publishes.
    fn tell(&self, group: Vec<Committed>) {
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::Hoards) {
            // Not zeros: those would take no memory.
            group.iter().for_each(|_| std::mem::forget(vec![1_u8; 512 * 1024]));
        }
        let mut grown: Vec<(LogId, Seq)> = Vec::new();
        for entry in group.iter().flat_map(|committed| &committed.entries) {
            match grown.iter_mut().rev().take(8).find(|(log, _)| *log == entry.log) {
                Some((_, head)) => *head = entry.seq,
                None => grown.push((entry.log, entry.seq)),
            }
            if let (LogId::Conversation(conversation), Event::Message(body)) = (entry.log, &entry.event) {
                // What one wrote oneself is read. What came before it need not have reached the program one wrote it
                // with: an old one may be told late what waited, so nothing is delivered by it.
                let read = Position { seq: entry.seq, messages: body.number };
                let cursor = Cursor { delivered: Seq::ZERO, read };
                self.beside.cursors.advance((conversation, entry.by), cursor);
            }
        }
        // All at once, so that the index never knows one part of a batch without the other.
        self.beside.index.grown(&grown);
        self.publish.publish(group);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        sync::{
            atomic::{AtomicU32, Ordering},
            mpsc,
        },
    };

    use chinwag_protocol::Refused;
    use tempfile::TempDir;

    use super::*;
    use crate::sqlite::{
        cursors::Cursors,
        search::SearchIndex,
        sync::{Durability, WAITING_MAX},
    };

    struct Tickets;

    impl Publish for Tickets {
        fn publish(&self, batch: Vec<Committed>) {
            batch.into_iter().for_each(|committed| (committed.ticket)(committed.verdict));
        }
    }

    struct Bed {
        syncs: Syncs,
        durability: Arc<Durability>,
        deaths: Arc<AtomicU32>,
        tell: mpsc::Sender<(u32, bool)>,
        told: mpsc::Receiver<(u32, bool)>,
        _folder: TempDir,
    }

    /// Threads over this file in the place of the log.
    fn bed(log: &str) -> Bed {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("chinwag.db");
        std::fs::write(folder.path().join("log"), "").unwrap();
        symlink(folder.path().join(log), file.with_extension("db-wal")).unwrap();
        let index = SearchIndex::open(&folder.path().join("search.db"), &file, "epoch", None);
        let durability = Arc::new(Durability::new(WAITING_MAX));
        let beside = Beside { cursors: Cursors::new(), index, durability: durability.clone() };
        let deaths = Arc::new(AtomicU32::new(0));
        let died = deaths.clone();
        let on_fatal = Box::new(move || {
            died.fetch_add(1, Ordering::SeqCst);
        });
        let fatal = Arc::new(Fatal::new(Arc::default(), durability.clone(), on_fatal));
        let marks = Arc::new(Marks::open(&file).unwrap());
        let syncs = start(&file, Arc::new(beside), Arc::new(Tickets), fatal, &marks).unwrap();
        let (tell, told) = mpsc::channel();
        Bed { syncs, durability, deaths, tell, told, _folder: folder }
    }

    impl Bed {
        fn commit(&self, number: u32) {
            let tell = self.tell.clone();
            let ticket = Box::new(move |verdict: Result<_, _>| {
                // Whether it was told as it was decided, and not that the disk has failed.
                let decided = verdict.is_err_and(|refused: Refused| refused.code == "decided");
                tell.send((number, decided)).unwrap();
            });
            let verdict = Err(Refused::conflict("decided", "no"));
            self.durability.begin();
            self.durability.push(vec![Committed { entries: Vec::new(), ticket, verdict }], true);
        }
    }

    #[test]
    fn commits_are_told_in_their_order_once() {
        let bed = bed("log");
        for number in 0..2_000 {
            bed.commit(number);
        }
        assert!(bed.syncs.finish());
        let told: Vec<(u32, bool)> = bed.told.try_iter().collect();
        assert_eq!(told, (0..2_000).map(|number| (number, true)).collect::<Vec<_>>());
        assert!(bed.durability.settle());
    }

    #[test]
    fn after_a_sync_that_failed_nothing_is_told() {
        // It cannot be synced, as a disk that fails.
        let bed = bed("/dev/null");
        for number in 0..20 {
            bed.commit(number);
        }
        let told: Vec<(u32, bool)> = (0..20).map(|_| bed.told.recv().unwrap()).collect();
        assert!(told.iter().all(|(_, decided)| !decided), "{told:?}");
        assert_eq!(bed.deaths.load(Ordering::SeqCst), 1);
        assert!(!bed.durability.settle(), "what a reader saw will never be durable");
    }

    #[test]
    fn a_reader_waits_for_what_it_may_have_seen() {
        let bed = bed("log");
        let durability = &*bed.durability;
        assert!(durability.settle());
        durability.begin();
        std::thread::scope(|scope| {
            let (done, waited) = mpsc::channel();
            scope.spawn(move || done.send(durability.settle()).unwrap());
            assert!(waited.try_recv().is_err(), "nothing was synced");
            bed.commit(1);
            assert!(waited.recv().unwrap());
            assert_eq!(bed.told.recv().unwrap(), (1, true));
        });
    }
}
