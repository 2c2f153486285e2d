//! `register`, `login`, `logout`.

use chinwag_client::{
    Http,
    cache::Cache,
    credentials::{Account, Credentials},
};
use chinwag_protocol::{Device, SignedIn};
use serde_json::json;

use super::{
    password,
    session::{self, Session},
};
use crate::{
    args::{Global, Login, Register},
    exit::{Outcome, Stop},
    show::{Out, note},
};

/// `chinwag register`.
pub(crate) async fn register(global: &Global, out: &Out, args: Register) -> Outcome {
    let server = session::server(global)?;
    let password =
        password::read(&args.password, &format!("New password for {} on {server}: ", args.handle), true)?;
    let device = Device {
        handle: bare(&args.handle),
        password,
        device: args.device.unwrap_or_else(session::device),
        invite: args.invite.as_deref().map(token_of),
        cookie: false,
    };
    let http = Http { server, token: None };
    let signed_in = http.register(&device).await?;
    keep(out, &http, &device.handle, signed_in, "Registered and signed in")
}

/// `chinwag login`.
pub(crate) async fn login(global: &Global, out: &Out, args: Login) -> Outcome {
    let server = session::server(global)?;
    let password =
        password::read(&args.password, &format!("Password of {} on {server}: ", args.handle), false)?;
    let name = args.device.unwrap_or_else(session::device);
    let device = Device { handle: bare(&args.handle), password, device: name, invite: None, cookie: false };
    let http = Http { server, token: None };
    let signed_in = http.sign_in(&device).await?;
    keep(out, &http, &device.handle, signed_in, "Signed in")
}

/// `chinwag logout`.
pub(crate) async fn logout(global: &Global, out: &Out) -> Outcome {
    let session = Session::find(global)?;
    match session.http.sign_out().await.map_err(Stop::from) {
        // An ended session is as good as a signed-out one.
        Ok(()) | Err(Stop::NotSignedIn(_)) => {}
        Err(Stop::Refused(refused)) if refused.kind == chinwag_protocol::Kind::NotSignedIn => {}
        Err(stop) => return Err(stop),
    }
    let account = &session.account;
    Credentials::change(&session::credentials_file()?, |all| all.accounts.retain(|other| other != account))?;
    for file in [session.cache(), session.watched(), session.names()].into_iter().flatten() {
        Cache::new(&file).remove()?;
    }
    out.either(
        || json!({"signed_out": account.handle, "server": account.server}),
        || format!("Signed out {} of {}", out.name(&account.handle), account.server),
    )
}

fn keep(out: &Out, http: &Http, handle: &str, signed_in: SignedIn, done: &str) -> Outcome {
    let SignedIn { user, session, token, change_password } = signed_in;
    let Some(token) = token else { return session::foreign() };
    let server = http.server.to_string();
    let file = session::credentials_file()?;
    let account = Account { server: server.clone(), handle: handle.to_owned(), user, session, token };
    Credentials::change(&file, |all| all.put(account))?;
    if change_password {
        note(&format!(
            "This password came with the account from another system. Choose a new one in the web app: {server}/#/settings"
        ));
    }
    if !out.json {
        note(&format!("The session is kept in {}", file.display()));
    }
    out.either(
        || json!({"user": user, "session": session, "handle": handle, "server": server}),
        || format!("{done} as {} on {server}", out.name(handle)),
    )
}

/// A handle as people write it.
fn bare(handle: &str) -> String {
    handle.trim_start_matches('@').to_owned()
}

/// The token of a link, or what is a token already.
pub(crate) fn token_of(link: &str) -> String {
    link.trim_end_matches('/').rsplit('/').next().unwrap_or(link).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_and_its_token_are_the_same() {
        for link in ["http://127.0.0.1:8008/#/invite/inv_abc-_1", "inv_abc-_1", "/#/setup/inv_abc-_1/"] {
            assert_eq!(token_of(link), "inv_abc-_1");
        }
    }
}
