//! Pictures that stand for users and conversations, for whoever may know of these.

use chinwag_protocol::{Attachment, FileId, Millis, Portrayed, Refused};

use super::{Viewer, people::known};
use crate::{
    facts::Known,
    port::{Actor, Reader},
    rules::sessions::is_live,
};

/// The picture of this user or conversation, if it is this file and the actor may know of them.
///
/// What was shown before is answered as what is not there: only what is shown now is anybody's to see.
pub fn avatar(
    reader: &dyn Reader,
    actor: &Actor,
    of: Portrayed,
    file: FileId,
    at: Millis,
) -> Known<Attachment> {
    let viewer = Viewer::new(reader, actor)?;
    if !is_live(&viewer.session, at) {
        return Err(Refused::not_signed_in().into());
    }
    let holder = match of {
        Portrayed::User(id) if viewer.may_know(id)? => {
            reader.user(id)?.filter(|user| user.avatar == Some(file)).map(|user| user.id)
        }
        Portrayed::User(_) => None,
        Portrayed::Conversation(id) => {
            known(&viewer, id)?.0.avatar.filter(|avatar| avatar.file == file).map(|avatar| avatar.by)
        }
    };
    let held = match holder {
        Some(holder) => reader.holding(holder, file)?,
        None => None,
    };
    let held = held.ok_or_else(Refused::not_found)?;
    Ok(Attachment { file, name: "avatar".into(), size: held.size, media_type: held.media_type.clone() })
}
