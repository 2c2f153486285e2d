//! The datagrams of the acknowledged UDP chat, as its client reads and writes them.
//!
//! Words between white space, no numbers. White space at the end of a datagram is seen by no old program; ours puts
//! a number there, so that the same words said twice are not taken for one said again.

use std::net::{IpAddr, SocketAddr};

/// "Readers take at most 2048 bytes."
pub(super) const DATAGRAM_MAX: usize = 2_048;

/// Numbers at the end of a datagram, before they start again.
pub(super) const NUMBERS: u32 = 16;

/// How long such a number is.
pub(super) const MARK_BYTES: usize = 4;

/// What somebody says to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// `plain`: the server does not believe the client's address yet.
    Registered {
        plain: bool,
    },
    PleaseSignIn,
    WelcomeBack,
    Offline,
    /// `ack_on [Message received by NAME]`
    Received(&'a str),
    Saved,
    Grouped,
    /// `Error [Client NAME exits!!!]`
    Nobody(&'a str),
    Here(&'a str, SocketAddr),
    Online(&'a str),
    Gone(&'a str),
    /// `[You have messages]`, or `SENDER: DATE text`
    Stored(&'a str),
    /// `SENDER: text`
    Channel(&'a str),
    /// `send RECEIVER text SENDER`
    Message {
        to: &'a str,
        text: &'a str,
        from: &'a str,
    },
}

/// Reads a datagram; `None`: nothing that this client knows.
pub(super) fn read(datagram: &[u8]) -> Option<Heard<'_>> {
    let text = std::str::from_utf8(datagram).ok()?.trim();
    let (verb, rest) = first(text).unwrap_or((text, ""));
    let bracketed = |before: &str, after: &str| rest.strip_prefix(before)?.strip_suffix(after);
    Some(match verb {
        "registered" => Heard::Registered { plain: rest.is_empty() },
        "please_signin" => Heard::PleaseSignIn,
        "reg_suc" => Heard::WelcomeBack,
        "dereg_suc" => Heard::Offline,
        "ack_on" => Heard::Received(bracketed("[Message received by ", "]").unwrap_or_default()),
        "ack_off" => Heard::Saved,
        "ack_group" => Heard::Grouped,
        "Error" => Heard::Nobody(bracketed("[Client ", " exits!!!]")?),
        "system_broadcast" => {
            let mut words = rest.split_whitespace();
            let name = words.next()?;
            let ip: IpAddr = words.next()?.parse().ok()?;
            Heard::Here(name, SocketAddr::new(ip, words.next()?.parse().ok()?))
        }
        "online" => Heard::Online(some(rest)?),
        "offline" => Heard::Gone(some(rest)?),
        "offline_message" => Heard::Stored(some(rest)?),
        "Channel-Message" => Heard::Channel(some(rest)?),
        "send" => {
            let (to, rest) = first(rest)?;
            let (at, space) = rest.char_indices().rev().find(|(_, c)| c.is_whitespace())?;
            Heard::Message { to, text: some(&rest[..at])?, from: &rest[at + space.len_utf8()..] }
        }
        _ => return None,
    })
}

/// The first word, and what follows the one white space after it.
pub(super) fn first(text: &str) -> Option<(&str, &str)> {
    let text = some(text.trim_start())?;
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    let mut letters = rest.chars();
    letters.next();
    Some((word, letters.as_str()))
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.trim().is_empty())
}

/// The white space that a number is written as.
pub(super) fn mark(number: u32) -> String {
    (0..MARK_BYTES).map(|bit| if number >> bit & 1 == 0 { ' ' } else { '\t' }).collect()
}

/// The number at the end of a datagram; empty if there is none.
pub(super) fn mark_of(datagram: &[u8]) -> &[u8] {
    &datagram[datagram.trim_ascii_end().len()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_read_by_their_words() {
        let at = "127.0.0.1:39285".parse().unwrap();
        for (datagram, heard) in [
            ("registered [Welcome, You are registered.]", Heard::Registered { plain: false }),
            ("registered", Heard::Registered { plain: true }),
            ("please_signin [Please sign in.]", Heard::PleaseSignIn),
            ("reg_suc", Heard::WelcomeBack),
            ("dereg_suc [You are Offline. Bye.]", Heard::Offline),
            ("ack_on [Message received by y]", Heard::Received("y")),
            ("ack_on", Heard::Received("")),
            ("ack_off [Messages received by the server and saved]", Heard::Saved),
            ("ack_group [Message received by Server.]", Heard::Grouped),
            ("Error [Client y exits!!!]", Heard::Nobody("y")),
            ("system_broadcast y 127.0.0.1 39285 more words", Heard::Here("y", at)),
            ("online y", Heard::Online("y")),
            ("offline y", Heard::Gone("y")),
            ("offline_message [You have messages]", Heard::Stored("[You have messages]")),
            ("Channel-Message z: group  hello", Heard::Channel("z: group  hello")),
            ("send y hello  [x]: x \t  ", Heard::Message { to: "y", text: "hello  [x]:", from: "x" }),
        ] {
            assert_eq!(read(datagram.as_bytes()), Some(heard), "{datagram}");
        }
        for garbage in
            ["", " ", "hello", "send y x", "system_broadcast y here 1", "online", "Error [y]", "ack"]
        {
            assert_eq!(read(garbage.as_bytes()), None, "{garbage}");
        }
        assert_eq!(read(b"online \xff"), None);
    }

    #[test]
    fn numbers_at_the_end_differ() {
        let marks: std::collections::BTreeSet<String> = (0..NUMBERS).map(mark).collect();
        assert_eq!(marks.len(), 16);
        assert!(marks.iter().all(|mark| mark_of(format!("send y hi x{mark}").as_bytes()) == mark.as_bytes()));
        assert!(mark_of(b"send y hi x").is_empty());
    }

    /// No datagram panics.
    #[test]
    fn fuzz_udp_client_wire() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = read(bytes);
        });
    }
}
