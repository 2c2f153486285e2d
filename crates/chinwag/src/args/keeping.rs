//! The command line around what is stored, and the machine that it is on.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args as Arguments;

/// Check everything that is stored.
#[derive(Debug, Arguments)]
pub(crate) struct Scrub {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "chinwag-data")]
    pub(crate) data: PathBuf,
}

/// Copy everything that is stored into a file, and the files of messages into a folder beside it.
#[derive(Debug, Arguments)]
#[command(after_help = "\
The file holds one state of the store: everything that was acknowledged before the command began, and nothing half.
It is checked as `chinwag scrub` does it, and appears under its name when it is whole. It holds private messages and
can be used to sign in as anybody who is signed in: keep it as safe as the data folder.

The files of messages lie beside it, in a folder whose name ends with .files, each compared with its name; no file
that the backup names is missing. What the backup that was taken last in the same folder has is not copied again, but
gets one more name (a hard link). The configuration (chinwag.toml) is in neither.

Example:
  chinwag backup /backup/chinwag-$(date +%F) --data /srv/chinwag

With --json: {\"file\", \"taken_at\", \"last_at\", \"entries\", \"records\", \"damaged\", \"contents\", \"epoch\", \"bytes\",
\"files\", \"file_bytes\"}")]
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
are brought back too; if one of them is not beside the backup as it was, nothing is restored, unless --without-files
is given.

Example:
  chinwag restore /backup/chinwag-2026-11-21 --data /srv/chinwag-restored

With --json: as of `chinwag backup --json`, the epoch being the new one")]
pub(crate) struct Restore {
    /// The backup
    pub(crate) file: PathBuf,
    /// Restore messages without their files, because these are lost
    #[arg(long)]
    pub(crate) without_files: bool,
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
