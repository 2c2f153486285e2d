//! The cookie that holds a browser's session token.
//!
//! With the prefix `__Host-` no other site on the same domain, and nobody on the wire, can set it. Browsers take
//! that prefix only with `Secure`, which they grant to https and to the machine itself; on a bare network without
//! TLS a plain name has to do.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

/// How many cookies a request may carry.
const COOKIES_MAX: usize = 50;
/// As long as an unused session lives.
const LIFETIME_S: i64 = chinwag_domain::limits::SESSION_IDLE_MS / 1000;

/// The name of the session cookie.
pub fn name(secure: bool) -> &'static str {
    if secure { "__Host-chinwag" } else { "chinwag" }
}

/// The session token of a request's cookies, if there is one.
///
/// # Errors
/// 400 for two of the same name, or for more cookies than any browser has for us.
pub fn token(headers: &HeaderMap, secure: bool) -> Result<Option<String>, StatusCode> {
    let mut found = None;
    let mut count = 0;
    for value in headers.get_all(header::COOKIE) {
        let value = value.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
        for cookie in value.split(';') {
            count += 1;
            if count > COOKIES_MAX {
                return Err(StatusCode::BAD_REQUEST);
            }
            let Some((key, value)) = cookie.trim().split_once('=') else { continue };
            if key == name(secure) && found.replace(value.to_owned()).is_some() {
                return Err(StatusCode::BAD_REQUEST);
            }
        }
    }
    Ok(found)
}

/// Hands a token over.
pub fn set(token: &str, secure: bool) -> HeaderValue {
    cookie(token, LIFETIME_S, secure)
}

/// Takes it back.
pub fn clear(secure: bool) -> HeaderValue {
    cookie("", 0, secure)
}

fn cookie(token: &str, lifetime_s: i64, secure: bool) -> HeaderValue {
    let secure_attribute = if secure { "; Secure" } else { "" };
    let text = format!(
        "{}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lifetime_s}{secure_attribute}",
        name(secure)
    );
    HeaderValue::from_str(&text).expect("tokens are base64url")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str], secure: bool) -> Result<Option<String>, StatusCode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::COOKIE, HeaderValue::from_str(value).unwrap());
        }
        token(&headers, secure)
    }

    #[test]
    fn takes_only_the_name_of_its_mode() {
        assert_eq!(read(&["a=b; __Host-chinwag=ses_1; chinwag=ses_2"], true), Ok(Some("ses_1".into())));
        assert_eq!(read(&["a=b; __Host-chinwag=ses_1; chinwag=ses_2"], false), Ok(Some("ses_2".into())));
        assert_eq!(read(&["chinwag=ses_2; __host-chinwag=x; x__Host-chinwag=y"], true), Ok(None));
        assert_eq!(read(&[], true), Ok(None));
    }

    #[test]
    fn refuses_two_sessions() {
        assert_eq!(read(&["chinwag=a; chinwag=a"], false), Err(StatusCode::BAD_REQUEST));
        assert_eq!(read(&["chinwag=a", "chinwag=b"], false), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn the_number_of_cookies_holds_at_its_limit() {
        let cookies = |count: usize| read(&[&vec!["a=b"; count].join("; ")], true);
        assert_eq!(cookies(COOKIES_MAX - 1), Ok(None));
        assert_eq!(cookies(COOKIES_MAX), Ok(None));
        assert_eq!(cookies(COOKIES_MAX + 1), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn is_out_of_reach_of_scripts_and_other_sites() {
        assert_eq!(
            set("ses_x", true),
            "__Host-chinwag=ses_x; Path=/; HttpOnly; SameSite=Strict; Max-Age=7776000; Secure"
        );
        assert_eq!(clear(false), "chinwag=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    }
}
