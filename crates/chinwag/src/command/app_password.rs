//! `chinwag app-password`: passwords that are good for one door.

use chinwag_protocol::{Answer, AppPasswordId, AppPasswordView, Command, Query, Reply};
use serde_json::json;

use super::{
    admin::proved,
    session::{Session, foreign},
};
use crate::{
    args::{AppPassword, Global},
    exit::Outcome,
    show::{Out, moment, note, time},
};

/// `chinwag app-password`.
pub(crate) async fn run(global: &Global, out: &Out, args: AppPassword) -> Outcome {
    let session = Session::find(global)?;
    match args {
        AppPassword::Create { door, name } => create(&session, out, door, name).await,
        AppPassword::List => {
            let Answer::AppPasswords(list) = session.query(Query::AppPasswords {}).await? else {
                return foreign();
            };
            for one in &list {
                out.either(|| json!(one), || row(out, one))?;
            }
            Ok(())
        }
        AppPassword::Revoke { number } => {
            let app_password = AppPasswordId(number);
            session.command(Command::RevokeAppPassword { app_password }).await?;
            out.either(
                || json!({"app_password": number, "revoked": true}),
                || format!("Revoked app password {number}; sessions that it began have ended"),
            )
        }
    }
}

async fn create(session: &Session, out: &Out, door: String, name: String) -> Outcome {
    let client_id = chinwag_client::fresh_id();
    let command = Command::CreateAppPassword { client_id, door: door.clone(), name };
    let Reply::AppPassword { app_password, secret: Some(secret) } = proved(session, command).await? else {
        return foreign();
    };
    if !out.json {
        note("Shown only now. Capitals, hyphens and blanks do not matter.");
    }
    out.either(|| json!({"app_password": app_password, "door": door, "secret": secret}), || secret.clone())
}

fn row(out: &Out, one: &AppPasswordView) -> String {
    let (number, door) = (one.app_password, out.column(&one.door, 12));
    let made = moment(one.created_at, "%Y-%m-%d");
    // A day of the server's, not a moment: it is the same day everywhere.
    let day = one.used_at.and_then(|at| time(at).as_str().and_then(|at| at.get(..10).map(str::to_owned)));
    let used = day.map_or_else(|| "never used".to_owned(), |day| format!("used {day}"));
    format!("{number:>4}  {door}  {}  made {made}, {used}", out.column(&one.name, 24))
}
