//! What the person who runs the server has decided about one door.

use std::{fmt, net::IpAddr, str::FromStr};

use chinwag_protocol::Millis;
use jiff::{Timestamp, Zoned, civil::DateTime, tz::TimeZone};

use crate::Moment;

/// How the UDP wire tells people about each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each user is told the others' own addresses, and they talk directly.
    #[default]
    Direct,
    /// Each user is told the server's address for everybody, so that all is stored and addresses stay hidden.
    Relay,
}

/// A network: the addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u128::from(own.to_bits()), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let rest = width - u32::from(self.bits);
        own.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = String;

    /// Reads `192.168.0.0/16`, or a single address.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let wrong = || format!("{text:?} is not a network such as 192.168.0.0/16");
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The settings of one door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether people may come in by their name alone, where the wire has such a way.
    pub open: bool,
    /// How the UDP wire tells people about each other.
    pub mode: Mode,
    /// From where a datagram's source address is believed.
    pub trusted_networks: Vec<Network>,
    /// Where this door listens, as its clients should know it.
    pub listen: std::net::SocketAddr,
    /// The address of the web app, for lines that link to it; without a slash at its end.
    pub web: String,
    /// The time of the wall at the listener's start: with a [`Moment`], the time of day.
    pub started_at: Millis,
    /// In which zone times are told.
    pub zone: TimeZone,
}

impl Settings {
    /// Settings of a door for a test of one of its parts.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            open: false,
            mode: Mode::Direct,
            trusted_networks: Vec::new(),
            listen: "127.0.0.1:7767".parse().expect("an address"),
            web: String::new(),
            started_at: Millis(1),
            zone: TimeZone::UTC,
        }
    }

    /// The time of the wall at a moment. For what people read, never for order.
    pub fn wall(&self, now: Moment) -> Millis {
        Millis(self.started_at.0.saturating_add(i64::try_from(now.0.as_millis()).unwrap_or(i64::MAX)))
    }

    /// A time as people of the door's zone read it.
    pub fn local(&self, at: Millis) -> Zoned {
        Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }

    /// Such a time, read back by its format; nothing if it is none.
    pub fn read_local(&self, format: &str, text: &str) -> Option<Millis> {
        let there = DateTime::strptime(format, text).ok()?.to_zoned(self.zone.clone()).ok()?;
        Some(Millis(there.timestamp().as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_was_written() {
        let settings = Settings { zone: TimeZone::fixed(jiff::tz::offset(2)), ..Settings::plain() };
        let format = "%a %b %e %H:%M:%S %Y";
        for (text, at) in
            [("Fri Nov 20 23:19:28 2026", 1_795_209_568_000), ("Fri Nov 6 03:09:08 2026", 1_793_927_348_000)]
        {
            assert_eq!(settings.read_local(format, text), Some(Millis(at)), "{text}");
        }
        let again = settings.local(Millis(1_795_209_568_000)).strftime(format).to_string();
        assert_eq!(again, "Fri Nov 20 23:19:28 2026");
        for wrong in [
            "",
            "Fri Nov 31 23:19:28 2026",
            "Mon Nov 20 23:19:28 2026",
            "Fre Nov 20 23:19:28 2026",
            "a b c d e",
        ] {
            assert_eq!(settings.read_local(format, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.168.0.0/16", "192.168.255.1", "192.169.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "203.0.113.7", "2001:db8::1"),
            ("fc00::/7", "fdff::1", "fe00::1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for wrong in ["", "1.2.3.4/33", "::/129", "1.2.3/8", "1.2.3.4/-1", "here"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
