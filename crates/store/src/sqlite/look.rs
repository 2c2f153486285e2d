//! Look-ups in the database: [`Facts`] straight from SQL, for the writer on a miss and for readers always.

use std::sync::Arc;

use chinwag_domain::{
    Facts, Failed, Known,
    facts::Stop,
    plan::message_of,
    record::{
        Call, Conversation, Counter, Credentials, Cursor, Head, Holding, Invite, Member, Message, Name,
        OneTime, Overlay, Relation, Sent, Server, Session, TokenHash, User,
    },
};
use chinwag_protocol::{ConversationId, FileId, InviteId, LogId, Millis, Position, Seq, SessionId, UserId};
use rusqlite::{Connection, Params, Row};
use serde::de::DeserializeOwned;

use super::{
    cursors::Cursors,
    entry::{self, Stored, select_entries},
    row::{self, Table},
    search::SearchIndex,
    sync::Durability,
    tail,
};

/// A connection to look things up with, and what is kept beside the database.
pub(super) struct Look<'c> {
    pub(super) conn: &'c Connection,
    pub(super) beside: &'c Beside,
}

/// What the engine keeps beside the main database; the writer and the readers share it.
pub(super) struct Beside {
    pub(super) cursors: Cursors,
    pub(super) index: SearchIndex,
    pub(super) durability: Arc<Durability>,
}

/// A select by its columns after the table's name.
macro_rules! by {
    ($table:literal, $rest:literal) => {
        concat!("SELECT * FROM ", $table, " WHERE ", $rest)
    };
}

impl Look<'_> {
    /// The record in at most one row.
    pub(super) fn record<T: DeserializeOwned>(
        &self,
        table: &Table,
        sql: &str,
        params: impl Params,
        what: std::fmt::Arguments<'_>,
    ) -> Known<Option<Arc<T>>> {
        row::one(self.conn, table, sql, params, what, |row| Ok(Arc::new(row::record(table, row)?)))
    }

    /// The records in many rows.
    pub(super) fn records<T: DeserializeOwned>(
        &self,
        table: &Table,
        sql: &str,
        params: impl Params,
        what: std::fmt::Arguments<'_>,
    ) -> Known<Vec<Arc<T>>> {
        row::many(self.conn, table, sql, params, what, |row| Ok(Arc::new(row::record(table, row)?)))
    }

    /// One entry as it is stored.
    pub(super) fn stored(&self, log: LogId, seq: Seq) -> Known<Option<Stored>> {
        let sql = select_entries!("WHERE key = ?");
        Ok(entry::page(self.conn, log, sql, [entry::key(log, seq)], usize::MAX)?.pop())
    }

    /// The last entry of a log.
    pub(super) fn last(&self, log: LogId) -> Known<Option<Stored>> {
        let sql = select_entries!("WHERE key > ? AND key <= ? ORDER BY key DESC LIMIT 1");
        let range = [entry::key(log, Seq::ZERO), entry::key(log, Seq(u32::MAX))];
        Ok(entry::page(self.conn, log, sql, range, usize::MAX)?.pop())
    }

    /// What later entries made of a message.
    pub(super) fn overlay(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Overlay>>> {
        let key = entry::key(LogId::Conversation(conversation), seq);
        self.record(
            &row::OVERLAY,
            by!("overlay", "key = ?"),
            [key],
            format_args!("what became of message {seq} of conversation {conversation}"),
        )
    }

    /// A remembered command that is at its place already.
    pub(super) fn sent_before(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>> {
        row::one(
            self.conn,
            &row::SENT,
            by!("sent", "user = ? AND client_id = ?"),
            (user.0, client_id),
            format_args!("a remembered command of user {user}"),
            |row| {
                Ok(Arc::new(Sent {
                    user,
                    client_id: client_id.to_owned(),
                    body: row::number::<i64>(row, 2)?.cast_unsigned(),
                    told: row::record(&row::SENT, row)?,
                }))
            },
        )
    }

    /// A member's cursor as it was written last.
    pub(super) fn written_cursor(&self, conversation: ConversationId, user: UserId) -> Known<Option<Cursor>> {
        row::one(
            self.conn,
            &row::CURSOR,
            by!("cursor", "conversation = ? AND user = ?"),
            (conversation.0, user.0),
            format_args!("the cursor of user {user} in conversation {conversation}"),
            |row| {
                Ok(Cursor {
                    delivered: Seq(row::number(row, 2)?),
                    read: Position { seq: Seq(row::number(row, 3)?), messages: row::number(row, 4)? },
                })
            },
        )
    }
}

/// The head that follows from the last entry.
pub(super) fn head_of(last: Option<&Stored>) -> Head {
    last.map_or_else(Head::default, |last| Head {
        position: Position { seq: last.entry.seq, messages: last.messages },
        at: last.entry.at,
    })
}

/// Turns SQLite's error into our own trouble.
pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(rusqlite::Error) -> Stop {
    let doing = doing.into();
    move |error| Failed::new(doing, error).into()
}

fn relation_in(row: &Row<'_>) -> Known<Relation> {
    Ok(Relation { contact: row::number(row, 2)?, blocked: row::number(row, 3)? })
}

/// The call in a row.
pub(super) fn call_in(row: &Row<'_>) -> Known<Arc<Call>> {
    let conversation = ConversationId(row::number(row, 0)?);
    Ok(Arc::new(Call { conversation, view: row::record(&row::CALL, row)? }))
}

/// What a counter is called in its table.
pub(super) fn counter_name(counter: Counter) -> &'static str {
    match counter {
        Counter::User => "user",
        Counter::Conversation => "conversation",
        Counter::Session => "session",
        Counter::Invite => "invite",
    }
}

impl Facts for Look<'_> {
    fn user(&self, id: UserId) -> Known<Option<Arc<User>>> {
        self.record(&row::USER, by!("user", "id = ?"), [id.0], format_args!("user {id}"))
    }

    fn name(&self, key: &str) -> Known<Option<Arc<Name>>> {
        self.record(&row::NAME, by!("name", "key = ?"), [key], format_args!("name {key:?}"))
    }

    fn name_like(&self, skeleton: &str) -> Known<Option<Arc<Name>>> {
        self.record(
            &row::NAME,
            by!("name", "skeleton = ? ORDER BY key LIMIT 1"),
            [skeleton],
            format_args!("a name like {skeleton:?}"),
        )
    }

    fn credentials(&self, user: UserId) -> Known<Option<Arc<Credentials>>> {
        self.record(
            &row::CREDENTIALS,
            by!("credentials", "user = ?"),
            [user.0],
            format_args!("the credentials of user {user}"),
        )
    }

    fn session(&self, id: SessionId) -> Known<Option<Arc<Session>>> {
        self.record(&row::SESSION, by!("session", "id = ?"), [id.0], format_args!("session {id}"))
    }

    fn sessions(&self, user: UserId) -> Known<Vec<Arc<Session>>> {
        self.records(
            &row::SESSION,
            by!("session", "user = ? ORDER BY id"),
            [user.0],
            format_args!("the sessions of user {user}"),
        )
    }

    fn conversation(&self, id: ConversationId) -> Known<Option<Arc<Conversation>>> {
        self.record(
            &row::CONVERSATION,
            by!("conversation", "id = ?"),
            [id.0],
            format_args!("conversation {id}"),
        )
    }

    fn direct(&self, (one, other): (UserId, UserId)) -> Known<Option<ConversationId>> {
        let found: Option<Arc<Conversation>> = self.record(
            &row::CONVERSATION,
            by!("conversation", "one = ? AND other = ? ORDER BY id DESC LIMIT 1"),
            (one.0, other.0),
            format_args!("the direct conversation of users {one} and {other}"),
        )?;
        Ok(found.map(|conversation| conversation.id))
    }

    fn member(&self, conversation: ConversationId, user: UserId) -> Known<Option<Arc<Member>>> {
        self.record(
            &row::MEMBER,
            by!("member", "conversation = ? AND user = ?"),
            (conversation.0, user.0),
            format_args!("user {user} in conversation {conversation}"),
        )
    }

    fn memberships(&self, user: UserId) -> Known<Vec<Arc<Member>>> {
        self.records(
            &row::MEMBER,
            by!("member", "user = ? AND standing = 0 ORDER BY conversation"),
            [user.0],
            format_args!("the memberships of user {user}"),
        )
    }

    fn relation(&self, of: UserId, to: UserId) -> Known<Relation> {
        let found = row::one(
            self.conn,
            &row::RELATION,
            by!("relation", "of = ? AND to_user = ?"),
            (of.0, to.0),
            format_args!("what user {of} thinks of user {to}"),
            relation_in,
        )?;
        Ok(found.unwrap_or_default())
    }

    fn message(&self, conversation: ConversationId, seq: Seq) -> Known<Option<Arc<Message>>> {
        let Some(stored) = self.stored(LogId::Conversation(conversation), seq)? else { return Ok(None) };
        let overlay = self.overlay(conversation, seq)?.map(Arc::unwrap_or_clone).unwrap_or_default();
        Ok(message_of(&stored.entry, overlay).map(Arc::new))
    }

    fn holding(&self, user: UserId, file: FileId) -> Known<Option<Arc<Holding>>> {
        self.record(
            &row::HOLDING,
            by!("holding", "user = ? AND file = ?"),
            (user.0, &file.0[..]),
            format_args!("file {file} of user {user}"),
        )
    }

    fn held_bytes(&self, user: UserId) -> Known<u64> {
        let held: i64 = self
            .conn
            .prepare_cached("SELECT coalesce(sum(size), 0) FROM holding WHERE user = ?")
            .and_then(|mut statement| statement.query_row([user.0], |row| row.get(0)))
            .map_err(failed("cannot add up the files of a user"))?;
        Ok(held.unsigned_abs())
    }

    fn call(&self, conversation: ConversationId) -> Known<Option<Arc<Call>>> {
        let what = format_args!("the call of conversation {conversation}");
        row::one(self.conn, &row::CALL, by!("call", "conversation = ?"), [conversation.0], what, call_in)
    }

    fn invite(&self, id: InviteId) -> Known<Option<Arc<Invite>>> {
        self.record(&row::INVITE, by!("invite", "id = ?"), [id.0], format_args!("invitation {id}"))
    }

    fn invite_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Invite>>> {
        self.record(
            &row::INVITE,
            by!("invite", "token = ? ORDER BY id DESC LIMIT 1"),
            [&token[..]],
            format_args!("an invitation by its token"),
        )
    }

    fn open_invites(&self, conversation: ConversationId, at: Millis) -> Known<u32> {
        self.conn
            .prepare_cached(
                "SELECT count(*) FROM invite WHERE conversation = ? AND usable = 1 AND expires_at > ?",
            )
            .and_then(|mut statement| statement.query_row((conversation.0, at.0), |row| row.get(0)))
            .map_err(failed("cannot count invitations"))
    }

    fn one_time(&self, token: &TokenHash) -> Known<Option<Arc<OneTime>>> {
        self.record(
            &row::ONE_TIME,
            by!("one_time", "token = ?"),
            [&token[..]],
            format_args!("a one-time link"),
        )
    }

    fn server(&self) -> Known<Option<Arc<Server>>> {
        self.record(&row::SERVER, by!("server", "id = 1"), [], format_args!("the server's settings"))
    }

    fn head(&self, log: LogId) -> Known<Head> {
        Ok(head_of(self.last(log)?.as_ref()))
    }

    fn sent(&self, user: UserId, client_id: &str) -> Known<Option<Arc<Sent>>> {
        if let Some(sent) = self.sent_before(user, client_id)? {
            return Ok(Some(sent));
        }
        // A short table without an index: the writer, who asks often, knows it by heart.
        row::one(
            self.conn,
            &row::SENT_TAIL,
            by!("sent_tail", "user = ? AND client_id = ? ORDER BY id DESC LIMIT 1"),
            (user.0, client_id),
            format_args!("a command of user {user} that was remembered lately"),
            |row| tail::read(row).map(Arc::new),
        )
    }

    fn next(&self, counter: Counter) -> Known<u32> {
        let last: Option<u32> = row::one(
            self.conn,
            &row::COUNTER,
            by!("counter", "name = ?"),
            [counter_name(counter)],
            format_args!("a counter"),
            |row| row::number(row, 1),
        )?;
        Ok(last.unwrap_or(0) + 1)
    }
}
