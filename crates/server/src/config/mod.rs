//! What the owner of a server may choose: one struct, read once, handed down in parts.
//!
//! Where each value came from is the business of [`sources`]. What is wrong is said in one line that names the
//! setting, where it was set, and what to write instead.

mod sources;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use axum::http::Uri;
use chinwag_domain::limits::Limits;
use chinwag_protocol::Registration;
use serde::{Deserialize, Deserializer, de::Error};

pub use sources::{ConfigError, Flags, Loaded, Setting, Source, load};

use crate::{
    http::origin::Names,
    listen::{Deadlines, HeadSizes, doors},
};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Whether to listen on other addresses than loopback without encryption.
    pub plaintext: bool,
    /// The address people open, if there is a TLS proxy in front.
    #[serde(deserialize_with = "or_empty")]
    pub public_url: Option<PublicUrl>,
    /// Further host names of this server.
    pub hosts: Vec<String>,
    /// Proxies whose word about the client's address is believed.
    pub proxies: Vec<IpAddr>,
    /// Who may make an account at first; `None`: by where the server can be reached.
    #[serde(deserialize_with = "or_auto")]
    pub registration: Option<Registration>,
    /// Where to serve figures.
    #[serde(deserialize_with = "or_empty")]
    pub metrics: Option<SocketAddr>,
    /// A file of numbered poems.
    #[serde(deserialize_with = "or_empty")]
    pub poems: Option<PathBuf>,
    /// Log lines.
    pub log: LogConfig,
    /// Deadlines of HTTP.
    pub http: HttpConfig,
    /// Rates and counts.
    pub limits: Limits,
    /// Doors to other chat systems that are open.
    #[serde(default)]
    pub doors: BTreeMap<String, DoorConfig>,
}

/// What to log and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// In the manner of `info,chinwag_server=debug`.
    pub filter: String,
    /// For people or programs.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Deadlines of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// From the first byte of a head to its last.
    pub head_timeout_ms: u32,
    /// Between two requests.
    pub idle_timeout_ms: u32,
    /// For a whole body.
    pub body_timeout_ms: u32,
    /// Before a body must keep up with its rate.
    pub body_grace_ms: u32,
    /// The rate of a body.
    pub body_bytes_per_s_min: u32,
    /// Without progress while writing.
    pub write_timeout_ms: u32,
}

/// An open door.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Further addresses of the same door.
    #[serde(default)]
    pub aliases: Vec<SocketAddr>,
    /// Whether it takes only passwords made for it.
    #[serde(default)]
    pub app_passwords: bool,
    /// Whether accounts can be made there.
    #[serde(default = "yes")]
    pub register: bool,
    /// Whether people may come in by their name alone, as guests, where the wire has such a way.
    #[serde(default)]
    pub open: bool,
    /// How the UDP wire tells people about each other.
    #[serde(default)]
    pub mode: DoorMode,
    /// From where a datagram's source address is believed.
    #[serde(default = "private_networks")]
    pub trusted_networks: Vec<TrustedNetwork>,
}

impl DoorConfig {
    /// A door as it is when nothing but its address is said.
    pub fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            aliases: Vec::new(),
            app_passwords: false,
            register: true,
            open: false,
            mode: DoorMode::Direct,
            trusted_networks: private_networks(),
        }
    }

    /// Every address at which it listens, the first one first.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.listen).chain(self.aliases.iter().copied())
    }
}

/// How the UDP wire tells people about each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DoorMode {
    /// The others' own addresses: programs talk to each other directly.
    #[default]
    Direct,
    /// The server's address for everybody: all is stored, and addresses stay hidden.
    Relay,
}

impl From<DoorMode> for chinwag_doors::Mode {
    fn from(mode: DoorMode) -> Self {
        match mode {
            DoorMode::Direct => Self::Direct,
            DoorMode::Relay => Self::Relay,
        }
    }
}

/// A network such as `192.168.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedNetwork(pub chinwag_doors::Network);

impl<'de> Deserialize<'de> for TrustedNetwork {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Self).map_err(D::Error::custom)
    }
}

fn yes() -> bool {
    true
}

/// This machine and private networks, where forging a source address gains nothing that being there does not.
fn private_networks() -> Vec<TrustedNetwork> {
    [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1",
        "fc00::/7",
        "fe80::/10",
    ]
    .into_iter()
    .filter_map(|network| network.parse().ok().map(TrustedNetwork))
    .collect()
}

/// The address people open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https` or `http`.
    pub scheme: String,
    /// Host and port, in lower case.
    pub authority: String,
}

impl PublicUrl {
    /// As a browser states it.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected an address such as https://chat.example.org, without a path";
        let uri = text.parse::<Uri>().map_err(|_| EXPECTED)?;
        match (uri.scheme_str(), uri.authority(), uri.path(), uri.query()) {
            (Some(scheme @ ("http" | "https")), Some(authority), "/", None)
                if !authority.as_str().contains('@') =>
            {
                Ok(Self { scheme: scheme.to_owned(), authority: authority.as_str().to_ascii_lowercase() })
            }
            _ => Err(EXPECTED),
        }
    }
}

impl HttpConfig {
    /// The deadlines of a connection.
    pub fn deadlines(&self) -> Deadlines {
        Deadlines {
            head: Duration::from_millis(self.head_timeout_ms.into()),
            idle: Duration::from_millis(self.idle_timeout_ms.into()),
            write: Duration::from_millis(self.write_timeout_ms.into()),
        }
    }

    /// The sizes of a head, which are not for choosing.
    pub fn head_sizes(&self) -> HeadSizes {
        HeadSizes::default()
    }

    /// For a whole body.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms.into())
    }

    /// Before a body must keep up with its rate.
    pub fn body_grace(&self) -> Duration {
        Duration::from_millis(self.body_grace_ms.into())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8008)),
            data: PathBuf::from("./chinwag-data"),
            plaintext: false,
            public_url: None,
            hosts: Vec::new(),
            proxies: Vec::new(),
            registration: None,
            metrics: None,
            poems: None,
            log: LogConfig { filter: "info,refinery_core=warn".to_owned(), format: LogFormat::Text },
            http: HttpConfig {
                head_timeout_ms: 10_000,
                idle_timeout_ms: 60_000,
                body_timeout_ms: 30_000,
                body_grace_ms: 5_000,
                body_bytes_per_s_min: 1_024,
                write_timeout_ms: 30_000,
            },
            limits: Limits::default(),
            doors: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Who may make an account at first.
    pub fn first_registration(&self) -> Registration {
        let local = match self.listen.ip() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        // With a public address, everybody can come through the proxy.
        let closed = !local || self.public_url.is_some();
        self.registration.unwrap_or(if closed { Registration::Invite } else { Registration::Open })
    }

    /// The names under which the server may be addressed.
    pub fn names(&self) -> Names {
        Names {
            loopback_only: self.listen.ip().is_loopback(),
            public_origin: self.public_url.as_ref().map(PublicUrl::origin),
            hosts: self.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }

    /// Whether a request for this host came through TLS.
    pub fn is_https(&self, authority: &str) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme == "https" && url.authority == authority)
    }

    /// What people open, for the lines printed at the start. `bound`: where the listener really is.
    pub fn open_at(&self, bound: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.origin(),
            None => format!("http://{bound}"),
        }
    }

    /// What cannot be, although each value alone is well-formed.
    fn check(&self) -> Result<(), (String, String)> {
        let doors = self.doors.iter().flat_map(|(name, door)| {
            door.addresses().map(move |address| (format!("doors.{name}.listen"), address))
        });
        let exposed = std::iter::once(("listen".to_owned(), self.listen))
            .chain(doors)
            .find(|(_, address)| !address.ip().is_loopback());
        if let Some((key, address)) = exposed.filter(|_| !self.plaintext) {
            let message = format!(
                "{address} can be reached by other machines, and this version speaks plain HTTP only: everybody on the way \
                 could read passwords and messages; listen on 127.0.0.1 behind a TLS proxy, or, if you trust the \
                 network, add --i-understand-plaintext (plaintext = true)"
            );
            return Err((key, message));
        }
        if let Some(metrics) = self.metrics.filter(|metrics| !metrics.ip().is_loopback()) {
            let message =
                format!("{metrics} can be reached by other machines; use an address such as 127.0.0.1:9090");
            return Err(("metrics".to_owned(), message));
        }
        if self.metrics == Some(self.listen) && self.listen.port() != 0 {
            return Err(("metrics".to_owned(), format!("{} is taken by listen", self.listen)));
        }
        if self.http.body_bytes_per_s_min == 0 {
            return Err(("http.body_bytes_per_s_min".to_owned(), "must be at least 1".to_owned()));
        }
        Ok(())
    }
}

/// Whether a door of this name can be opened.
pub(crate) fn check_door(name: &str) -> Result<(), String> {
    if doors::names().any(|known| known == name) {
        return Ok(());
    }
    let known: Vec<_> = doors::names().collect();
    Err(format!("there is no door {name:?}; the known ones are {}", known.join(", ")))
}

/// A value, or nothing for an empty text.
fn or_empty<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

fn or_auto<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Registration>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "auto" => Ok(None),
        "open" => Ok(Some(Registration::Open)),
        "invite" => Ok(Some(Registration::Invite)),
        "closed" => Ok(Some(Registration::Closed)),
        other => Err(D::Error::custom(format!("{other:?} is none of auto, open, invite, closed"))),
    }
}
