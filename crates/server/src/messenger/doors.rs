//! What only doors ask: the bot without a conversation, and from where a client goes on that keeps nothing.

use std::net::IpAddr;

use chinwag_domain::{
    Actor, Request,
    bots::{self, Asked},
    names, reading,
    record::Owner,
};
use chinwag_protocol::{Answer, Profile, Query, Refused, UserId};

use super::Messenger;

/// Users whose sessions are ended in one transaction.
const USERS_AT_ONCE: usize = 200;

impl Messenger {
    /// Ends the sessions that lived as long as a link. To be called at the start: a server that was killed could
    /// not end them with their links, and their tokens are known to nobody.
    pub async fn end_bound_sessions(&self) -> Result<(), Refused> {
        let users = self.read(|reader| {
            let mut users: Vec<UserId> = reader.all_memberships()?.iter().map(|member| member.user).collect();
            users.sort_unstable();
            users.dedup();
            let mut of = Vec::new();
            for user in users {
                if reader.sessions(user)?.iter().any(|session| session.bound) {
                    of.push(user);
                }
            }
            Ok(of)
        });
        for users in users.await?.chunks(USERS_AT_ONCE) {
            self.transacted(Request::EndBound { users: users.to_vec() }).await?;
        }
        Ok(())
    }

    /// What the bot says to `/time`, to somebody in his time zone.
    pub async fn time(&self, user: Option<UserId>) -> Result<String, Refused> {
        match user {
            Some(user) => self.bot_answer(user, Asked::Time).await,
            None => Ok(bots::time(self.now(), "")),
        }
    }

    /// What the bot says to `/poem`, if there is such a poem.
    pub fn poem(&self, number: u32) -> Option<String> {
        self.inner.poems.get(number).map(str::to_owned)
    }

    /// Who these users are, as far as the actor may know. Asked by the server itself, so it counts for no rate.
    pub async fn profiles(&self, actor: &Actor, users: Vec<UserId>) -> Result<Vec<Profile>, Refused> {
        let (asker, now) = (actor.clone(), self.now());
        let query = Query::Users { users };
        match self.read(move |reader| reading::answer(reader, &asker, &query, now)).await? {
            Answer::Users(profiles) => Ok(profiles),
            _ => Ok(Vec::new()),
        }
    }

    /// Tells whoever has a name that somebody else tried to come in by it; once an hour for each door.
    ///
    /// What comes of it nobody waits for: who is told, and whether, is not the asker's business.
    pub async fn warn_owner(&self, handle: &str, peer: IpAddr, door: &str) {
        const HOUR: i64 = 3_600_000;
        let key = names::fold(handle);
        let owner = self.read(move |reader| Ok(reader.name(&key)?.map(|name| name.owner))).await;
        let Ok(Some(Owner::User(user))) = owner else { return };
        let client_id = format!("tried-{user}-{door}-{}", self.now().0 / HOUR);
        let text = format!(
            "Somebody at {peer} tried to come in by your name at the door {door} of this server, and was refused. \
             You are told of this once an hour."
        );
        self.transact(Request::Notify { user, client_id, text }, |_verdict| {});
    }
}
