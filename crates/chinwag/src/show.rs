//! Output for people and for programs.
//!
//! Invariant: nothing that somebody else wrote reaches a terminal as a control character. People see a symbol in
//! its place; in JSON it is escaped.

use std::io::{self, IsTerminal, Write};

use chinwag_protocol::Millis;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::exit::Outcome;

/// Where the output goes, and in which form.
pub(crate) struct Out {
    /// One JSON object per line instead of text for people.
    pub(crate) json: bool,
    is_terminal: bool,
}

impl Out {
    /// Standard output.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, is_terminal: io::stdout().is_terminal() }
    }

    /// Writes a line and flushes, so that whoever reads through a pipe has it at once.
    pub(crate) fn line(&self, line: &str) -> Outcome {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// Writes one JSON object as a line.
    pub(crate) fn object(&self, value: &Value) -> Outcome {
        self.line(&escaped(&value.to_string()))
    }

    /// One form or the other.
    pub(crate) fn either(&self, value: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> Outcome {
        match self.json {
            true => self.object(&value()),
            false => self.line(&text()),
        }
    }

    /// Somebody's name: one line, and on a terminal kept from turning what stands around it.
    pub(crate) fn name(&self, name: &str) -> String {
        match self.is_terminal {
            true => format!("\u{2068}{}\u{2069}", one_line(name)),
            false => one_line(name),
        }
    }

    /// A name in a column of its own.
    pub(crate) fn column(&self, name: &str, width: usize) -> String {
        let shown = one_line(name);
        let (cut, used) = cut(&shown, width);
        format!("{}{}", self.name(&cut), " ".repeat(width.saturating_sub(used)))
    }
}

/// Says something on standard error.
pub(crate) fn note(text: &str) {
    // If nobody reads standard error there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", text_lines(text));
}

/// Shows how far a long work is, on one line that is written over; only if somebody is looking.
pub(crate) struct Progress {
    is_shown: bool,
    what: &'static str,
    percent: Option<usize>,
}

impl Progress {
    /// Begins.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { is_shown: io::stderr().is_terminal(), what, percent: None }
    }

    /// So many of something are done; nobody knows of how many.
    pub(crate) fn count(&mut self, of: &str, done: u64) {
        if self.is_shown {
            self.percent = Some(0);
            let _ = write!(io::stderr().lock(), "\r\x1b[K{} {of}: {done}", self.what);
        }
    }

    /// So much of so much is done.
    pub(crate) fn step(&mut self, done: usize, of: usize) {
        let percent = done * 100 / of.max(1);
        if self.is_shown && self.percent != Some(percent) {
            self.percent = Some(percent);
            let _ = write!(io::stderr().lock(), "\r\x1b[K{} {done} of {of} ({percent} %)", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.percent.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// Text of several lines in which every control character but the line break is a symbol.
pub(crate) fn text_lines(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { symbol(c) }).collect()
}

/// The same on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(symbol).collect()
}

/// What is shown for a character that a terminal would obey, or that would turn the text around it.
fn symbol(c: char) -> char {
    match c {
        '\t' => ' ',
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        _ if is_dangerous(c) => '\u{fffd}',
        _ => c,
    }
}

fn is_dangerous(c: char) -> bool {
    matches!(c, '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// JSON without raw characters that a terminal would obey; it means the same.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match is_dangerous(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
            false => text.push(c),
        }
    }
    text
}

/// As much of a text as fits into a column, and how wide that is.
fn cut(text: &str, width: usize) -> (String, usize) {
    let whole = text.width();
    if whole <= width {
        return (text.to_owned(), whole);
    }
    let mut kept = String::new();
    for c in text.chars() {
        let mut longer = kept.clone();
        longer.push(c);
        if longer.width() + 1 > width {
            break;
        }
        kept = longer;
    }
    kept.push('…');
    let used = kept.width();
    (kept, used)
}

/// How large a file is, for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1_000.0;
    let mut unit = 0;
    // What would be shown as a thousand of one unit is one of the next.
    while size >= 999.95 && unit + 1 < UNITS.len() {
        size /= 1_000.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A moment in this machine's time zone.
pub(crate) fn moment(at: Millis, format: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// A moment for programs: RFC 3339 in UTC.
pub(crate) fn time(at: Millis) -> Value {
    jiff::Timestamp::from_millisecond(at.0).map_or(Value::Null, |time| Value::String(time.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let hostile = "a\x1b[2J\x07\r\0\u{9b}31m\u{202e}evil\u{2066}\u{7f}\u{85}\u{2028}z\tq\nend";
        let shown = text_lines(hostile);
        assert_eq!(shown, "a␛[2J␇␍␀�31m�evil�␡��z q\nend");
        assert_eq!(one_line("two\nlines"), "two␊lines");
        let json = escaped(&serde_json::json!({ "text": hostile }).to_string());
        for text in [shown, one_line(hostile), json.clone()] {
            let obeyed = |c: &char| (c.is_control() && *c != '\n') || is_dangerous(*c);
            assert_eq!(text.chars().find(obeyed), None, "{text:?}");
        }
        let back: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["text"], hostile, "the same text comes out of the JSON");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in ["Grüße, 你好, שלום, مرحبا", "👩‍👩‍👧 ❤️", "e\u{301}", "tags: <b>"]
        {
            assert_eq!(text_lines(text), text);
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let out = Out { json: false, is_terminal: false };
        assert_eq!(out.column("anna", 6), "anna  ");
        assert_eq!(out.column("annabella", 6), "annab…");
        assert_eq!(out.column("你好吗", 5), "你好…");
        assert_eq!(out.column("你好", 6), "你好  ");
        let terminal = Out { json: false, is_terminal: true };
        assert_eq!(terminal.column("\u{202e}anna", 6), "\u{2068}�anna\u{2069} ");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_999, "1.0 MB"), (1_234_567, "1.2 MB")]
        {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn a_moment_is_told_to_programs_in_utc() {
        assert_eq!(time(Millis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(time(Millis(i64::MAX)), Value::Null);
    }

    /// Whatever somebody wrote: nothing of it commands the terminal, and programs get it unchanged.
    #[test]
    fn fuzz_terminal_escape() {
        bolero::check!().with_type::<(String, u8)>().for_each(|(text, width)| {
            let obeyed = |c: char| c.is_control() || is_dangerous(c);
            assert!(!one_line(text).contains(obeyed));
            assert!(!text_lines(text).contains(|c| obeyed(c) && c != '\n'));
            let json = escaped(&Value::String(text.clone()).to_string());
            assert!(!json.contains(obeyed));
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), *text);
            let (out, width) = (Out { json: false, is_terminal: false }, usize::from(*width).max(1));
            assert_eq!(out.column(text, width).width(), width, "a column is as wide as asked for");
        });
    }
}
