//! Names of things inside the system: small integers, and the text form of a log's name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "number"))]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A user: a person, a guest or a bot. Never reused.
    UserId, u32
);
number!(
    /// A conversation of any kind. Never reused.
    ConversationId, u32
);
number!(
    /// A signed-in period of a user on one device.
    SessionId, u32
);
number!(
    /// An invitation link of a conversation.
    InviteId, u32
);
number!(
    /// A password of an account for one door alone. Counts within the account, never reused.
    AppPasswordId, u32
);
number!(
    /// The number of an entry in its log: 1, 2, 3 without gaps. Zero means "before the first".
    Seq, u32
);
number!(
    /// Milliseconds since 1970 by the server's clock. For display only: order is [`Seq`].
    Millis, i64
);

impl Seq {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number before this one; zero stays zero.
    #[must_use]
    pub fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Names one log. On the wire `"d"`, `"u12"` or `"c34"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
pub enum LogId {
    /// Who exists on this server: registrations, profiles, renames. Every signed-in person reads it.
    Directory,
    /// What concerns one user alone: conversations entered and left, contacts, settings, sessions.
    User(UserId),
    /// One conversation.
    Conversation(ConversationId),
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("d"),
            Self::User(id) => write!(f, "u{id}"),
            Self::Conversation(id) => write!(f, "c{id}"),
        }
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for LogId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^(d|[uc](0|[1-9][0-9]*))$"))
            .description(Some("Names a log: the directory, a user's own, or a conversation's"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for LogId {}

/// The text is not the name of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a log: expected d, u<number> or c<number>")]
pub struct NotALog;

impl FromStr for LogId {
    type Err = NotALog;

    fn from_str(text: &str) -> Result<Self, NotALog> {
        // One spelling for each log: no sign, no leading zero.
        let number = |digits: &str| match digits.parse::<u32>() {
            Ok(number) if number.to_string() == digits => Ok(number),
            _ => Err(NotALog),
        };
        match text.split_at_checked(1) {
            Some(("d", "")) => Ok(Self::Directory),
            Some(("u", digits)) => number(digits).map(|n| Self::User(UserId(n))),
            Some(("c", digits)) => number(digits).map(|n| Self::Conversation(ConversationId(n))),
            _ => Err(NotALog),
        }
    }
}

impl Serialize for LogId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = LogId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a log: d, u<number> or c<number>")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<LogId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_one_spelling() {
        for log in [LogId::Directory, LogId::User(UserId(7)), LogId::Conversation(ConversationId(0))] {
            assert_eq!(log.to_string().parse(), Ok(log));
        }
        for wrong in ["", "c", "x1", "c01", "c+1", "c-1", "c4294967296", "d1", "ü1", " c1"] {
            assert_eq!(wrong.parse::<LogId>(), Err(NotALog), "{wrong:?}");
        }
    }
}
