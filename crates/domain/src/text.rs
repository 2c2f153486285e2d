//! What a message may say, and what is found in it: mentions, links, emoji.
//!
//! Text stays text: nothing here renders, escapes or cleans it. What may not be stored is refused.

use chinwag_protocol::Refused;
use unicode_normalization::char::is_combining_mark;

pub use crate::reading::fold as fold_text;
use crate::{
    limits::{COMBINING_MARKS_MAX, LINKS_MAX, MENTIONS_MAX, MESSAGE_BYTES_MAX, MESSAGE_CHARACTERS_MAX},
    names::is_name_character,
};

/// Whether a message may say this.
pub fn check_message(text: &str) -> Result<(), Refused> {
    if is_blank(text) {
        return Err(Refused::invalid("text", "text_empty", "a message says something"));
    }
    check_caption(text)
}

/// The same for what is said beside files: it may be nothing.
pub fn check_caption(text: &str) -> Result<(), Refused> {
    if text.len() > MESSAGE_BYTES_MAX {
        let why = format!("a message has at most {MESSAGE_BYTES_MAX} bytes, this has {}", text.len());
        return Err(Refused::too_large("text", why));
    }
    let mut characters = 0;
    let mut marks = 0;
    for c in text.chars() {
        characters += 1;
        marks = if !c.is_ascii() && is_combining_mark(c) { marks + 1 } else { 0 };
        if marks > COMBINING_MARKS_MAX {
            let why = format!("a character has at most {COMBINING_MARKS_MAX} combining marks");
            return Err(Refused::too_large("text", why));
        }
        if c.is_control() && c != '\n' && c != '\t' {
            let why = format!("a message may not contain the control character U+{:04X}", u32::from(c));
            return Err(Refused::invalid("text", "control_character", why));
        }
    }
    if characters > MESSAGE_CHARACTERS_MAX {
        let why = format!("a message has at most {MESSAGE_CHARACTERS_MAX} characters, this has {characters}");
        return Err(Refused::too_large("text", why));
    }
    if links(text) > LINKS_MAX {
        return Err(Refused::too_large("text", format!("a message has at most {LINKS_MAX} links")));
    }
    if mention_places(text).count() > MENTIONS_MAX {
        return Err(Refused::too_large("text", format!("a message mentions at most {MENTIONS_MAX} times")));
    }
    Ok(())
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'))
}

/// Whom a text names with `@`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// It says `@everyone` or `@here`.
    pub all: bool,
    /// For each `@name`, the handles it may mean, the longest first: `@anna.` means `anna.` if there is such a
    /// user, and `anna` otherwise.
    pub names: Vec<Vec<String>>,
}

/// Finds mentions. Each name once, in the order of the text.
pub fn mentions(text: &str) -> Mentions {
    let mut found = Mentions::default();
    for word in mention_places(text) {
        let short = word.trim_end_matches(['.', '-', '_']);
        if ["everyone", "here"].iter().any(|all| short.eq_ignore_ascii_case(all)) {
            found.all = true;
            continue;
        }
        let mut candidates = vec![word.to_owned()];
        let mut rest = word;
        while let Some(shorter) = rest.strip_suffix(['.', '-', '_'])
            && !shorter.is_empty()
        {
            candidates.push(shorter.to_owned());
            rest = shorter;
        }
        // Nobody is called by 33 characters; this bounds the look-ups of `@a......`.
        candidates.retain(|candidate| candidate.chars().count() <= crate::limits::HANDLE_CHARACTERS_MAX);
        if candidates.len() > 4 {
            candidates.drain(1..candidates.len() - 3);
        }
        if !candidates.is_empty() && !found.names.contains(&candidates) {
            found.names.push(candidates);
        }
    }
    found
}

/// The words after each `@` that begins a mention; `a@b` is an address and none.
fn mention_places(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('@').filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| is_name_character(c) || c == '@') {
            return None;
        }
        let rest = &text[at + 1..];
        let end = rest.find(|c| !is_name_character(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        word.chars().any(char::is_alphanumeric).then_some(word)
    })
}

/// How many links a text has.
pub fn links(text: &str) -> usize {
    text.match_indices("://").filter(|(at, _)| ends_with_scheme(&text.as_bytes()[..*at])).count()
}

/// Whether a text has a link.
pub fn has_link(text: &str) -> bool {
    links(text) > 0
}

fn ends_with_scheme(before: &[u8]) -> bool {
    [&b"http"[..], b"https"].iter().any(|scheme| {
        before.len() >= scheme.len() && before[before.len() - scheme.len()..].eq_ignore_ascii_case(scheme)
    })
}

/// The emoji that a reaction means, in its one spelling; anything else is refused.
pub fn reaction(emoji: &str) -> Result<&'static str, Refused> {
    // The longest emoji has 35 bytes; what is longer need not be looked up.
    // `1` alone is a digit, although the table takes it for a keycap.
    let found = (emoji.len() <= 64 && !emoji.is_ascii()).then(|| emojis::get(emoji)).flatten();
    found.map(emojis::Emoji::as_str).ok_or_else(|| {
        Refused::invalid("emoji", "not_an_emoji", "a reaction is one emoji that is known to this server")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        check_message(text).map_or_else(|refused| refused.code, |()| "ok".into())
    }

    #[test]
    fn a_message_keeps_its_limits() {
        for (text, expected) in [
            ("hello".to_owned(), "ok"),
            ("a\n\tb".into(), "ok"),
            (" \n ".into(), "text_empty"),
            ("\u{200b}\u{feff}".into(), "text_empty"),
            (String::new(), "text_empty"),
            ("a\0".into(), "control_character"),
            ("a\u{1b}[2J".into(), "control_character"),
            ("a\r\nb".into(), "control_character"),
            ("a\u{85}b".into(), "control_character"),
            ("a\u{202e}b".into(), "ok"),
            ("x".repeat(MESSAGE_CHARACTERS_MAX - 1), "ok"),
            ("x".repeat(MESSAGE_CHARACTERS_MAX), "ok"),
            ("x".repeat(MESSAGE_CHARACTERS_MAX + 1), "too_large"),
            ("😀".repeat(MESSAGE_BYTES_MAX / 4), "ok"),
            (format!("{}x", "😀".repeat(MESSAGE_BYTES_MAX / 4)), "too_large"),
            (format!("{}xyz", "😀".repeat(MESSAGE_BYTES_MAX / 4 - 1)), "ok"),
            (format!("a{}", "\u{301}".repeat(COMBINING_MARKS_MAX)), "ok"),
            (format!("a{}", "\u{301}".repeat(COMBINING_MARKS_MAX + 1)), "too_large"),
            ("http://a.b ".repeat(LINKS_MAX), "ok"),
            ("HTTPS://a.b ".repeat(LINKS_MAX + 1), "too_large"),
            ("@anna ".repeat(MENTIONS_MAX), "ok"),
            ("@anna ".repeat(MENTIONS_MAX + 1), "too_large"),
            ("a@anna ".repeat(MENTIONS_MAX + 1), "ok"),
        ] {
            assert_eq!(code(&text), expected, "{:?}", text.chars().take(40).collect::<String>());
        }
    }

    #[test]
    fn finds_whom_a_text_mentions() {
        let names = |text: &str| {
            let found = mentions(text);
            let first = found.names.iter().map(|names| names.join("|")).collect::<Vec<_>>().join(" ");
            if found.all { format!("{first} ALL") } else { first }
        };
        for (text, expected) in [
            ("hi @anna!", "anna"),
            ("@Anna, @bob: and @anna", "Anna bob anna"),
            ("@anna @anna", "anna"),
            ("ask @anna.", "anna.|anna"),
            ("(@o.b-c_d)", "o.b-c_d"),
            ("@王小明，你好", "王小明"),
            ("@e\u{301}va x", "e\u{301}va"),
            ("mail@anna.org", ""),
            ("@@anna", ""),
            ("@ anna @. @", ""),
            ("@everyone", " ALL"),
            ("@HERE. and @bob", "bob ALL"),
            ("@everyone2", "everyone2"),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
        let many = mentions(&format!("@a{}", ".".repeat(31)));
        assert!(many.names[0].len() <= 4 && many.names[0].last().unwrap() == "a", "{many:?}");
    }

    #[test]
    fn a_reaction_is_a_known_emoji_in_one_spelling() {
        for (emoji, expected) in [
            ("👍", Some("👍")),
            ("👍🏽", Some("👍🏽")),
            ("❤️", Some("❤️")),
            ("❤", Some("❤️")),
            ("👩‍👩‍👧‍👦", Some("👩‍👩‍👧‍👦")),
            ("🇵🇱", Some("🇵🇱")),
            ("1️⃣", Some("1️⃣")),
            ("a", None),
            ("", None),
            ("1", None),
            ("👍👍", None),
            (":+1:", None),
            ("<b>", None),
        ] {
            assert_eq!(reaction(emoji).ok(), expected, "{emoji}");
        }
    }

    #[test]
    fn fuzz_text() {
        bolero::check!().with_type::<String>().for_each(|text| {
            if check_message(text).is_ok() {
                assert!(text.len() <= MESSAGE_BYTES_MAX && !text.contains('\0') && !text.trim().is_empty());
            }
            let found = mentions(text);
            assert!(found.names.iter().all(|names| !names.is_empty() && names.len() <= 4));
            let _ = (links(text), reaction(text));
        });
    }
}
