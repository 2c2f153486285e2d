//! Who one is on which server: a file that only its owner may read.
//!
//! Holds session tokens, never passwords.

use std::{
    env, fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chinwag_protocol::{SessionId, UserId};
use serde::{Deserialize, Serialize};

use crate::Address;

/// A session on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `http://host:port`.
    pub server: String,
    /// One's handle there.
    pub handle: String,
    /// One's id there.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Its secret.
    pub token: String,
}

impl Account {
    /// A name for files that belong to this account.
    pub fn file_stem(&self) -> String {
        let host: String = self
            .server
            .trim_start_matches("http://")
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        format!("{host}-u{}", self.user)
    }
}

/// The accounts of this machine's user; the last one that signed in is the one that is meant when none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The latest sign-in last.
    #[serde(default, rename = "account")]
    pub accounts: Vec<Account>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read or written.
    #[error("cannot {doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: String,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// It is not what this program writes.
    #[error("cannot understand {path}: {problem}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong. The parser's own words are left out, because they would show a token.
        problem: &'static str,
    },
}

impl Credentials {
    /// Reads the file; an absent one holds nobody.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|_| CredentialsError::Malformed {
                path: path.display().to_string(),
                problem: "it is not a list of accounts; sign in again after moving it away",
            }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(failed(path, "read", cause)),
        }
    }

    /// Changes the file: at once or not at all, and not at the same time as another process.
    pub fn change(path: &Path, change: impl FnOnce(&mut Self)) -> Result<(), CredentialsError> {
        let write = || -> io::Result<fs::File> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let lock = private().create(true).truncate(false).open(path.with_extension("lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = write().map_err(|cause| failed(path, "lock", cause))?;
        let mut credentials = Self::load(path)?;
        change(&mut credentials);
        let text = toml::to_string(&credentials).expect("accounts are plain text");
        let beside = path.with_extension("new");
        let replace = || -> io::Result<()> {
            // Removed first, so that the mode is that of a new file.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = private().create_new(true).open(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        replace().map_err(|cause| failed(path, "write", cause))?;
        drop(lock);
        Ok(())
    }

    /// Adds an account, or renews its session.
    pub fn put(&mut self, account: Account) {
        self.accounts.retain(|other| (&other.server, other.user) != (&account.server, account.user));
        self.accounts.push(account);
    }

    /// The account that is meant: the last one that fits what was named.
    pub fn find(&self, server: Option<&Address>, handle: Option<&str>) -> Option<&Account> {
        let server = server.map(ToString::to_string);
        self.accounts.iter().rev().find(|account| {
            server.as_ref().is_none_or(|server| account.server == *server)
                && handle.is_none_or(|handle| account.handle.eq_ignore_ascii_case(handle))
        })
    }
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn failed(path: &Path, doing: &'static str, cause: io::Error) -> CredentialsError {
    CredentialsError::File { doing, path: path.display().to_string(), cause }
}

/// `$XDG_CONFIG_HOME/chinwag`, by default `~/.config/chinwag`.
pub fn config_folder() -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config")
}

/// `$XDG_STATE_HOME/chinwag`, by default `~/.local/state/chinwag`: the outbox.
pub fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

/// `$XDG_CACHE_HOME/chinwag`, by default `~/.cache/chinwag`: what can be asked for again.
pub fn cache_folder() -> Option<PathBuf> {
    folder("XDG_CACHE_HOME", ".cache")
}

fn folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    // A relative path is to be ignored, says the XDG specification.
    let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = named.or_else(|| env::home_dir().map(|home| home.join(below_home)))?;
    Some(base.join("chinwag"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn account(server: &str, handle: &str, user: u32) -> Account {
        let (server, handle) = (server.to_owned(), handle.to_owned());
        Account { server, handle, user: UserId(user), session: SessionId(1), token: format!("ses_{user}") }
    }

    #[test]
    fn the_latest_account_that_fits_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chinwag/credentials.toml");
        assert_eq!(Credentials::load(&path).unwrap().find(None, None), None);
        for account in [
            account("http://a:1", "anna", 2),
            account("http://b:1", "bert", 2),
            account("http://a:1", "Cleo", 3),
        ] {
            Credentials::change(&path, |all| all.put(account)).unwrap();
        }
        let all = Credentials::load(&path).unwrap();
        let handle = |server: Option<&str>, handle: Option<&str>| {
            let server = server.map(|server| server.parse().unwrap());
            all.find(server.as_ref(), handle).map(|account| account.handle.as_str())
        };
        assert_eq!(handle(None, None), Some("Cleo"));
        assert_eq!(handle(Some("a:1"), Some("anna")), Some("anna"));
        assert_eq!(handle(None, Some("cleo")), Some("Cleo"));
        assert_eq!(handle(Some("b:1"), None), Some("bert"));
        assert_eq!(handle(Some("b:1"), Some("anna")), None);
    }

    #[test]
    fn only_the_owner_may_read_it_also_after_it_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.toml");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Credentials::change(&path, |all| all.put(account("http://a:1", "anna", 2))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_kept_and_shows_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.toml");
        fs::write(&path, "token = ses_secret").unwrap();
        let error = Credentials::change(&path, |_| ()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "token = ses_secret");
    }
}
