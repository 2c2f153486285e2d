//! The faces between the rules and the outside: what a store is asked, and what it tells.

use std::sync::Arc;

use chinwag_protocol::{
    AppPasswordId, Command, ConversationId, Entry, FileId, LogId, Millis, Position, Refused, Reply, Seq,
    SessionId, UserId,
};

use crate::{
    facts::{Facts, Known},
    record::{
        Call, Conversation, Cursor, GuestFrom, Holding, Invite, Member, Overlay, Relation, TokenHash, User,
    },
    rules::{file::Uploaded, idempotency},
};

/// On whose behalf something is asked. Made from a session by the server, never from a message body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub user: UserId,
    /// The session; checked again in the transaction.
    pub session: SessionId,
    /// The door it came through; `None`: the native one.
    pub door: Option<Arc<str>>,
}

/// A new secret and its hash. The plain one is handed to the asker once and kept nowhere.
#[derive(Clone)]
pub struct Token {
    /// For the asker.
    pub plain: String,
    /// For the store.
    pub hash: TokenHash,
}

/// What was worked out before the transaction because it is slow or random.
#[derive(Clone, Default)]
pub struct Prepared {
    /// The version of the credentials against which the given password was found right.
    pub verified: Option<u32>,
    /// The app password that was found right instead.
    pub app_password: Option<AppPasswordId>,
    /// The hash of a new password.
    pub password: Option<String>,
    /// A fresh random secret.
    pub token: Option<Token>,
    /// The session that begins with it lives no longer than a link at a door.
    pub bound: bool,
    /// What the built-in bot answers to this message.
    pub bot_answer: Option<String>,
    /// By what the same command is known again, see [`crate::rules::idempotency`]; worked out later if it is not here.
    pub fingerprint: Option<u64>,
}

impl Prepared {
    /// What can be worked out for this command without asking anybody.
    pub fn of(command: &Command) -> Self {
        Self {
            fingerprint: idempotency::has_client_id(command).then(|| idempotency::of_command(command)),
            ..Self::default()
        }
    }
}

/// Something to decide.
#[derive(Clone)]
pub enum Request {
    /// Makes the store usable: the bot, `Everyone`, the settings; does nothing if it was done.
    Found {
        /// The first settings.
        registration: chinwag_protocol::Registration,
        /// Hash of the one-time link for the first administrator, good for 30 minutes; kept if there is none yet.
        setup: Option<TokenHash>,
    },
    /// Makes an account and signs it in.
    Register {
        /// The handle wished for.
        handle: String,
        /// An invitation, or the setup link.
        invite: Option<TokenHash>,
        /// The hash of the password and the session's token are in here.
        prepared: Prepared,
        /// What the device calls itself.
        device: String,
        /// The door; empty: native.
        door: String,
    },
    /// Signs a guest in, making his account if the name is free. Whether guests are welcome was asked before.
    Guest {
        /// The handle wished for.
        handle: String,
        /// What he is known by; the door is in here.
        from: GuestFrom,
        /// The session's token is in here.
        prepared: Prepared,
        /// What the device calls itself.
        device: String,
    },
    /// Makes a person of a guest, in the same account, and signs him in.
    Upgrade {
        /// His handle.
        handle: String,
        /// What he is known by.
        from: GuestFrom,
        /// The hash of the password and the session's token are in here.
        prepared: Prepared,
        /// What the device calls itself.
        device: String,
    },
    /// Makes the account of a person from another system. Does not sign in.
    ImportUser {
        /// The handle.
        handle: String,
        /// A few words about himself.
        about: String,
        /// The hash of the password is in here.
        prepared: Prepared,
    },
    /// Records a message that waited in another system, in the direct conversation of two people.
    ImportMessage {
        /// Who said it.
        from: UserId,
        /// To whom.
        to: UserId,
        /// The same for the same message whenever it is imported.
        client_id: String,
        /// What.
        text: String,
    },
    /// Has the built-in bot tell a user something, once for each `client_id`.
    Notify {
        /// Whom.
        user: UserId,
        /// The same for the same notice, however often it is asked for.
        client_id: String,
        /// What.
        text: String,
    },
    /// Ends the sessions of these users that lived as long as a link: no link outlives the server.
    EndBound {
        /// Whose.
        users: Vec<UserId>,
    },
    /// Starts a session for a user whose password was found right.
    SignIn {
        /// Who.
        user: UserId,
        /// `verified` and the session's token are in here.
        prepared: Prepared,
        /// What the device calls itself.
        device: String,
        /// The door; empty: native.
        door: String,
    },
    /// Chooses a new password with a reset link; ends all sessions. Does not sign in.
    Reset {
        /// Hash of the link's token.
        link: TokenHash,
        /// The hash of the new password is in here.
        prepared: Prepared,
    },
    /// Notes that a file was uploaded and is complete on disk.
    Uploaded {
        /// By whom.
        actor: Actor,
        /// What.
        uploaded: Uploaded,
    },
    /// Lets go of files that no message takes.
    CollectFiles {
        /// Who holds them in vain, as far as is known.
        idle: Vec<(UserId, FileId)>,
    },
    /// Ends a call that nobody answered, or that nobody ended, for too long.
    ExpireCall {
        /// Where.
        conversation: ConversationId,
        /// Which.
        call: Seq,
    },
    /// Notes that a session was used; at most once an hour per session.
    Seen {
        /// Which.
        session: SessionId,
    },
    /// Does what a signed-in user asks.
    Command {
        /// On whose behalf.
        actor: Actor,
        /// What.
        command: Command,
        /// What was worked out before.
        prepared: Prepared,
    },
}

/// What came of a request. Exactly one is made for each.
pub type Verdict = Result<Done, Refused>;

/// What was decided is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A command was done.
    Reply(Reply),
    /// A command was refused for good: no copy of it that is still under way will be done, see
    /// [`crate::rules::idempotency`].
    Refused(Refused),
    /// A session was started.
    SignedIn {
        /// Who.
        user: UserId,
        /// The new session.
        session: SessionId,
    },
}

impl Done {
    /// What whoever sent a command is told.
    pub fn into_reply(self) -> Result<Reply, Refused> {
        match self {
            Self::Reply(reply) => Ok(reply),
            Self::Refused(refused) => Err(refused),
            Self::SignedIn { .. } => Ok(Reply::Done {}),
        }
    }
}

/// Takes the verdict to whoever asked. Called once, in commit order, after the entries were published.
pub type Ticket = Box<dyn FnOnce(Verdict) + Send>;

/// A request on its way to the writer.
pub struct Ask {
    /// What.
    pub request: Request,
    /// To whom the verdict goes.
    pub ticket: Ticket,
}

/// A request that was decided, and, if it changed something, committed.
pub struct Committed {
    /// What happened, in order; empty for a refusal or a repetition.
    pub entries: Vec<Arc<Entry>>,
    /// To whom the verdict goes.
    pub ticket: Ticket,
    /// The verdict.
    pub verdict: Verdict,
}

/// Hears of every commit, in commit order, from the writer's thread. Must not wait.
pub trait Publish: Send + Sync {
    /// A batch is on disk.
    fn publish(&self, batch: Vec<Committed>);
}

/// Reads over one unchanging state of the store.
///
/// These are plain look-ups: what a viewer may see is decided in [`crate::reading`].
pub trait Reader: Facts {
    /// Users whose handle or name contains the text, those that begin with it first, then by handle; all for an
    /// empty text. Both sides are compared as [`crate::reading::fold`] makes them; the text comes so.
    fn find_users(&self, folded: &str, limit: usize) -> Known<Vec<Arc<User>>>;
    /// Public, not closed conversations whose handle, name or topic contains the text, compared likewise.
    fn find_conversations(&self, folded: &str, limit: usize) -> Known<Vec<Arc<Conversation>>>;
    /// Active members with a larger user id than `after`, by user id.
    fn members(&self, conversation: ConversationId, after: UserId, limit: usize) -> Known<Vec<Arc<Member>>>;
    /// Banned users of a conversation.
    fn bans(&self, conversation: ConversationId) -> Known<Vec<Arc<Member>>>;
    /// Every active membership of the server: what the hub starts from.
    fn all_memberships(&self) -> Known<Vec<Arc<Member>>>;
    /// The head of every log that has one, by log: what the hub and the search index start from.
    fn all_heads(&self) -> Known<Vec<(LogId, Position)>>;
    /// Whom a user knows or has blocked.
    fn relations(&self, of: UserId) -> Known<Vec<(UserId, Relation)>>;
    /// Invitations of a conversation that are neither revoked nor used up.
    fn invites(&self, conversation: ConversationId) -> Known<Vec<Arc<Invite>>>;
    /// A session by its token.
    fn session_by_token(&self, token: &TokenHash) -> Known<Option<Arc<crate::record::Session>>>;
    /// Entries of a log with `after < seq <= up_to`, oldest first, at most `limit` and about 1 MiB.
    fn entries(&self, log: LogId, after: Seq, up_to: Seq, limit: usize) -> Known<Vec<Entry>>;
    /// Entries of a log with `from <= seq < before`, newest `limit` of them, oldest first, at most about 1 MiB.
    fn entries_before(&self, log: LogId, from: Seq, before: Seq, limit: usize) -> Known<Vec<Entry>>;
    /// What later entries made of the messages from one number to another, both included; by number.
    fn overlays(&self, conversation: ConversationId, from: Seq, to: Seq) -> Known<Vec<(Seq, Arc<Overlay>)>>;
    /// Replies in a thread after a number, oldest first.
    fn thread(&self, conversation: ConversationId, root: Seq, after: Seq, limit: usize) -> Known<Vec<Entry>>;
    /// Whether anybody holds a file.
    fn is_held(&self, file: FileId) -> Known<bool>;
    /// Files that no message takes, and that were not uploaded after a time; see [`Holding::is_idle`].
    fn idle_holdings(&self, before: Millis, limit: usize) -> Known<Vec<Arc<Holding>>>;
    /// Every call that goes on.
    fn open_calls(&self) -> Known<Vec<Arc<Call>>>;
    /// Numbers of pinned messages, newest first.
    fn pins(&self, conversation: ConversationId) -> Known<Vec<Seq>>;
    /// Messages after a number that mention a user and are not deleted, oldest first.
    fn mentions(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Seq,
        limit: usize,
    ) -> Known<Vec<Seq>>;
    /// The last message with `from <= seq`.
    fn last_message(&self, conversation: ConversationId, from: Seq) -> Known<Option<Entry>>;
    /// The first entry recorded at or after a time; the head if none.
    fn seq_at(&self, conversation: ConversationId, at: Millis) -> Known<Seq>;
    /// The position at a number: how many messages there are up to it.
    fn position(&self, conversation: ConversationId, seq: Seq) -> Known<Position>;
    /// A member's cursors, those not yet written included.
    fn cursor(&self, conversation: ConversationId, user: UserId) -> Known<Cursor>;
    /// Found messages, newest first; see [`crate::reading::search`].
    fn search(&self, wanted: &crate::reading::search::Wanted) -> Known<crate::reading::search::Found>;
}

/// A read to be run over one unchanging state.
pub type Reading = Box<dyn FnOnce(Result<&dyn Reader, Refused>) + Send>;

/// The truth. What an engine must guarantee:
///
/// - **One order.** Requests are decided one after the other, each over the state that all earlier ones left; the
///   `seq` of each log has no gaps and is commit order. An engine with several writers takes the log's row lock
///   in the same transaction; it never uses a sequence or the clock.
/// - **Commit, then tell.** Nothing is published before the transaction that holds it is on disk. A batch is
///   published whole and in order. A request that a rule refuses leaves nothing behind; one that is refused for
///   good is a decision like any other and leaves the refusal ([`Done::Refused`]).
/// - **Unknown is final.** When a commit fails in a way that may yet have reached the disk, the verdict is
///   `unavailable`, nothing is accepted any more, and the process ends: recovery decides.
/// - **A bounded queue.** When it is full, the verdict is `busy` at once.
/// - **Full is not dead.** When the disk is full, requests that write get `storage_full`; reads go on, and
///   writing is possible again, without a restart, as soon as there is room.
/// - **Readers see one state.** All look-ups of one reading see the same commits, and at least those published
///   before it was asked for.
pub trait Store: Send + Sync {
    /// Hands a request to the writer. Never waits.
    fn transact(&self, ask: Ask);
    /// Runs a read on a thread of the store. Never waits; a full queue answers `busy`.
    fn read(&self, reading: Reading);
    /// Moves cursors forward; what is behind the present value is ignored. Answers where they are now.
    fn move_cursor(&self, conversation: ConversationId, user: UserId, to: Cursor) -> Cursor;
    /// Changes when the contents are not a continuation of what clients saw: a restored backup.
    fn epoch(&self) -> String;
}
