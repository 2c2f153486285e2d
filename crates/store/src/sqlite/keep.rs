//! Writing what a plan came to: its entries, and its records as rows.

use std::{collections::HashSet, sync::Arc};

use chinwag_domain::{
    Facts, Failed, Known,
    plan::messages_after,
    reading::fold,
    record::{
        Change, Conversation, Counter, Cursor, Head, Holding, Invite, Member, Session, Standing, TokenHash,
        User,
    },
};
use chinwag_protocol::{ConversationId, Entry, FileId, LogId, Position, Seq, SessionId, UserId};
use rusqlite::{Connection, types::ValueRef};

use super::{
    cache::{End, Remembered},
    entry,
    look::counter_name,
    row::{self, int, json, put, run, text},
};

/// Writes entries and changes, and notes them in the cache once all of them are written.
///
/// An error leaves the cache as it was; the caller takes back what reached the database.
pub(super) fn keep(facts: &Remembered<'_>, entries: &[Arc<Entry>], changes: &[Change]) -> Known<()> {
    let conn = facts.look.conn;
    let mut ends: Vec<(LogId, End)> = Vec::with_capacity(1);
    for entry in entries {
        let known = ends.iter().rev().find(|(log, _)| *log == entry.log);
        let before = match known {
            Some((_, end)) => *end,
            None => facts.end(entry.log)?,
        };
        if entry.seq != before.head.position.seq.next() {
            let doing = format!("cannot write entry {} of log {}", entry.seq, entry.log);
            return Err(Failed::new(doing, format!("the log ends at {}", before.head.position.seq)).into());
        }
        let messages = messages_after(before.head.position, &entry.event);
        let spot = facts.entry_tail.borrow_mut().spot_for(entry.log, entry.seq);
        let hash = entry::write(conn, spot, entry, messages, &before.hash)?;
        let head = Head { position: Position { seq: entry.seq, messages }, at: entry.at };
        ends.retain(|(log, _)| *log != entry.log);
        ends.push((entry.log, End { head, hash }));
    }
    let last = last_of_each(changes);
    for change in &last {
        write(conn, facts, change)?;
    }
    let mut cache = facts.cache.borrow_mut();
    for (log, end) in ends {
        cache.grown(log, end);
    }
    for change in last {
        cache.changed(change);
    }
    Ok(())
}

/// Under what a change is kept, where only the last one matters.
#[derive(PartialEq, Eq, Hash)]
enum Key<'c> {
    User(UserId),
    Name(&'c str),
    Credentials(UserId),
    Session(SessionId),
    Conversation(ConversationId),
    Member(ConversationId, UserId),
    Relation(UserId, UserId),
    Overlay(ConversationId, Seq),
    Holding(UserId, FileId),
    Call(ConversationId),
    Invite(u32),
    OneTime(TokenHash),
    Server,
}

fn key_of(change: &Change) -> Option<Key<'_>> {
    Some(match change {
        Change::User(user) => Key::User(user.id),
        Change::Name(name) => Key::Name(&name.key),
        Change::NameFreed(key) => Key::Name(key),
        Change::Credentials(credentials) => Key::Credentials(credentials.user),
        Change::Session(session) => Key::Session(session.id),
        Change::SessionEnded(id) => Key::Session(*id),
        Change::Conversation(conversation) => Key::Conversation(conversation.id),
        Change::Member(member) => Key::Member(member.conversation, member.user),
        Change::Relation(of, to, _) => Key::Relation(*of, *to),
        Change::Overlay(conversation, seq, _) => Key::Overlay(*conversation, *seq),
        Change::Holding(held) => Key::Holding(held.user, held.file),
        Change::HoldingGone(user, file) => Key::Holding(*user, *file),
        Change::Call(call) => Key::Call(call.conversation),
        Change::CallOver(conversation) => Key::Call(*conversation),
        Change::Invite(invite) => Key::Invite(invite.id.0),
        Change::OneTime(link) => Key::OneTime(link.token),
        Change::OneTimeUsed(token) => Key::OneTime(*token),
        Change::Server(_) => Key::Server,
        Change::Erase(..) | Change::Mention(..) | Change::Sent(_) => return None,
    })
}

/// Leaves out what a later change replaces: a new group of a thousand counts its members a thousand times.
fn last_of_each(changes: &[Change]) -> Vec<&Change> {
    if changes.len() < 2 {
        return changes.iter().collect();
    }
    let mut seen = HashSet::with_capacity(changes.len());
    let mut last: Vec<&Change> =
        changes.iter().rev().filter(|change| key_of(change).is_none_or(|key| seen.insert(key))).collect();
    last.reverse();
    last
}

fn write(conn: &Connection, facts: &Remembered<'_>, change: &Change) -> Known<()> {
    match change {
        Change::User(record) => {
            user(conn, record)?;
            count(conn, facts, Counter::User, record.id.0)
        }
        Change::Name(name) => {
            let record = json(&**name)?;
            put(conn, &row::NAME, &[text(&name.key), text(&name.skeleton), text(&record)])
        }
        Change::NameFreed(key) => run(conn, "DELETE FROM name WHERE key = ?", [key]),
        Change::Credentials(credentials) => {
            put(conn, &row::CREDENTIALS, &[int(credentials.user.0), text(&json(&**credentials)?)])
        }
        Change::Session(record) => {
            session(conn, record)?;
            count(conn, facts, Counter::Session, record.id.0)
        }
        Change::SessionEnded(id) => run(conn, "DELETE FROM session WHERE id = ?", [id.0]),
        Change::Conversation(record) => {
            conversation(conn, record)?;
            count(conn, facts, Counter::Conversation, record.id.0)
        }
        Change::Member(record) => member(conn, record),
        Change::Relation(of, to, relation) => put(
            conn,
            &row::RELATION,
            &[int(of.0), int(to.0), int(i64::from(relation.contact)), int(i64::from(relation.blocked))],
        ),
        Change::Overlay(conversation, seq, overlay) => {
            let key = entry::key(LogId::Conversation(*conversation), *seq);
            let (pinned, deleted) = (i64::from(overlay.state.pinned), i64::from(overlay.state.deleted));
            put(conn, &row::OVERLAY, &[int(key), int(pinned), int(deleted), text(&json(&**overlay)?)])
        }
        Change::Erase(conversation, seq) => entry::erase(conn, LogId::Conversation(*conversation), *seq),
        Change::Mention(user, conversation, seq) => {
            put(conn, &row::MENTION, &[int(conversation.0), int(user.0), int(seq.0)])
        }
        Change::Holding(record) => holding(conn, record),
        Change::HoldingGone(user, file) => {
            run(conn, "DELETE FROM holding WHERE user = ? AND file = ?", (user.0, &file.0[..]))
        }
        Change::Call(call) => put(conn, &row::CALL, &[int(call.conversation.0), text(&json(&call.view)?)]),
        Change::CallOver(conversation) => {
            run(conn, "DELETE FROM call WHERE conversation = ?", [conversation.0])
        }
        Change::Invite(record) => {
            invite(conn, record)?;
            count(conn, facts, Counter::Invite, record.id.0)
        }
        Change::OneTime(link) => {
            put(conn, &row::ONE_TIME, &[ValueRef::Blob(&link.token), text(&json(&**link)?)])
        }
        Change::OneTimeUsed(token) => run(conn, "DELETE FROM one_time WHERE token = ?", [&token[..]]),
        Change::Server(server) => put(conn, &row::SERVER, &[int(1), text(&json(&**server)?)]),
        Change::Sent(record) => facts.tail.borrow_mut().add(conn, record),
    }
}

/// Notes that a number was handed out.
fn count(conn: &Connection, facts: &Remembered<'_>, counter: Counter, id: u32) -> Known<()> {
    // What is remembered answers for known records; a new one asks again, for its plan may hold others.
    if id < facts.next(counter)? || id < facts.look.next(counter)? {
        return Ok(());
    }
    put(conn, &row::COUNTER, &[text(counter_name(counter)), int(id)])
}

fn user(conn: &Connection, user: &User) -> Known<()> {
    let (handle, name, record) = (fold(&user.handle), fold(&user.name), json(user)?);
    put(conn, &row::USER, &[int(user.id.0), text(&handle), text(&name), text(&record)])
}

fn session(conn: &Connection, session: &Session) -> Known<()> {
    let record = json(session)?;
    put(
        conn,
        &row::SESSION,
        &[int(session.id.0), int(session.user.0), ValueRef::Blob(&session.token), text(&record)],
    )
}

fn conversation(conn: &Connection, conversation: &Conversation) -> Known<()> {
    let id_or_null = |user: Option<UserId>| user.map_or(ValueRef::Null, |user| int(user.0));
    let (one, other) = (conversation.direct.map(|users| users.0), conversation.direct.map(|users| users.1));
    let handle = conversation.handle.as_deref().map(fold).unwrap_or_default();
    let (name, topic) = (fold(&conversation.name), fold(&conversation.topic));
    let listed = i64::from(conversation.public && !conversation.closed);
    let record = json(conversation)?;
    put(
        conn,
        &row::CONVERSATION,
        &[
            int(conversation.id.0),
            id_or_null(one),
            id_or_null(other),
            int(listed),
            text(&handle),
            text(&name),
            text(&topic),
            text(&record),
        ],
    )
}

fn member(conn: &Connection, member: &Member) -> Known<()> {
    let standing: i64 = match member.standing {
        Standing::Active => 0,
        Standing::Gone => 1,
        Standing::Banned => 2,
    };
    let record = json(member)?;
    put(conn, &row::MEMBER, &[int(member.conversation.0), int(member.user.0), int(standing), text(&record)])
}

fn holding(conn: &Connection, held: &Holding) -> Known<()> {
    let size =
        i64::try_from(held.size).map_err(|error| Failed::new("cannot write the size of a file", error))?;
    // No message and no upload: it waits since ever.
    let waits =
        if held.messages == 0 { int(held.waits_since.map_or(0, |since| since.0)) } else { ValueRef::Null };
    let record = json(held)?;
    let values =
        [int(held.user.0), ValueRef::Blob(&held.file.0), int(size), waits, int(held.messages), text(&record)];
    put(conn, &row::HOLDING, &values)
}

fn invite(conn: &Connection, invite: &Invite) -> Known<()> {
    let usable = i64::from(!invite.revoked && invite.uses_left > 0);
    let record = json(invite)?;
    put(
        conn,
        &row::INVITE,
        &[
            int(invite.id.0),
            int(invite.conversation.0),
            ValueRef::Blob(&invite.token),
            int(usable),
            int(invite.expires_at.0),
            text(&record),
        ],
    )
}

/// Writes a cursor.
pub(super) fn cursor(
    conn: &Connection,
    conversation: ConversationId,
    user: UserId,
    cursor: Cursor,
) -> Known<()> {
    let Cursor { delivered, read } = cursor;
    put(
        conn,
        &row::CURSOR,
        &[int(conversation.0), int(user.0), int(delivered.0), int(read.seq.0), int(read.messages)],
    )
}
