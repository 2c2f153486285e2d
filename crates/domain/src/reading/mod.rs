//! Reading for one viewer: what he may see, and how it looks.
//!
//! Every question comes through [`answer`], every stream of entries through [`entries_for`]; a [`Reader`] itself
//! decides nothing. What may not be known is answered as what does not exist.
//!
//! Invariant: nobody gets an entry outside his membership's window, nor one that tells of a message before it.

mod avatar;
mod catch_up;
pub(crate) mod fold;
mod history;
#[cfg(test)]
pub(crate) mod memory;
mod people;
#[cfg(test)]
mod replay;
mod resume;
pub mod search;
pub mod term;
mod typed;
mod view;

use std::sync::Arc;

use chinwag_protocol::{
    Answer, AppPasswordView, Attachment, ConversationId, CursorMoved, Entry, Kind, LogId, Millis, Query,
    Refused, Seq, SessionView, Snapshot, UserId, UserKind,
};

pub use avatar::avatar;
pub use catch_up::{CatchUp, Missed, entries_for};
pub use fold::fold;
pub use resume::{CATCH_UP_MAX, Followed, Returning, resume};
pub use view::{effective, entered_view, hide, is_hidden, view, visible};

use crate::{
    facts::{Known, Stop},
    limits::PAGE_ENTRIES_MAX,
    port::{Actor, Reader},
    record::{AppPassword, Conversation, Member, Session, User},
    rules::{file::check_room, sessions::is_live},
};

/// Who looks, after his session and account were found good.
struct Viewer<'r> {
    reader: &'r dyn Reader,
    user: Arc<User>,
    session: Arc<Session>,
    through_door: bool,
}

impl<'r> Viewer<'r> {
    fn new(reader: &'r dyn Reader, actor: &Actor) -> Known<Self> {
        let session = reader.session(actor.session)?.filter(|session| session.user == actor.user);
        let user = reader.user(actor.user)?.filter(|user| user.is_active());
        match (session, user) {
            (Some(session), Some(user)) => {
                let through_door = actor.door.is_some() || !session.door.is_empty();
                Ok(Self { reader, user, session, through_door })
            }
            _ => Err(Refused::not_signed_in().into()),
        }
    }

    /// An open conversation of which the viewer is a member now.
    fn member(&self, id: ConversationId) -> Known<(Arc<Conversation>, Arc<Member>)> {
        let conversation = view::open(self.reader, id)?;
        let member = self.reader.member(id, self.user.id)?.filter(|member| member.is_active());
        conversation.zip(member).ok_or_else(|| Refused::not_found().into())
    }
}

/// Answers a query, at a time, over one unchanging state.
///
/// Who is online only the server knows: it fills in [`Answer::Online`] and the `online` of sessions.
pub fn answer(reader: &dyn Reader, actor: &Actor, query: &Query, at: Millis) -> Known<Answer> {
    let viewer = &Viewer::new(reader, actor)?;
    if !is_live(&viewer.session, at) {
        return Err(Refused::not_signed_in().into());
    }
    Ok(match query {
        Query::Snapshot {} => Answer::Snapshot(Box::new(view::snapshot(viewer)?)),
        Query::Users { users } => Answer::Users(people::users(viewer, users)?),
        Query::FindUsers { text, limit } => Answer::Users(people::find_users(viewer, text, *limit)?),
        Query::FindConversations { text, limit } => {
            Answer::Conversations(people::find_conversations(viewer, text, *limit)?)
        }
        Query::Conversation { conversation } => {
            Answer::Conversation(Box::new(people::conversation(viewer, *conversation)?))
        }
        Query::Handle { handle } => people::handle(viewer, handle)?,
        Query::Members { conversation, after, limit } => {
            Answer::Members(people::members(viewer, *conversation, *after, *limit)?)
        }
        Query::Bans { conversation } => Answer::Users(people::bans(viewer, *conversation)?),
        Query::History { conversation, anchor, limit } => {
            Answer::History(history::history(viewer, *conversation, *anchor, *limit)?)
        }
        Query::Thread { conversation, root, after, limit } => {
            Answer::History(history::thread(viewer, *conversation, *root, *after, *limit)?)
        }
        Query::Pins { conversation } => Answer::Items(history::pins(viewer, *conversation)?),
        Query::MessageInfo { conversation, message } => {
            Answer::MessageInfo(history::message_info(viewer, *conversation, *message)?)
        }
        Query::Entries { log, after, limit } => {
            let limit = usize::from(*limit).clamp(1, PAGE_ENTRIES_MAX);
            let (entries, more) = entries_for(reader, viewer.user.id, *log, *after, limit)?;
            Answer::Entries { entries, more }
        }
        Query::Search { text, page, limit } => {
            Answer::Search(search::search(viewer, text, page.as_deref(), *limit)?)
        }
        Query::Sessions {} => Answer::Sessions(sessions(viewer, at)?),
        Query::AppPasswords {} => Answer::AppPasswords(app_passwords(viewer)?),
        Query::Invites { conversation } => Answer::Invites(people::invites(viewer, *conversation, at)?),
        Query::Invite { token } => Answer::Conversation(Box::new(people::invite(viewer, token, at)?)),
        Query::Online { conversation } => {
            people::may_watch(viewer, *conversation)?;
            Answer::Online(Vec::new())
        }
    })
}

fn sessions(viewer: &Viewer<'_>, at: Millis) -> Known<Vec<SessionView>> {
    let sessions = viewer.reader.sessions(viewer.user.id)?;
    Ok(sessions
        .iter()
        .filter(|session| is_live(session, at))
        .map(|session| SessionView {
            session: session.id,
            device: session.device.clone(),
            door: if session.door.is_empty() { "native".to_owned() } else { session.door.clone() },
            started_at: session.started_at,
            seen_at: session.seen_at,
            online: false,
        })
        .collect())
}

/// What its owner may know of his app passwords; through a door nobody learns of them.
fn app_passwords(viewer: &Viewer<'_>) -> Known<Vec<AppPasswordView>> {
    if viewer.through_door || viewer.user.kind == UserKind::Guest {
        return Err(Refused::forbidden("forbidden", "you may not do this").into());
    }
    let Some(credentials) = viewer.reader.credentials(viewer.user.id)? else { return Ok(Vec::new()) };
    let view = |own: &AppPassword| AppPasswordView {
        app_password: own.id,
        door: own.door.clone(),
        name: own.name.clone(),
        created_at: own.created_at,
        used_at: own.used_at,
    };
    Ok(credentials.app_passwords.iter().map(view).collect())
}

/// Everything a client needs to start.
pub fn snapshot(reader: &dyn Reader, actor: &Actor) -> Known<Snapshot> {
    view::snapshot(&Viewer::new(reader, actor)?)
}

/// What a client with these positions missed.
pub fn catch_up(reader: &dyn Reader, actor: &Actor, positions: &[(LogId, Seq)]) -> Known<CatchUp> {
    catch_up::catch_up(&Viewer::new(reader, actor)?, positions)
}

/// Whether the actor may ask who is online: in a conversation of his, or everywhere.
pub fn may_watch(reader: &dyn Reader, actor: &Actor, conversation: Option<ConversationId>) -> Known<()> {
    people::may_watch(&Viewer::new(reader, actor)?, conversation)
}

/// Those of these users whose presence the actor may hear about.
pub fn watchable(reader: &dyn Reader, actor: &Actor, users: &[UserId]) -> Known<Vec<UserId>> {
    people::watchable(&Viewer::new(reader, actor)?, users)
}

/// A page of what a connection missed of a log: entries it may see after a number, and whether there are more.
///
/// A session that has ended hears nothing more, and of a log that he may not read nothing was missed.
pub fn missed(
    reader: &dyn Reader,
    actor: &Actor,
    log: LogId,
    after: Seq,
    limit: usize,
) -> Known<(Vec<Entry>, bool)> {
    let viewer = Viewer::new(reader, actor)?;
    match entries_for(reader, viewer.user.id, log, after, limit) {
        Err(Stop::Refused(refused)) if refused.kind == Kind::NotFound => Ok((Vec::new(), false)),
        page => page,
    }
}

/// The actor's own cursors that he has moved since he joined, in every conversation he is in.
pub fn own_cursors(reader: &dyn Reader, actor: &Actor) -> Known<Vec<CursorMoved>> {
    let viewer = Viewer::new(reader, actor)?;
    let mut moved = Vec::new();
    for member in reader.memberships(viewer.user.id)? {
        let cursor = effective(reader.cursor(member.conversation, member.user)?, &member);
        if cursor.read > member.entered || cursor.delivered > member.entered.seq {
            let (conversation, user) = (member.conversation, member.user);
            moved.push(CursorMoved { conversation, user, delivered: cursor.delivered, read: cursor.read });
        }
    }
    Ok(moved)
}

/// One file of a message that the actor may see; what he may not see is answered as what is not there.
pub fn attachment(
    reader: &dyn Reader,
    actor: &Actor,
    conversation: ConversationId,
    seq: Seq,
    index: usize,
    at: Millis,
) -> Known<Attachment> {
    let viewer = Viewer::new(reader, actor)?;
    if !is_live(&viewer.session, at) {
        return Err(Refused::not_signed_in().into());
    }
    let (_, member) = viewer.member(conversation)?;
    if !member.may_see(seq) {
        return Err(Refused::not_found().into());
    }
    let message = reader.message(conversation, seq)?;
    let found = message.and_then(|message| message.attachments.get(index).cloned());
    Ok(found.ok_or_else(Refused::not_found)?)
}

/// Refuses an upload of so many bytes for which the actor has no room, before it begins.
pub fn may_upload(reader: &dyn Reader, actor: &Actor, bytes: u64, at_most: u64, at: Millis) -> Known<()> {
    let viewer = Viewer::new(reader, actor)?;
    if !is_live(&viewer.session, at) {
        return Err(Refused::not_signed_in().into());
    }
    Ok(check_room(reader.held_bytes(viewer.user.id)?, bytes, at_most)?)
}

/// Up to which entry the actor has been delivered each conversation he is in.
pub fn delivered(reader: &dyn Reader, actor: &Actor) -> Known<Vec<(ConversationId, Seq)>> {
    let viewer = Viewer::new(reader, actor)?;
    let mut delivered = Vec::new();
    for member in reader.memberships(viewer.user.id)? {
        let cursor = effective(reader.cursor(member.conversation, member.user)?, &member);
        delivered.push((member.conversation, cursor.delivered));
    }
    Ok(delivered)
}

/// Whether a user is a stranger to the actor, of whom one may write to only so many a day.
pub fn is_stranger(reader: &dyn Reader, actor: &Actor, user: UserId) -> Known<bool> {
    people::is_stranger(&Viewer::new(reader, actor)?, user)
}

#[cfg(test)]
mod tests;
