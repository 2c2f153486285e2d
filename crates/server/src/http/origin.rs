//! Which host a request may be for, and from which pages it may come.
//!
//! A browser lets any page send requests to us. What tells ours from others: the `Host` it believes to talk to
//! (another name pointing at this machine is DNS rebinding), the `Origin` of the page, and `Sec-Fetch-Site`.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// The names under which this server may be addressed.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Only the machine itself can reach the server: only its own names are good.
    pub loopback_only: bool,
    /// `https://chat.example.org` of the configuration.
    pub public_origin: Option<String>,
    /// Further names, in lower case, without a port.
    pub hosts: Vec<String>,
}

/// The host a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// With the port, in lower case, as in an origin.
    pub authority: String,
    /// Whether browsers grant `Secure` cookies to it.
    pub secure: bool,
}

impl Names {
    /// The host of a request, if it is one of ours.
    pub fn host(&self, uri: &Uri, headers: &HeaderMap) -> Option<Host> {
        let stated = headers.get(header::HOST).map_or(Ok(""), HeaderValue::to_str).ok()?.to_ascii_lowercase();
        // An absolute request target must name the same host.
        if uri.authority().is_some_and(|target| !target.as_str().eq_ignore_ascii_case(&stated)) {
            return None;
        }
        let name = without_port(&stated)?;
        let public = self.public_origin.as_deref().and_then(|origin| origin.split_once("://"));
        let is_public = public.is_some_and(|(_, authority)| without_port(authority) == Some(name));
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let itself = name == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        // HTTP/1.0 may leave the host out; such a client is no browser.
        let known = name.is_empty() || itself || is_public || self.hosts.iter().any(|host| host == name);
        // Rebinding needs a name, so addresses are harmless where the network can reach us anyway.
        let open =
            !self.loopback_only && (ip.is_some() || (self.public_origin.is_none() && self.hosts.is_empty()));
        let https = is_public && public.is_some_and(|(scheme, _)| scheme == "https");
        (known || open).then(|| Host { authority: stated.clone(), secure: itself || https })
    }

    /// Whether a page of this origin is ours.
    pub fn is_ours(&self, origin: &str, host: &Host) -> bool {
        let same_host =
            |scheme| origin.strip_prefix(scheme).is_some_and(|authority| authority == host.authority);
        // Which of the two it is depends on the proxy in front; nobody else can be https on our host.
        same_host("http://") || same_host("https://") || self.public_origin.as_deref() == Some(origin)
    }

    /// Whether a request that changes something may come from where it says. `by_cookie`: the browser added the
    /// credential by itself, so it must also say which page asked.
    pub fn may_write(&self, headers: &HeaderMap, host: &Host, by_cookie: bool) -> bool {
        let mut sites = headers.get_all("sec-fetch-site").iter();
        if !sites.all(|site| site == "same-origin" || site == "none") {
            return false;
        }
        match one(headers, &header::ORIGIN) {
            One::Value(origin) => self.is_ours(origin, host),
            One::Absent => !by_cookie,
            One::Bad => false,
        }
    }
}

enum One<'a> {
    Absent,
    Value(&'a str),
    Bad,
}

fn one<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> One<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => One::Absent,
        (Some(Ok(value)), None) => One::Value(value),
        _ => One::Bad,
    }
}

/// The name of `name:port`; `None` if it is not one.
fn without_port(authority: &str) -> Option<&str> {
    let (name, port) = match authority.rfind([':', ']']) {
        Some(at) if authority.as_bytes()[at] == b':' => (&authority[..at], &authority[at + 1..]),
        _ => (authority, "1"),
    };
    let bracketed = name.starts_with('[') && name.ends_with(']');
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let port_good = !port.is_empty() && port.len() <= 5 && port.bytes().all(|digit| digit.is_ascii_digit());
    (port_good && (bracketed || plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn host(names: &Names, host: &str) -> Option<bool> {
        names.host(&Uri::from_static("/"), &headers(&[("host", host)])).map(|host| host.secure)
    }

    fn public() -> Names {
        Names {
            loopback_only: true,
            public_origin: Some("https://chat.example.org".into()),
            hosts: vec!["chinwag.local".into()],
        }
    }

    #[test]
    fn on_loopback_only_our_own_names_are_good() {
        let names = Names { loopback_only: true, ..Names::default() };
        for good in
            ["localhost", "localhost:8008", "LOCALHOST:1", "127.0.0.1:8008", "127.9.9.9", "[::1]:8008"]
        {
            assert_eq!(host(&names, good), Some(true), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "192.168.1.2:8008",
            "127.0.0.1.evil.example",
            "a b",
            "[::2]",
        ] {
            assert_eq!(host(&names, bad), None, "{bad}");
        }
        for bad in [
            "localhost:",
            "localhost:x",
            "localhost:123456",
            "user@localhost",
            "localhost/x",
            "localhost:1:2",
        ] {
            assert_eq!(host(&names, bad), None, "{bad}");
        }
        assert_eq!(host(&public(), "chat.example.org"), Some(true));
        assert_eq!(host(&public(), "chinwag.local:8008"), Some(false));
        assert_eq!(host(&public(), "other.example.org"), None);
    }

    #[test]
    fn on_a_network_addresses_are_good_and_names_if_none_is_configured() {
        let names = Names { loopback_only: false, ..Names::default() };
        assert_eq!(host(&names, "192.168.1.2:8008"), Some(false));
        assert_eq!(host(&names, "anything.lan"), Some(false));
        let named = Names { loopback_only: false, ..public() };
        assert_eq!(host(&named, "anything.lan"), None);
        assert_eq!(host(&named, "192.168.1.2:8008"), Some(false));
    }

    #[test]
    fn an_absolute_target_must_name_the_same_host() {
        let names = Names { loopback_only: true, ..Names::default() };
        let host = headers(&[("host", "localhost:1")]);
        assert!(names.host(&Uri::from_static("http://localhost:1/x"), &host).is_some());
        assert!(names.host(&Uri::from_static("http://localhost:2/x"), &host).is_none());
        assert!(names.host(&Uri::from_static("http://evil.example/x"), &host).is_none());
    }

    #[test]
    fn only_our_own_pages_may_write() {
        let names = public();
        let host = Host { authority: "localhost:8008".into(), secure: true };
        for (pairs, by_cookie, expected) in [
            (&[][..], false, true),
            (&[], true, false),
            (&[("origin", "http://localhost:8008")], true, true),
            (&[("origin", "https://localhost:8008")], true, true),
            (&[("origin", "https://chat.example.org")], true, true),
            (&[("origin", "null")], false, false),
            (&[("origin", "null")], true, false),
            (&[("origin", "http://localhost")], true, false),
            (&[("origin", "http://localhost:80089")], true, false),
            (&[("origin", "http://localhost:8008.evil.example")], true, false),
            (&[("origin", "https://chat.example.org.evil.example")], true, false),
            (&[("origin", "https://xchat.example.org")], true, false),
            (&[("origin", "http://chat.example.org")], true, false),
            (&[("origin", "http://localhost:8008"), ("origin", "http://evil.example")], true, false),
            (&[("origin", "http://localhost:8008"), ("sec-fetch-site", "cross-site")], true, false),
            (&[("origin", "http://localhost:8008"), ("sec-fetch-site", "same-site")], true, false),
            (&[("sec-fetch-site", "cross-site")], false, false),
            (&[("origin", "http://localhost:8008"), ("sec-fetch-site", "same-origin")], true, true),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, value.parse().unwrap());
            }
            assert_eq!(
                names.may_write(&map, &host, by_cookie),
                expected,
                "{pairs:?}, by cookie: {by_cookie}"
            );
        }
    }
}
