//! Builds that are wrong on purpose, so that the tests of the promises can show that they would see it. Compiled only
//! with the feature `canaries`, which no build for users has; even then nothing is wrong unless `CHINWAG_CANARY` says
//! what is to be.
//!
//! Invariant: every use stands under `#[cfg(feature = "canaries")]` and is a few lines long.

use std::sync::OnceLock;

use chinwag_domain::Request;
use chinwag_protocol::Command;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// D1, D3: who asked, and everybody concerned, is told before the transaction is on disk.
    AckBeforeCommit,
    /// D2: a commit is written, but not synced.
    NoSync,
    /// D7: which commands were sent before is forgotten by a restart.
    DedupeInMemory,
    /// M1: whoever was a member when he connected hears everything from then on.
    MembershipAtSubscribe,
    /// L1: a client that comes back goes on one entry too late.
    ResumeSkipsOne,
    /// L4: the snapshot is taken before the connection hears of what happens.
    SnapshotThenSubscribe,
    /// B1, B2: what a reader does not take is kept without a bound.
    OutboxUnbounded,
    /// C3: a silent peer is never given up.
    NoHeartbeat,
    /// B3: every password is hashed at once.
    NoPermits,
    /// D6: on a full disk it says that it stored what it did not.
    AckWhenFull,
    /// D6: for files, a full disk is trouble like any other.
    FullUnnamed,
    /// D4: a sync that failed counts as done.
    FailedSyncIgnored,
    /// D8: a file gets its name before it is on disk.
    FilesUnsynced,
    /// D8: an upload that was cut off is taken for whole.
    HalfUploads,
    /// A data folder is made with all folders above it.
    MakesParents,
    /// The data folder is not locked.
    NoLock,
    /// Whoever comes during a sync waits for it and then for another one.
    OneSyncAtATime,
    /// Half a megabyte is kept for good for each commit.
    Hoards,
    /// D7: after three seconds without a command it is forgotten which were sent before.
    DedupeUntilQuiet,
    /// HTTP has no deadlines to speak of.
    NoDeadlines,
    /// B3: there are no limits.
    LimitsLifted,
    /// It does not start where nobody outside can be reached.
    NeedsNetwork,
    /// A2: asked to stop, it waits until its clients have left by themselves.
    WaitsForClients,
    /// Seconds are counted in 32 bits.
    SecondsIn32Bits,
    /// Whoever logs waits until there is room in the log, two seconds at most.
    LogWaits,
    /// L3: whoever comes back gets everything anew.
    NeverResumes,
    /// O2: what comes in one piece is done in the opposite order.
    SwapsPipelined,
    /// Each frame is 12 KiB longer than it has to be.
    Verbose,
    /// O4: what has run out by a clock that was wrong for a moment has run out for good.
    ExpiresForGood,
    /// S1: no check value is compared.
    NoCheckValues,
    /// The schema is made in place, without a log.
    MigratesWithoutJournal,
    /// S2: a backup is the file as it lies there.
    BackupByCopy,
    /// A restored store goes by its old name.
    RestoreKeepsEpoch,
    /// L1: who comes back at a door is told what waited from one entry too late on.
    DoorSkipsOne,
}

impl Canary {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ack-before-commit" => Self::AckBeforeCommit,
            "no-sync" => Self::NoSync,
            "dedupe-in-memory" => Self::DedupeInMemory,
            "membership-at-subscribe" => Self::MembershipAtSubscribe,
            "resume-skips-one" => Self::ResumeSkipsOne,
            "snapshot-then-subscribe" => Self::SnapshotThenSubscribe,
            "outbox-unbounded" => Self::OutboxUnbounded,
            "no-heartbeat" => Self::NoHeartbeat,
            "no-permits" => Self::NoPermits,
            "ack-when-full" => Self::AckWhenFull,
            "full-unnamed" => Self::FullUnnamed,
            "failed-sync-ignored" => Self::FailedSyncIgnored,
            "files-unsynced" => Self::FilesUnsynced,
            "half-uploads" => Self::HalfUploads,
            "makes-parents" => Self::MakesParents,
            "no-lock" => Self::NoLock,
            "one-sync-at-a-time" => Self::OneSyncAtATime,
            "hoards" => Self::Hoards,
            "dedupe-until-quiet" => Self::DedupeUntilQuiet,
            "no-deadlines" => Self::NoDeadlines,
            "limits-lifted" => Self::LimitsLifted,
            "needs-network" => Self::NeedsNetwork,
            "waits-for-clients" => Self::WaitsForClients,
            "seconds-in-32-bits" => Self::SecondsIn32Bits,
            "log-waits" => Self::LogWaits,
            "never-resumes" => Self::NeverResumes,
            "swaps-pipelined" => Self::SwapsPipelined,
            "verbose" => Self::Verbose,
            "expires-for-good" => Self::ExpiresForGood,
            "no-check-values" => Self::NoCheckValues,
            "migrates-without-journal" => Self::MigratesWithoutJournal,
            "backup-by-copy" => Self::BackupByCopy,
            "restore-keeps-epoch" => Self::RestoreKeepsEpoch,
            "door-skips-one" => Self::DoorSkipsOne,
            _ => return None,
        })
    }
}

/// Whether a batch that begins with this is to be told before its commit. Only messages, so that a server still starts.
pub(crate) fn tells_early(first: Option<&Request>) -> bool {
    matches!(first, Some(Request::Command { command: Command::Post { .. }, .. }))
        && is(Canary::AckBeforeCommit)
}

/// Whether this process is to do this wrong.
pub fn is(canary: Canary) -> bool {
    static CHOSEN: OnceLock<Option<Canary>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("CHINWAG_CANARY").ok().filter(|name| !name.is_empty())?;
        Some(Canary::of(&name).unwrap_or_else(|| panic!("CHINWAG_CANARY={name} is no canary")))
    });
    *chosen == Some(canary)
}
