//! The command line of groups and channels.

use clap::Subcommand;

/// Groups and channels.
#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    /// One's conversations, or with --public those that one may join
    List {
        /// Public ones whose handle, name or topic contains the text
        #[arg(long)]
        public: bool,
        /// The text
        #[arg(default_value = "")]
        text: String,
    },
    /// Make one and become its owner
    Create {
        /// The name shown
        name: String,
        /// A channel: only admins post
        #[arg(long)]
        channel: bool,
        /// Anybody may find and join it
        #[arg(long)]
        public: bool,
        /// The unique name of a public one; derived from the name if absent
        #[arg(long)]
        handle: Option<String>,
        /// What it is about
        #[arg(long, default_value = "")]
        topic: String,
        /// New members see only what comes after they joined
        #[arg(long)]
        hide_history: bool,
        /// Whom to add at once; may repeat
        #[arg(long, value_name = "@HANDLE")]
        add: Vec<String>,
    },
    /// Join a public one, or with an invitation link
    Join {
        /// #handle, or a link
        which: String,
    },
    /// Leave
    Leave {
        /// Which
        which: String,
    },
    /// Who is in it
    Members {
        /// Which
        which: String,
    },
    /// Add somebody
    Add {
        /// Where
        which: String,
        /// Whom
        user: String,
    },
    /// Remove somebody
    Remove {
        /// Where
        which: String,
        /// Whom
        user: String,
        /// He may not come back until the ban is lifted
        #[arg(long)]
        ban: bool,
    },
    /// Make an invitation link
    Invite {
        /// To what
        which: String,
        /// How often it can be used
        #[arg(long, default_value_t = 10)]
        uses: u32,
        /// How long it is good
        #[arg(long, default_value_t = 168)]
        hours: u32,
    },
}
