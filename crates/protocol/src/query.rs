//! Asking to read, and what is answered.

use serde::{Deserialize, Serialize};

use crate::{
    AppPasswordId, ConversationId, ConversationView, Entry, InviteId, Item, LogId, Millis, PresenceOf,
    Profile, Role, Seq, SessionId, UserId,
};

/// Where a page of history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The end.
    Latest,
    /// The entries just before this one.
    Before(Seq),
    /// The entries just after this one.
    After(Seq),
    /// Half before, half from this one on.
    Around(Seq),
    /// From the first entry at or after this time.
    Date(Millis),
}

/// Asks to read. What may not be known is answered as what does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// Everything a client needs to start.
    Snapshot {},
    /// Profiles by id, at most 200.
    Users {
        /// Whose.
        users: Vec<UserId>,
    },
    /// People whose handle or name begins with, or contains, a text; the whole directory for an empty one.
    FindUsers {
        /// The text.
        text: String,
        /// At most so many, 200 at the outside.
        limit: u16,
    },
    /// Public conversations whose handle, name or topic contains a text.
    FindConversations {
        /// The text.
        text: String,
        /// At most so many, 200 at the outside.
        limit: u16,
    },
    /// One conversation.
    Conversation {
        /// Which.
        conversation: ConversationId,
    },
    /// Who or what a handle names.
    Handle {
        /// The handle, without `@` or `#`.
        handle: String,
    },
    /// Members, by user id.
    Members {
        /// Of what.
        conversation: ConversationId,
        /// Those with a larger id than this.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<UserId>", optional))]
        after: UserId,
        /// At most so many, 1,000 at the outside.
        limit: u16,
    },
    /// Who may not come back until unbanned.
    Bans {
        /// From what.
        conversation: ConversationId,
    },
    /// A page of history, with every message as it stands now.
    History {
        /// Of what.
        conversation: ConversationId,
        /// From where.
        anchor: Anchor,
        /// At most so many entries, 200 at the outside.
        limit: u16,
    },
    /// A thread: its first message and the replies after `after`.
    Thread {
        /// Where.
        conversation: ConversationId,
        /// Its first message.
        root: Seq,
        /// Replies after this.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<Seq>", optional))]
        after: Seq,
        /// At most so many, 200 at the outside.
        limit: u16,
    },
    /// Pinned messages, newest first.
    Pins {
        /// Where.
        conversation: ConversationId,
    },
    /// To whom a message was delivered and who read it.
    MessageInfo {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: Seq,
    },
    /// Entries of one log after a number, as recorded, oldest first: catching up.
    Entries {
        /// Which log.
        log: LogId,
        /// After this.
        after: Seq,
        /// At most so many, 200 at the outside.
        limit: u16,
    },
    /// Messages one may read that match: words, `"phrases"`, `from: in: before: after: has:`; newest first.
    Search {
        /// What was typed, at most 256 bytes.
        text: String,
        /// The `next` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        page: Option<String>,
        /// At most so many, 100 at the outside.
        limit: u16,
    },
    /// One's own sessions.
    Sessions {},
    /// One's own app passwords.
    AppPasswords {},
    /// Open invitations of a conversation.
    Invites {
        /// Of what.
        conversation: ConversationId,
    },
    /// What an invitation leads to, before using it.
    Invite {
        /// The link's token.
        token: String,
    },
    /// Users who are online now, of a conversation or of the whole server.
    Online {
        /// Where; absent: everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        conversation: Option<ConversationId>,
    },
}

/// A member of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct MemberView {
    /// Who.
    pub profile: Profile,
    /// What he may do.
    pub role: Role,
    /// When he joined.
    pub joined_at: Millis,
    /// How far he has received.
    pub delivered: Seq,
    /// How far he has read; zero if he does not tell.
    pub read: Seq,
}

/// One of one's own sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SessionView {
    /// Which.
    pub session: SessionId,
    /// What the device calls itself.
    pub device: String,
    /// The door it came through; `native` for the web, the terminal and the command line.
    pub door: String,
    /// When it began.
    pub started_at: Millis,
    /// When it was last used.
    pub seen_at: Millis,
    /// Whether it is connected now.
    pub online: bool,
}

/// One of one's own app passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AppPasswordView {
    /// Which.
    pub app_password: AppPasswordId,
    /// The door that it opens.
    pub door: String,
    /// What its owner calls it; may be empty.
    pub name: String,
    /// When it was made.
    pub created_at: Millis,
    /// The day on which it was last used; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub used_at: Option<Millis>,
}

/// An open invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct InviteInfo {
    /// Which.
    pub invite: InviteId,
    /// Who made it.
    pub by: UserId,
    /// The role of who comes by it.
    pub role: Role,
    /// Until when it is good.
    pub expires_at: Millis,
    /// How often it can still be used.
    pub uses_left: u32,
}

/// One found message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SearchHit {
    /// The message as it stands now; jump to its log and seq.
    pub item: Item,
    /// The line of its text around the first match.
    pub context: String,
    /// Byte ranges of `context` that matched.
    pub marks: Vec<(u32, u32)>,
}

/// A page of search results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SearchPage {
    /// Newest first.
    pub hits: Vec<SearchHit>,
    /// Ask with this for older ones; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub next: Option<String>,
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct HistoryPage {
    /// Oldest first.
    pub items: Vec<Item>,
    /// Whether there are older entries that one may see.
    pub more_before: bool,
    /// Whether there are newer ones.
    pub more_after: bool,
}

/// To whom a message has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct MessageInfo {
    /// When the server recorded it.
    pub accepted_at: Millis,
    /// Members whose devices have it, without the author; at most 200.
    pub delivered_to: Vec<UserId>,
    /// Members who have read it and tell so; at most 200.
    pub read_by: Vec<UserId>,
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Everything a client needs to start.
    Snapshot(Box<crate::Snapshot>),
    /// Profiles.
    Users(Vec<Profile>),
    /// Conversations.
    Conversations(Vec<ConversationView>),
    /// One conversation.
    Conversation(Box<ConversationView>),
    /// One user.
    User(Profile),
    /// Members.
    Members(Vec<MemberView>),
    /// History.
    History(HistoryPage),
    /// Pins.
    Items(Vec<Item>),
    /// Message information.
    MessageInfo(MessageInfo),
    /// Entries as recorded.
    Entries {
        /// Oldest first.
        entries: Vec<Entry>,
        /// Whether there are more.
        more: bool,
    },
    /// Found messages.
    Search(SearchPage),
    /// Sessions.
    Sessions(Vec<SessionView>),
    /// App passwords.
    AppPasswords(Vec<AppPasswordView>),
    /// Invitations.
    Invites(Vec<InviteInfo>),
    /// Who is online.
    Online(Vec<PresenceOf>),
}
