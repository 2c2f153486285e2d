//! The built-in bot: what it understands, and what it answers, as pure functions of text and time.
//!
//! Only three exact commands; any other text with a slash is an ordinary message. The answers are worked out
//! before the transaction, because a time zone is looked up on disk.

use chinwag_protocol::Millis;
use jiff::{Timestamp, tz::TimeZone};

/// Something the bot was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What time is it?
    Time,
    /// Say the poem with this number; `None`: the number made no sense.
    Poem(Option<u32>),
    /// What can you do?
    Help,
}

/// What a message asks of the bot, if it asks at all: `/time`, `/poem N` or `/help` and nothing else in it.
pub fn asked(text: &str) -> Option<Asked> {
    let text = text.trim();
    match text {
        "/time" => Some(Asked::Time),
        "/help" => Some(Asked::Help),
        "/poem" => Some(Asked::Poem(None)),
        _ => {
            let number = text.strip_prefix("/poem")?.strip_prefix([' ', '\t'])?.trim();
            // One word: `/poem about cats, please` is said to people.
            (!number.contains(char::is_whitespace)).then(|| Asked::Poem(number_of(number)))
        }
    }
}

fn number_of(word: &str) -> Option<u32> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        word.parse().ok()
    } else {
        roman(&word.to_ascii_uppercase())
    }
}

/// The answer of the bot at time `at`, for somebody in the time zone with this IANA name (empty: the server's).
pub fn answer(asked: Asked, at: Millis, time_zone: &str, poems: &Poems) -> String {
    match asked {
        Asked::Time => time(at, time_zone),
        Asked::Help => help(poems),
        Asked::Poem(number) => match number.and_then(|number| poems.get(number)) {
            Some(poem) => poem.to_owned(),
            None => format!("There is no such poem. Ask for /poem {}.", poems.numbers()),
        },
    }
}

/// The date and time, as `2026-11-21 04:05:06 +01:00 (Europe/Warsaw)`.
pub fn time(at: Millis, time_zone: &str) -> String {
    let zone = match time_zone {
        "" => TimeZone::system(),
        name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    };
    let moment = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone);
    let name = moment.time_zone().iana_name().unwrap_or("UTC");
    format!("{} ({name})", moment.strftime("%Y-%m-%d %H:%M:%S %:z"))
}

/// Whether a time zone is known by this IANA name.
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

fn help(poems: &Poems) -> String {
    format!(
        "I understand:\n/time - the date and time\n/poem N - poem number N ({})\n/help - this",
        poems.numbers()
    )
}

/// A collection of poems, numbered from one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Poems {
    /// By number, each as it is told: its header, a blank line, its lines. Empty where a number is missing.
    poems: Vec<String>,
}

/// Poems of one collection; a Roman numeral beyond it is no header but a line of its own.
const POEMS_MAX: u32 = 3_999;

impl Poems {
    /// The collection that comes with the program.
    pub fn built_in() -> Self {
        Self::parse(include_str!("poems.txt"))
    }

    /// Reads a collection: each poem is a line with a Roman numeral and a full stop, a blank line, and its lines.
    /// What comes before the first header is not part of any poem.
    pub fn parse(text: &str) -> Self {
        let mut poems: Vec<String> = Vec::new();
        let mut now: Option<usize> = None;
        let mut blank_before = true;
        for line in text.lines().map(str::trim_end) {
            let header = line.trim().strip_suffix('.').and_then(roman).filter(|_| blank_before);
            // A numeral that is already taken is a line that looks like one.
            let header = header
                .map(|number| number as usize - 1)
                .filter(|at| poems.get(*at).is_none_or(String::is_empty));
            blank_before = line.is_empty();
            if let Some(at) = header {
                now = Some(at);
                if poems.len() <= at {
                    poems.resize(at + 1, String::new());
                }
                poems[at].push_str(line.trim());
            } else if let Some(at) = now {
                poems[at].push('\n');
                poems[at].push_str(line);
            }
        }
        for poem in &mut poems {
            poem.truncate(poem.trim_end().len());
        }
        Self { poems }
    }

    /// The poem with this number: its header, a blank line, its lines.
    pub fn get(&self, number: u32) -> Option<&str> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.poems.get(at).map(String::as_str).filter(|poem| !poem.is_empty())
    }

    /// How many numbers there are, missing ones included.
    pub fn len(&self) -> usize {
        self.poems.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.poems.is_empty()
    }

    /// Which numbers one can ask for, in words.
    fn numbers(&self) -> String {
        match self.len() {
            0 => "later: I know none yet".into(),
            1 => "1".into(),
            last => format!("1 to {last}"),
        }
    }
}

/// The value of a Roman numeral in its usual spelling.
fn roman(numeral: &str) -> Option<u32> {
    let value = |letter: u8| match letter {
        b'I' => Some(1),
        b'V' => Some(5),
        b'X' => Some(10),
        b'L' => Some(50),
        b'C' => Some(100),
        b'D' => Some(500),
        b'M' => Some(1000),
        _ => None,
    };
    if numeral.is_empty() || numeral.len() > 15 {
        return None;
    }
    let values: Vec<u32> = numeral.bytes().map(value).collect::<Option<_>>()?;
    let mut number: u32 = 0;
    for (at, value) in values.iter().enumerate() {
        if values.get(at + 1).is_some_and(|next| next > value) {
            number = number.wrapping_sub(*value);
        } else {
            number = number.wrapping_add(*value);
        }
    }
    // `IIX` and the like have a value but are nobody's spelling of it.
    ((1..=POEMS_MAX).contains(&number) && written(number) == numeral).then_some(number)
}

fn written(mut number: u32) -> String {
    const PARTS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut numeral = String::new();
    for (value, part) in PARTS {
        while number >= value {
            numeral.push_str(part);
            number -= value;
        }
    }
    numeral
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_commands_are_for_the_bot() {
        for (text, expected) in [
            ("/time", Some(Asked::Time)),
            (" /help\n", Some(Asked::Help)),
            ("/poem 3", Some(Asked::Poem(Some(3)))),
            ("/poem   18 ", Some(Asked::Poem(Some(18)))),
            ("/poem xviii", Some(Asked::Poem(Some(18)))),
            ("/poem", Some(Asked::Poem(None))),
            ("/poem zero", Some(Asked::Poem(None))),
            ("/poem 99999999999999", Some(Asked::Poem(None))),
            ("/poem -1", Some(Asked::Poem(None))),
            ("/poem about cats", None),
            ("/poems 3", None),
            ("/Time", None),
            ("/time now", None),
            ("what does /time do", None),
            ("/etc/passwd", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(asked(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_read_and_written_the_roman_way() {
        for number in 1..=POEMS_MAX {
            assert_eq!(roman(&written(number)), Some(number));
        }
        for wrong in ["", "IIX", "IIII", "VX", "i", "IM", "A", "MMMM", "XVIII."] {
            assert_eq!(roman(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_collection_is_told_poem_by_poem() {
        let poems = Poems::parse(
            "A Title\n\nI.\n\n  First line,\nsecond.\n\n\nIII.\r\n\r\nThird I.\nI.\n\nI.\nend\n",
        );
        assert_eq!(poems.get(1), Some("I.\n\n  First line,\nsecond."));
        assert_eq!(poems.get(2), None);
        assert_eq!(poems.get(3), Some("III.\n\nThird I.\nI.\n\nI.\nend"));
        assert_eq!((poems.get(0), poems.get(4), poems.len()), (None, None, 3));
        assert!(Poems::parse("no poems here").is_empty());
    }

    #[test]
    fn every_built_in_poem_has_a_text() {
        let poems = Poems::built_in();
        assert_eq!(poems.len(), 12);
        for number in 1..=12 {
            let poem = poems.get(number).unwrap();
            assert_eq!(poem.lines().count(), 6, "{poem}");
            assert!(poem.starts_with(&format!("{}.\n\n", written(number))));
            assert!(crate::text::check_message(poem).is_ok());
        }
    }

    #[test]
    fn answers_are_for_people() {
        let (at, poems) = (Millis(1_700_000_000_123), Poems::built_in());
        assert_eq!(answer(Asked::Time, at, "UTC", &poems), "2023-11-14 22:13:20 +00:00 (UTC)");
        assert_eq!(answer(Asked::Time, at, "Mars/Olympus", &poems), "2023-11-14 22:13:20 +00:00 (UTC)");
        assert_eq!(
            answer(Asked::Poem(Some(13)), at, "", &poems),
            "There is no such poem. Ask for /poem 1 to 12."
        );
        assert!(answer(Asked::Help, at, "", &poems).contains("/poem N - poem number N (1 to 12)"));
        assert!(answer(Asked::Poem(Some(2)), at, "", &poems).starts_with("II.\n\nNine people"));
    }

    #[test]
    fn fuzz_bot() {
        bolero::check!().with_type::<String>().for_each(|text| {
            let poems = Poems::parse(text);
            if let Some(asked) = asked(text) {
                assert!(!answer(asked, Millis(0), "UTC", &poems).is_empty());
            }
            assert!(poems.len() <= 3_999);
        });
    }
}
