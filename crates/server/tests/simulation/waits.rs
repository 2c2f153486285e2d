//! Where a crash of the server can hit: the places at which the real code waits, or hands something over.
//!
//! What waits nowhere cannot be interrupted: a crash in the middle of it looks from outside like one before or after.

/// Something had got so far, and no farther, when the server crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// A connection was made, and its hello not read yet.
    Hello,
    /// The token of a hello was being looked up in the store.
    LookingUp,
    /// The hub was asked to open a connection.
    Opening,
    /// A snapshot was being read.
    Snapshot,
    /// A page of missed entries was being read, the first of its log or a later one.
    CatchingUp,
    /// A page of missed entries was being written.
    PushingMissed,
    /// One's own cursors were being read.
    Cursors,
    /// The hub was asked to hold cursors back.
    Holding,
    /// Frames had been taken out of an outbox, and were being written.
    Writing,
    /// A frame had been written in part.
    HalfWritten,
    /// Frames were in the pipe to a client.
    Written,
    /// A client had asked what the server had not read.
    Unread,
    /// A reading waited for a reader of the store.
    Reading,
    /// A request waited for the writer: accepted and not committed.
    Accepted,
    /// A batch was on disk and nobody had been told.
    Committed,
    /// A batch had been given to the hub's queue and not told.
    Published,
    /// A message was on disk and its entry told, and its author had not heard the answer.
    Unanswered,
    /// Somebody was signing in.
    SigningIn,
    /// A commit had failed, and nobody knew whether it had reached the disk.
    Unknown,
    /// The disk was full.
    Full,
    /// Cursors were in memory that had not been written.
    CursorsUnwritten,
}

impl Wait {
    pub(crate) const ALL: [Self; 21] = [
        Self::Hello,
        Self::LookingUp,
        Self::Opening,
        Self::Snapshot,
        Self::CatchingUp,
        Self::PushingMissed,
        Self::Cursors,
        Self::Holding,
        Self::Writing,
        Self::HalfWritten,
        Self::Written,
        Self::Unread,
        Self::Reading,
        Self::Accepted,
        Self::Committed,
        Self::Published,
        Self::Unanswered,
        Self::SigningIn,
        Self::Unknown,
        Self::Full,
        Self::CursorsUnwritten,
    ];
}
