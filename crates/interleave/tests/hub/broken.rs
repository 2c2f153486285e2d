//! What can be broken on purpose, and what must then be found broken.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// A connection that fell behind does not read what its outbox dropped.
    MissingForgotten,
    /// What was missed is read without asking until when one was a member.
    CatchUpWithoutRight,
    /// Where a log is, is asked before the hub knows of the connection.
    PlaceThenSubscribe,
    /// Each batch is told by a thread of its own.
    ToldOutOfOrder,
    /// The answer leaves before the hub knows.
    AnswerBeforeHub,
    /// The cache of sessions remembers what it asked before it had to forget.
    CacheOvertaken,
    /// An outbox without a bound.
    Boundless,
    /// A wake-up reaches only who waits at that moment.
    WakeUpForgotten,
}

impl Broken {
    pub(crate) const ALL: [Self; 8] = [
        Self::MissingForgotten,
        Self::CatchUpWithoutRight,
        Self::PlaceThenSubscribe,
        Self::ToldOutOfOrder,
        Self::AnswerBeforeHub,
        Self::CacheOvertaken,
        Self::Boundless,
        Self::WakeUpForgotten,
    ];

    /// A part of what is said when it is found. What is owed and never told keeps somebody waiting for ever.
    pub(crate) fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::MissingForgotten | Self::PlaceThenSubscribe => &["L1:", "deadlock"],
            Self::ToldOutOfOrder => &["L1:", "M1:"],
            Self::CatchUpWithoutRight => &["M1:"],
            Self::AnswerBeforeHub => &["M4:"],
            Self::CacheOvertaken => &["cache:"],
            Self::Boundless => &["bound:"],
            Self::WakeUpForgotten => &["deadlock"],
        }
    }
}
