//! The simulation is broken on purpose here: each of these breaks a promise, and must be found.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canary {
    /// D1: the answer leaves before the commit.
    AckBeforeCommit,
    /// D7: what was sent is remembered in memory only.
    DedupeForgottenAtCrash,
    /// L6: a connection that was behind does not read what its outbox dropped.
    MissingForgotten,
    /// L1: a resuming client goes on one entry too late.
    ResumeSkipsOne,
    /// M1: whoever was a member at the beginning of his connection hears everything.
    MembershipAtSubscribeOnly,
    /// M1: what was missed is read without asking until when one was a member.
    CatchUpWithoutRight,
    /// L4: the snapshot is taken before the connection hears of what happens.
    SnapshotThenSubscribe,
    /// C1: the last cursor wins instead of the farthest.
    CursorOverwritten,
    /// C1: the hub tells cursors while a connection reads where they are.
    CursorsNotHeld,
    /// M4: an ended session keeps its connections.
    RevokeWithoutClosing,
    /// D5: a definite refusal is told and not kept, so that a copy that comes later is done.
    RefusalForgotten,
    /// C2: a client forgets with its connection what was read and not yet told.
    ReadForgottenAtCut,
}

impl Canary {
    pub(crate) const ALL: [Self; 12] = [
        Self::AckBeforeCommit,
        Self::DedupeForgottenAtCrash,
        Self::MissingForgotten,
        Self::ResumeSkipsOne,
        Self::MembershipAtSubscribeOnly,
        Self::CatchUpWithoutRight,
        Self::SnapshotThenSubscribe,
        Self::CursorOverwritten,
        Self::CursorsNotHeld,
        Self::RevokeWithoutClosing,
        Self::RefusalForgotten,
        Self::ReadForgottenAtCut,
    ];
}

impl Canary {
    /// The promises of which one must be found broken; another one would be luck.
    pub(crate) fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::AckBeforeCommit => &["D1", "D3"],
            Self::DedupeForgottenAtCrash => &["D7"],
            Self::MissingForgotten | Self::ResumeSkipsOne => &["L1", "L3"],
            Self::MembershipAtSubscribeOnly | Self::CatchUpWithoutRight => &["M1"],
            Self::SnapshotThenSubscribe => &["L3"],
            Self::CursorOverwritten | Self::CursorsNotHeld => &["C1"],
            Self::RevokeWithoutClosing => &["M4"],
            Self::RefusalForgotten => &["D5"],
            Self::ReadForgottenAtCut => &["L3"],
        }
    }
}
