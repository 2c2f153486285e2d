//! What a rule may ask while it decides.
//!
//! Facts are asked for when they are needed, one by one. A store that has them at hand (SQLite in the writer's
//! own thread, a map in memory) simply answers. One that would have to wait may stop the rule with a [`Failed`]
//! of its own, load what was missing, and run the rule again: rules are pure, so asking twice does no harm.

use std::sync::Arc;

use chinwag_protocol::{ConversationId, FileId, InviteId, LogId, Refused, Seq, SessionId, UserId};

use crate::record::{
    Call, Conversation, Counter, Credentials, Head, Holding, Invite, Member, Message, Name, OneTime,
    Relation, Sent, Server, Session, TokenHash, User,
};

/// Our own trouble: not the asker's fault, told to him only by its number.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Failed {
    /// What was being done, and to what.
    pub doing: String,
    /// Why it failed.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

impl Failed {
    /// Says what was being done when `cause` came.
    pub fn new(doing: impl Into<String>, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { doing: doing.into(), cause: cause.into() }
    }
}

/// Why a rule ended without a plan.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store could not say.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// A fact, unless the store failed.
pub type Known<T> = Result<T, Stop>;

/// The present state, as of the last entry.
pub trait Facts {
    /// A user.
    fn user(&self, id: UserId) -> Known<Option<Arc<User>>>;
    /// A taken name, by [`crate::names::fold`].
    fn name(&self, key: &str) -> Known<Option<Arc<Name>>>;
    /// A taken name, by [`crate::names::skeleton`].
    fn name_like(&self, skeleton: &str) -> Known<Option<Arc<Name>>>;
    /// A user's password.
    fn credentials(&self, user: UserId) -> Known<Option<Arc<Credentials>>>;
    /// A session that has not ended.
    fn session(&self, id: SessionId) -> Known<Option<Arc<Session>>>;
    /// All sessions of a user that have not ended.
    fn sessions(&self, user: UserId) -> Known<Vec<Arc<Session>>>;
    /// A conversation.
    fn conversation(&self, id: ConversationId) -> Known<Option<Arc<Conversation>>>;
    /// The direct conversation of two users, the smaller id first.
    fn direct(&self, users: (UserId, UserId)) -> Known<Option<ConversationId>>;
    /// A user in a conversation, now or once.
    fn member(&self, conversation: ConversationId, user: UserId) -> Known<Option<Arc<Member>>>;
    /// The active memberships of a user; at most [`crate::limits::CONVERSATIONS_MAX`].
    fn memberships(&self, user: UserId) -> Known<Vec<Arc<Member>>>;
    /// What the first user thinks of the second.
    fn relation(&self, of: UserId, to: UserId) -> Known<Relation>;
    /// A message as it stands now; `None` too for an entry that is not a message.
    fn message(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Message>>>;
    /// What a user has to do with a file.
    fn holding(&self, user: UserId, file: FileId) -> Known<Option<Arc<Holding>>>;
    /// How many bytes all files take that a user holds.
    fn held_bytes(&self, user: UserId) -> Known<u64>;
    /// The call that goes on in a conversation.
    fn call(&self, conversation: ConversationId) -> Known<Option<Arc<Call>>>;
    /// An invitation.
    fn invite(&self, id: InviteId) -> Known<Option<Arc<Invite>>>;
    /// An invitation by its token.
    fn invite_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Invite>>>;
    /// How many invitations of a conversation are good at this time.
    fn open_invites(&self, conversation: ConversationId, at: chinwag_protocol::Millis) -> Known<u32>;
    /// A one-time link.
    fn one_time(&self, token: &TokenHash) -> Known<Option<Arc<OneTime>>>;
    /// The server's settings; `None` before the first start.
    fn server(&self) -> Known<Option<Arc<Server>>>;
    /// The end of a log; all zero if it is empty.
    fn head(&self, log: LogId) -> Known<Head>;
    /// A remembered command.
    fn sent(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>>;
    /// The next number to hand out. Asking does not take it: the record that uses it does.
    fn next(&self, counter: Counter) -> Known<u32>;
}
