//! Who somebody is to a conversation, or to the server: what [`crate::policy`] asks about.

use std::sync::Arc;

use chinwag_protocol::{ConversationId, Kind, Refused, Role, UserKind};

use super::signed_in;
use crate::{
    facts::{Facts, Known},
    limits::CONFIRMATION_MS,
    plan::Plan,
    policy::{Action, Grounds, Who, allow, permit},
    port::Actor,
    record::{Conversation, Member, Standing, User},
};

/// An asker before the server as a whole.
#[derive(Clone, Debug)]
pub struct Rights {
    /// Who asks.
    pub user: Arc<User>,
    /// In what standing.
    pub who: Who,
    /// What speaks for him. Rules add what they find out.
    pub grounds: Grounds,
}

/// An asker before one conversation that exists.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which.
    pub conversation: Arc<Conversation>,
    /// His membership, now or once.
    pub member: Option<Arc<Member>>,
    /// His rights in it.
    pub rights: Rights,
}

/// The asker before the server: signed in and active, or refused.
pub fn rights(plan: &Plan<'_>, actor: &Actor) -> Known<Rights> {
    let (user, session) = signed_in(plan, actor)?;
    let who = match user.kind {
        UserKind::Guest => Who::Guest,
        // The session says it too: whoever hands over its token elsewhere gains nothing.
        _ if actor.door.is_some() || !session.door.is_empty() => Who::Door,
        _ if user.admin => Who::Operator,
        _ => Who::Stranger,
    };
    let fresh = is_fresh(session.confirmed_at.0, plan.at().0);
    let elsewhere = (who == Who::Door).then_some(Who::Stranger);
    Ok(Rights { user, who, grounds: Grounds { fresh, elsewhere, ..Grounds::default() } })
}

/// The asker before a conversation; one that he may not know of is not found.
///
/// Also refuses what nobody may do in a closed conversation; use [`place_even_closed`] for reading and leaving.
pub fn place(plan: &Plan<'_>, actor: &Actor, id: ConversationId) -> Known<Place> {
    let place = place_even_closed(plan, actor, id)?;
    if place.conversation.closed {
        if !place.rights.grounds.member {
            return Err(Refused::not_found().into());
        }
        return Err(
            Refused::forbidden("conversation_closed", "this conversation was deleted by its owner").into()
        );
    }
    Ok(place)
}

/// The same for what a closed conversation still allows.
pub fn place_even_closed(plan: &Plan<'_>, actor: &Actor, id: ConversationId) -> Known<Place> {
    let mut rights = rights(plan, actor)?;
    let conversation = plan.conversation(id)?.ok_or_else(Refused::not_found)?;
    let member = plan.member(id, rights.user.id)?;
    let active = member.as_ref().filter(|member| member.is_active());
    let by_role = active.map(|member| match member.role {
        Role::Member => Who::Member,
        Role::Admin => Who::Admin,
        Role::Owner => Who::Owner,
    });
    let through_door = rights.who == Who::Door;
    rights.who = match (rights.who, by_role, member.as_ref().map(|member| member.standing)) {
        (Who::Guest, ..) => Who::Guest,
        (Who::Door, Some(_), _) => Who::Door,
        (_, Some(who), _) => who,
        // Through a door nobody acts as a server administrator.
        (Who::Operator, None, _) => Who::Operator,
        (_, None, Some(Standing::Banned)) => Who::Banned,
        (_, None, Some(_)) => Who::Former,
        (_, None, None) => Who::Stranger,
    };
    rights.grounds = Grounds {
        public: conversation.public,
        direct: conversation.direct.is_some(),
        member: active.is_some(),
        admin_there: active.is_some_and(|member| member.role >= Role::Admin),
        alone: active.is_some() && conversation.members == 1,
        elsewhere: by_role.filter(|_| through_door).or(rights.grounds.elsewhere),
        ..rights.grounds
    };
    Ok(Place { conversation, member, rights })
}

impl Rights {
    /// Refuses what the table does not allow.
    pub fn need(&self, action: Action) -> Result<(), Refused> {
        allow(permit(self.who, action, &self.grounds))
    }

    /// The same for an action that needs the password proved again: says so if only that is missing.
    pub fn need_fresh(&self, action: Action) -> Result<(), Refused> {
        allow(permit(self.who, action, &Grounds { fresh: true, ..self.grounds }))?;
        if self.grounds.fresh { Ok(()) } else { Err(confirm_first()) }
    }
}

impl Place {
    /// Refuses what the table does not allow.
    pub fn need(&self, action: Action) -> Result<(), Refused> {
        self.rights.need(action)
    }

    /// The same towards another member: his role now, and the one he is to get, must be below the asker's.
    pub fn need_over(&self, action: Action, other: Role, given: Role) -> Result<(), Refused> {
        let own = self.member.as_ref().filter(|member| member.is_active()).map(|member| member.role);
        let outranks = own.is_some_and(|own| own > other && (own > given || own == Role::Owner));
        allow(permit(self.rights.who, action, &Grounds { outranks, ..self.rights.grounds }))
    }
}

/// Whether a proof at `confirmed_at` is still good at `at`. One from the future is as good: clocks are set back.
fn is_fresh(confirmed_at: i64, at: i64) -> bool {
    at.saturating_sub(confirmed_at) < CONFIRMATION_MS
}

/// The refusal that makes a client ask for the password again.
fn confirm_first() -> Refused {
    Refused::new(Kind::Forbidden, "confirm_password", "prove again who you are: confirm your password")
}
