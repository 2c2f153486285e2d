//! A look at the write-ahead log before SQLite does: was anything in it damaged that had been synced?
//!
//! SQLite takes the first frame that does not fit for the end of the log, because after a crash that is what the end
//! looks like. So a bit that turned over in the middle would silently take back everything after it. How much of the
//! log was on the disk for certain is noted beside it ([`super::mark`]): what does not fit before that was damaged.
//! What does not fit after it was on its way to the disk when the power failed, and nobody was told of it: several
//! commits may be on their way at once, and a later one may arrive without an earlier one.
//!
//! Without a note about this log, what does not fit is taken for damage where another transaction follows.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
    time::Duration,
};

use super::mark::Mark;

/// How often damage must be seen to be believed.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

const HEADER: usize = 32;
const FRAME: usize = 24;

/// SQLite's running checksum over words of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sum(u32, u32);

impl Sum {
    fn over(mut self, bytes: &[u8], big_endian: bool) -> Self {
        let word = |bytes: &[u8]| {
            let bytes = bytes.try_into().unwrap_or_default();
            if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        for pair in bytes.chunks_exact(8) {
            let (first, second) = pair.split_at(4);
            self.0 = self.0.wrapping_add(word(first)).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(word(second)).wrapping_add(self.0);
        }
        self
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes).unwrap_or_default()
}

/// As much as there is, up to the length of `into`.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Why a log ends before its file does, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What was on the disk is not as it was.
    Damaged(String),
    /// What was not on the disk yet is lost, as it has to be.
    Unsynced(String),
}

/// The same as [`end`], beside a server that may be writing: it may show a half-written frame, but damage stays.
pub(super) fn lasting_end(database: &Path) -> Option<End> {
    let before = end(database)?;
    for _ in 1..LOOKS {
        std::thread::park_timeout(BETWEEN_LOOKS);
        if end(database)? != before {
            return None;
        }
    }
    Some(before)
}

/// What of the log beside a database will not be read, and why.
pub(super) fn end(database: &Path) -> Option<End> {
    // The note first: the log may go further by the time it is read.
    let mark = Mark::beside(database);
    let opened = File::open(database.with_extension("db-wal"));
    match opened.and_then(|opened| look(BufReader::with_capacity(1 << 20, opened), mark)) {
        Ok(end) => end,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(damaged(format!("it cannot be read: {error}"))),
    }
}

fn damaged(why: impl std::fmt::Display) -> End {
    End::Damaged(format!("the write-ahead log: {why}"))
}

fn look(mut log: impl Read, mark: Option<Mark>) -> io::Result<Option<End>> {
    let mut header = [0; HEADER];
    if fill(&mut log, &mut header)? < HEADER {
        // Nothing, or a header that was never finished.
        return Ok(None);
    }
    let page = number(&header, 8) as usize;
    let big_endian = match number(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        0 => return Ok(None),
        _ => return Ok(Some(damaged("its header is damaged"))),
    };
    let sum = Sum(0, 0).over(&header[..24], big_endian);
    if sum != Sum(number(&header, 24), number(&header, 28)) || !(512..=65_536).contains(&page) {
        return Ok(Some(damaged("its header is damaged")));
    }
    let salt = &header[16..24];
    let synced = mark.and_then(|mark| mark.of(salt.try_into().ok()?));
    let (mut sum, mut frame) = (sum, vec![0; FRAME + page]);
    // The number of the first frame that does not fit, and whether a transaction ended there or after it.
    let (mut broken, mut ended, mut count) = (None, false, 0_u64);
    while fill(&mut log, &mut frame)? == frame.len() {
        count += 1;
        let ours = frame[8..16] == *salt;
        if broken.is_none() {
            let next = sum.over(&frame[..8], big_endian).over(&frame[FRAME..], big_endian);
            if ours && next == Sum(number(&frame, 16), number(&frame, 20)) {
                sum = next;
                continue;
            }
            broken = Some(count);
        } else if ours && ended {
            return Ok(Some(match (synced, broken.unwrap_or_default()) {
                (None, broken) => damaged(format!(
                    "frame {broken} is damaged, or was lost in a power cut, with what follows"
                )),
                (Some(synced), broken) if broken <= u64::from(synced) => {
                    damaged(format!("frame {broken} of {synced} that were on the disk is damaged"))
                }
                (Some(_), broken) => End::Unsynced(format!(
                    "the write-ahead log: what stands in it from frame {broken} on was on its way to the disk when \
                     the power failed; nobody was told of it"
                )),
            }));
        }
        // The salts of an earlier time say that this is not a frame of ours any more, unless they are what is damaged.
        ended |= ours && number(&frame, 4) != 0;
    }
    let sound = broken.map_or(count, |broken| broken - 1);
    let is_short = |synced: &u32| sound < u64::from(*synced);
    Ok(synced.filter(is_short).map(|synced| {
        damaged(format!("it ends after frame {sound}, though {synced} frames were on the disk"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of three transactions, as a killed process leaves it.
    fn log() -> Vec<u8> {
        let folder = tempfile::TempDir::new().unwrap();
        let conn = rusqlite::Connection::open(folder.path().join("x.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a);")
            .unwrap();
        for _ in 0..2 {
            conn.execute("INSERT INTO t VALUES (randomblob(6000))", []).unwrap();
        }
        std::fs::read(folder.path().join("x.db-wal")).unwrap()
    }

    fn found(log: &[u8]) -> Option<End> {
        look(log, None).unwrap()
    }

    /// What is found in a log of which so many frames were on the disk.
    fn found_synced(log: &[u8], frames: u32) -> Option<End> {
        look(log, Some(Mark { salts: log[16..24].try_into().unwrap(), frames })).unwrap()
    }

    /// Where each transaction ends, in frames.
    fn ends(log: &[u8]) -> Vec<usize> {
        let frames = (log.len() - HEADER) / (FRAME + 4096);
        (1..=frames).filter(|n| number(&log[HEADER + (n - 1) * (FRAME + 4096)..], 4) != 0).collect()
    }

    #[test]
    fn what_was_synced_and_does_not_fit_is_damaged() {
        let log = log();
        let ends = ends(&log);
        let [.., before, last] = ends[..] else { panic!("{ends:?}") };
        assert_eq!(found_synced(&log, last as u32), None);
        // Also in the last transaction, and where the log was cut.
        for frame in 1..=last {
            let mut changed = log.clone();
            changed[HEADER + frame * (FRAME + 4096) - 1] ^= 1;
            let found = found_synced(&changed, last as u32);
            assert!(matches!(found, Some(End::Damaged(_))), "frame {frame}: {found:?}");
            let cut = &log[..HEADER + (frame - 1) * (FRAME + 4096)];
            assert!(
                matches!(found_synced(cut, last as u32), Some(End::Damaged(_))),
                "cut after {}",
                frame - 1
            );
        }
        assert_eq!(found_synced(&log[..HEADER + before * (FRAME + 4096)], before as u32), None);
    }

    #[test]
    fn what_was_on_its_way_and_is_lost_is_no_damage() {
        let log = log();
        let ends = ends(&log);
        let synced = ends[0];
        // A later transaction is there, of an earlier one a frame is missing.
        let at = HEADER + synced * (FRAME + 4096);
        let mut holed = log.clone();
        holed[at..at + FRAME + 4096].fill(0);
        assert!(matches!(found_synced(&holed, synced as u32), Some(End::Unsynced(_))));
        assert!(matches!(found_synced(&holed, synced as u32 + 1), Some(End::Damaged(_))));
        assert!(matches!(found(&holed), Some(End::Damaged(_))), "without a note nobody knows");
        let next = |salts: &[u8]| {
            let first = u32::from_be_bytes(salts[..4].try_into().unwrap()).wrapping_sub(1);
            Mark { salts: [&first.to_be_bytes()[..], &[9; 4]].concat().try_into().unwrap(), frames: 99 }
        };
        let of_the_log_before = Some(next(&log[16..24]));
        assert!(matches!(look(&*holed, of_the_log_before).unwrap(), Some(End::Unsynced(_))));
        assert_eq!(look(&*log, of_the_log_before).unwrap(), None);
    }

    #[test]
    fn a_sound_log_and_an_unfinished_one_are_no_damage() {
        let log = log();
        assert_eq!(found(&log), None);
        for cut in [0, 7, HEADER, HEADER + 5, log.len() - 1, log.len() - 5_000] {
            assert_eq!(found(&log[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_bit_before_the_last_transaction_is_found() {
        let log = log();
        let frames = (log.len() - HEADER) / (FRAME + 4096);
        let last_begins = (1..frames)
            .rev()
            .find(|n| number(&log[HEADER + (n - 1) * (FRAME + 4096)..], 4) != 0)
            .map(|n| HEADER + n * (FRAME + 4096))
            .unwrap();
        for at in (0..last_begins).step_by(97) {
            let mut changed = log.clone();
            changed[at] ^= 1 << (at % 8);
            let commit_mark = at >= HEADER && (4..8).contains(&((at - HEADER) % (FRAME + 4096)));
            assert!(found(&changed).is_some() || commit_mark, "byte {at}");
        }
    }

    #[test]
    fn a_bit_in_the_last_transaction_may_be_an_unfinished_one() {
        let mut log = log();
        let last = log.len() - 10;
        log[last] ^= 1;
        assert_eq!(found(&log), None);
    }
}
