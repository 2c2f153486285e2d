//! Pictures that stand for people and conversations: which file may be one.
//!
//! A picture is a file like those of messages: whoever chose it holds it, as long as it is shown. Who may choose one
//! for a conversation is who may rename it; that is asked where names are changed.

use chinwag_protocol::{FileId, NewAvatar, Refused};

use super::file::no_such_file;
use crate::{
    facts::{Facts, Known},
    limits::AVATAR_BYTES_MAX,
    plan::Plan,
    port::Actor,
};

/// What every browser shows, by the media types that the server gives.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// The picture that is to be shown from now on, if that is another one than `now`: the asker's own upload, or none.
pub(super) fn chosen(
    plan: &Plan<'_>,
    actor: &Actor,
    now: Option<FileId>,
    asked: Option<NewAvatar>,
) -> Known<Option<NewAvatar>> {
    let Some(asked) = asked.filter(|asked| asked.file != now) else { return Ok(None) };
    let Some(file) = asked.file else { return Ok(Some(asked)) };
    let Some(held) = plan.holding(actor.user, file)? else { return Err(no_such_file().at("avatar").into()) };
    if !PICTURES.contains(&held.media_type.as_str()) {
        let why = "this is not a picture: choose a PNG, JPEG, GIF or WebP";
        return Err(Refused::invalid("avatar", "not_a_picture", why).into());
    }
    if held.size > AVATAR_BYTES_MAX {
        let why = format!("a picture has at most {} MiB", AVATAR_BYTES_MAX >> 20);
        return Err(Refused::too_large("avatar", why).into());
    }
    Ok(Some(asked))
}

#[cfg(test)]
mod tests;
