//! The command line of the acknowledged UDP chat: the words of its own two programs, and what we add.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args as Arguments;

use super::Password;

/// The two programs of the acknowledged UDP chat.
#[derive(Debug, Arguments)]
#[command(after_long_help = "\
The server keeps everything in a data folder, like `chinwag serve`, and lets people in by their name alone. It listens
on this machine only, unless told otherwise. Everybody else can come through the web app; where that is and how to make
the first administrator stands on standard error.

The client understands: send NAME TEXT, send_all TEXT, dereg NAME, reg NAME. At the end of its input it signs out.

Examples:
  chinwag udp -s 5555
  chinwag udp -c anna 127.0.0.1 5555 6000
  chinwag udp -c anna '' 5555 6000 --password-stdin     an account with a password; what is typed follows it")]
pub(crate) struct Udp {
    /// Run the server at this port
    #[arg(id = "old_server", short = 's', value_name = "PORT", num_args = 0..)]
    pub(crate) server: Option<Vec<String>>,
    /// Run a client: its name, the server's address and port, and a port of its own
    #[arg(id = "old_client", short = 'c', value_names = ["NAME", "SERVER_IP", "SERVER_PORT", "CLIENT_PORT"], num_args = 0.., allow_negative_numbers = true)]
    pub(crate) client: Option<Vec<String>>,
    #[command(flatten)]
    pub(crate) password: Password,
    /// Where the server keeps everything [default: ./chinwag-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where the server's web app listens [default: 127.0.0.1:8008]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Let other machines reach the server, though others on the network can read along
    #[arg(long)]
    pub(crate) i_understand_plaintext: bool,
}
