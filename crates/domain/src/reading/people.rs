//! Finding people and conversations, and who is in one.
//!
//! Guests have no directory: they know those with whom they share a conversation, and no public conversation.

use chinwag_protocol::{
    Answer, ConversationId, ConversationView, InviteInfo, MemberView, Millis, Profile, Refused, Role, Seq,
    UserId, UserKind,
};

use super::{
    Viewer, fold,
    view::{effective, open, profiles, view},
};
use crate::{
    facts::Known,
    limits::{MEMBERS_PAGE_MAX, SEARCH_BYTES_MAX, USERS_PAGE_MAX},
    record::{Conversation, Member, Owner},
};

impl Viewer<'_> {
    fn is_guest(&self) -> bool {
        self.user.kind == UserKind::Guest
    }

    /// Whether the viewer may know of this user.
    pub(super) fn may_know(&self, user: UserId) -> Known<bool> {
        if !self.is_guest() || user == self.user.id {
            return Ok(true);
        }
        for mine in self.reader.memberships(self.user.id)? {
            if self.reader.member(mine.conversation, user)?.is_some_and(|member| member.is_active()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn directory(&self) -> Known<()> {
        if self.is_guest() {
            return Err(Refused::forbidden("no_directory", "guests have no directory").into());
        }
        Ok(())
    }
}

/// Profiles by id; who is not there, or may not be known, is left out.
pub(super) fn users(viewer: &Viewer<'_>, users: &[UserId]) -> Known<Vec<Profile>> {
    if users.len() > USERS_PAGE_MAX {
        return Err(
            Refused::invalid("users", "too_many", format!("at most {USERS_PAGE_MAX} users at once")).into()
        );
    }
    let mut known = Vec::new();
    for user in users {
        if viewer.may_know(*user)? {
            known.push(*user);
        }
    }
    profiles(viewer.reader, known)
}

/// Users who are looked at for a guest: he may know only some of them. His conversations list them all.
const LOOKED_AT_MAX: usize = 1_000;

/// People whose handle or name contains the text; of these a guest finds whom he may know.
pub(super) fn find_users(viewer: &Viewer<'_>, text: &str, limit: u16) -> Known<Vec<Profile>> {
    let limit = usize::from(limit).clamp(1, USERS_PAGE_MAX);
    let looked_at = if viewer.is_guest() { LOOKED_AT_MAX } else { limit };
    let mut known = Vec::new();
    for user in viewer.reader.find_users(&typed(text)?, looked_at)? {
        if known.len() < limit && !user.deleted && viewer.may_know(user.id)? {
            known.push(user.profile());
        }
    }
    Ok(known)
}

/// Public conversations whose handle, name or topic contains the text.
pub(super) fn find_conversations(
    viewer: &Viewer<'_>,
    text: &str,
    limit: u16,
) -> Known<Vec<ConversationView>> {
    viewer.directory()?;
    let found =
        viewer.reader.find_conversations(&typed(text)?, usize::from(limit).clamp(1, USERS_PAGE_MAX))?;
    found
        .iter()
        .filter(|conversation| conversation.public && !conversation.closed)
        .map(|conversation| {
            let member = viewer.reader.member(conversation.id, viewer.user.id)?;
            view(viewer.reader, conversation, member.as_deref())
        })
        .collect()
}

fn typed(text: &str) -> Known<String> {
    if text.len() > SEARCH_BYTES_MAX {
        return Err(Refused::too_large("text", format!("at most {SEARCH_BYTES_MAX} bytes")).into());
    }
    Ok(fold(text.trim().trim_start_matches(['@', '#'])))
}

/// One conversation: whole for a member, in outline for whoever may know of it.
pub(super) fn conversation(viewer: &Viewer<'_>, id: ConversationId) -> Known<ConversationView> {
    let (conversation, member) = known(viewer, id)?;
    view(viewer.reader, &conversation, member.as_ref())
}

/// The conversation, if the viewer may know that it exists, and his membership, if he is a member.
///
/// A server administrator may know of every one but those of two: its outline and its members, never its content.
pub(super) fn known(viewer: &Viewer<'_>, id: ConversationId) -> Known<(Conversation, Option<Member>)> {
    let Some(found) = open(viewer.reader, id)? else { return Err(Refused::not_found().into()) };
    let member = viewer.reader.member(id, viewer.user.id)?.filter(|member| member.is_active());
    let may = member.is_some() || (found.public && !viewer.is_guest()) || viewer.operates(&found);
    if !may {
        return Err(Refused::not_found().into());
    }
    Ok((Conversation::clone(&found), member.map(|member| Member::clone(&member))))
}

impl Viewer<'_> {
    /// Sees size and members of this conversation in order to run the server.
    fn operates(&self, conversation: &Conversation) -> bool {
        self.user.admin && conversation.direct.is_none()
    }
}

/// Who or what a handle names.
pub(super) fn handle(viewer: &Viewer<'_>, handle: &str) -> Known<Answer> {
    let Some(name) = viewer.reader.name(&crate::names::fold(handle))? else {
        return Err(Refused::not_found().into());
    };
    match name.owner {
        Owner::User(id) => match viewer.reader.user(id)? {
            Some(user) if viewer.may_know(id)? => Ok(Answer::User(user.profile())),
            _ => Err(Refused::not_found().into()),
        },
        Owner::Conversation(id) => Ok(Answer::Conversation(Box::new(conversation(viewer, id)?))),
    }
}

/// Members, by user id.
pub(super) fn members(
    viewer: &Viewer<'_>,
    id: ConversationId,
    after: UserId,
    limit: u16,
) -> Known<Vec<MemberView>> {
    let (conversation, mine) = known(viewer, id)?;
    if mine.is_none() && !viewer.operates(&conversation) {
        return Err(Refused::not_found().into());
    }
    let reader = viewer.reader;
    let mut members = Vec::new();
    for member in reader.members(id, after, usize::from(limit).clamp(1, MEMBERS_PAGE_MAX))? {
        let Some(user) = reader.user(member.user)? else { continue };
        // How far somebody is counts what was said: that is for members.
        let cursor = effective(reader.cursor(id, member.user)?, &member);
        let (delivered, read) =
            if mine.is_some() { (cursor.delivered, cursor.read.seq) } else { Default::default() };
        let tells = !user.settings.hide_read || user.id == viewer.user.id;
        members.push(MemberView {
            profile: user.profile(),
            role: member.role,
            joined_at: member.joined_at,
            delivered,
            read: if tells { read } else { Seq::ZERO },
        });
    }
    Ok(members)
}

/// A member with at least this role, or the fitting refusal.
fn with_role(viewer: &Viewer<'_>, id: ConversationId, role: Role) -> Known<()> {
    let (_, member) = viewer.member(id)?;
    if member.role < role {
        return Err(
            Refused::forbidden("not_an_admin", "only admins of this conversation may see this").into()
        );
    }
    Ok(())
}

/// Who may not come back until unbanned.
pub(super) fn bans(viewer: &Viewer<'_>, id: ConversationId) -> Known<Vec<Profile>> {
    with_role(viewer, id, Role::Admin)?;
    profiles(viewer.reader, viewer.reader.bans(id)?.iter().map(|member| member.user))
}

/// Invitations that can still be used.
pub(super) fn invites(viewer: &Viewer<'_>, id: ConversationId, at: Millis) -> Known<Vec<InviteInfo>> {
    with_role(viewer, id, Role::Admin)?;
    let open = viewer.reader.invites(id)?;
    Ok(open
        .iter()
        .filter(|invite| !invite.revoked && invite.uses_left > 0 && invite.expires_at > at)
        .map(|invite| InviteInfo {
            invite: invite.id,
            by: invite.by,
            role: invite.role,
            expires_at: invite.expires_at,
            uses_left: invite.uses_left,
        })
        .collect())
}

/// What an invitation leads to.
pub(super) fn invite(viewer: &Viewer<'_>, token: &str, at: Millis) -> Known<ConversationView> {
    let reader = viewer.reader;
    let invite = crate::rules::invite::good(reader, &crate::rules::invite::token_hash(token), at)?;
    let Some(conversation) = open(reader, invite.conversation)? else {
        return Err(Refused::not_found().into());
    };
    let member = reader.member(conversation.id, viewer.user.id)?;
    view(reader, &conversation, member.as_deref())
}

/// Which of these users' presence the viewer may hear about: not that of those who blocked him, and for a guest
/// only of those with whom he shares a conversation.
pub(super) fn watchable(viewer: &Viewer<'_>, users: &[UserId]) -> Known<Vec<UserId>> {
    let mut heard = Vec::new();
    for user in users {
        if viewer.may_know(*user)? && !viewer.reader.relation(*user, viewer.user.id)?.blocked {
            heard.push(*user);
        }
    }
    Ok(heard)
}

/// Whether a user is a stranger to the viewer: neither knows the other as a contact, they have no direct
/// conversation, and share none but `Everyone`.
pub(super) fn is_stranger(viewer: &Viewer<'_>, user: UserId) -> Known<bool> {
    let (reader, me) = (viewer.reader, viewer.user.id);
    if me == user || reader.relation(me, user)?.contact || reader.relation(user, me)?.contact {
        return Ok(false);
    }
    let everyone = reader.server()?.and_then(|server| server.everyone);
    let theirs = reader.memberships(user)?;
    let shared = reader.memberships(me)?.into_iter().any(|mine| {
        Some(mine.conversation) != everyone
            && theirs.iter().any(|member| member.conversation == mine.conversation)
    });
    Ok(!shared)
}

/// Whether the viewer may ask who is online: in a conversation of his, or on the whole server.
pub(super) fn may_watch(viewer: &Viewer<'_>, conversation: Option<ConversationId>) -> Known<()> {
    match conversation {
        Some(id) => viewer.member(id).map(|_| ()),
        None => viewer.directory(),
    }
}
