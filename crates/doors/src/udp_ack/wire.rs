//! The wire of the door: one datagram is one message, words between white space, no numbers.

/// "Readers take at most 2048 bytes."
pub(super) const DATAGRAM_MAX: usize = 2_048;

const CUT: &str = " [...]";

/// The words of a date, "as in `Fri Nov 20 23:19:28 2026`".
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
        text: String,
        from: &'a str,
    },
    SendAll {
        text: String,
        from: &'a str,
    },
    /// "`save_message SENDER RECEIVER DATE text...`"
    Save {
        from: &'a str,
        to: &'a str,
        text: String,
    },
    /// "`ack_on [Message received by RECEIVER]`" or "`ack_channel [...]`".
    Received,
}

/// Reads a datagram. `None`: nothing that is answered; "dropped silently, no answer to garbage".
pub(super) fn read(datagram: &[u8]) -> Option<Said<'_>> {
    if datagram.len() > DATAGRAM_MAX || datagram.contains(&0) {
        return None;
    }
    let words: Vec<&str> = std::str::from_utf8(datagram).ok()?.split_whitespace().collect();
    let (verb, words) = words.split_first()?;
    Some(match (*verb, words) {
        ("register", [name]) => Said::Register { name, password: None },
        ("register", [name, password]) => Said::Register { name, password: Some(password) },
        ("reg", [name]) => Said::Reg { name, password: None },
        ("reg", [name, password]) => Said::Reg { name, password: Some(password) },
        ("signout", [name]) => Said::SignOut { name },
        ("send", [to, text @ .., from]) if !text.is_empty() => Said::Send { to, text: text.join(" "), from },
        ("send_all", [text @ .., from]) if !text.is_empty() => Said::SendAll { text: text.join(" "), from },
        ("save_message", [from, to, rest @ ..]) if rest.len() > DATE_WORDS => {
            Said::Save { from, to, text: rest[DATE_WORDS..].join(" ") }
        }
        ("ack_on" | "ack_channel", _) => Said::Received,
        _ => return None,
    })
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
        assert_eq!(
            read(b"send y hello  there y x"),
            Some(Said::Send { to: "y", text: "hello there y".into(), from: "x" })
        );
        assert_eq!(
            read(b"save_message y x Fri Nov 20 23:19:28 2026 off1"),
            Some(Said::Save { from: "y", to: "x", text: "off1".into() })
        );
        assert_eq!(
            read(b"send_all [x]: send z"),
            Some(Said::SendAll { text: "[x]: send".into(), from: "z" })
        );
        assert_eq!(read(b"ack_on [Message received by y]"), Some(Said::Received));
        for garbage in
            [&b""[..], b" ", b"register", b"register a b c", b"send", b"send y x", b"send_all x", b"hello x"]
        {
            assert_eq!(read(garbage), None, "{garbage:?}");
        }
        for garbage in [&b"register \xff"[..], b"register a\0b", &[b'x'; 2_049]] {
            assert_eq!(read(garbage), None);
        }
        assert_eq!(read(b"save_message y x Fri Nov 20 23:19:28 2026"), None);
        let longest = [b"send_all ", &[b'x'; 2_037][..], b" z"].concat();
        assert!(read(&longest).is_some() && read(&[&longest[..], b"z"].concat()).is_none());
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
}
