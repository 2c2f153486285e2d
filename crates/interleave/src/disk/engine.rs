//! A store over the queue, the threads and the readers that lie beside this file, with a state in memory in the place of
//! a database. It is compiled for them as they are and for each way to break them.

use std::{cell::RefCell, io, sync::Arc, time::Duration};

use chinwag_domain::{
    Ask, Committed, Failed, Publish, Reader, Request, Stop, Store,
    facts::Known,
    port::{Done, Reading},
    record::Cursor,
};
use chinwag_protocol::{ConversationId, Entry, UserId};

use super::{
    front::Front,
    pool::{self, Pool},
    queue::{Base, Decided, Queue, Trouble},
    sync::{Durability, Fatal, Log, Syncs, Tell, Tools},
};
use crate::{
    disk::{Disk, Fault, Parts, WAYS},
    engine::{Clock, Decide},
    memory::State,
    sync::{AtomicBool, Mutex, channel, thread},
};

/// How many readers there are.
const READERS: usize = 2;

/// So few requests may be committed and not yet told that the writer waits now and then.
const MOST: usize = 2;

/// What everybody sees who looks now.
type Committing = Arc<Mutex<Arc<State>>>;

fn look(committed: &Committing) -> Arc<State> {
    committed.lock().expect("nothing panics while it holds this lock").clone()
}

struct DiskStore {
    front: Front,
    committed: Committing,
    disk: Arc<Disk>,
}

/// Opens a store.
pub fn open(parts: Parts) -> Arc<dyn Store> {
    let Parts { state, decide, clock, publish, disk, queue } = parts;
    let committed: Committing = Arc::new(Mutex::new(Arc::new(state)));
    let durability = Arc::new(Durability::new(MOST));
    let stopped = Arc::new(AtomicBool::new(false));
    let dying = disk.clone();
    let fatal = Arc::new(Fatal::new(stopped.clone(), durability.clone(), Box::new(move || dying.die())));
    let view = || View { committed: committed.clone(), seen: RefCell::default() };
    let pool = Pool::start((0..READERS).map(|_| view()).collect(), &durability, 64);
    let tell = Telling { disk: disk.clone(), publish };
    let ways = (0..WAYS).map(|number| Way { disk: disk.clone(), number }).collect();
    let syncs = Syncs::start(ways, Tools { durability: durability.clone(), fatal: fatal.clone(), tell });
    let (asks, waiting) = channel::bounded(queue);
    let (base_disk, base_committed) = (disk.clone(), committed.clone());
    let base = Database {
        decide,
        clock,
        disk: base_disk,
        committed: base_committed,
        open: None,
        entries: Vec::new(),
        full: false,
    };
    let syncs = syncs.expect("threads can be started");
    let writer = thread::spawn(move || Queue::new(base, waiting, durability, fatal, syncs).run());
    let front = Front::new(asks, writer, pool.expect("threads can be started"), stopped);
    Arc::new(DiskStore { front, committed, disk })
}

impl Store for DiskStore {
    fn transact(&self, ask: Ask) {
        self.front.transact(ask);
    }

    fn read(&self, reading: Reading) {
        let disk = self.disk.clone();
        self.front.read(Box::new(move |reader| {
            if let Ok(reader) = reader {
                disk.judge_reading(reader);
            }
            reading(reader);
        }));
    }

    fn move_cursor(&self, conversation: ConversationId, user: UserId, to: Cursor) -> Cursor {
        let mut committed = self.committed.lock().expect("nothing panics while it holds this lock");
        Arc::make_mut(&mut committed).move_cursor(conversation, user, to)
    }

    fn epoch(&self) -> String {
        "one".to_owned()
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.front.stop_reading();
        self.front.stop_writing();
    }
}

/// The database: transactions over a copy of what is committed.
struct Database {
    decide: Decide,
    clock: Clock,
    disk: Arc<Disk>,
    committed: Committing,
    open: Option<State>,
    /// What came of the requests of the open transaction.
    entries: Vec<Arc<Entry>>,
    full: bool,
}

fn failed(fault: Fault) -> Stop {
    Failed::new("cannot write", fault).into()
}

impl Base for Database {
    fn begin(&mut self) -> Result<(), Stop> {
        assert!(self.open.is_none(), "a transaction is open already");
        self.open = Some(State::clone(&look(&self.committed)));
        Ok(())
    }

    fn decide(&mut self, request: &Request) -> Result<Decided, Stop> {
        self.disk.request().map_err(failed)?;
        let state = self.open.as_mut().expect("a transaction is open");
        let rules: &dyn Fn(&mut chinwag_domain::Plan<'_>, &Request) -> Known<Done> = &*self.decide;
        let (entries, verdict) = state.decide(rules, (self.clock)(), request);
        self.entries.extend(entries.iter().cloned());
        Ok(Decided { changed: !entries.is_empty(), entries, verdict })
    }

    fn take_along(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Stop> {
        self.disk.commit(&self.entries).map_err(failed)?;
        self.entries.clear();
        let mut state = self.open.take().expect("a transaction is open");
        let mut committed = self.committed.lock().expect("nothing panics while it holds this lock");
        // Cursors lie beside the database.
        for ((conversation, user), cursor) in Arc::make_mut(&mut committed).cursors_mut().drain() {
            state.move_cursor(conversation, user, cursor);
        }
        *committed = Arc::new(state);
        Ok(())
    }

    fn roll_back(&mut self) {
        self.open = None;
        self.entries.clear();
    }

    fn trouble(stop: &Stop) -> Trouble {
        let Stop::Failed(failed) = stop else { return Trouble::Request };
        match failed.cause.downcast_ref() {
            Some(Fault::Full) => Trouble::Full,
            Some(Fault::Broken) => Trouble::Disk,
            Some(Fault::Request) | None => Trouble::Request,
        }
    }

    fn is_full(&self) -> bool {
        self.full
    }

    fn fill_up(&mut self) {
        self.full = true;
    }

    fn look_for_room(&mut self) {
        self.full = false;
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn idle(&mut self) {}

    fn after(&mut self, _batch: bool) {}

    fn finish(&mut self) {
        self.disk.judge_end();
    }
}

/// A way to the log.
struct Way {
    disk: Arc<Disk>,
    number: usize,
}

impl Log for Way {
    fn sync(&self) -> io::Result<()> {
        self.disk.sync(self.number)
    }
}

/// Who hears of what is on the disk.
struct Telling {
    disk: Arc<Disk>,
    publish: Arc<dyn Publish>,
}

impl Tell for Telling {
    fn tell(&self, group: Vec<Committed>) {
        let last = self.disk.judge(&group);
        self.publish.publish(group);
        self.disk.told(last);
    }
}

/// A reader's look at the database.
struct View {
    committed: Committing,
    seen: RefCell<Option<Arc<State>>>,
}

impl pool::View for View {
    fn begin(&self) -> Result<(), Failed> {
        *self.seen.borrow_mut() = Some(look(&self.committed));
        Ok(())
    }

    fn reader(&self) -> impl Reader {
        State::clone(self.seen.borrow().as_ref().expect("a reading has begun"))
    }

    fn end(&self) {
        *self.seen.borrow_mut() = None;
    }

    fn slim(&self) {}
}
