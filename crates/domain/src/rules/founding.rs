//! The first start: the built-in bot, the group `Everyone`, the settings; and the first administrator's link.

use std::sync::Arc;

use chinwag_protocol::{
    ConversationId, ConversationKind, Event, History, JoinedBy, LogId, Posting, Registration, Reply, Role,
    Settings, UserId, UserKind,
};

use super::{membership, naming};
use crate::{
    facts::{Facts, Known},
    limits::ONE_TIME_LIFETIME_MS,
    plan::Plan,
    port::Done,
    record::{Change, Counter, Credentials, OneTime, Owner, Purpose, Server, TokenHash, User},
};

/// The handle of the built-in bot.
pub const BOT: &str = "chinwag";
/// The handle and name of the built-in group.
pub const EVERYONE: &str = "Everyone";

/// Makes the store usable, once; and keeps the setup link as long as there was never an administrator.
pub fn found(plan: &mut Plan<'_>, registration: Registration, setup: Option<TokenHash>) -> Known<Done> {
    let server = match plan.server()? {
        Some(server) => server,
        None => found_anew(plan, registration)?,
    };
    if let Some(token) = setup.filter(|_| !server.has_admin) {
        let expires_at = chinwag_protocol::Millis(plan.at().0 + ONE_TIME_LIFETIME_MS);
        plan.keep(Change::OneTime(Arc::new(OneTime { token, purpose: Purpose::Setup, expires_at })));
    }
    Ok(Done::Reply(Reply::Done {}))
}

fn found_anew(plan: &mut Plan<'_>, registration: Registration) -> Known<Arc<Server>> {
    let bot = found_bot(plan)?;
    let everyone = found_everyone(plan, bot)?;
    let server = Arc::new(Server {
        name: "Chinwag".into(),
        registration,
        everyone: Some(everyone),
        join_everyone: true,
        bot,
        has_admin: false,
    });
    plan.keep(Change::Server(server.clone()));
    membership::enter(plan, everyone, bot, Role::Owner, bot, JoinedBy::Creating)?;
    Ok(server)
}

fn found_bot(plan: &mut Plan<'_>) -> Known<UserId> {
    let id = UserId(plan.next(Counter::User)?);
    let user = User {
        id,
        handle: BOT.into(),
        name: "Chinwag".into(),
        about: "The bot of this server. Try /help.".into(),
        hue: 210,
        avatar: None,
        kind: UserKind::Bot,
        admin: false,
        suspended: false,
        deleted: false,
        created_at: plan.at(),
        settings: Settings::default(),
        conversations: 0,
    };
    let profile = user.profile();
    plan.keep(Change::User(Arc::new(user)));
    // No password: nobody can sign in as the bot.
    plan.keep(Change::Credentials(Arc::new(Credentials { user: id, ..Credentials::default() })));
    naming::take(plan, BOT, Owner::User(id));
    plan.record(LogId::Directory, id, Event::UserChanged { profile })?;
    Ok(id)
}

fn found_everyone(plan: &mut Plan<'_>, bot: UserId) -> Known<ConversationId> {
    let id = ConversationId(plan.next(Counter::Conversation)?);
    naming::take(plan, EVERYONE, Owner::Conversation(id));
    plan.record(
        LogId::Conversation(id),
        bot,
        Event::Created {
            kind: ConversationKind::Group,
            handle: Some(EVERYONE.into()),
            name: EVERYONE.into(),
            topic: "Everybody on this server".into(),
            public: true,
            history: History::All,
            posting: Posting::Everyone,
            direct: None,
        },
    )?;
    Ok(id)
}
