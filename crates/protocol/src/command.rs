//! Asking for a change, and what is answered.

use serde::{Deserialize, Serialize};

use crate::{
    AppPasswordId, Attach, CallMedia, ConversationId, ConversationKind, History, InviteId, Millis, NewAvatar,
    Posting, Registration, Role, Seq, SessionId, UserId, view::is_false,
};

/// New parts of one's own profile; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(deny_unknown_fields, default)]
pub struct ProfileChange {
    /// New unique name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// New name shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New words about oneself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// New hue, 0 to 359.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hue: Option<u16>,
    /// New picture, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<NewAvatar>,
}

/// New parts of a conversation; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(deny_unknown_fields, default)]
pub struct ConversationChange {
    /// New unique name; a public conversation always has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// New name shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// New picture, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<NewAvatar>,
    /// Public or private.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// What new members may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Who may post.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posting: Option<Posting>,
}

/// What one chose for oneself, the same on all one's devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `system`, `light` or `dark`.
    pub theme: String,
    /// Look offline to everybody.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub invisible: bool,
    /// Do not tell others how far one has read.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub hide_read: bool,
    /// IANA name of the time zone, for `/time`; empty: the server's.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
    pub time_zone: String,
    /// `all`, `mentions` or `none`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
    pub notify: String,
}

/// New parts of the server's settings; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(deny_unknown_fields, default)]
pub struct ServerChange {
    /// The server's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who may make an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
    /// Whether new accounts become members of `Everyone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub everyone: Option<bool>,
}

/// Asks for a change. Who asks comes from the session, never from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    // Account.
    /// Changes one's own profile.
    ChangeProfile(ProfileChange),
    /// Replaces one's own settings.
    ChangeSettings(Settings),
    /// Changes one's own password; ends all one's other sessions.
    ChangePassword {
        /// The present one.
        old: String,
        /// The new one, 8 to 256 characters.
        new: String,
    },
    /// Proves again who one is; what needs a fresh proof is allowed for ten minutes.
    ConfirmPassword {
        /// One's password.
        password: String,
    },
    /// Ends one of one's own sessions.
    EndSession {
        /// Which.
        session: SessionId,
    },
    /// Ends all one's sessions but this.
    EndOtherSessions {},
    /// Deletes one's account: leaves all conversations, keeps what was said under "deleted user".
    DeleteAccount {
        /// One's password.
        password: String,
    },
    /// Makes a password that is good for one door alone; the answer holds it, once. Needs a fresh proof of the
    /// account's password.
    CreateAppPassword {
        /// One's own id of this command.
        client_id: String,
        /// For which door: `tcp_json`.
        door: String,
        /// What to call it in the list.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
        name: String,
    },
    /// Makes an app password worthless and ends the sessions that it began.
    RevokeAppPassword {
        /// Which.
        app_password: AppPasswordId,
    },
    /// Adds a contact.
    AddContact {
        /// Whom.
        user: UserId,
    },
    /// Removes a contact.
    RemoveContact {
        /// Whom.
        user: UserId,
    },
    /// Blocks somebody: no direct messages from him, and he is not told.
    Block {
        /// Whom.
        user: UserId,
    },
    /// Unblocks.
    Unblock {
        /// Whom.
        user: UserId,
    },

    // Conversations.
    /// Opens the direct conversation with a user, making it if needed.
    OpenDirect {
        /// With whom; oneself for notes.
        user: UserId,
    },
    /// Makes a group or channel and joins it as its owner.
    CreateConversation {
        /// One's own id of this command.
        client_id: String,
        /// Group or channel.
        kind: ConversationKind,
        /// Name shown.
        name: String,
        /// Unique name; derived from the name if absent and public.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        handle: Option<String>,
        /// What it is about.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
        topic: String,
        /// Whether anybody may find and join it.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
        public: bool,
        /// What new members may read.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<History>", optional))]
        history: History,
        /// Who may post; by default everyone in a group and admins in a channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        posting: Option<Posting>,
        /// Whom to add at once.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<UserId>>", optional))]
        members: Vec<UserId>,
    },
    /// Changes name, topic or settings.
    ChangeConversation {
        /// Which.
        conversation: ConversationId,
        /// What.
        change: ConversationChange,
    },
    /// Deletes a conversation for everybody.
    CloseConversation {
        /// Which.
        conversation: ConversationId,
    },
    /// Joins a public conversation.
    Join {
        /// Which.
        conversation: ConversationId,
    },
    /// Leaves.
    Leave {
        /// Which.
        conversation: ConversationId,
    },
    /// Adds a user.
    AddMember {
        /// Where.
        conversation: ConversationId,
        /// Whom.
        user: UserId,
    },
    /// Removes a member; `ban` keeps him out.
    RemoveMember {
        /// Where.
        conversation: ConversationId,
        /// Whom.
        user: UserId,
        /// Until unbanned.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
        ban: bool,
    },
    /// Lifts a ban.
    Unban {
        /// Where.
        conversation: ConversationId,
        /// Whose.
        user: UserId,
    },
    /// Makes a member an admin, or an admin a member.
    SetRole {
        /// Where.
        conversation: ConversationId,
        /// Whose.
        user: UserId,
        /// Member or admin; owner transfers the ownership.
        role: Role,
    },
    /// Makes an invitation link; the answer holds its token, once.
    CreateInvite {
        /// One's own id of this command.
        client_id: String,
        /// To what.
        conversation: ConversationId,
        /// How long it is good; 7 days if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        lifetime_s: Option<u32>,
        /// How often it can be used; 10 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        uses: Option<u32>,
        /// The role of who comes by it; not above one's own, never owner.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<Role>", optional))]
        role: Role,
    },
    /// Makes a link worthless.
    RevokeInvite {
        /// Where.
        conversation: ConversationId,
        /// Which.
        invite: InviteId,
    },
    /// Joins by an invitation link.
    UseInvite {
        /// The link's token.
        token: String,
    },
    /// Mutes a conversation for oneself.
    Mute {
        /// Which.
        conversation: ConversationId,
        /// Until when; absent: unmute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        until: Option<Millis>,
    },

    // Messages.
    /// Says something.
    Post {
        /// Where.
        conversation: ConversationId,
        /// One's own id of this message: sending twice answers the same once.
        client_id: String,
        /// What; may be empty if there are attachments.
        text: String,
        /// The files it holds; at most 20.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<Attach>>", optional))]
        attachments: Vec<Attach>,
        /// The message it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        reply_to: Option<Seq>,
        /// The first message of the thread it goes to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        thread: Option<Seq>,
        /// When one wrote it, by one's own clock: a claim, shown and never used for order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        sent_at: Option<Millis>,
    },
    /// Changes the text of one's own message.
    Edit {
        /// Where.
        conversation: ConversationId,
        /// Which message.
        message: Seq,
        /// The whole new text.
        text: String,
    },
    /// Deletes a message for everyone.
    Delete {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: Seq,
    },
    /// Reacts to a message.
    React {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: Seq,
        /// One emoji.
        emoji: String,
    },
    /// Takes a reaction back.
    Unreact {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: Seq,
        /// Which.
        emoji: String,
    },
    /// Pins a message.
    Pin {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: Seq,
    },
    /// Unpins.
    Unpin {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: Seq,
    },

    // Calls.
    /// Calls the others of a conversation; there is at most one call in it at a time.
    StartCall {
        /// Whom.
        conversation: ConversationId,
        /// One's own id of this command.
        client_id: String,
        /// What for.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<CallMedia>", optional))]
        media: CallMedia,
    },
    /// Accepts a call or declines it; in a direct conversation declining ends it.
    AnswerCall {
        /// Where.
        conversation: ConversationId,
        /// Which.
        call: Seq,
        /// Or decline.
        accept: bool,
    },
    /// Ends a call for everybody.
    EndCall {
        /// Where.
        conversation: ConversationId,
        /// Which.
        call: Seq,
    },

    // Server administrators.
    /// Suspends a user: ends his sessions, no sign-in. `false` lifts it.
    Suspend {
        /// Whom.
        user: UserId,
        /// Or not.
        suspended: bool,
    },
    /// Makes somebody a server administrator, or no longer one.
    SetAdmin {
        /// Whom.
        user: UserId,
        /// Or not.
        admin: bool,
    },
    /// Makes a link with which a user can choose a new password; the answer holds its token, once.
    ResetPassword {
        /// Whose.
        user: UserId,
    },
    /// Ends all sessions of a user.
    EndSessionsOf {
        /// Whose.
        user: UserId,
    },
    /// Changes the server's settings.
    ChangeServer(ServerChange),
}

/// Where a message was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Posted {
    /// Where.
    pub conversation: ConversationId,
    /// Its number.
    pub seq: Seq,
    /// When.
    pub at: Millis,
}

/// The answer to a command that was done: on disk, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done, or it was so already.
    Done {},
    /// A message was recorded.
    Posted(Posted),
    /// A conversation was made, opened or joined.
    Conversation {
        /// Which.
        conversation: ConversationId,
    },
    /// An invitation was made.
    Invite {
        /// Which.
        invite: InviteId,
        /// The secret part of its link. Absent when the same command is answered again: it is told once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        token: Option<String>,
    },
    /// An app password was made.
    AppPassword {
        /// Which.
        app_password: AppPasswordId,
        /// The password. Absent when the same command is answered again: it is told once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        secret: Option<String>,
    },
    /// A call was started: it rings.
    Call {
        /// Where.
        conversation: ConversationId,
        /// Its name.
        call: Seq,
    },
    /// A link to choose a new password was made; good for 30 minutes.
    ResetLink {
        /// The secret part of the link.
        token: String,
    },
}
