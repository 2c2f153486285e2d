//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use chinwag_client::Address;
use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};

mod identity;
mod udp;

pub(crate) use identity::{AppPassword, Import};
pub(crate) use udp::Udp;

use crate::exit::EXIT_CODES;

/// One conversation, many doors: a self-hosted messenger in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "chinwag",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = EXIT_CODES)]
#[command(after_long_help = format!("\
Examples:
  chinwag serve                                  start a server on http://127.0.0.1:8008
  chinwag register anna                          make an account there and sign in
  chinwag send --to @bert 'are you there?'       say something to bert
  make 2>&1 | tail -20 | chinwag send --to '#lab'
  chinwag read '#lab' --limit 50
  chinwag watch --json | jq -r .text             follow everything, also across restarts

{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Arguments)]
pub(crate) struct Global {
    /// The server; by default the one of the latest sign-in, else http://127.0.0.1:8008
    #[arg(long, global = true, env = "CHINWAG_SERVER", value_name = "URL")]
    pub(crate) server: Option<Address>,
    /// Which of several accounts, by its handle; by default the one that signed in last
    #[arg(long, global = true, env = "CHINWAG_ACCOUNT", value_name = "HANDLE")]
    pub(crate) account: Option<String>,
    /// One JSON object per line instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(Serve),
    /// Make an account and sign in
    Register(Register),
    /// Sign in
    Login(Login),
    /// Sign out and forget the session
    Logout,
    /// Passwords for programs of other systems
    #[command(subcommand)]
    AppPassword(AppPassword),
    /// Say something
    Send(Send),
    /// Show what waits to be sent, and send it
    Outbox {
        /// What to do with it
        #[command(subcommand)]
        action: Option<OutboxAction>,
    },
    /// Read a page of a conversation
    Read(Read),
    /// Save a file of a message
    Fetch(Fetch),
    /// Follow what happens
    Watch(Watch),
    /// Who is there
    Who(Who),
    /// Search in everything one may read
    Search(Search),
    /// Groups and channels
    #[command(subcommand)]
    Groups(Groups),
    /// What only administrators of the server may do
    #[command(subcommand)]
    Admin(Admin),
    /// The two programs of the acknowledged UDP chat
    Udp(Udp),
    /// Take over users and waiting messages of another system
    Import(Import),
    /// Check everything that is stored, byte by byte
    Scrub(Scrub),
    /// Copy everything that is stored into one file, also while the server runs
    Backup(Backup),
    /// Make a data folder of a backup
    Restore(Restore),
    /// Check this machine and a server
    Doctor(Doctor),
    /// Load test
    #[command(subcommand)]
    Bench(Bench),
}

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
that also holds from one run to the next.

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

/// Check everything that is stored.
#[derive(Debug, Arguments)]
pub(crate) struct Scrub {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "chinwag-data")]
    pub(crate) data: PathBuf,
}

/// Copy everything that is stored into one file.
#[derive(Debug, Arguments)]
#[command(after_help = "\
The file holds one state of the store: everything that was acknowledged before the command began, and nothing half.
It is checked as `chinwag scrub` does it, and appears under its name when it is whole. It holds private messages and
can be used to sign in as anybody who is signed in: keep it as safe as the data folder.

The files of messages (the folder files) and the configuration (chinwag.toml) are not in it: copy them after it.

Example:
  chinwag backup /backup/chinwag-$(date +%F) --data /srv/chinwag

With --json: {\"file\", \"taken_at\", \"last_at\", \"entries\", \"records\", \"damaged\", \"contents\", \"epoch\", \"bytes\"}")]
pub(crate) struct Backup {
    /// The file to make; there must be none of that name
    pub(crate) file: PathBuf,
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "chinwag-data")]
    pub(crate) data: PathBuf,
}

/// Make a data folder of a backup.
#[derive(Debug, Arguments)]
#[command(after_help = "\
Verifies the file first. Never overwrites a store: the folder must not have one, or not be there. Clients that come
back notice that it is another store and load everything anew; what was acknowledged after the backup is gone, and
sessions that ended after it are good again. The search index is made again at the first start. The files of messages
are not in a backup: copy the folder files beside the restored store.

Example:
  chinwag restore /backup/chinwag-2026-11-21 --data /srv/chinwag-restored

With --json: as of `chinwag backup --json`, the epoch being the new one")]
pub(crate) struct Restore {
    /// The backup
    pub(crate) file: PathBuf,
    /// The data folder to make
    #[arg(long, value_name = "DIR", default_value = "chinwag-data")]
    pub(crate) data: PathBuf,
}

/// Check this machine and a server.
#[derive(Debug, Arguments)]
pub(crate) struct Doctor {
    /// The data folder of a server on this machine
    #[arg(long, value_name = "DIR", default_value = "chinwag-data")]
    pub(crate) data: PathBuf,
    /// Where it would listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8008")]
    pub(crate) listen: SocketAddr,
}

/// What all scenarios understand.
#[derive(Clone, Debug, Arguments)]
pub(crate) struct BenchCommon {
    /// How long to measure, in seconds
    #[arg(long, alias = "seconds", value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) duration: u64,
    /// How long to run before measuring, in seconds
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) warm_up: u64,
    /// Open loop: so many messages a second by a fixed schedule; latency counts from the scheduled time
    #[arg(long, value_name = "PER_S", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Bytes of each message's text
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(64..=16_000))]
    pub(crate) size: u32,
    /// Data folder of the server that is started for the test; kept and used again, accounts included.
    /// By default a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The process that --server means, to measure its memory and processor time
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
}

/// Load test.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Without --server a server of its own is started on a free port of 127.0.0.1, with a temporary data folder and the
rates of [limits] lifted (they are printed), and ended afterwards. Text counts as delivered when its sender has the
acknowledgement and every receiver has the entry.

Examples:
  chinwag bench dm --pairs 64 --inflight 16
  chinwag bench dm --rate 5000 --duration 30 --json
  chinwag bench idle --connections 5000
  chinwag bench doors --pairs 16")]
pub(crate) enum Bench {
    /// Pairs of users who write to each other
    Dm {
        /// How many pairs
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        pairs: u32,
        /// Messages of each user on their way at the same time (closed loop)
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        inflight: u32,
        #[command(flatten)]
        common: BenchCommon,
    },
    /// Groups in which one member writes and all are told
    Group {
        /// How many groups
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        groups: u32,
        /// Members of each
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=5_000))]
        members: u32,
        /// Messages of each group on their way at the same time (closed loop)
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        inflight: u32,
        #[command(flatten)]
        common: BenchCommon,
    },
    /// Connections that only stay
    Idle {
        /// How many
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
        connections: u32,
        /// At this door instead of the native protocol, such as tcp_json
        #[arg(long, value_name = "NAME", conflicts_with = "server")]
        door: Option<String>,
        #[command(flatten)]
        common: BenchCommon,
    },
    /// Users who come back to waiting messages
    Offline {
        /// How many users
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        users: u32,
        /// Messages that wait for each
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        waiting: u32,
        #[command(flatten)]
        common: BenchCommon,
    },
    /// All connections are cut and come back at once
    Reconnect {
        /// How many
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=200_000))]
        connections: u32,
        #[command(flatten)]
        common: BenchCommon,
    },
    /// Private messages through each door, set against the native protocol in the same run
    Doors {
        /// How many pairs write to each other on each wire
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=2_000))]
        pairs: u32,
        /// Messages of each user on their way at the same time, on the wires that can have more than one
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        inflight: u32,
        /// Instead: one message at a time to a group that is spread over all wires
        #[arg(long)]
        fanout: bool,
        /// Members of that group
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(6..=20_000))]
        members: u32,
        #[command(flatten)]
        common: BenchCommon,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("chinwag").chain(line.iter().copied()))
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_anywhere() {
        let args =
            parse(&["send", "--to", "@bert", "--json", "hello", "there", "--server", "chat.lab:80"]).unwrap();
        assert!(args.global.json);
        assert_eq!(args.global.server.unwrap().to_string(), "http://chat.lab:80");
        let Command::Send(send) = args.command else { panic!("another command") };
        assert_eq!(send.text, ["hello", "there"]);
    }

    #[test]
    fn doors_repeat() {
        let args = parse(&["serve", "--door", "a=127.0.0.1:1", "--door", "b=127.0.0.1:2", "--print-config"])
            .unwrap();
        let Command::Serve(serve) = args.command else { panic!("another command") };
        assert_eq!(serve.door, ["a=127.0.0.1:1", "b=127.0.0.1:2"]);
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            &["send", "hello"][..],
            &["send", "--to", "@b", "--lines", "hello"],
            &["read", "#lab", "--limit", "201"],
            &["read", "#lab", "--before", "1", "--after", "2"],
            &["serve", "--listen", "nonsense"],
            &["login"],
            &["who", "--server", "https://chat"],
            &["bench", "dm", "--pairs", "0"],
            &["dance"],
        ] {
            let error = parse(line).expect_err("a usage error");
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn no_flag_takes_a_password() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                assert!(
                    !name.contains("password") || name == "password_stdin",
                    "{name} of {}",
                    command.get_name()
                );
                assert!(!name.contains("token"), "{name} of {}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }

    #[test]
    fn every_help_can_be_shown() {
        fn check(command: &mut clap::Command) {
            assert!(!command.render_long_help().to_string().is_empty());
            command.get_subcommands_mut().for_each(check);
        }
        let mut command = Args::command();
        assert!(command.render_long_help().to_string().contains("5  cannot reach the server"));
        check(&mut command);
    }
}
