//! How the program ends: exit codes that scripts can rely on, and one line that says why.

use std::process::ExitCode;

use chinwag_client::{ClientError, credentials::CredentialsError, outbox::OutboxError};
use chinwag_protocol::{Kind, Refused};

use crate::show;

/// The exit codes, as `--help` shows them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or unavailable: it may work later
  2  the command line makes no sense
  3  refused by the server: it will not work like this
  4  not signed in
  5  cannot reach the server";

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Whoever reads the output has enough.
    Pipe,
    /// The command line makes no sense.
    Usage(String),
    /// There is no session to act with.
    NotSignedIn(String),
    /// The server said no.
    Refused(Refused),
    /// Nobody there.
    Unreachable(ClientError),
    /// Anything else.
    Failed(anyhow::Error),
}

/// What a command leads to.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

/// The command line makes no sense, because of this.
pub(crate) fn usage<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Stop::Usage(why.into()))
}

/// It failed, because of this.
pub(crate) fn failed<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Stop::Failed(anyhow::Error::msg(why.into())))
}

impl Stop {
    fn code(&self) -> u8 {
        match self {
            Self::Pipe => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(refused) => match refused.kind {
                Kind::Unavailable | Kind::TooMany | Kind::StorageFull => 1,
                Kind::NotSignedIn => 4,
                _ => 3,
            },
            Self::NotSignedIn(_) => 4,
            Self::Unreachable(_) => 5,
        }
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refused) => Self::Refused(refused),
            ClientError::Unreachable { .. } | ClientError::Foreign(_) => Self::Unreachable(error),
            ClientError::Lost | ClientError::Closed | ClientError::File { .. } => Self::Failed(error.into()),
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Pipe,
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<OutboxError> for Stop {
    fn from(error: OutboxError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CredentialsError> for Stop {
    fn from(error: CredentialsError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Says why, if there is something to say, and makes the exit code.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    let Err(stop) = outcome else { return ExitCode::SUCCESS };
    match &stop {
        Stop::Pipe => {}
        Stop::Usage(why) => show::note(&format!("{why}\nTry --help.")),
        Stop::NotSignedIn(why) => show::note(why),
        Stop::Refused(refused) => show::note(&refusal(refused)),
        Stop::Unreachable(error) => show::note(&chain(error)),
        Stop::Failed(error) => show::note(&format!("{error:#}")),
    }
    ExitCode::from(stop.code())
}

fn refusal(refused: &Refused) -> String {
    let mut text = format!("refused: {} ({})", refused.message, refused.code);
    if let Some(field) = &refused.field {
        text.push_str(&format!(", in {field}"));
    }
    if let Some(wait) = refused.retry_after_ms {
        text.push_str(&format!("; try again in {} s", wait.div_ceil(1000)));
    }
    if refused.kind == Kind::NotSignedIn {
        text.push_str("\nSign in with: chinwag login HANDLE");
    }
    text
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_end_has_its_code() {
        let refused = |kind| Stop::Refused(Refused::new(kind, "x", "x"));
        let unreachable = || {
            let address = "127.0.0.1:1".parse().unwrap();
            ClientError::Unreachable { address, cause: "nobody there".into() }
        };
        for (stop, code) in [
            (Stop::Pipe, 0),
            (Stop::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)), 0),
            (Stop::from(std::io::Error::from(std::io::ErrorKind::NotFound)), 1),
            (Stop::from(ClientError::Lost), 1),
            (refused(Kind::Unavailable), 1),
            (refused(Kind::TooMany), 1),
            (Stop::Usage(String::new()), 2),
            (refused(Kind::Forbidden), 3),
            (refused(Kind::NotFound), 3),
            (refused(Kind::NotSignedIn), 4),
            (Stop::NotSignedIn(String::new()), 4),
            (Stop::from(unreachable()), 5),
        ] {
            assert_eq!(stop.code(), code, "{stop:?}");
        }
    }

    #[test]
    fn the_cause_of_an_unreachable_server_is_told() {
        let address = "127.0.0.1:1".parse().unwrap();
        let error = ClientError::Unreachable { address, cause: "connection refused".into() };
        assert_eq!(chain(&error), "cannot reach http://127.0.0.1:1: connection refused");
    }
}
