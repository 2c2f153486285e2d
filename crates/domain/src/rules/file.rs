//! Files: who holds one, which of them a message may take, and when one is let go.
//!
//! A *holding* says that a user uploaded or posted a file, and so answers for the space it takes. The bytes
//! themselves are not the rules' business: they lie in the object store before a holding is made, and go when
//! nobody holds them any more.

use std::sync::Arc;

use chinwag_protocol::{Attach, Attachment, FileId, Kind, Millis, Refused, Reply, UserId};

use super::{
    acting,
    rights::{Place, place},
};
use crate::{
    facts::{Facts, Known, Stop},
    limits::{ATTACHMENTS_MAX, UPLOAD_WAITS_MS},
    names,
    plan::Plan,
    policy::{Action, Grounds, allow, permit},
    port::Actor,
    record::{Change, Holding},
};

/// A file that was uploaded: what the server found out about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Which.
    pub file: FileId,
    /// How many bytes.
    pub size: u64,
    /// What it is, by its content.
    pub media_type: String,
    /// How many bytes one user may hold.
    pub bytes_per_user: u64,
}

/// Notes that a file is complete on disk and was uploaded by the asker: for an hour he can post it.
pub fn uploaded(plan: &mut Plan<'_>, actor: &Actor, new: &Uploaded) -> Known<Reply> {
    acting(plan, actor)?;
    let held = plan.holding(actor.user, new.file)?;
    if held.is_none() {
        check_room(plan.held_bytes(actor.user)?, new.size, new.bytes_per_user)?;
    }
    let at = plan.at();
    plan.keep(Change::Holding(Arc::new(Holding {
        user: actor.user,
        file: new.file,
        size: new.size,
        media_type: new.media_type.clone(),
        waits_since: Some(at),
        messages: held.map_or(0, |held| held.messages),
    })));
    Ok(Reply::Done {})
}

/// Refuses what would exceed the space of one user.
pub fn check_room(held: u64, more: u64, at_most: u64) -> Result<(), Refused> {
    if held.saturating_add(more) <= at_most {
        return Ok(());
    }
    let why = format!("your files would take more than {} MiB: delete some first", at_most >> 20);
    Err(Refused::new(Kind::StorageFull, "quota_exceeded", why))
}

/// Lets go of files that no message took in time, or takes any longer. What was taken meanwhile stays.
pub fn collect(plan: &mut Plan<'_>, idle: &[(UserId, FileId)]) -> Known<Reply> {
    let before = idle_before(plan.at());
    for (user, file) in idle {
        let Some(held) = plan.holding(*user, *file)? else { continue };
        if held.is_idle(before) {
            plan.keep(Change::HoldingGone(*user, *file));
        }
    }
    Ok(Reply::Done {})
}

/// What has waited for a message since before this time waits in vain.
pub fn idle_before(at: Millis) -> Millis {
    Millis(at.0.saturating_sub(UPLOAD_WAITS_MS))
}

/// The files of a new message, each of them the author's own upload or one that he may see.
pub(super) fn attached(
    plan: &Plan<'_>,
    actor: &Actor,
    target: &Place,
    asked: &[Attach],
) -> Known<Vec<Attachment>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    if asked.len() > ATTACHMENTS_MAX {
        let why = format!("a message holds at most {ATTACHMENTS_MAX} files");
        return Err(Refused::too_large("attachments", why).into());
    }
    asked
        .iter()
        .map(|asked| {
            let name = names::file(&asked.name)?;
            let (size, media_type) = match plan.holding(actor.user, asked.file)? {
                Some(held) => (held.size, held.media_type.clone()),
                None => foreign(plan, actor, target, asked)?,
            };
            Ok(Attachment { file: asked.file, name, size, media_type })
        })
        .collect()
}

/// Size and sort of a file that somebody else uploaded, for whoever sees it in the message he names.
fn foreign(plan: &Plan<'_>, actor: &Actor, target: &Place, asked: &Attach) -> Known<(u64, String)> {
    let seen = seen(plan, actor, asked)?;
    let grounds = Grounds { sees_file: seen.is_some(), ..target.rights.grounds };
    match (allow(permit(target.rights.who, Action::AttachForeign, &grounds)), seen) {
        (Ok(()), Some(seen)) => Ok((seen.size, seen.media_type)),
        (Err(refused), _) if refused.kind != Kind::NotFound => Err(refused.into()),
        _ => Err(no_such_file().into()),
    }
}

pub(super) fn no_such_file() -> Refused {
    let why = "this file is not there any more, or was never yours: attach it again";
    Refused::new(Kind::NotFound, "file_not_found", why).at("attachments")
}

fn seen(plan: &Plan<'_>, actor: &Actor, asked: &Attach) -> Known<Option<Attachment>> {
    let Some((conversation, seq)) = asked.of else { return Ok(None) };
    let source = match place(plan, actor, conversation) {
        Ok(source) => source,
        Err(Stop::Refused(_)) => return Ok(None),
        Err(failed) => return Err(failed),
    };
    if !source.member.is_some_and(|member| member.is_active() && member.may_see(seq)) {
        return Ok(None);
    }
    let message = plan.message(conversation, seq)?;
    Ok(message.and_then(|message| message.attachments.iter().find(|it| it.file == asked.file).cloned()))
}

/// The files of a message, each once.
pub(crate) fn distinct(attachments: &[Attachment]) -> Vec<&Attachment> {
    let mut found: Vec<&Attachment> = Vec::with_capacity(attachments.len());
    for attachment in attachments {
        if found.iter().all(|other| other.file != attachment.file) {
            found.push(attachment);
        }
    }
    found
}

#[cfg(test)]
mod tests;
