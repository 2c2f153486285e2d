//! The rules said no, and why.

use serde::{Deserialize, Serialize};

/// What sort of refusal: the few cases a client or a door must tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request makes no sense or breaks a limit; sending it again changes nothing.
    Invalid,
    /// There is no valid session.
    NotSignedIn,
    /// The asker may know of the thing, but may not do this.
    Forbidden,
    /// No such thing, or none that the asker may know of: the two are the same answer.
    NotFound,
    /// It contradicts what is there: a taken name, a client id used for another body.
    Conflict,
    /// Too many, too fast: try again after `retry_after_ms`.
    TooMany,
    /// Larger than a limit.
    TooLarge,
    /// The disk is full: reading goes on, writing does not.
    StorageFull,
    /// Nobody knows whether it happened. Ask again with the same `client_id`.
    Unavailable,
}

/// A refusal. Definite unless its kind is [`Kind::Unavailable`]: what was refused is never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[error("{message}")]
pub struct Refused {
    /// What sort.
    pub kind: Kind,
    /// Stable, for programs: `name_taken`.
    pub code: String,
    /// For people: lower case, no full stop, names the object.
    pub message: String,
    /// The part of the request that was wrong, as a path of field names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub field: Option<String>,
    /// When asking again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub retry_after_ms: Option<u32>,
}

impl Refused {
    /// A refusal of `kind` with its stable `code` and a sentence for people.
    pub fn new(kind: Kind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into(), field: None, retry_after_ms: None }
    }

    /// The request itself is wrong; `field` says where.
    pub fn invalid(field: &str, code: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(Kind::Invalid, code, message) }
    }

    /// Nothing there that the asker may know of. One sentence for all cases, so that absent and hidden look alike.
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "not_found", "not found")
    }

    /// Known, but not allowed.
    pub fn forbidden(code: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, code, message)
    }

    /// Contradicts what is there.
    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, message)
    }

    /// A size above its limit.
    pub fn too_large(field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(Kind::TooLarge, "too_large", message) }
    }

    /// Too fast; asking again makes sense after `retry_after_ms`.
    pub fn too_many(code: &str, message: impl Into<String>, retry_after_ms: u32) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(Kind::TooMany, code, message) }
    }

    /// No session, or one that has ended.
    pub fn not_signed_in() -> Self {
        Self::new(Kind::NotSignedIn, "not_signed_in", "sign in first")
    }

    /// Adds the field that was wrong.
    #[must_use]
    pub fn at(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Whether the request did not happen and never will: under the same `client_id` the answer stays the same.
    ///
    /// The others say "not now": who asked before and got no answer must ask again to know what became of it.
    pub fn is_definite(&self) -> bool {
        match self.kind {
            Kind::Invalid | Kind::Forbidden | Kind::NotFound | Kind::Conflict | Kind::TooLarge => true,
            Kind::NotSignedIn | Kind::TooMany | Kind::StorageFull | Kind::Unavailable => false,
        }
    }
}
