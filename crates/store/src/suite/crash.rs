//! S1: what a crash left of the write-ahead log: what was on the disk is told from what was on its way there.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use chinwag_protocol::{ConversationId, LogId};
use tempfile::TempDir;

use super::bed::{Bed, Kind};
use crate::sqlite::scrub;

const LOG: LogId = LogId::Conversation(ConversationId(1));
const HEADER: u64 = 32;
const FRAME: u64 = 24 + 4096;

/// What a killed server leaves that has acknowledged everything, and what was noted after the first of its messages.
fn killed() -> (TempDir, Vec<u8>) {
    let bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    bed.post(1, 1, "the first");
    let early = fs::read(bed.folder().join("synced")).unwrap();
    for number in 0..5 {
        bed.post(1, 1, &format!("text {number}"));
    }
    let folder = TempDir::new().unwrap();
    for name in ["chinwag.db", "chinwag.db-wal", "synced"] {
        fs::copy(bed.folder().join(name), folder.path().join(name)).unwrap();
    }
    (folder, early)
}

fn log(folder: &Path) -> PathBuf {
    folder.join("chinwag.db-wal")
}

/// How many frames there are, and how many a note says were on the disk.
fn frames(folder: &Path, note: &[u8]) -> (u64, u64) {
    let length = fs::metadata(log(folder)).unwrap().len();
    let noted = u32::from_le_bytes(note[24..28].try_into().unwrap());
    ((length - HEADER) / FRAME, noted.into())
}

/// Takes a frame away, as if it had never reached the disk.
fn lose(folder: &Path, frame: u64) {
    let opened = fs::OpenOptions::new().write(true).open(log(folder)).unwrap();
    opened.write_all_at(&vec![0; FRAME as usize], HEADER + (frame - 1) * FRAME).unwrap();
}

#[test]
fn s1_what_was_acknowledged_is_missed_also_at_the_end_of_the_log() {
    let (folder, _) = killed();
    let now = fs::read(folder.path().join("synced")).unwrap();
    assert!(scrub(folder.path(), |_| {}).unwrap().is_clean());
    // After it there may be cursors, which nobody is told of.
    lose(folder.path(), frames(folder.path(), &now).1);
    let report = scrub(folder.path(), |_| {}).unwrap();
    assert!(report.findings[0].contains("write-ahead log"), "{report:?}");
    let (folder, _) = killed();
    fs::OpenOptions::new().write(true).open(log(folder.path())).unwrap().set_len(HEADER + FRAME).unwrap();
    let report = scrub(folder.path(), |_| {}).unwrap();
    assert!(report.findings[0].contains("write-ahead log"), "{report:?}");
}

#[test]
fn s1_what_was_on_its_way_when_the_power_failed_is_no_damage() {
    let (folder, early) = killed();
    fs::write(folder.path().join("synced"), &early).unwrap();
    let (there, noted) = frames(folder.path(), &early);
    assert!(noted < there, "{noted} of {there}");
    lose(folder.path(), noted + 1);
    let report = scrub(folder.path(), |_| {}).unwrap();
    assert_eq!((report.findings.as_slice(), report.notes.len()), (&[][..], 1), "{report:?}");

    // It goes on from there, and what is left of the old log is nobody's damage.
    let mut bed = Bed::in_folder(Kind::Sqlite, folder, |_| {});
    let before = bed.seqs(LOG);
    assert_eq!(before, [1, 2, 3], "up to the first message");
    bed.post(1, 1, "it goes on");
    let report = scrub(bed.folder(), |_| {}).unwrap();
    assert_eq!((report.findings, report.notes), (Vec::new(), Vec::new()));
    bed.reopen();
    assert_eq!(bed.seqs(LOG).len(), 4);
}

#[test]
fn s1_what_was_on_the_disk_and_is_lost_is_damage() {
    let (folder, early) = killed();
    fs::write(folder.path().join("synced"), &early).unwrap();
    lose(folder.path(), frames(folder.path(), &early).1);
    assert!(!scrub(folder.path(), |_| {}).unwrap().is_clean());
    // Nor can it be told without a note.
    let (folder, early) = killed();
    fs::remove_file(folder.path().join("synced")).unwrap();
    lose(folder.path(), frames(folder.path(), &early).1 + 1);
    assert!(!scrub(folder.path(), |_| {}).unwrap().is_clean());
}
