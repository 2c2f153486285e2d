//! JSON from outside, straight into our types.
//!
//! Never through a map: there the last of two equal keys would win in silence. The parser behind it skips what it
//! does not know and takes NUL in strings, so a scan looks at depth, number of tokens and NUL first. Used for HTTP
//! bodies and for the text frames of WebSockets.

use chinwag_protocol::{Kind, Refused};
use serde::de::DeserializeOwned;

use super::strict;

/// How deep arrays and objects may be nested.
pub const DEPTH_MAX: usize = 32;
/// How many keys, values and openings of arrays and objects there may be.
pub const TOKENS_MAX: usize = 10_000;
/// What is kept of a parser's words: they may quote the input.
const MESSAGE_CHARACTERS_MAX: usize = 200;

/// Reads one JSON value into a type of the protocol.
///
/// # Errors
/// `bad_json` with the path of the field that was wrong, or `too_large`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    scan(bytes)?;
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    if let Ok(value) = strict::deserialize(&mut parser)
        && parser.end().is_ok()
    {
        return Ok(value);
    }
    // Keeping track of the path costs time, so it is done only once something is wrong.
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let wrong = match serde_path_to_error::deserialize::<_, T>(strict::Strict(&mut parser)) {
        Err(wrong) => {
            let path = wrong.path().to_string();
            bad_field(path, &wrong.into_inner().to_string())
        }
        Ok(_) => bad("", "there is text after the value"),
    };
    Err(wrong)
}

fn bad(path: &str, why: &str) -> Refused {
    let why = why.chars().take(MESSAGE_CHARACTERS_MAX).collect::<String>();
    let refused = Refused::new(Kind::Invalid, "bad_json", why);
    if path.is_empty() { refused } else { refused.at(path) }
}

/// The path of what is missing or there twice ends one step too early; the name is in the parser's words.
fn bad_field(path: String, why: &str) -> Refused {
    let mut path = if path == "." { String::new() } else { path };
    let named =
        ["missing field `", "duplicate field `"].into_iter().find_map(|start| why.strip_prefix(start));
    if let Some((name, _)) = named.and_then(|rest| rest.split_once('`')) {
        let dot = if path.is_empty() { "" } else { "." };
        path = format!("{path}{dot}{name}");
    }
    bad(&path, why)
}

fn too_large(why: String) -> Refused {
    Refused::new(Kind::TooLarge, "too_large", why)
}

/// An array or object that is open.
#[derive(Clone, Copy)]
enum Open<'a> {
    Array(usize),
    Object { key: &'a [u8], at_key: bool },
}

/// Looks only at what the parser lets through; what is no JSON at all is left to the parser.
fn scan(bytes: &[u8]) -> Result<(), Refused> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut tokens = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let begins_token = match byte {
            b'{' | b'[' => {
                if open.len() == DEPTH_MAX {
                    return Err(too_large(format!("nested deeper than {DEPTH_MAX}")));
                }
                let object = Open::Object { key: b"", at_key: true };
                open.push(if *byte == b'{' { object } else { Open::Array(0) });
                true
            }
            b'}' | b']' => {
                open.pop();
                false
            }
            b':' | b',' => {
                match open.last_mut() {
                    Some(Open::Object { at_key, .. }) => *at_key = *byte == b',',
                    Some(Open::Array(index)) => *index += 1,
                    None => {}
                }
                false
            }
            b'"' => {
                let (len, has_nul) = string(&bytes[at + 1..]);
                let content = &bytes[at + 1..at + 1 + len];
                if let Some(Open::Object { key, at_key: true }) = open.last_mut() {
                    *key = content;
                }
                if has_nul {
                    return Err(bad(&path(&open), "text must not hold the character NUL"));
                }
                at += len + 1;
                true
            }
            b' ' | b'\t' | b'\r' | b'\n' => false,
            // A number or a word: to its end.
            _ => {
                while bytes.get(at + 1).is_some_and(|next| !b" \t\r\n,:]}[{\"".contains(next)) {
                    at += 1;
                }
                true
            }
        };
        tokens += usize::from(begins_token);
        if tokens > TOKENS_MAX {
            return Err(too_large(format!("more than {TOKENS_MAX} values")));
        }
        at += 1;
    }
    Ok(())
}

/// The length of a string up to its closing quote, and whether it holds a NUL.
fn string(bytes: &[u8]) -> (usize, bool) {
    let mut at = 0;
    let mut has_nul = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => break,
            b'\\' => {
                has_nul |= bytes[at + 1..].starts_with(b"u0000");
                at += 1;
            }
            0 => has_nul = true,
            _ => {}
        }
        at += 1;
    }
    (at.min(bytes.len()), has_nul)
}

/// Where in the value the scan is, in the manner of `serde_path_to_error`.
fn path(open: &[Open<'_>]) -> String {
    let mut path = String::new();
    for one in open {
        match one {
            Open::Array(index) => path.push_str(&format!("[{index}]")),
            Open::Object { key, .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(&key[..key.len().min(MESSAGE_CHARACTERS_MAX)]));
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::{Command, Device};
    use serde::Deserialize;

    use super::*;

    fn device(json: &str) -> Result<Device, (Kind, Option<String>)> {
        decode(json.as_bytes()).map_err(|refused| (refused.kind, refused.field))
    }

    #[test]
    fn names_the_field_that_was_wrong() {
        for (json, field) in [
            (r#"{"handle": 1, "password": "x"}"#, Some("handle")),
            (r#"{"handle": "a", "password": null}"#, Some("password")),
            (r#"{"handle": "a"}"#, Some("password")),
            (r#"{"handle": "a", "password": "b", "admin": true}"#, Some("admin")),
            (r#"{"handle": "a", "handle": "b", "password": "c"}"#, Some("handle")),
            (r#"{"handle": "a\u0000", "password": "b"}"#, Some("handle")),
            ("{\"handle\": \"a\0\", \"password\": \"b\"}", Some("handle")),
            (r#"{"handle": "a", "password": "\ud800"}"#, Some("password")),
            (r#"{"handle": "a", "password": "b", "cookie": 1}"#, Some("cookie")),
            (r#"{"handle": "a", "password": "b", "cookie": "true"}"#, Some("cookie")),
            (r#"["a", "b"]"#, None),
            ("", None),
            ("{", None),
            ("\u{feff}{}", None),
            (r#"{"handle": "a", "password": "b"} x"#, None),
            (r#"{"handle": "a", "password": "b"} // why"#, None),
        ] {
            let (kind, at) = device(json).unwrap_err();
            assert_eq!(kind, Kind::Invalid, "{json}");
            if let Some(field) = field {
                assert_eq!(at.as_deref(), Some(field), "{json}");
            }
        }
        assert!(decode::<Device>(b"{\"handle\": \"a\xff\", \"password\": \"b\"}").is_err());
        assert_eq!(device(r#"{"handle": "a", "password": "b"}"#).unwrap().handle, "a");
    }

    #[test]
    fn numbers_are_what_they_say() {
        let join = |number: &str| {
            decode::<Command>(format!(r#"{{"join": {{"conversation": {number}}}}}"#).as_bytes()).is_ok()
        };
        assert!(join("1"));
        assert!(join("4294967295"));
        for wrong in [
            "4294967296",
            "-1",
            "1.0",
            "1e400",
            "NaN",
            "\"1\"",
            "true",
            "null",
            "[1]",
            "01",
            "9007199254740993",
        ] {
            assert!(!join(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_path_of_a_nul_goes_through_arrays() {
        #[derive(Debug, Deserialize)]
        struct Deep {
            #[expect(dead_code, reason = "never reached")]
            a: Vec<Vec<String>>,
        }
        let refused =
            decode::<Deep>(br#"{"b": {"a": ["x", "y"]}, "a": [["x"], ["y", "\u0000"]]}"#).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("a[1][1]"));
        // An escaped backslash before `u0000` is text.
        assert!(decode::<Vec<String>>(br#"["\\u0000"]"#).is_ok());
        assert!(decode::<Vec<String>>(br#"["\\\u0000"]"#).is_err());
    }

    #[test]
    fn depth_and_tokens_hold_at_their_limits() {
        let nested = |depth: usize| scan(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        assert!(nested(DEPTH_MAX - 1).is_ok());
        assert!(nested(DEPTH_MAX).is_ok());
        assert_eq!(nested(DEPTH_MAX + 1).unwrap_err().kind, Kind::TooLarge);
        assert_eq!(nested(200_000).unwrap_err().kind, Kind::TooLarge);
        let many = |tokens: usize| decode::<Vec<u8>>(format!("[{}1]", "1,".repeat(tokens - 2)).as_bytes());
        assert!(many(TOKENS_MAX - 1).is_ok());
        assert!(many(TOKENS_MAX).is_ok());
        assert_eq!(many(TOKENS_MAX + 1).unwrap_err().kind, Kind::TooLarge);
    }

    /// What every route and frame decodes: nothing panics, what is taken is JSON without NUL that can be read in one
    /// way only, and what we write of it we read again.
    #[test]
    fn fuzz_http_json() {
        bolero::check!().for_each(|input| {
            holds::<Command>(input);
            holds::<chinwag_protocol::Query>(input);
            holds::<Device>(input);
            holds::<chinwag_protocol::ClientFrame>(input);
        });
    }

    fn holds<T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug>(input: &[u8]) {
        let Ok(value) = decode::<T>(input) else { return };
        let loose: serde_json::Value = serde_json::from_slice(input).expect("what we take is JSON");
        assert!(!loose.to_string().contains("\\u0000"), "a NUL came through: {value:?}");
        let direct = T::deserialize(loose).expect("no key that is there twice, so a map says the same");
        assert_eq!(direct, value);
        let wire = serde_json::to_vec(&value).expect("plain data can always be written");
        assert_eq!(decode::<T>(&wire).as_ref(), Ok(&value));
    }
}
