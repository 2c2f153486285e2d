//! Passing things: never stored, the first to be dropped under load.

use serde::{Deserialize, Serialize};

use crate::{ConversationId, Millis, Position, Seq, UserId};

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// At least one connection in use.
    Online,
    /// Connected, but not looking.
    Away,
    /// Not connected, or invisible.
    #[default]
    Offline,
}

/// The presence of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PresenceOf {
    /// Who.
    pub user: UserId,
    /// How.
    pub presence: Presence,
    /// When he was last there, if he is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub seen_at: Option<Millis>,
}

/// A member's cursors moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct CursorMoved {
    /// Where.
    pub conversation: ConversationId,
    /// Whose.
    pub user: UserId,
    /// How far his devices have received.
    pub delivered: Seq,
    /// How far he has read, with the number of messages up to there.
    pub read: Position,
}

/// What a client passes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientSignal {
    /// One is writing; ends by itself after 6 seconds.
    Typing {
        /// Where.
        conversation: ConversationId,
    },
    /// One is looking, or has looked away.
    Presence {
        /// `online` or `away`.
        presence: Presence,
    },
    /// Whose presence this connection wants to hear; replaces the former list, at most 500.
    Watch {
        /// Whose.
        users: Vec<UserId>,
    },
    /// One's cursors in a conversation; smaller values than before are ignored.
    Cursor {
        /// Where.
        conversation: ConversationId,
        /// This device has received up to here.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<Seq>", optional))]
        delivered: Seq,
        /// One has read up to here.
        #[serde(default)]
        #[cfg_attr(feature = "typescript", ts(as = "Option<Seq>", optional))]
        read: Seq,
    },
}

/// What the server passes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ServerSignal {
    /// A member is writing; forget it after 6 seconds.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
    },
    /// Presence of watched users changed.
    Presence(Vec<PresenceOf>),
    /// Cursors of members moved; of oneself in all conversations, of others in those of at most 100 members.
    Cursor(CursorMoved),
}
