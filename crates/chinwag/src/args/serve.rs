//! The command line of the server itself.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args as Arguments;

/// Run the server.
#[derive(Debug, Arguments)]
#[command(after_help = "\
The settings come, later ones before earlier ones, from: defaults, the file, CHINWAG_* variables, these flags.

Examples:
  chinwag serve
  chinwag serve --data /srv/chinwag --listen 192.168.1.5:8008 --i-understand-plaintext
  chinwag serve --print-config")]
pub(crate) struct Serve {
    /// The configuration; by default chinwag.toml in the data folder, if there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where everything is kept [default: ./chinwag-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8008]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Opens a door for programs of another system; may repeat
    #[arg(long, value_name = "NAME=ADDR:PORT")]
    pub(crate) door: Vec<String>,
    /// Show the settings in force and where each comes from, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Listen on other addresses than this machine's own, though others on the network can read along
    #[arg(long)]
    pub(crate) i_understand_plaintext: bool,
}
