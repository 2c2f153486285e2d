//! Servers that are wrong on purpose: a row of which nobody has seen that it fails is no evidence.
//!
//! They are one build, with the feature `canaries`; which wrong it does is said when it is started. A row must say
//! what it sees in the words that stand here: one that fails because a server does not start has seen nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{Bed, Scenario, Verdict, process::Folder};

/// A wrong server, and what its row says of it.
struct Canary {
    row: &'static str,
    /// As in `crates/store/src/canary.rs`.
    name: &'static str,
    says: &'static str,
}

const fn canary(row: &'static str, name: &'static str, says: &'static str) -> Canary {
    Canary { row, name, says }
}

const ALL: &[Canary] = &[
    canary("F01", "dedupe-in-memory", "K1"),
    canary("F01D", "door-skips-one", "K6"),
    canary("F02", "ack-before-commit", "K1"),
    canary("F03", "files-unsynced", "was acknowledged"),
    canary("F05", "failed-sync-ignored", "it goes on after"),
    canary("F05", "files-unsynced", "an upload whose sync fails is answered 200"),
    canary("F06", "failed-sync-ignored", "more syncs of the store after the first failed"),
    canary("F07", "ack-when-full", "a full disk is answered"),
    canary("F07", "full-unnamed", "an upload to a full disk is answered"),
    canary("F08", "makes-parents", "the folder above is missing"),
    canary("F09", "one-sync-at-a-time", "too slow"),
    canary("F10", "no-check-values", "were missed"),
    canary("F11", "no-lock", "it does not refuse"),
    canary("F12", "hoards", "it does not live with 256 MiB"),
    canary("F13", "dedupe-until-quiet", "K1"),
    canary("F14", "outbox-unbounded", "more resident"),
    canary("F15", "outbox-unbounded", "more resident"),
    canary("F16", "no-deadlines", "stay longer"),
    canary("F17", "no-heartbeat", "a ghost stays online"),
    canary("F18", "resume-skips-one", "K6"),
    canary("F19", "swaps-pipelined", "K5"),
    canary("F20", "verbose", "a text takes 3 s or more"),
    canary("F21", "half-uploads", "half an upload stays"),
    canary("F22", "never-resumes", "not all were resumed"),
    canary("F23", "never-resumes", "was not resumed"),
    canary("F24", "no-permits", "resident +"),
    canary("F25", "limits-lifted", "may say"),
    canary("F25D", "limits-lifted", "more than is granted"),
    canary("F26", "expires-for-good", "400 days later"),
    canary("F27", "seconds-in-32-bits", "nobody can go on with the server of @2038"),
    canary("F37", "migrates-without-journal", "killed at"),
    canary("F38", "backup-by-copy", "what was restored does not"),
    canary("F39", "restore-keeps-epoch", "violations"),
    canary("F42", "log-waits", "everybody waits for the log"),
    canary("F43", "needs-network", "it does not start"),
    canary("F44", "waits-for-clients", "it does not end in 10 s"),
];

/// Rows without one, and why.
const NONE: &[(&str, &str)] = &[("F04", "it is one itself"), ("F41", "nothing of it can be done yet")];

/// Whether one of these rows has a canary.
pub(super) fn is_any(mut rows: impl Iterator<Item = &'static Scenario>) -> bool {
    rows.any(|row| ALL.iter().any(|canary| canary.row == row.id))
}

/// Runs a row with each of its wrong servers; a line for each.
pub(super) fn judge(bed: &Bed, build: &Path, scenario: &Scenario) -> Vec<String> {
    if let Some((row, why)) = NONE.iter().find(|(row, _)| *row == scenario.id) {
        return vec![format!("SKIPPED {row} has no canary: {why}")];
    }
    let own = ALL.iter().filter(|canary| canary.row == scenario.id);
    own.map(|canary| {
        let Canary { row, name, .. } = canary;
        let seen = wrapped(build, name).and_then(|(_folder, server)| {
            let (checker, seed) = (bed.checker.clone(), bed.seed);
            let bed = Bed { server, checker, seed, times: 1, wrong_build: None, wrong: true };
            seen(canary, (scenario.run)(&bed)?)
        });
        match seen {
            Ok(Verdict::Skipped(why)) => format!("SKIPPED {row} canary {name}: {why}"),
            Ok(Verdict::Passed(why) | Verdict::Failed(why)) => format!("CAUGHT {row} canary {name}: {why}"),
            Err(error) => format!("FAILED {row} canary {name}: {error:#}"),
        }
    })
    .collect()
}

/// An error unless the row failed by what it is there to see.
fn seen(canary: &Canary, verdict: Verdict) -> Result<Verdict> {
    match &verdict {
        Verdict::Passed(figures) => bail!("it is not seen: {figures}"),
        Verdict::Failed(why) if !why.contains(canary.says) => {
            bail!("it does not say `{}`: {why}", canary.says)
        }
        Verdict::Failed(_) | Verdict::Skipped(_) => Ok(verdict),
    }
}

/// A program that becomes the server that does this wrong.
pub(super) fn wrapped(build: &Path, name: &str) -> Result<(Folder, PathBuf)> {
    let folder = Folder::new(&format!("canary-{name}"))?;
    let file = folder.0.join("chinwag");
    fs::write(&file, format!("#!/bin/sh\nCHINWAG_CANARY={name} exec '{}' \"$@\"\n", build.display()))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok((folder, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_canary_or_a_reason_and_every_canary_is_one() {
        let known = include_str!("../../../store/src/canary.rs");
        for scenario in super::super::all() {
            let own = ALL.iter().filter(|canary| canary.row == scenario.id).count();
            let none = NONE.iter().filter(|(row, _)| *row == scenario.id).count();
            assert!(own > 0 && none == 0 || own == 0 && none == 1, "{}", scenario.id);
        }
        for canary in ALL {
            assert!(super::super::all().any(|scenario| scenario.id == canary.row), "{}", canary.row);
            assert!(known.contains(&format!("\"{}\" => ", canary.name)), "{}", canary.name);
        }
    }

    #[test]
    fn only_what_is_seen_counts() {
        let canary = canary("F01", "dedupe-in-memory", "K1");
        assert!(seen(&canary, Verdict::Failed("K1: twice".to_owned())).is_ok());
        assert!(seen(&canary, Verdict::Failed("it does not start".to_owned())).is_err());
        assert!(seen(&canary, Verdict::Passed("K1 is fine".to_owned())).is_err());
    }
}
