//! The form of a transcript: one thing that happens, or one thing that the door must do, on each line.
//!
//! ```text
//! # a remark                              an empty line, or one that begins with #
//! open 1 127.0.0.1:4000                   link 1 is opened by this peer
//! open 2 127.0.0.1:9000 dial 1            link 2 is the answer to the door's first dial
//! dial-failed 1                           or it did not come about
//! 1> LOGIN|anna|secret\n                  bytes come in on link 1: \n \r \t \\ \xNN, everything else as it is
//! closed 1                                link 1 is gone
//! answer 1 {"reply":{"done":{}}}          the door's question 1 is answered
//! refuse 1 {"kind":"not_found",…}         or refused
//! entry 1 {"log":"c7","seq":1,…}          an entry for who is signed in on link 1
//! signal 1 {"typing":{…}}                 a signal for the same
//! wait 1500ms                             time passes; a wish to be woken within it is granted
//!
//! 1< 0|OK\n                               the door sends exactly these bytes, in one piece
//! ask 1 on 1 {"sign_in":{…}}              asks its question 1 on behalf of link 1
//! passes-on 1 {"cursor":{…}}              passes a signal on for link 1
//! dial 1 127.0.0.1:9000                   wants a link
//! wake 5000ms                             wants to be woken at this time after the start
//! close 1                                 closes link 1
//! ```

use std::{net::SocketAddr, time::Duration};

use chinwag_doors::{AskId, DialId, Given, LinkId, Moment, Output};
use chinwag_protocol::{Entry, Refused, ServerSignal};

/// What happens, or what is expected of the door.
#[derive(Debug)]
pub(crate) enum Step {
    Opened { link: LinkId, peer: SocketAddr, dial: Option<DialId> },
    DialFailed(DialId),
    Bytes { link: LinkId, bytes: Vec<u8> },
    Closed(LinkId),
    Answered { ask: AskId, result: Box<Result<Given, Refused>> },
    Entry { link: LinkId, entry: Box<Entry> },
    Signal { link: LinkId, signal: Box<ServerSignal> },
    Wait(Duration),
    Expect(Output),
}

/// A step with its place.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) step: Step,
}

/// A conversation between foreign programs and a door.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) lines: Vec<Line>,
}

impl Transcript {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let step = step(line).map_err(|error| format!("line {number}: {error}: {line}"))?;
            lines.push(Line { number, step });
        }
        Ok(Self { lines })
    }
}

fn step(line: &str) -> Result<Step, String> {
    if let Some((link, bytes)) = line.split_once("> ")
        && let Ok(link) = link.parse()
    {
        return Ok(Step::Bytes { link: LinkId(link), bytes: unescape(bytes)? });
    }
    if let Some((link, bytes)) = line.split_once("< ")
        && let Ok(link) = link.parse()
    {
        return Ok(Step::Expect(Output::Send { link: LinkId(link), bytes: unescape(bytes)? }));
    }
    let (word, rest) = line.split_once(' ').ok_or("a word and what it is about are needed")?;
    match word {
        "open" => opened(rest),
        "dial-failed" => Ok(Step::DialFailed(DialId(number(rest)?))),
        "closed" => Ok(Step::Closed(LinkId(number(rest)?))),
        "answer" | "refuse" => {
            let (ask, body) = numbered(rest)?;
            let result = if word == "answer" { Ok(json(body)?) } else { Err(json(body)?) };
            Ok(Step::Answered { ask: AskId(ask.into()), result: Box::new(result) })
        }
        "entry" => {
            let (link, body) = numbered(rest)?;
            Ok(Step::Entry { link: LinkId(link), entry: json(body)? })
        }
        "signal" => {
            let (link, body) = numbered(rest)?;
            Ok(Step::Signal { link: LinkId(link), signal: json(body)? })
        }
        "wait" => Ok(Step::Wait(time(rest)?)),
        _ => expectation(word, rest).map(Step::Expect),
    }
}

fn opened(rest: &str) -> Result<Step, String> {
    let (link, rest) = numbered(rest)?;
    let (peer, dial) = match rest.split_once(" dial ") {
        Some((peer, dial)) => (peer, Some(DialId(number(dial)?))),
        None => (rest, None),
    };
    Ok(Step::Opened { link: LinkId(link), peer: address(peer)?, dial })
}

fn expectation(word: &str, rest: &str) -> Result<Output, String> {
    match word {
        "ask" => {
            let (ask, rest) = numbered(rest)?;
            let (link, body) = numbered(rest.strip_prefix("on ").ok_or("`on LINK` is needed")?)?;
            Ok(Output::Ask { ask: AskId(ask.into()), link: LinkId(link), question: json(body)? })
        }
        "passes-on" => {
            let (link, body) = numbered(rest)?;
            Ok(Output::Signal { link: LinkId(link), signal: json(body)? })
        }
        "dial" => {
            let (dial, to) = numbered(rest)?;
            Ok(Output::Dial { dial: DialId(dial), to: address(to)? })
        }
        "wake" => Ok(Output::WakeAt(Moment(time(rest)?))),
        "close" => Ok(Output::Close { link: LinkId(number(rest)?) }),
        _ => Err("unknown word".to_owned()),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn numbered(text: &str) -> Result<(u32, &str), String> {
    let (first, rest) = text.split_once(' ').ok_or("a number and more are needed")?;
    Ok((number(first)?, rest))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is no address"))
}

fn time(text: &str) -> Result<Duration, String> {
    let millis = text.strip_suffix("ms").ok_or("a time is written as 1500ms")?;
    Ok(Duration::from_millis(number(millis)?.into()))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match letters.next() {
            Some('n') => bytes.push(b'\n'),
            Some('r') => bytes.push(b'\r'),
            Some('t') => bytes.push(b'\t'),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| "two hexadecimal digits follow \\x")?);
            }
            _ => return Err("unknown escape".to_owned()),
        }
    }
    Ok(bytes)
}
