//! The command line of the server's administrators.

use clap::{Subcommand, ValueEnum};

/// What only administrators of the server may do.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Works on a running server, with an administrator's session. What needs a fresh proof asks for the password."
)]
pub(crate) enum Admin {
    /// Everybody on the server
    Users {
        /// Only those whose handle or name contains this
        #[arg(default_value = "")]
        text: String,
    },
    /// No sign-in any more, and all sessions end
    Suspend {
        /// Whom
        user: String,
    },
    /// Lift a suspension
    Unsuspend {
        /// Whose
        user: String,
    },
    /// Make somebody an administrator
    #[command(name = "make-admin")]
    Promote {
        /// Whom
        user: String,
        /// Or no longer
        #[arg(long)]
        revoke: bool,
    },
    /// A link with which a user can choose a new password; good for 30 minutes
    ResetLink {
        /// Whose
        user: String,
    },
    /// End all sessions of a user
    EndSessions {
        /// Whose
        user: String,
    },
    /// Show the doors to other chat systems, or open and stop one
    #[command(after_help = "\
A door that is stopped or opened here is as the configuration says again when the server starts again.

Examples:
  chinwag admin doors
  chinwag admin doors --stop tcp_json")]
    Doors {
        /// Stops listening and closes its connections
        #[arg(long, value_name = "NAME", conflicts_with = "start")]
        stop: Option<String>,
        /// Opens it again
        #[arg(long, value_name = "NAME")]
        start: Option<String>,
    },
    /// Show or change the server's settings
    Settings {
        /// The server's name
        #[arg(long)]
        name: Option<String>,
        /// Who may make an account
        #[arg(long)]
        registration: Option<Registration>,
        /// Whether new accounts become members of Everyone
        #[arg(long)]
        everyone: Option<bool>,
    },
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Registration {
    /// Anybody who reaches the server
    Open,
    /// Whoever has an invitation link
    Invite,
    /// Nobody
    Closed,
}
