//! What readers of the store ask: pages of logs, lists of records, positions.

use std::sync::Arc;

use chinwag_domain::{
    Facts, Known, Reader,
    project::ALL_MEMBERS,
    reading::search::{Found, Wanted},
    record::{
        Call, Conversation, Cursor, Holding, Invite, Member, Overlay, Relation, Session, TokenHash, User,
    },
};
use chinwag_protocol::{ConversationId, Entry, FileId, LogId, Millis, Position, Seq, UserId};

use super::{
    cursors::join,
    entry::{self, NO_HASH, Stored, from_log_ends, select_entries},
    look::{Look, call_in, failed, head_of},
    row,
};
use crate::engine::PAGE_BYTES;

impl Look<'_> {
    fn at(&self, log: LogId, seq: Seq) -> Known<Option<(Position, Millis)>> {
        let stored = self.stored(log, seq)?;
        Ok(stored.map(|stored| (head_of(Some(&stored)).position, stored.entry.at)))
    }

    fn are_placed(&self, first: i64, last: i64) -> Known<bool> {
        entry::are_placed(self.conn, first, last).map_err(failed("cannot find out where entries stand"))
    }

    /// The first number in `low..=high` for which `reached` holds; it holds for `high` and from some number on.
    fn first(&self, log: LogId, low: Seq, high: Seq, reached: impl Fn(&Stored) -> bool) -> Known<Seq> {
        let (mut low, mut high) = (low.0, high.0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.stored(log, Seq(middle))? {
                Some(stored) if !reached(&stored) => low = middle + 1,
                Some(_) => high = middle,
                None => {
                    let damaged = entry::Damaged { key: entry::key(log, Seq(middle)), why: "it is missing" };
                    return Err(chinwag_domain::Failed::from(damaged).into());
                }
            }
        }
        Ok(Seq(low))
    }
}

fn entries_of(stored: Vec<Stored>) -> Vec<Entry> {
    stored.into_iter().map(|stored| stored.entry).collect()
}

fn many(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Reader for Look<'_> {
    fn find_users(&self, folded: &str, limit: usize) -> Known<Vec<Arc<User>>> {
        let sql = "SELECT * FROM user WHERE instr(folded_handle, ?1) OR instr(folded_name, ?1)
            ORDER BY instr(folded_handle, ?1) <> 1 AND instr(folded_name, ?1) <> 1, folded_handle, id LIMIT ?2";
        self.records(&row::USER, sql, (folded, many(limit)), format_args!("the directory"))
    }

    fn find_conversations(&self, folded: &str, limit: usize) -> Known<Vec<Arc<Conversation>>> {
        let sql = "SELECT * FROM conversation WHERE listed = 1 AND
            (instr(folded_handle, ?1) OR instr(folded_name, ?1) OR instr(folded_topic, ?1))
            ORDER BY folded_handle, id LIMIT ?2";
        self.records(&row::CONVERSATION, sql, (folded, many(limit)), format_args!("the public conversations"))
    }

    fn members(&self, conversation: ConversationId, after: UserId, limit: usize) -> Known<Vec<Arc<Member>>> {
        let sql =
            "SELECT * FROM member WHERE conversation = ? AND user > ? AND standing = 0 ORDER BY user LIMIT ?";
        let params = (conversation.0, after.0, many(limit));
        self.records(&row::MEMBER, sql, params, format_args!("the members of conversation {conversation}"))
    }

    fn bans(&self, conversation: ConversationId) -> Known<Vec<Arc<Member>>> {
        let sql = "SELECT * FROM member WHERE conversation = ? AND standing = 2 ORDER BY user";
        let what = format_args!("the bans of conversation {conversation}");
        self.records(&row::MEMBER, sql, [conversation.0], what)
    }

    fn all_memberships(&self) -> Known<Vec<Arc<Member>>> {
        let sql = "SELECT * FROM member WHERE standing = 0 ORDER BY conversation, user";
        self.records(&row::MEMBER, sql, [], format_args!("all memberships"))
    }

    fn all_heads(&self) -> Known<Vec<(LogId, Position)>> {
        let sql = from_log_ends!(
            "SELECT key, (SELECT messages FROM entries e WHERE e.key = last.key) FROM last WHERE key IS NOT NULL"
        );
        // Only where each log ends, not what stands there: one damaged entry must not keep the server from starting.
        // Whoever reads or continues the log verifies it.
        let heads = || -> rusqlite::Result<Vec<(LogId, Position)>> {
            let mut statement = self.conn.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let (log, seq) = entry::place(row.get(0)?);
                Ok((log, Position { seq, messages: row.get(1)? }))
            })?;
            rows.collect()
        };
        let mut heads = heads()
            .map_err(|error| chinwag_domain::Failed::new("cannot find the ends of the logs", error))?;
        heads.sort_unstable();
        // A page of each log was read for this, and none of them is needed again soon.
        row::run(self.conn, "PRAGMA shrink_memory", [])?;
        Ok(heads)
    }

    fn relations(&self, of: UserId) -> Known<Vec<(UserId, Relation)>> {
        let sql = "SELECT * FROM relation WHERE of = ? AND (contact OR blocked) ORDER BY to_user";
        row::many(self.conn, &row::RELATION, sql, [of.0], format_args!("whom user {of} knows"), |row| {
            let relation = Relation { contact: row::number(row, 2)?, blocked: row::number(row, 3)? };
            Ok((UserId(row::number(row, 1)?), relation))
        })
    }

    fn invites(&self, conversation: ConversationId) -> Known<Vec<Arc<Invite>>> {
        let sql = "SELECT * FROM invite WHERE conversation = ? AND usable = 1 ORDER BY id";
        let what = format_args!("the invitations of conversation {conversation}");
        self.records(&row::INVITE, sql, [conversation.0], what)
    }

    fn session_by_token(&self, token: &TokenHash) -> Known<Option<Arc<Session>>> {
        let sql = "SELECT * FROM session WHERE token = ? ORDER BY id DESC LIMIT 1";
        self.record(&row::SESSION, sql, [&token[..]], format_args!("a session by its token"))
    }

    fn entries(&self, log: LogId, after: Seq, up_to: Seq, limit: usize) -> Known<Vec<Entry>> {
        let (after_key, up_to) = (entry::key(log, after), entry::key(log, up_to));
        let sql = if self.are_placed(after_key, up_to)? {
            select_entries!(placed "WHERE key > ? AND key <= ? ORDER BY key LIMIT ?")
        } else {
            select_entries!("WHERE key > ? AND key <= ? ORDER BY key LIMIT ?")
        };
        let params = (after_key, up_to, many(limit));
        let page = entry::page(self.conn, log, sql, params, PAGE_BYTES)?;
        if let Some(first) = page.first() {
            let key = entry::key(log, first.entry.seq);
            if first.entry.seq != after.next() {
                let damaged = entry::Damaged { key, why: "the entry before it is missing" };
                return Err(chinwag_domain::Failed::from(damaged).into());
            }
            if after == Seq::ZERO && first.prev != NO_HASH {
                let damaged = entry::Damaged { key, why: "it is the first but follows from another" };
                return Err(chinwag_domain::Failed::from(damaged).into());
            }
        }
        entry::check_chain(&page)?;
        Ok(entries_of(page))
    }

    fn entries_before(&self, log: LogId, from: Seq, before: Seq, limit: usize) -> Known<Vec<Entry>> {
        // The key with number zero is none of this log's, and belongs to no other.
        let (from, before) = (entry::key(log, from.max(Seq(1))), entry::key(log, before));
        let sql = if self.are_placed(from, before)? {
            select_entries!(placed "WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?")
        } else {
            select_entries!("WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?")
        };
        let params = (from, before, many(limit));
        let mut page = entry::page(self.conn, log, sql, params, PAGE_BYTES)?;
        page.reverse();
        entry::check_chain(&page)?;
        Ok(entries_of(page))
    }

    fn overlays(&self, conversation: ConversationId, from: Seq, to: Seq) -> Known<Vec<(Seq, Arc<Overlay>)>> {
        let log = LogId::Conversation(conversation);
        row::many(
            self.conn,
            &row::OVERLAY,
            "SELECT * FROM overlay WHERE key >= ? AND key <= ? ORDER BY key",
            [entry::key(log, from), entry::key(log, to)],
            format_args!("what became of messages of conversation {conversation}"),
            |row| Ok((entry::place(row::number(row, 0)?).1, Arc::new(row::record(&row::OVERLAY, row)?))),
        )
    }

    fn thread(&self, conversation: ConversationId, root: Seq, after: Seq, limit: usize) -> Known<Vec<Entry>> {
        let log = LogId::Conversation(conversation);
        let sql = select_entries!("WHERE thread = ? AND key > ? ORDER BY key LIMIT ?");
        let params = (entry::key(log, root), entry::key(log, after), many(limit));
        Ok(entries_of(entry::page(self.conn, log, sql, params, PAGE_BYTES)?))
    }

    fn is_held(&self, file: FileId) -> Known<bool> {
        self.conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM holding WHERE file = ?)")
            .and_then(|mut statement| statement.query_row([&file.0[..]], |row| row.get(0)))
            .map_err(failed("cannot find out who holds a file"))
    }

    fn idle_holdings(&self, before: Millis, limit: usize) -> Known<Vec<Arc<Holding>>> {
        let sql = "SELECT * FROM holding WHERE waits < ? ORDER BY waits LIMIT ?";
        self.records(&row::HOLDING, sql, (before.0, many(limit)), format_args!("files that no message takes"))
    }

    fn open_calls(&self) -> Known<Vec<Arc<Call>>> {
        let sql = "SELECT * FROM call ORDER BY conversation";
        row::many(self.conn, &row::CALL, sql, [], format_args!("the calls that go on"), call_in)
    }

    fn pins(&self, conversation: ConversationId) -> Known<Vec<Seq>> {
        let log = LogId::Conversation(conversation);
        row::many(
            self.conn,
            &row::OVERLAY,
            "SELECT * FROM overlay WHERE pinned = 1 AND key > ? AND key <= ? ORDER BY key DESC",
            [entry::key(log, Seq::ZERO), entry::key(log, Seq(u32::MAX))],
            format_args!("the pins of conversation {conversation}"),
            |row| Ok(entry::place(row::number(row, 0)?).1),
        )
    }

    fn mentions(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Seq,
        limit: usize,
    ) -> Known<Vec<Seq>> {
        let base = entry::key(LogId::Conversation(conversation), Seq::ZERO);
        let sql = "SELECT m.* FROM mention m WHERE m.conversation = ?1 AND m.user = ?2 AND m.seq > ?3
            AND (SELECT by FROM entries WHERE key = ?4 + m.seq) <> ?5
            AND NOT EXISTS (SELECT 1 FROM overlay o WHERE o.key = ?4 + m.seq AND o.deleted = 1)
            ORDER BY m.seq LIMIT ?6";
        let of = |whom: UserId| {
            let params = (conversation.0, whom.0, after.0, base, user.0, many(limit));
            let what = format_args!("the mentions of user {user} in conversation {conversation}");
            row::many(self.conn, &row::MENTION, sql, params, what, |row| Ok(Seq(row::number(row, 2)?)))
        };
        let mut found = of(user)?;
        found.extend(of(ALL_MEMBERS)?);
        found.sort_unstable();
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }

    fn last_message(&self, conversation: ConversationId, from: Seq) -> Known<Option<Entry>> {
        let log = LogId::Conversation(conversation);
        let Some(last) = self.last(log)? else { return Ok(None) };
        let found = if matches!(last.entry.event, chinwag_protocol::Event::Message(_)) {
            Some(last)
        } else if last.messages == 0 {
            None
        } else {
            // Any number of reactions may have come after it, so it is not looked for one by one.
            let seq = self.first(log, Seq(1), last.entry.seq, |stored| stored.messages >= last.messages)?;
            self.stored(log, seq)?
        };
        Ok(found.map(|found| found.entry).filter(|entry| entry.seq >= from))
    }

    fn seq_at(&self, conversation: ConversationId, at: Millis) -> Known<Seq> {
        let log = LogId::Conversation(conversation);
        let head = self.head(log)?;
        if head.at < at || head.position.seq == Seq::ZERO {
            return Ok(head.position.seq);
        }
        self.first(log, Seq(1), head.position.seq, |stored| stored.entry.at >= at)
    }

    fn position(&self, conversation: ConversationId, seq: Seq) -> Known<Position> {
        if seq == Seq::ZERO {
            return Ok(Position::default());
        }
        let log = LogId::Conversation(conversation);
        match self.at(log, seq)? {
            Some((position, _)) => Ok(position),
            None => Ok(self.head(log)?.position),
        }
    }

    fn cursor(&self, conversation: ConversationId, user: UserId) -> Known<Cursor> {
        let written = self.written_cursor(conversation, user)?.unwrap_or_default();
        let Some(known) = self.beside.cursors.known((conversation, user)) else { return Ok(written) };
        let now = join(written, known);
        // It may have moved past what this reading sees: then it stands at the end of it.
        let head = self.head(LogId::Conversation(conversation))?.position;
        Ok(Cursor { delivered: now.delivered.min(head.seq), read: now.read.min(head) })
    }

    fn search(&self, wanted: &Wanted) -> Known<Found> {
        self.beside.index.search(self, wanted)
    }
}

impl Look<'_> {
    /// When the last entry of all was recorded.
    pub(super) fn last_at(&self) -> Known<Millis> {
        let sql = from_log_ends!(
            "SELECT coalesce(max((SELECT at FROM entries e WHERE e.key = last.key)), 0) FROM last"
        );
        self.conn
            .query_row(sql, [], |row| row.get(0))
            .map(Millis)
            .map_err(failed("cannot find the last entry"))
    }
}
