//! Files of messages, and pictures that stand for somebody: how a file is named, and what is known of it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{ConversationId, Seq, UserId};

/// Names a file by its content: the SHA-256 of its bytes. On the wire 64 hexadecimal digits in lower case.
///
/// Knowing the name gives no right to the file: it is read through a message that holds it, or through the profile
/// or the conversation that shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
pub struct FileId(pub [u8; 32]);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self})")
    }
}

/// The text is not the name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a file: expected 64 hexadecimal digits in lower case")]
pub struct NotAFile;

impl FromStr for FileId {
    type Err = NotAFile;

    fn from_str(text: &str) -> Result<Self, NotAFile> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotAFile),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(NotAFile) };
        let pairs: &[[u8; 2]; 32] = pairs.try_into().map_err(|_| NotAFile)?;
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for FileId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = FileId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a file: 64 hexadecimal digits in lower case")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for FileId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[0-9a-f]{64}$"))
            .description(Some("Names a file by the SHA-256 of its content"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for FileId {}

/// A file that a message holds; also the answer to an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Attachment {
    /// Which.
    pub file: FileId,
    /// What it was called by whoever posted it; at most 255 bytes, without folders and control characters.
    pub name: String,
    /// How many bytes.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub size: u64,
    /// What the server found it to be, from its content; `application/octet-stream` if that is nothing well-known.
    pub media_type: String,
}

/// A file that a new message is to hold: one's own upload, or one of a message that one may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// Which.
    pub file: FileId,
    /// What it is to be called.
    pub name: String,
    /// The message that holds it, if it is not one's own upload: forwarding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub of: Option<(ConversationId, Seq)>,
}

impl From<&Attachment> for Attach {
    fn from(attachment: &Attachment) -> Self {
        Self { file: attachment.file, name: attachment.name.clone(), of: None }
    }
}

/// What a picture stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Portrayed {
    /// A user.
    User(UserId),
    /// A conversation.
    Conversation(ConversationId),
}

/// The picture that is to stand for a user or a conversation: one's own upload; none if `file` is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(deny_unknown_fields, default)]
pub struct NewAvatar {
    /// Which; a PNG, JPEG, GIF or WebP of at most 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_spelling() {
        let file = FileId(std::array::from_fn(|at| u8::try_from(at * 8).unwrap()));
        assert_eq!(file.to_string().len(), 64);
        assert_eq!(file.to_string().parse(), Ok(file));
        let upper = file.to_string().to_uppercase();
        for wrong in ["", "00", &upper, &file.to_string()[1..], &format!("{file}00"), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<FileId>(), Err(NotAFile), "{wrong}");
        }
    }
}
