//! A store that was taken back to a backup: what was told between the two is no promise any more.
//!
//! Everything known before the backup began must still be so, and everything after the restore is judged as ever. What
//! lies between may have happened or not. Every client must notice: it begins with a snapshot again. The lines keep
//! their numbers, so that findings name the right ones.

use std::{borrow::Cow, collections::HashSet};

use super::Findings;
use crate::history::{Op, Record, What};

/// The records as they are to be judged, and who did not notice.
pub(super) fn settle<'h>(records: &'h [Record], findings: &mut Findings) -> Cow<'h, [Record]> {
    let mut settled = Cow::Borrowed(records);
    for restored in (0..records.len()).filter(|line| records[*line].what == What::Restored) {
        let before = &records[..restored];
        let backup = before.iter().rposition(|record| record.what == What::Backup).unwrap_or(restored);
        take_back(settled.to_mut(), backup, restored, findings);
    }
    settled
}

fn take_back(records: &mut [Record], backup: usize, restored: usize, findings: &mut Findings) {
    // What a client read off its old connection after the restore is still of the old store.
    let mut there: HashSet<u32> = HashSet::new();
    for (line, record) in records.iter_mut().enumerate().skip(backup) {
        if record.client == 0 || there.contains(&record.client) {
            continue;
        }
        if let What::Open { snapshot } = &record.what
            && line > restored
        {
            there.insert(record.client);
            if snapshot.is_none() {
                let what = "a client went on from where it was, in a store that was taken back";
                findings.add("K6", &[restored, line], what);
            }
            continue;
        }
        forget(record);
    }
}

/// Makes it something that may have been.
fn forget(record: &mut Record) {
    match &mut record.what {
        What::Invoke { op: Op::Post { seen, .. }, .. } => *seen = 0,
        What::Invoke { .. } | What::Info { .. } => {}
        What::Ok { call, .. } | What::Fail { call, .. } => record.what = What::Info { call: *call },
        _ => {
            record.client = 0;
            record.what = What::CaughtUp;
        }
    }
}
