//! The session that a command acts with, and the files that belong to it.

use std::{env, path::PathBuf};

use chinwag_client::{
    Address, DEFAULT_PORT, Http,
    credentials::{self, Account, Credentials},
};
use chinwag_protocol::{Answer, Command, Query, Reply, Snapshot};

use crate::{
    args::Global,
    exit::{Outcome, Stop, failed},
};

/// A signed-in account.
pub(crate) struct Session {
    pub(crate) http: Http,
    pub(crate) account: Account,
}

/// The server that is meant when nobody has signed in yet.
pub(crate) fn server(global: &Global) -> Outcome<Address> {
    if let Some(server) = &global.server {
        return Ok(server.clone());
    }
    let credentials = Credentials::load(&credentials_file()?)?;
    let known = credentials.find(None, None).and_then(|account| account.server.parse().ok());
    Ok(known.unwrap_or(Address { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT }))
}

/// `credentials.toml`.
pub(crate) fn credentials_file() -> Outcome<PathBuf> {
    match credentials::config_folder() {
        Some(folder) => Ok(folder.join("credentials.toml")),
        None => failed("no home folder: set XDG_CONFIG_HOME to a folder for the credentials"),
    }
}

impl Session {
    /// The account that the flags name.
    pub(crate) fn find(global: &Global) -> Outcome<Self> {
        let credentials = Credentials::load(&credentials_file()?)?;
        let handle = global.account.as_deref().map(|handle| handle.trim_start_matches('@'));
        let Some(account) = credentials.find(global.server.as_ref(), handle) else {
            let (who, on) = (handle.unwrap_or("HANDLE"), global.server.as_ref());
            let on = on.map_or(String::new(), |server| format!(" --server {server}"));
            return Err(Stop::NotSignedIn(format!("not signed in\nSign in with: chinwag login {who}{on}")));
        };
        let server = account
            .server
            .parse()
            .map_err(|error: chinwag_client::NotAnAddress| Stop::Usage(error.to_string()))?;
        Ok(Self { http: Http { server, token: Some(account.token.clone()) }, account: account.clone() })
    }

    pub(crate) async fn command(&self, command: Command) -> Outcome<Reply> {
        Ok(self.http.command(&command).await?)
    }

    pub(crate) async fn query(&self, query: Query) -> Outcome<Answer> {
        Ok(self.http.query(&query).await?)
    }

    pub(crate) async fn snapshot(&self) -> Outcome<Snapshot> {
        match self.query(Query::Snapshot {}).await? {
            Answer::Snapshot(snapshot) => Ok(*snapshot),
            _ => foreign(),
        }
    }

    /// The file of the outbox.
    pub(crate) fn outbox(&self) -> Outcome<PathBuf> {
        match credentials::state_folder() {
            Some(folder) => Ok(folder.join(format!("outbox-{}.jsonl", self.account.file_stem()))),
            None => failed("no home folder: set XDG_STATE_HOME to a folder for the outbox"),
        }
    }

    /// The file of what is known; without a home folder nothing is kept.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        credentials::cache_folder()
            .map(|folder| folder.join(format!("state-{}.json", self.account.file_stem())))
    }

    /// The file in which `watch --since-last` notes how far it was.
    pub(crate) fn watched(&self) -> Option<PathBuf> {
        credentials::cache_folder()
            .map(|folder| folder.join(format!("watch-{}.json", self.account.file_stem())))
    }

    /// The file of names that were looked up, for writing while offline.
    pub(crate) fn names(&self) -> Option<PathBuf> {
        credentials::cache_folder()
            .map(|folder| folder.join(format!("names-{}.json", self.account.file_stem())))
    }
}

/// The server answered another question than the one asked.
pub(crate) fn foreign<T>() -> Outcome<T> {
    failed("the server's answer makes no sense to this version; are both of the same release?")
}

/// The name of this machine, for the list of sessions.
pub(crate) fn device() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = env::var("USER").unwrap_or_default();
    match (user.trim(), host.trim()) {
        ("", "") => "command line".to_owned(),
        ("", host) => format!("command line on {host}"),
        (user, host) => format!("command line of {user} on {host}"),
    }
}
