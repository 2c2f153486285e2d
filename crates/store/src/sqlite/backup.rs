//! Copying a store into one file while it is in use, and making a store of such a file again; the files of its messages
//! lie in a folder beside it.
//!
//! A backup is the database as one of the server's own commits left it, taken page by page through SQLite, which holds
//! that state for as long as it takes. It is checked like any store before it counts, and ends with a page that says
//! what it is and has a digest over everything before: a file that was cut or changed is not taken for a backup. It
//! holds neither the search index, which a server makes again, nor the configuration.
//!
//! While it is taken the server removes no file ([`lend`]), so every file that the copied state names is still there.
//! They are copied in the form and under the names that they have in the store, and compared with their names; what
//! an earlier backup beside it has, gets one more name instead. The backup has its own name only after all of them.
//!
//! A restored store has a new epoch: its clients may know things that it does not, and must begin anew.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use chinwag_protocol::Millis;
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    attached::{self, Attached},
    files::{Folder, OpenError, private},
    open::{SCHEMA, check_version, new_epoch},
    scrub::{self, Progress, Report},
    view::read_only,
};
use crate::objects::{Carrier, lend};

/// What the last page of a backup begins with.
const MAGIC: &str = "CHINWAG BACKUP 1\n";

/// The length of that page.
const LABEL: usize = 4096;

/// Pages between two looks at how far it is.
const PAGES_AT_ONCE: i32 = 1_024;

/// Why a backup or a restore did not happen. One line each.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store, or the folder for it, cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// There is a file of this name.
    #[error("{} is there already; a backup does not overwrite anything", file.display())]
    Exists {
        /// Which.
        file: PathBuf,
    },
    /// There is a store where one is to be restored.
    #[error("{} is there already; restore into a folder without a store", file.display())]
    Occupied {
        /// What is in the way.
        file: PathBuf,
    },
    /// Not a backup, or one whose end is missing.
    #[error("{} is not a whole backup of Chinwag", file.display())]
    Foreign {
        /// Which.
        file: PathBuf,
    },
    /// Not every file that was backed up is beside it.
    #[error("{} lacks {count} files of messages, or they are damaged", folder.display())]
    Lacking {
        /// Where they should be.
        folder: PathBuf,
        /// How many.
        count: u64,
    },
    /// Its bytes are not those that were written.
    #[error("{} is damaged: its bytes are not those that were backed up", file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
    },
    /// A step failed.
    #[error("cannot {doing} {}: {cause}", file.display())]
    Step {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// Why it failed.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When it was taken.
    pub taken_at: Millis,
    /// When its last entry was made: up to where it goes.
    pub last_at: Millis,
    /// How many entries it holds.
    pub entries: u64,
    /// How many records it holds.
    pub records: u64,
    /// How many damaged things there were in the store when it was taken, files that were lacking among them.
    pub damaged: u64,
    /// The files of its messages, if they were wanted; older backups never have them.
    #[serde(default)]
    pub attached: Option<Attached>,
    /// The digest of its contents, as a scrub of the store shows it.
    pub contents: String,
    /// The schema that a binary must know to use it.
    pub schema: u32,
    /// The epoch of the store that it was taken of.
    pub epoch: String,
    /// How long the database in it is.
    pub bytes: u64,
    /// The digest of these bytes.
    pub sha256: String,
}

/// What is to be backed up, or restored of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// All of it.
    Everything,
    /// Not the files of messages.
    NoFiles,
}

/// What a restore made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// The epoch of the new store.
    pub epoch: String,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn failed<C: Into<Cause>>(doing: &'static str, file: &Path) -> impl FnOnce(C) -> BackupError {
    let file = file.to_owned();
    move |cause| BackupError::Step { doing, file, cause: cause.into() }
}

/// A file that goes if what it was made for fails.
struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Draft {
    /// Beside the file that it is to become, under another name.
    fn beside(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        Self { path: name.into(), kept: false }
    }

    /// Gives it its name, for good.
    fn keep(mut self, name: &Path) -> Result<(), BackupError> {
        fs::rename(&self.path, name).map_err(failed("make", name))?;
        self.kept = true;
        let folder = match name.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("make", name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Copies the store in `folder` into the new file `to`, beside a running server or without one.
pub fn backup(
    folder: &Path,
    to: &Path,
    want: Want,
    now: Millis,
    mut progress: impl FnMut(Progress),
) -> Result<Manifest, BackupError> {
    let file = folder.join("chinwag.db");
    if !file.exists() {
        return Err(OpenError::Missing { file }.into());
    }
    check_version(&file)?;
    if to.exists() {
        return Err(BackupError::Exists { file: to.to_owned() });
    }
    // From before the state that is copied until its files are.
    let files = folder.join("files");
    let lent = lend(&files).map_err(failed("hold", &files))?;
    let draft = Draft::beside(to);
    let opened = private(true).open(&draft.path).map_err(failed("write", &draft.path))?;
    opened.set_len(0).map_err(failed("write", &draft.path))?;
    let (epoch, schema) = copy(&file, &draft.path, &mut progress).map_err(failed("copy", &file))?;
    let mut report = Report::default();
    let copied = read_only(&draft.path).map_err(failed("read", &draft.path))?;
    scrub::look(&copied, &mut report, &mut progress);
    let attached = match want {
        Want::NoFiles => None,
        Want::Everything => {
            let (place, before) = (attached::beside(to), attached::before(to));
            let carrier = Carrier::new(&files, &place, before.as_deref());
            Some(attached::carry(&copied, carrier, &mut progress).map_err(failed("write", &place))?)
        }
    };
    drop((copied, lent));

    let digest =
        digest(&mut File::open(&draft.path).map_err(failed("read", &draft.path))?, None, &mut |_| {});
    let (bytes, sha256) = digest.map_err(failed("read", &draft.path))?;
    let manifest = Manifest {
        taken_at: now,
        last_at: report.last_at,
        entries: report.entries,
        records: report.records,
        damaged: report.findings.len() as u64 + attached.as_ref().map_or(0, |files| files.lacking),
        attached,
        contents: report.contents,
        schema,
        epoch,
        bytes,
        sha256,
    };
    let mut end =
        fs::OpenOptions::new().append(true).open(&draft.path).map_err(failed("write", &draft.path))?;
    end.write_all(&label(&manifest)).and_then(|()| end.sync_all()).map_err(failed("write", &draft.path))?;
    draft.keep(to)?;
    Ok(manifest)
}

/// Copies one state of a database; its epoch and the schema that it needs.
fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(String, u32), Cause> {
    let source = read_only(from)?;
    source.busy_timeout(Duration::from_secs(5))?;
    // Held until the end: what is committed meanwhile is not seen, and the copy need not begin again.
    source.execute_batch("BEGIN")?;
    let epoch = source.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))?;
    let schema = source.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let mut target = Connection::open(to)?;
    // Nothing of it counts before all of it is there.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let running = Backup::new(&source, &mut target)?;
    loop {
        let step = running.step(PAGES_AT_ONCE)?;
        let pages = running.progress();
        let done = u64::try_from(pages.pagecount - pages.remaining).unwrap_or_default();
        progress(Progress { what: "pages copied", rows: done });
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Somebody is in the way for a moment, for example a checkpoint.
            _ => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
    drop(running);
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::BackupByCopy) {
        drop(target);
        fs::copy(from, to)?;
        return Ok((epoch, schema));
    }
    // A file that needs no others beside it, so that it can be read where nothing can be written.
    let mode: String = target.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode != "delete" {
        return Err(format!("the copy stays in the mode {mode}").into());
    }
    Ok((epoch, schema))
}

/// How many bytes there are, at most `most`, and their digest; `each` gets them in pieces.
fn digest(from: &mut impl Read, most: Option<u64>, each: &mut dyn FnMut(&[u8])) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut from = from.take(most.unwrap_or(u64::MAX));
    let (mut buffer, mut bytes) = (vec![0; 1 << 18], 0);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((bytes, scrub::hex(hash))),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes += read as u64;
        hash.update(&buffer[..read]);
        each(&buffer[..read]);
    }
}

/// The last page: what it is, the manifest, and a digest of the manifest.
fn label(manifest: &Manifest) -> Vec<u8> {
    let json = serde_json::to_string(manifest).expect("a manifest is plain data");
    let mut hash = Sha256::new();
    hash.update(&json);
    let mut page = format!("{MAGIC}{json}\n{}\n", scrub::hex(hash)).into_bytes();
    page.resize(LABEL, b' ');
    page
}

fn manifest(page: &[u8]) -> Option<Manifest> {
    let mut lines = std::str::from_utf8(page).ok()?.strip_prefix(MAGIC)?.lines();
    let (json, said) = (lines.next()?, lines.next()?);
    let mut hash = Sha256::new();
    hash.update(json);
    (scrub::hex(hash) == said).then(|| serde_json::from_str(json).ok()).flatten()
}

/// What a backup says of itself; only its last page is read.
fn read_manifest(file: &Path) -> Result<Manifest, BackupError> {
    use std::io::{Seek, SeekFrom};
    let mut opened = File::open(file).map_err(failed("read", file))?;
    let length = opened.metadata().map_err(failed("read", file))?.len();
    let foreign = || BackupError::Foreign { file: file.to_owned() };
    let begins = length.checked_sub(LABEL as u64).ok_or_else(foreign)?;
    let mut page = Vec::with_capacity(LABEL);
    opened.seek(SeekFrom::Start(begins)).map_err(failed("read", file))?;
    opened.read_to_end(&mut page).map_err(failed("read", file))?;
    manifest(&page).filter(|manifest| manifest.bytes == begins).ok_or_else(foreign)
}

/// Makes a store of a backup in a data folder that has none.
pub fn restore(
    from: &Path,
    folder: &Path,
    want: Want,
    mut progress: impl FnMut(Progress),
) -> Result<Restored, BackupError> {
    let manifest = read_manifest(from)?;
    if manifest.schema > SCHEMA {
        let (file, compat) = (from.to_owned(), manifest.schema);
        return Err(OpenError::Newer { file, compat, schema: SCHEMA }.into());
    }
    let held = Folder::open(folder)?;
    let file = held.file("chinwag.db");
    // The log of another store beside this one would be taken for its own.
    for name in ["chinwag.db", "chinwag.db-wal", "chinwag.db-shm", "chinwag.db-journal"] {
        let file = held.file(name);
        if file.symlink_metadata().is_ok() {
            return Err(BackupError::Occupied { file });
        }
    }
    let draft = Draft::beside(&file);
    write(from, &manifest, &draft.path, &mut progress)?;
    if want == Want::Everything
        && let Some(expected) = &manifest.attached
    {
        let (place, files) = (attached::beside(from), held.file("files"));
        let restored = read_only(&draft.path).map_err(failed("read", &draft.path))?;
        let carried = attached::carry(&restored, Carrier::new(&place, &files, None), &mut progress)
            .map_err(failed("write", &files))?;
        if carried.files < expected.files {
            let count = expected.files - carried.files;
            return Err(BackupError::Lacking { folder: place, count });
        }
    }
    let epoch = renew(&draft.path).map_err(failed("prepare", &draft.path))?;
    // The index of whatever was here before; the server makes a new one.
    for name in ["search.db", "search.db-wal", "search.db-shm", "search.db-journal"] {
        match fs::remove_file(held.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &held.file(name))(error));
            }
            _ => {}
        }
    }
    draft.keep(&file)?;
    Ok(Restored { manifest, epoch })
}

/// Writes the database of a backup into a file, if it is what was backed up.
fn write(
    from: &Path,
    manifest: &Manifest,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    let mut source = File::open(from).map_err(failed("read", from))?;
    let mut target = private(true).open(to).map_err(failed("write", to))?;
    target.set_len(0).map_err(failed("write", to))?;
    let (mut written, mut done) = (Ok(()), 0);
    let read = digest(&mut source, Some(manifest.bytes), &mut |piece| {
        if written.is_ok() {
            written = target.write_all(piece);
        }
        done += piece.len() as u64;
        progress(Progress { what: "bytes restored", rows: done });
    });
    let (bytes, sha256) = read.map_err(failed("read", from))?;
    written.and_then(|()| target.sync_all()).map_err(failed("write", to))?;
    if (bytes, &sha256) != (manifest.bytes, &manifest.sha256) {
        return Err(BackupError::Damaged { file: from.to_owned() });
    }
    Ok(())
}

/// Gives a store that is not in use a new epoch.
fn renew(file: &Path) -> Result<String, Cause> {
    let mut conn = Connection::open(file)?;
    // The copy is not there before it has its name, so a journal in memory is enough.
    conn.execute_batch(
        "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;",
    )?;
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::RestoreKeepsEpoch) {
        return Ok(conn.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))?);
    }
    let transaction = conn.transaction()?;
    let epoch = new_epoch(&transaction)?;
    transaction.commit()?;
    Ok(epoch)
}
