//! Pages of a conversation's past: history, threads, pins, and to whom a message has come.

use chinwag_protocol::{
    Anchor, ConversationId, Entry, Event, HistoryPage, Item, LogId, MessageInfo, Refused, Seq, UserId,
};

use super::{
    Viewer,
    view::{effective, item, items},
};
use crate::{
    facts::Known,
    limits::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX},
    port::Reader,
    record::Member,
};

/// Members whose cursors are looked at for one message.
const RECEIPTS_MAX: usize = 200;

/// What a member may see of a log: the first and the last number, both included.
struct Window {
    log: LogId,
    from: Seq,
    to: Seq,
}

impl Window {
    fn of(reader: &dyn Reader, member: &Member) -> Known<Self> {
        let log = LogId::Conversation(member.conversation);
        Ok(Self { log, from: member.since.max(Seq(1)), to: reader.head(log)?.position.seq })
    }

    fn before(&self, reader: &dyn Reader, before: Seq, limit: usize) -> Known<Vec<Entry>> {
        let before = before.min(self.to.next());
        if limit == 0 || before <= self.from {
            return Ok(Vec::new());
        }
        reader.entries_before(self.log, self.from, before, limit)
    }

    fn after(&self, reader: &dyn Reader, after: Seq, limit: usize) -> Known<Vec<Entry>> {
        let after = after.max(self.from.prev());
        if limit == 0 || after >= self.to {
            return Ok(Vec::new());
        }
        reader.entries(self.log, after, self.to, limit)
    }
}

/// A page of history, with every message as it stands now.
pub(super) fn history(
    viewer: &Viewer<'_>,
    conversation: ConversationId,
    anchor: Anchor,
    limit: u16,
) -> Known<HistoryPage> {
    let (reader, (_, member)) = (viewer.reader, viewer.member(conversation)?);
    let window = Window::of(reader, &member)?;
    let limit = usize::from(limit).clamp(1, PAGE_ENTRIES_MAX);
    let (older, newer, middle) = match anchor {
        Anchor::Latest => (window.before(reader, window.to.next(), limit)?, Vec::new(), window.to.next()),
        Anchor::Before(seq) => (window.before(reader, seq, limit)?, Vec::new(), seq),
        Anchor::After(seq) => {
            let middle = Seq(seq.0.saturating_add(1));
            (Vec::new(), window.after(reader, seq, limit)?, middle)
        }
        Anchor::Around(seq) => {
            let middle = seq.clamp(window.from, window.to.max(window.from));
            let older = window.before(reader, middle, limit / 2)?;
            let newer = window.after(reader, middle.prev(), limit - older.len())?;
            (older, newer, middle)
        }
        Anchor::Date(at) => {
            let middle = reader.seq_at(conversation, at)?.clamp(window.from, window.to.max(window.from));
            (Vec::new(), window.after(reader, middle.prev(), limit)?, middle)
        }
    };
    let mut entries = older;
    let pivot = entries.len();
    entries.extend(newer);
    let page = within_bytes(items(reader, entries, &member)?, pivot);
    let (first, last) = match (page.first(), page.last()) {
        (Some(first), Some(last)) => (first.entry.seq, last.entry.seq),
        _ => (middle, middle.prev()),
    };
    Ok(HistoryPage { items: page, more_before: first > window.from, more_after: last < window.to })
}

/// Shortens a page to about [`PAGE_BYTES`], keeping what is nearest to the item at `pivot`.
fn within_bytes(mut items: Vec<Item>, pivot: usize) -> Vec<Item> {
    let sizes: Vec<usize> = items.iter().map(weight).collect();
    let (mut left, mut right, mut sum) = (pivot, pivot, 0);
    let fits = |sum: usize, size: usize| sum == 0 || sum + size <= PAGE_BYTES_MAX;
    loop {
        let mut grew = false;
        if right < sizes.len() && fits(sum, sizes[right]) {
            sum += sizes[right];
            right += 1;
            grew = true;
        }
        if left > 0 && fits(sum, sizes[left - 1]) {
            left -= 1;
            sum += sizes[left];
            grew = true;
        }
        if !grew {
            break;
        }
    }
    items.truncate(right);
    items.drain(..left);
    items
}

/// About the bytes of an item on the wire.
fn weight(item: &Item) -> usize {
    let said = match &item.entry.event {
        Event::Message(body) => body.text.len() + 8 * body.mentions.len(),
        Event::Edited { text, .. } => text.len(),
        _ => 0,
    };
    let state = item.state.as_ref().map_or(0, |state| {
        let reactions: usize = state.reactions.iter().map(|r| 40 + r.emoji.len() + 8 * r.users.len()).sum();
        60 + state.text.as_ref().map_or(0, String::len) + reactions
    });
    160 + said + state
}

/// The entry of a message that a member may see, or the answer for one that is not there.
fn message_at(reader: &dyn Reader, member: &Member, seq: Seq) -> Known<Entry> {
    if !member.may_see(seq) || seq == Seq::ZERO {
        return Err(Refused::not_found().into());
    }
    let found = reader.entries(LogId::Conversation(member.conversation), seq.prev(), seq, 1)?.pop();
    match found {
        Some(entry) if matches!(entry.event, Event::Message(_)) => Ok(entry),
        _ => Err(Refused::not_found().into()),
    }
}

/// A message that a member may see, as it stands now.
pub(super) fn message_item(reader: &dyn Reader, member: &Member, seq: Seq) -> Known<Item> {
    item(reader, message_at(reader, member, seq)?, member)
}

/// A thread's first message and the replies after `after`.
pub(super) fn thread(
    viewer: &Viewer<'_>,
    conversation: ConversationId,
    root: Seq,
    after: Seq,
    limit: u16,
) -> Known<HistoryPage> {
    let (reader, (_, member)) = (viewer.reader, viewer.member(conversation)?);
    let mut first = message_at(reader, &member, root)?;
    // Asked with one of the replies, the thread is meant.
    if let Event::Message(body) = &first.event
        && let Some(thread) = body.thread
    {
        first = message_at(reader, &member, thread)?;
    }
    let limit = usize::from(limit).clamp(1, PAGE_ENTRIES_MAX);
    let mut replies = reader.thread(conversation, first.seq, after, limit + 1)?;
    let more = replies.len() > limit;
    replies.truncate(limit);
    let mut page = vec![item(reader, first, &member)?];
    for reply in replies {
        page.push(item(reader, reply, &member)?);
    }
    let whole = page.len();
    let page = within_bytes(page, 0);
    Ok(HistoryPage { more_before: false, more_after: more || page.len() < whole, items: page })
}

/// Pinned messages that the viewer may see, newest first.
pub(super) fn pins(viewer: &Viewer<'_>, conversation: ConversationId) -> Known<Vec<Item>> {
    let (reader, (_, member)) = (viewer.reader, viewer.member(conversation)?);
    let mut pinned = Vec::new();
    for seq in reader.pins(conversation)?.into_iter().filter(|seq| member.may_see(*seq)) {
        pinned.push(message_item(reader, &member, seq)?);
    }
    Ok(within_bytes(pinned, 0))
}

/// To whom a message was delivered and who read it.
///
/// Who joined after it is left out: his cursors begin behind it, though he never got it.
pub(super) fn message_info(
    viewer: &Viewer<'_>,
    conversation: ConversationId,
    seq: Seq,
) -> Known<MessageInfo> {
    let (reader, (_, viewing)) = (viewer.reader, viewer.member(conversation)?);
    let message = message_at(reader, &viewing, seq)?;
    let (mut delivered_to, mut read_by) = (Vec::new(), Vec::new());
    for member in reader.members(conversation, UserId::default(), RECEIPTS_MAX + 1)? {
        if member.user == message.by || member.entered.seq > seq {
            continue;
        }
        let cursor = effective(reader.cursor(conversation, member.user)?, &member);
        if cursor.delivered.max(cursor.read.seq) >= seq {
            delivered_to.push(member.user);
        }
        let tells = reader.user(member.user)?.is_some_and(|user| !user.settings.hide_read);
        if cursor.read.seq >= seq && tells {
            read_by.push(member.user);
        }
    }
    delivered_to.truncate(RECEIPTS_MAX);
    read_by.truncate(RECEIPTS_MAX);
    Ok(MessageInfo { accepted_at: message.at, delivered_to, read_by })
}
