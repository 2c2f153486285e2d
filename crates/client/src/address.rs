//! Where a server is.

use std::{fmt, str::FromStr};

/// The port that is meant when none is named.
pub const DEFAULT_PORT: u16 = 8008;

/// A server's host and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an address; one of version 6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The text does not say where a server is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// Encryption is not built yet.
    #[error("https is not available in this version: use http:// on a network you trust, or a tunnel")]
    Encrypted,
    /// Something else is wrong.
    #[error("not the address of a server: {0:?}; expected http://HOST:PORT or HOST:PORT")]
    Malformed(String),
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let malformed = || NotAnAddress::Malformed(text.to_owned());
        if text.starts_with("https://") || text.starts_with("wss://") {
            return Err(NotAnAddress::Encrypted);
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        if rest.contains("://") {
            return Err(malformed());
        }
        // What follows the host is of no use here, so that a link copied from the browser works.
        let rest = rest.split(['/', '#', '?']).next().unwrap_or_default();
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or_else(malformed)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| malformed())?;
                (host, after.strip_prefix(':').or(after.is_empty().then_some("")).ok_or_else(malformed)?)
            }
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_plain) {
            return Err(malformed());
        }
        let port = if port.is_empty() { DEFAULT_PORT } else { port.parse().map_err(|_| malformed())? };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl Address {
    /// `host:port`, as in the header `Host`.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_type() {
        for (text, expected) in [
            ("localhost", "http://localhost:8008"),
            ("127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://chat.lab:80/", "http://chat.lab:80"),
            ("http://127.0.0.1:8008/#/invite/abc", "http://127.0.0.1:8008"),
            ("[::1]:8008", "http://[::1]:8008"),
            ("http://[::1]", "http://[::1]:8008"),
        ] {
            assert_eq!(
                text.parse::<Address>().map(|address| address.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for wrong in
            ["", "http://", ":80", "host:port", "host:70000", "a b", "[::1", "[x]", "ftp://host:1", "::1"]
        {
            assert!(matches!(wrong.parse::<Address>(), Err(NotAnAddress::Malformed(_))), "{wrong:?}");
        }
        assert_eq!("https://host".parse::<Address>(), Err(NotAnAddress::Encrypted));
    }
}
