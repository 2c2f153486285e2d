//! Text as searches compare it: case, accents and compatible spellings do not matter.
//!
//! Vowel signs and voicing marks of scripts that need them (Devanagari, kana, Hangul) stay: without them other
//! words would be found.

use unicode_normalization::UnicodeNormalization;

use super::term;

/// The form in which texts, names and topics are compared when somebody searches.
///
/// The index of a store and what was typed go through the same function. It is idempotent.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    folded(text).nfc().collect()
}

fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars()
        .flat_map(char::to_lowercase)
        .nfkd()
        .flat_map(char::to_lowercase)
        .filter(|c| !is_accent(*c))
        .flat_map(|c| match c {
            'ß' => ['s', 's'].into_iter().take(2),
            'ς' => ['σ', 'σ'].into_iter().take(1),
            other => [other, other].into_iter().take(1),
        })
}

/// Marks that may be left out without making another word: Latin, Greek and Cyrillic accents, Hebrew points,
/// Arabic vowel marks.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}' | '\u{0591}'..='\u{05BD}' | '\u{05BF}' | '\u{05C1}' | '\u{05C2}' | '\u{05C4}'
        | '\u{05C5}' | '\u{05C7}' | '\u{064B}'..='\u{065F}' | '\u{0670}')
}

/// A folded text that remembers where each part of it came from.
pub(super) struct Traced {
    /// The folded text.
    pub(super) text: String,
    /// For each byte of `text`: the range of bytes of the original character it came from.
    origin: Vec<(u32, u32)>,
}

impl Traced {
    /// Folds `text` character by character. Where a character is written as several that fold to one (letters of
    /// Hangul), the result differs from [`fold`]: a match may then go unmarked, which is all it is used for.
    pub(super) fn new(text: &str) -> Self {
        let (mut folded, mut origin) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
        for (start, c) in text.char_indices() {
            let before = folded.len();
            folded.push_str(&fold(c.encode_utf8(&mut [0; 4])));
            let (start, end) = (offset(start), offset(start + c.len_utf8()));
            if folded.len() == before {
                // An accent of its own belongs to the letter before it.
                if let Some((_, last)) = origin.last_mut() {
                    *last = end;
                }
            }
            origin.resize(folded.len(), (start, end));
        }
        Self { text: folded, origin }
    }

    /// The ranges of the original text in which `needle`, already folded, occurs; none overlap.
    pub(super) fn matches(&self, needle: &str) -> Vec<(u32, u32)> {
        let found = term::occurrences(&self.text, needle);
        found.map(|at| (self.origin[at].0, self.origin[at + needle.len() - 1].1)).collect()
    }
}

/// Message texts are far shorter than what these numbers hold.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_do_not_matter() {
        for (one, other) in [
            ("Café", "CAFE"),
            ("cafe\u{301}", "café"),
            ("STRASSE", "Straße"),
            ("Ὀδυσσεύς", "οδυσσευσ"),
            ("İstanbul", "istanbul"),
            ("ｆｕｌｌ", "full"),
            ("Ёлка", "елка"),
            ("ﬁn", "fin"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("שָׁלוֹם", "שלום"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} and {other}");
        }
    }

    #[test]
    fn what_makes_another_word_stays() {
        for (one, other) in [("か", "が"), ("कि", "की"), ("한", "하"), ("o", "ø")] {
            assert_ne!(fold(one), fold(other), "{one} and {other}");
        }
    }

    #[test]
    fn matches_point_into_the_original() {
        let text = "Ein Cafe\u{301} in der Straße, CAFÉ!";
        let traced = Traced::new(text);
        let found: Vec<&str> =
            traced.matches("cafe").into_iter().map(|(a, b)| &text[a as usize..b as usize]).collect();
        assert_eq!(found, ["Cafe\u{301}", "CAFÉ"]);
        assert_eq!(traced.matches("strass").len(), 1);
        assert_eq!(traced.matches(""), []);
        assert_eq!(traced.matches("tee"), []);
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            proptest::prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn every_match_is_a_part_of_the_text(text in "\\PC{0,40}", needle in "\\PC{1,3}") {
            for (from, to) in Traced::new(&text).matches(&fold(&needle)) {
                proptest::prop_assert!(text.get(from as usize..to as usize).is_some());
            }
        }
    }
}
