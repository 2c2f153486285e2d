//! Taking and freeing unique names: one namespace for users and public conversations.

use std::sync::Arc;

use chinwag_protocol::Refused;

use crate::{
    facts::{Facts, Known},
    names,
    plan::Plan,
    record::{Change, Name, Owner},
};

/// Refuses a handle that is malformed, reserved, taken or too much like a taken one. `owner` may keep his own, and
/// take one that looks like it.
pub fn check_free(plan: &Plan<'_>, handle: &str, owner: Option<Owner>) -> Known<()> {
    names::check(handle)?;
    let others = |name: &Arc<Name>| Some(name.owner) != owner;
    if plan.name(&names::fold(handle))?.is_some_and(|name| others(&name)) {
        return Err(Refused::conflict("name_taken", format!("the name {handle} is taken"))
            .at("handle")
            .into());
    }
    if plan.name_like(&names::skeleton(handle))?.is_some_and(|name| others(&name)) {
        let why = format!("the name {handle} looks too much like one that is taken");
        return Err(Refused::conflict("name_too_similar", why).at("handle").into());
    }
    Ok(())
}

/// Takes a handle that was found free.
pub fn take(plan: &mut Plan<'_>, handle: &str, owner: Owner) {
    let name = Name { key: names::fold(handle), skeleton: names::skeleton(handle), owner };
    plan.keep(Change::Name(Arc::new(name)));
}

/// Frees a handle.
pub fn free(plan: &mut Plan<'_>, handle: &str) {
    plan.keep(Change::NameFreed(names::fold(handle)));
}

/// Checks and takes a new handle, and frees the old one. Only a change of case or look keeps the key.
pub fn rename(plan: &mut Plan<'_>, old: Option<&str>, new: &str, owner: Owner) -> Known<()> {
    check_free(plan, new, Some(owner))?;
    if let Some(old) = old {
        free(plan, old);
    }
    take(plan, new, owner);
    Ok(())
}
