//! K9: cursors never go back for anybody, and what they count is right.

use std::collections::{HashMap, HashSet};

use super::{Findings, book::Book};
use crate::history::What;

/// By conversation and user: delivered, read, and the line that said so.
type Heard = HashMap<(u32, u32), (u32, u32, usize)>;

pub(super) fn check(book: &Book<'_>, findings: &mut Findings) {
    // By client.
    let mut heard: HashMap<u32, Heard> = HashMap::new();
    // Cursors are written behind: a crash may set them back, which a client sees on its next connection.
    let mut set_back: HashSet<u32> = HashSet::new();
    for (line, record) in book.records.iter().enumerate() {
        let (client, user) = (record.client, record.user);
        let cursors = heard.entry(client).or_default();
        let mut hear = |conversation: u32,
                        of: u32,
                        delivered: Option<u32>,
                        read: u32,
                        findings: &mut Findings| {
            let (before, was_read, at) = cursors.get(&(conversation, of)).copied().unwrap_or_default();
            let delivered = delivered.unwrap_or(before);
            if delivered < before || read < was_read {
                let what = format!(
                    "the cursor of {of} in c{conversation} went from {before}, {was_read} to {delivered}, {read}"
                );
                findings.add("K9", &[at, line], what);
            }
            cursors.insert((conversation, of), (delivered.max(before), read.max(was_read), line));
        };
        match &record.what {
            What::Crash | What::Restored => set_back.extend(heard.keys()),
            What::Open { snapshot } => {
                if set_back.remove(&client) {
                    heard.remove(&client);
                }
                let cursors = heard.entry(client).or_default();
                for position in snapshot.iter().flatten() {
                    let Some((head, read, messages)) = position.unread else { continue };
                    let Some(conversation) = position.log.strip_prefix('c').and_then(|id| id.parse().ok())
                    else {
                        continue;
                    };
                    counted(book, conversation, position.seq, head, line, findings);
                    counted(book, conversation, read, messages, line, findings);
                    let known = cursors.entry((conversation, user)).or_insert((0, 0, line));
                    if read < known.1 {
                        let what = format!(
                            "the read cursor of {user} in c{conversation} went from {} to {read}",
                            known.1
                        );
                        findings.add("K9", &[known.2, line], what);
                    }
                    known.1 = read.max(known.1);
                }
            }
            What::Cursor { conversation, of, delivered, read, messages } => {
                hear(*conversation, *of, Some(*delivered), *read, findings);
                counted(book, *conversation, *read, *messages, line, findings);
            }
            _ => {}
        }
    }
}

/// Unread messages are a difference of two counts: both must be those of the log.
fn counted(
    book: &Book<'_>,
    conversation: u32,
    seq: u32,
    messages: u32,
    line: usize,
    findings: &mut Findings,
) {
    let Some(whole) = book.finals.get(&conversation) else { return };
    let right = usize::try_from(seq).ok().and_then(|at| whole.messages.get(at));
    if right != Some(&messages) {
        let what =
            format!("c{conversation} is said to have {messages} messages up to {seq}; it has {right:?}");
        findings.add("K9", &[line, whole.line], what);
    }
}
