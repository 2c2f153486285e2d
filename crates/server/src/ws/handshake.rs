//! The opening handshake: whether a request may become a WebSocket, and what is answered.
//!
//! Who may ask from which page is decided before, in `http::origin`.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

/// RFC 6455, 1.3.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// For the header `Sec-WebSocket-Accept` of the answer 101.
    pub accept: HeaderValue,
}

/// Checks a request for an upgrade.
///
/// # Errors
/// With 426 for a request that is no upgrade or asks for another version, 400 for one that breaks the RFC.
pub fn accept(method: &Method, version: Version, headers: &HeaderMap) -> Result<Handshake, StatusCode> {
    let upgrade = has_token(headers, &header::UPGRADE, "websocket");
    if method != Method::GET || version != Version::HTTP_11 || !upgrade {
        return Err(StatusCode::UPGRADE_REQUIRED);
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(StatusCode::BAD_REQUEST);
    }
    match single(headers, &header::SEC_WEBSOCKET_VERSION) {
        Some(version) if version.as_bytes() == b"13" => {}
        _ => return Err(StatusCode::UPGRADE_REQUIRED),
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY).ok_or(StatusCode::BAD_REQUEST)?;
    match BASE64_STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => {}
        _ => return Err(StatusCode::BAD_REQUEST),
    }
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(MAGIC).finalize();
    let accept = HeaderValue::from_str(&BASE64_STANDARD.encode(digest)).expect("base64 is a header value");
    Ok(Handshake { accept })
}

fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(changes: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            map.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            match value {
                Some(value) => drop(map.insert(*name, HeaderValue::from_static(value))),
                None => drop(map.remove(*name)),
            }
        }
        map
    }

    #[test]
    fn answers_the_example_of_the_rfc() {
        let handshake = accept(&Method::GET, Version::HTTP_11, &headers(&[])).unwrap();
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn refuses_what_is_no_handshake() {
        const UPGRADE: StatusCode = StatusCode::UPGRADE_REQUIRED;
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        for (changes, expected) in [
            (&[("upgrade", None)][..], UPGRADE),
            (&[("upgrade", Some("h2c"))], UPGRADE),
            (&[("connection", None)], BAD),
            (&[("connection", Some("close"))], BAD),
            (&[("sec-websocket-version", None)], UPGRADE),
            (&[("sec-websocket-version", Some("8"))], UPGRADE),
            (&[("sec-websocket-version", Some("13, 8"))], UPGRADE),
            (&[("sec-websocket-key", None)], BAD),
            (&[("sec-websocket-key", Some("short"))], BAD),
            (&[("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"))], BAD),
        ] {
            assert_eq!(
                accept(&Method::GET, Version::HTTP_11, &headers(changes)),
                Err(expected),
                "{changes:?}"
            );
        }
        assert_eq!(accept(&Method::POST, Version::HTTP_11, &headers(&[])), Err(UPGRADE));
        assert_eq!(accept(&Method::GET, Version::HTTP_10, &headers(&[])), Err(UPGRADE));
    }

    #[test]
    fn refuses_two_keys() {
        let mut two = headers(&[]);
        two.append("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(accept(&Method::GET, Version::HTTP_11, &two), Err(StatusCode::BAD_REQUEST));
    }
}
