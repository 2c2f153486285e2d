//! K1, K2, K11: what is in the logs is what was asked for, once, and answered the same each time.

use std::collections::{HashMap, HashSet};

use super::{
    Findings,
    book::{Book, Outcome, Post},
};
use crate::history::{Op, Seen};

pub(super) fn check(book: &Book<'_>, findings: &mut Findings) {
    let stored = stored(book);
    for ((user, client_id), post) in &book.posts {
        let places = stored.get(&(*user, *client_id)).map_or(&[][..], Vec::as_slice);
        once(book, client_id, post, places, findings);
        same_answer(book, client_id, post, findings);
    }
    provenance(book, findings);
}

/// Where each message of the final logs is, by author and name.
fn stored<'h>(book: &Book<'h>) -> HashMap<(u32, &'h str), Vec<(u32, u32)>> {
    let mut stored: HashMap<_, Vec<_>> = HashMap::new();
    for (conversation, whole) in &book.finals {
        for entry in whole.log.iter().filter(|entry| entry.kind == "message") {
            if let Some(client_id) = &entry.client_id {
                stored
                    .entry((entry.author, client_id.as_str()))
                    .or_default()
                    .push((*conversation, entry.seq));
            }
        }
    }
    stored
}

fn once(book: &Book<'_>, client_id: &str, post: &Post, places: &[(u32, u32)], findings: &mut Findings) {
    let Some(whole) = book.finals.get(&post.conversation) else { return };
    let asked = post.tries.first().map_or(0, |index| book.calls[*index].asked);
    if places.len() > 1 {
        findings.add("K1", &[asked, whole.line], format!("{client_id} is stored more than once: {places:?}"));
    }
    if let Some((seq, line)) = post.done {
        if !places.contains(&(post.conversation, seq)) {
            let what = format!("{client_id} was acknowledged as {seq} and is stored at {places:?}");
            findings.add("K1", &[asked, line, whole.line], what);
        }
        return;
    }
    let refused = post.tries.iter().all(|index| matches!(book.calls[*index].outcome, Outcome::Failed(_)));
    if refused && !places.is_empty() {
        let ended = post.tries.iter().filter_map(|index| book.calls[*index].ended).next_back();
        let what = format!("{client_id} was refused and is stored at {places:?}");
        findings.add("K1", &[asked, ended.unwrap_or(asked), whole.line], what);
    }
}

fn same_answer(book: &Book<'_>, client_id: &str, post: &Post, findings: &mut Findings) {
    let Some((first, told)) = post.done else { return };
    for call in post.tries.iter().map(|index| &book.calls[*index]) {
        let Op::Post { body_hash, conversation, .. } = call.op else { continue };
        let same = *body_hash == post.body_hash && *conversation == post.conversation;
        match &call.outcome {
            Outcome::Done { .. } if !same => {
                let what = format!("{client_id} was accepted a second time with another text");
                findings.add("K11", &[told, call.asked], what);
            }
            Outcome::Done { seq, .. } if *seq != Some(first) => {
                let what = format!("{client_id} was answered {first} and then {seq:?}");
                findings.add("K11", &[told, call.ended.unwrap_or(call.asked)], what);
            }
            Outcome::Failed(code) if same && call.asked > told && *code != "too_many" => {
                let what = format!("{client_id} was acknowledged as {first} and then refused: {code}");
                findings.add("K11", &[told, call.ended.unwrap_or(call.asked)], what);
            }
            _ => {}
        }
    }
}

/// What somebody asked for, in a form in which entries can be looked up.
type Wish<'h> = (u32, u32, &'h str, u32, &'h str);

fn provenance(book: &Book<'_>, findings: &mut Findings) {
    let mut wishes: HashSet<Wish<'_>> = HashSet::new();
    for call in &book.calls {
        if matches!(call.outcome, Outcome::Failed(_)) {
            continue;
        }
        let (user, place) = (call.user, call.op.conversation());
        match call.op {
            Op::Say { body_hash, .. } => {
                wishes.insert((user, place, "message", 0, body_hash));
            }
            Op::Edit { message, body_hash, .. } => {
                wishes.insert((user, place, "edited", *message, body_hash));
            }
            Op::Touch { message, kind, .. } => {
                wishes.insert((user, place, kind, *message, ""));
            }
            Op::Enter { subject, .. } => {
                wishes.insert((user, place, "joined", *subject, ""));
            }
            Op::Leave { subject, .. } => {
                wishes.insert((user, place, "left", *subject, ""));
                wishes.insert((user, place, "removed", *subject, ""));
            }
            _ => {}
        }
    }
    let mut judged: HashSet<(u32, u32, &str)> = HashSet::new();
    for (conversation, whole) in &book.finals {
        for entry in whole.log {
            judged.insert((*conversation, entry.seq, &entry.body_hash));
            from_nowhere(book, &wishes, *conversation, entry, whole.line, findings);
            let target = entry.message.unwrap_or(entry.seq);
            let erased =
                whole.deleted.contains(&target) && matches!(entry.kind.as_str(), "message" | "edited");
            if erased && entry.body_hash != book.nothing {
                let what = format!("the text of the deleted message {target} is still in c{conversation}");
                findings.add("K2", &[whole.line], what);
            }
        }
    }
    for (line, _user, entry) in book.seen() {
        let Some(conversation) = entry.conversation().filter(|id| book.finals.contains_key(id)) else {
            continue;
        };
        // What equals the log was judged with it; what does not is also found by K3.
        if !judged.contains(&(conversation, entry.seq, &entry.body_hash)) {
            from_nowhere(book, &wishes, conversation, entry, line, findings);
        }
    }
}

fn from_nowhere(
    book: &Book<'_>,
    wishes: &HashSet<Wish<'_>>,
    conversation: u32,
    entry: &Seen,
    line: usize,
    findings: &mut Findings,
) {
    let author = entry.author;
    let deleted = |seq: u32| {
        entry.body_hash == book.nothing
            && book.finals.get(&conversation).is_some_and(|whole| whole.deleted.contains(&seq))
    };
    let wished = |about: Option<u32>, body: &str| {
        wishes.contains(&(author, conversation, entry.kind.as_str(), about.unwrap_or_default(), body))
    };
    let asked = match entry.kind.as_str() {
        "message" => {
            let key = (author, entry.client_id.as_deref().unwrap_or_default());
            book.posts.get(&key).is_some_and(|post| {
                post.conversation == conversation && (post.body_hash == entry.body_hash || deleted(entry.seq))
            }) || wished(None, &entry.body_hash)
        }
        "edited" => wished(entry.message, &entry.body_hash) || entry.message.is_some_and(deleted),
        "deleted" | "reacted" | "unreacted" => wished(entry.message, ""),
        "joined" | "left" | "removed" => wished(entry.subject, ""),
        _ => true,
    };
    if !asked {
        let what = format!(
            "c{conversation} {}: {} by {author}, which nobody asked for in this form",
            entry.seq, entry.kind
        );
        findings.add("K2", &[line], what);
    }
}
