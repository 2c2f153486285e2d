//! A full disk: refused cleanly, survived without a restart.

use std::{path::Path, process::Command, sync::atomic::Ordering};

use chinwag_domain::{Known, Plan, record::Change};
use chinwag_protocol::{Command as Asked, ConversationId, Event, Kind as RefusedKind, LogId, Seq, UserId};
use tempfile::TempDir;

use super::bed::{Bed, Kind, posting, sending};

const BALLAST: u64 = 4 * 1024 * 1024;
const LOG: LogId = LogId::Conversation(ConversationId(1));

/// Posts until there is no room; answers how many went in.
fn fill(bed: &Bed, size: usize) -> usize {
    for number in 0..100_000 {
        match bed.send(1, 1, &format!("fill-{number}"), &"x".repeat(size)) {
            Ok(_) => {}
            Err(refused) => {
                assert_eq!(refused.kind, RefusedKind::StorageFull, "{refused}");
                return number;
            }
        }
    }
    panic!("the store never became full");
}

fn deleting(plan: &mut Plan<'_>, message: Seq) -> Known<chinwag_domain::port::Done> {
    plan.record(LOG, UserId(1), Event::Deleted { message })?;
    plan.keep(Change::Erase(ConversationId(1), message));
    Ok(chinwag_domain::port::Done::Reply(chinwag_protocol::Reply::Done {}))
}

fn check_full(bed: &Bed, stored: usize) {
    assert_eq!(bed.seqs(LOG).len(), 2 + stored, "what was refused is not there, what was accepted is");
    assert!(bed.send(1, 1, "fill-0", &"x".repeat(10_000)).is_ok(), "a repetition is answered");
    let refused = bed.send(1, 1, "fill-0", "another text").unwrap_err();
    assert_eq!(refused.kind, RefusedKind::Conflict, "a refusal too");
    assert!(bed.read(|reader| reader.user(UserId(1)).unwrap()).is_some());
    assert_eq!(bed.fatal.load(Ordering::SeqCst), 0);
}

#[test]
fn d6_a_full_file_refuses_and_goes_on() {
    let bed = Bed::with(Kind::Sqlite, |options| options.pages_max = Some(400));
    bed.group(1, &[1]);
    let stored = fill(&bed, 10_000);
    assert!(stored > 20);
    check_full(&bed, stored);
    let refused = bed.run(|plan| posting(plan, 1, 1, None, |body| body.text = "y".repeat(100_000)));
    assert_eq!(refused.unwrap_err().kind, RefusedKind::StorageFull);
    // The numbers go on where they were.
    let conn = rusqlite::Connection::open(bed.folder().join("chinwag.db")).unwrap();
    let highest: i64 =
        conn.query_row("SELECT max(key) & 4294967295 FROM entry", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(highest).unwrap(), stored + 2);
}

#[test]
fn d6_a_batch_that_finds_the_disk_full_acknowledges_nothing_of_it() {
    let bed = Bed::with(Kind::Sqlite, |options| options.pages_max = Some(400));
    bed.group(1, &[1]);
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
    let wait = barrier.clone();
    bed.submit(
        Box::new(move |plan| {
            wait.wait();
            posting(plan, 1, 1, None, |_| {})
        }),
        |_| {},
    );
    let (tell, told) = std::sync::mpsc::channel();
    for number in 0..200 {
        let tell = tell.clone();
        let script =
            move |plan: &mut Plan<'_>| sending(plan, 1, 1, &format!("{number}"), &"x".repeat(20_000));
        bed.submit(Box::new(script), move |verdict| tell.send((number, verdict)).unwrap());
    }
    barrier.wait();
    drop(tell);
    let answered: Vec<_> = told.iter().collect();
    assert_eq!(answered.len(), 200, "each is answered once");
    let mut refused = 0;
    for (number, verdict) in answered {
        let is_there =
            bed.read(move |reader| reader.sent(UserId(1), &format!("{number}")).unwrap().is_some());
        assert_eq!(is_there, verdict.is_ok(), "request {number}: {verdict:?}");
        refused += u32::from(verdict.is_err());
    }
    assert!(refused > 0);
}

/// A small file system of its own, as long as it lives. Needs the rights of root, which the tests' container has.
struct Small(TempDir);

impl Small {
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let size = format!("size={megabytes}m,mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.path()).unwrap();
        disk.f_bavail * disk.f_frsize
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn d6_a_full_disk_is_survived_without_a_restart() {
    let Some(disk) = Small::mount(12) else {
        println!("SKIPPED F07: no small file system can be mounted here");
        return;
    };
    let folder = TempDir::new_in(disk.path()).unwrap();
    let bed = Bed::in_folder(Kind::Sqlite, folder, |options| options.ballast_bytes = BALLAST);
    let ballast = bed.folder().join("ballast");
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), BALLAST);
    bed.group(1, &[1]);
    let guest = disk.path().join("somebody-elses-file");
    std::fs::write(&guest, vec![1; 3 * 1024 * 1024]).unwrap();
    let stored = fill(&bed, 10_000);
    assert!(!ballast.exists(), "the ballast was given up");
    // Without the ballast the log was copied into the file and cut off, which makes room by itself: whoever writes
    // again a moment later finds it. Somebody else takes it first, and leaves a part of what was the ballast.
    let other = disk.path().join("another-file");
    let taken = usize::try_from(disk.free().saturating_sub(BALLAST - 1024 * 1024)).unwrap();
    std::fs::write(&other, vec![1; taken]).unwrap();
    assert!(disk.free() < BALLAST, "it stays full until somebody makes room");
    check_full(&bed, stored);
    // Deleting works while everything else is refused.
    let asked = Asked::Delete { conversation: ConversationId(1), message: Seq(3) };
    assert!(bed.run_as(asked, |plan| deleting(plan, Seq(3))).is_ok());
    assert_eq!(bed.send(1, 1, "still full", "text").unwrap_err().kind, RefusedKind::StorageFull);
    // Somebody makes room: the next write that looks finds it.
    std::fs::remove_file(&guest).unwrap();
    std::fs::remove_file(&other).unwrap();
    let mut tries = 0_u32;
    while let Err(refused) = bed.send(1, 1, "room again", "text") {
        assert_eq!(refused.kind, RefusedKind::StorageFull);
        tries += 1;
        assert!(tries < 10_000_000, "the store never noticed the room");
    }
    assert!(ballast.exists());
    assert!(bed.post(1, 1, "and on").0 > 0);
    assert_eq!(bed.fatal.load(Ordering::SeqCst), 0);
    assert!(crate::sqlite::scrub(bed.folder(), |_| {}).unwrap().is_clean());
    drop(bed);
}

#[test]
fn a_disk_that_is_full_from_the_start_still_opens() {
    let Some(disk) = Small::mount(2) else {
        println!("SKIPPED F07: no small file system can be mounted here");
        return;
    };
    let folder = TempDir::new_in(disk.path()).unwrap();
    let bed = Bed::in_folder(Kind::Sqlite, folder, |options| options.ballast_bytes = BALLAST);
    assert_eq!(bed.run(|plan| posting(plan, 1, 1, None, |_| {})).unwrap_err().kind, RefusedKind::StorageFull);
    assert!(bed.read(|reader| reader.server().unwrap()).is_none());
}
