//! The command line around who somebody is: app passwords and importing.

use std::path::PathBuf;

use clap::{Args as Arguments, Subcommand};

/// Passwords for programs of other systems.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A program of an older system sends its password where others can read it. Give it one that is good for its door
alone: whoever reads it can do nothing but what that door can, and it can be taken back. The account's own password
makes all of them worthless when it is changed.

Example:
  chinwag app-password create tcp_json --name 'old laptop'")]
pub(crate) enum AppPassword {
    /// Make one; it is shown once
    Create {
        /// For which door: tcp_json, tag_json, socket_io, udp_ack, pipe_line
        door: String,
        /// What to call it in the list
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Those there are
    List,
    /// Make one worthless and end the sessions that it began
    Revoke {
        /// Its number, as shown by `list`
        number: u32,
    },
}

/// Take over users and waiting messages of another system.
#[derive(Debug, Arguments)]
#[command(after_help = "\
Reads the JSON file of users of the pipe-separated system: \"user_list\" with names, passwords and e-mail addresses,
and \"message_list\" with messages that wait. Everybody keeps his password, even one that would be refused now, and is
asked to change it. The server must be stopped. Doing it twice changes nothing the second time.

Examples:
  chinwag import users.json --dry-run
  chinwag import users.json --data /srv/chinwag

With --json, a line for each record: {\"record\": \"user\", \"number\", \"name\", \"outcome\", \"why\"}; outcome is imported, known,
or refused. The last line is {\"imported\", \"known\", \"refused\"}.")]
pub(crate) struct Import {
    /// The file
    pub(crate) file: PathBuf,
    /// Say what would happen, and change nothing; needs as much disk space again as the store takes
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "chinwag-data")]
    pub(crate) data: PathBuf,
}
