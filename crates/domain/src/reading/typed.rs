//! What somebody typed into the search field, taken apart. Knows no user and no conversation.

use chinwag_protocol::{Millis, Refused};

use super::fold;
use crate::limits::{SEARCH_BYTES_MAX, SEARCH_TERMS_MAX};

/// A search as typed: names are still names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// Folded.
    pub(super) words: Vec<String>,
    /// Folded.
    pub(super) phrases: Vec<String>,
    /// A handle without `@`, or `me`.
    pub(super) from: Option<String>,
    /// A handle or name without `#` or `@`.
    pub(super) within: Option<String>,
    pub(super) before: Option<Millis>,
    pub(super) after: Option<Millis>,
    pub(super) has_link: bool,
}

impl Typed {
    /// Takes a search apart. Only `from: in: before: after: has:link` are operators: everything else is text.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > SEARCH_BYTES_MAX {
            return Err(Refused::too_large("text", format!("a search has at most {SEARCH_BYTES_MAX} bytes")));
        }
        let mut typed = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (term, after) = Term::next(rest);
            rest = after.trim_start();
            typed.take(term)?;
        }
        if typed.words.len() + typed.phrases.len() > SEARCH_TERMS_MAX {
            let why = format!("a search has at most {SEARCH_TERMS_MAX} words and phrases");
            return Err(Refused::invalid("text", "too_many_terms", why));
        }
        Ok(typed)
    }

    /// Whether nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn take(&mut self, term: Term<'_>) -> Result<(), Refused> {
        let value = term.value.trim();
        match term.operator.to_ascii_lowercase().as_str() {
            "" if term.quoted => keep(&mut self.phrases, value),
            "from" => self.from = Some(value.trim_start_matches('@').to_owned()),
            "in" => self.within = Some(value.trim_start_matches(['#', '@']).to_owned()),
            "before" => self.before = Some(date(value)?),
            "after" => self.after = Some(date(value)?),
            "has" if value.eq_ignore_ascii_case("link") => self.has_link = true,
            // Blanks too: an operator with nothing but them in quotation marks is a word without them.
            _ => keep(&mut self.words, term.whole.trim_matches(|c: char| c == '"' || c.is_whitespace())),
        }
        Ok(())
    }
}

fn keep(terms: &mut Vec<String>, text: &str) {
    let folded = fold(text);
    if !folded.trim().is_empty() && !terms.contains(&folded) {
        terms.push(folded);
    }
}

/// One term: `word`, `"phrase"`, `operator:value` or `operator:"value"`.
#[derive(Clone, Copy)]
struct Term<'t> {
    whole: &'t str,
    operator: &'t str,
    value: &'t str,
    quoted: bool,
}

const OPERATORS: [&str; 5] = ["from", "in", "before", "after", "has"];

impl<'t> Term<'t> {
    /// The first term of a text that does not begin with white space, and the rest.
    fn next(text: &'t str) -> (Self, &'t str) {
        let word_end = text.find(char::is_whitespace).unwrap_or(text.len());
        let operator = match text[..word_end].split_once(':') {
            Some((name, _)) if OPERATORS.iter().any(|known| known.eq_ignore_ascii_case(name)) => name,
            _ => "",
        };
        let start = if operator.is_empty() { 0 } else { operator.len() + 1 };
        let value = &text[start..];
        let (value, quoted, end) = match value.strip_prefix('"') {
            // An opening quotation mark without a closing one quotes the rest: one is still typing.
            Some(inner) => match inner.find('"') {
                Some(close) => (&inner[..close], true, start + close + 2),
                None => (inner, true, text.len()),
            },
            None => (&text[start..word_end.max(start)], false, word_end.max(start)),
        };
        // `from:` without a name is no operator.
        let operator = if value.trim().is_empty() { "" } else { operator };
        (Self { whole: &text[..end], operator, value, quoted: quoted && start == 0 }, &text[end..])
    }
}

/// The beginning of a day, in UTC.
fn date(text: &str) -> Result<Millis, Refused> {
    let wrong = || Refused::invalid("text", "bad_date", format!("{text} is not a date like 2026-05-31"));
    let digits = |part: &str, length: usize| -> Option<i64> {
        (part.len() == length && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let mut parts = text.splitn(3, '-');
    let mut part = |length| parts.next().and_then(|part| digits(part, length));
    let (Some(year), Some(month), Some(day)) = (part(4), part(2), part(2)) else { return Err(wrong()) };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(wrong()),
    };
    if !(1..=days_in_month).contains(&day) {
        return Err(wrong());
    }
    Ok(Millis(days_since_1970(year, month, day) * 24 * 3600 * 1000))
}

/// Counts days of the Gregorian calendar, with years that begin in March so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    fn words(words: &[&str]) -> Typed {
        Typed { words: words.iter().map(|word| (*word).to_owned()).collect(), ..Typed::default() }
    }

    #[test]
    fn takes_a_search_apart() {
        let from = |handle: &str| Typed { from: Some(handle.into()), ..Typed::default() };
        let within = |handle: &str| Typed { within: Some(handle.into()), ..Typed::default() };
        let phrase = |text: &str| Typed { phrases: vec![text.into()], ..Typed::default() };
        let cases = [
            ("", Typed::default()),
            ("  Hello  Wörld ", words(&["hello", "world"])),
            ("twice twice", words(&["twice"])),
            ("from:@Anna", from("Anna")),
            ("FROM:anna", from("anna")),
            ("in:#lab", within("lab")),
            ("in:\"Lab Group\"", within("Lab Group")),
            ("\"Exact  Phrase\"", phrase("exact  phrase")),
            ("\"not closed yet", phrase("not closed yet")),
            ("has:link", Typed { has_link: true, ..Typed::default() }),
            ("has:teeth", words(&["has:teeth"])),
            ("re:zero", words(&["re:zero"])),
            ("from:", words(&["from:"])),
            ("from:\" ", words(&["from:"])),
            ("https://example.org/a", words(&["https://example.org/a"])),
            ("before:1970-01-02", Typed { before: Some(Millis(DAY)), ..Typed::default() }),
            ("after:2024-03-01", Typed { after: Some(Millis(19_783 * DAY)), ..Typed::default() }),
            ("\"\" \"\u{301}\"", Typed::default()),
        ];
        for (text, expected) in cases {
            assert_eq!(Typed::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "before:yesterday",
            "after:2024-13-01",
            "after:2023-02-29",
            "before:2024-1-1",
            "before:2024-01-00",
        ] {
            assert_eq!(Typed::parse(text).unwrap_err().code, "bad_date", "{text}");
        }
        assert!(Typed::parse("after:2024-02-29").is_ok());
    }

    #[test]
    fn keeps_to_the_limits() {
        assert!(Typed::parse(&"a".repeat(SEARCH_BYTES_MAX)).is_ok());
        assert_eq!(Typed::parse(&"a".repeat(SEARCH_BYTES_MAX + 1)).unwrap_err().code, "too_large");
        assert!(Typed::parse("a b c d e f g h").is_ok());
        assert_eq!(Typed::parse("a b c d e f g h i").unwrap_err().code, "too_many_terms");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(\\PC|[\": ]|from:|in:|has:){0,60}") {
            let _ = Typed::parse(&text);
        }
    }

    /// Whatever is typed: within the limits, and a search written down again from its parts asks for the same.
    #[test]
    fn fuzz_search_query() {
        bolero::check!().with_type::<(String, Vec<u8>)>().for_each(|(text, parts)| {
            let pieces = [
                "from:@anna ",
                "in:#lab ",
                "before:2024-02-29 ",
                "after:",
                "has:link ",
                "\"",
                "word ",
                ":",
                " ",
            ];
            let pieces =
                parts.iter().map(|part| pieces[usize::from(*part) % pieces.len()]).collect::<String>();
            for text in [text.clone(), format!("{pieces}{text}"), format!("{text}{pieces}")] {
                let Ok(typed) = Typed::parse(&text) else { continue };
                assert!(text.len() <= SEARCH_BYTES_MAX);
                assert!(typed.words.len() + typed.phrases.len() <= SEARCH_TERMS_MAX);
                for term in typed.words.iter().chain(&typed.phrases) {
                    assert!(!term.trim().is_empty() && fold(term) == *term, "{term:?} of {text:?}");
                }
                assert_eq!(
                    Typed::parse(&format!("  {text} ")).ok(),
                    Typed::parse(&text).ok().filter(|_| text.len() + 3 <= SEARCH_BYTES_MAX)
                );
            }
        });
    }
}
