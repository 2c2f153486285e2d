//! The web app, out of the program itself.
//!
//! A debug build reads the files from the folder, a release build carries them. A file whose name holds a hash of
//! its content is good for ever; the rest is asked for again each time, which costs an answer without a body. Does
//! not compress: the build of the web app leaves `.br` and `.gz` beside what is worth it.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Files;

const FOREVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// The file or page at a path; `None`: there is none.
///
/// Paths that look like a page answer the app itself, which then shows what its own address says.
pub(super) fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    if method != Method::GET && method != Method::HEAD {
        return None;
    }
    let name = file_name(path)?;
    let original = Files::get(name)?;
    let (file, encoding) =
        best(name, headers).map_or((original.clone(), None), |(file, name)| (file, Some(name)));
    Some(respond(name, &original, file, encoding, headers))
}

/// The name of the file for a path. Only plain names: no escapes, no dots but in the last part, nothing empty.
fn file_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    if name.is_empty() {
        return Some("index.html");
    }
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let plain = part.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || (last && byte == b'.')
        });
        if part.is_empty() || !plain || part.starts_with('.') {
            return None;
        }
    }
    // The compressed twins are reached through the file itself.
    let twin = name.ends_with(".br") || name.ends_with(".gz");
    if twin { None } else { Some(if name.contains('.') { name } else { "index.html" }) }
}

/// The compressed twin that the client likes best.
fn best(name: &str, headers: &HeaderMap) -> Option<(EmbeddedFile, &'static str)> {
    [("br", "br"), ("gz", "gzip")]
        .into_iter()
        .filter(|(_, encoding)| accepts(headers, encoding))
        .find_map(|(suffix, encoding)| Some((Files::get(&format!("{name}.{suffix}"))?, encoding)))
}

fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offer| {
            let (name, quality) = offer.split_once(';').unwrap_or((offer, ""));
            let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0_f32));
            name.trim().eq_ignore_ascii_case(encoding) && !refused
        })
}

fn respond(
    name: &str,
    original: &EmbeddedFile,
    file: EmbeddedFile,
    encoding: Option<&'static str>,
    headers: &HeaderMap,
) -> Response {
    let tag = tag(&file.metadata.sha256_hash());
    let mut response = if matches(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.data).into_response()
    };
    let kind = content_type(original.metadata.mimetype());
    let out = response.headers_mut();
    out.insert(header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits"));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let keep = if is_hashed(name) { FOREVER } else { ASK_AGAIN };
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    if let Ok(kind) = HeaderValue::from_str(&kind) {
        out.insert(header::CONTENT_TYPE, kind);
    }
    if let Some(encoding) = encoding {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn tag(hash: &[u8; 32]) -> String {
    let digits = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("\"{digits}\"")
}

fn matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag || known.trim() == "*")
}

fn content_type(mime: &str) -> String {
    match mime {
        "application/javascript" | "text/javascript" => "text/javascript; charset=utf-8".to_owned(),
        mime if mime.starts_with("text/") => format!("{mime}; charset=utf-8"),
        mime => mime.to_owned(),
    }
}

/// Whether the name holds a hash of the content, as the web app's build writes it: `assets/index-B3k9x_Qa.js`.
fn is_hashed(name: &str) -> bool {
    name.strip_prefix("assets/")
        .and_then(|file| file.split_once('.'))
        .is_some_and(|(stem, _)| stem.len() > 8 && stem.as_bytes()[stem.len() - 9] == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_name_a_file() {
        for (path, name) in [
            ("/", Some("index.html")),
            ("/chats", Some("index.html")),
            ("/chats/12", Some("index.html")),
            ("/favicon.svg", Some("favicon.svg")),
            ("/assets/index-B3k9x_Qa.js", Some("assets/index-B3k9x_Qa.js")),
            ("/assets/index-B3k9x_Qa.js.br", None),
            ("//", None),
            ("//etc/passwd", None),
            ("/a//b", None),
            ("/a/", None),
            ("/..", None),
            ("/../x", None),
            ("/a/../b", None),
            ("/a.b/c", None),
            ("/.git", None),
            ("/%2e%2e/x", None),
            ("/a%00", None),
            ("/a;x=1", None),
            ("/a\\b", None),
            ("/\u{e9}", None),
        ] {
            assert_eq!(file_name(path), name, "{path}");
        }
    }

    #[test]
    fn only_hashed_names_are_kept_for_ever() {
        assert!(is_hashed("assets/index-B3k9x_Qa.js"));
        assert!(is_hashed("assets/my-part-B3-9x_Qa.css"));
        assert!(!is_hashed("assets/index.js"));
        assert!(!is_hashed("index-B3k9x_Qa.js"));
    }

    #[test]
    fn an_encoding_can_be_declined() {
        let with =
            |value: &'static str| HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]);
        assert!(accepts(&with("gzip, deflate, br"), "br"));
        assert!(accepts(&with("BR;q=0.1"), "br"));
        assert!(!accepts(&with("gzip, br;q=0"), "br"));
        assert!(!accepts(&with("bro"), "br"));
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }

    #[test]
    fn a_known_page_is_not_sent_again() {
        let page = answer(&Method::GET, "/", &HeaderMap::new()).unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let tag = page.headers()[header::ETAG].clone();
        let again =
            answer(&Method::GET, "/x", &HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)])).unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(answer(&Method::POST, "/", &HeaderMap::new()).is_none());
        assert!(answer(&Method::GET, "/no-such.file", &HeaderMap::new()).is_none());
    }
}
