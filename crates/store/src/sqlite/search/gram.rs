//! What a text is found by: its grams, and the tokens for its conversation, its author and its links.
//!
//! A gram is a part of a word of one to three characters. Three of them stand for every place in a word; one or two
//! only for the places where a short term may begin ([`term::begins`]). So a term's grams are all among those of a
//! text in which it occurs, but not the other way round: what is found is looked at before it is believed.
//!
//! A gram becomes a token of FTS5's `ascii` tokenizer: signs that would separate tokens are written as characters
//! from the private use area. Whatever somebody types can therefore not be mistaken for the syntax of a query.

use chinwag_domain::reading::{
    search::{Wanted, holds_link},
    term,
};
use chinwag_protocol::{ConversationId, UserId};

/// More grams of one term would only cost time.
const GRAMS_MAX: usize = 12;

/// Searches in more conversations than this are not narrowed to them by tokens.
const CONVERSATIONS_MAX: usize = 64;

const LINK: &str = "link";

/// One to three characters.
type Gram = [char; 3];

/// Stands where a gram has no character; a text that holds it only finds more than it should.
const NONE: char = '\0';

/// The tokens of a document, separated by spaces.
pub(super) fn tokens(conversation: ConversationId, by: UserId, folded: &str) -> String {
    let mut grams: Vec<Gram> = Vec::with_capacity(2 * folded.len());
    for word in folded.split_whitespace() {
        grams_of_word(word, &mut grams);
    }
    grams.sort_unstable();
    grams.dedup();
    let mut tokens = format!("{} {}", conversation_token(conversation), author_token(by));
    tokens.reserve(5 * grams.len());
    if holds_link(folded) {
        tokens.push(' ');
        tokens.push_str(LINK);
    }
    for gram in &grams {
        tokens.push(' ');
        push(&mut tokens, gram);
    }
    tokens
}

/// What FTS5 is asked for; `None` if nothing narrows the search.
pub(super) fn expression(wanted: &Wanted) -> Option<String> {
    let mut grams: Vec<Gram> = Vec::new();
    for part in wanted.words.iter().chain(&wanted.phrases) {
        grams_of_term(part, &mut grams);
    }
    grams.sort_unstable();
    grams.dedup();
    let mut all: Vec<String> = Vec::with_capacity(grams.len() + 3);
    for gram in &grams {
        let mut token = String::new();
        push(&mut token, gram);
        all.push(format!("\"{token}\""));
    }
    if wanted.has_link {
        all.push(format!("\"{LINK}\""));
    }
    if let Some(by) = wanted.from {
        all.push(format!("\"{}\"", author_token(by)));
    }
    if wanted.readable.len() <= CONVERSATIONS_MAX {
        let within: Vec<String> = wanted
            .readable
            .iter()
            .map(|readable| format!("\"{}\"", conversation_token(readable.conversation)))
            .collect();
        all.push(format!("({})", within.join(" OR ")));
    }
    (!all.is_empty()).then(|| all.join(" AND "))
}

// Grams have at most three characters, so these cannot be taken for one.
fn conversation_token(conversation: ConversationId) -> String {
    format!("within{}", conversation.0)
}

fn author_token(by: UserId) -> String {
    format!("from{}", by.0)
}

fn grams_of_word(word: &str, grams: &mut Vec<Gram>) {
    let mut before: Option<char> = None;
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        let mut following = rest.clone();
        let (second, third) = (following.next(), following.next());
        if term::begins(before, c) {
            grams.push([c, NONE, NONE]);
            grams.extend(second.map(|second| [c, second, NONE]));
        }
        grams.extend(second.zip(third).map(|(second, third)| [c, second, third]));
        before = Some(c);
    }
}

fn grams_of_term(term: &str, grams: &mut Vec<Gram>) {
    let mut taken = 0;
    let starts_with_space = term.starts_with(char::is_whitespace);
    for (index, piece) in term.split_whitespace().enumerate() {
        let chars: Vec<char> = piece.chars().collect();
        match chars[..] {
            [] => {}
            [c] | [c, _] => {
                // Where the first piece of a longer term stands, no word need begin.
                let at_beginning = index > 0 || starts_with_space || term::is_short(term);
                if at_beginning || !term::is_word(c) {
                    grams.push([c, chars.get(1).copied().unwrap_or(NONE), NONE]);
                    taken += 1;
                }
            }
            _ => {
                // Every third place and the last one: together they cover the whole piece.
                let last = chars.len() - 3;
                for at in (0..last).step_by(3).chain([last]) {
                    grams.push([chars[at], chars[at + 1], chars[at + 2]]);
                    taken += 1;
                    if taken >= GRAMS_MAX {
                        return;
                    }
                }
            }
        }
    }
}

fn push(token: &mut String, gram: &Gram) {
    for (index, c) in gram.iter().enumerate() {
        match *c {
            NONE if index > 0 => {}
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                token.push(char::from_u32(0xE000 + u32::from(c)).unwrap_or('\u{E000}'));
            }
            c => token.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chinwag_domain::reading::fold;
    use proptest::prelude::*;

    use super::*;

    fn found(term: &str, text: &str) -> bool {
        let tokens = tokens(ConversationId(1), UserId(1), text);
        let tokens: HashSet<&str> = tokens.split(' ').collect();
        let mut grams = Vec::new();
        grams_of_term(term, &mut grams);
        grams.iter().all(|gram| {
            let mut token = String::new();
            push(&mut token, gram);
            tokens.contains(token.as_str())
        })
    }

    #[test]
    fn a_text_has_its_grams_once() {
        let tokens = tokens(ConversationId(7), UserId(3), "aha! aha http://x");
        let mut expected =
            "within7 from3 link a ah aha ha\u{E021} \u{E021} h ht htt ttp tp\u{E03A} p\u{E03A}\u{E02F} \
             \u{E03A} \u{E03A}\u{E02F} \u{E03A}\u{E02F}\u{E02F} \u{E02F} \u{E02F}\u{E02F} \u{E02F}\u{E02F}x \
             \u{E02F}x x"
                .split(' ')
                .collect::<Vec<_>>();
        let mut tokens: Vec<&str> = tokens.split(' ').collect();
        tokens.sort_unstable();
        expected.sort_unstable();
        assert_eq!(tokens, expected);
    }

    #[test]
    fn an_expression_quotes_everything() {
        let wanted = Wanted {
            words: vec!["\"a*\"".into(), "near(".into()],
            has_link: true,
            from: Some(UserId(2)),
            ..Wanted::default()
        };
        let expression = expression(&wanted).unwrap();
        assert!(!expression.contains('*') && !expression.contains("near("), "{expression}");
        assert!(expression.contains("\"from2\"") && expression.contains("\"link\""), "{expression}");
    }

    proptest! {
        #[test]
        fn whatever_occurs_is_found(text in "([abAé東京\"*(): 👍ß.-]|\\PC){0,30}", from in 0..30_usize, length in 1..9_usize) {
            let text = fold(&text);
            let term: String = text.chars().skip(from).take(length).collect();
            prop_assume!(term::occurs(&text, &term));
            prop_assert!(found(&term, &text), "{term:?} in {text:?}");
        }
    }
}
