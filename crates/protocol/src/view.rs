//! What people look at: profiles, conversations, messages as they stand now.

use serde::{Deserialize, Serialize};

use crate::{CallView, ConversationId, Entry, FileId, LogId, Millis, Seq, SessionId, Settings, UserId};

/// What sort of user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// Has a password and all rights of the server.
    #[default]
    Person,
    /// Sees only conversations it was invited to; no directory.
    Guest,
    /// A program; the built-in bot `chinwag` is one.
    Bot,
}

/// What everybody on the server may know of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Profile {
    /// Who.
    pub id: UserId,
    /// The unique name, for typing: `@anna`.
    pub handle: String,
    /// The name shown; the handle if nothing was chosen.
    pub name: String,
    /// A few words about oneself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
    pub about: String,
    /// Hue of the name and of the initials in degrees, 0 to 359.
    pub hue: u16,
    /// The picture that stands for this user, if one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub avatar: Option<FileId>,
    /// What sort of user.
    pub kind: UserKind,
    /// Whether this is a server administrator.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub admin: bool,
    /// Suspended by an administrator, or the account was deleted: cannot sign in.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub inactive: bool,
}

/// What sort of conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// Two users, for ever the same two.
    Direct,
    /// Any number of users.
    Group,
    /// A group where by default only admins post.
    Channel,
}

/// What a new member may read of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Everything since this setting was last switched on.
    #[default]
    All,
    /// Only what comes after joining.
    FromJoining,
}

/// Who may post.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Posting {
    /// Every member.
    #[default]
    Everyone,
    /// Admins and the owner.
    Admins,
}

/// What a member may do in a conversation. Ordered: a later one may do all that an earlier one may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads, and posts where the posting policy allows.
    #[default]
    Member,
    /// Moderates: members, messages, settings.
    Admin,
    /// One of them has the last word: transfer, delete.
    Owner,
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Anybody who reaches the server.
    #[default]
    Open,
    /// Whoever holds an invitation link.
    Invite,
    /// Nobody; administrators make accounts.
    Closed,
}

/// A place in a log, with the number of messages up to it.
///
/// Unread messages are the difference of two `messages`: no client counts entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Position {
    /// The last entry up to here.
    pub seq: Seq,
    /// How many of the entries up to here are messages.
    pub messages: u32,
}

/// One's own place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct MyMembership {
    /// What one may do.
    pub role: Role,
    /// The first entry one may see.
    pub since: Seq,
    /// How far one has read.
    pub read: Position,
    /// Unread messages that mention one, oldest first; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<Seq>>", optional))]
    pub mentions: Vec<Seq>,
    /// No notifications until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub muted_until: Option<Millis>,
}

/// A conversation as one of its members, or somebody who may join it, sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ConversationView {
    /// Which.
    pub id: ConversationId,
    /// What sort.
    pub kind: ConversationKind,
    /// The unique name of a public conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub handle: Option<String>,
    /// The name shown; empty for direct conversations, which are shown by their other user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
    pub name: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
    pub topic: String,
    /// The picture that stands for it, if one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub avatar: Option<FileId>,
    /// Whether anybody may find and join it.
    pub public: bool,
    /// What new members may read.
    pub history: History,
    /// Who may post.
    pub posting: Posting,
    /// The two users of a direct conversation, the one with the smaller id first; twice the same for notes to oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub direct: Option<(UserId, UserId)>,
    /// How many members.
    pub members: u32,
    /// Deleted by its owner: read no more, nothing can be added.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub closed: bool,
    /// The last entry, and the number of messages.
    pub head: Position,
    /// The call that goes on or rings in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub call: Option<CallView>,
    /// One's own place in it; absent for those who are not members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub mine: Option<MyMembership>,
    /// The last message, for the list of conversations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub last: Option<Box<Item>>,
}

/// Who reacted with one emoji.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// Who, in the order in which they reacted.
    pub users: Vec<UserId>,
}

/// What later entries made of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct MessageState {
    /// The text after its last edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub text: Option<String>,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub edited_at: Option<Millis>,
    /// Deleted for everyone; its text is gone.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub deleted: bool,
    /// Reactions, in the order in which each emoji first appeared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<Reaction>>", optional))]
    pub reactions: Vec<Reaction>,
    /// Pinned to the conversation.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub pinned: bool,
    /// Replies in its thread.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<u32>", optional))]
    pub replies: u32,
    /// The last entry that changed it. An entry with this or a smaller number is already in here.
    pub changed: Seq,
}

/// An entry of history, with what later entries made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Item {
    /// As it was recorded; the text of a deleted message is empty.
    pub entry: Entry,
    /// Present if anything changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub state: Option<MessageState>,
}

/// Everything one's client needs to start, and the place in each log from which to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Snapshot {
    /// Oneself.
    pub me: Profile,
    /// The session that asked.
    pub session: SessionId,
    /// One's own settings.
    pub settings: Settings,
    /// The conversations one is a member of, each with its head.
    pub conversations: Vec<ConversationView>,
    /// The users these conversations name: the others of direct ones, authors of last messages, contacts.
    pub users: Vec<Profile>,
    /// One's contacts.
    pub contacts: Vec<UserId>,
    /// Whom one has blocked.
    pub blocked: Vec<UserId>,
    /// The place in one's own log and in the directory.
    pub positions: Vec<(LogId, Seq)>,
}

/// What anybody may know of a server before signing in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ServerInfo {
    /// The name its owner gave it.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Version of the WebSocket protocol.
    pub protocol: u32,
    /// Who may make an account.
    pub registration: Registration,
    /// Whether the first administrator is still to be made, with the link that the server printed.
    pub needs_setup: bool,
    /// Whether new accounts become members of the group `Everyone`.
    pub everyone: bool,
    /// The doors that are open now, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<String>>", optional))]
    pub doors: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
