//! Each client's table of users: whom it has been told of, where, and whether he is there.
//!
//! "Never send `online X`, `offline X` or `Error [Client X ..` to a client that has not had `system_broadcast X`:
//! a KeyError ends its receiver thread. Nor its own name."

use std::{collections::BTreeMap, net::SocketAddr};

use chinwag_protocol::UserId;

/// Where users of this wire are.
pub(super) type Addresses = BTreeMap<UserId, SocketAddr>;

/// What one client has been told.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<String, Row>,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    address: SocketAddr,
    online: bool,
}

impl Table {
    /// Whether the client knows the name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.rows.contains_key(name)
    }

    /// The datagram that tells where somebody is and that he is there, if that is news.
    pub(super) fn here(&mut self, name: &str, address: SocketAddr) -> Option<String> {
        let row = Row { address, online: true };
        match self.rows.insert(name.to_owned(), row) {
            Some(before) if before == (Row { address, online: true }) => None,
            // "`online NAME`" is for who was told where he is, and he is still there.
            Some(before) if before.address == address => Some(format!("online {name}")),
            _ => Some(format!("system_broadcast {name} {} {}", address.ip(), address.port())),
        }
    }

    /// The datagram that tells that somebody has gone, if that is news to the client.
    pub(super) fn gone(&mut self, name: &str) -> Option<String> {
        let row = self.rows.get_mut(name).filter(|row| row.online)?;
        row.online = false;
        Some(format!("offline {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hears_only_of_whom_it_knows_and_only_news() {
        let (one, other) = ("127.0.0.1:4000".parse().unwrap(), "127.0.0.1:4001".parse().unwrap());
        let mut table = Table::default();
        assert_eq!(table.gone("x"), None);
        assert_eq!(table.here("x", one).as_deref(), Some("system_broadcast x 127.0.0.1 4000"));
        assert_eq!(table.here("x", one), None);
        assert_eq!(table.gone("x").as_deref(), Some("offline x"));
        assert_eq!(table.gone("x"), None);
        assert_eq!(table.here("x", one).as_deref(), Some("online x"));
        assert_eq!(table.here("x", other).as_deref(), Some("system_broadcast x 127.0.0.1 4001"));
        assert!(table.knows("x") && !table.knows("y"));
    }
}
