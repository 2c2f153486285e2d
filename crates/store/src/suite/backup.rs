//! S2: backups are taken while the store works, are whole or nothing, and become stores of another epoch.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chinwag_protocol::{ConversationId, LogId, Millis, Seq};
use tempfile::TempDir;

use super::bed::{Bed, Kind};
use crate::sqlite::{self, BackupError, Manifest, OpenError, Want, backup, restore, scrub};

const LOG: LogId = LogId::Conversation(ConversationId(1));
const NOW: Millis = Millis(77);

/// A store with something in it, its backup, and a folder to restore to.
fn backed_up() -> (Bed, TempDir, PathBuf, Manifest) {
    let bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1, 2]);
    for number in 0..50 {
        bed.post(1, 1 + number % 2, &format!("text {number}"));
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("backup");
    let manifest = backup(bed.folder(), &file, Want::Everything, NOW, |_| {}).unwrap();
    (bed, folder, file, manifest)
}

/// A server's view of what was restored.
fn opened(folder: &Path) -> Bed {
    let other = TempDir::new().unwrap();
    for name in names(folder) {
        fs::rename(folder.join(&name), other.path().join(&name)).unwrap();
    }
    Bed::in_folder(Kind::Sqlite, other, |_| {})
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn s2_a_restored_store_holds_the_same_under_another_epoch() {
    let (bed, folder, file, manifest) = backed_up();
    assert_eq!((manifest.entries, manifest.damaged, manifest.taken_at), (53, 0, NOW));
    assert_eq!(manifest.epoch, bed.store().epoch());
    assert_eq!(names(folder.path()), ["backup"], "nothing stays beside it");
    let data = folder.path().join("data");
    let restored = restore(&file, &data, Want::Everything, |_| {}).unwrap();
    assert_eq!(restored.manifest, manifest);
    assert_ne!(restored.epoch, manifest.epoch);
    assert_eq!(names(&data), ["chinwag.db", "lock"]);
    let report = scrub(&data, |_| {}).unwrap();
    assert_eq!((report.findings, report.contents), (Vec::new(), manifest.contents));
    let again = opened(&data);
    assert_eq!(again.store().epoch(), restored.epoch);
    assert_eq!(again.seqs(LOG), bed.seqs(LOG));
    assert_eq!(again.post(1, 1, "it goes on"), Seq(54));
}

#[test]
fn s2_a_backup_under_load_is_one_state_of_the_store() {
    let (bed, folder, _, _) = backed_up();
    let stop = Arc::new(AtomicBool::new(false));
    let file = folder.path().join("second");
    let (before, manifest) = std::thread::scope(|scope| {
        let (bed, stop) = (&bed, stop.clone());
        let writing = {
            let stop = stop.clone();
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    bed.post(1, 1, &"x".repeat(3_000));
                }
            })
        };
        let before = bed.post(1, 2, "acknowledged before the backup");
        // Between any two steps of the copy something is committed.
        let manifest = backup(bed.folder(), &file, Want::Everything, NOW, |_| {
            bed.post(1, 2, "meanwhile");
        });
        stop.store(true, Ordering::SeqCst);
        writing.join().unwrap();
        (before, manifest.unwrap())
    });
    let data = folder.path().join("data");
    restore(&file, &data, Want::Everything, |_| {}).unwrap();
    let report = scrub(&data, |_| {}).unwrap();
    assert_eq!((report.findings, report.contents), (Vec::new(), manifest.contents));
    let again = opened(&data);
    let seqs = again.seqs(LOG);
    assert!(seqs.len() >= before.0 as usize && bed.seqs(LOG).starts_with(&seqs), "{} entries", seqs.len());
}

#[test]
fn nothing_is_overwritten() {
    let (bed, folder, file, _) = backed_up();
    let before = fs::read(&file).unwrap();
    let refused = backup(bed.folder(), &file, Want::Everything, NOW, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Exists { .. }), "{refused}");
    assert!(fs::read(&file).unwrap() == before);
    let refused = restore(&file, bed.folder(), Want::Everything, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Store(OpenError::Locked { .. })), "{refused}");
    for left in ["chinwag.db", "chinwag.db-wal"] {
        let data = folder.path().join(left);
        fs::create_dir(&data).unwrap();
        fs::write(data.join(left), "mine").unwrap();
        let refused = restore(&file, &data, Want::Everything, |_| {}).unwrap_err();
        assert!(matches!(refused, BackupError::Occupied { .. }), "{refused}");
        assert_eq!(fs::read_to_string(data.join(left)).unwrap(), "mine");
    }
}

#[test]
fn what_is_not_a_whole_backup_is_not_restored() {
    let (_bed, folder, file, _) = backed_up();
    let whole = fs::read(&file).unwrap();
    let broken = folder.path().join("broken");
    let mut tried = 0;
    let mut try_with = |bytes: &[u8]| {
        tried += 1;
        fs::write(&broken, bytes).unwrap();
        let data = folder.path().join(format!("data{tried}"));
        let refused = restore(&broken, &data, Want::Everything, |_| {}).unwrap_err();
        assert!(
            matches!(refused, BackupError::Foreign { .. } | BackupError::Damaged { .. }),
            "{tried}: {refused}"
        );
        assert!(!data.join("chinwag.db").exists() && !data.join("chinwag.db.part").exists());
    };
    for length in [0, 100, 4_096, whole.len() / 2, whole.len() - 4_096, whole.len() - 1] {
        try_with(&whole[..length]);
    }
    try_with(&[&whole[..], b"more"].concat());
    let label = whole.len() - 4_096;
    for at in [0, 5_000, whole.len() / 3, label - 1, label, label + 30, label + 200] {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        try_with(&changed);
    }
}

#[test]
fn a_backup_of_a_newer_store_is_refused() {
    let (mut bed, folder, _, _) = backed_up();
    bed.close();
    let conn = rusqlite::Connection::open(bed.folder().join("chinwag.db")).unwrap();
    conn.pragma_update(None, "user_version", sqlite::SCHEMA + 1).unwrap();
    drop(conn);
    let refused =
        backup(bed.folder(), &folder.path().join("newer"), Want::Everything, NOW, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Store(OpenError::Newer { .. })), "{refused}");
}

#[test]
fn a_damaged_store_can_be_backed_up_and_says_so() {
    let (mut bed, folder, _, _) = backed_up();
    bed.close();
    let conn = rusqlite::Connection::open(bed.folder().join("chinwag.db")).unwrap();
    assert_eq!(conn.execute("UPDATE entry SET at = at + 1 WHERE (key & 255) = 9", []).unwrap(), 1);
    drop(conn);
    let manifest =
        backup(bed.folder(), &folder.path().join("damaged"), Want::Everything, NOW, |_| {}).unwrap();
    assert_eq!(manifest.damaged, 1);
}
