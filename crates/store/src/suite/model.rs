//! Whatever is done to them, both engines answer the same.

use std::sync::Arc;

use chinwag_domain::{
    Known, Plan, Reader,
    facts::Facts,
    record::{
        Change, Counter, Cursor, Invite, Name, OneTime, Owner, Purpose, Relation, Session, Standing, User,
    },
};
use chinwag_protocol::{ConversationId, Event, InviteId, LogId, Millis, Role, Seq, SessionId, UserId};
use proptest::prelude::*;

use super::bed::{Bed, Kind, created, group_named, member, posting, sending, user_named};

/// One step of a random history. Small numbers, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Post { conversation: u32, by: u32, thread: bool, mention: u32, all: bool },
    Send { by: u32, id: u8, text: u8 },
    Change { conversation: u32, message: u32, what: u8 },
    User { id: u32, handle: String },
    Named { key: u8, free: bool },
    Session { id: u32, user: u32, end: bool },
    Member { conversation: u32, user: u32, standing: u8 },
    Relation { of: u32, to: u32, contact: bool, blocked: bool },
    Invite { id: u32, uses: u32, revoked: bool },
    OneTime { token: u8, used: bool },
    Cursor { conversation: u32, user: u32, to: u32 },
    Time { at: i64 },
    Refused { conversation: u32 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let c = || 1..4_u32;
    let u = || 1..5_u32;
    prop_oneof![
        6 => (c(), u(), any::<bool>(), 0..5_u32, any::<bool>())
            .prop_map(|(conversation, by, thread, mention, all)| Step::Post { conversation, by, thread, mention, all }),
        3 => (u(), 0..6_u8, 0..2_u8).prop_map(|(by, id, text)| Step::Send { by, id, text }),
        5 => (c(), 1..12_u32, 0..6_u8).prop_map(|(conversation, message, what)| Step::Change { conversation, message, what }),
        2 => (u(), "[aäAbB]{1,3}").prop_map(|(id, handle)| Step::User { id, handle }),
        1 => (0..4_u8, any::<bool>()).prop_map(|(key, free)| Step::Named { key, free }),
        1 => (u(), u(), any::<bool>()).prop_map(|(id, user, end)| Step::Session { id, user, end }),
        2 => (c(), u(), 0..3_u8).prop_map(|(conversation, user, standing)| Step::Member { conversation, user, standing }),
        1 => (u(), u(), any::<bool>(), any::<bool>())
            .prop_map(|(of, to, contact, blocked)| Step::Relation { of, to, contact, blocked }),
        1 => (u(), 0..2_u32, any::<bool>()).prop_map(|(id, uses, revoked)| Step::Invite { id, uses, revoked }),
        1 => (0..3_u8, any::<bool>()).prop_map(|(token, used)| Step::OneTime { token, used }),
        2 => (c(), u(), 0..12_u32).prop_map(|(conversation, user, to)| Step::Cursor { conversation, user, to }),
        1 => (0..9_000_i64).prop_map(|at| Step::Time { at }),
        1 => c().prop_map(|conversation| Step::Refused { conversation }),
        1 => Just(Step::Reopen),
    ]
}

/// Does one step; answers what the asker was told.
fn act(bed: &mut Bed, step: Step) -> String {
    let verdict = match step {
        Step::Time { at } => {
            bed.at(at);
            return String::new();
        }
        Step::Reopen => {
            bed.reopen();
            return String::new();
        }
        Step::Cursor { conversation, user, to } => {
            let conversation = ConversationId(conversation);
            let end =
                bed.read(move |reader| reader.head(LogId::Conversation(conversation)).unwrap().position);
            let seq = Seq(to.min(end.seq.0));
            let read = bed.read(move |reader| reader.position(conversation, seq).unwrap());
            return format!(
                "{:?}",
                bed.store().move_cursor(conversation, UserId(user), Cursor { delivered: seq, read })
            );
        }
        Step::Send { by, id, text } => bed.send(1, by, &format!("id{id}"), &format!("text {text}")),
        other => bed.run(move |plan| {
            decide(plan, &other)?;
            Ok(chinwag_domain::port::Done::Reply(chinwag_protocol::Reply::Done {}))
        }),
    };
    // The number of a trouble of ours differs, and nothing else.
    format!("{:?}", verdict.map_err(|refused| refused.code))
}

fn decide(plan: &mut Plan<'_>, step: &Step) -> Known<()> {
    match step.clone() {
        Step::Post { conversation, by, thread, mention, all } => {
            let log = LogId::Conversation(ConversationId(conversation));
            if plan.head(log)?.position.seq == Seq::ZERO {
                plan.record(log, UserId(by), created("a"))?;
            }
            let head = plan.head(log)?.position.seq;
            let root = match thread {
                true => plan.message(ConversationId(conversation), head)?.map(|message| message.seq),
                false => None,
            };
            posting(plan, conversation, by, None, |body| {
                body.text = format!("words {by} {head}");
                body.thread = root;
                body.mentions.extend((mention > 0).then_some(UserId(mention)));
                body.mentions_all = all;
            })?;
        }
        Step::Change { conversation, message, what } => {
            let (id, seq) = (ConversationId(conversation), Seq(message));
            if plan.message(id, seq)?.is_none_or(|message| message.overlay.state.deleted) {
                return Ok(());
            }
            let event = match what {
                0 => Event::Edited { message: seq, text: "changed".into() },
                1 => Event::Deleted { message: seq },
                2 => Event::Reacted { message: seq, emoji: "🙂".into() },
                3 => Event::Unreacted { message: seq, emoji: "🙂".into() },
                4 => Event::Pinned { message: seq },
                _ => Event::Unpinned { message: seq },
            };
            plan.record(LogId::Conversation(id), UserId(1), event)?;
        }
        Step::User { id, handle } => {
            plan.keep(Change::User(Arc::new(User {
                name: handle.to_uppercase(),
                ..user_named(id, &handle)
            })));
            plan.keep(Change::Conversation(Arc::new(group_named(id, &handle))));
        }
        Step::Named { key, free: true } => plan.keep(Change::NameFreed(format!("key{key}"))),
        Step::Named { key, free: false } => plan.keep(Change::Name(Arc::new(Name {
            key: format!("key{key}"),
            skeleton: format!("skeleton{}", key / 2),
            owner: Owner::User(UserId(1)),
        }))),
        Step::Session { id, end: true, .. } => plan.keep(Change::SessionEnded(SessionId(id))),
        Step::Session { id, user, end: false } => plan.keep(Change::Session(Arc::new(Session {
            id: SessionId(id),
            user: UserId(user),
            token: [u8::try_from(id).unwrap(); 32],
            device: String::new(),
            door: String::new(),
            app_password: None,
            bound: false,
            started_at: Millis(0),
            confirmed_at: Millis(0),
            seen_at: Millis(0),
        }))),
        Step::Member { conversation, user, standing } => {
            let standing = [Standing::Active, Standing::Gone, Standing::Banned][usize::from(standing)];
            plan.keep(Change::Member(Arc::new(member(conversation, user, standing))));
        }
        Step::Relation { of, to, contact, blocked } => {
            plan.keep(Change::Relation(UserId(of), UserId(to), Relation { contact, blocked }));
        }
        Step::Invite { id, uses, revoked } => plan.keep(Change::Invite(Arc::new(Invite {
            id: InviteId(id),
            conversation: ConversationId(1),
            token: [u8::try_from(id).unwrap(); 32],
            by: UserId(1),
            role: Role::Member,
            expires_at: Millis(5_000),
            uses_left: uses,
            revoked,
        }))),
        Step::OneTime { token, used: true } => plan.keep(Change::OneTimeUsed([token; 32])),
        Step::OneTime { token, used: false } => plan.keep(Change::OneTime(Arc::new(OneTime {
            token: [token; 32],
            purpose: Purpose::Reset(UserId(1)),
            expires_at: Millis(1),
        }))),
        Step::Refused { conversation } => {
            sending(plan, conversation, 1, "refused", "refused")?;
            return Err(chinwag_protocol::Refused::not_found().into());
        }
        Step::Send { .. } | Step::Cursor { .. } | Step::Time { .. } | Step::Reopen => {}
    }
    Ok(())
}

/// Everything that can be asked.
fn everything(reader: &dyn Reader) -> Known<Vec<String>> {
    let mut lines = Vec::new();
    macro_rules! say {
        ($($what:tt)*) => { lines.push(format!("{:?}", $($what)*)) };
    }
    for conversation in (1..5).map(ConversationId) {
        let log = LogId::Conversation(conversation);
        say!(reader.conversation(conversation)?);
        say!(reader.head(log)?);
        say!(reader.entries(log, Seq::ZERO, Seq(u32::MAX), 1_000)?);
        say!(reader.entries(log, Seq(2), Seq(7), 3)?);
        say!(reader.entries_before(log, Seq(2), Seq(7), 3)?);
        say!(reader.overlays(conversation, Seq(1), Seq(u32::MAX))?);
        say!(reader.pins(conversation)?);
        say!(reader.last_message(conversation, Seq(3))?);
        say!(reader.members(conversation, UserId(1), 2)?);
        say!(reader.bans(conversation)?);
        say!(reader.open_invites(conversation, Millis(4_000))?);
        say!(reader.invites(conversation)?.iter().map(|invite| invite.id).collect::<Vec<_>>());
        for number in 0..12 {
            say!(reader.message(conversation, Seq(number))?);
            say!(reader.thread(conversation, Seq(number), Seq(3), 2)?);
            say!(reader.position(conversation, Seq(number))?);
            say!(reader.seq_at(conversation, Millis(i64::from(number) * 800))?);
        }
        for user in (1..5).map(UserId) {
            say!(reader.cursor(conversation, user)?);
            say!(reader.member(conversation, user)?);
            say!(reader.mentions(user, conversation, Seq(1), 3)?);
        }
    }
    for user in (1..5).map(UserId) {
        say!(reader.user(user)?);
        say!(reader.sessions(user)?.iter().map(|session| session.id).collect::<Vec<_>>());
        say!(reader.memberships(user)?);
        say!(reader.relations(user)?);
        say!(reader.relation(user, UserId(2))?);
        say!(reader.invite(InviteId(user.0))?.map(|invite| (invite.uses_left, invite.revoked)));
        let token = [u8::try_from(user.0).unwrap(); 32];
        say!(reader.session_by_token(&token)?.map(|session| session.user));
        say!(reader.one_time(&token)?.map(|link| link.purpose));
        for id in 0..6 {
            say!(reader.sent(user, &format!("id{id}"))?);
        }
    }
    for number in 0..4 {
        say!(reader.name(&format!("key{number}"))?);
        say!(reader.name_like(&format!("skeleton{number}"))?);
    }
    for text in ["", "a", "b", "ab"] {
        say!(reader.find_users(text, 3)?);
        say!(reader.find_conversations(text, 3)?);
    }
    for counter in [Counter::User, Counter::Conversation, Counter::Session, Counter::Invite] {
        say!(reader.next(counter)?);
    }
    say!(reader.all_heads()?);
    say!(reader.all_memberships()?);
    Ok(lines)
}

/// The first answers that differ.
fn differing(one: &[String], other: &[String]) -> Option<(String, String)> {
    let differing = one.iter().zip(other).find(|(one, other)| one != other);
    differing.map(|(one, other)| (one.clone(), other.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_answer_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let mut memory = Bed::new(Kind::Memory);
        // So little is remembered that most of it is forgotten and looked up again.
        let mut sqlite = Bed::with(Kind::Sqlite, |options| options.remember = 4);
        for step in steps {
            let said = format!("{step:?}");
            let (one, other) = (act(&mut memory, step.clone()), act(&mut sqlite, step));
            prop_assert_eq!(one, other, "{}", said);
        }
        let ask = |bed: &Bed| bed.read(|reader| everything(reader).unwrap());
        prop_assert_eq!(differing(&ask(&memory), &ask(&sqlite)), None);
        sqlite.reopen();
        prop_assert_eq!(differing(&ask(&memory), &ask(&sqlite)), None, "after opening again");
        // Members are kept by hand here, so only their counts do not fit.
        sqlite.close();
        let report = crate::sqlite::scrub(sqlite.folder(), |_| {}).unwrap();
        let bad: Vec<_> = report.findings.iter().filter(|found| !found.contains("memberships")).collect();
        prop_assert!(bad.is_empty(), "{:?}", bad);
    }
}
