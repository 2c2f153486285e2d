//! How much of the write-ahead log is on the disk for certain: noted in a small file, for whoever looks after a crash.
//!
//! SQLite's log says nothing of that itself. The note is written after each sync and brought to disk about once a second,
//! so it may be behind, but it never says too much: after a killed process it is exact, after a power cut a second old
//! at most. Nothing waits for it, and nothing but [`super::wal`] reads it.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};

const MAGIC: &[u8; 16] = b"chinwag synced 1";
const LENGTH: usize = 32;

/// Where the salts stand in the header of the log: each time the log begins anew there are others.
const SALTS_AT: u64 = 16;

/// So many frames of the log with these salts are on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) salts: [u8; 8],
    pub(super) frames: u32,
}

fn place(database: &Path) -> PathBuf {
    database.with_file_name("synced")
}

fn sum(bytes: &[u8]) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    *digest.first_chunk().expect("a digest has 32 bytes")
}

impl Mark {
    /// What is noted beside a database; nothing if there is no note, or none that can be believed.
    pub(super) fn beside(database: &Path) -> Option<Self> {
        Self::decode(&fs::read(place(database)).ok()?)
    }

    fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..24].copy_from_slice(&self.salts);
        bytes[24..28].copy_from_slice(&self.frames.to_le_bytes());
        let sum = sum(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let is_ours = bytes.starts_with(MAGIC) && bytes[28..] == sum(&bytes[..28]);
        let salts = bytes[16..24].try_into().ok()?;
        let frames = u32::from_le_bytes(bytes[24..28].try_into().ok()?);
        is_ours.then_some(Self { salts, frames })
    }

    /// How many frames of a log with these salts are on the disk at least; nothing if this is about another log.
    pub(super) fn of(self, salts: [u8; 8]) -> Option<u32> {
        if self.salts == salts {
            return Some(self.frames);
        }
        let first = |salts: [u8; 8]| u32::from_be_bytes(*salts.first_chunk().expect("it has eight bytes"));
        // A new log, or the one that SQLite made of this one last: its first salt is one more.
        let is_next = self.salts == [0; 8] || first(salts) == first(self.salts).wrapping_add(1);
        is_next.then_some(0)
    }
}

/// How far a commit went.
#[derive(Clone, Copy, Default)]
pub(super) struct Reached {
    /// Commits until then.
    number: u64,
    mark: Option<Mark>,
}

/// See the module.
pub(super) struct Marks {
    log: File,
    file: File,
    reached: Mutex<Reached>,
    /// The last commit that the note is about, and whether that is on the disk.
    noted: Mutex<(u64, bool)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Marks {
    /// Begins to take notes about the log of the store in `file`. It is there already.
    pub(super) fn open(file: &Path) -> io::Result<Self> {
        let log = File::open(file.with_extension("db-wal"))?;
        let note = super::private(true).open(place(file))?;
        let marks = Self { log, file: note, reached: Mutex::default(), noted: Mutex::new((0, true)) };
        if marks.log.metadata()?.len() == 0 {
            // Whatever was noted was about another log.
            marks.file.write_all_at(&Mark::default().encode(), 0)?;
            marks.file.sync_all()?;
        }
        Ok(marks)
    }

    /// A commit was written, and the log has so many frames now. To be called by whoever writes it.
    pub(super) fn committed(&self, frames: u32) {
        let mut salts = [0; 8];
        let mark = self.log.read_exact_at(&mut salts, SALTS_AT).ok().map(|()| Mark { salts, frames });
        let mut reached = lock(&self.reached);
        *reached = Reached { number: reached.number + 1, mark };
    }

    /// How far the log goes. What is synced from now on goes as far.
    pub(super) fn reached(&self) -> Reached {
        *lock(&self.reached)
    }

    /// A sync that began after the log went so far has succeeded.
    pub(super) fn synced(&self, reached: Reached) {
        let mut noted = lock(&self.noted);
        let Some(mark) = reached.mark.filter(|_| reached.number > noted.0) else { return };
        match self.file.write_all_at(&mark.encode(), 0) {
            Ok(()) => *noted = (reached.number, false),
            // The note before this is true as well.
            Err(error) => tracing::debug!(%error, "cannot note how much is on the disk"),
        }
    }

    /// Brings the note to disk, if there is a new one.
    pub(super) fn settle(&self) -> io::Result<()> {
        if std::mem::replace(&mut lock(&self.noted).1, true) {
            return Ok(());
        }
        match self.file.sync_data() {
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Ok(()),
            settled => settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALTS: [u8; 8] = [0, 0, 0, 7, 1, 2, 3, 4];

    #[test]
    fn a_note_is_believed_only_as_it_was_written() {
        let mark = Mark { salts: SALTS, frames: 1_234 };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        for at in 0..LENGTH {
            let mut bytes = mark.encode();
            bytes[at] ^= 1;
            assert_eq!(Mark::decode(&bytes), None, "byte {at}");
            assert_eq!(Mark::decode(&mark.encode()[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_note_is_about_its_own_log_and_the_next_one() {
        let mark = Mark { salts: SALTS, frames: 9 };
        assert_eq!(mark.of(SALTS), Some(9));
        assert_eq!(mark.of([0, 0, 0, 8, 9, 9, 9, 9]), Some(0));
        assert_eq!(mark.of([0, 0, 0, 9, 1, 2, 3, 4]), None);
        assert_eq!(mark.of([0, 0, 0, 7, 9, 9, 9, 9]), None);
        assert_eq!(Mark::default().of(SALTS), Some(0));
    }

    #[test]
    fn a_note_goes_as_far_as_the_log_went_before_the_sync() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("chinwag.db");
        let header = |salts: [u8; 8]| [&[0; 16][..], &salts].concat();
        let log = file.with_extension("db-wal");
        fs::write(&log, "").unwrap();
        let marks = Marks::open(&file).unwrap();
        assert_eq!(Mark::beside(&file), Some(Mark::default()), "of a new log nothing is known");
        fs::write(&log, header(SALTS)).unwrap();
        marks.committed(5);
        let first = marks.reached();
        marks.committed(9);
        let second = marks.reached();
        marks.synced(first);
        assert_eq!(Mark::beside(&file), Some(Mark { salts: SALTS, frames: 5 }));
        marks.synced(second);
        // A sync that began earlier and took longer says nothing new.
        marks.synced(first);
        assert_eq!(Mark::beside(&file), Some(Mark { salts: SALTS, frames: 9 }));
        marks.settle().unwrap();
        fs::write(&log, header([0, 0, 0, 8, 5, 5, 5, 5])).unwrap();
        marks.committed(2);
        marks.synced(marks.reached());
        assert_eq!(Mark::beside(&file), Some(Mark { salts: [0, 0, 0, 8, 5, 5, 5, 5], frames: 2 }));
        let again = Marks::open(&file).unwrap();
        again.settle().unwrap();
        assert_eq!(Mark::beside(&file).unwrap().frames, 2, "of a log with something in it the note stays");
    }

    #[test]
    fn what_sqlite_makes_of_a_log_is_known_as_the_next_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let conn = rusqlite::Connection::open(folder.path().join("x.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a);")
            .unwrap();
        let salts =
            || -> [u8; 8] { fs::read(folder.path().join("x.db-wal")).unwrap()[16..24].try_into().unwrap() };
        let first = Mark { salts: salts(), frames: 3 };
        for how in ["RESTART", "TRUNCATE"] {
            let before = Mark { salts: salts(), frames: 3 };
            conn.execute_batch(&format!("PRAGMA wal_checkpoint({how}); INSERT INTO t VALUES (1)")).unwrap();
            assert_ne!(salts(), before.salts);
            assert_eq!(before.of(salts()), Some(0), "{how}");
        }
        assert_eq!(first.of(salts()), None, "the one after the next");
    }
}
