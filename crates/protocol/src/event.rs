//! What happened: recorded facts, numbered in their logs.

use serde::{Deserialize, Serialize};

use crate::{
    Attachment, CallEnd, CallMedia, ConversationChange, ConversationId, ConversationKind, ConversationView,
    History, LogId, Millis, Posting, Profile, Role, Seq, SessionId, Settings, UserId, view::is_false,
};

/// One event in its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Entry {
    /// Which log.
    pub log: LogId,
    /// Its number there.
    pub seq: Seq,
    /// When the server recorded it.
    pub at: Millis,
    /// Who did it.
    pub by: UserId,
    /// The sender's own id of the command, where the command had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub client_id: Option<String>,
    /// What happened.
    pub event: Event,
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct MessageBody {
    /// The text; empty once the message was deleted.
    pub text: String,
    /// Its number among the messages of this log: 1, 2, 3 without gaps.
    pub number: u32,
    /// The message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub reply_to: Option<Seq>,
    /// The first message of the thread it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub thread: Option<Seq>,
    /// The files it holds; none once the message was deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<Attachment>>", optional))]
    pub attachments: Vec<Attachment>,
    /// Members it mentions by handle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<UserId>>", optional))]
    pub mentions: Vec<UserId>,
    /// It says `@everyone` or `@here`, from somebody who may.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub mentions_all: bool,
    /// The door it came through, if not the native one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub via: Option<String>,
    /// When it was written, as its sender's clock claims; order is `seq`, and the time of recording is the entry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub sent_at: Option<Millis>,
}

/// How somebody became a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum JoinedBy {
    /// Made the conversation, or is the other user of a direct one.
    Creating,
    /// Joined a public conversation.
    Joining,
    /// Was added by the entry's `by`.
    Adding,
    /// Used an invitation link.
    Invite,
    /// Has just registered and is in the server's `Everyone`.
    Registering,
}

/// A recorded fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Event {
    // In a conversation's log.
    /// The conversation exists; always its first entry.
    Created {
        /// What sort.
        kind: ConversationKind,
        /// Unique name, if public.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        handle: Option<String>,
        /// Name shown.
        name: String,
        /// What it is about.
        topic: String,
        /// Whether anybody may find and join it.
        public: bool,
        /// What new members may read.
        history: History,
        /// Who may post.
        posting: Posting,
        /// The two users of a direct conversation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        direct: Option<(UserId, UserId)>,
    },
    /// Its name, topic or settings changed.
    Changed(ConversationChange),
    /// A user became a member.
    Joined {
        /// Who.
        user: UserId,
        /// With which role.
        role: Role,
        /// The first entry the new member may see.
        since: Seq,
        /// How.
        how: JoinedBy,
    },
    /// A member left.
    Left {
        /// Who.
        user: UserId,
    },
    /// A member was removed.
    Removed {
        /// Who.
        user: UserId,
        /// May not come back until unbanned.
        banned: bool,
    },
    /// Somebody who is not a member may not become one until unbanned.
    Banned {
        /// Who.
        user: UserId,
    },
    /// A ban was lifted.
    Unbanned {
        /// Whose.
        user: UserId,
    },
    /// A member's role changed.
    RoleChanged {
        /// Whose.
        user: UserId,
        /// The new role.
        role: Role,
    },
    /// Somebody said something.
    Message(MessageBody),
    /// The author changed the text of a message.
    Edited {
        /// Which message.
        message: Seq,
        /// The whole new text; empty once the message was deleted.
        text: String,
    },
    /// A message was deleted for everyone.
    Deleted {
        /// Which.
        message: Seq,
    },
    /// Somebody reacted to a message.
    Reacted {
        /// Which.
        message: Seq,
        /// With what.
        emoji: String,
    },
    /// Somebody took a reaction back.
    Unreacted {
        /// Which.
        message: Seq,
        /// Which reaction.
        emoji: String,
    },
    /// A message was pinned.
    Pinned {
        /// Which.
        message: Seq,
    },
    /// A message is no longer pinned.
    Unpinned {
        /// Which.
        message: Seq,
    },
    /// Somebody calls the others; the call is named by this entry.
    CallStarted {
        /// What for.
        media: CallMedia,
        /// The door it was started through, if not the native one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        via: Option<String>,
    },
    /// Somebody who was called has answered.
    CallAnswered {
        /// Which call.
        call: Seq,
        /// Or declined.
        accepted: bool,
    },
    /// A call is over.
    CallEnded {
        /// Which.
        call: Seq,
        /// Why.
        reason: CallEnd,
    },
    /// The conversation was deleted by its owner; its last entry.
    Closed {},
    /// An entry that this reader may not see: it concerns a message from before he joined. Only on the wire.
    Hidden {},

    // In a user's own log.
    /// One became a member of a conversation; the view is as of the `joined` entry, which is its head.
    Entered {
        /// The conversation.
        conversation: Box<ConversationView>,
    },
    /// One is no longer a member.
    Departed {
        /// Which conversation.
        conversation: ConversationId,
    },
    /// A contact was added.
    ContactAdded {
        /// Who.
        user: UserId,
    },
    /// A contact was removed.
    ContactRemoved {
        /// Who.
        user: UserId,
    },
    /// One blocked somebody.
    Blocked {
        /// Whom.
        user: UserId,
    },
    /// One unblocked somebody.
    Unblocked {
        /// Whom.
        user: UserId,
    },
    /// One muted a conversation, or unmuted it.
    Muted {
        /// Which.
        conversation: ConversationId,
        /// Until when; absent: no longer muted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional))]
        until: Option<Millis>,
    },
    /// One's settings changed; the whole new ones.
    SettingsChanged {
        /// The new settings.
        settings: Settings,
    },
    /// One signed in somewhere.
    SessionStarted {
        /// The new session.
        session: SessionId,
        /// What the device calls itself.
        device: String,
    },
    /// A session ended: signed out, revoked, or the password changed.
    SessionEnded {
        /// Which.
        session: SessionId,
    },

    // In the directory.
    /// A user registered, or a profile changed; the whole new profile.
    UserChanged {
        /// The profile.
        profile: Profile,
    },
}

impl Event {
    /// The message that this event changes, if it changes one.
    pub fn target(&self) -> Option<Seq> {
        match self {
            Self::Edited { message, .. }
            | Self::Deleted { message }
            | Self::Reacted { message, .. }
            | Self::Unreacted { message, .. }
            | Self::Pinned { message }
            | Self::Unpinned { message } => Some(*message),
            _ => None,
        }
    }
}
