//! One text frame of the WebSocket each, and the bodies of the HTTP routes around sign-in.

use serde::{Deserialize, Serialize};

use crate::{
    Answer, ClientSignal, Command, Entry, LogId, Query, Refused, Reply, Seq, ServerSignal, SessionId,
    Snapshot, UserId, view::is_false,
};

/// The version of the frames; a server refuses others with `unsupported_version`.
pub const PROTOCOL_VERSION: u32 = 1;

/// What a device says of itself at sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The user's handle.
    pub handle: String,
    /// The password, 8 to 256 characters.
    pub password: String,
    /// What to call this device in the list of sessions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<String>", optional))]
    pub device: String,
    /// At registration: the token of an invitation, or of the setup or reset link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub invite: Option<String>,
    /// Whether to keep the token in a cookie (browsers) rather than to hand it over (programs).
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub cookie: bool,
}

/// The answer to a registration or sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SignedIn {
    /// Who.
    pub user: UserId,
    /// The new session.
    pub session: SessionId,
    /// Its secret, shown once; absent if it went into a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub token: Option<String>,
    /// The password came with the account from another system and should be changed.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<bool>", optional))]
    pub change_password: bool,
}

/// Where a client left off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The store's epoch as told at the last welcome; another one means that a backup was restored.
    pub epoch: String,
    /// The last entry applied of each log.
    pub positions: Vec<(LogId, Seq)>,
}

/// The first frame of every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The session's token; absent if the upgrade request carried it in a cookie or header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub token: Option<String>,
    /// Where to go on; absent: from a fresh snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub resume: Option<Origin>,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// Signs the connection in.
    Hello(Hello),
    /// Asks for a change; answered once with the same id.
    Command {
        /// Chosen by the client, larger for each question.
        #[cfg_attr(feature = "typescript", ts(type = "number"))]
        id: u64,
        /// What.
        #[serde(rename = "do")]
        #[cfg_attr(feature = "typescript", ts(rename = "do"))]
        command: Command,
    },
    /// Asks to read; answered once with the same id.
    Query {
        /// Chosen by the client, larger for each question.
        #[cfg_attr(feature = "typescript", ts(type = "number"))]
        id: u64,
        /// What.
        get: Query,
    },
    /// Passes something on; not answered.
    Signal(ClientSignal),
    /// Asks whether the server is there; answered by `pong`.
    Ping {},
}

/// The full state, at the start of a connection or when there is too much to catch up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Welcome {
    /// Names the store; a client with positions of another epoch starts afresh.
    pub epoch: String,
    /// How often the server expects a sign of life.
    pub heartbeat_ms: u32,
    /// Replaces whatever the client knew.
    pub snapshot: Snapshot,
}

/// The client's positions are good; what it missed follows as entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Resumed {
    /// The session.
    pub session: SessionId,
    /// How often the server expects a sign of life.
    pub heartbeat_ms: u32,
}

/// The server ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Closing {
    /// Why.
    pub reason: Refused,
    /// Come back after about this long; absent: do not come back by yourself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub retry_after_ms: Option<u32>,
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// The connection is signed in; the full state.
    Welcome(Box<Welcome>),
    /// The connection is signed in; go on from where you were.
    Resumed(Resumed),
    /// All that was missed has been sent.
    CaughtUp {},
    /// A command was done.
    Done {
        /// The question.
        #[cfg_attr(feature = "typescript", ts(type = "number"))]
        id: u64,
        /// What came of it.
        reply: Reply,
    },
    /// A query was answered.
    Answer {
        /// The question.
        #[cfg_attr(feature = "typescript", ts(type = "number"))]
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// A question was refused. Without an id: a frame that could not be understood.
    Refused {
        /// The question.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "typescript", ts(optional, type = "number"))]
        id: Option<u64>,
        /// Why.
        refused: Refused,
    },
    /// Something happened.
    Entry(Entry),
    /// Something passing.
    Signal(ServerSignal),
    /// The answer to `ping`.
    Pong {},
    /// The last frame of a connection.
    Closing(Closing),
}
