//! The wire of the door: JSON objects, each before the five bytes `<TAG>`.
//!
//! The reader goes through the bytes once and knows at each whether it is within a text of an object, so a `<TAG>`
//! that somebody typed ends nothing, an object needs no mark to be complete, and it makes no difference in which
//! pieces the bytes come.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::tag::{Tag, parse};

const MARK: &[u8] = b"<TAG>";

/// A longer tag is refused. Media travel in tags, so it is not small.
pub(super) const TAG_MAX: usize = 1024 * 1024;

/// "A bare `<TAG>` is the client's liveness probe"; so many in a row are none any more.
const PROBES_MAX: u32 = 10;

/// What came in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Tag(Tag),
    /// An object whose keys contradict each other; what is left of it names the request.
    Disagreeing(Tag),
    /// What is no tag.
    Garbage,
    /// More than a tag may be; all up to the next mark is ignored.
    TooLong,
    /// Marks and nothing else.
    Probes,
}

/// What the reader is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    /// Nothing: a mark, an object or something else comes.
    #[default]
    Nothing,
    /// An object.
    Object,
    /// Something else, up to its mark: base64 perhaps.
    Other,
    /// Something that is ignored, up to its mark.
    Ignored,
}

/// Where in an object the reader is.
#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// A text has ended, and nothing but space came since.
    after_text: bool,
    /// After the last mark within a text: where to go on if this object proves to be none.
    mark: Option<usize>,
}

/// Puts tags together from any pieces.
#[derive(Debug, Default)]
pub(super) struct Tags {
    bytes: Vec<u8>,
    /// Where the present object, or whatever it is, begins.
    start: usize,
    /// How far it was looked at.
    at: usize,
    within: Within,
    inside: Inside,
    /// An object has just ended: the mark that follows is its own and no probe.
    ended: bool,
    probes: u32,
    /// This client wraps its tags in base64, and wants to be answered so.
    pub(super) wrapped: bool,
}

impl Tags {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // What was read goes at once for all, not for each tag: a burst of small ones would be moved again and again.
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.at -= self.start;
            self.inside.mark = self.inside.mark.map(|mark| mark - self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// How much waits to be read.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether anything waits besides the mark of the object that was read last.
    pub(super) fn has_more(&self) -> bool {
        let rest = self.bytes[self.start..].trim_ascii_start();
        match rest.strip_prefix(MARK) {
            _ if !self.ended => !rest.is_empty(),
            Some(rest) => !rest.trim_ascii_start().is_empty(),
            None => !MARK.starts_with(rest),
        }
    }

    /// The next thing that came in whole.
    pub(super) fn next(&mut self) -> Option<Piece> {
        let piece = self.find();
        if piece.is_none() && self.start == self.bytes.len() {
            // An idle client keeps no buffer of a past burst.
            (self.bytes, self.start, self.at) = (Vec::new(), 0, 0);
        }
        piece
    }

    fn find(&mut self) -> Option<Piece> {
        loop {
            let found = match self.within {
                Within::Nothing => self.begin()?,
                Within::Object => self.object()?,
                Within::Other | Within::Ignored => self.other()?,
            };
            if found.is_some() {
                return found;
            }
        }
    }

    /// What comes next? `None`: that takes more bytes.
    fn begin(&mut self) -> Option<Option<Piece>> {
        let rest = &self.bytes[self.start..];
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.start += space;
        self.at = self.start;
        let rest = &rest[space..];
        let first = *rest.first()?;
        if first == b'{' {
            (self.within, self.inside) = (Within::Object, Inside::default());
        } else if rest.starts_with(MARK) {
            self.start += MARK.len();
            self.at = self.start;
            let is_own = std::mem::take(&mut self.ended);
            self.probes += u32::from(!is_own);
            if self.probes > PROBES_MAX {
                self.probes = 0;
                return Some(Some(Piece::Probes));
            }
        } else if first != b'<' || !MARK.starts_with(rest) {
            self.within = Within::Other;
        } else {
            return None;
        }
        Some(None)
    }

    /// Goes through an object to its end.
    fn object(&mut self) -> Option<Option<Piece>> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            if self.at - self.start >= TAG_MAX {
                return Some(Some(self.too_long()));
            }
            self.at += 1;
            let inside = &mut self.inside;
            if inside.in_text {
                match byte {
                    _ if inside.escaped => inside.escaped = false,
                    b'\\' => inside.escaped = true,
                    b'"' => (inside.in_text, inside.after_text) = (false, true),
                    b'>' if self.bytes[..self.at].ends_with(MARK) => inside.mark = Some(self.at),
                    _ => {}
                }
                continue;
            }
            if byte.is_ascii_whitespace() {
                continue;
            }
            // After a text JSON goes on with one of these. If it does not, the text began where another ended.
            if std::mem::take(&mut inside.after_text) && !b",:}]".contains(&byte) {
                return Some(Some(self.broken()));
            }
            match byte {
                b'"' => inside.in_text = true,
                b'{' | b'[' => inside.depth += 1,
                b'}' | b']' => inside.depth -= 1,
                b'<' => return Some(Some(self.broken())),
                _ => {}
            }
            if self.inside.depth == 0 {
                let piece = read(&self.bytes[self.start..self.at]);
                self.done(self.at);
                self.ended = true;
                return Some(Some(piece));
            }
        }
        // The end of an object may be the last byte that comes; nothing more is needed to know it.
        None
    }

    /// This is no object after all. What it swallowed may have been tags.
    fn broken(&mut self) -> Piece {
        match self.inside.mark {
            Some(mark) => self.done(mark),
            None => {
                self.within = Within::Ignored;
                self.at -= 1;
            }
        }
        Piece::Garbage
    }

    fn too_long(&mut self) -> Piece {
        self.within = Within::Ignored;
        self.start = self.at;
        Piece::TooLong
    }

    /// Goes on after what ended here.
    fn done(&mut self, at: usize) {
        (self.start, self.at, self.within, self.inside) = (at, at, Within::Nothing, Inside::default());
        (self.ended, self.probes) = (false, 0);
    }

    /// Goes to the mark after something that is no object.
    fn other(&mut self) -> Option<Option<Piece>> {
        while self.at < self.bytes.len() {
            if self.within == Within::Other && self.at - self.start >= TAG_MAX + MARK.len() {
                return Some(Some(self.too_long()));
            }
            self.at += 1;
            if !self.bytes[self.start..self.at].ends_with(MARK) {
                continue;
            }
            let is_ignored = self.within == Within::Ignored;
            let text = &self.bytes[self.start..self.at - MARK.len()];
            // "A piece not starting with `{` can be tried as base64."
            let unwrapped = BASE64_STANDARD.decode(text.trim_ascii()).ok().filter(|_| !is_ignored);
            self.done(self.at);
            if is_ignored {
                return Some(None);
            }
            let piece = unwrapped.map_or(Piece::Garbage, |text| read(&text));
            self.wrapped |= matches!(piece, Piece::Tag(_) | Piece::Disagreeing(_));
            return Some(Some(piece));
        }
        if self.within == Within::Ignored {
            // No more is kept of it than may be the beginning of its mark.
            self.start = self.start.max(self.at.saturating_sub(MARK.len()));
        }
        None
    }
}

fn read(text: &[u8]) -> Piece {
    match parse(text) {
        Ok(Ok(tag)) => Piece::Tag(tag),
        Ok(Err(tag)) => Piece::Disagreeing(tag),
        Err(_) => Piece::Garbage,
    }
}

/// A tag to send: its fields in order, and the mark.
///
/// "Escape `<` as `\u003c` in everything we send, so that `<TAG>` in a text can never split a frame."
pub(super) fn tag(fields: &[(impl AsRef<str>, Value)], wrapped: bool) -> Vec<u8> {
    let fields: Vec<_> =
        fields.iter().map(|(key, value)| format!("{}: {value}", Value::from(key.as_ref()))).collect();
    let text = format!("{{{}}}", fields.join(", ")).replace('<', "\\u003c");
    let mut bytes = if wrapped { BASE64_STANDARD.encode(text).into_bytes() } else { text.into_bytes() };
    bytes.extend_from_slice(MARK);
    bytes
}

/// Base64, as media travel.
pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// How a key is spelled: "keys that are known constants are emitted upper-case, others lower-case".
pub(super) fn spelled(key: &str) -> String {
    const UPPER: &[&str] = &[
        "action",
        "type",
        "id",
        "key",
        "name",
        "text",
        "chat",
        "data",
        "date_time",
        "response",
        "sender",
        "recipient",
        "status",
        "icon",
        "bio",
        "call",
        "creator",
        "part",
        "parts",
        "size",
    ];
    if UPPER.contains(&key) { key.to_uppercase() } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_all(stream: &[u8], sizes: &[usize]) -> Vec<Piece> {
        let (mut tags, mut found, mut rest) = (Tags::default(), Vec::new(), stream);
        for size in sizes.iter().chain(std::iter::repeat(&stream.len())) {
            let (piece, later) = rest.split_at(rest.len().min(*size.max(&1)));
            tags.feed(piece);
            while let Some(piece) = tags.next() {
                found.push(piece);
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        found
    }

    fn texts(pieces: &[Piece]) -> Vec<String> {
        let text = |piece: &Piece| match piece {
            Piece::Tag(tag) => tag.text("text").unwrap_or_default(),
            other => format!("{other:?}"),
        };
        pieces.iter().map(text).collect()
    }

    #[test]
    fn tags_are_the_same_however_they_come() {
        let stream = concat!(
            "<TAG>{\"TEXT\": \"a<TAG>{}<TAG>c\"}<TAG>{\"text\": \"ü\"}{\"bad\"<TAG> {\"Text\": \"z\"}<TAG>",
            "eyJ0ZXh0IjoidyJ9<TAG>{\"unended<TAG>{\"text\": \"y\"}<TAG>nonsense<TAG><<TAG>{]<TAG>{\"text\":\"end\"}"
        );
        let whole = read_all(stream.as_bytes(), &[]);
        let expected = ["a<TAG>{}<TAG>c", "ü", "Garbage", "z", "w", "Garbage", "y", "Garbage", "Garbage"];
        assert_eq!(texts(&whole)[..9], expected);
        assert_eq!(texts(&whole)[9..], ["Garbage", "end"]);
        for size in 1..stream.len() {
            assert_eq!(read_all(stream.as_bytes(), &vec![size; stream.len()]), whole, "{size}");
        }
    }

    #[test]
    fn the_mark_of_a_tag_and_space_around_it_are_no_more_than_the_tag() {
        for (rest, has_more) in [
            ("", false),
            (" \n", false),
            ("<TA", false),
            ("<TAG>", false),
            (" <TAG>\r\n ", false),
            ("<TAG><", true),
            ("<TAG><TAG>", true),
            ("<TAG>{", true),
            ("{", true),
            ("<TAX", true),
        ] {
            let mut tags = Tags::default();
            tags.feed(format!("{{}}{rest}").as_bytes());
            assert!(tags.next().is_some());
            assert_eq!(tags.has_more(), has_more, "{rest:?}");
        }
        let mut tags = Tags::default();
        assert!(!tags.has_more());
        tags.feed(b"<TAG");
        assert!(tags.has_more(), "a mark that is no object's own");
    }

    #[test]
    fn what_never_ends_is_refused() {
        assert_eq!(read_all(&b"<TAG>".repeat(10), &[]), []);
        assert_eq!(read_all(&b"<TAG>".repeat(11), &[7; 8]), [Piece::Probes]);
        assert_eq!(read_all(&vec![b'x'; 2 * TAG_MAX], &[4_096; 512]), [Piece::TooLong]);
        // After it, all is as before.
        let mut stream = vec![b'{'; 2 * TAG_MAX];
        stream.extend_from_slice(b"<TAG>{\"text\": \"x\"}<TAG>");
        assert_eq!(texts(&read_all(&stream, &[])), ["TooLong", "x"]);
    }

    #[test]
    fn a_tag_may_have_a_mebibyte_and_no_more() {
        for (more, expected) in [(0, 1), (1, 0)] {
            let mut stream = b"{\"text\": \"".to_vec();
            stream.resize(TAG_MAX - 2 + more, b'x');
            stream.extend_from_slice(b"\"}");
            let found = read_all(&stream, &[]);
            assert_eq!(found.iter().filter(|piece| matches!(piece, Piece::Tag(_))).count(), expected);
            assert_eq!(found.len(), 1, "it is told whether it is taken or not");
        }
    }

    #[test]
    fn no_text_ends_a_tag() {
        let bytes = tag(&[("TEXT", json!("<TAG>\"")), ("<TAG>", json!(1))], false);
        assert_eq!(bytes, br#"{"TEXT": "\u003cTAG>\"", "\u003cTAG>": 1}<TAG>"#);
        assert_eq!(texts(&read_all(&bytes, &[3; 20])), ["<TAG>\""]);
        assert_eq!(texts(&read_all(&tag(&[("text", json!("x"))], true), &[3; 20])), ["x"]);
    }

    /// Bytes that are nearly a stream of tags.
    fn stream(choices: &[u8]) -> Vec<u8> {
        const PARTS: &[&[u8]] = &[
            b"<TAG>",
            b"{\"TEXT\": \"",
            b"\"}",
            b"\\",
            b"{}",
            b"\"",
            b"}",
            b" ",
            b"<TA",
            b"G>",
            b", \"a\": [1, {",
            b"}]",
            "ü".as_bytes(),
            b"eyJ0ZXh0IjoidyJ9",
        ];
        let part = |choice: &u8| match PARTS.get(usize::from(*choice) % 20) {
            Some(part) => part.to_vec(),
            None => vec![*choice],
        };
        choices.iter().flat_map(part).collect()
    }

    #[test]
    fn fuzz_tag_json_pieces() {
        bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(choices, sizes)| {
            let stream = stream(&choices[..choices.len().min(300)]);
            let sizes: Vec<_> = sizes.iter().map(|size| usize::from(*size % 16)).collect();
            assert_eq!(read_all(&stream, &sizes), read_all(&stream, &[]));
            assert_eq!(read_all(&stream, &vec![1; stream.len()]), read_all(&stream, &[]));
        });
    }

    #[test]
    fn fuzz_tag_json_texts() {
        bolero::check!().with_type::<(String, String, bool)>().for_each(|(one, other, wrapped)| {
            let own = tag(&[("TEXT", json!(one)), ("DATA", json!({ "NAME": other }))], *wrapped);
            assert!(own.ends_with(MARK));
            let marks = own.windows(MARK.len()).filter(|window| *window == MARK).count();
            assert_eq!(marks, 1, "the mark stands at the end and nowhere else");
            // A program of old sends what was typed as it is.
            let raw = format!("{}<TAG>", json!({ "text": one, "data": { "name": other } }));
            for bytes in [own, raw.into_bytes()] {
                let found = read_all(&bytes, &[]);
                let [Piece::Tag(tag)] = found.as_slice() else { panic!("{found:?}") };
                assert_eq!(tag.text("text").as_ref(), Some(one));
                let name = tag.inner("data").and_then(|data| data.text("name"));
                assert_eq!(name.as_ref(), Some(other));
            }
        });
    }
}
