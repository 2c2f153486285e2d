//! `chinwag groups`.

use chinwag_client::sync::State;
use chinwag_protocol::{
    Answer, Command, ConversationId, ConversationKind, ConversationView, History, MemberView, Query, Reply,
    Role, UserId,
};
use serde_json::{Value, json};

use super::{
    account::token_of,
    names,
    session::{Session, foreign},
};
use crate::{
    args::{Global, Groups},
    exit::Outcome,
    show::{self, Out},
};

/// `chinwag groups`.
pub(crate) async fn run(global: &Global, out: &Out, args: Groups) -> Outcome {
    let session = Session::find(global)?;
    match args {
        Groups::List { public: false, text } => mine(&session, out, &text).await,
        Groups::List { public: true, text } => {
            match session.query(Query::FindConversations { text, limit: 200 }).await? {
                Answer::Conversations(views) => views.iter().try_for_each(|view| {
                    let named = view.handle.as_ref().map_or(String::new(), |handle| format!("#{handle}"));
                    show_one(out, view, &view.name, &named)
                }),
                _ => foreign(),
            }
        }
        Groups::Create { name, channel, public, handle, topic, hide_history, add } => {
            let mut members = Vec::new();
            for user in &add {
                members.push(names::user(&session, user).await?.id);
            }
            let command = Command::CreateConversation {
                client_id: chinwag_client::fresh_id(),
                kind: if channel { ConversationKind::Channel } else { ConversationKind::Group },
                name,
                handle: handle.map(|handle| handle.trim_start_matches('#').to_owned()),
                topic,
                public,
                history: if hide_history { History::FromJoining } else { History::All },
                posting: None,
                members,
            };
            entered(out, &session.command(command).await?, "Made")
        }
        Groups::Join { which } => join(&session, out, &which).await,
        Groups::Leave { which } => {
            let conversation = names::conversation(&session, &which).await?;
            done(out, conversation, &session.command(Command::Leave { conversation }).await?, "Left")
        }
        Groups::Members { which } => {
            let conversation = names::conversation(&session, &which).await?;
            members(&session, conversation).await?.iter().try_for_each(|member| show_member(out, member))
        }
        Groups::Add { which, user } => {
            let conversation = names::conversation(&session, &which).await?;
            let user = names::user(&session, &user).await?.id;
            done(
                out,
                conversation,
                &session.command(Command::AddMember { conversation, user }).await?,
                "Added",
            )
        }
        Groups::Remove { which, user, ban } => {
            let conversation = names::conversation(&session, &which).await?;
            let user = names::user(&session, &user).await?.id;
            let command = Command::RemoveMember { conversation, user, ban };
            done(out, conversation, &session.command(command).await?, "Removed")
        }
        Groups::Invite { which, uses, hours } => {
            let conversation = names::conversation(&session, &which).await?;
            invite(&session, out, conversation, uses, hours).await
        }
    }
}

async fn mine(session: &Session, out: &Out, text: &str) -> Outcome {
    let state = State::from(session.snapshot().await?);
    let wanted = text.to_lowercase();
    let mut all: Vec<_> = state.conversations.values().collect();
    all.sort_by_key(|known| std::cmp::Reverse(known.view.last.as_ref().map(|last| last.entry.at)));
    for known in all {
        let title = state.title(&known.view);
        if title.to_lowercase().contains(&wanted) {
            let named = match (&known.view.handle, known.view.kind) {
                (Some(handle), _) => format!("#{handle}"),
                (None, ConversationKind::Direct) => other(&state, &known.view),
                (None, _) => format!("id:{}", known.view.id),
            };
            show_one(out, &known.view, &title, &named)?;
        }
    }
    Ok(())
}

fn other(state: &State, view: &ConversationView) -> String {
    let other = view.direct.map(|(a, b)| if a == state.me.id { b } else { a });
    let user = other.and_then(|other| state.users.get(&other));
    user.map_or_else(|| format!("id:{}", view.id), |user| format!("@{}", user.handle))
}

/// One line of a list: what to type, name, members, unread.
fn show_one(out: &Out, view: &ConversationView, title: &str, named: &str) -> Outcome {
    let unread = view.mine.as_ref().map(|mine| view.head.messages.saturating_sub(mine.read.messages));
    let mentions = view.mine.as_ref().map_or(0, |mine| mine.mentions.len());
    out.either(
        || {
            let mut object = json!({"conversation": view.id, "kind": view.kind, "handle": view.handle, "name": title,
                "topic": view.topic, "public": view.public, "members": view.members, "messages": view.head.messages,
                "seq": view.head.seq});
            if let Some(unread) = unread {
                object["unread"] = json!(unread);
                object["mentions"] = json!(mentions);
            }
            object
        },
        || {
            let unread = match unread {
                Some(0) | None => String::new(),
                Some(unread) if mentions > 0 => format!("{unread} unread, {mentions} for you"),
                Some(unread) => format!("{unread} unread"),
            };
            let kind = format!("{:?}", view.kind).to_lowercase();
            let (named, title) = (out.column(named, 22), out.column(title, 24));
            format!("{named}  {title}  {kind:<7}  {:>5} members  {unread}", view.members).trim_end().to_owned()
        },
    )
}

async fn join(session: &Session, out: &Out, which: &str) -> Outcome {
    let reply = if which.contains("/invite/") {
        session.command(Command::UseInvite { token: token_of(which) }).await?
    } else {
        let conversation = names::conversation(session, which).await?;
        session.command(Command::Join { conversation }).await?
    };
    entered(out, &reply, "Joined")
}

/// All members of a conversation, page by page.
pub(crate) async fn members(session: &Session, conversation: ConversationId) -> Outcome<Vec<MemberView>> {
    let (mut all, mut after) = (Vec::new(), UserId(0));
    loop {
        let query = Query::Members { conversation, after, limit: 1000 };
        let Answer::Members(page) = session.query(query).await? else { return foreign() };
        match page.last() {
            Some(last) => after = last.profile.id,
            None => return Ok(all),
        }
        let is_last = page.len() < 1000;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

fn show_member(out: &Out, member: &MemberView) -> Outcome {
    let profile = &member.profile;
    out.either(
        || {
            json!({"user": profile.id, "handle": profile.handle, "name": profile.name, "role": member.role,
                "joined_at": member.joined_at, "delivered": member.delivered, "read": member.read})
        },
        || {
            let role = match member.role {
                Role::Owner => "owner",
                Role::Admin => "admin",
                Role::Member => "",
            };
            let handle = out.column(&format!("@{}", profile.handle), 20);
            format!("{}  {handle}  {role}", out.column(&profile.name, 24)).trim_end().to_owned()
        },
    )
}

async fn invite(
    session: &Session,
    out: &Out,
    conversation: ConversationId,
    uses: u32,
    hours: u32,
) -> Outcome {
    let command = Command::CreateInvite {
        client_id: chinwag_client::fresh_id(),
        conversation,
        lifetime_s: Some(hours.saturating_mul(3600)),
        uses: Some(uses),
        role: Role::Member,
    };
    let Reply::Invite { invite, token: Some(token) } = session.command(command).await? else {
        return foreign();
    };
    let link = format!("{}/#/invite/{token}", session.http.server);
    out.either(
        || json!({"invite": invite, "conversation": conversation, "link": link, "uses": uses, "hours": hours}),
        || format!("{link}\nGood for {hours} hours and {uses} uses; shown only now."),
    )
}

fn entered(out: &Out, reply: &Reply, what: &str) -> Outcome {
    match reply {
        Reply::Conversation { conversation } => tell(out, *conversation, what),
        _ => foreign(),
    }
}

fn done(out: &Out, conversation: ConversationId, reply: &Reply, what: &str) -> Outcome {
    match reply {
        Reply::Done {} | Reply::Conversation { .. } => tell(out, conversation, what),
        _ => foreign(),
    }
}

fn tell(out: &Out, conversation: ConversationId, what: &str) -> Outcome {
    let object = || -> Value { json!({"conversation": conversation, "done": what.to_lowercase()}) };
    out.either(object, || format!("{} (id:{conversation})", show::one_line(what)))
}
