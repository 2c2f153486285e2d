//! `chinwag who`.

use std::collections::BTreeMap;

use chinwag_protocol::{Answer, Presence, PresenceOf, Profile, Query, UserId};
use serde_json::json;

use super::{
    names,
    session::{Session, foreign},
};
use crate::{
    args::{Global, Who},
    exit::Outcome,
    show::{self, Out},
};

/// `chinwag who`.
pub(crate) async fn run(global: &Global, out: &Out, args: Who) -> Outcome {
    let session = Session::find(global)?;
    let conversation = match &args.within {
        Some(name) => Some(names::conversation(&session, name).await?),
        None => None,
    };
    let Answer::Online(online) = session.query(Query::Online { conversation }).await? else {
        return foreign();
    };
    let online: BTreeMap<UserId, PresenceOf> = online.into_iter().map(|one| (one.user, one)).collect();
    let mut profiles = match (args.all, conversation) {
        (true, Some(conversation)) => members(&session, conversation).await?,
        (true, None) => everybody(&session, "").await?,
        (false, _) => by_id(&session, online.keys().copied().collect()).await?,
    };
    profiles.retain(|profile| !profile.inactive);
    let rank = |profile: &Profile| online.get(&profile.id).map_or(Presence::Offline, |one| one.presence);
    profiles.sort_by_key(|profile| (rank(profile) as u8, profile.name.to_lowercase()));
    for profile in &profiles {
        let presence = rank(profile);
        let seen_at = online.get(&profile.id).and_then(|one| one.seen_at);
        out.either(
            || {
                json!({"user": profile.id, "handle": profile.handle, "name": profile.name, "kind": profile.kind,
                    "presence": presence, "seen_at": seen_at})
            },
            || {
                let (mark, word) = match presence {
                    Presence::Online => ("●", "online"),
                    Presence::Away => ("◐", "away"),
                    Presence::Offline => ("○", "offline"),
                };
                let seen = seen_at.map_or(String::new(), |at| show::moment(at, ", seen %Y-%m-%d %H:%M"));
                format!("{mark} {}  {}  {word}{seen}", out.column(&profile.name, 20), out.column(&format!("@{}", profile.handle), 20))
            },
        )?;
    }
    Ok(())
}

/// Everybody on the server whose handle or name contains the text.
pub(crate) async fn everybody(session: &Session, text: &str) -> Outcome<Vec<Profile>> {
    match session.query(Query::FindUsers { text: text.to_owned(), limit: 200 }).await? {
        Answer::Users(profiles) => Ok(profiles),
        _ => foreign(),
    }
}

async fn by_id(session: &Session, users: Vec<UserId>) -> Outcome<Vec<Profile>> {
    let mut all = Vec::new();
    for users in users.chunks(200) {
        match session.query(Query::Users { users: users.to_vec() }).await? {
            Answer::Users(profiles) => all.extend(profiles),
            _ => return foreign(),
        }
    }
    Ok(all)
}

async fn members(session: &Session, conversation: chinwag_protocol::ConversationId) -> Outcome<Vec<Profile>> {
    let members = super::groups::members(session, conversation).await?;
    Ok(members.into_iter().map(|member| member.profile).collect())
}
