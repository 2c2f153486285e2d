//! What only an engine with a file promises: the folder, its lock, its rights, its version, its bounded queue.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Barrier, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use chinwag_protocol::Seq;
use tempfile::TempDir;

use super::bed::{Bed, Kind, posting};
use crate::sqlite::{self, OpenError, SCHEMA};

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn error(opened: Result<sqlite::SqliteStore, OpenError>) -> OpenError {
    opened.err().expect("the store must not open")
}

#[test]
fn a_second_server_is_refused_and_touches_nothing() {
    let bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    let before = contents(bed.folder());
    let began = Instant::now();
    let refused = error(sqlite::open(bed.options()));
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains(&bed.folder().display().to_string()));
    assert!(began.elapsed() < Duration::from_secs(1), "F11 promises a second");
    assert!(contents(bed.folder()) == before);
    assert_eq!(bed.post(1, 1, "still here"), Seq(3));
}

#[test]
fn a6_an_older_store_is_brought_up_to_date_and_keeps_what_it_has() {
    let mut bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    assert_eq!(bed.post(1, 1, "from before"), Seq(3));
    bed.close();
    let file = bed.folder().join("chinwag.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    let first = include_str!("../../migrations/sqlite/V1__foundation.sql");
    let tables: Vec<String> = {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut statement = conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let later: Vec<_> = tables
        .iter()
        .filter(|name| {
            *name != "refinery_schema_history" && !first.contains(&format!("CREATE TABLE {name} "))
        })
        .collect();
    assert!(later.iter().any(|name| *name == "holding"), "{later:?}");
    // As the first version left it: what was in the later tables was empty, or stands elsewhere too.
    if later.iter().any(|name| *name == "sent_tail") {
        conn.execute_batch(
            "INSERT OR REPLACE INTO sent SELECT user, client_id, body, reply, sum FROM sent_tail",
        )
        .unwrap();
    }
    conn.execute_batch("DROP VIEW entries").unwrap();
    for name in later {
        conn.execute_batch(&format!("DROP TABLE {name}")).unwrap();
    }
    conn.execute_batch("DELETE FROM refinery_schema_history WHERE version > 1; PRAGMA user_version = 1")
        .unwrap();
    let epoch = |conn: &rusqlite::Connection| -> String {
        conn.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0)).unwrap()
    };
    let before = epoch(&conn);
    drop(conn);

    bed.reopen();
    assert_eq!(bed.post(1, 1, "and after"), Seq(4));
    bed.close();
    let conn = rusqlite::Connection::open(&file).unwrap();
    let version: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(
        (version, epoch(&conn)),
        (SCHEMA, before),
        "an older binary is kept out, and nobody begins anew"
    );
    drop(conn);
    assert!(sqlite::scrub(bed.folder(), |_| {}).unwrap().is_clean());
}

#[test]
fn a6_a_newer_store_is_refused_and_left_untouched() {
    let mut bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    bed.close();
    let file = bed.folder().join("chinwag.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    drop(conn);
    let before = contents(bed.folder());
    let refused = error(sqlite::open(bed.options()));
    assert!(
        matches!(refused, OpenError::Newer { compat, schema, .. } if (compat, schema) == (SCHEMA + 1, SCHEMA))
    );
    assert!(contents(bed.folder()) == before);
    assert!(matches!(sqlite::scrub(bed.folder(), |_| {}), Err(OpenError::Newer { .. })));
}

#[test]
fn a6_a_newer_store_is_refused_although_only_its_log_says_so() {
    let mut bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    bed.close();
    let file = bed.folder().join("chinwag.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    // As after a kill: the log is not yet in the file, and nobody closed the connection.
    let saved = bed.folder().join("saved");
    fs::create_dir(&saved).unwrap();
    for name in ["chinwag.db", "chinwag.db-wal"] {
        fs::copy(bed.folder().join(name), saved.join(name)).unwrap();
    }
    drop(conn);
    let mut options = bed.options();
    options.folder = saved.clone();
    let read = |name: &str| fs::read(saved.join(name)).unwrap();
    let before = (read("chinwag.db"), read("chinwag.db-wal"));
    let refused = error(sqlite::open(options));
    assert!(matches!(refused, OpenError::Newer { .. }), "{refused}");
    assert!((read("chinwag.db"), read("chinwag.db-wal")) == before);
}

#[test]
fn another_file_is_not_taken_for_a_store() {
    let bed = Bed::new(Kind::Sqlite);
    for bytes in [b"hello".to_vec(), vec![0; 4096], b"SQLite format 3\0 but nothing more".to_vec()] {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("chinwag.db"), &bytes).unwrap();
        let mut options = bed.options();
        options.folder = folder.path().to_owned();
        let refused = error(sqlite::open(options));
        assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
        assert_eq!(fs::read(folder.path().join("chinwag.db")).unwrap(), bytes);
    }
}

#[test]
fn the_folder_and_its_files_are_private() {
    let bed = Bed::new(Kind::Sqlite);
    let mut options = bed.options();
    options.folder = bed.folder().join("data");
    let folder = options.folder.clone();
    let store = sqlite::open(options).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files = contents(&folder);
    for (path, _) in &files {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    assert!(files.len() >= 4, "database, log, lock and ballast: {files:?}", files = files.len());
    drop(store);
}

#[test]
fn a_folder_that_cannot_be_made_is_named_in_one_line() {
    let bed = Bed::new(Kind::Sqlite);
    for folder in ["/proc/chinwag", "/nonexistent/deep/folder"] {
        let mut options = bed.options();
        options.folder = folder.into();
        let refused = error(sqlite::open(options)).to_string();
        assert!(refused.contains(folder) && !refused.contains('\n'), "{refused}");
    }
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn the_epoch_stays_and_differs_between_stores() {
    let (mut bed, other) = (Bed::new(Kind::Sqlite), Bed::new(Kind::Sqlite));
    let epoch = bed.store().epoch();
    bed.reopen();
    assert_eq!(bed.store().epoch(), epoch);
    assert_ne!(other.store().epoch(), epoch);
}

#[test]
fn b3_a_full_queue_says_so_at_once() {
    let bed = Bed::with(Kind::Sqlite, |options| options.queue = 4);
    bed.group(1, &[1]);
    let barrier = Arc::new(Barrier::new(2));
    let (entered, is_in) = mpsc::channel();
    let wait = barrier.clone();
    let script = move |plan: &mut chinwag_domain::Plan<'_>| {
        entered.send(()).unwrap();
        wait.wait();
        posting(plan, 1, 1, None, |_| {})
    };
    bed.submit(Box::new(script), |_| {});
    is_in.recv().unwrap();
    let (tell, told) = mpsc::channel();
    for number in 0..6 {
        let tell = tell.clone();
        bed.submit(Box::new(|plan| posting(plan, 1, 1, None, |_| {})), move |verdict| {
            tell.send((number, verdict)).unwrap();
        });
    }
    // The writer stands still, so these two answers can only come from the queue itself.
    for expected in [4, 5] {
        let (number, verdict) = told.recv().unwrap();
        let refused = verdict.unwrap_err();
        assert_eq!((number, refused.code.as_str(), refused.retry_after_ms), (expected, "busy", Some(100)));
    }
    barrier.wait();
    drop(tell);
    assert_eq!(told.iter().filter(|(_, verdict)| verdict.is_ok()).count(), 4);
}

#[test]
fn waiting_requests_share_a_transaction() {
    let bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    let barrier = Arc::new(Barrier::new(2));
    let wait = barrier.clone();
    bed.submit(
        Box::new(move |plan| {
            wait.wait();
            posting(plan, 1, 1, None, |_| {})
        }),
        |_| {},
    );
    let (tell, told) = mpsc::channel();
    let before = bed.heard.batches.load(Ordering::SeqCst);
    for _ in 0..500 {
        let tell = tell.clone();
        bed.submit(Box::new(|plan| posting(plan, 1, 1, None, |_| {})), move |verdict| {
            tell.send(verdict).unwrap();
        });
    }
    barrier.wait();
    drop(tell);
    assert_eq!(told.iter().filter(Result::is_ok).count(), 500);
    let batches = bed.heard.batches.load(Ordering::SeqCst) - before;
    assert!(batches < 250, "{batches} transactions for 500 requests that were all waiting");
}

#[test]
fn a_write_ahead_log_is_checkpointed() {
    let mut bed = Bed::with(Kind::Sqlite, |options| options.checkpoint_pages = 1_000);
    bed.group(1, &[1]);
    let text = "x".repeat(1_000_000);
    for _ in 0..60 {
        bed.post(1, 1, &text);
    }
    let log = fs::metadata(bed.folder().join("chinwag.db-wal")).unwrap().len();
    assert!(log < 40 * 1024 * 1024, "the log has {log} bytes after 60 MB");
    bed.close();
    let left = fs::metadata(bed.folder().join("chinwag.db-wal")).map_or(0, |meta| meta.len());
    assert_eq!(left, 0, "closing leaves one file");
}
