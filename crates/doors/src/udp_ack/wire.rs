//! The wire of the door: one datagram is one message, words between white space, no numbers.
//!
//! "Fields separated by white space": what stands between the fields belongs to nobody, but white space inside a
//! text is the text's own and stays as it was sent.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// "Readers take at most 2048 bytes."
pub(super) const DATAGRAM_MAX: usize = 2_048;

const CUT: &str = " [...]";

/// A date, "as in `Fri Nov 20 23:19:28 2026`", and its words.
pub(super) const DATE: &str = "%a %b %e %H:%M:%S %Y";
const DATE_WORDS: usize = 5;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Register {
        name: &'a str,
        password: Option<&'a str>,
    },
    Reg {
        name: &'a str,
        password: Option<&'a str>,
    },
    SignOut {
        name: &'a str,
    },
    /// "`send RECEIVER text... SENDER`, sender's name last."
    Send {
        to: &'a str,
        text: &'a str,
        from: &'a str,
    },
    SendAll {
        text: &'a str,
        from: &'a str,
    },
    /// "`save_message SENDER RECEIVER DATE text...`"
    Save {
        from: &'a str,
        to: &'a str,
        date: String,
        text: &'a str,
    },
    /// "`ack_on [Message received by RECEIVER]`" or "`ack_channel [...]`".
    Received,
}

/// Reads a datagram. `None`: nothing that is answered; "dropped silently, no answer to garbage".
pub(super) fn read(datagram: &[u8]) -> Option<Said<'_>> {
    if datagram.len() > DATAGRAM_MAX || datagram.contains(&0) {
        return None;
    }
    let (verb, rest) = first(std::str::from_utf8(datagram).ok()?)?;
    Some(match verb {
        "register" => {
            let (name, password) = named(rest)?;
            Said::Register { name, password }
        }
        "reg" => {
            let (name, password) = named(rest)?;
            Said::Reg { name, password }
        }
        "signout" => match named(rest)? {
            (name, None) => Said::SignOut { name },
            _ => return None,
        },
        "send" => {
            let (to, rest) = first(rest)?;
            let (text, from) = last(rest)?;
            Said::Send { to, text: some(text)?, from }
        }
        "send_all" => {
            let (text, from) = last(rest)?;
            Said::SendAll { text: some(text)?, from }
        }
        "save_message" => {
            let (from, rest) = first(rest)?;
            let (to, mut rest) = first(rest)?;
            let mut date = [""; DATE_WORDS];
            for word in &mut date {
                (*word, rest) = first(rest)?;
            }
            Said::Save { from, to, date: date.join(" "), text: some(rest.trim_end())? }
        }
        "ack_on" | "ack_channel" => Said::Received,
        _ => return None,
    })
}

/// The first word, and what follows the one white space after it.
fn first(text: &str) -> Option<(&str, &str)> {
    let text = some(text.trim_start())?;
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    let mut letters = rest.chars();
    letters.next();
    Some((word, letters.as_str()))
}

/// What stands before the last word and the one white space before it, and that word.
fn last(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_end();
    let (at, space) = text.char_indices().rev().find(|(_, c)| c.is_whitespace())?;
    Some((&text[..at], &text[at + space.len_utf8()..]))
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.trim().is_empty())
}

/// A name, and a password if there is one.
fn named(text: &str) -> Option<(&str, Option<&str>)> {
    let mut words = text.split_whitespace();
    let (name, password, more) = (words.next()?, words.next(), words.next());
    more.is_none().then_some((name, password))
}

/// Whether the sender marked the datagram as one of its own kind: white space at the end, which no reader sees.
///
/// Such a sender never says the same bytes twice but to repeat them, also when copies were lost in between.
pub(super) fn is_marked(datagram: &[u8]) -> bool {
    datagram.last().is_some_and(u8::is_ascii_whitespace)
}

/// That white space.
pub(super) fn mark_of(datagram: &[u8]) -> &[u8] {
    &datagram[datagram.trim_ascii_end().len()..]
}

/// The white space that a number is written as; every sixteenth is the same.
pub(super) fn mark(number: u32) -> String {
    (0..4).map(|bit| if number >> bit & 1 == 0 { ' ' } else { '\t' }).collect()
}

/// What names a `save_message`: the same words are the same message, for the time of its writing is among them.
pub(super) fn digest(datagram: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(datagram.trim_ascii())[..18])
}

/// A datagram that ends with `text` and `last`, cut so that an old reader takes it whole.
pub(super) fn datagram(first: &str, text: &str, last: &str) -> Vec<u8> {
    let room = DATAGRAM_MAX.saturating_sub(first.len() + last.len());
    if text.len() <= room {
        return format!("{first}{text}{last}").into_bytes();
    }
    let cut = text.floor_char_boundary(room.saturating_sub(CUT.len()));
    format!("{first}{}{CUT}{last}", &text[..cut]).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_read_by_their_words() {
        assert_eq!(read(b"register y"), Some(Said::Register { name: "y", password: None }));
        assert_eq!(read(b" reg  x pw\n"), Some(Said::Reg { name: "x", password: Some("pw") }));
        assert_eq!(read(b"signout x"), Some(Said::SignOut { name: "x" }));
        assert_eq!(read(b"send y hello x"), Some(Said::Send { to: "y", text: "hello", from: "x" }));
        assert_eq!(
            read(b"save_message y x Fri Nov 20 23:19:28 2026 off1"),
            Some(Said::Save { from: "y", to: "x", date: "Fri Nov 20 23:19:28 2026".into(), text: "off1" })
        );
        // A day of one digit is set off by two spaces.
        assert_eq!(
            read(b"save_message y x Fri Nov  6 23:19:28 2026 off  1 \t"),
            Some(Said::Save { from: "y", to: "x", date: "Fri Nov 6 23:19:28 2026".into(), text: "off  1" })
        );
        assert_eq!(read(b"send_all [x]: send z"), Some(Said::SendAll { text: "[x]: send", from: "z" }));
        assert_eq!(read(b"ack_on [Message received by y]"), Some(Said::Received));
        assert_eq!(read(b"ack_channel"), Some(Said::Received));
    }

    #[test]
    fn white_space_in_a_text_stays() {
        assert_eq!(
            read("send y a  b\tc\u{3000}\n d x \t".as_bytes()),
            Some(Said::Send { to: "y", text: "a  b\tc\u{3000}\n d", from: "x" })
        );
        assert_eq!(read(b"send_all   a  z"), Some(Said::SendAll { text: "  a ", from: "z" }));
    }

    #[test]
    fn garbage_is_nothing() {
        for garbage in [
            "",
            " ",
            "register",
            "register a b c",
            "signout",
            "signout a b",
            "send",
            "send y",
            "send y x",
            "send y   x",
            "send_all x",
            "hello x",
            "SEND y hi x",
            "save_message y x",
            "save_message y x Fri Nov 20 23:19:28 2026",
            "reg",
            "0",
            "system_broadcast x 1.2.3.4 5",
        ] {
            assert_eq!(read(garbage.as_bytes()), None, "{garbage:?}");
        }
        for garbage in [&b"register \xff"[..], b"register a\0b", &[b'x'; 2_049], &[b' '; 2_000]] {
            assert_eq!(read(garbage), None);
        }
        let longest = [b"send_all ", &[b'x'; 2_037][..], b" z"].concat();
        assert!(read(&longest).is_some() && read(&[&longest[..], b"z"].concat()).is_none());
        assert!(read("send_all a ".repeat(150).as_bytes()).is_some());
    }

    #[test]
    fn marks_differ_and_are_seen_as_such() {
        let marks: std::collections::BTreeSet<String> = (0..16).map(mark).collect();
        assert_eq!(marks.len(), 16);
        assert!(marks.iter().all(|mark| is_marked(mark.as_bytes())) && !is_marked(b"send y hi x"));
    }

    #[test]
    fn a_saved_message_is_known_by_its_words() {
        let once = digest(b"save_message y x Fri Nov 20 23:19:28 2026 off1");
        assert_eq!(once, digest(b"save_message y x Fri Nov 20 23:19:28 2026 off1 \t "));
        assert_ne!(once, digest(b"save_message y x Fri Nov 20 23:19:29 2026 off1"));
        assert_eq!(once.len(), 24);
    }

    #[test]
    fn a_datagram_fits_an_old_reader() {
        for text in ["x".repeat(3_000), "ü".repeat(1_500), "😀".repeat(2_000)] {
            let datagram = datagram("send anna ", &text, " bob");
            assert!(datagram.len() <= DATAGRAM_MAX);
            let text = String::from_utf8(datagram).unwrap();
            assert!(text.starts_with("send anna ") && text.ends_with(" [...] bob"));
        }
        assert_eq!(datagram("send a ", "hi", " b"), b"send a hi b");
    }

    /// No input panics; what is read again from what was written is the same, whatever words and brackets it holds.
    #[test]
    fn fuzz_udp_ack_wire() {
        bolero::check!().with_type::<(Vec<u8>, String)>().for_each(|(bytes, text)| {
            let _ = read(bytes);
            let _ = digest(bytes);
            let written = datagram("send anna ", text, " bob");
            assert!(written.len() <= DATAGRAM_MAX);
            let usable = !text.trim().is_empty() && !text.contains('\0');
            if usable && text.len() < 2_000 {
                assert_eq!(read(&written), Some(Said::Send { to: "anna", text, from: "bob" }));
            }
        });
    }
}
