//! Calls as entries of a conversation: that somebody rings, who answers, and how it ended.
//!
//! What is heard and seen in a call is no part of the language.

use serde::{Deserialize, Serialize};

use crate::{Millis, Seq, UserId};

/// What a call is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum CallMedia {
    /// Voices.
    #[default]
    Audio,
    /// Pictures too.
    Video,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// Somebody hung up after it was answered.
    Ended,
    /// Whoever was called does not want it now.
    Declined,
    /// Nobody answered, or the caller gave up before.
    Missed,
    /// It was answered but never ended by anybody; the server did.
    Failed,
}

/// A call that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct CallView {
    /// Its `call_started` entry, by which it is named.
    pub call: Seq,
    /// Who calls.
    pub by: UserId,
    /// Since when.
    pub at: Millis,
    /// What it is for.
    pub media: CallMedia,
    /// The door through which it was started, if not the native one: its caller sends no media that a browser reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub via: Option<String>,
    /// Who accepted it, in that order; while there is nobody, it rings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<UserId>>", optional))]
    pub accepted: Vec<UserId>,
    /// Who declined it, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<UserId>>", optional))]
    pub declined: Vec<UserId>,
}
