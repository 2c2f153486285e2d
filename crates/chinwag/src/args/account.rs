//! The command line of an account: making one, signing in, and what others see of it.

use std::path::PathBuf;

use clap::Args as Arguments;

/// Where a password comes from; never from the command line, which other users of the machine can see.
#[derive(Clone, Debug, Arguments)]
pub(crate) struct Password {
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

const PASSWORD_HELP: &str = "\
The password is asked for on the terminal, or read from standard input with --password-stdin, or taken from the
variable CHINWAG_PASSWORD. It is never an argument: other users of the machine could see it.";

/// Make an account and sign in.
#[derive(Debug, Arguments)]
#[command(after_help = PASSWORD_HELP)]
#[command(after_long_help = format!("{PASSWORD_HELP}

Examples:
  chinwag register anna
  chinwag register root --invite http://127.0.0.1:8008/#/setup/TOKEN     the first administrator
  pass show chat | chinwag register bot1 --password-stdin --device builder

With --json: {{\"user\", \"session\", \"handle\", \"server\"}}"))]
pub(crate) struct Register {
    /// The unique name wished for
    pub(crate) handle: String,
    /// An invitation or setup link, or its token
    #[arg(long, value_name = "LINK")]
    pub(crate) invite: Option<String>,
    /// What to call this device in the list of sessions
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    #[command(flatten)]
    pub(crate) password: Password,
}

/// Sign in.
#[derive(Debug, Arguments)]
#[command(after_help = PASSWORD_HELP)]
pub(crate) struct Login {
    /// One's handle
    pub(crate) handle: String,
    /// What to call this device in the list of sessions
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<String>,
    #[command(flatten)]
    pub(crate) password: Password,
}

/// Show or change what others see of one's account.
#[derive(Debug, Arguments)]
#[command(after_help = "With --json: {\"user\", \"handle\", \"name\", \"about\", \"hue\", \"avatar\"}")]
pub(crate) struct Profile {
    /// The name shown
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A few words about oneself; an empty text removes them
    #[arg(long, value_name = "TEXT")]
    pub(crate) about: Option<String>,
    /// The picture shown: a PNG, JPEG, GIF or WebP of at most 1 MiB
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
    /// Show no picture any more
    #[arg(long, conflicts_with = "picture")]
    pub(crate) no_picture: bool,
}
