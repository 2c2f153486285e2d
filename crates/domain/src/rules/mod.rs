//! The rules, one file a noun.
//!
//! [`decide`] is the single entry. Each rule is a function of the plan (which knows the facts), the actor and the
//! command's fields; it refuses, or records events and answers. Rights come from [`crate::policy`] through
//! [`rights`]; a rule asks for the right first and looks at what it acts on afterwards, so that a refusal tells
//! nobody what exists.

use std::sync::Arc;

use chinwag_protocol::{Command, Refused, Reply};

use crate::{
    facts::{Facts, Failed, Known},
    plan::Plan,
    port::{Actor, Done, Prepared, Request},
    record::User,
};

pub mod idempotency;
pub mod invite;
pub mod membership;
pub mod naming;
pub mod rights;

/// Decides a request over the facts in `plan`; what follows from it is in the plan afterwards.
pub fn decide(plan: &mut Plan<'_>, request: &Request) -> Known<Done> {
    match request {
        Request::Command { actor, command, prepared } => command_of(plan, actor, command, prepared).map(Done::Reply),
        _ => Err(missing("rule", "this request").into()),
    }
}

fn command_of(plan: &mut Plan<'_>, actor: &Actor, _command: &Command, _prepared: &Prepared) -> Known<Reply> {
    acting(plan, actor)?;
    Err(missing("rule", "this command").into())
}

/// The user who asks: his session exists, is his, and he is active. Every rule about a person begins with this.
pub fn acting(plan: &Plan<'_>, actor: &Actor) -> Known<Arc<User>> {
    let session = plan.session(actor.session)?.filter(|session| session.user == actor.user);
    let user = plan.user(actor.user)?.filter(|user| user.is_active());
    match (session, user) {
        (Some(_), Some(user)) => Ok(user),
        _ => Err(Refused::not_signed_in().into()),
    }
}

/// A rule asked for something that must exist: our own mistake, never the asker's.
pub(crate) fn missing(what: &str, id: impl std::fmt::Display) -> Failed {
    Failed::new(format!("cannot find {what} {id}"), "there is none")
}
