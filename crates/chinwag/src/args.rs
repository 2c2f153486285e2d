//! The command line: what every command shares, and the list of them. Each family has a file of its own.

mod account;
mod admin;
mod bench;
mod groups;
mod identity;
mod keeping;
mod messages;
mod serve;
mod udp;

use chinwag_client::Address;
use clap::{Args as Arguments, Parser, Subcommand};

pub(crate) use self::{
    account::{Login, Password, Profile, Register},
    admin::{Admin, Registration},
    bench::{Bench, BenchCommon},
    groups::Groups,
    identity::{AppPassword, Import},
    keeping::{Backup, Doctor, Restore, Scrub},
    messages::{Fetch, OutboxAction, Read, Search, Send, Watch, Who},
    serve::Serve,
    udp::Udp,
};

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
    /// Show or change what others see of one's account
    Profile(Profile),
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
