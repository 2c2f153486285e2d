//! What a store keeps beside the logs: the present state of things, as the events made it.
//!
//! Records are derived: [`crate::project`] makes each of them from events, except secrets (password and token
//! hashes), which no event may carry. A store keeps records under their key and knows nothing of their meaning.

use std::sync::Arc;

use chinwag_protocol::{
    AppPasswordId, Attachment, CallView, ConversationId, ConversationKind, FileId, History, InviteId,
    MessageState, Millis, Position, Posting, Profile, Registration, Role, Seq, SessionId, Settings, UserId,
    UserKind,
};
use serde::{Deserialize, Serialize};

/// SHA-256 of a token: all that is kept of it.
pub type TokenHash = [u8; 32];

/// A user. The key is `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The key.
    pub id: UserId,
    /// As chosen, case kept.
    pub handle: String,
    /// Name shown; empty: the handle.
    pub name: String,
    /// A few words about himself.
    pub about: String,
    /// Hue in degrees.
    pub hue: u16,
    /// The picture that stands for him; he holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<FileId>,
    /// What sort.
    pub kind: UserKind,
    /// Server administrator.
    pub admin: bool,
    /// May not sign in.
    pub suspended: bool,
    /// The account was deleted; the id stays for what was said.
    pub deleted: bool,
    /// When registered.
    pub created_at: Millis,
    /// His own settings.
    pub settings: Settings,
    /// Of how many conversations he is a member.
    pub conversations: u32,
}

impl User {
    /// What others may know.
    pub fn profile(&self) -> Profile {
        Profile {
            id: self.id,
            handle: self.handle.clone(),
            name: if self.name.is_empty() { self.handle.clone() } else { self.name.clone() },
            about: self.about.clone(),
            hue: self.hue,
            avatar: self.avatar,
            kind: self.kind,
            admin: self.admin,
            inactive: self.suspended || self.deleted,
        }
    }

    /// May act at all.
    pub fn is_active(&self) -> bool {
        !self.suspended && !self.deleted
    }
}

/// What a handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// A user.
    User(UserId),
    /// A public conversation.
    Conversation(ConversationId),
}

/// A taken name: unique by folded key, and by look-alike skeleton.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// [`crate::names::fold`] of the handle; the key.
    pub key: String,
    /// [`crate::names::skeleton`] of the handle; unique too.
    pub skeleton: String,
    /// Whose.
    pub owner: Owner,
}

/// What a guest is known by, in place of a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFrom {
    /// The network address, without a port.
    pub address: String,
    /// The door.
    pub door: String,
}

/// A password for one door alone; its `id` counts within the account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// Which.
    pub id: AppPasswordId,
    /// The door that it opens.
    pub door: String,
    /// What its owner calls it.
    pub name: String,
    /// [`crate::rules::app_password::secret_hash`] of it.
    pub secret: TokenHash,
    /// When it was made.
    pub created_at: Millis,
    /// The day of its last use.
    pub used_at: Option<Millis>,
}

/// The secrets of a user. The key is `user`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The key.
    pub user: UserId,
    /// PHC string with its own parameters; empty: no password, cannot sign in with one.
    pub password: String,
    /// Counts changes, so that a sign-in that was checked against an older password is refused.
    pub version: u32,
    /// Of a guest: what he is known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestFrom>,
    /// Passwords for one door alone, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_passwords: Vec<AppPassword>,
    /// How many app passwords there ever were.
    #[serde(default)]
    pub app_passwords_made: u32,
    /// The account came from another system.
    #[serde(default)]
    pub imported: bool,
    /// The password came from there too, and its owner should change it.
    #[serde(default)]
    pub change_password: bool,
}

/// A signed-in period. The key is `id`; found by `token` too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The key.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Hash of its token.
    pub token: TokenHash,
    /// What the device calls itself.
    pub device: String,
    /// The door; empty: native.
    pub door: String,
    /// The app password that it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_password: Option<AppPasswordId>,
    /// It lives no longer than one link at its door, and so no longer than the process of the server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bound: bool,
    /// When it began.
    pub started_at: Millis,
    /// When the password was last proved.
    pub confirmed_at: Millis,
    /// When it was last used, to the hour.
    pub seen_at: Millis,
}

/// A conversation. The key is `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The key.
    pub id: ConversationId,
    /// What sort.
    pub kind: ConversationKind,
    /// Unique name, if public.
    pub handle: Option<String>,
    /// Name shown.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// The picture that stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
    /// Anybody may find and join it.
    pub public: bool,
    /// What new members may read.
    pub history: History,
    /// The entry from which on `history` has been `All` without a break: nobody who joins later sees older ones.
    pub open_from: Seq,
    /// Who may post.
    pub posting: Posting,
    /// The two users of a direct one.
    pub direct: Option<(UserId, UserId)>,
    /// How many active members.
    pub members: u32,
    /// Who owns it; a direct one belongs to both.
    #[serde(default)]
    pub owner: Option<UserId>,
    /// How many pinned messages.
    #[serde(default)]
    pub pins: u32,
    /// Deleted by its owner.
    pub closed: bool,
    /// When made.
    pub created_at: Millis,
}

impl Conversation {
    /// The other user of a direct conversation; oneself in notes to oneself.
    pub fn other(&self, user: UserId) -> Option<UserId> {
        self.direct.map(|(a, b)| if a == user { b } else { a })
    }
}

/// The picture of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Avatar {
    /// Which.
    pub file: FileId,
    /// Who chose it, and so holds it.
    pub by: UserId,
}

/// Whether a user is in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Is a member.
    Active,
    /// Left, or was removed.
    Gone,
    /// Was removed and may not come back.
    Banned,
}

/// A user in a conversation, now or once. The key is both ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// What he may do.
    pub role: Role,
    /// Whether he is in it.
    pub standing: Standing,
    /// The first entry he may see.
    pub since: Seq,
    /// His `joined` entry, with the messages up to it.
    pub entered: Position,
    /// When he joined.
    pub joined_at: Millis,
    /// The last entry he may see, once he is gone: his own removal.
    pub until: Option<Seq>,
    /// No notifications until then.
    pub muted_until: Option<Millis>,
}

impl Member {
    /// Is a member now.
    pub fn is_active(&self) -> bool {
        self.standing == Standing::Active
    }

    /// May see the entry with this number.
    pub fn may_see(&self, seq: Seq) -> bool {
        seq >= self.since && self.until.is_none_or(|until| seq <= until)
    }
}

/// How far a member is. Monotone; kept in memory and written behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Received by one of his devices.
    pub delivered: Seq,
    /// Read.
    pub read: Position,
}

/// What one user thinks of another. The key is both ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Is a contact.
    pub contact: bool,
    /// Is blocked.
    pub blocked: bool,
}

/// That a user uploaded, posted or shows a file: he answers for the space it takes. The key is both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Who.
    pub user: UserId,
    /// What.
    pub file: FileId,
    /// How many bytes.
    pub size: u64,
    /// What it is, by its content.
    pub media_type: String,
    /// Since when it has waited for somebody to take it; long ago, if the last message with it was deleted.
    pub waits_since: Option<Millis>,
    /// How many messages of his hold it, with his profile and the conversations whose picture he chose.
    pub messages: u32,
}

impl Holding {
    /// Nothing holds it, and it was not uploaded after `before` either.
    pub fn is_idle(&self, before: Millis) -> bool {
        self.messages == 0 && self.waits_since.is_none_or(|since| since < before)
    }
}

/// The call that goes on in a conversation. The key is the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Where.
    pub conversation: ConversationId,
    /// As clients see it.
    pub view: CallView,
}

/// A message as a rule needs it: the recorded part and what later entries made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub conversation: ConversationId,
    /// Its number.
    pub seq: Seq,
    /// Who said it.
    pub author: UserId,
    /// When.
    pub at: Millis,
    /// The text as it stands now; empty if deleted.
    pub text: String,
    /// The files it holds; none if deleted.
    pub attachments: Vec<Attachment>,
    /// The thread it belongs to.
    pub thread: Option<Seq>,
    /// What later entries made of it.
    pub overlay: Overlay,
}

/// What later entries made of a message. The key is conversation and message; most messages have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// As clients see it.
    pub state: MessageState,
    /// The `edited` entries of this message, whose texts go when it is deleted.
    pub edits: Vec<Seq>,
}

/// An invitation link. The key is `id`; found by `token` too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The key.
    pub id: InviteId,
    /// To what.
    pub conversation: ConversationId,
    /// Hash of its token.
    pub token: TokenHash,
    /// Who made it; the right is checked again at use.
    pub by: UserId,
    /// The role of who comes by it.
    pub role: Role,
    /// Until when it is good.
    pub expires_at: Millis,
    /// How often it can still be used.
    pub uses_left: u32,
    /// Made worthless.
    pub revoked: bool,
}

/// A link that lets somebody act without a session. The key is `token`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTime {
    /// Hash of its token; the key.
    pub token: TokenHash,
    /// What it is good for.
    pub purpose: Purpose,
    /// Until when.
    pub expires_at: Millis,
}

/// What a one-time link is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Registering as the first administrator.
    Setup,
    /// Choosing a new password.
    Reset(UserId),
}

/// The server's own settings. One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Who may make an account.
    pub registration: Registration,
    /// The built-in group that new accounts become members of, if switched on.
    pub everyone: Option<ConversationId>,
    /// Whether new accounts do.
    pub join_everyone: bool,
    /// The built-in bot.
    pub bot: UserId,
    /// Whether there has ever been an administrator.
    pub has_admin: bool,
}

/// The end of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The last entry, with the messages up to it.
    pub position: Position,
    /// When it was recorded.
    pub at: Millis,
}

/// What a command that is remembered was answered, and is answered whenever it comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// No, and that is final.
    Refused(chinwag_protocol::Refused),
    /// It was done.
    #[serde(untagged)]
    Reply(chinwag_protocol::Reply),
}

/// A remembered command: what `(user, client_id)` led to. Kept for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Who.
    pub user: UserId,
    /// His own id of it.
    pub client_id: String,
    /// Hash of the command's body: the same id with another body is a conflict.
    pub body: u64,
    /// What was answered.
    pub told: Told,
}

/// Numbers that a store hands out, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// [`UserId`].
    User,
    /// [`ConversationId`].
    Conversation,
    /// [`SessionId`].
    Session,
    /// [`InviteId`].
    Invite,
}

/// A record to keep or to drop. Values are whole: a store replaces what it has under the key.
#[derive(Clone)]
pub enum Change {
    /// Keeps a user.
    User(Arc<User>),
    /// Takes a name.
    Name(Arc<Name>),
    /// Frees the name with this key.
    NameFreed(String),
    /// Keeps a password.
    Credentials(Arc<Credentials>),
    /// Keeps a session.
    Session(Arc<Session>),
    /// Ends a session.
    SessionEnded(SessionId),
    /// Keeps a conversation; a direct one is also found by its two users.
    Conversation(Arc<Conversation>),
    /// Keeps a member.
    Member(Arc<Member>),
    /// Keeps what one user thinks of another.
    Relation(UserId, UserId, Relation),
    /// Keeps what later entries made of a message.
    Overlay(ConversationId, Seq, Arc<Overlay>),
    /// Erases the text of an entry for good, but not the entry nor its place in the hash chain.
    Erase(ConversationId, Seq),
    /// A message mentions a user.
    Mention(UserId, ConversationId, Seq),
    /// Keeps who holds a file.
    Holding(Arc<Holding>),
    /// A user holds a file no longer.
    HoldingGone(UserId, FileId),
    /// Keeps the call of a conversation.
    Call(Arc<Call>),
    /// The call of a conversation is over.
    CallOver(ConversationId),
    /// Keeps an invitation.
    Invite(Arc<Invite>),
    /// Keeps a one-time link.
    OneTime(Arc<OneTime>),
    /// The link was used.
    OneTimeUsed(TokenHash),
    /// Keeps the server's settings.
    Server(Arc<Server>),
    /// Remembers a command.
    Sent(Arc<Sent>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store of the first schema holds: fields that came later are simply not there.
    #[test]
    fn secrets_that_were_kept_before_there_were_guests_are_read() {
        let kept = r#"{"user":7,"password":"$argon2id$","version":3}"#;
        let expected = Credentials {
            user: UserId(7),
            password: "$argon2id$".into(),
            version: 3,
            ..Credentials::default()
        };
        assert!(serde_json::from_str::<Credentials>(kept).unwrap() == expected);
        let kept = format!(
            r#"{{"id":1,"user":7,"token":{:?},"device":"","door":"","started_at":1,"confirmed_at":1,"seen_at":1}}"#,
            [0_u8; 32]
        );
        assert_eq!(serde_json::from_str::<Session>(&kept).unwrap().app_password, None);
    }

    #[test]
    fn who_and_what_was_kept_before_there_were_pictures_is_read() {
        let kept = r#"{"id":2,"handle":"anna","name":"","about":"","hue":7,"kind":"person","admin":false,
            "suspended":false,"deleted":false,"created_at":1,"settings":{"theme":"dark"},"conversations":1}"#;
        let user = serde_json::from_str::<User>(kept).unwrap();
        assert_eq!((user.hue, user.avatar), (7, None));
        let kept = r#"{"id":3,"kind":"group","handle":null,"name":"Lab","topic":"","public":false,
            "history":"all","open_from":1,"posting":"everyone","direct":null,"members":1,"closed":false,
            "created_at":1}"#;
        let conversation = serde_json::from_str::<Conversation>(kept).unwrap();
        assert_eq!((conversation.name.as_str(), conversation.avatar), ("Lab", None));
    }
}
