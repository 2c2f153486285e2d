//! How many connections there may be: of one address, and of all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use chinwag_domain::limits::Limits;

use crate::limit::network;

/// Files that are not connections: the store, its readers, listeners, logs.
const OTHER_FILES: u64 = 128;

/// Counts connections. Cheap to clone.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    per_address: u32,
    per_private_address: u32,
    total_max: u64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: u64,
    addresses: HashMap<IpAddr, u32>,
}

/// The place of one connection; given back when its last clone is dropped.
#[derive(Clone)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Arc<Place>);

struct Place {
    budget: Budget,
    address: IpAddr,
}

impl Budget {
    /// A budget by the limits and by how many files this process may open, which is raised as far as it goes.
    pub fn new(limits: &Limits) -> Self {
        Self::with_files(limits, raise_file_limit())
    }

    fn with_files(limits: &Limits, files_max: u64) -> Self {
        Self(Arc::new(Inner {
            per_address: limits.connections_per_address,
            per_private_address: limits.connections_per_private_address,
            total_max: files_max.saturating_sub(OTHER_FILES).max(16),
            open: Mutex::default(),
        }))
    }

    /// A place for a connection from an address, if there is one.
    pub fn open(&self, address: IpAddr) -> Option<Permit> {
        let address = network(address);
        let max = self.max_of(address);
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = open.addresses.get(&address).copied().unwrap_or(0);
        if of_address >= max || open.total >= self.0.total_max {
            return None;
        }
        open.total += 1;
        open.addresses.insert(address, of_address + 1);
        drop(open);
        Some(Permit(Arc::new(Place { budget: self.clone(), address })))
    }

    /// Whether the last fifth is in use, which is kept for those who are signed in.
    pub fn is_tight(&self) -> bool {
        let total = self.0.open.lock().unwrap_or_else(PoisonError::into_inner).total;
        total > self.0.total_max / 5 * 4
    }

    fn max_of(&self, address: IpAddr) -> u32 {
        let private = match address {
            _ if address.is_loopback() => return u32::MAX,
            IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        if private { self.0.per_private_address } else { self.0.per_address }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.budget.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(count) = open.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&self.address);
            }
        }
    }
}

/// Many systems start programs with a small limit that they may raise themselves.
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_number_and_the_machine_itself_any() {
        let budget = Budget::with_files(&Limits::default(), 1_000_000);
        let mut permits: Vec<_> =
            (0..100).map(|_| budget.open(ip("203.0.113.7")).expect("there is room")).collect();
        assert!(budget.open(ip("203.0.113.7")).is_none());
        assert!(budget.open(ip("::ffff:203.0.113.7")).is_none());
        assert!(budget.open(ip("203.0.113.8")).is_some());
        permits.pop();
        permits.push(budget.open(ip("203.0.113.7")).expect("one was given back"));
        permits.extend((0..1_000).map(|_| budget.open(ip("192.168.1.2")).expect("there is room")));
        assert!(budget.open(ip("192.168.1.2")).is_none());
        permits.extend((0..5_000).map(|_| budget.open(ip("127.0.0.1")).expect("there is room")));
    }

    #[test]
    fn all_together_have_what_the_process_may_open() {
        let budget = Budget::with_files(&Limits::default(), OTHER_FILES + 100);
        let mut permits: Vec<_> =
            (0..80).map(|_| budget.open(ip("127.0.0.1")).expect("there is room")).collect();
        assert!(!budget.is_tight());
        permits.extend((0..20).map(|_| budget.open(ip("127.0.0.1")).expect("there is room")));
        assert!(budget.is_tight());
        assert!(budget.open(ip("127.0.0.1")).is_none());
        let clone = permits[0].clone();
        permits.clear();
        assert!(!budget.is_tight());
        drop(clone);
        assert_eq!(budget.0.open.lock().unwrap().total, 0);
    }
}
