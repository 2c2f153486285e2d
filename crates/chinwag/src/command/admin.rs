//! `chinwag admin`: on a running server, with an administrator's session.

use chinwag_protocol::{Command, Kind, Reply, ServerChange, SetDoor};
use serde_json::json;

use super::{
    names, password,
    session::{Session, foreign},
    who,
};
use crate::{
    args::{Admin, Global, Password, Registration},
    exit::{Outcome, Stop},
    show::{Out, note},
};

/// `chinwag admin`.
pub(crate) async fn run(global: &Global, out: &Out, args: Admin) -> Outcome {
    let session = Session::find(global)?;
    match args {
        Admin::Users { text } => users(&session, out, &text).await,
        Admin::Suspend { user } => suspend(&session, out, &user, true).await,
        Admin::Unsuspend { user } => suspend(&session, out, &user, false).await,
        Admin::Promote { user, revoke } => {
            let profile = names::user(&session, &user).await?;
            proved(&session, Command::SetAdmin { user: profile.id, admin: !revoke }).await?;
            let word = if revoke { "no longer an administrator" } else { "an administrator now" };
            out.either(
                || json!({"user": profile.id, "admin": !revoke}),
                || format!("{} is {word}", out.name(&profile.name)),
            )
        }
        Admin::ResetLink { user } => {
            let profile = names::user(&session, &user).await?;
            let reply = proved(&session, Command::ResetPassword { user: profile.id }).await?;
            let Reply::ResetLink { token } = reply else { return foreign() };
            let link = format!("{}/#/reset/{token}", session.http.server);
            out.either(
                || json!({"user": profile.id, "link": link}),
                || format!("{link}\nGood for 30 minutes, once; shown only now."),
            )
        }
        Admin::EndSessions { user } => {
            let profile = names::user(&session, &user).await?;
            proved(&session, Command::EndSessionsOf { user: profile.id }).await?;
            out.either(
                || json!({"user": profile.id, "sessions": "ended"}),
                || format!("Ended all sessions of {}", out.name(&profile.name)),
            )
        }
        Admin::Doors { stop, start } => doors(&session, out, stop, start).await,
        Admin::Settings { name, registration, everyone } => {
            settings(&session, out, name, registration, everyone).await
        }
    }
}

async fn doors(session: &Session, out: &Out, stop: Option<String>, start: Option<String>) -> Outcome {
    let set = match (stop, start) {
        (Some(name), _) => Some(SetDoor { name, open: false }),
        (None, Some(name)) => Some(SetDoor { name, open: true }),
        (None, None) => None,
    };
    let doors = match set {
        Some(set) => vec![confirmed(session, async || Ok(session.http.set_door(&set).await?)).await?],
        None => session.http.doors().await?,
    };
    for door in &doors {
        out.either(
            || json!(door),
            || {
                let state = if door.open { "open" } else { "stopped" };
                let (name, at) = (out.column(&door.name, 10), out.column(&door.listens.join(", "), 22));
                format!("{name}  {state:<8}{at}  {} connected; {}", door.links, door.exposes)
            },
        )?;
    }
    if doors.is_empty() && !out.json {
        note("No doors: chinwag serve --door NAME=ADDR:PORT opens one.");
    }
    Ok(())
}

async fn users(session: &Session, out: &Out, text: &str) -> Outcome {
    let users = who::everybody(session, text).await?;
    for user in &users {
        out.either(
            || json!(user),
            || {
                let mut marks = Vec::new();
                if user.admin {
                    marks.push("administrator".to_owned());
                }
                if user.kind != chinwag_protocol::UserKind::Person {
                    marks.push(format!("{:?}", user.kind).to_lowercase());
                }
                if user.inactive {
                    marks.push("inactive".to_owned());
                }
                let handle = out.column(&format!("@{}", user.handle), 24);
                format!("{:>6}  {handle}  {}  {}", user.id, out.column(&user.name, 24), marks.join(", "))
                    .trim_end()
                    .to_owned()
            },
        )?;
    }
    if users.len() == 200 && !out.json {
        note("Only the first 200; name a part of the handle to see others.");
    }
    Ok(())
}

async fn suspend(session: &Session, out: &Out, user: &str, suspended: bool) -> Outcome {
    let profile = names::user(session, user).await?;
    proved(session, Command::Suspend { user: profile.id, suspended }).await?;
    let word = if suspended { "Suspended" } else { "No longer suspended:" };
    out.either(
        || json!({"user": profile.id, "suspended": suspended}),
        || format!("{word} {}", out.name(&profile.name)),
    )
}

async fn settings(
    session: &Session,
    out: &Out,
    name: Option<String>,
    registration: Option<Registration>,
    everyone: Option<bool>,
) -> Outcome {
    if name.is_some() || registration.is_some() || everyone.is_some() {
        let registration = registration.map(|registration| match registration {
            Registration::Open => chinwag_protocol::Registration::Open,
            Registration::Invite => chinwag_protocol::Registration::Invite,
            Registration::Closed => chinwag_protocol::Registration::Closed,
        });
        proved(session, Command::ChangeServer(ServerChange { name, registration, everyone })).await?;
    }
    let info = session.http.server_info().await?;
    out.either(
        || json!(info),
        || {
            format!(
                "name          {}\nregistration  {}\nversion       {}\nprotocol      {}",
                out.name(&info.name),
                format!("{:?}", info.registration).to_lowercase(),
                info.version,
                info.protocol
            )
        },
    )
}

/// Asks for a change; if the server wants a fresh proof of who one is, asks for the password and tries again.
pub(super) async fn proved(session: &Session, command: Command) -> Outcome<Reply> {
    confirmed(session, async || session.command(command.clone()).await).await
}

/// The same for anything else that may be asked for.
async fn confirmed<T>(session: &Session, ask: impl AsyncFn() -> Outcome<T>) -> Outcome<T> {
    match ask().await {
        Err(Stop::Refused(refused))
            if refused.kind == Kind::Forbidden && refused.code.starts_with("confirm") =>
        {
            let prompt = format!("Password of {}, to confirm: ", session.account.handle);
            let password = password::read(&Password { password_stdin: false }, &prompt, false)?;
            session.command(Command::ConfirmPassword { password }).await?;
            ask().await
        }
        other => other,
    }
}
