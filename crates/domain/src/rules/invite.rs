//! Invitation links: making, using, revoking.
//!
//! A link is worth what its maker may do at the moment it is used; whatever is wrong with it, the answer is the
//! same as for a link that never was.

use std::sync::Arc;

use chinwag_protocol::{ConversationId, InviteId, JoinedBy, Millis, Refused, Reply, Role, UserId};
use sha2::{Digest, Sha256};

use super::{
    membership::{enter, may_bring, not_banned, room},
    missing,
    rights::place,
};
use crate::{
    facts::{Facts, Known},
    limits::{
        INVITE_LIFETIME_DEFAULT_S, INVITE_LIFETIME_MAX_S, INVITE_USES_DEFAULT, INVITE_USES_MAX, INVITES_MAX,
    },
    plan::Plan,
    policy::Action,
    port::{Actor, Prepared},
    record::{Change, Counter, Invite, TokenHash},
};

/// What is kept of a token: its hash.
pub fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// The invitation of a token, if it can be used at this time.
pub fn good(facts: &dyn Facts, token: &TokenHash, at: Millis) -> Known<Arc<Invite>> {
    let not_found = || Refused::not_found().into();
    let invite = facts.invite_by_token(token)?.ok_or_else(not_found)?;
    let open = facts.conversation(invite.conversation)?.is_some_and(|conversation| !conversation.closed);
    if invite.revoked || invite.uses_left == 0 || invite.expires_at <= at || !open {
        return Err(not_found());
    }
    match may_bring(facts, invite.conversation, invite.by)? {
        Some(role) if invite.role <= role => Ok(invite),
        _ => Err(not_found()),
    }
}

/// A link to be made, as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct NewInvite {
    /// To what.
    pub conversation: ConversationId,
    /// How long it is good.
    pub lifetime_s: Option<u32>,
    /// How often it can be used.
    pub uses: Option<u32>,
    /// The role of who comes by it.
    pub role: Role,
}

/// Makes a link; the answer holds its token.
pub fn create(plan: &mut Plan<'_>, actor: &Actor, prepared: &Prepared, new: &NewInvite) -> Known<Reply> {
    let place = place(plan, actor, new.conversation)?;
    place.need(Action::AddMember)?;
    if place.conversation.direct.is_some() {
        return Err(
            Refused::forbidden("direct", "a direct conversation is for ever between the same two").into()
        );
    }
    let own = place.member.as_ref().map_or(Role::Member, |member| member.role);
    if new.role == Role::Owner || new.role > own {
        return Err(Refused::forbidden("role_too_high", "an invitation gives no role above one's own").into());
    }
    let lifetime = within("lifetime_s", new.lifetime_s, INVITE_LIFETIME_DEFAULT_S, INVITE_LIFETIME_MAX_S)?;
    let uses_left = within("uses", new.uses, INVITE_USES_DEFAULT, INVITE_USES_MAX)?;
    if plan.open_invites(new.conversation, plan.at())? >= INVITES_MAX {
        let why = format!("a conversation has at most {INVITES_MAX} open invitations: revoke one");
        return Err(Refused::forbidden("too_many_invites", why).into());
    }
    let token =
        prepared.token.as_ref().ok_or_else(|| missing("token for an invitation to", new.conversation))?;
    let id = InviteId(plan.next(Counter::Invite)?);
    plan.keep(Change::Invite(Arc::new(Invite {
        id,
        conversation: new.conversation,
        token: token.hash,
        by: actor.user,
        role: new.role,
        expires_at: Millis(plan.at().0 + i64::from(lifetime) * 1000),
        uses_left,
        revoked: false,
    })));
    Ok(Reply::Invite { invite: id, token: Some(token.plain.clone()) })
}

fn within(field: &str, asked: Option<u32>, default: u32, max: u32) -> Result<u32, Refused> {
    let value = asked.unwrap_or(default);
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(Refused::invalid(field, "out_of_range", format!("{field} is between 1 and {max}")))
}

/// Makes a link worthless.
pub fn revoke(
    plan: &mut Plan<'_>,
    actor: &Actor,
    conversation: ConversationId,
    id: InviteId,
) -> Known<Reply> {
    place(plan, actor, conversation)?.need(Action::AddMember)?;
    let invite = plan.invite(id)?.filter(|invite| invite.conversation == conversation);
    let invite = invite.ok_or_else(Refused::not_found)?;
    if !invite.revoked {
        plan.keep(Change::Invite(Arc::new(Invite { revoked: true, ..Invite::clone(&invite) })));
    }
    Ok(Reply::Done {})
}

/// Joins by a link. A member already is one: he does not use it up.
pub fn redeem(plan: &mut Plan<'_>, actor: &Actor, token: &str) -> Known<Reply> {
    let invite = good(plan, &token_hash(token), plan.at())?;
    let mut place = place(plan, actor, invite.conversation)?;
    if !place.rights.grounds.member {
        place.rights.grounds.shares = true;
        place.need(Action::UseInvite)?;
        not_banned(&place)?;
        admit(plan, &invite, actor.user)?;
    }
    Ok(Reply::Conversation { conversation: invite.conversation })
}

/// Makes somebody a member by a link that was found good. Guests and bots come as plain members.
pub fn admit(plan: &mut Plan<'_>, invite: &Invite, user: UserId) -> Known<()> {
    let conversation = plan.conversation(invite.conversation)?;
    let conversation = conversation.ok_or_else(|| missing("conversation", invite.conversation))?;
    let user = plan.user(user)?.ok_or_else(|| missing("user", user))?;
    room(&conversation, &user)?;
    let role = match user.kind {
        chinwag_protocol::UserKind::Person => invite.role,
        _ => Role::Member,
    };
    let uses_left = invite.uses_left.saturating_sub(1);
    plan.keep(Change::Invite(Arc::new(Invite { uses_left, ..invite.clone() })));
    enter(plan, conversation.id, user.id, role, invite.by, JoinedBy::Invite)
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::{Command, ConversationId, History, Refused, Reply, Role, UserId};

    use crate::{
        Facts,
        limits::{INVITE_LIFETIME_MAX_S, INVITE_USES_MAX},
        reading::memory::{ANNA, BELA, CARLA, DORA, GUS, Town},
    };

    fn make(town: &Town, conversation: ConversationId, role: Role) -> Command {
        let client_id = format!("invite-{}", town.at);
        Command::CreateInvite { client_id, conversation, lifetime_s: None, uses: Some(1), role }
    }

    fn token(town: &mut Town, by: UserId, command: Command) -> String {
        match town.ask(by, command) {
            Ok(Reply::Invite { token: Some(token), .. }) => token,
            other => panic!("{other:?}"),
        }
    }

    /// A group of Anna, its admin Bela, and a link that Bela made.
    fn invited() -> (Town, ConversationId, String) {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[BELA]);
        town.done(ANNA, Command::SetRole { conversation: group, user: BELA, role: Role::Admin });
        let command = make(&town, group, Role::Admin);
        let token = token(&mut town, BELA, command);
        (town, group, token)
    }

    #[test]
    fn a_link_admits_whom_it_was_given() {
        let (mut town, group, token) = invited();
        let use_it = Command::UseInvite { token };
        assert_eq!(town.ask(ANNA, use_it.clone()), Ok(Reply::Conversation { conversation: group }));
        assert_eq!(
            town.ask(DORA, use_it.clone()),
            Ok(Reply::Conversation { conversation: group }),
            "not used up"
        );
        assert_eq!(town.memory.member(group, DORA).unwrap().unwrap().role, Role::Admin);
        assert_eq!(town.ask(CARLA, use_it), Err(Refused::not_found()), "used up");
    }

    #[test]
    fn a_guest_comes_as_a_plain_member() {
        let (mut town, group, token) = invited();
        town.done(GUS, Command::UseInvite { token });
        assert_eq!(town.memory.member(group, GUS).unwrap().unwrap().role, Role::Member);
    }

    #[test]
    fn whatever_is_wrong_with_a_link_it_looks_like_none() {
        type Spoil = fn(&mut Town, ConversationId);
        let spoils: [(&str, Spoil); 6] = [
            ("expired", |town, _| town.at += 7 * 24 * 3600 * 1000),
            ("revoked", |town, conversation| {
                let invite = chinwag_protocol::InviteId(1);
                town.done(ANNA, Command::RevokeInvite { conversation, invite });
            }),
            ("closed", |town, conversation| town.done(ANNA, Command::CloseConversation { conversation })),
            ("its maker left", |town, conversation| town.done(BELA, Command::Leave { conversation })),
            ("its maker was removed", |town, conversation| {
                town.done(ANNA, Command::RemoveMember { conversation, user: BELA, ban: false });
            }),
            ("its maker lost the right", |town, conversation| {
                town.done(ANNA, Command::SetRole { conversation, user: BELA, role: Role::Member });
            }),
        ];
        for (how, spoil) in spoils {
            let (mut town, group, token) = invited();
            spoil(&mut town, group);
            let answer = town.ask(DORA, Command::UseInvite { token });
            assert_eq!(answer, town.ask(DORA, Command::UseInvite { token: "never made".into() }), "{how}");
            assert_eq!(answer, Err(Refused::not_found()), "{how}");
        }
    }

    #[test]
    fn a_ban_is_stronger_than_a_link() {
        for (user, expected) in [(DORA, "forbidden"), (GUS, "banned")] {
            let (mut town, conversation, token) = invited();
            town.done(ANNA, Command::RemoveMember { conversation, user, ban: true });
            assert_eq!(town.code(user, Command::UseInvite { token }), expected);
        }
    }

    #[test]
    fn links_keep_to_their_limits() {
        let (mut town, group, _) = invited();
        let limited = |town: &Town, lifetime_s, uses| Command::CreateInvite {
            client_id: format!("limit-{}", town.at),
            conversation: group,
            lifetime_s,
            uses,
            role: Role::Member,
        };
        for (lifetime_s, uses, expected) in [
            (Some(0), None, "out_of_range"),
            (Some(1), None, "ok"),
            (Some(INVITE_LIFETIME_MAX_S), None, "ok"),
            (Some(INVITE_LIFETIME_MAX_S + 1), None, "out_of_range"),
            (None, Some(0), "out_of_range"),
            (None, Some(INVITE_USES_MAX), "ok"),
            (None, Some(INVITE_USES_MAX + 1), "out_of_range"),
        ] {
            let command = limited(&town, lifetime_s, uses);
            assert_eq!(town.code(ANNA, command), expected, "{lifetime_s:?} {uses:?}");
        }
        let owner = make(&town, group, Role::Owner);
        assert_eq!(town.code(ANNA, owner), "role_too_high");
        let by_stranger = make(&town, group, Role::Member);
        assert_eq!(town.ask(DORA, by_stranger), Err(Refused::not_found()));
        let mut made = 0;
        while town.code(ANNA, limited(&town, None, None)) == "ok" {
            made += 1;
        }
        assert_eq!(made + 4, 50);
        assert_eq!(town.code(ANNA, limited(&town, None, None)), "too_many_invites");
    }

    #[test]
    fn the_token_is_told_once() {
        let mut town = Town::new();
        let group = town.group(ANNA, History::All, &[]);
        let command = make(&town, group, Role::Member);
        let Ok(Reply::Invite { invite, token: Some(_) }) = town.ask(ANNA, command.clone()) else { panic!() };
        assert_eq!(town.ask(ANNA, command), Ok(Reply::Invite { invite, token: None }));
    }
}
