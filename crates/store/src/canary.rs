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
