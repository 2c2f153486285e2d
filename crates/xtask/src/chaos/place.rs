//! A folder, a port, and the server that belongs there.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;

use super::{
    Bed,
    process::{Folder, Random, Server, address},
};

/// See the module. The folder goes with it.
pub(super) struct Place {
    _folder: Folder,
    server: PathBuf,
    pub(super) data: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) random: Random,
}

impl Place {
    pub(super) fn new(bed: &Bed, name: &str) -> Result<Self> {
        let folder = Folder::new(name)?;
        let data = folder.0.join("data");
        let mixed = |sum: u64, byte: u8| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        let mut random = Random(bed.seed ^ name.bytes().fold(0, mixed));
        let address = address(&mut random);
        Ok(Self { _folder: folder, server: bed.server.clone(), data, address, random })
    }

    /// Starts the server. `tool`: a program with its arguments that is to run it.
    pub(super) fn start(&self, tool: &[&str]) -> Result<Server> {
        Server::start(&self.server, tool, &self.data, self.address)
    }

    /// The same with a configuration of one's own.
    pub(super) fn start_with(&self, tool: &[&str], settings: &str) -> Result<Server> {
        Server::start_with(&self.server, tool, &self.data, self.address, settings)
    }
}
