//! When a term of a search occurs in a text: the one definition for every engine, and for the marks in what was found.
//!
//! - A term of three or more characters occurs wherever its characters stand, also in the middle of a word.
//! - A term of one or two characters that begins with a letter or digit occurs only at the beginning of a word:
//!   anywhere else it would find nearly every text.
//! - Scripts without spaces between words (Chinese, Japanese, Korean particles, Thai, Lao, Khmer, Burmese) have no
//!   such beginning that we could see: a term that begins with them occurs anywhere, and so does one that begins
//!   with a sign or an emoji.
//!
//! Both sides are folded ([`super::fold`]). An empty term occurs nowhere.

/// A term with fewer characters occurs only at the beginning of a word.
pub const ANYWHERE_FROM: usize = 3;

/// Whether a character belongs to words that are set apart from their neighbours.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

/// Whether a word may begin with `c` after `before`.
pub fn begins(before: Option<char>, c: char) -> bool {
    !is_word(c) || !before.is_some_and(is_word)
}

/// Whether a term is so short that it occurs only where [`begins`] holds.
pub fn is_short(term: &str) -> bool {
    term.chars().nth(ANYWHERE_FROM - 1).is_none()
}

/// Where a term occurs, in bytes; no two overlap.
pub fn occurrences<'t>(text: &'t str, term: &'t str) -> impl Iterator<Item = usize> + 't {
    let first = term.chars().next();
    let only_beginnings = first.is_some_and(is_word) && is_short(term);
    // A text has a match of the empty pattern everywhere.
    let found = first.into_iter().flat_map(move |_| text.match_indices(term));
    found
        .map(|(at, _)| at)
        .filter(move |at| !only_beginnings || !text[..*at].chars().next_back().is_some_and(is_word))
}

/// Whether a term occurs at all.
pub fn occurs(text: &str, term: &str) -> bool {
    occurrences(text, term).next().is_some()
}

/// Scripts that put no spaces between words, or glue particles to them.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1100}'..='\u{11FF}' | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{9FFF}' | '\u{A960}'..='\u{A97F}' | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AA7F}'
        | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_terms_begin_words_and_longer_ones_stand_anywhere() {
        for (text, term, expected) in [
            ("concatenate", "cat", true),
            ("concatenate", "co", true),
            ("concatenate", "at", false),
            ("look at it", "at", true),
            ("look at it", "t", false),
            ("x-ray", "ra", true),
            ("in c++ and c#", "c#", true),
            ("abc#", "c#", false),
            ("wow!!", "!!", true),
            ("今日は東京", "東", true),
            ("今日は東京", "日は", true),
            ("東京tokyo", "to", true),
            ("tokyo東京", "京", true),
            ("안녕하세요", "하", true),
            ("good 👍🏽 work", "👍", true),
            ("ababa b", "b", true),
            ("anything", "", false),
            ("", "a", false),
            ("two words", "o w", true),
        ] {
            assert_eq!(occurs(text, term), expected, "{term:?} in {text:?}");
        }
    }

    #[test]
    fn occurrences_are_told_by_their_place() {
        let places = |text, term| occurrences(text, term).collect::<Vec<_>>();
        assert_eq!(places("an ant and a man", "an"), [0, 3, 7]);
        assert_eq!(places("aaaaaa", "aaa"), [0, 3]);
    }
}
