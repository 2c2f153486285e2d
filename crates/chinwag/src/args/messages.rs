//! The command line of messages: saying, reading, following and looking for them.

use std::path::PathBuf;

use clap::{Args as Arguments, Subcommand};

/// How conversations are named, for the help of several commands.
const NAMES: &str = "\
A conversation is named by @handle (the private chat with that user), #handle (a public group or channel), its name,
or id:NUMBER.";

/// Say something.
#[derive(Debug, Arguments)]
#[command(after_help = NAMES)]
#[command(after_long_help = format!("{NAMES}

The message is on this machine's disk before it is sent, and sent exactly once, whatever breaks in between. The
command ends when the server has it on its disk. If the server cannot be reached within --wait, the message is taken
back and the command fails; with --queue it stays in the outbox, and the next send or `chinwag outbox send` sends it.

Examples:
  chinwag send --to @bert hello
  uptime | chinwag send --to '#ops'
  tail -f /var/log/syslog | chinwag send --to '#ops' --lines
  chinwag send --to Lab --reply-to 17 'yes, that one'
  chinwag send --to @bert --file plan.pdf 'as promised'

With --json: {{\"client_id\", \"conversation\", \"seq\", \"at\", \"time\"}}, or {{\"client_id\", \"conversation\", \"queued\": true}}"))]
pub(crate) struct Send {
    /// What to say; without it, standard input up to its end
    pub(crate) text: Vec<String>,
    /// To whom or where
    #[arg(long, value_name = "CONVERSATION")]
    pub(crate) to: String,
    /// A file to send along; may repeat
    #[arg(long, value_name = "PATH", conflicts_with = "lines")]
    pub(crate) file: Vec<PathBuf>,
    /// The number of the message that this answers
    #[arg(long, value_name = "SEQ")]
    pub(crate) reply_to: Option<u32>,
    /// The number of the first message of a thread
    #[arg(long, value_name = "SEQ")]
    pub(crate) thread: Option<u32>,
    /// Each line of standard input is a message, sent as it comes
    #[arg(long, conflicts_with = "text")]
    pub(crate) lines: bool,
    /// If the server cannot be reached, leave it in the outbox and succeed
    #[arg(long)]
    pub(crate) queue: bool,
    /// How long to try, in seconds
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub(crate) wait: u64,
}

/// What to do with the outbox.
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxAction {
    /// Show what waits
    List,
    /// Send everything that waits
    Send,
    /// Take a message back
    Drop {
        /// Its id, as shown by `list`
        client_id: String,
    },
}

/// Read a page of a conversation.
#[derive(Debug, Arguments)]
#[command(after_help = NAMES)]
#[command(after_long_help = format!("{NAMES}

With --json, oldest first: {{\"type\": \"message\", \"conversation\", \"seq\", \"at\", \"time\", \"by\", \"handle\", \"name\",
\"text\"}} and, where they apply, \"reply_to\", \"thread\", \"edited\", \"deleted\", \"pinned\", \"replies\", \"reactions\", \"mentions\",
\"attachments\";
other entries have \"type\": \"joined\", \"left\" and so on, with \"event\" as on the wire."))]
pub(crate) struct Read {
    /// Which
    pub(crate) conversation: String,
    /// At most so many entries, up to 200
    #[arg(long, short = 'n', default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) limit: u16,
    /// Those before this number; to page back
    #[arg(long, value_name = "SEQ")]
    pub(crate) before: Option<u32>,
    /// Those after this number
    #[arg(long, value_name = "SEQ", conflicts_with = "before")]
    pub(crate) after: Option<u32>,
    /// Note that one has read them
    #[arg(long)]
    pub(crate) mark_read: bool,
}

/// Save a file of a message.
#[derive(Debug, Arguments)]
#[command(after_help = NAMES)]
#[command(after_long_help = format!("{NAMES}

Without --output the file is saved in the current folder, under the name that its sender gave it. Nothing is written
over, and the file appears only when it is whole.

Examples:
  chinwag fetch @bert 17
  chinwag fetch '#lab' 42 --file 2 --output /tmp/plan.pdf

With --json: {{\"path\", \"name\", \"size\", \"media_type\"}}"))]
pub(crate) struct Fetch {
    /// Where the message is
    pub(crate) conversation: String,
    /// The number of the message
    pub(crate) message: u32,
    /// Which of its files, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) file: usize,
    /// Where to save it
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Write over what is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Follow what happens.
#[derive(Debug, Arguments)]
#[command(after_long_help = "\
Prints messages as they come, until Ctrl-C or until whoever reads the output closes it. A lost connection is tried
again with growing pauses, and what was missed comes first: nothing is left out or printed twice. With --since-last
that also holds from one run to the next; one that was killed may print its last five seconds again.

With --json: lines as of `chinwag read --json`.")]
pub(crate) struct Watch {
    /// Only these conversations; may repeat
    #[arg(long = "in", value_name = "CONVERSATION")]
    pub(crate) within: Vec<String>,
    /// Begin with what came since the last run with this flag
    #[arg(long)]
    pub(crate) since_last: bool,
    /// End after so many messages
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    /// Also joins, edits, reactions and so on
    #[arg(long)]
    pub(crate) all: bool,
    /// Note that one has read what was printed
    #[arg(long)]
    pub(crate) mark_read: bool,
}

/// Who is there.
#[derive(Debug, Arguments)]
#[command(after_help = "With --json: {\"user\", \"handle\", \"name\", \"presence\", \"seen_at\"}")]
pub(crate) struct Who {
    /// Only members of this conversation
    #[arg(long = "in", value_name = "CONVERSATION")]
    pub(crate) within: Option<String>,
    /// Everybody, also those who are not online
    #[arg(long)]
    pub(crate) all: bool,
}

/// Search in everything one may read.
#[derive(Debug, Arguments)]
#[command(after_help = "\
Words are found in any case and with any accents, also as parts of words. \"exact phrases\" in quotes. Narrow with
from:@anna in:#lab before:2026-10-01 after:2026-09-01 has:link

Example:
  chinwag search 'from:anna \"fourth floor\"'

With --json, newest first: as of `chinwag read --json`, with \"context\" and \"marks\" (byte ranges that matched).")]
pub(crate) struct Search {
    /// What to look for
    #[arg(required = true)]
    pub(crate) text: Vec<String>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20)]
    pub(crate) limit: usize,
}
