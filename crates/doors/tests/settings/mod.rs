//! How the owner of the tests' server has set his doors.

use chinwag_doors::{Mode, Settings};
use chinwag_protocol::Millis;

/// Settings of a door in a private network at noon of 21 November 2026, UTC.
pub(crate) fn settings(mode: Mode) -> Settings {
    let network = |text: &str| text.parse().expect("a network");
    Settings {
        open: true,
        mode,
        trusted_networks: vec![network("127.0.0.0/8"), network("10.0.0.0/8")],
        listen: "10.0.0.1:5555".parse().expect("an address"),
        web: "http://10.0.0.1:8008".to_owned(),
        started_at: Millis(1_795_262_400_000),
        zone: jiff::tz::TimeZone::UTC,
    }
}
