//! What a search asks of a store, and what the store answers.
//!
//! A store answers with messages the rules let the viewer read: `readable` says which, and nothing else may be
//! looked at. Text is compared folded ([`fold`]), so that case and accents do not matter.

use chinwag_protocol::{ConversationId, Millis, Seq, UserId};

/// A part of a conversation that the viewer may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readable {
    /// Which.
    pub conversation: ConversationId,
    /// The first entry he may see.
    pub since: Seq,
}

/// A parsed search. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Folded words; each must occur as a word or as part of one.
    pub words: Vec<String>,
    /// Folded phrases; each must occur as written.
    pub phrases: Vec<String>,
    /// Only of this author.
    pub from: Option<UserId>,
    /// Only recorded before this time.
    pub before: Option<Millis>,
    /// Only recorded at or after this time.
    pub after: Option<Millis>,
    /// Only messages that hold a link.
    pub has_link: bool,
    /// Only in these; narrowed by `in:`.
    pub readable: Vec<Readable>,
    /// Go on below this: the `next` of the page before.
    pub below: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// What was found: messages, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where each message is.
    pub hits: Vec<(ConversationId, Seq)>,
    /// For `below` of the next page; absent at the end.
    pub next: Option<u64>,
}
