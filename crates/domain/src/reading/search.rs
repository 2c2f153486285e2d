//! What a search asks of a store, and what the store answers.
//!
//! A store answers with messages the rules let the viewer read: `readable` says which, and nothing else may be
//! looked at. Text is compared folded ([`super::fold`]), so that case and accents do not matter.

use chinwag_protocol::{ConversationId, Event, Item, Millis, Refused, SearchHit, SearchPage, Seq, UserId};

use super::{Viewer, fold::Traced, history::message_item, term, typed::Typed, view::open};
use crate::{
    facts::{Known, Stop},
    limits::SEARCH_PAGE_MAX,
    names,
    record::Owner,
};

/// A part of a conversation that the viewer may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readable {
    /// Which.
    pub conversation: ConversationId,
    /// The first entry he may see.
    pub since: Seq,
}

/// A parsed search. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Folded words; each must occur, see [`term`].
    pub words: Vec<String>,
    /// Folded phrases; each must occur as written, see [`term`].
    pub phrases: Vec<String>,
    /// Only of this author.
    pub from: Option<UserId>,
    /// Only recorded before this time.
    pub before: Option<Millis>,
    /// Only recorded at or after this time.
    pub after: Option<Millis>,
    /// Only messages that hold a link.
    pub has_link: bool,
    /// Only in these; narrowed by `in:`.
    pub readable: Vec<Readable>,
    /// Go on below this: the `next` of the page before.
    pub below: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl Wanted {
    /// Whether a text, folded, fulfils the conditions on texts.
    pub fn fits(&self, folded: &str) -> bool {
        self.words.iter().chain(&self.phrases).all(|part| term::occurs(folded, part))
            && (!self.has_link || holds_link(folded))
    }
}

/// Whether a folded text holds a link.
pub fn holds_link(folded: &str) -> bool {
    folded.contains("https://") || folded.contains("http://")
}

/// What was found: messages, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where each message is.
    pub hits: Vec<(ConversationId, Seq)>,
    /// For `below` of the next page; absent at the end.
    pub next: Option<u64>,
}

/// About so many bytes of text are shown around a match.
const CONTEXT_BYTES: usize = 160;

/// Answers a search.
pub(super) fn search(viewer: &Viewer<'_>, text: &str, page: Option<&str>, limit: u16) -> Known<SearchPage> {
    let typed = Typed::parse(text)?;
    let below = match page {
        Some(page) => Some(u64::from_str_radix(page, 16).map_err(|_| {
            Refused::invalid("page", "bad_page", "this is not the next of a page of results")
        })?),
        None => None,
    };
    let nothing = SearchPage { hits: Vec::new(), next: None };
    let Some(wanted) = wanted(viewer, typed, below, usize::from(limit).clamp(1, SEARCH_PAGE_MAX))? else {
        return Ok(nothing);
    };
    let found = viewer.reader.search(&wanted)?;
    let mut hits = Vec::with_capacity(found.hits.len());
    for (conversation, seq) in found.hits {
        // The index may lag behind a removal or a deletion: what counts is what may be read now.
        let Ok((_, member)) = viewer.member(conversation) else { continue };
        match message_item(viewer.reader, &member, seq) {
            Ok(item) => hits.extend(hit(item, &wanted)),
            Err(Stop::Refused(_)) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(SearchPage { hits, next: found.next.map(|next| format!("{next:x}")) })
}

/// The search with names looked up; `None` if it can find nothing.
fn wanted(viewer: &Viewer<'_>, typed: Typed, below: Option<u64>, limit: usize) -> Known<Option<Wanted>> {
    if typed.is_empty() {
        return Ok(None);
    }
    let from = match &typed.from {
        Some(handle) => match author(viewer, handle)? {
            Some(user) => Some(user),
            None => return Ok(None),
        },
        None => None,
    };
    let readable = readable(viewer, typed.within.as_deref())?;
    if readable.is_empty() {
        return Ok(None);
    }
    Ok(Some(Wanted {
        words: typed.words,
        phrases: typed.phrases,
        from,
        before: typed.before,
        after: typed.after,
        has_link: typed.has_link,
        readable,
        below,
        limit,
    }))
}

fn author(viewer: &Viewer<'_>, handle: &str) -> Known<Option<UserId>> {
    if handle.eq_ignore_ascii_case("me") {
        return Ok(Some(viewer.user.id));
    }
    Ok(match viewer.reader.name(&names::fold(handle))?.map(|name| name.owner) {
        Some(Owner::User(user)) => Some(user),
        _ => None,
    })
}

/// What the viewer may read; with `within`, only the conversation of that handle, that name, or with that user.
fn readable(viewer: &Viewer<'_>, within: Option<&str>) -> Known<Vec<Readable>> {
    let reader = viewer.reader;
    let owner = match within {
        Some(handle) => reader.name(&names::fold(handle))?.map(|name| name.owner),
        None => None,
    };
    let name = within.map(super::fold);
    let mut readable = Vec::new();
    for member in reader.memberships(viewer.user.id)? {
        let Some(conversation) = open(reader, member.conversation)? else { continue };
        let fits = match (&name, owner) {
            (None, _) => true,
            (Some(_), Some(Owner::Conversation(id))) => id == conversation.id,
            (Some(_), Some(Owner::User(user))) => conversation.other(viewer.user.id) == Some(user),
            (Some(name), None) => super::fold(&conversation.name) == *name,
        };
        if fits {
            readable.push(Readable { conversation: conversation.id, since: member.since });
        }
    }
    Ok(readable)
}

/// A found message with its context; `None` if its text is gone.
fn hit(item: Item, wanted: &Wanted) -> Option<SearchHit> {
    let Event::Message(body) = &item.entry.event else { return None };
    let state = item.state.as_ref();
    if state.is_some_and(|state| state.deleted) {
        return None;
    }
    let text = state.and_then(|state| state.text.as_deref()).unwrap_or(&body.text);
    let (context, marks) = context(text, &wanted.words, &wanted.phrases);
    Some(SearchHit { context, marks, item })
}

/// The part of the line around the first match, and where in it the matches are.
fn context(text: &str, words: &[String], phrases: &[String]) -> (String, Vec<(u32, u32)>) {
    let traced = Traced::new(text);
    let mut matches: Vec<(usize, usize)> = words
        .iter()
        .chain(phrases)
        .flat_map(|term| traced.matches(term))
        .map(|(from, to)| (from as usize, to as usize))
        .collect();
    matches.sort_unstable();
    let (from, to) = around(text, matches.first().copied().unwrap_or((0, 0)));
    let mut marks: Vec<(u32, u32)> = Vec::new();
    for (start, end) in matches {
        let (start, end) = (start.max(from), end.min(to));
        if start >= end {
            continue;
        }
        let mark = (offset(start - from), offset(end - from));
        match marks.last_mut() {
            Some(last) if mark.0 <= last.1 => last.1 = last.1.max(mark.1),
            _ => marks.push(mark),
        }
    }
    (text[from..to].to_owned(), marks)
}

/// The line that holds a match, shortened to the words around it if it is long.
fn around(text: &str, (start, end): (usize, usize)) -> (usize, usize) {
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    // A phrase may reach over the end of its line: the context ends there all the same.
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    if line_end - line_start <= CONTEXT_BYTES {
        return (line_start, line_end);
    }
    let spare = CONTEXT_BYTES.saturating_sub(end.clamp(start, line_end) - start);
    let wished = start.saturating_sub(spare / 3).min(line_end - CONTEXT_BYTES).max(line_start);
    let mut from = text.ceil_char_boundary(wished.min(start));
    let to = text.floor_char_boundary((from + CONTEXT_BYTES).min(line_end));
    if from > line_start
        && let Some(space) = text[from..start].find(char::is_whitespace)
    {
        from = text.ceil_char_boundary(from + space + 1);
    }
    (from, to)
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::context;

    fn marked(text: &str, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| super::super::fold(word)).collect();
        let (context, marks) = context(text, &words, &[]);
        let mut shown = context.clone();
        for (from, to) in marks.into_iter().rev() {
            shown.insert(to as usize, ']');
            shown.insert(from as usize, '[');
        }
        shown
    }

    #[test]
    fn the_context_is_the_line_of_the_first_match() {
        for (text, words, expected) in [
            (
                "one\ntwo TWO three\nfour",
                vec!["two"],
                "one\n[two] [TWO] three\nfour".split('\n').nth(1).unwrap(),
            ),
            ("overlapping", vec!["over", "verla"], "[overla]pping"),
            ("nothing here\nat all", vec!["x"], "nothing here"),
            ("Ein Café", vec!["cafe"], "Ein [Café]"),
            ("", vec!["x"], ""),
        ] {
            assert_eq!(marked(text, &words), expected);
        }
    }

    #[test]
    fn a_long_line_is_shortened_around_the_match() {
        let text = format!("{} needle {}", "häy ".repeat(100), "straw ".repeat(100));
        let shown = marked(&text, &["needle"]);
        assert!(shown.contains("[needle]"), "{shown}");
        assert!(shown.len() <= 162, "{}", shown.len());
    }

    proptest::proptest! {
        #[test]
        fn marks_lie_in_the_context(text in "(\\PC|[ab \n]){0,400}", word in "[ab]{1,2}|\\PC") {
            let (context, marks) = context(&text, &[super::super::fold(&word)], &[]);
            proptest::prop_assert!(text.contains(&context));
            proptest::prop_assert!(context.len() <= 160);
            for (from, to) in marks {
                proptest::prop_assert!(from < to);
                proptest::prop_assert!(context.get(from as usize..to as usize).is_some());
            }
        }
    }
}
