//! Cursors: who is told that they moved, and when.
//!
//! They move in the store; here is kept only which of them are to be told at the next tick. A connection that reads
//! from the store where cursors are is told of none meanwhile, so on each connection every cursor only goes forward.

use bytes::Bytes;
use chinwag_domain::record::Cursor;
use chinwag_protocol::{ConversationId, CursorMoved, Position, ServerFrame, ServerSignal, UserId};

use super::{Connection, Key, State, frame};

/// Cursors of others are told in conversations of at most so many members.
const RECEIPT_MEMBERS_MAX: u32 = 100;

/// Cursors that may wait for one connection while it reads where cursors are.
pub(in crate::hub) const HELD_MAX: usize = 1_024;

/// What is told of a member's cursors that moved.
struct Receipt {
    conversation: ConversationId,
    user: UserId,
    cursor: Cursor,
    /// For himself.
    own: Bytes,
    /// For the other members, if they are to know.
    theirs: Option<Bytes>,
}

impl Connection {
    fn hear(&mut self, receipt: &Receipt) {
        let own = (self.identity.user == receipt.user).then_some(&receipt.own);
        let Some(frame) = own.or(receipt.theirs.as_ref()) else { return };
        let Some(held) = &mut self.held else { return self.outbox.signal(frame.clone()) };
        let place = (receipt.conversation, receipt.user);
        if held.len() < HELD_MAX || held.contains_key(&place) {
            held.insert(place, receipt.cursor);
        } else {
            self.outbox.lose_signal();
        }
    }
}

impl State {
    /// Notes that a member's cursors moved; told at the next [`State::tick`], each member once.
    pub fn cursor_moved(&mut self, conversation: ConversationId, user: UserId, to: Cursor) {
        let cursor = self.effective(conversation, user, to);
        self.cursors_moved.insert((conversation, user), cursor);
    }

    /// What lies before a member's joining counts as received and read, here as in a snapshot.
    fn effective(&self, conversation: ConversationId, user: UserId, cursor: Cursor) -> Cursor {
        let entered =
            self.membership(conversation, user).map(|membership| membership.entered).unwrap_or_default();
        let read = if cursor.read.seq < entered.seq { entered } else { cursor.read };
        Cursor { delivered: cursor.delivered.max(entered.seq), read }
    }

    /// Tells a connection of no cursor until [`State::release_cursors`]. What it reads from the store after this is
    /// newer than everything that it was told; told of what moves meanwhile, it would hear of it after that.
    pub fn hold_cursors(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.held.get_or_insert_default();
        }
    }

    /// The connection has read where cursors are: tells those that moved meanwhile, as they are `now`, and from here
    /// on what moves.
    pub fn release_cursors(&mut self, key: Key, now: impl Fn(ConversationId, UserId, Cursor) -> Cursor) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (held, me) = (connection.held.take(), connection.identity.user);
        for ((conversation, user), to) in held.unwrap_or_default() {
            if !self.is_member(conversation, me) {
                continue;
            }
            let cursor = self.effective(conversation, user, now(conversation, user, to));
            let receipt = self.receipt(conversation, user, cursor);
            self.connections[key].hear(&receipt);
        }
    }

    /// Asks where the cursors are that will be told at the next tick: a message of their owner may have moved them
    /// since, and a snapshot may have told so already.
    pub fn refresh_cursors(&mut self, now: impl Fn(ConversationId, UserId, Cursor) -> Cursor) {
        let moved: Vec<_> = self.cursors_moved.iter().map(|(key, to)| (*key, *to)).collect();
        for ((conversation, user), to) in moved {
            self.cursor_moved(conversation, user, now(conversation, user, to));
        }
    }

    pub(super) fn tell_cursors(&mut self) {
        for ((conversation, user), cursor) in std::mem::take(&mut self.cursors_moved) {
            let receipt = self.receipt(conversation, user, cursor);
            let Self { connections, conversations, users, .. } = self;
            for key in users.get(&user).map_or(&[][..], |user| &user.connections) {
                connections[*key].hear(&receipt);
            }
            if receipt.theirs.is_none() {
                continue;
            }
            for (key, _) in conversations.get(&conversation).map_or(&[][..], |found| &found.online) {
                if connections[*key].identity.user != user {
                    connections[*key].hear(&receipt);
                }
            }
        }
    }

    fn receipt(&self, conversation: ConversationId, user: UserId, cursor: Cursor) -> Receipt {
        let signal = |moved| frame(&ServerFrame::Signal(ServerSignal::Cursor(moved)));
        let whole = CursorMoved { conversation, user, delivered: cursor.delivered, read: cursor.read };
        let own = signal(whole);
        let is_small =
            self.conversations.get(&conversation).is_some_and(|found| found.members <= RECEIPT_MEMBERS_MAX);
        let keys = self.users.get(&user).map_or(&[][..], |user| &user.connections);
        let hide_read = keys.iter().any(|key| self.connections[*key].identity.hide_read);
        let theirs = (is_small && self.is_member(conversation, user)).then(|| match hide_read {
            true => signal(CursorMoved { read: Position::default(), ..whole }),
            false => own.clone(),
        });
        Receipt { conversation, user, cursor, own, theirs }
    }
}
