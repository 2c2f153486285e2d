//! The command line of the load test.

use std::path::PathBuf;

use clap::{Args as Arguments, Subcommand};

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
