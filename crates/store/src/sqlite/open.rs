//! Opening a store: checks first, without touching anything, then the lock, the migrations and the threads.

use std::{
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use chinwag_domain::Publish;
use rusqlite::{Connection, MAIN_DB, hooks::Wal, wal::CheckpointMode};

use super::{
    SqliteStore,
    checkpoint::Checkpointer,
    cursors::Cursors,
    files::{self, Ballast, Folder, OpenError},
    front::Front,
    look::{Beside, Look},
    mark::Marks,
    pool::Pool,
    queue::Queue,
    row::{self, put, text},
    search::SearchIndex,
    sync::{Durability, Fatal, WAITING_MAX},
    telling,
    view::{View, read_only},
    wal::{self, End},
    writer::{Parts, Writer},
};
use crate::engine::{self, Clock, Decide};

/// The schema that this binary writes.
pub const SCHEMA: u32 = 4;

/// The oldest schema whose binaries may still use what this one writes.
const COMPAT: u32 = 4;

/// In the header of the file: what it is. "Chwg".
const APPLICATION: u32 = 0x4368_7767;

mod migrations {
    refinery::embed_migrations!("migrations/sqlite");
}

/// What a store needs of the world around it.
pub struct Options {
    /// The data folder; made if it is not there.
    pub folder: PathBuf,
    /// The rules.
    pub decide: Decide,
    /// What time it is.
    pub clock: Clock,
    /// Hears of every commit.
    pub publish: Arc<dyn Publish>,
    /// The disk failed: the process must end within a second.
    pub on_fatal: Box<dyn Fn() + Send + Sync>,
    /// How many reader threads.
    pub readers: usize,
    /// How many requests may wait for the writer.
    pub queue: usize,
    /// How many things of each sort the writer remembers.
    pub remember: usize,
    /// After a batch of so many entries for many logs, those of the next are written one behind the other first.
    pub busy: usize,
    /// After so many pages the write-ahead log is copied into the database.
    pub checkpoint_pages: u32,
    /// How much disk space is kept in hand for the day when the disk is full.
    pub ballast_bytes: u64,
    /// The most pages the file may have, for testing; `None`: as many as the disk holds.
    pub pages_max: Option<u32>,
}

impl Options {
    /// A store in `folder` with the usual sizes.
    pub fn new(folder: impl Into<PathBuf>, decide: Decide, clock: Clock, publish: Arc<dyn Publish>) -> Self {
        Self {
            folder: folder.into(),
            decide,
            clock,
            publish,
            on_fatal: Box::new(|| {}),
            readers: 4,
            queue: engine::QUEUE,
            remember: 200_000,
            busy: 64,
            checkpoint_pages: 16_000,
            ballast_bytes: 16 * 1024 * 1024,
            pages_max: None,
        }
    }
}

/// Opens the store in a data folder, or makes a new one.
pub fn open(options: Options) -> Result<SqliteStore, OpenError> {
    let folder = Folder::open(&options.folder)?;
    let file = folder.file("chinwag.db");
    let failed = |doing, cause: Cause| OpenError::Store { file: file.clone(), doing, cause };
    check_version(&file)?;
    files::touch(&file).map_err(|cause| failed("creating the file", cause.into()))?;
    let end = wal::end(&file);
    let mut conn = Connection::open(&file).map_err(|cause| failed("opening the file", cause.into()))?;
    configure(&conn, options.pages_max)
        .map_err(|cause| failed("configuring the connection", cause.into()))?;
    #[cfg(feature = "canaries")]
    let safely = match crate::canary::is(crate::canary::Canary::MigratesWithoutJournal) {
        true => "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF",
        false => "",
    };
    #[cfg(feature = "canaries")]
    conn.execute_batch(safely).map_err(|cause| failed("configuring the connection", cause.into()))?;
    migrate(&mut conn).map_err(|cause| failed("migrating", cause))?;
    #[cfg(feature = "canaries")]
    configure(&conn, options.pages_max)
        .map_err(|cause| failed("configuring the connection", cause.into()))?;
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::DedupeInMemory) {
        conn.execute_batch("DELETE FROM sent; DELETE FROM sent_tail")
            .map_err(|cause| failed("forgetting", cause.into()))?;
    }
    match end {
        Some(End::Damaged(why)) => tracing::error!("{why}: stop the server and run chinwag scrub"),
        Some(End::Unsynced(why)) => {
            tracing::warn!("{why}");
            // What is left there would look like damage as soon as something is written before it.
            conn.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE)
                .map_err(|cause| failed("beginning the log anew", cause.into()))?;
        }
        None => {}
    }
    let epoch = epoch(&conn).map_err(|cause| failed("reading its epoch", cause))?;

    let ballast = Ballast::new(&folder, options.ballast_bytes);
    if let Err(error) = ballast.set() {
        tracing::warn!(%error, "there is no room for the ballast: the disk is nearly full");
    }
    let index = SearchIndex::open(&folder.file("search.db"), &file, &epoch, options.pages_max);
    let durability = Arc::new(Durability::new(WAITING_MAX));
    let beside = Arc::new(Beside { cursors: Cursors::new(), index, durability: durability.clone() });
    let last_at = Look { conn: &conn, beside: &beside }
        .last_at()
        .map_err(|cause| failed("finding the last entry", cause.into()))?;
    // That went through the end of every log; the pages are not needed again soon.
    conn.execute_batch("PRAGMA shrink_memory").map_err(|cause| failed("giving back memory", cause.into()))?;

    let loader = read_only(&file).map_err(|cause| failed("opening a reader", cause.into()))?;
    let views = (0..options.readers)
        .map(|_| View::open(&file, &beside))
        .collect::<Result<_, _>>()
        .map_err(|cause| failed("opening a reader", cause.into()))?;
    let pool = Pool::start(views, &durability, engine::READING_QUEUE)
        .map_err(|cause| failed("starting the readers", cause.into()))?;
    let wal_pages = Arc::new(AtomicU32::new(0));
    let marks = Arc::new(Marks::open(&file).map_err(|cause| failed("noting what is synced", cause.into()))?);
    let (pages, noted) = (wal_pages.clone(), marks.clone());
    // In place of SQLite's automatic checkpoint, see the writer.
    let hook = move |_: &mut Wal, count: i32| {
        pages.store(count.unsigned_abs(), Ordering::Relaxed);
        noted.committed(count.unsigned_abs());
        Ok(())
    };
    conn.wal_hook(Some(hook)).map_err(|cause| failed("watching the log", cause.into()))?;
    let stopped = Arc::new(AtomicBool::new(false));
    let (queue, waiting) = crossbeam_channel::bounded(options.queue);
    // From here on commits do not wait for the disk: others do, before they are told.
    conn.pragma_update(None, "synchronous", "NORMAL").map_err(|cause| failed("configuring", cause.into()))?;
    let fatal = Arc::new(Fatal::new(stopped.clone(), durability.clone(), options.on_fatal));
    let checkpointer = Checkpointer::start(&file, fatal.clone(), marks.clone())
        .map_err(|cause| failed("starting the checkpoints", cause.into()))?;
    let syncs = telling::start(&file, beside.clone(), options.publish, fatal.clone(), &marks)
        .map_err(|cause| failed("watching over the log", cause.into()))?;
    let writer = Writer::new(Parts {
        conn,
        beside: beside.clone(),
        decide: options.decide,
        clock: options.clock,
        fatal: fatal.clone(),
        checkpointer,
        small_disk: ballast.disk_is_small(),
        ballast,
        wal_pages,
        last_at,
        remember: options.remember,
        busy: options.busy,
        checkpoint_pages: options.checkpoint_pages,
    });
    let thread = std::thread::Builder::new().name("writer".into());
    let run = move || Queue::new(writer, waiting, durability, fatal, syncs).run();
    let writer = thread.spawn(run).map_err(|cause| failed("starting the writer", cause.into()))?;
    Ok(SqliteStore {
        front: Front::new(queue, writer, pool, stopped),
        beside,
        loader: Mutex::new(loader),
        epoch,
        folder,
    })
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn configure(conn: &Connection, pages_max: Option<u32>) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(128);
    conn.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA secure_delete = ON;
         PRAGMA cache_size = -65536;
         PRAGMA temp_store = MEMORY;
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA busy_timeout = 50;",
    )?;
    if let Some(pages) = pages_max {
        conn.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(())
}

/// Looks into the header of the file, and changes nothing: an older binary must leave a newer store untouched.
pub(super) fn check_version(file: &Path) -> Result<(), OpenError> {
    let failed = |cause: std::io::Error| OpenError::Store {
        file: file.to_owned(),
        doing: "reading its header",
        cause: cause.into(),
    };
    let mut header = Vec::with_capacity(100);
    match File::open(file) {
        Ok(opened) => opened.take(100).read_to_end(&mut header).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if header.is_empty() {
        return Ok(());
    }
    let number =
        |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let (Some(compat), Some(application)) = (number(60), number(68)) else {
        return Err(OpenError::Foreign { file: file.to_owned() });
    };
    // Zero: the process was killed before the first migration was done.
    if !header.starts_with(b"SQLite format 3\0") || !matches!(application, APPLICATION | 0) {
        return Err(OpenError::Foreign { file: file.to_owned() });
    }
    check_compat(file, compat)?;
    // A newer server may have been killed before its version reached the file: then only the log knows of it.
    // A connection that only reads leaves both as they are.
    let log = file.with_extension("db-wal");
    if std::fs::metadata(log).is_ok_and(|meta| meta.len() > 0)
        && let Ok(conn) = read_only(file)
        && let Ok(compat) = conn.query_row("PRAGMA user_version", [], |row| row.get(0))
    {
        check_compat(file, compat)?;
    }
    Ok(())
}

fn check_compat(file: &Path, compat: u32) -> Result<(), OpenError> {
    if compat > SCHEMA {
        return Err(OpenError::Newer { file: file.to_owned(), compat, schema: SCHEMA });
    }
    Ok(())
}

fn migrate(conn: &mut Connection) -> Result<(), Cause> {
    let known: u32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    // Newer migrations than ours may be there: their author says by `compat` that we can live with them.
    let runner = migrations::migrations::runner().set_grouped(true).set_abort_missing(false);
    // It panics at a damaged row of its own history.
    catch_unwind(AssertUnwindSafe(|| runner.run(conn)))
        .map_err(|_| "the list of migrations is damaged")??;
    let compat: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if known == APPLICATION && compat >= COMPAT {
        return Ok(());
    }
    let transaction = conn.transaction()?;
    put(&transaction, &row::META, &[text("schema"), text(&SCHEMA.to_string())])?;
    put(&transaction, &row::META, &[text("compat"), text(&COMPAT.to_string())])?;
    if known != APPLICATION {
        new_epoch(&transaction)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", COMPAT)?;
    transaction.commit()?;
    // Into the file itself, where an older binary looks before it opens anything.
    conn.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE)?;
    Ok(())
}

/// Names the store's history anew: whoever knows it by another name begins afresh.
pub(super) fn new_epoch(conn: &Connection) -> Result<String, Cause> {
    let epoch: String = conn.query_row("SELECT lower(hex(randomblob(8)))", [], |row| row.get(0))?;
    put(conn, &row::META, &[text("epoch"), text(&epoch)])?;
    Ok(epoch)
}

fn epoch(conn: &Connection) -> Result<String, Cause> {
    let found = row::one(
        conn,
        &row::META,
        "SELECT * FROM meta WHERE name = ?",
        ["epoch"],
        format_args!("the epoch"),
        |row| row::number::<String>(row, 1),
    )?;
    found.ok_or_else(|| "there is none".into())
}
