//! Passwords of an account for one door alone: older systems send them in the clear, so the account's own one
//! should not go there.
//!
//! They are made by the server, from at least 80 random bits, so their SHA-256 is all that needs to be kept: there
//! is nothing to guess that a slow hash would protect. Whether a given one fits is found out by [`fitting`].
//!
//! Invariant: only the owner manages them, and never through a door.

use std::sync::Arc;

use chinwag_protocol::{AppPasswordId, Millis, Refused, Reply};
use sha2::{Digest, Sha256};

use super::{missing, rights::rights, sessions};
use crate::{
    facts::{Facts, Known},
    limits::{APP_PASSWORDS_MAX, DOOR_CHARACTERS_MAX},
    names,
    plan::Plan,
    policy::Action,
    port::{Actor, Prepared},
    record::{AppPassword, Change, Credentials, TokenHash},
};

/// A day, as exactly as the last use is kept.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What is kept of an app password. How it is typed (capitals, hyphens, blanks between its groups) does not matter.
pub fn secret_hash(typed: &str) -> TokenHash {
    let plain: String =
        typed.chars().filter(|c| *c != '-' && !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
    Sha256::digest(plain.as_bytes()).into()
}

/// The app password of these credentials that opens this door and was typed so.
pub fn fitting(credentials: &Credentials, door: &str, typed: &str) -> Option<AppPasswordId> {
    let hash = secret_hash(typed);
    let fits = |own: &&AppPassword| own.door == door && own.secret == hash;
    credentials.app_passwords.iter().find(fits).map(|own| own.id)
}

/// Refuses whoever may not make one, or has to prove his password first.
pub fn may_create(plan: &Plan<'_>, actor: &Actor) -> Known<()> {
    Ok(rights(plan, actor)?.need_fresh(Action::OwnSecrets)?)
}

/// Makes one; the answer holds it. [`may_create`] was asked before.
pub fn create(
    plan: &mut Plan<'_>,
    actor: &Actor,
    prepared: &Prepared,
    door: &str,
    name: &str,
) -> Known<Reply> {
    check_door(door)?;
    let name = names::display_name(name)?.to_owned();
    let secret = prepared.token.as_ref().ok_or_else(|| missing("secret for user", actor.user))?;
    let mut credentials = own(plan, actor)?;
    if credentials.password.is_empty() {
        return Err(Refused::forbidden("no_password", "this account has no password").into());
    }
    if credentials.app_passwords.len() >= APP_PASSWORDS_MAX {
        let why = format!("an account has at most {APP_PASSWORDS_MAX} app passwords: revoke one");
        return Err(Refused::forbidden("too_many_app_passwords", why).into());
    }
    credentials.app_passwords_made += 1;
    let id = AppPasswordId(credentials.app_passwords_made);
    credentials.app_passwords.push(AppPassword {
        id,
        door: door.to_owned(),
        name,
        secret: secret.hash,
        created_at: plan.at(),
        used_at: None,
    });
    plan.keep(Change::Credentials(Arc::new(credentials)));
    Ok(Reply::AppPassword { app_password: id, secret: Some(secret.plain.clone()) })
}

/// Makes one worthless, and ends the sessions that it began.
pub fn revoke(plan: &mut Plan<'_>, actor: &Actor, id: AppPasswordId) -> Known<Reply> {
    rights(plan, actor)?.need(Action::OwnAccount)?;
    let mut credentials = own(plan, actor)?;
    let before = credentials.app_passwords.len();
    credentials.app_passwords.retain(|own| own.id != id);
    if credentials.app_passwords.len() == before {
        return Err(Refused::not_found().into());
    }
    plan.keep(Change::Credentials(Arc::new(credentials)));
    sessions::end_those_of(plan, actor.user, id)?;
    Ok(Reply::Done {})
}

/// Notes the day of a use; more would be a write for every sign-in.
pub(super) fn used(plan: &mut Plan<'_>, credentials: &Credentials, id: AppPasswordId) {
    let today = Millis(plan.at().0 - plan.at().0.rem_euclid(DAY_MS));
    let mut changed = credentials.clone();
    for own in changed.app_passwords.iter_mut().filter(|own| own.id == id) {
        own.used_at = Some(today);
    }
    if changed != *credentials {
        plan.keep(Change::Credentials(Arc::new(changed)));
    }
}

fn own(plan: &Plan<'_>, actor: &Actor) -> Known<Credentials> {
    let found = plan.credentials(actor.user)?.ok_or_else(|| missing("credentials of user", actor.user))?;
    Ok(Credentials::clone(&found))
}

/// Whether a door of this name can be: which ones there are only the server knows, and they come and go.
fn check_door(door: &str) -> Result<(), Refused> {
    let fits = (1..=DOOR_CHARACTERS_MAX).contains(&door.len());
    if fits && door.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Ok(());
    }
    Err(Refused::invalid("door", "unknown_value", "door is the name of a door as tcp_json"))
}

#[cfg(test)]
mod tests;
