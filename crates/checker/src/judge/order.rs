//! K3, K4, K5: one order for all, that agrees with time and with what each device did and saw.

use std::collections::HashMap;

use super::{
    Findings,
    book::{Book, Final, Outcome},
};
use crate::history::{Op, Seen, What};

pub(super) fn check(book: &Book<'_>, findings: &mut Findings) {
    for (conversation, whole) in &book.finals {
        dense(*conversation, whole, findings);
    }
    same_for_all(book, findings);
    pages(book, findings);
    real_time(book, findings);
    devices(book, findings);
}

fn dense(conversation: u32, whole: &Final<'_>, findings: &mut Findings) {
    let mut messages = 0;
    for (number, entry) in (1..).zip(whole.log) {
        if entry.seq != number || entry.conversation() != Some(conversation) {
            let what =
                format!("the log of c{conversation} has {} {} where {number} belongs", entry.log, entry.seq);
            return findings.add("K3", &[whole.line], what);
        }
        if entry.kind == "message" {
            messages += 1;
            if entry.number != Some(messages) {
                let what = format!(
                    "message {} of c{conversation} is counted {:?}, not {messages}",
                    entry.seq, entry.number
                );
                return findings.add("K3", &[whole.line], what);
            }
        }
    }
}

/// Whether two looks at an entry may be of the same one; texts of deleted messages are erased later.
fn agree(book: &Book<'_>, one: &Seen, other: &Seen, erased: bool) -> bool {
    if one.body_hash == other.body_hash {
        return one == other;
    }
    erased
        && (one.body_hash == book.nothing || other.body_hash == book.nothing)
        && *one == Seen { body_hash: one.body_hash.clone(), ..other.clone() }
}

fn same_for_all(book: &Book<'_>, findings: &mut Findings) {
    let mut first: HashMap<(&str, u32), (usize, &Seen)> = HashMap::new();
    for (line, user, entry) in book.seen() {
        if let Some((conversation, whole)) =
            entry.conversation().and_then(|id| Some((id, book.finals.get(&id)?)))
        {
            let at = entry.seq.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            let Some(truth) = at.and_then(|at| whole.log.get(at)) else {
                let what = format!("{} {} was seen and is not in the log", entry.log, entry.seq);
                findings.add("K3", &[line, whole.line], what);
                continue;
            };
            if entry.kind == "hidden" {
                let since =
                    |target: u32| book.memberships(conversation, user).iter().any(|m| target < m.since);
                if !truth.message.is_some_and(since) || entry.author != truth.author && entry.author != 0 {
                    let what = format!("{} {} was hidden from {user}, who may see it", entry.log, entry.seq);
                    findings.add("K3", &[line, whole.line], what);
                }
                continue;
            }
            let erased = whole.deleted.contains(&truth.message.unwrap_or(truth.seq));
            if !agree(book, entry, truth, erased) {
                let what = format!("{} {} was seen as something else than it is", entry.log, entry.seq);
                findings.add("K3", &[line, whole.line], what);
            }
        } else if entry.kind != "hidden" {
            let (before, same) = *first.entry((&entry.log, entry.seq)).or_insert((line, entry));
            // A log that nobody read as a whole: a deletion may have come between.
            if !agree(book, entry, same, entry.conversation().is_some()) {
                let what = format!("{} {} was seen as two different things", entry.log, entry.seq);
                findings.add("K3", &[before, line], what);
            }
        }
    }
}

/// Pages have no holes and begin where they were asked to.
fn pages(book: &Book<'_>, findings: &mut Findings) {
    for call in &book.calls {
        let (Outcome::Done { page: Some(page), .. }, Some(line)) = (&call.outcome, call.ended) else {
            continue;
        };
        let holes = page.windows(2).any(|pair| pair[1].seq != pair[0].seq + 1);
        let begins = match (call.op, page.first()) {
            (Op::Read { conversation, after }, Some(first)) => {
                let periods = book.memberships(*conversation, call.user);
                first.seq == after + 1
                    || !book.finals.contains_key(conversation)
                    || periods.iter().any(|m| m.since > *after && m.since == first.seq)
            }
            _ => true,
        };
        if holes || !begins {
            findings.add("K3", &[call.asked, line], "a page has a hole");
        }
    }
}

/// What is asked after an answer must stand after it, and a look must show it.
fn real_time(book: &Book<'_>, findings: &mut Findings) {
    enum Moment<'b> {
        Told(u32),
        Asked(u32, &'b str),
        Looked(&'b super::book::Call<'b>),
    }
    let mut moments: Vec<(usize, u32, Moment<'_>)> = Vec::new();
    for ((_, client_id), post) in &book.posts {
        let Some((seq, told)) = post.done else { continue };
        moments.push((told, post.conversation, Moment::Told(seq)));
        if let Some(first) = post.tries.first() {
            moments.push((book.calls[*first].asked, post.conversation, Moment::Asked(seq, client_id)));
        }
    }
    for call in &book.calls {
        if let (Op::Say { body_hash, .. }, Some(seq)) = (call.op, book.seq_of(call)) {
            moments.push((call.asked, call.op.conversation(), Moment::Asked(seq, body_hash)));
            if let (Outcome::Done { .. }, Some(ended)) = (&call.outcome, call.ended) {
                moments.push((ended, call.op.conversation(), Moment::Told(seq)));
            }
        }
        if matches!(call.op, Op::Read { .. } | Op::Latest { .. }) {
            moments.push((call.asked, call.op.conversation(), Moment::Looked(call)));
        }
    }
    moments.sort_by_key(|(line, _, _)| *line);
    let mut told: HashMap<u32, (u32, usize)> = HashMap::new();
    for (line, conversation, moment) in moments {
        let (highest, at) = told.get(&conversation).copied().unwrap_or_default();
        match moment {
            Moment::Told(seq) if seq > highest => {
                told.insert(conversation, (seq, line));
            }
            Moment::Told(_) => {}
            Moment::Asked(seq, client_id) if seq <= highest => {
                let what = format!(
                    "{client_id} got {seq} in c{conversation} although {highest} was told before it was asked"
                );
                findings.add("K4", &[at, line], what);
            }
            Moment::Asked(..) => {}
            Moment::Looked(call) => {
                let Outcome::Done { page: Some(page), more: false, .. } = &call.outcome else { continue };
                let last = match (page.last(), call.op) {
                    (Some(entry), _) => entry.seq,
                    (None, Op::Read { after, .. }) => *after,
                    (None, _) => 0,
                };
                // Only what he could see: in a membership that had begun.
                let whole = book
                    .memberships(conversation, call.user)
                    .iter()
                    .any(|m| m.opened < line && m.joined <= last && m.shows(highest));
                if whole && last < highest {
                    let what = format!(
                        "a look at c{conversation} ends at {last} although {highest} was told before"
                    );
                    findings.add("K4", &[at, line, call.ended.unwrap_or(line)], what);
                }
            }
        }
    }
}

/// Each device's messages in the order in which it asked on one connection, and after what it had seen.
fn devices(book: &Book<'_>, findings: &mut Findings) {
    let mut connection: HashMap<u32, usize> = HashMap::new();
    let mut highest: HashMap<(u32, usize, u32), (u32, usize)> = HashMap::new();
    let mut calls = book.calls.iter().enumerate().peekable();
    for (line, record) in book.records.iter().enumerate() {
        match &record.what {
            What::Open { .. } => *connection.entry(record.client).or_default() += 1,
            What::Invoke { .. } => {
                let Some((index, call)) = calls.next_if(|(_, call)| call.asked == line) else { continue };
                let Op::Post { conversation, client_id, seen, body_hash } = call.op else { continue };
                // Whoever was refused and asks again has given up his place.
                if matches!(call.outcome, Outcome::Failed(_)) {
                    continue;
                }
                let Some(post) = book.posts.get(&(call.user, client_id)) else { continue };
                let Some((seq, told)) = post.done.filter(|_| *body_hash == post.body_hash) else { continue };
                let key =
                    (call.client, connection.get(&call.client).copied().unwrap_or_default(), *conversation);
                let first_time = post.tries.first() == Some(&index);
                let (before, at) = highest.get(&key).copied().unwrap_or_default();
                if first_time && seq <= before {
                    let what = format!("{client_id} got {seq}, what the device sent before it {before}");
                    findings.add("K5", &[at, line, told], what);
                }
                if first_time && seq <= *seen {
                    let what = format!("{client_id} got {seq} although the device had seen {seen}");
                    findings.add("K5", &[line, told], what);
                }
                if seq > before {
                    highest.insert(key, (seq, line));
                }
            }
            _ => {}
        }
    }
}
