//! Two network namespaces with a cable between them that can be pulled, made slow, and made to lose packets.
//!
//! The server stands in one, its clients in the other. Both go when their owner does, and what a run that was killed
//! left behind goes at the next one.

use std::{fs::File, net::SocketAddr, os::fd::AsFd, thread};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::chaos::tools::{does, does_with};

/// The server's and the clients' end of the cable. Nobody outside of the namespaces sees these addresses.
const SERVER: &str = "10.79.0.1";
const CLIENTS: &str = "10.79.0.2";

/// What a server that is reached over the cable needs besides its limits.
pub(super) const SETTINGS: &str = "plaintext = true\nregistration = \"open\"\n";

/// Rates that count addresses, which loopback is exempt from.
pub(super) const ADDRESSES_LIFTED: &str = "registrations_per_address = { per_s = 1e6, burst = 1000000 }
sign_ins_per_address = { per_s = 1e6, burst = 1000000 }
failures_per_address = { per_s = 1e6, burst = 1000000 }
";

/// One of the two ends.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Server,
    Clients,
}

/// See the module.
pub(super) struct Wire {
    name: String,
}

fn ip(words: &str) -> Result<()> {
    does("ip", &words.split(' ').collect::<Vec<_>>())
}

impl Wire {
    /// Makes both ends, and tries whatever a row is going to do to them; fails with the reason if this machine cannot.
    pub(super) fn new(row: &str) -> Result<Self> {
        sweep();
        let wire = Self { name: format!("cw{}-{row}", std::process::id()) };
        let (server, clients) = (wire.space(Side::Server), wire.space(Side::Clients));
        ip(&format!("netns add {server}"))?;
        ip(&format!("netns add {clients}"))?;
        ip(&format!("link add cable netns {server} type veth peer name cable netns {clients}"))?;
        for (space, address) in [(&server, SERVER), (&clients, CLIENTS)] {
            ip(&format!("-n {space} addr add {address}/24 dev cable"))?;
            ip(&format!("-n {space} link set cable up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        wire.rules(Side::Clients, "numgen random mod 100 < 0 drop\n")?;
        wire.heal(Side::Clients)?;
        Ok(wire)
    }

    fn space(&self, side: Side) -> String {
        let side = match side {
            Side::Server => "s",
            Side::Clients => "c",
        };
        format!("{}{side}", self.name)
    }

    /// What runs a program at that end.
    pub(super) fn tool(&self, side: Side) -> [String; 4] {
        ["ip".to_owned(), "netns".to_owned(), "exec".to_owned(), self.space(side)]
    }

    /// The server's address for its clients.
    pub(super) fn address(port: u16) -> SocketAddr {
        format!("{SERVER}:{port}").parse().expect("an address and a port")
    }

    /// Does something at that end, in a thread of its own.
    pub(super) fn inside<T: Send>(&self, side: Side, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let space = File::open(format!("/run/netns/{}", self.space(side))).context("no such namespace")?;
        let run = || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        };
        thread::scope(|scope| scope.spawn(run).join())
            .map_err(|_| anyhow!("a thread in a namespace panicked"))?
    }

    /// Pulls the cable: nothing passes, and nobody is told.
    pub(super) fn pull(&self) -> Result<()> {
        ip(&format!("-n {} link set cable down", self.space(Side::Clients)))
    }

    pub(super) fn plug_in(&self) -> Result<()> {
        ip(&format!("-n {} link set cable up", self.space(Side::Clients)))
    }

    /// Rules for what arrives at that end, one on each line, instead of those before.
    pub(super) fn rules(&self, side: Side, rules: &str) -> Result<()> {
        let all = format!(
            "table inet chaos\ndelete table inet chaos\ntable inet chaos {{\nchain arriving {{\ntype filter hook input priority 0;\n{rules}}}\n}}\n"
        );
        does_with("ip", &["netns", "exec", &self.space(side), "nft", "-f", "-"], &all)
    }

    /// No rules any more.
    pub(super) fn heal(&self, side: Side) -> Result<()> {
        does("ip", &["netns", "exec", &self.space(side), "nft", "delete", "table", "inet", "chaos"])
    }

    /// So many bits a second in each direction, as from a modem with a queue of half a second.
    pub(super) fn narrow(&self, bits_per_s: u32) -> Result<()> {
        for side in [Side::Server, Side::Clients] {
            let space = self.space(side);
            let limit = (bits_per_s / 16).max(4_000);
            let words = format!(
                "netns exec {space} tc qdisc replace dev cable root tbf rate {bits_per_s}bit burst 1600 limit {limit}"
            );
            ip(&words)?;
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for side in [Side::Server, Side::Clients] {
            let _ = ip(&format!("netns del {}", self.space(side)));
        }
    }
}

/// Removes what runs left behind that are not there any more.
fn sweep() {
    for space in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = space.file_name().to_string_lossy().into_owned();
        let run = name.strip_prefix("cw").and_then(|rest| rest.split_once('-'));
        if let Some((pid, _)) = run
            && pid.parse::<u32>().is_ok()
            && !std::path::Path::new("/proc").join(pid).exists()
        {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}
